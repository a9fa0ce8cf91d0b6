"""Model folders in the Hugging Face layout: weights in one safetensors file or in shards with an index.

Nothing is loaded until it is asked for, tensor by tensor, and nothing is ever unpickled. What does not fit is refused by the
name of the tensor and the file: missing, unknown, of another shape, in two files, in a file that was cut short.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stackwright.errors import CheckpointError
from stackwright.files import write_json
from stackwright.model.config import ModelConfig
from stackwright.model.hub import IGNORED_TENSORS, HubTensor, Layout, hub_tensors, our_shapes
from stackwright.model.hub_config import CONFIG_FILE, from_hub_config, layout_in, read_hub_config, to_hub_config
from stackwright.model.tensor_file import INDEX_FILE, WEIGHTS_FILE, write_weights
from stackwright.model.transformer import Transformer

GENERATION_FILE = "generation_config.json"


@dataclass(frozen=True)
class HubFolder:
    """An opened folder: everything but the weights themselves, which were checked by name and shape.

    Attributes:
        files: where each stored tensor is.
        tensors: the tensors that the model needs, in the order of ours.
    """

    folder: Path
    config: ModelConfig
    layout: Layout
    files: Mapping[str, Path]
    tensors: tuple[HubTensor, ...]

    @classmethod
    def open(cls, folder: Path) -> HubFolder:
        """Open a folder.

        Raises:
            CheckpointError: a file is missing or damaged, the weights are pickled, or they do not fit the configuration.
        """
        path = folder / CONFIG_FILE
        value = read_hub_config(path)
        config, layout = from_hub_config(value, str(path)), layout_in(value, str(path))
        shapes = _stored_shapes(_weight_files(folder))
        files = {name: file for name, (file, _) in shapes.items()}
        opened = cls(folder, config, layout, files, tuple(hub_tensors(config, layout)))
        opened._check(shapes)
        return opened

    def _check(self, shapes: Mapping[str, tuple[Path, tuple[int, ...]]]) -> None:
        for tensor in self.tensors:
            if tensor.name not in shapes:
                raise CheckpointError(
                    f"{self.folder} lacks the tensor {tensor.name}", f"give a complete {self.layout} checkpoint"
                )
            file, shape = shapes[tensor.name]
            if shape != tensor.shape:
                raise CheckpointError(
                    f"tensor {tensor.name} of {file} has shape {shape}, {CONFIG_FILE} asks for {tensor.shape}",
                    "use the configuration that belongs to the weights",
                )
        needed = {tensor.name for tensor in self.tensors}
        left = {name for name in shapes if name not in needed and not IGNORED_TENSORS.search(name)}
        if self.config.tied_embeddings:
            left.discard("lm_head.weight")
        if left:
            name = min(left)
            raise CheckpointError(
                f"{shapes[name][0]} holds a tensor that the model does not have: {name}", "check its model_type"
            )

    def read(self, wanted: Sequence[HubTensor] | None = None) -> Iterator[tuple[HubTensor, Tensor]]:
        """Yield tensors, all when not told which, as they are stored, file by file; one file is open at a time."""
        by_file: dict[Path, list[HubTensor]] = {}
        for tensor in self.tensors if wanted is None else wanted:
            by_file.setdefault(self.files[tensor.name], []).append(tensor)
        for file, tensors in by_file.items():
            with _open(file) as opened:
                for tensor in tensors:
                    yield tensor, opened.get_tensor(tensor.name)

    def whole(self, name: str, dtype: torch.dtype) -> Tensor:
        """Return one of our tensors, put together from what is stored of it."""
        parts = [tensor for tensor in self.tensors if tensor.ours == name]
        whole = torch.empty((parts[-1].end, *parts[0].rest), dtype=dtype)
        for part, stored in self.read(parts):
            whole[part.first : part.end] = part.to_ours(stored)
        return whole

    def check_tied_head(self) -> None:
        """Refuse a stored head that is not the embedding, where the configuration says that it is."""
        if not self.config.tied_embeddings or "lm_head.weight" not in self.files:
            return
        with ExitStack() as stack:
            embedding = next(tensor.name for tensor in self.tensors if tensor.ours == "token_embedding.weight")
            head, tokens = (
                stack.enter_context(_open(self.files[name])).get_tensor(name) for name in ("lm_head.weight", embedding)
            )
            if not torch.equal(head, tokens):
                raise CheckpointError(
                    f"{self.folder} has tie_word_embeddings true, but lm_head.weight is not {embedding}",
                    f"set tie_word_embeddings to false in its {CONFIG_FILE}",
                )


def load_model_folder(folder: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
    """Load a folder of either family, in evaluation mode. At any time at most one stored tensor is held beside the model.

    Raises:
        CheckpointError: see `HubFolder.open`.
    """
    opened = HubFolder.open(folder)
    opened.check_tied_head()
    state = {name: torch.empty(shape, dtype=dtype, device=device) for name, shape in our_shapes(opened.config).items()}
    for tensor, stored in opened.read():
        state[tensor.ours][tensor.first : tensor.end] = tensor.to_ours(stored)
    with torch.device("meta"):
        model = Transformer(opened.config)
    if opened.config.tied_embeddings:
        state["head.weight"] = state["token_embedding.weight"]
    model.load_state_dict(state, assign=True)
    if opened.config.tied_embeddings:
        model.head.weight = model.token_embedding.weight
    return model.eval()


def save_model_folder(folder: Path, model: Transformer, eot_id: int, dtype: torch.dtype = torch.float32) -> None:
    """Write configuration, weights and generation defaults, synced. The caller makes the folder appear as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder, model.config, eot_id, dtype)
    state = model.state_dict()
    write_weights(folder, model.config, lambda name: state[name].detach().cpu(), dtype)


def write_config(folder: Path, config: ModelConfig, eot_id: int, dtype: torch.dtype) -> None:
    write_json(folder / CONFIG_FILE, to_hub_config(config, eot_id, dtype))
    write_json(folder / GENERATION_FILE, {"bos_token_id": eot_id, "eos_token_id": eot_id, "pad_token_id": eot_id})


def _weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """Return the files of weights, each with the tensors that an index says are in it."""
    if (folder / WEIGHTS_FILE).is_file():
        return {folder / WEIGHTS_FILE: None}
    if (folder / INDEX_FILE).is_file():
        return _indexed_files(folder / INDEX_FILE)
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickled:
        raise CheckpointError(
            f"{folder / pickled[0]} is a pickle, which can run code when it is opened",
            f"convert it to {WEIGHTS_FILE} where it came from",
        )
    raise CheckpointError(f"{folder} has no {WEIGHTS_FILE} and no {INDEX_FILE}", "give a complete model folder")


def _indexed_files(index: Path) -> dict[Path, set[str] | None]:
    try:
        places = json.loads(index.read_text("utf-8"))["weight_map"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is damaged ({error!r})", "copy the folder again") from error
    files: dict[Path, set[str] | None] = {}
    for name, file in places:
        if not isinstance(file, str) or Path(file).name != file:
            raise CheckpointError(
                f"{index} names the file {file!r}, which is not in its own folder", "copy the folder again"
            )
        listed = files.setdefault(index.parent / file, set())
        assert listed is not None
        listed.add(name)
    return files


def _stored_shapes(files: Mapping[Path, set[str] | None]) -> dict[str, tuple[Path, tuple[int, ...]]]:
    """Return file and shape of every tensor, from the headers of the files."""
    found: dict[str, tuple[Path, tuple[int, ...]]] = {}
    for file, listed in files.items():
        if not file.is_file():
            raise CheckpointError(f"{file.parent} has no {file.name}, which its {INDEX_FILE} names", "copy the folder again")
        with _open(file) as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict
                if name in found:
                    raise CheckpointError(f"tensor {name} is in {found[name][0].name} and in {file}", "remove one of them")
                found[name] = (file, tuple(opened.get_slice(name).get_shape()))
        if listed is not None and (missing := listed - found.keys()):
            raise CheckpointError(f"{file} lacks the tensor {min(missing)}, which {INDEX_FILE} says it has", "copy it again")
    return found


def _open(file: Path) -> Any:
    try:
        return safe_open(file, framework="pt")
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged ({error})", "copy or train it again") from error

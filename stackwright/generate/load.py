"""Open a model by what people have: a run, a checkpoint, a release, a folder of either family, a name in the hub cache."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from stackwright.errors import CheckpointError, TargetError
from stackwright.generate.backend import TorchBackend
from stackwright.model.hub_cache import find_released, find_snapshot, hub_cache, is_hub_name
from stackwright.model.hub_config import CONFIG_FILE
from stackwright.model.hub_folder import load_model_folder
from stackwright.model.transformer import Transformer
from stackwright.tokenizer.codec import TEMPLATE_FILE, TOKENIZER_FILE, Tokenizer
from stackwright.tokenizer.special_tokens import FimTemplate
from stackwright.train.checkpoint import latest_checkpoint


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to generate."""

    model: Transformer
    backend: TorchBackend
    tokenizer: Tokenizer
    folder: Path


def load_model(target: Path | str, revision: str | None = None) -> LoadedModel:
    """Open a model.

    Args:
        target: a run (its release, else its latest checkpoint, also of a training that is under way), a folder in the
            Hugging Face layout of either family with its tokenizer, or OWNER/NAME of a model in the local hub cache.
        revision: of a released run or of a model by name: a checkpoint, branch, tag or commit.

    Raises:
        TargetError: there is no such folder, or it holds no model or no such revision.
        CheckpointError: weights or tokenizer are damaged or do not belong together.
    """
    folder = find_model_folder(target, revision)
    model = load_model_folder(folder)
    return LoadedModel(model, TorchBackend(model), load_tokenizer(folder, model.config.vocab_size), folder)


def find_model_folder(target: Path | str, revision: str | None = None) -> Path:
    """Return the folder that holds the weights meant by a run, checkpoint, release, model folder or name."""
    path = Path(target)
    if not path.is_dir():
        if is_hub_name(str(target)) and (revision is not None or hub_cache().is_dir()):
            return find_snapshot(str(target), revision or "main")
        raise TargetError(
            f"model {target} is not a folder",
            "give a run, a checkpoint, a release, a model folder, or OWNER/NAME of a model in the hub cache",
        )
    if revision is not None:
        return find_released(path / "release" if (path / "release").is_dir() else path, revision)
    return _weights_in(path)


def _weights_in(target: Path) -> Path:
    if (target / CONFIG_FILE).is_file():
        return target
    if (target / "release" / CONFIG_FILE).is_file():
        return target / "release"
    training = sorted(target.glob(".building/checkpoints-*"))
    for checkpoints in (target / "checkpoints", *training, target):
        checkpoint = latest_checkpoint(checkpoints)
        if checkpoint is not None:
            return checkpoint
    raise TargetError(f"{target} holds no model yet", "run `stackwright build`, or give a model folder")


def load_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """Open the tokenizer of a model folder; where it is not ours, the template is found among its tokens.

    Args:
        vocab_size: rows of the model's embedding.

    Raises:
        CheckpointError: it has more tokens than the model, or no sentinels.
    """
    tokenizer = _open_tokenizer(folder)
    if tokenizer.vocab_size > vocab_size:
        raise CheckpointError(
            f"the tokenizer of {folder} has {tokenizer.vocab_size} tokens, its model {vocab_size}",
            "use the tokenizer that the model was trained with",
        )
    return tokenizer


def _open_tokenizer(folder: Path) -> Tokenizer:
    if (folder / TEMPLATE_FILE).is_file() or not (folder / TOKENIZER_FILE).is_file():
        return Tokenizer.load(folder)
    try:
        names = {entry["content"] for entry in json.loads((folder / TOKENIZER_FILE).read_text("utf-8"))["added_tokens"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / TOKENIZER_FILE} is damaged ({error!r})", "copy the folder again") from error
    for spelling in ("hyphens", "underscores"):
        template = FimTemplate.of(spelling)
        if names.issuperset(template.tokens):
            return Tokenizer.from_file(folder / TOKENIZER_FILE, template)
    raise CheckpointError(
        f"the tokenizer of {folder} has no fill-in-the-middle sentinels", "give a SantaCoder or StarCoder folder"
    )

"""Writing the weights of a model tensor by tensor: shards, their index, and the bytes of each file.

A folder of 60 GB is written in the memory of its largest tensor: one of ours is asked for, cut into what is to be stored,
and written before the next. safetensors' own writer wants all tensors of a file at once, so files are written here: a
length, a JSON header, the bytes (the format is documented with the library).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor

from stackwright.files import sync_file, write_json
from stackwright.log import Progress, SilentProgress
from stackwright.model.config import ModelConfig
from stackwright.model.hub import HubTensor, hub_tensors, layout_of

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

MAX_SHARD_BYTES = 5_000_000_000
"""The size of shards on the hub."""

_DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}
_ALIGNMENT = 8


@dataclass(frozen=True)
class Shard:
    """One file that is to be written, and what is in it."""

    name: str
    tensors: tuple[HubTensor, ...]


class Named(Protocol):
    """What has to be known of a tensor before it is written."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class NamedShape:
    """A tensor that is written as it is."""

    name: str
    shape: tuple[int, ...]


def num_bytes(tensor: Named, dtype: torch.dtype) -> int:
    size = dtype.itemsize
    for length in tensor.shape:
        size *= length
    return size


def plan_shards(tensors: Sequence[HubTensor], dtype: torch.dtype, max_shard_bytes: int) -> list[Shard]:
    """Return the files to write: in order, each as full as it may be."""
    groups: list[list[HubTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        size = num_bytes(tensor, dtype)
        if groups[-1] and filled + size > max_shard_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += size
    if len(groups) == 1:
        return [Shard(WEIGHTS_FILE, tuple(groups[0]))]
    return [
        Shard(f"model-{number:05d}-of-{len(groups):05d}.safetensors", tuple(group))
        for number, group in enumerate(groups, start=1)
    ]


def write_weights(
    folder: Path,
    config: ModelConfig,
    get: Callable[[str], Tensor],
    dtype: torch.dtype,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> list[Shard]:
    """Write the weights of a model in the layout of its family, with an index where there is more than one file.

    Args:
        folder: is there.
        get: returns one of our tensors by its name; each is asked for once, in the order of the model.
        max_shard_bytes: of one file, unless a single tensor is larger.
    """
    shards = plan_shards(hub_tensors(config, layout_of(config)), dtype, max_shard_bytes)
    task = (progress or SilentProgress()).task("convert", sum(len(shard.tensors) for shard in shards), "tensors")
    name, ours = "", torch.empty(0)
    for shard in shards:
        with TensorFile(folder / shard.name, shard.tensors, dtype) as file:
            for tensor in shard.tensors:
                if tensor.ours != name:  # several that are stored may be rows of one of ours; they follow one another
                    ours = torch.empty(0)
                    name, ours = tensor.ours, get(tensor.ours)
                file.write(tensor.from_ours(ours))
                task.advance(1)
    if len(shards) > 1:
        write_index(folder, shards, dtype)
    return shards


def write_index(folder: Path, shards: Sequence[Shard], dtype: torch.dtype) -> None:
    """Write which tensor is in which file."""
    total = sum(num_bytes(tensor, dtype) for shard in shards for tensor in shard.tensors)
    places = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
    write_json(folder / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write float32 tensors durably, each from where it is."""
    shapes = [NamedShape(name, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with TensorFile(path, shapes, torch.float32) as file:
        for tensor in tensors.values():
            file.write(tensor.detach().cpu())


class TensorFile:
    """A safetensors file that is written tensor by tensor, in the order that was announced."""

    def __init__(self, path: Path, tensors: Sequence[Named], dtype: torch.dtype) -> None:
        self._path, self._dtype = path, dtype
        self._left: Iterator[Named] = iter(tensors)
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        begin = 0
        for tensor in tensors:
            end = begin + num_bytes(tensor, dtype)
            header[tensor.name] = {
                "dtype": _DTYPE_NAMES[dtype],
                "shape": list(tensor.shape),
                "data_offsets": [begin, end],
            }
            begin = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        # Without a buffer: tensors are large, and what a full disk did not take must not be tried again on closing.
        self._file = path.open("wb", buffering=0)
        try:
            self._write_all(memoryview(len(text).to_bytes(8, "little") + text))
        except OSError:
            self._file.close()
            raise

    def write(self, values: Tensor) -> None:
        tensor = next(self._left)
        assert tuple(values.shape) == tensor.shape
        self._write_all(values.to(self._dtype).contiguous().reshape(-1).view(torch.uint8).numpy().data)

    def _write_all(self, data: memoryview) -> None:
        while data:
            data = data[self._file.write(data) :]

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            assert next(self._left, None) is None
            sync_file(self._path)

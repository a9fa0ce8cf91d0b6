"""From one model folder to another, tensor by tensor: layouts, dtypes, sizes of shards.

A folder of 60 GB converts in the memory of its largest tensors: one of ours is put together from what is stored, cut into
what is to be stored, and written before the next is read. safetensors' own writer wants all tensors of a file at once, so
files are written here: a length, a JSON header, the bytes (the format is documented with the library).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import torch
from torch import Tensor

from stackwright.files import sync_file, write_json
from stackwright.log import Progress, SilentProgress
from stackwright.model.hub import HubTensor, hub_tensors, layout_of, our_shapes
from stackwright.model.hub_folder import INDEX_FILE, WEIGHTS_FILE, HubFolder, write_config

MAX_SHARD_BYTES = 5_000_000_000
"""The size of shards on the hub."""

_DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}
_ALIGNMENT = 8


@dataclass(frozen=True)
class Shard:
    """One file that is to be written, and what is in it."""

    name: str
    tensors: tuple[HubTensor, ...]


def convert_folder(
    source: HubFolder,
    target: Path,
    eot_id: int,
    dtype: torch.dtype,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> list[Shard]:
    """Write the weights and the configuration of a model in the layout of its family. The tokenizer is not copied.

    Args:
        target: a folder that is there; the caller makes it appear as a whole.
        dtype: of what is written.
        max_shard_bytes: of one file, unless a single tensor is larger.
    """
    source.check_tied_head()
    config = source.config
    shards = plan_shards(hub_tensors(config, layout_of(config)), dtype, max_shard_bytes)
    task = (progress or SilentProgress()).task("convert", sum(len(shard.tensors) for shard in shards), "tensors")
    ours = _Assembled(source, our_shapes(config), dtype)
    for shard in shards:
        with TensorFile(target / shard.name, shard.tensors, dtype) as file:
            for tensor in shard.tensors:
                file.write(tensor.from_ours(ours.get(tensor.ours)))
                task.advance(1)
    write_config(target, config, eot_id, dtype)
    if len(shards) > 1:
        total = sum(num_bytes(tensor, dtype) for shard in shards for tensor in shard.tensors)
        places = {tensor.name: shard.name for shard in shards for tensor in shard.tensors}
        write_json(target / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})
    return shards


def num_bytes(tensor: HubTensor, dtype: torch.dtype) -> int:
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


class _Assembled:
    """Our tensors, put together from those of a folder; the one asked for last is kept, as its parts follow one another."""

    def __init__(self, source: HubFolder, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> None:
        self._source, self._shapes, self._dtype = source, shapes, dtype
        self._parts: dict[str, list[HubTensor]] = {}
        for tensor in source.tensors:
            self._parts.setdefault(tensor.ours, []).append(tensor)
        self._last: tuple[str, Tensor] = ("", torch.empty(0))

    def get(self, name: str) -> Tensor:
        if self._last[0] != name:
            self._last = ("", torch.empty(0))
            whole = torch.empty(self._shapes[name], dtype=self._dtype)
            for part, stored in self._source.read(self._parts[name]):
                whole[part.first : part.end] = part.to_ours(stored)
            self._last = (name, whole)
        return self._last[1]


class TensorFile:
    """A safetensors file that is written tensor by tensor, in the order that was announced."""

    def __init__(self, path: Path, tensors: Sequence[HubTensor], dtype: torch.dtype) -> None:
        self._path, self._dtype = path, dtype
        self._left: Iterator[HubTensor] = iter(tensors)
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
        self._file: BinaryIO = path.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)

    def write(self, values: Tensor) -> None:
        tensor = next(self._left)
        assert tuple(values.shape) == tensor.shape
        self._file.write(values.to(self._dtype).contiguous().view(torch.uint8).numpy().data)

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            assert next(self._left, None) is None
            sync_file(self._path)

"""Checkpoints: a model folder anyone can load, and the exact state to go on from.

`step-NNNNNN/` holds the model in the Hugging Face layout (float32, so these are the weights to go on from), the tokenizer's
files, and the resume state: `resume.json`, and the optimizer's moments in one file from each rank, which holds the rows that
the rank had. The rows of rank 0, then those of rank 1, and so on, are the whole, so any number of ranks takes its own from
them. The state of the data is one integer, the number of the next sample; dropout is seeded by the step.

A checkpoint is written under another name, synced and renamed when every rank is done, so a folder with its final name is
whole. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stackwright.errors import CheckpointError
from stackwright.files import sync_file, sync_folder, write_json
from stackwright.model.hub import our_shapes
from stackwright.model.hub_folder import HubFolder, write_config
from stackwright.model.sharding import first_row, set_rows, whole_tensor
from stackwright.model.tensor_file import save_tensors, write_weights
from stackwright.model.transformer import Transformer
from stackwright.train.optimizer import AdamW
from stackwright.train.phases import continues
from stackwright.train.ranks import Ranks

STATE_FILE = "resume.json"


@dataclass(frozen=True)
class ResumeState:
    """Where training stands."""

    step: int  # steps done
    next_sample: int  # of the part of training that the step belongs to
    tokens: int  # targets that carried loss so far
    ranks: int
    threads: int
    precision: str
    processor: str

    @classmethod
    def read(cls, checkpoint: Path) -> ResumeState:
        """Read the state of a checkpoint. Raises `CheckpointError` when it is damaged or of another version."""
        try:
            value = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
            return cls(**{field.name: value.pop(field.name) for field in fields(cls)}, **value)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{checkpoint / STATE_FILE} is damaged ({error!r})", f"remove {checkpoint}, to go on from the one before"
            ) from error


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def moments_file(rank: int, size: int) -> str:
    """Return the name of the file in which a rank leaves its rows of the moments."""
    return f"resume-{rank + 1:05d}-of-{size:05d}.safetensors"


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint with the highest step, or None."""
    found = sorted(path for path in folder.glob("step-[0-9]*") if (path / STATE_FILE).is_file())
    return found[-1] if found else None


def save_checkpoint(
    folder: Path,
    model: Transformer,
    optimizer: AdamW,
    state: ResumeState,
    files: Sequence[Path],
    eot_id: int,
    ranks: Ranks,
) -> Path:
    """Write one checkpoint atomically, with `files` beside the model, and return its folder. Every rank must call."""
    final = folder / checkpoint_name(state.step)
    temporary = folder / f".{final.name}.tmp"
    if ranks.is_first:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    ranks.wait()
    save_tensors(temporary / moments_file(ranks.rank, ranks.size), _moments(optimizer))
    _save_weights(temporary, model, eot_id, ranks)
    ranks.wait()  # every file is written
    if ranks.is_first:
        for path in files:
            shutil.copyfile(path, temporary / path.name)
            sync_file(temporary / path.name)
        write_json(temporary / STATE_FILE, asdict(state))
        sync_folder(temporary)
        os.rename(temporary, final)
        sync_folder(folder)
    ranks.wait()
    return final


def load_checkpoint(checkpoint: Path, model: Transformer, optimizer: AdamW) -> ResumeState:
    """Put model and optimizer back exactly as they were; every rank takes its own rows, tensor by tensor.

    Raises:
        CheckpointError: a file is damaged, or the model is of another shape.
    """
    state = ResumeState.read(checkpoint)
    saved = HubFolder.open(checkpoint)
    if not continues(saved.config, model.config):
        name, before, now = next(
            (field.name, getattr(saved.config, field.name), getattr(model.config, field.name))
            for field in fields(saved.config)
            if getattr(saved.config, field.name) != getattr(model.config, field.name)
        )
        raise CheckpointError(
            f"{checkpoint} holds a model of another shape: {name} {before}, the recipe says {now}",
            f"remove {checkpoint.parent} and train again",
        )
    parameters = dict(model.named_parameters())
    for name in our_shapes(saved.config):
        set_rows(parameters[name], saved.whole(name, torch.float32))
    with ExitStack() as stack:
        parts = [stack.enter_context(_open(checkpoint / moments_file(rank, state.ranks))) for rank in range(state.ranks)]
        for name, moments in optimizer.moments.items():
            first = first_row(parameters[name])
            for kind, rows in vars(moments).items():
                _read_rows(checkpoint, parts, f"{name}:{kind}", rows, first, parameters[name].shape[0])
    optimizer.updates = state.step
    return state


def _moments(optimizer: AdamW) -> dict[str, Tensor]:
    return {f"{name}:{kind}": rows for name, moments in optimizer.moments.items() for kind, rows in vars(moments).items()}


def _save_weights(folder: Path, model: Transformer, eot_id: int, ranks: Ranks) -> None:
    parameters = dict(model.named_parameters())

    def gather(name: str) -> Tensor:
        return whole_tensor(parameters[name].detach()).cpu()

    if ranks.is_first:
        write_config(folder, model.config, eot_id, torch.float32)
        write_weights(folder, model.config, gather, torch.float32)
    else:
        for name in our_shapes(model.config):  # in the order in which rank 0 asks, and each tensor once
            gather(name)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged ({error})", f"remove {path.parent}, to go on from the checkpoint before"
        ) from error


def _read_rows(checkpoint: Path, parts: Sequence[Any], name: str, target: Tensor, first: int, num_rows: int) -> None:
    """Fill `target` with the rows from `first` on of a tensor whose rows lie in several files, one after another."""
    begin = 0
    for part in parts:
        stored = part.get_slice(name) if name in part.keys() else None  # noqa: SIM118 - not a dict
        end = begin + (stored.get_shape()[0] if stored is not None else 0)
        low, high = max(begin, first), min(end, first + len(target))
        if stored is not None and low < high:
            target[low - first : high - first] = stored[low - begin : high - begin]
        begin = end
    if begin != num_rows:
        raise CheckpointError(
            f"{checkpoint} holds {begin} rows of {name}, the model has {num_rows}",
            f"remove {checkpoint}, to go on from the one before",
        )

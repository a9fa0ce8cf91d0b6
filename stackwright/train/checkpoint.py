"""Checkpoints: a model folder anyone can load, and the exact state to go on from.

`step-NNNNNN/` holds the model in the Hugging Face layout, the tokenizer's files, and the resume state: optimizer tensors in
`resume.safetensors` and the rest in `resume.json`. The state of the data is one integer, the number of the next sample;
dropout's generator is the only other random state. A checkpoint is written under another name, synced and renamed, so a
folder with its final name is whole. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from stackwright.errors import CheckpointError
from stackwright.files import sync_file, sync_folder, write_json
from stackwright.model.hub_folder import load_model_folder, save_model_folder, save_tensors
from stackwright.model.transformer import Transformer

STATE_FILE = "resume.json"
TENSORS_FILE = "resume.safetensors"
_GENERATOR_TENSOR = "generator_state"


@dataclass(frozen=True)
class ResumeState:
    """Where training stands."""

    step: int  # steps done
    next_sample: int
    tokens: int  # targets that carried loss so far
    threads: int
    precision: str
    processor: str


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the whole checkpoint with the highest step, or None."""
    found = sorted(path for path in folder.glob("step-[0-9]*") if (path / STATE_FILE).is_file())
    return found[-1] if found else None


def save_checkpoint(
    folder: Path,
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    state: ResumeState,
    files: Sequence[Path],
    eot_id: int,
) -> Path:
    """Write one checkpoint atomically, with `files` beside the model, and return its folder."""
    final = folder / checkpoint_name(state.step)
    temporary = folder / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    save_model_folder(temporary, model, eot_id)
    for path in files:
        shutil.copyfile(path, temporary / path.name)
        sync_file(temporary / path.name)
    save_tensors(temporary / TENSORS_FILE, _resume_tensors(model, optimizer))
    write_json(temporary / STATE_FILE, asdict(state))
    sync_folder(temporary)
    os.rename(temporary, final)
    sync_folder(folder)
    return final


def load_checkpoint(checkpoint: Path, model: Transformer, optimizer: torch.optim.Optimizer) -> ResumeState:
    """Put model, optimizer and random state back exactly as they were. Raises `CheckpointError` when they do not fit."""
    state = ResumeState(**json.loads((checkpoint / STATE_FILE).read_text("utf-8")))
    saved = load_model_folder(checkpoint)
    if saved.config != model.config:
        raise CheckpointError(f"{checkpoint} holds a model of another shape", f"remove {checkpoint.parent} and train again")
    model.load_state_dict(saved.state_dict())
    tensors = load_file(checkpoint / TENSORS_FILE)
    torch.set_rng_state(tensors.pop(_GENERATOR_TENSOR))
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key.removeprefix(f"{name}:"): value for key, value in tensors.items() if key.startswith(f"{name}:")
        }
    return state


def _resume_tensors(model: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {_GENERATOR_TENSOR: torch.get_rng_state()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{name}:{key}"] = value.detach().contiguous()
    return tensors

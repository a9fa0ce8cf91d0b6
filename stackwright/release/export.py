"""The model folder and its revisions, in the layout that Hugging Face's libraries read.

A checkpoint is already a `gpt_bigcode` folder; a release is its public files, without the resume state. Intermediate
checkpoints become revisions in a hub cache, so that `from_pretrained(NAME, revision="step-000250", cache_dir=...)`
finds them without a network: `models--OWNER--NAME/refs/REVISION` names a commit, `snapshots/COMMIT/` holds its files.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from stackwright.errors import CheckpointError
from stackwright.files import file_sha256, write_bytes

PUBLIC_FILES = (
    "config.json",
    "fim.json",
    "generation_config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
"""What of a checkpoint is handed out. The resume state stays: it is of no use without the tokens."""


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """Return the checkpoints of a training run in order of steps. Raises `CheckpointError` when there is none."""
    folders = sorted(path for path in checkpoints.glob("step-*") if (path / "config.json").is_file())
    if not folders:
        raise CheckpointError(f"{checkpoints} holds no checkpoint", "run `stackwright build` again with --from train")
    return folders


def copy_model(checkpoint: Path, folder: Path) -> None:
    """Copy the public files of a checkpoint. Raises `CheckpointError` when one is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PUBLIC_FILES:
        if not (checkpoint / name).is_file():
            raise CheckpointError(f"checkpoint {checkpoint} lacks {name}", "train it again with --from train")
        shutil.copyfile(checkpoint / name, folder / name)


def commit_id(checkpoint: Path) -> str:
    """Return 40 hexadecimal digits that name the content of a checkpoint's public files."""
    digest = hashlib.sha256()
    for name in PUBLIC_FILES:
        digest.update(f"{name} {file_sha256(checkpoint / name)}\n".encode())
    return digest.hexdigest()[:40]


def write_revisions(checkpoints: Sequence[Path], name: str, folder: Path) -> dict[str, str]:
    """Lay the checkpoints out as revisions of model `name` (owner/name); the last one is also `main`.

    Returns:
        Revision name -> commit id.
    """
    repository = folder / f"models--{name.replace('/', '--')}"
    revisions = {checkpoint.name: commit_id(checkpoint) for checkpoint in checkpoints}
    for checkpoint in checkpoints:
        copy_model(checkpoint, repository / "snapshots" / revisions[checkpoint.name])
    for revision, commit in [*revisions.items(), ("main", revisions[checkpoints[-1].name])]:
        write_bytes(repository / "refs" / revision, commit.encode())
    return revisions

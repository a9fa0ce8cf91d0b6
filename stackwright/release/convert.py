"""A model of any layout as a folder that Hugging Face's libraries load: weights, configuration, tokenizer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import torch

from stackwright.errors import UsageError
from stackwright.files import sync_file, sync_folder
from stackwright.generate.load import find_model_folder, load_tokenizer
from stackwright.log import Progress
from stackwright.model.convert import convert_folder
from stackwright.model.hub_folder import HubFolder
from stackwright.model.tensor_file import MAX_SHARD_BYTES, Shard

DtypeName = Literal["float32", "bfloat16", "float16"]
DTYPES: dict[DtypeName, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

TOKENIZER_FILES = (
    "fim.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


def export_model(
    target: Path | str,
    out: Path,
    dtype: DtypeName = "float32",
    revision: str | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress | None = None,
) -> list[Shard]:
    """Write a model that `load_model` opens to a new folder, and return its files of weights.

    Raises:
        UsageError: the folder is there already.
        CheckpointError: weights, configuration or tokenizer are damaged or do not belong together.
    """
    if out.exists():
        raise UsageError(f"{out} is there already", "give a folder that is not")
    folder = find_model_folder(target, revision)
    source = HubFolder.open(folder)
    tokenizer = load_tokenizer(folder, source.config.vocab_size)
    staging = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        shards = convert_folder(source, staging, tokenizer.eot, DTYPES[dtype], max_shard_bytes, progress)
        for name in TOKENIZER_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, staging / name)
                sync_file(staging / name)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    sync_folder(staging)
    os.rename(staging, out)
    sync_folder(out.parent)
    return shards

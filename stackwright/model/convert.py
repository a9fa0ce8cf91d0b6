"""From one model folder to another, tensor by tensor: layouts, dtypes, sizes of shards."""

from __future__ import annotations

from pathlib import Path

import torch

from stackwright.log import Progress
from stackwright.model.hub_folder import HubFolder, write_config
from stackwright.model.tensor_file import MAX_SHARD_BYTES, Shard, write_weights


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
    shards = write_weights(target, source.config, lambda name: source.whole(name, dtype), dtype, max_shard_bytes, progress)
    write_config(target, source.config, eot_id, dtype)
    return shards

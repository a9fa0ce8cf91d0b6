"""The load list: which documents a training run reads, kept with its checkpoints.

A dataset changes when an author has code taken out; checkpoints that were trained before do not. Their load list says what
they saw, so that a later removal can name them, and `training_data.json` says which removals the list already honours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stackwright.artifact import Artifact, Staging, load_artifact
from stackwright.data.exposure import Exposure
from stackwright.data.loader import open_layout
from stackwright.document import DOCUMENT_KEY, DocumentKey
from stackwright.engine import Removals
from stackwright.files import write_json
from stackwright.recipe import DataSettings, LongContextSettings, ModelSettings, Recipe, TrainSettings
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.phases import phases_of

LOAD_LIST = pa.schema(
    [
        pa.field("repo", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("num_tokens", pa.int64(), nullable=False),  # end-of-text included
    ]
)
"""Table `load_list` of the checkpoints: the documents of the training split, in the order by which samples number them."""

TRAINING_DATA_FILE = "training_data.json"


@dataclass(frozen=True)
class CheckpointExposure:
    """How often a checkpoint had sampled documents; those it never did are not in `times`."""

    name: str
    step: int
    times: dict[DocumentKey, int]


def write_load_list(staging: Staging, tokens: Artifact, removals: Removals) -> None:
    """Write what is about to be read, and what was taken out before."""
    rows = tokens.table("documents").read([*LOAD_LIST.names, "split"])
    chosen = rows.filter(pa.compute.equal(rows.column("split"), "train")).select(LOAD_LIST.names)
    staging.write_table_part("load_list", 0, chosen)
    facts = {
        "tokens": tokens.digest,
        "documents": chosen.num_rows,
        "removals": {"digest": removals.digest, "contents": len(removals.content_ids), "receipts": list(removals.receipts)},
    }
    write_json(staging.folder / TRAINING_DATA_FILE, facts)


def checkpoint_exposures(run_folder: Path, files: Sequence[DocumentKey]) -> list[CheckpointExposure]:
    """Return for each checkpoint of a run which of the files it had sampled, the first checkpoint first.

    Raises:
        ArtifactError: the run has no finished checkpoints.
    """
    artifact = load_artifact(run_folder / "checkpoints")
    config, rows = artifact.manifest.content["config"], artifact.table("load_list").read()
    keys = zip(*(rows.column(name).to_pylist() for name in DOCUMENT_KEY), strict=True)
    number_of = {key: number for number, key in enumerate(keys)}
    asked = [key for key in dict.fromkeys(files) if key in number_of]
    states = [
        (path.parent.name, json.loads(path.read_text("utf-8")))
        for path in sorted(artifact.folder.glob("step-*/resume.json"))
    ]
    tokenizer = Tokenizer.load(min(artifact.folder.glob("step-*")))
    lengths = np.asarray(rows.column("num_tokens"))
    repos, paths = rows.column("repo").to_pylist(), rows.column("path").to_pylist()
    numbers = np.array([number_of[key] for key in asked], np.int64)
    times = np.zeros((len(states), len(asked)), np.int64)
    for phase in phases_of(_recipe_of(config)):
        layout = open_layout(phase.recipe.data, tokenizer, lengths, repos, paths)
        exposure = Exposure(layout, phase.recipe.seed, phase.recipe.data.seq_len)
        times += exposure.times_sampled(numbers, [phase.num_samples(state["step"]) for _, state in states])
    return [
        CheckpointExposure(name, state["step"], {key: int(count) for key, count in zip(asked, row, strict=True) if count})
        for (name, state), row in zip(states, times, strict=True)
    ]


def _recipe_of(config: Mapping[str, Any]) -> Recipe:
    """Return a recipe of the sections that a train stage noted, which had been checked together with the others."""
    longer = config["long_context"]
    return Recipe.model_construct(
        name="trained",
        sources=(),
        data=DataSettings.model_validate(config["data"]),
        model=ModelSettings.model_validate(config["model"]),
        train=TrainSettings.model_validate(config["train"]),
        long_context=None if longer is None else LongContextSettings.model_validate(longer),
        seed=config["seed"],
    )

"""Scores over training: every checkpoint on one small part of what the last one is scored on in full.

In: the checkpoints of a run, part of the held-out documents, the first of the problems. Out: a line per checkpoint, and the
baselines on the same part. The last checkpoint is not scored a second time: its line adds up those rows of its full scores
that belong to the part, so that the last point of the plot and the result cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackwright.evaluate.bits_per_byte import MODEL, TASK, model_bits
from stackwright.evaluate.bootstrap import cluster_by_document
from stackwright.evaluate.held_out import HeldOut, Row, choose_part, name_of
from stackwright.evaluate.infilling import PREVIOUS_LINE, Problem, means_of
from stackwright.evaluate.infilling import TASK as INFILLING_TASK
from stackwright.model.transformer import Transformer
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.checkpoint import STATE_FILE

BYTES_SHARE = 4
"""A checkpoint is scored on at most one byte in this many of `evaluate.max_bytes`."""

MOST_PROBLEMS = 50


@dataclass(frozen=True)
class Part:
    """What every checkpoint is scored on."""

    held_out: HeldOut
    problems: Sequence[Problem]

    @staticmethod
    def of(held_out: HeldOut, problems: Sequence[Problem], max_bytes: int) -> Part:
        return Part(choose_part(held_out, max_bytes // BYTES_SHARE), problems[:MOST_PROBLEMS])

    @property
    def num_bytes(self) -> int:
        return sum(int(row["num_bytes"]) for row in self.held_out.rows)

    def bits_per_byte(self, scores: Sequence[Row]) -> dict[str, float]:
        """Return model -> bits per byte over the rows of `scores` that belong to the part."""
        names = set(self.held_out.names)
        return cluster_by_document([row for row in scores if name_of(row) in names], "bits", "num_bytes").ratios()

    def infilling_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the table `infilling` that belong to the part."""
        chosen = {(name_of(problem.document), problem.line) for problem in self.problems}
        return [row for row in rows if (name_of(row), row["line"]) in chosen]


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """Return the whole checkpoints of a training in order of steps."""
    folders = sorted(path for path in checkpoints.glob("step-[0-9]*") if (path / STATE_FILE).is_file())
    assert folders, "a finished train stage has a checkpoint"
    return folders


def part_bits_per_byte(model: Transformer, tokenizer: Tokenizer, part: Part) -> float:
    """Return the bits per byte of a model on the part."""
    return sum(model_bits(model, tokenizer, part.held_out)) / max(part.num_bytes, 1)


def checkpoint_line(checkpoint: Path, bits_per_byte: float, infilling: Sequence[Row]) -> dict[str, Any]:
    """Return what the results say of a checkpoint, given the rows of its answers on the part."""
    state: Mapping[str, Any] = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
    return {
        "step": state["step"],
        "tokens": state["tokens"],
        "bits_per_byte": bits_per_byte,
        "exact_match": means_of(infilling, MODEL, "exact_match"),
        "edit_similarity": means_of(infilling, MODEL, "edit_similarity"),
    }


def part_facts(part: Part, scores: Sequence[Row], infilling: Sequence[Row]) -> dict[str, Any]:
    """Return what the part holds, and the baselines on it."""
    bits = part.bits_per_byte(scores)
    copied = means_of(part.infilling_rows(infilling), PREVIOUS_LINE, "exact_match")
    return {
        "num_documents": len(part.held_out.rows),
        "num_bytes": part.num_bytes,
        "num_problems": len(part.problems),
        "baselines": {
            TASK: {model: value for model, value in bits.items() if model != MODEL},
            INFILLING_TASK: {} if copied is None else {PREVIOUS_LINE: copied},
        },
    }

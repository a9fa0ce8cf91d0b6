"""Evaluate: held-out bits per byte beside baselines, all on the same bytes.

In: the last checkpoint, tokens, tokenizer and dataset. Out: `results.json`, `results.md`, and the table `scores` with a row
per document and model. The documents are those of the test split, up to `evaluate.max_bytes`; where the split is empty,
validation takes its place and the results say so. What wins is said plainly, also when it is not the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stackwright.artifact import Artifact
from stackwright.data.loader import Ids, Loader, TokenDataset
from stackwright.engine import StageContext
from stackwright.evaluate.baselines import UnigramModel, count_tokens, fit_bigram, training_stream, xz_bits
from stackwright.model.hub import load_model_folder
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.checkpoint import latest_checkpoint
from stackwright.train.hardware import choose_threads
from stackwright.train.trainer import deterministic
from stackwright.train.validation import choose_documents, score_documents

TABLES = {
    "scores": pa.schema(
        [
            pa.field("repo", pa.string(), nullable=False),
            pa.field("revision", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("language", pa.string(), nullable=False),
            pa.field("model", pa.string(), nullable=False),
            pa.field("bits", pa.float64(), nullable=False),
            pa.field("num_tokens", pa.int64(), nullable=False),
            pa.field("num_bytes", pa.int64(), nullable=False),
        ]
    )
}
TASK = "held_out_bits_per_byte"
TASK_VERSION = 1

MODEL, UNIGRAM, BIGRAM, XZ = "this model", "unigram of tokens", "bigram of tokens", "xz, each file alone"


@dataclass(frozen=True)
class HeldOut:
    """The documents that are scored: rows of the tokens table, and their numbers in the split."""

    split: str
    dataset: TokenDataset
    documents: Sequence[int]
    rows: Sequence[dict[str, Any]]


def run_evaluate(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    recipe, inputs = context.recipe, context.inputs
    tokenizer = Tokenizer.load(inputs["tokenizer"].folder)
    held_out = choose_held_out(inputs["tokens"], tokenizer, recipe.evaluate.max_bytes)
    if held_out is None:
        return _write_nothing(context)
    task = context.progress.task("score", 4, "models")
    bits: dict[str, list[float]] = {}
    with deterministic(choose_threads(recipe.train)):
        bits[MODEL] = _model_bits(inputs["checkpoints"], tokenizer, held_out)
        task.advance(1)
        bits[UNIGRAM], bits[BIGRAM], discount = _baseline_bits(context, tokenizer, held_out)
        task.advance(2)
    bits[XZ] = _xz_bits(inputs["dataset"], held_out)
    task.advance(1)
    rows = _score_rows(held_out, bits)
    context.staging.write_table_part("scores", 0, rows)
    results = summarize(rows, held_out.split, {"bigram_discount": discount, "seed": recipe.seed})
    context.staging.write_json("results.json", results)
    context.staging.write_text("results.md", results_table(results))
    return {key: results[key] for key in ("headline", "num_bytes", "num_documents", "split")} | {
        "bits_per_byte": {name: entry["bits_per_byte"] for name, entry in results["models"].items()}
    }


def _write_nothing(context: StageContext) -> dict[str, Any]:
    headline = "no held-out documents: every repository of this run is in the training split"
    empty: dict[str, Any] = {"headline": headline, "num_bytes": 0, "num_documents": 0, "split": "none"}
    context.staging.write_table_part("scores", 0, [])
    context.staging.write_json(
        "results.json", {**empty, "task": TASK, "task_version": TASK_VERSION, "models": {}, "languages": {}}
    )
    context.staging.write_text("results.md", f"{headline}\n")
    return {**empty, "bits_per_byte": {}}


def choose_held_out(tokens: Artifact, tokenizer: Tokenizer, max_bytes: int) -> HeldOut | None:
    """Return whole documents of the test split up to `max_bytes`, of validation where there are none, else None."""
    table = tokens.table("documents").read()
    for split in ("test", "validation"):
        dataset = TokenDataset(tokens, split, tokenizer.sha256)
        documents = choose_documents(dataset.num_bytes, max_bytes)
        if documents:
            rows = table.take(dataset.rows[documents]).to_pylist()
            return HeldOut(split, dataset, documents, rows)
    return None


def _model_bits(checkpoints: Artifact, tokenizer: Tokenizer, held_out: HeldOut) -> list[float]:
    checkpoint = latest_checkpoint(checkpoints.folder)
    assert checkpoint is not None, "a finished train stage has a checkpoint"
    model = load_model_folder(checkpoint)
    return [score.bits for score in score_documents(model, held_out.dataset, held_out.documents, tokenizer.eot)]


def _baseline_bits(context: StageContext, tokenizer: Tokenizer, held_out: HeldOut) -> tuple[list[float], list[float], float]:
    """Return the bits of unigram and bigram model for each document, and the fitted discount."""
    recipe, tokens = context.recipe, context.inputs["tokens"]
    without_fim = recipe.data.model_copy(update={"fim_rate": 0.0})
    loader = Loader(TokenDataset(tokens, "train", tokenizer.sha256), tokenizer, without_fim, recipe.seed)
    samples = training_stream(loader, context.inputs["checkpoints"].manifest.counts["samples"])
    counts, pairs, pair_counts = count_tokens(samples, tokenizer.vocab_size)
    validation = TokenDataset(tokens, "validation", tokenizer.sha256)
    tuning = _streams(validation, choose_documents(validation.num_tokens, recipe.train.eval_tokens), tokenizer.eot)
    bigram, discount = fit_bigram(pairs, pair_counts, tokenizer.vocab_size, tuning)
    unigram = UnigramModel(counts)
    streams = _streams(held_out.dataset, held_out.documents, tokenizer.eot)
    return [unigram.bits(stream) for stream in streams], [bigram.bits(stream) for stream in streams], discount


def _streams(dataset: TokenDataset, documents: Sequence[int], eot: int) -> list[Ids]:
    """Return each document as the model is scored on it: after end-of-text, and without its own."""
    return [np.concatenate([[eot], dataset.tokens(document)[:-1]]) for document in documents]


def _xz_bits(dataset: Artifact, held_out: HeldOut) -> list[float]:
    wanted = {(row["repo"], row["revision"], row["path"]): index for index, row in enumerate(held_out.rows)}
    bits = [0.0] * len(wanted)
    table = dataset.table("documents")
    for part in {row["part"] for row in held_out.rows}:
        for row in table.read_part(part, ["repo", "revision", "path", "content"]).to_pylist():
            index = wanted.get((row["repo"], row["revision"], row["path"]))
            if index is not None:
                bits[index] = xz_bits(row["content"])
    return bits


def _score_rows(held_out: HeldOut, bits: dict[str, list[float]]) -> list[dict[str, Any]]:
    names = ("repo", "revision", "path", "language", "num_bytes")
    return [
        {
            **{name: row[name] for name in names},
            "num_tokens": row["num_tokens"] - 1,  # end-of-text is not scored
            "model": model,
            "bits": values[index],
        }
        for index, row in enumerate(held_out.rows)
        for model, values in bits.items()
    ]


def summarize(rows: Sequence[dict[str, Any]], split: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the results: bits per byte in all and by language, and which baselines the model beats."""
    own = [row for row in rows if row["model"] == MODEL]
    scores = _scores(rows)
    return {
        "task": TASK,
        "task_version": TASK_VERSION,
        "settings": settings,
        "split": split,
        "num_documents": len(own),
        "num_bytes": sum(row["num_bytes"] for row in own),
        "num_tokens": sum(row["num_tokens"] for row in own),
        "models": scores,
        "languages": {
            language: _scores([row for row in rows if row["language"] == language])
            for language in sorted({row["language"] for row in rows})
        },
        "headline": headline_of({model: entry["bits_per_byte"] for model, entry in scores.items()}),
    }


def _scores(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return model -> bits per byte with the bytes and documents it was scored on, in the order of the rows."""
    bits, num_bytes, documents = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        bits[row["model"]] += row["bits"]
        num_bytes[row["model"]] += row["num_bytes"]
        documents[row["model"]] += 1
    return {
        model: {
            "bits_per_byte": bits[model] / max(num_bytes[model], 1),
            "num_bytes": num_bytes[model],
            "num_documents": documents[model],
        }
        for model in documents
    }


def headline_of(scores: dict[str, float]) -> str:
    """Return one sentence: the model's score, what it beats and what beats it."""
    own = scores[MODEL]
    others = {name: score for name, score in scores.items() if name != MODEL}
    beaten = [f"{name} {score:.3f}" for name, score in others.items() if own < score]
    better = [f"{name} {score:.3f}" for name, score in others.items() if score <= own]
    parts = [f"{own:.3f} bits per byte on held-out repositories"]
    if beaten:
        parts.append("beats " + ", ".join(beaten))
    if better:
        parts.append("loses to " + ", ".join(better))
    return "; ".join(parts)


def results_table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    models = list(results["models"])
    lines = [f"# Held-out bits per byte\n\n{results['headline']}.\n", "| language | bytes | " + " | ".join(models) + " |"]
    lines.append("| --- | ---: |" + " ---: |" * len(models))
    for language, scores in [("all", results["models"]), *results["languages"].items()]:
        cells = " | ".join(f"{scores[model]['bits_per_byte']:.3f}" for model in models)
        lines.append(f"| {language} | {scores[models[0]]['num_bytes']:,} | {cells} |")
    return "\n".join(lines) + "\n"

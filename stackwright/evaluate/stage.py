"""Evaluate: the model on repositories it was not trained on, beside baselines, each score with an interval.

In: the checkpoints, tokens, tokenizer and dataset. Out: `completions.jsonl` (what the model answered, written before
anything is scored), `results.json`, `results.md`, the tables `scores` (bits of each document under each model) and
`infilling` (each answered line), and the plot of all checkpoints. The documents are those of the test split, up to
`evaluate.max_bytes`; where the split is empty, validation takes its place and the results say so. What wins is said
plainly, also when it is not the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackwright.engine import StageContext
from stackwright.evaluate import infilling
from stackwright.evaluate.bits_per_byte import (
    BIGRAM,
    MODEL,
    SCORES,
    TASK,
    UNIGRAM,
    XZ,
    baseline_bits,
    model_bits,
    score_rows,
)
from stackwright.evaluate.checkpoints import (
    Part,
    checkpoint_folders,
    checkpoint_line,
    part_bits_per_byte,
    part_facts,
)
from stackwright.evaluate.completions import dump_completions, load_completions
from stackwright.evaluate.held_out import HeldOut, choose_held_out, read_documents
from stackwright.evaluate.infilling import (
    INFILLING,
    PREVIOUS_LINE,
    Problem,
    choose_problems,
    complete_problems,
    score_completions,
)
from stackwright.evaluate.markdown import results_page
from stackwright.evaluate.plots import plot_scores
from stackwright.evaluate.results import Resampling, build_results, nothing_held_out
from stackwright.generate.backend import TorchBackend
from stackwright.model.hub_folder import load_model_folder
from stackwright.pages.evaluation import evaluation_page
from stackwright.tokenizer.codec import Tokenizer
from stackwright.train.hardware import choose_threads
from stackwright.train.trainer import deterministic

__all__ = ["BIGRAM", "MODEL", "PREVIOUS_LINE", "TABLES", "UNIGRAM", "XZ", "run_evaluate"]

TABLES = {"scores": SCORES, "infilling": INFILLING}

COMPLETIONS_FILE = "completions.jsonl"


@dataclass(frozen=True)
class _Work:
    """What is asked of the models."""

    context: StageContext
    tokenizer: Tokenizer
    held_out: HeldOut
    texts: Sequence[str]
    problems: Sequence[Problem]
    part: Part
    checkpoints: Sequence[Path]  # in order of steps; the last one is scored in full

    def problems_of(self, checkpoint: Path) -> Sequence[Problem]:
        return self.problems if checkpoint == self.checkpoints[-1] else self.part.problems

    def completions_path(self, checkpoint: Path) -> Path:
        last = checkpoint == self.checkpoints[-1]
        return self.context.staging.folder / (COMPLETIONS_FILE if last else f"completions-{checkpoint.name}.jsonl")


@dataclass(frozen=True)
class _Bits:
    """Bits of each document under each model, and bits per byte of the earlier checkpoints on the part."""

    by_model: dict[str, list[float]]
    discount: float
    earlier: dict[Path, float]


def run_evaluate(context: StageContext) -> dict[str, Any]:
    """Run the stage; returns the counts of the manifest."""
    work = _prepare(context)
    if work is None:
        return _write(context, [], [], nothing_held_out({"seed": context.recipe.seed}))
    with deterministic(choose_threads(context.recipe.train)):
        if work.problems:
            _write_completions(work)
        bits = _count_bits(work)
    scores = score_rows(work.held_out.rows, bits.by_model)
    infills = {checkpoint: _score_answers(work, checkpoint) for checkpoint in work.checkpoints}
    return _write(context, scores, infills[work.checkpoints[-1]], _results(work, bits, scores, infills))


def _prepare(context: StageContext) -> _Work | None:
    """Choose what is asked; None where nothing is held out."""
    settings, inputs = context.recipe.evaluate, context.inputs
    tokenizer = Tokenizer.load(inputs["tokenizer"].folder)
    held_out = choose_held_out(inputs["tokens"], tokenizer, settings.max_bytes)
    if held_out is None:
        return None
    found = read_documents(inputs["dataset"].table("documents"), held_out.names)
    documents = [found[name] for name in held_out.names]
    problems = choose_problems(documents, settings.infilling_problems, context.recipe.seed)
    return _Work(
        context=context,
        tokenizer=tokenizer,
        held_out=held_out,
        texts=[document["content"] for document in documents],
        problems=problems,
        part=Part.of(held_out, problems, settings.max_bytes),
        checkpoints=checkpoint_folders(inputs["checkpoints"].folder),
    )


def _write_completions(work: _Work) -> None:
    """Write the answers of every checkpoint, unless a killed run has left them: a file with its final name is whole."""
    wanted = {checkpoint: work.problems_of(checkpoint) for checkpoint in reversed(work.checkpoints)}
    limit = work.context.recipe.evaluate.infilling_max_new_tokens
    task = work.context.progress.task("infill", sum(map(len, wanted.values())), "problems")
    for checkpoint, problems in wanted.items():
        path = work.completions_path(checkpoint)
        if path.is_file():
            task.advance(len(problems))
            continue
        backend = TorchBackend(load_model_folder(checkpoint))
        records = complete_problems(backend, work.tokenizer, problems, limit, task)
        work.context.staging.write_text(path.name, dump_completions(records))


def _count_bits(work: _Work) -> _Bits:
    """Score the last checkpoint and the baselines in full, the earlier checkpoints on the part."""
    *earlier, last = work.checkpoints
    task = work.context.progress.task("score", len(earlier) + 4, "models")
    own = model_bits(load_model_folder(last), work.tokenizer, work.held_out)
    task.advance(1)
    on_part = {}
    for checkpoint in earlier:
        on_part[checkpoint] = part_bits_per_byte(load_model_folder(checkpoint), work.tokenizer, work.part)
        task.advance(1)
    baselines, discount = baseline_bits(work.context, work.tokenizer, work.held_out, work.texts)
    task.advance(len(baselines))
    return _Bits({MODEL: own, **baselines}, discount, on_part)


def _score_answers(work: _Work, checkpoint: Path) -> list[dict[str, Any]]:
    if not work.problems:
        return []
    return score_completions(work.completions_path(checkpoint), work.context.inputs["dataset"].table("documents"))


def _results(
    work: _Work, bits: _Bits, scores: Sequence[dict[str, Any]], infills: dict[Path, list[dict[str, Any]]]
) -> dict[str, Any]:
    last, recipe, part = work.checkpoints[-1], work.context.recipe, work.part
    records = load_completions(work.completions_path(last)) if work.problems else []
    settings = {"bigram_discount": bits.discount, **recipe.evaluate.model_dump(mode="json")}
    resampling = Resampling(recipe.evaluate.bootstrap_samples, recipe.seed)
    results = build_results(scores, infills[last], records, work.held_out.split, resampling, settings)
    values = {**bits.earlier, last: part.bits_per_byte(scores)[MODEL]}
    results["checkpoint_part"] = part_facts(part, scores, infills[last])
    results["checkpoints"] = [
        checkpoint_line(checkpoint, values[checkpoint], part.infilling_rows(infills[checkpoint]))
        for checkpoint in work.checkpoints
    ]
    return results


def _write(
    context: StageContext,
    scores: Sequence[dict[str, Any]],
    infills: Sequence[dict[str, Any]],
    results: dict[str, Any],
) -> dict[str, Any]:
    """Write the tables and the results; returns the counts of the manifest."""
    staging, tasks = context.staging, results["tasks"]
    staging.write_table_part("scores", 0, scores)
    staging.write_table_part("infilling", 0, infills)
    staging.write_json("results.json", results)
    staging.write_text("results.md", results_page(results))
    staging.write_text("results.html", evaluation_page(context.recipe.name, results))
    plot_scores(staging.folder, results)
    bits, lines = tasks.get(TASK, {"models": {}}), tasks.get(infilling.TASK, {"models": {}, "num_problems": 0})
    return {key: results[key] for key in ("headline", "num_bytes", "num_documents", "split")} | {
        "bits_per_byte": {model: score["value"] for model, score in bits["models"].items()},
        "infilling": {model: metrics["exact_match"]["value"] for model, metrics in lines["models"].items()},
        "num_problems": lines["num_problems"],
    }

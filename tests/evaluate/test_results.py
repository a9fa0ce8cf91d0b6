"""What the results say can be computed again from the tables, and is said as strongly as the intervals allow."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stackwright.artifact import Staging, load_artifact
from stackwright.engine import Engine, StageContext
from stackwright.evaluate import stage
from stackwright.evaluate.bootstrap import LEAST_DOCUMENTS
from stackwright.evaluate.checkpoints import Part
from stackwright.evaluate.completions import load_completions
from stackwright.evaluate.held_out import HeldOut, choose_held_out, choose_part
from stackwright.evaluate.infilling import choose_problems, means_of, score_completions
from stackwright.evaluate.markdown import interval_text, markdown_table, results_page
from stackwright.evaluate.plots import plot_scores
from stackwright.evaluate.results import Resampling, build_results, nothing_held_out
from stackwright.evaluate.stage import BIGRAM, MODEL, PREVIOUS_LINE, UNIGRAM, XZ
from stackwright.recipe import load_recipe
from stackwright.tokenizer.codec import Tokenizer

BITS, LINES = "held_out_bits_per_byte", "single_line_infilling"


@pytest.fixture
def evaluation(finished_run: Path) -> Path:
    return finished_run / "evaluation"


@pytest.fixture
def results(evaluation: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((evaluation / "results.json").read_text())
    return value


def rows_of(evaluation: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = load_artifact(evaluation).table(table).read().to_pylist()
    return rows


def held_out_of(run: Path) -> HeldOut:
    tokenizer = Tokenizer.load(run / "tokenizer")
    found = choose_held_out(load_artifact(run / "tokens"), tokenizer, 4000)
    assert found is not None
    return found


def context_of(run: Path, folder: Path, *overrides: str) -> StageContext:
    recipe = load_recipe(str(run / "recipe.toml"), overrides)
    inputs = {name: load_artifact(run / name) for name in ("checkpoints", "tokens", "tokenizer", "dataset")}
    return StageContext(recipe, inputs, Staging.open(folder, stage.TABLES), Engine())


def test_every_model_is_scored_on_the_same_bytes(results: dict[str, Any], evaluation: Path, finished_run: Path) -> None:
    rows, tokenizer = rows_of(evaluation, "scores"), Tokenizer.load(finished_run / "tokenizer")
    assert {row["model"] for row in rows} == {MODEL, UNIGRAM, BIGRAM, XZ} == set(results["tasks"][BITS]["models"])
    texts = {
        (row["repo"], row["path"]): row["content"]
        for row in load_artifact(finished_run / "dataset").table("documents").read().to_pylist()
        if row["split"] == results["split"]
    }
    for row in rows:
        assert row["num_bytes"] == len(texts[row["repo"], row["path"]].encode())
        # End-of-text stands for no byte and is not counted.
        assert row["num_tokens"] == len(tokenizer.encode(texts[row["repo"], row["path"]]))
    assert len(rows) == 4 * results["num_documents"]
    assert 0 < results["num_bytes"] <= 4000
    assert results["num_repositories"] == len({row["repo"] for row in rows})


def test_scores_are_the_sums_of_the_table(results: dict[str, Any], evaluation: Path) -> None:
    rows = rows_of(evaluation, "scores")
    task = results["tasks"][BITS]
    for model, score in task["models"].items():
        own = [row for row in rows if row["model"] == model]
        assert score["value"] == pytest.approx(sum(row["bits"] for row in own) / sum(row["num_bytes"] for row in own))
        assert score["low"] <= score["value"] <= score["high"]
        for language, entry in task["languages"].items():
            part = [row for row in own if row["language"] == language]
            bits = sum(row["bits"] for row in part) / sum(row["num_bytes"] for row in part)
            assert entry["models"][model]["value"] == pytest.approx(bits)


def test_infilling_scores_are_the_means_of_the_table(results: dict[str, Any], evaluation: Path) -> None:
    rows, task = rows_of(evaluation, "infilling"), results["tasks"][LINES]
    assert set(task["models"]) == {MODEL, PREVIOUS_LINE}
    for model, scores in task["models"].items():
        for metric, score in scores.items():
            assert score["value"] == pytest.approx(means_of(rows, model, metric))
            assert score["low"] <= score["value"] <= score["high"]
    assert task["num_problems"] == len(rows) / 2
    assert sum(task["finish_reasons"].values()) == task["num_problems"]


def test_languages_add_up(results: dict[str, Any]) -> None:
    bits, lines = results["tasks"][BITS], results["tasks"][LINES]
    assert len(bits["languages"]) > 1
    for key in ("num_documents", "num_bytes"):
        assert sum(entry[key] for entry in bits["languages"].values()) == results[key]
    assert sum(entry["num_problems"] for entry in lines["languages"].values()) == lines["num_problems"]
    weighted = sum(entry["num_bytes"] * entry["models"][MODEL]["value"] for entry in bits["languages"].values())
    assert weighted / results["num_bytes"] == pytest.approx(bits["models"][MODEL]["value"])


def test_results_can_be_computed_again_from_the_tables(results: dict[str, Any], evaluation: Path) -> None:
    settings = results["settings"]
    again = build_results(
        rows_of(evaluation, "scores"),
        rows_of(evaluation, "infilling"),
        load_completions(evaluation / "completions.jsonl"),
        results["split"],
        Resampling(settings["bootstrap_samples"], settings["seed"]),
        settings,
    )
    assert again["tasks"] == results["tasks"]
    assert again["headline"] == results["headline"]


def test_completions_name_their_line_and_score_the_same_again(evaluation: Path, finished_run: Path) -> None:
    lines = [json.loads(line) for line in (evaluation / "completions.jsonl").read_text().splitlines()]
    keys = {"task", "task_version", "task_id", "sample", "prompt_sha256", "completion", "finish_reason"}
    assert all(set(line) == keys for line in lines)
    documents = load_artifact(finished_run / "dataset").table("documents")
    assert score_completions(evaluation / "completions.jsonl", documents) == rows_of(evaluation, "infilling")


def test_every_checkpoint_is_scored_and_the_last_agrees_with_the_tables(
    results: dict[str, Any], evaluation: Path, finished_run: Path
) -> None:
    assert [line["step"] for line in results["checkpoints"]] == [4, 8, 12]
    held_out = held_out_of(finished_run)
    names = {(row["repo"], row["path"]) for row in choose_part(held_out, 4000 // 4).rows}
    own = [row for row in rows_of(evaluation, "scores") if row["model"] == MODEL and (row["repo"], row["path"]) in names]
    bits = sum(row["bits"] for row in own) / sum(row["num_bytes"] for row in own)
    last, part = results["checkpoints"][-1], results["checkpoint_part"]
    assert last["bits_per_byte"] == pytest.approx(bits)
    assert (part["num_documents"], part["num_bytes"]) == (len(own), sum(row["num_bytes"] for row in own))
    assert set(part["baselines"][BITS]) == {UNIGRAM, BIGRAM, XZ}
    assert len({line["bits_per_byte"] for line in results["checkpoints"]}) == 3
    counted = [len(load_completions(evaluation / f"completions-step-{step:06d}.jsonl")) for step in (4, 8)]
    assert counted == [part["num_problems"]] * 2
    assert 0 < part["num_problems"] <= 50


def test_the_part_is_bounded_and_never_empty(finished_run: Path) -> None:
    held_out = held_out_of(finished_run)
    sizes = [int(row["num_bytes"]) for row in held_out.rows]
    for most in (1, min(sizes), sum(sizes) // 2, sum(sizes)):
        part = choose_part(held_out, most)
        assert part.rows
        assert [row["num_bytes"] for row in part.rows] == held_out.dataset.num_bytes[part.documents].tolist()
        assert sum(row["num_bytes"] for row in part.rows) <= max(most, min(sizes))
    documents = [
        {
            "repo": "r",
            "revision": "1",
            "path": f"{file}",
            "language": "Python",
            "content": "a = long_line()\nb = other()\n\nc",
        }
        for file in range(60)
    ]
    problems = choose_problems(documents, 100, seed=0)
    assert [problem.task_id for problem in Part.of(held_out, problems, 4000).problems] == [
        problem.task_id for problem in problems[:50]
    ]


@pytest.mark.parametrize("sizes", list(itertools.permutations([50, 500, 900])))
def test_a_file_over_the_bound_is_never_part_of_it(sizes: tuple[int, ...]) -> None:
    """Wherever the small file stands in the order, it alone fits; and it is the one taken where none does."""
    dataset: Any = SimpleNamespace(num_bytes=np.array([1, *sizes]))  # document 0 is not held out
    rows = [{"num_bytes": size} for size in sizes]
    for most in (100, 10):
        part = choose_part(HeldOut("test", dataset, [1, 2, 3], rows), most)
        assert (part.rows, part.documents) == ([{"num_bytes": 50}], [1 + sizes.index(50)])


def test_completions_are_kept_when_scoring_fails(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluation: Path
) -> None:
    """Every way to a score is blocked; the answers are there all the same, and the next try takes them as they are."""

    def fail(*arguments: object) -> None:
        del arguments
        raise RuntimeError("scoring is broken")

    def fail_to_answer(*arguments: object) -> None:
        del arguments
        raise AssertionError("the answers were asked for again")

    context = context_of(finished_run, tmp_path / "staging")
    with monkeypatch.context() as patch:
        for name in ("model_bits", "part_bits_per_byte", "baseline_bits", "score_completions"):
            patch.setattr(stage, name, fail)
        with pytest.raises(RuntimeError, match="scoring is broken"):
            stage.run_evaluate(context)
    written = (tmp_path / "staging" / "completions.jsonl").read_bytes()
    assert written == (evaluation / "completions.jsonl").read_bytes()
    assert not (tmp_path / "staging" / "results.json").exists()
    monkeypatch.setattr(stage, "complete_problems", fail_to_answer)
    stage.run_evaluate(context)
    assert (tmp_path / "staging" / "results.json").read_bytes() == (evaluation / "results.json").read_bytes()


def test_scoring_reads_the_file_and_not_what_is_in_memory(finished_run: Path, tmp_path: Path, evaluation: Path) -> None:
    """Answers that were put into the file are what is scored."""
    folder = tmp_path / "staging"
    folder.mkdir()
    for file in evaluation.glob("completions*.jsonl"):
        shutil.copy(file, folder)
    texts = {
        f"{row['repo']}@{row['revision']}:{row['path']}": row["content"].split("\n")
        for row in load_artifact(finished_run / "dataset").table("documents").read().to_pylist()
    }
    path = folder / "completions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        name, _, number = line["task_id"].rpartition("#")
        line["completion"] = texts[name][int(number) - 1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = stage.run_evaluate(context_of(finished_run, folder))
    assert counts["infilling"][MODEL] == 1.0


def test_no_problems_leave_the_task_out(finished_run: Path, tmp_path: Path) -> None:
    counts = stage.run_evaluate(context_of(finished_run, tmp_path / "staging", "evaluate.infilling_problems=0"))
    results = json.loads((tmp_path / "staging" / "results.json").read_text())
    assert list(results["tasks"]) == [BITS]
    assert (counts["infilling"], counts["num_problems"]) == ({}, 0)
    assert {line["exact_match"] for line in results["checkpoints"]} == {None}
    assert not list((tmp_path / "staging").glob("completions*"))
    assert (tmp_path / "staging" / "scores.png").is_file()


def test_settings_change_the_results(finished_run: Path, tmp_path: Path, results: dict[str, Any]) -> None:
    overrides = ["evaluate.infilling_problems=3", "evaluate.infilling_max_new_tokens=1", "evaluate.bootstrap_samples=7"]
    counts = stage.run_evaluate(context_of(finished_run, tmp_path / "staging", *overrides))
    assert counts["num_problems"] == 3 < results["tasks"][LINES]["num_problems"]
    answers = load_completions(tmp_path / "staging" / "completions.jsonl")
    tokenizer = Tokenizer.load(finished_run / "tokenizer")
    assert all(len(tokenizer.encode(answer.completion)) <= 1 for answer in answers)
    again = json.loads((tmp_path / "staging" / "results.json").read_text())
    assert again["tasks"][BITS]["models"][MODEL]["value"] == results["tasks"][BITS]["models"][MODEL]["value"]
    assert again["tasks"][BITS]["models"][MODEL] != results["tasks"][BITS]["models"][MODEL]


def bits_rows(**bits: list[float]) -> list[dict[str, Any]]:
    """Rows of documents of 100 bytes each."""
    return [
        {
            "repo": "r",
            "revision": "1",
            "path": f"{place}",
            "language": "Python",
            "model": model,
            "bits": 100 * value,
            "num_bytes": 100,
            "num_tokens": 30,
        }
        for model, values in bits.items()
        for place, value in enumerate(values)
    ]


def headline(documents: int) -> str:
    own = [2.0 + 0.1 * (place % 2) for place in range(documents)]
    others = {"worse": [3.0] * documents, "better": [1.0] * documents, "even": [*own[1:], own[0]]}
    rows = bits_rows(**{MODEL: own}, **others)
    text: str = build_results(rows, [], [], "test", Resampling(500, 0), {})["headline"]
    return text


def test_headline_says_no_more_than_the_intervals_allow() -> None:
    first, *verdicts = headline(10).split("; ")
    assert first.startswith("2.050 [2.0")
    assert first.endswith("] bits per byte on held-out repositories")
    assert verdicts == ["beats worse 3.000", "loses to better 1.000", "not told apart from even 2.050"]


def test_headline_of_few_documents_tells_nothing_apart() -> None:
    first, *verdicts = headline(LEAST_DOCUMENTS - 1).split("; ")
    assert first == "2.040 bits per byte on held-out repositories"
    assert verdicts == ["not told apart from worse 3.000, better 1.000, even 2.040"]


def test_headline_says_that_copying_a_line_is_better() -> None:
    infills = [
        {
            "repo": "r",
            "revision": "1",
            "path": f"{place}",
            "language": "Python",
            "line": 1,
            "sample": 0,
            "model": model,
            "exact_match": exact,
            "edit_similarity": similarity,
        }
        for place in range(10)
        for model, exact, similarity in ((MODEL, True, 0.2), (PREVIOUS_LINE, False, 0.5))
    ]
    results = build_results(bits_rows(**{MODEL: [1.0] * 10}), infills, [], "test", Resampling(100, 0), {})
    assert "1.000 [1.000, 1.000] of 10 lines infilled exactly; beats previous line 0.000" in results["headline"]
    assert results["headline"].endswith("0.200 [0.200, 0.200] edit similarity; loses to previous line 0.500")


def test_results_page_holds_the_scores_in_eighty_columns(results: dict[str, Any], evaluation: Path) -> None:
    page = (evaluation / "results.md").read_text()
    assert page == results_page(results)
    assert max(len(line) for line in page.splitlines()) <= 80
    for task in results["tasks"].values():
        for language in task["languages"]:
            assert f"\n| {language} " in page
    bits = results["tasks"][BITS]
    assert interval_text(bits["models"][MODEL], bits["num_documents"]) in page
    assert " ".join(page.split()).startswith("# Scores on held-out repositories " + results["headline"])
    for line in results["checkpoints"]:
        assert f"{line['bits_per_byte']:.3f}" in page


def test_an_interval_of_few_documents_is_not_shown() -> None:
    interval = {"value": 2.084, "low": 2.01, "high": 2.149}
    assert interval_text(interval, LEAST_DOCUMENTS) == "2.08 [2.01, 2.15]"
    assert interval_text(interval, LEAST_DOCUMENTS - 1) == "2.08"


def test_table_columns_are_aligned() -> None:
    assert markdown_table(["name", "n"], [["a", "1,000"], ["longer", "2"]]).splitlines() == [
        "| name   |     n |",
        "| ------ | ----: |",
        "| a      | 1,000 |",
        "| longer |     2 |",
    ]


def test_nothing_held_out_has_no_scores(tmp_path: Path) -> None:
    results = nothing_held_out({"seed": 0})
    assert (results["tasks"], results["checkpoints"], results["num_documents"]) == ({}, [], 0)
    assert results["headline"].startswith("no held-out documents")
    assert results["headline"] in " ".join(results_page(results).split())
    plot_scores(tmp_path, results)
    assert not list(tmp_path.iterdir())


def test_plot_shows_baselines_and_equal_results_give_equal_files(results: dict[str, Any], tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        plot_scores(tmp_path / name, results)
    first, second = ((tmp_path / name / "scores.svg").read_bytes() for name in ("first", "second"))
    assert first == second
    # Text is drawn as glyphs; matplotlib keeps the words in comments.
    for name in (UNIGRAM, BIGRAM, XZ, PREVIOUS_LINE):
        assert f"<!-- {name} ".encode() in first
    assert (tmp_path / "first" / "scores.png").read_bytes().startswith(b"\x89PNG")


def test_plots_are_run_files_and_scores_are_hashed(evaluation: Path) -> None:
    manifest = load_artifact(evaluation).manifest
    assert {"scores.png", "scores.svg"} <= set(manifest.run["files"])
    assert {"completions.jsonl", "results.json", "results.md"} <= set(manifest.content["files"])
    assert not {"scores.png", "scores.svg"} & set(manifest.content["files"])
    assert math.isfinite(manifest.counts["bits_per_byte"][MODEL])
    assert set(manifest.counts) == {
        *("headline", "num_bytes", "num_documents", "split", "bits_per_byte", "infilling", "num_problems")
    }

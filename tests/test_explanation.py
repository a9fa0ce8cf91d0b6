"""A run tells everything it knows about a file or a repository, and no more than it knows."""

from __future__ import annotations

import datetime
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stackwright.artifact import MANIFEST, load_artifact
from stackwright.build import build
from stackwright.data.loader import TokenDataset, open_loader
from stackwright.document import git_blob_id
from stackwright.explanation import explain_run
from stackwright.recipe import DataSettings
from stackwright.tokenizer.codec import Tokenizer
from tests.asked_world import SECRETS
from tests.corpus import small_recipe, write
from tests.pages.artifacts import entry, fired, make_ledger

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


def the_document(run: Path, target: str, limit: int | None = 20) -> dict[str, Any]:
    [row] = explain_run(run, target, limit=limit, now=NOW).documents
    return dict(row)


def names(copies: list[dict[str, Any]]) -> list[str]:
    return [f"{copy['repo']}:{copy['path']}" for copy in copies]


def test_the_rule_that_decided_is_told_apart_from_the_others(asked_run: Path) -> None:
    row = the_document(asked_run, "mixed:bad.js")
    assert (row["stage"], row["verdict"], row["source"], row["revision"]) == ("curate", "drop", "directory", "unversioned")
    assert row["deciding"]["reason"] == row["reason"] == "training_refused"
    assert row["deciding"]["matched"] == ".gitattributes line 1: bad.js ai-training=false"
    assert [fired["reason"] for fired in row["also_fired"]] == [
        "license_not_permissive",
        "line_too_long",
        "mean_line_too_long",
        "too_few_alphanumeric",
    ]
    assert [row["deciding"], *row["also_fired"]] == row["fired"]


def test_the_rule_that_decided_is_the_one_that_the_row_names(tmp_path: Path) -> None:
    row = entry("a", "f.py", "odd_word")
    first = fired("license_missing", "license")
    run = make_ledger(tmp_path / "run", [{**row, "fired": [first, *row["fired"]]}])
    document = the_document(run, "a:f.py")
    assert (document["deciding"], document["also_fired"]) == (row["fired"][0], [first])


def test_a_copy_is_decided_by_its_copy_and_not_by_what_was_redacted_in_it(tmp_path: Path, asked_repositories: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "world" / name / "package.json", '{"license": "MIT"}')
        write(tmp_path / "world" / name / "people.py", (asked_repositories / "mixed" / "people.py").read_bytes())
        write(tmp_path / "world" / name / "own.py", f"value = '{name}'\n")
    build(small_recipe(tmp_path / "world"), tmp_path / "run", workers=1, to_stage="curate")
    row = the_document(tmp_path / "run", "two:people.py")
    assert row["deciding"]["reason"] == "exact_duplicate"
    assert row["also_fired"] == []
    assert row["redactions"] == {"email": 2, "ip_address": 1}
    assert explain_run(tmp_path / "run", "two").totals["redactions"] == {}
    assert explain_run(tmp_path / "run", "one").totals["redactions"] == {"email": 2, "ip_address": 1}


def test_redactions_are_counted_by_kind_and_their_values_are_nowhere(asked_run: Path) -> None:
    row = the_document(asked_run, "mixed:people.py")
    assert row["redactions"] == {"email": 2, "ip_address": 1}
    assert (row["verdict"], row["deciding"], row["also_fired"]) == ("keep", None, [])
    assert row["detected_licenses"] == ["MIT"]
    text = json.dumps(explain_run(asked_run, "mixed", limit=None).to_json())
    assert not [secret for secret in SECRETS if secret in text]


def test_files_that_were_never_admitted_have_an_answer(asked_run: Path) -> None:
    row = the_document(asked_run, "traps:large.txt")
    assert (row["stage"], row["reason"], row["deciding"]["rule"]) == ("collect", "file_too_large", "collect")
    assert (row["split"], row["license_type"], row["detected_licenses"]) == (None, None, None)


def test_copies_are_told_from_both_sides_with_near_edges_that_decided_nothing(asked_run: Path) -> None:
    kept = the_document(asked_run, "family0:near.py")
    assert (kept["copy_of"], kept["similar"]) == (None, [])
    assert names(kept["copies"]) == [f"directory/family{number}:near.py" for number in (1, 2, 3)]
    assert {copy["kind"] for copy in kept["copies"]} == {"near"}
    similarities = [copy["similarity"] for copy in kept["copies"]]
    assert similarities == sorted(similarities, reverse=True)
    assert 0.7 < similarities[-1] < similarities[0] < 1
    dropped = the_document(asked_run, "family2:near.py")
    assert names([dropped["copy_of"]]) == ["directory/family0:near.py"]
    assert dropped["copies"] == []
    assert names(dropped["similar"]) == ["directory/family3:near.py", "directory/family1:near.py"]
    assert dropped["similar"][0]["similarity"] > dropped["similar"][1]["similarity"]
    assert (dropped["num_copies"], dropped["num_similar"]) == (0, 2)
    exact = the_document(asked_run, "family3:same.py")
    assert exact["copy_of"]["kind"] == "exact"
    assert exact["copy_of"]["content_id"] == exact["content_id"]


def test_copies_beyond_the_limit_are_counted(asked_run: Path) -> None:
    row = the_document(asked_run, "family0:same.py", limit=1)
    assert (len(row["copies"]), row["num_copies"]) == (1, 3)
    row = the_document(asked_run, "family2:near.py", limit=1)
    assert (len(row["similar"]), row["num_similar"]) == (1, 2)
    rows = explain_run(asked_run, "family0", limit=3).documents
    assert [(row["path"], len(row["copies"]), row["num_copies"]) for row in rows] == [
        ("near.py", 3, 3),
        ("package.json", 3, 5),
        ("same.py", 3, 3),
    ]


@pytest.mark.parametrize("repo", ["mixed", "traps", "family0", "family2", "refuses", "repo00"])
def test_totals_are_the_sums_over_all_files(asked_run: Path, repo: str) -> None:
    explanation = explain_run(asked_run, repo, limit=None)
    rows, totals = explanation.documents, explanation.totals
    assert explanation.num_documents == len(rows) == sum(explanation.verdicts.values())
    assert explanation.verdicts == Counter(row["reason"] or "keep" for row in rows)
    kept = [row for row in rows if row["verdict"] == "keep"]
    assert totals["splits"] == Counter(row["split"] for row in kept)
    assert totals["redactions"] == sum((Counter(row["redactions"]) for row in kept), Counter[str]())
    assert totals["dropped_for"] == Counter(row["copy_of"]["repo"] for row in rows if row["copy_of"])
    assert totals["kept_for"] == Counter(copy["repo"] for row in rows for copy in row["copies"])
    few = explain_run(asked_run, repo, limit=1)
    assert (len(few.documents), few.totals, few.verdicts) == (1, totals, explanation.verdicts)


def test_a_repository_has_its_source_revision_and_declaration(asked_run: Path) -> None:
    [row] = explain_run(asked_run, "mixed").repositories
    assert dict(row) == {
        "repo": "directory/mixed",
        "revision": "unversioned",
        "source": "directory",
        "declared_license": "MIT",
        "license_origin": "package.json",
    }


def test_a_content_id_has_every_file_that_holds_it_in_small_letters_or_large(
    asked_run: Path, asked_repositories: Path
) -> None:
    content_id = git_blob_id((asked_repositories / "family1" / "same.py").read_bytes())
    for target in (content_id, content_id.upper()):
        explanation = explain_run(asked_run, target)
        assert (explanation.kind, explanation.verdicts) == ("content", {"exact_duplicate": 3, "keep": 1})


def test_every_document_says_how_often_each_checkpoint_sampled_it(finished_run: Path) -> None:
    tokens, tokenizer = load_artifact(finished_run / "tokens"), Tokenizer.load(finished_run / "tokenizer")
    loader = open_loader(tokens, finished_run / "tokenizer", "train", DataSettings(seq_len=64), 0)
    dataset = TokenDataset(tokens, "train", tokenizer.sha256)
    times = np.zeros((3, len(dataset)), int)
    for row, num_samples in enumerate((16, 32, 48)):
        for sample in range(num_samples):
            times[row, loader.documents_of(sample)] += 1
    rows = tokens.table("documents").read(["repo", "path"]).take(dataset.rows).to_pylist()
    expected = {(row["repo"], row["path"]): column.tolist() for row, column in zip(rows, times.T, strict=True)}
    assert len([counts for counts in expected.values() if counts[2]]) > 10
    for repo in sorted({row["repo"] for row in load_artifact(finished_run / "corpus").table("ledger").read().to_pylist()} | {
        f"directory/repo{number:02d}" for number in range(12)
    }):  # fmt: skip
        explanation = explain_run(finished_run, repo, limit=None)
        assert explanation.training == "current"
        own = {row["path"]: expected.get((repo, row["path"]), [0, 0, 0]) for row in explanation.documents}
        for row in explanation.documents:
            counts = own[row["path"]]
            assert row["sampled"] == counts[2]
            seen = [{"step": step, "times": count} for step, count in zip((4, 8, 12), counts, strict=True) if count]
            assert row["checkpoints"] == seen
        sums = [(sum(map(bool, column)), sum(column)) for column in zip(*own.values(), strict=True)]
        assert (explanation.totals["files_sampled"], explanation.totals["sampled"]) == sums[2]
        assert explanation.totals["checkpoints"] == [
            {"step": step, "files": files, "times": total}
            for step, (files, total) in zip((4, 8, 12), sums, strict=True)
            if files
        ]


def test_a_run_that_has_only_a_dataset_says_that_nothing_was_trained(asked_run: Path) -> None:
    explanation = explain_run(asked_run, "mixed:people.py")
    assert explanation.training == "untrained"
    assert (explanation.documents[0]["sampled"], explanation.documents[0]["checkpoints"]) == (None, [])
    assert (explanation.totals["files_sampled"], explanation.totals["sampled"]) == (None, None)


def sampled_files(run: Path) -> dict[tuple[str, str], int]:
    found = {}
    for repo in range(12):
        for row in explain_run(run, f"repo{repo:02d}", limit=None).documents:
            if row["sampled"]:
                found[row["repo"], row["path"]] = row["sampled"]
    return found


def test_checkpoints_of_an_earlier_dataset_count_for_the_bytes_they_saw(
    run_copy: Path, repositories: Path, tmp_path: Path
) -> None:
    before = sampled_files(run_copy)
    (repo, path), times = next(iter(before.items()))
    changed = Path(shutil.copytree(repositories, tmp_path / "changed", symlinks=True))
    file = changed / repo.removeprefix("directory/") / path
    old = git_blob_id(file.read_bytes())
    file.write_text("def entirely(other, text):\n    return other + text\n")
    build(small_recipe(changed), run_copy, workers=1, to_stage="curate")
    explanation = explain_run(run_copy, f"{repo}:{path}")
    assert explanation.training == "earlier_dataset"
    assert explanation.documents[0]["content_id"] != old
    assert (explanation.documents[0]["sampled"], explanation.documents[0]["checkpoints"]) == (0, [])
    assert times > 0
    after = sampled_files(run_copy)
    assert after == {key: count for key, count in before.items() if key != (repo, path)}


def test_without_the_tokens_what_was_trained_on_is_called_earlier(run_copy: Path) -> None:
    before = sampled_files(run_copy)
    shutil.rmtree(run_copy / "tokens")
    assert explain_run(run_copy, "repo00").training == "earlier_dataset"
    assert sampled_files(run_copy) == before


def test_checkpoints_without_a_load_list_give_no_number(run_copy: Path) -> None:
    manifest = load_artifact(run_copy / "checkpoints").manifest
    older = replace(manifest, content={**manifest.content, "tables": {}})
    (run_copy / "checkpoints" / MANIFEST).write_text(json.dumps(older.to_json()))
    explanation = explain_run(run_copy, "repo00")
    assert explanation.training == "unknown"
    assert {row["sampled"] for row in explanation.documents} == {None}
    assert explanation.totals["sampled"] is None

"""The ledger accounts for every file, with the evidence, and never with a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stackwright.artifact import Table, load_artifact
from stackwright.document import git_blob_id
from stackwright.errors import TargetError
from stackwright.govern.ledger import explain
from tests.pages.artifacts import entry, make_ledger


def rows_of(table: Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.read().to_pylist()
    return rows


def names(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["repo"], row["revision"], row["path"]) for row in rows]


def test_every_file_has_exactly_one_row(finished_run: Path, repositories: Path) -> None:
    corpus, dataset = load_artifact(finished_run / "corpus"), load_artifact(finished_run / "dataset")
    refused, judged = rows_of(corpus.table("ledger")), rows_of(dataset.table("ledger"))
    assert names(judged) == names(rows_of(corpus.table("documents")))
    seen = names(refused) + names(judged)
    assert len(seen) == len(set(seen))
    on_disk = {
        (f"directory/{path.relative_to(repositories).parts[0]}", "/".join(path.relative_to(repositories).parts[1:]))
        for path in repositories.rglob("*")
        if (path.is_symlink() or path.is_file()) and "__pycache__" not in path.parts
    }
    assert {(repo, path) for repo, _, path in seen} == on_disk


def test_tables_are_sorted_by_document(finished_run: Path) -> None:
    for folder, name in [
        ("corpus", "documents"),
        ("corpus", "ledger"),
        ("dataset", "documents"),
        ("dataset", "ledger"),
        ("dataset", "clusters"),
        ("tokens", "documents"),
    ]:
        found = names(rows_of(load_artifact(finished_run / folder).table(name)))
        assert found == sorted(found)


EXPECTED = {
    "binary.py": "binary_file",
    "unknown.zzz": "unknown_language",
    "empty.py": "empty_file",
    "broken.py": "undecodable",
    "large.txt": "file_too_large",
    "loop": "symlink",
    "link.py": "symlink",
    "long.js": "line_too_long",
    "wide.py": "mean_line_too_long",
    "symbols.py": "too_few_alphanumeric",
    "made.py": "generated_file",
    "copy.py": None,  # its twin is of repo00, which comes first: one of the two goes
    "latin1.py": None,
    "utf16.txt": None,
    "bom.py": None,
    "people.py": None,
}


@pytest.mark.parametrize("path", EXPECTED)
def test_each_trap_has_its_reason(finished_run: Path, path: str) -> None:
    explanation = explain(finished_run, f"traps:{path}")
    [row] = explanation.documents
    expected = "exact_duplicate" if path == "copy.py" else EXPECTED[path]
    assert row["reason"] == expected
    assert row["verdict"] == ("keep" if expected is None else "drop")
    if expected is not None:
        assert row["fired"][0]["reason"] == expected


def test_licences_decide_by_repository(finished_run: Path) -> None:
    assert explain(finished_run, "repo04").verdicts == {"license_not_permissive": 7}
    [row] = list(explain(finished_run, "repo04:README.md").documents)
    assert row["fired"][0]["matched"] == "pyproject.toml: GPL-3.0-only"


def test_copies_name_the_kept_member(finished_run: Path, repositories: Path) -> None:
    content_id = git_blob_id((repositories / "traps" / "copy.py").read_bytes())
    by_id = explain(finished_run, content_id)
    assert (by_id.kind, by_id.num_documents, by_id.verdicts) == ("content", 2, {"exact_duplicate": 1, "keep": 1})
    [edge] = by_id.copies
    assert (edge["repo"], edge["other_repo"], edge["other_path"]) == (
        "directory/traps",
        "directory/repo00",
        "src/module0.py",
    )
    [dropped] = explain(finished_run, "traps:copy.py").documents
    assert dropped["fired"][-1]["kept"] == "directory/repo00@unversioned:src/module0.py"


def test_redactions_are_counted_and_their_values_are_nowhere(finished_run: Path) -> None:
    [row] = explain(finished_run, "traps:people.py").documents
    assert [fired["reason"] for fired in row["fired"]] == ["email", "ip_address"]
    [document] = [
        row for row in rows_of(load_artifact(finished_run / "dataset").table("documents")) if row["path"] == "people.py"
    ]
    assert "<EMAIL>" in document["content"]
    assert "127.0.0.1" in document["content"]
    for folder in ("dataset", "tokens", "tokenizer", "release"):
        for path in (finished_run / folder).rglob("*"):
            if path.is_file():
                assert b"someone@firm" not in path.read_bytes()
    for table in ("ledger", "documents"):
        assert "someone@firm" not in str(rows_of(load_artifact(finished_run / "dataset").table(table)))


def test_report_adds_up(finished_run: Path) -> None:
    report = json.loads((finished_run / "dataset" / "report.json").read_text())
    assert report["seen"]["files"] == report["kept"]["files"] + report["dropped"]["files"]
    assert report["dropped"]["files"] == sum(entry["files"] for entry in report["reasons"].values())
    for unit in ("files", "bytes"):
        assert report["seen"][unit] == sum(entry["seen"][unit] for entry in report["languages"].values())
        assert report["kept"][unit] == sum(entry[unit] for entry in report["splits"].values())
    kept = rows_of(load_artifact(finished_run / "dataset").table("documents"))
    assert report["kept"] == {"files": len(kept), "bytes": sum(row["size_bytes"] for row in kept)}
    assert report["redactions"] == {"email": 1, "ip_address": 1}


def test_documents_of_the_dataset_are_complete(finished_run: Path) -> None:
    import hashlib

    for row in rows_of(load_artifact(finished_run / "dataset").table("documents")):
        assert row["license_type"] == "permissive"
        assert row["detected_licenses"]
        assert row["split"] in ("train", "validation", "test")
        assert row["text_id"] == hashlib.sha256(row["content"].encode()).hexdigest()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("repo99", r"'repo99' was not seen in this run; did you mean 'repo\d\d'"),
        ("traps:binry.py", r"did you mean 'binary.py'.*\(in directory/traps\)"),
        ("0" * 40, r"give the git blob SHA-1 of the file's bytes"),
        ("traps:", r"known: "),
        ("repo00:module2.py", r"did you mean 'src/module2\.py'\? \(in directory/repo00\)"),
    ],
)
def test_unknown_targets_get_the_nearest_names(finished_run: Path, target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        explain(finished_run, target)


def test_counts_are_whole_when_rows_are_limited(finished_run: Path) -> None:
    explanation = explain(finished_run, "directory/traps", limit=2)
    assert len(explanation.documents) == 2
    assert explanation.num_documents == sum(explanation.verdicts.values()) > 10


def test_a_last_part_that_several_repositories_have_is_not_guessed(tmp_path: Path) -> None:
    run = make_ledger(tmp_path / "run", [entry("github/one/lib", "a.py", None), entry("github/two/lib", "b.py", "odd")])
    with pytest.raises(TargetError, match=r"'lib' was not seen in this run; say which: github/one/lib or github/two/lib"):
        explain(run, "lib")
    assert explain(run, "one/lib").verdicts == {"keep": 1}
    assert explain(run, "github/two/lib").verdicts == {"odd": 1}

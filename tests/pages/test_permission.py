"""Pages say what governs a file, what each policy would admit, and what repositories refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackwright.artifact import Artifact, Staging, load_artifact
from stackwright.document import DOCUMENTS, LEDGER
from stackwright.govern.licenses import POLICIES
from stackwright.pages.dataset import dataset_page
from stackwright.pages.permission import _POLICIES, MOST_REPOSITORIES
from stackwright.pages.report import run_report
from tests.pages.artifacts import ATTACK, REPORT, commit, counted, document, entry, fired, make_data
from tests.pages.test_report import check_page

SETTINGS = {"license_policy": "stack-v2", "licenses": ["permissive", "no_license"], "consent": "honor"}
COUNTED = {
    **REPORT,
    "policies": {"stack-v2": counted(4, 400), "strict-permissive": counted(1, 54)},
}


def refused(repo: str, path: str, reason: str, matched: str | None, size: int = 100) -> dict[str, Any]:
    return {**entry(repo, path, reason, size), "rule": "consent", "fired": [fired(reason, "consent", matched=matched)]}


REFUSED_ROWS = [
    refused("a", "one.py", "training_refused", f".gitattributes line 2: *.py{ATTACK} ai-training=false"),
    refused("a", "two.py", "training_refused", ".github/ai-opt-out", 50),
    refused("b", "three.py", "no_consent_given", None),
    entry("c", "long.py", "line_too_long"),
]
REFUSED_ROWS[0]["fired"].append(fired("line_too_long", "line_length"))  # evidence that decided nothing
REFUSED = {
    **REPORT,
    "reasons": {
        "binary_file": counted(1, 5000),
        "line_too_long": counted(1, 100),
        "no_consent_given": counted(1, 100),
        "training_refused": counted(2, 150),
    },
    "seen": counted(6, 5450),
}


def make_tables(run: Path, ledger: list[dict[str, Any]], licenses: list[list[str] | None]) -> Artifact:
    """Write tables `ledger` and `documents`; of the documents each has one of the lists of licences, and 10 bytes."""
    rows = [{**document("a", f"{number}.py", "x" * 10), "detected_licenses": names} for number, names in enumerate(licenses)]

    def fill(staging: Staging) -> None:
        staging.write_table_part("ledger", 0, ledger)
        staging.write_table_part("documents", 0, rows)

    return commit(run, "tables", "curate", fill, schemas={"ledger": LEDGER, "documents": DOCUMENTS})


def text_of(run: Path, report: dict[str, Any], tables: Artifact | None = None, **options: Any) -> str:
    """Return the text of the dataset page of a hand-made corpus."""
    make_data(run)
    corpus, dataset = load_artifact(run / "corpus"), load_artifact(run / "dataset")
    ledger = (tables or dataset).table("ledger")
    return check_page(dataset_page("small", corpus, report, ledger, dataset.table("clusters"), **options)).text


def test_licences_are_said_to_come_from_header_files_and_declaration(tmp_path: Path) -> None:
    text = text_of(tmp_path, COUNTED, settings=SETTINGS)
    assert "Every file has the licence that its repository declares" not in text
    assert "by its own header, by the licence files of its folder and of those above it, and by what its repository" in text
    assert "The recipe's policy is stack-v2; files that it finds permissive or no license are admitted." in text


def test_each_policy_shows_what_it_would_admit_and_the_chosen_one_is_marked(tmp_path: Path) -> None:
    text = text_of(tmp_path, COUNTED, settings=SETTINGS)
    assert "stack-v2 (chosen) the declaration, else the licence files" in text
    assert "by the table of The Stack v2 4 400 B 80.0 % 7.4 %" in text
    assert "strict-permissive all that governs the file is permissive 1 54 B 20.0 % 1.0 %" in text
    assert "chosen" not in text_of(tmp_path / "unknown", COUNTED)


def test_every_policy_is_described() -> None:
    assert set(_POLICIES) == set(POLICIES)


def test_licences_found_in_kept_files_are_counted_with_files_under_several_and_under_none(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, [], [["MIT"], ["Apache-2.0", "MIT"], ["MIT"], [], None])
    text = text_of(tmp_path, COUNTED, documents=tables.table("documents"))
    assert "licence files kept bytes kept MIT 3 30 B none found 2 20 B Apache-2.0 1 10 B" in text
    assert "Licences of the files that are kept" not in text_of(tmp_path / "without", COUNTED)


def test_what_an_older_version_did_not_count_is_left_out(tmp_path: Path) -> None:
    assert "What each policy would admit" not in text_of(tmp_path, REPORT, settings=SETTINGS)


def test_refusals_are_shown_by_reason_and_repository_with_what_it_says(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, REFUSED_ROWS, [])
    text = text_of(tmp_path, REFUSED, tables, settings=SETTINGS)
    assert "The recipe's rule is honor." in text
    assert "training_refused the repository says no to training on the file 2 150 B" in text
    assert "no_consent_given the repository does not say yes to training, and the recipe asks for a yes 1 100 B" in text
    assert "a 2 150 B .gitattributes line 2: *.py<script>" in text
    assert "b 1 100 B says nothing" in text
    assert "c 1 100 B" not in text


def test_refusals_are_a_step_of_the_funnel_where_there_are_any(tmp_path: Path) -> None:
    tables = make_tables(tmp_path, REFUSED_ROWS, [])
    text = text_of(tmp_path, REFUSED, tables)
    assert "admitted as text of a known language 5 (−1)" in text
    assert "not held back by its repository 2 (−3)" in text
    assert "passed the content filters 1 (−1)" in text
    without = text_of(tmp_path / "without", REPORT)
    assert "not held back" not in without
    assert "want of consent" not in without


@pytest.mark.parametrize(("more", "note"), [(0, ""), (1, "; 1 more repository not shown"), (2, "; 2 more repositories not")])
def test_repositories_beyond_the_table_are_counted(tmp_path: Path, more: int, note: str) -> None:
    number = MOST_REPOSITORIES + more
    rows = [refused(f"r{index:02d}", "a.py", "training_refused", ".github/ai-opt-out") for index in range(number)]
    text = text_of(tmp_path, REFUSED, make_tables(tmp_path, rows, []))
    assert f"Repositories whose files were left out{note}" in text
    assert text.count(".github/ai-opt-out") >= MOST_REPOSITORIES
    assert ("repository not shown" in text or "repositories not shown" in text) == bool(more)


def test_report_of_a_run_reads_policy_and_licences_from_its_artefacts(finished_run: Path) -> None:
    text = check_page(run_report([finished_run])).text
    assert "strict-permissive (chosen)" in text
    kept = load_artifact(finished_run / "dataset").table("documents").read(["detected_licenses"]).to_pylist()
    num_isc = sum(row["detected_licenses"] == ["ISC"] for row in kept)
    assert num_isc > 0
    assert f"ISC {num_isc} " in text

"""The questions of docs/ledger.md have the answers that the small world has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from stackwright.govern.ledger import Ledger
from tests.asked_world import build_asked_run, make_asked_repositories

PAGE = Path(__file__).parent.parent / "docs" / "ledger.md"
REPOSITORY = "installed/numpy"
"""The repository that the questions are about; the tests put one of the small world in its place."""

NUM_QUESTIONS = 10

Rows = list[dict[str, Any]]


def questions() -> list[tuple[str, str]]:
    """Return (title, SQL) of every question."""
    section = PAGE.read_text("utf-8").partition("## Ten questions")[2]
    return re.findall(r"\*\*(\d+\. [^*]+)\*\*.*?```sql\n(.*?)```", section, re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `runs/tiny`, over repositories that people ask about."""
    folder = tmp_path_factory.mktemp("workplace")
    build_asked_run(make_asked_repositories(folder / "repositories"), folder / "runs" / "tiny")
    return folder


@pytest.fixture
def ask(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the rows of a question, by its number."""
    monkeypatch.chdir(workplace)

    def answer(number: int, repository: str = REPOSITORY) -> Rows:
        result = duckdb.sql(questions()[number - 1][1].replace(REPOSITORY, repository))
        return [dict(zip(result.columns, row, strict=True)) for row in result.fetchall()]

    return answer


def only(rows: Rows, **values: Any) -> dict[str, Any]:
    [row] = [row for row in rows if all(row[name] == value for name, value in values.items())]
    return row


def test_there_are_ten_numbered_questions_and_no_sql_beside_them() -> None:
    assert [title.partition(".")[0] for title, _ in questions()] == [str(number + 1) for number in range(NUM_QUESTIONS)]
    assert PAGE.read_text("utf-8").count("```sql") == NUM_QUESTIONS


def test_why_files_were_dropped_accounts_for_every_file(ask: Any, workplace: Path) -> None:
    rows = ask(1)
    assert [row["files"] for row in rows] == sorted((row["files"] for row in rows), reverse=True)
    assert only(rows, reason="training_refused")["files"] == 4
    assert only(rows, reason="file_too_large")["bytes"] == 300_000
    [total] = Ledger(workplace / "runs" / "tiny").query("select count(*) as files from files where verdict = 'drop'")
    assert sum(row["files"] for row in rows) == total["files"]


def test_which_licences_kept_out_most_files(ask: Any) -> None:
    assert ask(2) == [
        {"licence": "GPL-3.0-only", "files": 7, "repositories": 1},
        {"licence": "GPL-2.0-only", "files": 2, "repositories": 1},
    ]


def test_which_repositories_lose_most_and_to_what(ask: Any) -> None:
    rows = ask(3)
    assert rows[0]["repo"] == "directory/traps"
    assert only(rows, repo="directory/repo04") == {
        "repo": "directory/repo04", "dropped": 7, "share": 1.0, "most_often": "license_not_permissive"
    }  # fmt: skip
    assert only(rows, repo="directory/mixed")["share"] == 0.6
    assert all(row["dropped"] for row in rows)


def test_which_files_have_most_copies(ask: Any) -> None:
    rows = ask(4)
    assert [(row["repo"], row["path"], row["copies"]) for row in rows[:3]] == [
        ("directory/family0", "package.json", 5),
        ("directory/family0", "near.py", 3),
        ("directory/family0", "same.py", 3),
    ]
    assert rows[1]["repositories"] == 3
    assert "directory/family1" not in [row["repo"] for row in rows]  # like others, and kept for none


def test_who_was_kept_instead_of_my_files(ask: Any) -> None:
    rows = ask(5, "directory/family3")
    assert [(row["path"], row["kind"], row["kept_repo"]) for row in rows] == [
        ("near.py", "near", "directory/family0"),
        ("package.json", "exact", "directory/family0"),
        ("same.py", "exact", "directory/family0"),
    ]
    assert 0.7 < rows[0]["jaccard"] < 1 == rows[2]["jaccard"]
    assert ask(5, "directory/family0") == []


def test_which_files_carry_addresses(ask: Any) -> None:
    rows = ask(6)
    assert rows[0] == {"repo": "directory/mixed", "path": "people.py", "kind": "email", "spans": 2, "different": 2}
    assert only(rows, repo="directory/traps", kind="ip_address")["spans"] == 1


def test_how_many_bytes_each_language_loses_to_each_rule(ask: Any, workplace: Path) -> None:
    rows = ask(7)
    assert (
        only(rows, language="JavaScript", rule="consent")["bytes"]
        == (workplace / "repositories" / "mixed" / "bad.js").stat().st_size
    )
    assert only(rows, language="TOML", rule="license")["files"] == 1
    assert all(row["rule"] for row in rows)  # kept files have none
    assert only(rows, language="Python", rule="near_dedup")["files"] == 4


def test_what_the_files_of_a_repository_were_left_out_for(ask: Any) -> None:
    assert ask(8, "directory/family2") == [
        {"reason": "exact_duplicate", "files": 2, "for_example": "package.json"},
        {"reason": "near_duplicate", "files": 1, "for_example": "near.py"},
    ]
    reasons = {row["reason"] for row in ask(8, "directory/traps")}
    assert {"binary_file", "line_too_long"} <= reasons  # of both ledgers


def test_which_files_have_two_reasons_or_more(ask: Any) -> None:
    rows = ask(9)
    assert [(row["path"], len(row["reasons"])) for row in rows] == [("bad.js", 5), ("long.js", 2)]
    assert rows[0]["reasons"][:2] == ["training_refused", "license_not_permissive"]


def test_what_share_of_each_repository_is_copies(ask: Any) -> None:
    rows = ask(10)
    assert rows[0] == {"repo": "directory/family1", "share": 1.0, "copies": 3, "files": 3}
    assert only(rows, repo="directory/mixed") == {"repo": "directory/mixed", "share": 0.2, "copies": 1, "files": 5}
    assert "directory/family0" not in [row["repo"] for row in rows]

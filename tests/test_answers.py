"""What the command line shows of an explanation: calm, whole, and within eighty columns."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stackwright.answers import show_explanation
from stackwright.explanation import RunExplanation, explain_run
from stackwright.govern.removals import request_log
from tests.pages.artifacts import entry, make_ledger

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)


def shown(explanation: RunExplanation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    show_explanation(explanation)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    return lines


def test_terminal_shows_a_dropped_file_in_eighty_columns(
    asked_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(explain_run(asked_run, "mixed:bad.js"), monkeypatch, capsys)
    assert lines[0] == "directory/mixed@unversioned:bad.js"
    assert lines[1] == "  verdict     dropped: training_refused"
    assert lines[2].startswith("  decided by  consent v1: training_refused, .gitattributes line 1: bad.js")
    assert lines[4].startswith("  also fired  license v2: license_not_permissive, header: GPL-2.0-only")
    assert "line_length v1: line_too_long, 3,000 (limit 1,000), characters 41" in " ".join(lines)
    assert lines[-1] == "  training    no model was trained yet"


def test_terminal_shows_a_repository_with_its_sums_and_what_is_left_out(
    asked_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(asked_run, tmp_path / "requested"))
    request = request_log(run).add("directory/mixed", "An Author", "mine", NOW - datetime.timedelta(days=1))[0].id
    lines = shown(explain_run(run, "mixed", limit=2, now=NOW), monkeypatch, capsys)
    text = " ".join(" ".join(lines).split())
    assert text.startswith(
        "mixed: 5 files seen source directory, revision unversioned, declares MIT (package.json) kept 2 ("
    )
    assert "dropped 3 (exact_duplicate 1, license_not_permissive 1, training_refused 1)" in text
    assert "redacted email 2, ip_address 1, in the files that are kept" in text
    assert "kept instead files of directory/family0 1" in text
    assert "and 3 more files; show them with --limit, or all with --json" in text
    assert text.endswith(f"{request} open, made 1 day ago for directory/mixed")
    assert text.count("no model was trained yet") == 1


def test_terminal_shows_training_and_copies(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation = explain_run(finished_run, "repo00", limit=None)
    row = next(row for row in explanation.documents if row["sampled"] and row["copies"])
    text = " ".join(" ".join(shown(explain_run(finished_run, f"repo00:{row['path']}"), monkeypatch, capsys)).split())
    assert f"dropped for it directory/traps@unversioned:{row['copies'][0]['path']}" in text
    assert f"sampled {row['sampled']} time" in text
    assert f"step 12: {row['sampled']}" in text


def test_terminal_says_once_that_the_dataset_is_newer_than_the_checkpoints(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "(the checkpoints were trained on an earlier dataset than the one that is there)"
    for target, lines in (("repo00", 1 + 3), ("repo00:README.md", 1)):
        explanation = replace(explain_run(finished_run, target, limit=3), training="earlier_dataset")
        text = " ".join(" ".join(shown(explanation, monkeypatch, capsys)).split())
        assert text.count(note) == 1
        assert text.count("training ") == lines


def test_terminal_cuts_long_lists_and_says_so(
    asked_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation = explain_run(asked_run, "family0:same.py")
    [row] = explanation.documents
    checkpoints = [{"step": step, "times": 2 * step} for step in range(1, 10)]
    long = {**row, "copies": [row["copies"][0]] * 9, "num_copies": 9, "sampled": 18, "checkpoints": checkpoints}
    text = " ".join(" ".join(shown(replace(explanation, documents=[long]), monkeypatch, capsys)).split())
    assert text.count("(equal bytes)") == 6
    assert "and 3 more" in text
    assert "step 1: 2, step 2: 4, step 3: 6, …, step 7: 14, step 8: 16, step 9: 18" in text


def test_terminal_shows_control_characters_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_ledger(tmp_path / "run", [entry("a", "evil\x1b[2J[bold].py", "odd\x1brule")])
    lines = shown(explain_run(run, "a"), monkeypatch, capsys)
    assert "\x1b" not in "".join(lines)
    assert "a@1:evil␛[2J[bold].py" in lines

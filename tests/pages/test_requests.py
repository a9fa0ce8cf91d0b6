"""Every report says which requests wait, since when, and what became of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stackwright.pages.report import run_report
from stackwright.pages.requests import RemovalRequest
from tests.pages.artifacts import ATTACK, make_run
from tests.pages.test_report import check_page

WAITING = RemovalRequest("r0002", f"github/octo/lib:{ATTACK}.py", "open", "2026-11-20T09:30:00+00:00", 5)
OLDER = RemovalRequest("r0003", "account:octo", "verified", "2026-10-26T09:30:00+00:00", 30)
APPLIED = RemovalRequest("r0001", "installed/x", "applied", "2026-10-01T09:30:00+00:00", 55, "0123456789abcdef")
REFUSED = RemovalRequest("r0004", "installed/y", "refused", "2026-10-01T09:30:00+00:00", 55)


def text_of(folder: Path, *requests: RemovalRequest) -> str:
    return check_page(run_report([make_run(folder)], requests=lambda _: requests)).text.partition("Made by")[0]


def test_a_run_without_requests_says_so_in_one_line(tmp_path: Path) -> None:
    assert "Removal requests None: nobody has asked for code to be taken out." in text_of(tmp_path / "run")


def test_requests_that_wait_stand_with_age_and_state_the_oldest_first(tmp_path: Path) -> None:
    text = text_of(tmp_path / "run", APPLIED, WAITING, OLDER, REFUSED)
    assert "Waiting: 2 (the oldest for 30 days). Applied: 1. Refused: 1." in text
    assert "r0003 account:octo 2026-10-26 30 verified r0002 github/octo/lib:<script>" in text
    assert "2026-11-20 5 open" in text


def test_requests_that_were_applied_stand_with_their_receipts(tmp_path: Path) -> None:
    text = text_of(tmp_path / "run", APPLIED)
    assert "Waiting: 0. Applied: 1. Refused: 0." in text
    assert "r0001 installed/x 2026-10-01 0123456789abcdef" in text
    assert "requests that wait" not in text


def test_refused_requests_are_only_counted(tmp_path: Path) -> None:
    text = text_of(tmp_path / "run", REFUSED)
    assert "Waiting: 0. Applied: 0. Refused: 1." in text
    assert "installed/y" not in text


def test_a_page_made_without_the_requests_says_so(tmp_path: Path) -> None:
    assert "The requests were not looked up" in check_page(run_report([make_run(tmp_path / "run")])).text


def test_several_runs_keep_their_requests_apart(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two")

    def requests(run: Path) -> Sequence[RemovalRequest]:
        return [OLDER] if run == two else []

    text = check_page(run_report([one, two], requests=requests)).text
    assert "one: None: nobody has asked" in text
    assert "two: Waiting: 1 (the oldest for 30 days)." in text

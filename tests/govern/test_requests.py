"""Requests: what a target reaches, what may follow on what, and a log that loses nothing."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackwright.errors import RequestError, TargetError
from stackwright.govern import requests as module
from stackwright.govern.requests import Request, RequestLog, account_of, age_days, parse_target

NOW = datetime.datetime(2026, 11, 24, 9, 30, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(days=3, hours=5)
DIGITS = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def log(tmp_path: Path) -> RequestLog:
    return RequestLog(tmp_path / "optout" / "requests.jsonl")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "optout" / "requests.jsonl"


def added(log: RequestLog, target: str = "directory/x", requester: str = "ann") -> Request:
    return log.add(target, requester, "mine", NOW)[0]


@pytest.mark.parametrize(
    ("target", "repo", "path", "is_meant"),
    [
        ("account:ann", "github/ann/tools", "a.py", True),
        ("account:ann", "ann/tools", "a.py", True),
        ("account:ANN", "github/ann/tools", "a.py", True),
        ("account:ann", "github/anna/tools", "a.py", False),
        ("account:ann", "github/bob/ann", "a.py", False),
        ("account:directory", "directory/x", "a.py", False),
        ("account:installed", "installed/numpy", "a.py", False),
        ("directory/x", "directory/x", "any/where.py", True),
        ("directory/x", "directory/xy", "a.py", False),
        ("directory/x", "directory/X", "a.py", False),
        ("directory/x:src/a.py", "directory/x", "src/a.py", True),
        ("directory/x:src/a.py", "directory/x", "src/ab.py", False),
        ("directory/x:src/a.py", "directory/x", "src/a_py", False),
        ("directory/x:src/a.py", "directory/y", "src/a.py", False),
        ("directory/x:src/*.py", "directory/x", "src/deep/a.py", True),
        ("directory/x:src/*.py", "directory/x", "src/a.js", False),
        ("directory/x:src/*.py", "directory/x", "other/src/a.py", False),
        ("directory/x:src/**/a.py", "directory/x", "src/a.py", True),
        ("directory/x:src/**/a.py", "directory/x", "src/b/c/a.py", True),
        ("directory/x:src/**/a.py", "directory/x", "src/ba.py", False),
        ("directory/x:**/a.py", "directory/x", "a.py", True),
        ("directory/x:**/*.py", "directory/x", "b/c/a.py", True),
        ("directory/x:**/a.py", "directory/x", "ba.py", False),
        ("directory/x:src/**", "directory/x", "src/a/b", True),
        ("directory/x:pages/[id].tsx", "directory/x", "pages/[id].tsx", True),
        ("directory/x:v[0-9].py", "directory/x", "v7.py", True),
        ("directory/x:a:b.py", "directory/x", "a:b.py", True),
        ("directory/x:A.py", "directory/x", "a.py", False),
    ],
)
def test_a_target_reaches_what_it_names(target: str, repo: str, path: str, is_meant: bool) -> None:
    assert parse_target(target).matches(repo, path, DIGITS) is is_meant


def test_a_content_id_reaches_its_file_wherever_it_lies_and_in_either_case() -> None:
    for text in (DIGITS, DIGITS.upper()):
        target = parse_target(text)
        assert (target.scope, target.text) == ("content", DIGITS)
        assert target.matches("directory/x", "a.py", DIGITS)
        assert not target.matches("directory/x", "a.py", DIGITS[::-1])
        assert not target.matches("directory/x", "a.py", None)


def test_only_whole_repositories_are_covered_as_such() -> None:
    assert parse_target("directory/x").covers_repository("directory/x")
    assert parse_target("account:ann").covers_repository("github/ann/tools")
    assert not parse_target("directory/x:**").covers_repository("directory/x")
    assert not parse_target(DIGITS).covers_repository("directory/x")


def test_account_is_the_last_part_but_one() -> None:
    assert account_of("github/ann/tools") == "ann"
    assert account_of("ann/tools") == "ann"
    assert account_of("directory/x") is None
    assert account_of("x") is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("numpy", "full name"),
        ("", "full name"),
        ("/numpy", "full name"),
        ("a//b", "full name"),
        (DIGITS[:39], "40 hexadecimal digits"),
        ("account:", "one word"),
        ("account:ann/tools", "one word"),
        ("account:a*", "one word"),
        ("directory/x:", "after the colon"),
        ("directory/x:/a.py", "without a leading /"),
        (" directory/x", "begins nor ends with a blank"),
        ("directory/x:a\x1b[2J", "control character"),
        ("directory/x:" + "**/a/" * 5, "at most 4 times"),
    ],
)
def test_what_is_no_target_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert rule in str(caught.value)


@given(st.text("a/*?[]!-^.\\:", min_size=1, max_size=12).filter(lambda text: not text.startswith("/")))
def test_every_pattern_matches_itself_and_none_fails(pattern: str) -> None:
    target = parse_target(f"directory/x:{pattern}")
    assert target.matches("directory/x", pattern, None)
    assert not target.matches("directory/y", pattern, None)


def test_requests_are_numbered_and_kept_with_what_was_said(log: RequestLog) -> None:
    first, is_new = log.add("account:ann", " ann\t<ann@example.org> ", "I did\nnot agree", NOW)
    second, _ = log.add(f"{DIGITS}", "bob", "mine", LATER)
    assert is_new
    assert (first.id, second.id) == ("r0001", "r0002")
    assert (first.requester, first.reason, first.scope) == ("ann <ann@example.org>", "I did not agree", "account")
    assert first.date == "2026-11-24T09:30:00+00:00"
    assert (first.state, first.is_pending) == ("open", True)
    assert log.requests() == [first, second]


def test_dates_are_written_in_utc(log: RequestLog) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    assert log.add("directory/x", "ann", "mine", NOW.astimezone(zone))[0].date == "2026-11-24T09:30:00+00:00"


def test_asking_again_returns_the_request_that_is_there(log: RequestLog) -> None:
    request = added(log)
    assert log.add("directory/x", "ann", "another reason", LATER) == (request, False)
    log.mark_applied([request.id], "a" * 16, NOW)
    again, is_new = log.add("directory/x", "ann", "mine", LATER)
    assert (again.id, again.state, is_new) == ("r0001", "applied", False)
    assert log.add("directory/x", "bob", "mine too", LATER)[0].id == "r0002"
    assert log.add("directory/y", "ann", "mine", LATER)[0].id == "r0003"


def test_asking_again_after_a_refusal_is_a_new_request(log: RequestLog) -> None:
    log.refuse(added(log).id, "not the author", NOW)
    again, is_new = log.add("directory/x", "ann", "here is the proof", LATER)
    assert (again.id, again.state, is_new) == ("r0002", "open", True)
    assert log.requests()[0].state == "refused"


def test_a_request_is_verified_then_applied_and_its_history_is_kept(log: RequestLog) -> None:
    request = added(log)
    verified = log.verify(request.id, "mail from the address in the commits", NOW)
    assert (verified.state, verified.how) == ("verified", "mail from the address in the commits")
    [applied] = log.mark_applied([request.id], "a" * 16, LATER)
    assert (applied.state, applied.receipt_id, applied.is_pending) == ("applied", "a" * 16, False)
    assert applied.how == "mail from the address in the commits"
    assert [event["event"] for event in applied.history] == ["added", "verified", "applied"]
    assert log.requests() == [applied]
    assert applied.to_json()["history"][2]["date"] == "2026-11-27T14:30:00+00:00"


def test_applying_an_open_request_records_that_the_operator_vouches_for_it(log: RequestLog) -> None:
    [applied] = log.mark_applied([added(log).id], "a" * 16, NOW)
    assert applied.how == "verified by operator at apply"
    assert [event["event"] for event in applied.history] == ["added", "verified", "applied"]


def test_marking_twice_with_one_receipt_changes_nothing_and_another_receipt_is_added(log: RequestLog, file: Path) -> None:
    request = added(log)
    log.mark_applied([request.id, request.id], "a" * 16, NOW)
    before = file.read_bytes()
    log.mark_applied([request.id], "a" * 16, LATER)
    assert file.read_bytes() == before
    [again] = log.mark_applied([request.id], "b" * 16, LATER)
    assert again.receipt_id == "b" * 16
    log.mark_applied([request.id], "a" * 16, LATER)
    assert log.requests() == [again]


def test_marking_is_all_or_nothing(log: RequestLog) -> None:
    good, bad = added(log), added(log, "directory/y")
    log.refuse(bad.id, "not the author", NOW)
    with pytest.raises(
        RequestError, match=r"r0002 is refused \(not the author\) and cannot be applied; only a request that"
    ):
        log.mark_applied([good.id, bad.id], "a" * 16, NOW)
    assert [request.state for request in log.requests()] == ["open", "refused"]


@pytest.mark.parametrize("first", ["verified", "refused", "applied"])
@pytest.mark.parametrize("second", ["verify", "refuse"])
def test_only_an_open_request_is_decided(log: RequestLog, first: str, second: str) -> None:
    request = added(log)
    {
        "verified": lambda: log.verify(request.id, "call", NOW),
        "refused": lambda: log.refuse(request.id, "spam", NOW),
        "applied": lambda: log.mark_applied([request.id], "a" * 16, NOW),
    }[first]()
    before = log.requests()
    with pytest.raises(RequestError, match=rf"r0001 is {first} \(.+\) and cannot be .+; only a request that is open can be"):
        getattr(log, second)(request.id, "said", NOW)
    assert log.requests() == before


def test_an_unknown_id_is_named_with_the_nearest(log: RequestLog) -> None:
    added(log)
    for call in (
        lambda: log.verify("r0007", "call", NOW),
        lambda: log.refuse("r0007", "spam", NOW),
        lambda: log.mark_applied(["r0001", "r0007"], "a" * 16, NOW),
    ):
        with pytest.raises(TargetError, match=r"no request 'r0007' in .*requests\.jsonl; did you mean 'r0001'\?"):
            call()
    assert log.requests()[0].state == "open"


@pytest.mark.parametrize("text", ["", " \n", "red\x1b[31m", "half \ud800"])
def test_missing_or_unprintable_words_are_refused(log: RequestLog, text: str) -> None:
    request = added(log)
    for call in (
        lambda: log.add("directory/y", text, "mine", NOW),
        lambda: log.add("directory/y", "ann", text, NOW),
        lambda: log.verify(request.id, text, NOW),
        lambda: log.refuse(request.id, text, NOW),
    ):
        with pytest.raises(RequestError, match=r"is missing; say it|holds a control character; leave it out"):
            call()
    assert log.requests() == [request]


def test_age_is_in_whole_days_and_a_date_far_ahead_is_refused(log: RequestLog) -> None:
    request = added(log)
    assert age_days(request, LATER) == 3
    assert age_days(request, NOW - datetime.timedelta(hours=23)) == 0
    with pytest.raises(RequestError, match=r"request r0001 is dated 2026-11-24T09:30:00\+00:00, more than a day ahead"):
        age_days(request, NOW - datetime.timedelta(hours=25))


def test_nothing_is_added_to_a_log_with_a_date_far_ahead(log: RequestLog, file: Path) -> None:
    added(log)
    before = file.read_bytes()
    with pytest.raises(RequestError, match=r"requests\.jsonl line 1 is dated .*, more than a day ahead; mend the clock"):
        log.add("directory/y", "ann", "mine", NOW - datetime.timedelta(days=2))
    assert file.read_bytes() == before
    log.add("directory/y", "ann", "mine", NOW - datetime.timedelta(hours=20))


def test_reading_makes_nothing(log: RequestLog, file: Path) -> None:
    assert log.requests() == []
    assert not file.parent.exists()


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_that_a_kill_cut_off_is_dropped_with_the_next_append(log: RequestLog, file: Path, cut: int) -> None:
    request = added(log)
    whole = file.read_bytes()
    added(log, "directory/y")
    torn = file.read_bytes()[:-cut] if cut > 1 else file.read_bytes()[: len(whole) + 1]
    file.write_bytes(torn)
    assert log.requests() == [request]
    assert file.read_bytes() == torn
    assert added(log, "directory/z").id == "r0002"
    assert [request.target for request in log.requests()] == ["directory/x", "directory/z"]
    assert file.read_bytes().startswith(whole)


def test_every_cut_of_the_log_is_read_as_the_events_that_are_whole(log: RequestLog, file: Path) -> None:
    added(log, "directory/\u00fc")
    log.verify("r0001", "call", NOW)
    log.mark_applied(["r0001"], "a" * 16, NOW)
    data = file.read_bytes()
    ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
    states = ["open", "verified", "applied"]
    for cut in range(len(data)):
        file.write_bytes(data[:cut])
        num_whole = sum(end <= cut for end in ends)  # a whole object that lacks but its line end counts
        assert [request.state for request in log.requests()] == states[:num_whole][-1:]


def test_a_last_line_without_its_end_is_not_lost(log: RequestLog, file: Path) -> None:
    added(log)
    file.write_bytes(file.read_bytes().removesuffix(b"\n"))  # as some editors leave a file
    assert added(log, "directory/y").id == "r0002"
    assert [request.id for request in log.requests()] == ["r0001", "r0002"]


GOOD = {
    "event": "added",
    "id": "r0001",
    "date": "2026-11-24T09:30:00+00:00",
    "requester": "ann",
    "target": "directory/x",
    "scope": "repository",
    "reason": "mine",
}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        (GOOD | {"event": "verfied"}, "unknown event 'verfied'; did you mean 'verified'?"),
        (GOOD | {"event": ["added"]}, "unknown event"),
        (GOOD | {"note": "x"}, "unknown key 'note'"),
        ({name: value for name, value in GOOD.items() if name != "reason"}, "missing key 'reason'"),
        (GOOD | {"reason": 3}, "not a text"),
        (GOOD | {"id": "1"}, "not an id like r0001"),
        (GOOD | {"date": "2026-11-24"}, "not a date like"),
        (GOOD | {"date": "2026-11-24T09:30:00+02:00"}, "not a date like"),
        (GOOD | {"date": "yesterday"}, "Invalid isoformat"),
        (GOOD | {"scope": "account"}, "scope 'account' is not that of"),
        (GOOD | {"target": "x"}, "is not a target"),
        ({"event": "verified", "id": "r0009", "date": GOOD["date"], "how": "call"}, "r0009 is verified and was never added"),
        (GOOD, "there are two requests r0001"),
    ],
    ids=str,
)
def test_other_damage_is_named_with_file_and_line(log: RequestLog, file: Path, line: object, why: str) -> None:
    added(log)
    text = line if isinstance(line, str) else json.dumps(line)
    file.write_text(f"{json.dumps(GOOD)}\n{text}\n" + json.dumps(GOOD | {"id": "r0003"}) + "\n")
    before = file.read_bytes()
    for call in (log.requests, lambda: added(log, "directory/z")):
        with pytest.raises(RequestError) as caught:
            call()
        assert f"{file} line 2 is damaged" in str(caught.value)
        assert why in str(caught.value)
        assert "mend that line" in str(caught.value)
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "optout").touch()
    with pytest.raises(RequestError, match=r"requests\.jsonl cannot be used .*; mend its permissions"):
        added(RequestLog(tmp_path / "optout" / "requests.jsonl"))


def test_an_append_is_synced_with_its_folder(log: RequestLog, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), file.stat().st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    added(log)
    assert synced == [(str(file), file.stat().st_size), (str(file.parent), file.stat().st_size)]


WRITER = """
import datetime, sys
from pathlib import Path
from stackwright.govern.requests import RequestLog

now = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
for number in range(20):
    RequestLog(Path(sys.argv[1])).add(f"directory/{sys.argv[2]}{number}", "ann", "mine", now)
"""


def test_processes_that_add_at_once_lose_nothing_and_give_no_id_twice(log: RequestLog, file: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    requests = log.requests()
    assert [request.id for request in requests] == [f"r{number:04d}" for number in range(1, 61)]
    assert {request.target for request in requests} == {
        f"directory/{name}{number}" for name in "abc" for number in range(20)
    }


def test_readers_share_the_lock_and_writers_have_it_alone(log: RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    added(log)
    taken = []
    monkeypatch.setattr(module.fcntl, "flock", lambda lock, operation: taken.append((Path(lock.name).name, operation)))
    log.requests()
    added(log, "directory/y")
    assert taken == [(".lock", module.fcntl.LOCK_SH), (".lock", module.fcntl.LOCK_EX)]

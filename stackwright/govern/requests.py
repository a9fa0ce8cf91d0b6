"""Requests to take code out: who asked for what, and what became of it.

In: targets as text, and what the operator did, with the date (no clock is read here). Out: `Request`s. They are kept in
`optout/requests.jsonl` of a run folder, a log of events that is only ever appended to: the state of a request follows
from its events, so nothing that was said about it is ever lost. An append is synced before it returns and holds the
file lock. A line that a kill cut off is dropped with the next append; any other damage is an error that names the line.
"""

from __future__ import annotations

import datetime
import fcntl
import fnmatch
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from stackwright.errors import RequestError, TargetError, nearest_names
from stackwright.files import canonical_json, sync_folder

Scope = Literal["account", "repository", "path", "content"]
State = Literal["open", "verified", "refused", "applied"]

ACCOUNT_PREFIX = "account:"
LOCK_FILE = ".lock"
VERIFIED_AT_APPLY = "verified by operator at apply"
"""How an open request was verified that the operator applied without saying more."""

SOURCES_WITHOUT_ACCOUNTS = frozenset({"directory", "installed"})
"""First parts of repository names that are a source and no account."""

MAX_FOLDER_WILDCARDS = 4
"""Of `**/` in one pattern: each further one multiplies the ways to match, and patterns come from strangers."""

ALLOWED_SKEW = datetime.timedelta(days=1)
"""A date this far ahead is another machine's clock; one further ahead is a mistake."""

_CONTENT_ID = re.compile(r"[0-9a-fA-F]{40}")
_REQUEST_ID = re.compile(r"r\d{4,}")
_ANY_FOLDERS = re.compile(r"(?:(?:^|(?<=/))\*\*/)+")

_STATES_BEFORE: Mapping[str, tuple[State, ...]] = {  # an event has the name of the state that it leads to
    "verified": ("open",),
    "refused": ("open",),
    "applied": ("open", "verified", "applied"),  # applied again when its files had come back: another receipt
}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "added": ("requester", "target", "scope", "reason"),
    "verified": ("how",),
    "refused": ("why",),
    "applied": ("receipt_id",),
}


@dataclass(frozen=True)
class Target:
    """What a request reaches. `text` is its one spelling; of the other fields those of the scope are set."""

    text: str
    scope: Scope
    account: str = ""
    repo: str = ""
    pattern: str = ""
    content_id: str = ""

    def matches(self, repo: str, path: str, content_id: str | None) -> bool:
        """Return whether a file is meant; `content_id` is None when its bytes could not be read."""
        if self.scope == "content":
            return content_id == self.content_id
        if self.scope == "path":
            return repo == self.repo and (path == self.pattern or _path_regex(self.pattern).match(path) is not None)
        return self.covers_repository(repo)

    def covers_repository(self, repo: str) -> bool:
        """Return whether a whole repository is meant, whatever files it has or will have."""
        if self.scope == "account":
            account = account_of(repo)
            # Hosts take an account's name in any case, so one account must not hide behind another spelling.
            return account is not None and account.casefold() == self.account.casefold()
        return self.scope == "repository" and repo == self.repo


def account_of(repo: str) -> str | None:
    """Return the account part of a repository's name, the last part but one; None where its source knows no accounts."""
    parts = repo.split("/")
    return None if len(parts) < 2 or parts[0] in SOURCES_WITHOUT_ACCOUNTS else parts[-2]


def parse_target(text: str) -> Target:
    """Read a target: `account:NAME`, `SOURCE/REPOSITORY`, `SOURCE/REPOSITORY:PATTERN`, or a content id.

    Raises `TargetError` when the text is none of these; the message names the rule.
    """
    if text != text.strip() or not _is_clean(text):
        _refuse_target(text, "a target holds no control character and neither begins nor ends with a blank")
    if _CONTENT_ID.fullmatch(text):
        return Target(text.lower(), "content", content_id=text.lower())
    if text.startswith(ACCOUNT_PREFIX):
        name = text.removeprefix(ACCOUNT_PREFIX)
        if not name or any(character in name for character in "/:*? "):
            _refuse_target(text, f"an account is {ACCOUNT_PREFIX}NAME, and NAME is one word without / : * or ?")
        return Target(text, "account", account=name)
    repo, colon, pattern = text.partition(":")
    if len(repo.split("/")) < 2 or not all(repo.split("/")):
        _refuse_target(
            text, "a repository has its full name, such as installed/numpy; a content id is 40 hexadecimal digits"
        )
    if not colon:
        return Target(text, "repository", repo=repo)
    if not pattern or pattern.startswith("/"):
        _refuse_target(text, "after the colon comes a path in the repository, or a pattern of paths, without a leading /")
    if len(_ANY_FOLDERS.findall(pattern)) > MAX_FOLDER_WILDCARDS:
        _refuse_target(text, f"a pattern holds **/ at most {MAX_FOLDER_WILDCARDS} times")
    return Target(text, "path", repo=repo, pattern=pattern)


def _refuse_target(text: str, rule: str) -> NoReturn:
    raise TargetError(f"{text!r} is not a target", rule)


@cache
def _path_regex(pattern: str) -> re.Pattern[str]:
    # `fnmatch` knows no `**/`: what lies between is translated piece by piece, without the anchor at the end.
    pieces = [fnmatch.translate(piece)[:-2] for piece in _ANY_FOLDERS.split(pattern)]
    return re.compile("(?s:.*/)?".join(pieces) + r"\Z")


@dataclass(frozen=True)
class Request:
    """A request as its events leave it. Dates are UTC, to the second, as ISO 8601."""

    id: str
    date: str
    requester: str
    target: str
    scope: Scope
    reason: str
    state: State = "open"
    how: str | None = None  # how it was verified
    why: str | None = None  # why it was refused
    receipt_id: str | None = None  # of the latest removal
    history: tuple[Mapping[str, str], ...] = ()  # its events, the first one first

    @property
    def is_pending(self) -> bool:
        """Whether it waits to be applied."""
        return self.state in ("open", "verified")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def age_days(request: Request, now: datetime.datetime) -> int:
    """Return the whole days since a request was made. Raises `RequestError` when its date is more than a day ahead."""
    age = now - _check_date(request.date, now, f"request {request.id}")
    return max(0, age.days)


class RequestLog:
    """The requests of a run. Every method reads the file anew, so that two processes see each other's work."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def requests(self) -> list[Request]:
        """Return all requests in the order in which they were made; none when there is no log yet.

        Raises `RequestError` when the log is damaged.
        """
        with self._locked(fcntl.LOCK_SH):
            return list(self._load()[0].values())

    def add(self, target: str, requester: str, reason: str, now: datetime.datetime) -> tuple[Request, bool]:
        """Record a request and return it with True; or the one that is there, with False.

        It is there when the same requester has asked for the same target and was not refused. Whether anything matches
        now does not count: a request holds for later builds too.

        Raises `TargetError` when the target is none, `RequestError` when a text is missing or the log is damaged.
        """
        parsed = parse_target(target)
        requester, reason = _clean("requester", requester), _clean("reason", reason)
        with self._locked(fcntl.LOCK_EX):
            requests, whole = self._load(now)
            for request in requests.values():
                same = (request.target, request.requester) == (parsed.text, requester)
                if same and request.state != "refused":
                    return request, False
            number = 1 + max((int(request_id[1:]) for request_id in requests), default=0)
            event = _event("added", f"r{number:04d}", now) | {
                "requester": requester,
                "target": parsed.text,
                "scope": parsed.scope,
                "reason": reason,
            }
            self._append(requests, whole, [event])
            return requests[event["id"]], True

    def verify(self, request_id: str, how: str, now: datetime.datetime) -> Request:
        """Record how the requester of an open request was checked. Raises `TargetError` or `RequestError`."""
        return self._decide(_event("verified", request_id, now) | {"how": _clean("way it was verified", how)}, now)

    def refuse(self, request_id: str, why: str, now: datetime.datetime) -> Request:
        """Record why an open request is refused. Raises `TargetError` or `RequestError`."""
        return self._decide(_event("refused", request_id, now) | {"why": _clean("reason for the refusal", why)}, now)

    def mark_applied(self, request_ids: Iterable[str], receipt_id: str, now: datetime.datetime) -> list[Request]:
        """Record that requests were applied, all or none of them; those that name this receipt already stay as they are.

        Raises `TargetError` for an unknown id, `RequestError` when a request was refused or the log is damaged.
        """
        ids = list(dict.fromkeys(request_ids))
        with self._locked(fcntl.LOCK_EX):
            requests, whole = self._load(now)
            events = []
            for request in [self.find(requests, request_id) for request_id in ids]:
                if any(event.get("receipt_id") == receipt_id for event in request.history):
                    continue
                if request.state == "open":
                    events.append(_event("verified", request.id, now) | {"how": VERIFIED_AT_APPLY})
                events.append(_event("applied", request.id, now) | {"receipt_id": receipt_id})
            self._append(requests, whole, events)
            return [requests[request_id] for request_id in ids]

    def _decide(self, event: dict[str, str], now: datetime.datetime) -> Request:
        with self._locked(fcntl.LOCK_EX):
            requests, whole = self._load(now)
            self.find(requests, event["id"])
            self._append(requests, whole, [event])
            return requests[event["id"]]

    def find(self, requests: Mapping[str, Request], request_id: str) -> Request:
        """Return one of `requests`. Raises `TargetError` with the nearest ids."""
        if request_id not in requests:
            raise TargetError(f"there is no request {request_id!r} in {self._path}", nearest_names(request_id, requests))
        return requests[request_id]

    def _append(self, requests: dict[str, Request], whole: bytes, events: list[dict[str, str]]) -> None:
        """Write events after what is whole of the log and bring the requests up to date; events that do not fit raise."""
        for event in events:
            _record(requests, event)
        if not events:
            return
        missing_end = b"\n" if whole and not whole.endswith(b"\n") else b""
        data = missing_end + "".join(canonical_json(event) + "\n" for event in events).encode("utf-8")
        try:
            with self._path.open("ab") as file:
                file.truncate(len(whole))
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise self._unusable(error) from error

    def _load(self, now: datetime.datetime | None = None) -> tuple[dict[str, Request], bytes]:
        """Return the requests by id, and the bytes of the log without a last line that was cut off."""
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            raise self._unusable(error) from error
        *lines, last = data.split(b"\n")
        if _is_whole(last):  # an editor took the last line end away: a cut-off object is never whole
            lines.append(last)
        else:
            data = data[: len(data) - len(last)]
        requests: dict[str, Request] = {}
        for number, line in enumerate(lines, 1):
            where = f"{self._path} line {number}"
            try:
                event = _read_event(line)
                _record(requests, event)
            except (ValueError, TargetError, RequestError) as error:
                raise RequestError(
                    f"{where} is damaged ({getattr(error, 'problem', error)})",
                    "mend that line by hand or from a backup; without it a request would be lost",
                ) from error
            if now is not None:
                _check_date(event["date"], now, where)
        return requests, data

    @contextmanager
    def _locked(self, operation: int) -> Iterator[None]:
        """Hold the lock of the log; the system releases it when the process ends, however it ends."""
        path, reading = self._path.parent / LOCK_FILE, operation == fcntl.LOCK_SH
        try:
            if reading and not path.exists():  # no log yet, or a copy of one where nothing can be written
                lock = None
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock = path.open("rb" if reading else "ab")
        except OSError as error:
            raise self._unusable(error) from error
        with lock or nullcontext():
            if lock is not None:
                fcntl.flock(lock, operation)
            yield

    def _unusable(self, error: OSError) -> RequestError:
        return RequestError(f"{self._path} cannot be used ({error.strerror})", "mend its permissions or make room")


def _event(kind: str, request_id: str, now: datetime.datetime) -> dict[str, str]:
    assert now.tzinfo is not None, "a date without a time zone"
    return {"event": kind, "id": request_id, "date": now.astimezone(datetime.UTC).isoformat(timespec="seconds")}


def _record(requests: dict[str, Request], event: Mapping[str, str]) -> None:
    """Bring the requests up to date with an event. Raises `RequestError` when it does not fit their states."""
    request_id, kind = event["id"], event["event"]
    own = {name: event[name] for name in _FIELDS[kind]}
    known = requests.get(request_id)
    if kind == "added":
        if known is not None:
            raise RequestError(f"there are two requests {request_id}", "ids are given once")
        added: dict[str, Any] = {"id": request_id, "date": event["date"], **own, "history": (dict(event),)}
        requests[request_id] = Request(**added)
        return
    if known is None:
        raise RequestError(f"{request_id} is {kind} and was never added", "an event follows its request")
    if known.state not in _STATES_BEFORE[kind]:
        said = f"receipt {known.receipt_id}" if known.state == "applied" else known.how or known.why
        raise RequestError(
            f"request {request_id} is {known.state} ({said}) and cannot be {kind}",
            f"only a request that is {' or '.join(_STATES_BEFORE[kind])} can be",
        )
    changed: dict[str, Any] = {"state": kind, **own, "history": (*known.history, dict(event))}
    requests[request_id] = replace(known, **changed)


def _read_event(line: bytes) -> dict[str, str]:
    """Read a line of the log. Raises `ValueError` or `TargetError` unless it is an event with just the keys of its kind."""
    event = json.loads(line.decode("utf-8"))
    if not isinstance(event, dict):
        raise ValueError("not a JSON object")
    kind = event.get("event")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError(f"unknown event {kind!r}; {nearest_names(str(kind), _FIELDS)}")
    keys = {"event", "id", "date", *_FIELDS[kind]}
    if wrong := sorted(keys ^ event.keys()):
        raise ValueError(f"{'unknown' if wrong[0] in event else 'missing'} key {wrong[0]!r}")
    if not all(isinstance(value, str) and value for value in event.values()):
        raise ValueError("a value is not a text, or is empty")
    if not _REQUEST_ID.fullmatch(event["id"]):
        raise ValueError(f"{event['id']!r} is not an id like r0001")
    _parse_date(event["date"])
    if kind == "added" and parse_target(event["target"]).scope != event["scope"]:
        raise ValueError(f"scope {event['scope']!r} is not that of {event['target']!r}")
    return event


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8")), dict)
    except ValueError:
        return False


def _parse_date(text: str) -> datetime.datetime:
    date = datetime.datetime.fromisoformat(text)
    if date.utcoffset() != datetime.timedelta(0) or date.isoformat(timespec="seconds") != text:
        raise ValueError(f"{text!r} is not a date like 2026-11-24T09:30:00+00:00")
    return date


def _check_date(text: str, now: datetime.datetime, where: str) -> datetime.datetime:
    date = _parse_date(text)
    if date - now > ALLOWED_SKEW:
        raise RequestError(f"{where} is dated {text}, more than a day ahead", "mend the clock or the date")
    return date


def _is_clean(text: str) -> bool:
    """Return whether a text can be stored, and shown in a terminal without changing it."""
    return all(unicodedata.category(character) not in ("Cc", "Cs") for character in text)


def _clean(name: str, text: str) -> str:
    """Return a text on one line. Raises `RequestError` when nothing is left, or what is left cannot be shown."""
    text = " ".join(text.split())
    if not text:
        raise RequestError(f"the {name} is missing", "say it in a few words")
    if not _is_clean(text):
        raise RequestError(f"the {name} {text!r} holds a control character", "leave it out")
    return text

"""What the ledger of a run says to those who ask whether their code is in it, and the requests they may file.

A request that is filed here is recorded and nothing more: what happens to it the operator decides (docs/governance.md). All
questions are answered one at a time in a thread of their own, as each opens tables of the run.
"""

from __future__ import annotations

import datetime
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stackwright.errors import TargetError
from stackwright.explanation import explain_run
from stackwright.govern.ledger import Ledger
from stackwright.govern.removals import request_log
from stackwright.govern.requests import ACCOUNT_PREFIX, account_of, parse_target
from stackwright.removal import plan_requests
from stackwright.serve.faults import ApiError
from stackwright.serve.worker import Worker

MOST_ROWS = 20

MOST_WAITING = 16
"""Questions that may wait for one another."""

REQUESTS_AN_HOUR, REQUESTS_AN_HOUR_IN_ALL = 5, 50
"""Removal requests that one address, and that all together, may file."""

_HOUR = 3600.0


class HourlyLimit:
    """Counts what each client did within the last hour."""

    def __init__(self, each: int, in_all: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each, self._in_all, self._clock = each, in_all, clock
        self._done: deque[tuple[float, str]] = deque()

    def take(self, client: str) -> None:
        """Count one more.

        Raises:
            ApiError: 429, with the seconds after which there is room again.
        """
        now = self._clock()
        while self._done and now - self._done[0][0] >= _HOUR:
            self._done.popleft()
        own = [moment for moment, other in self._done if other == client]
        for moments, most in ((own, self._each), ([moment for moment, _ in self._done], self._in_all)):
            if len(moments) >= most:
                wait = int(_HOUR - (now - moments[len(moments) - most])) + 1
                raise ApiError(429, f"{most} requests an hour are taken; ask again in {wait} s", retry_after=wait)
        self._done.append((now, client))


class RunQuestions:
    """Answers about one run."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._worker = Worker("ledger", MOST_WAITING)
        self._limit = HourlyLimit(REQUESTS_AN_HOUR, REQUESTS_AN_HOUR_IN_ALL)

    async def lookup(self, target: str) -> Mapping[str, Any]:
        """Return what the ledger says of an account, a repository, repository:path or a content id.

        Raises:
            TargetError: nothing of that name was seen; the message gives the nearest names.
        """
        answer = self._account if target.startswith(ACCOUNT_PREFIX) else self._rows
        return await self._worker.run(lambda: answer(target))

    async def file_request(self, client: str, target: str, requester: str, reason: str) -> Mapping[str, Any]:
        """Record a removal request. It stays open until the operator applies or refuses it.

        Raises:
            ApiError: the target is none, or too many requests were filed.
        """
        try:
            parse_target(target)
        except TargetError as error:
            raise ApiError(400, str(error), "target") from error
        self._limit.take(client)
        return await self._worker.run(lambda: self._file(target, requester, reason))

    def _rows(self, target: str) -> Mapping[str, Any]:
        explanation = explain_run(self._folder, target, limit=MOST_ROWS).to_json()
        plain: Mapping[str, Any] = json.loads(json.dumps(explanation, default=str))  # dates become text
        return plain

    def _account(self, target: str) -> Mapping[str, Any]:
        account = parse_target(target).account
        rows = Ledger(self._folder).query(
            "select repo, count(*) filter (reason is null) as kept, count(*) filter (reason is not null) as dropped "
            "from files group by repo order by repo"
        )
        own = [row for row in rows if (account_of(row["repo"]) or "").casefold() == account.casefold()]
        if not own:
            raise TargetError(f"no repository of {account!r} was seen in this run", "look a repository up by its name")
        return {
            "target": target,
            "kind": "account",
            "num_repositories": len(own),
            "num_kept": sum(row["kept"] for row in own),
            "num_dropped": sum(row["dropped"] for row in own),
            "repositories": [row["repo"] for row in own[:MOST_ROWS]],
        }

    def _file(self, target: str, requester: str, reason: str) -> Mapping[str, Any]:
        request, _ = request_log(self._folder).add(target, requester, reason, datetime.datetime.now(datetime.UTC))
        num_files = len(plan_requests(self._folder, [request.id]).files) if request.is_pending else None
        return {"id": request.id, "state": request.state, "num_files": num_files}

"""A thread that answers one question after another while the event loop goes on: for what one thread at a time may use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from stackwright.serve.faults import RETRY_SECONDS, ApiError

T = TypeVar("T")


class Worker:
    """One thread and its queue.

    Args:
        name: of what is asked, such as `ledger`.
        most_waiting: questions that may wait for one another; no limit when not given.
    """

    def __init__(self, name: str, most_waiting: int | None = None) -> None:
        self._name, self._most_waiting = name, most_waiting
        self._thread, self._num_asked = ThreadPoolExecutor(1, name), 0

    async def run(self, question: Callable[[], T], *, is_quick: bool = False) -> T:
        """Return what the question returns.

        Args:
            is_quick: the event loop may stand still for the answer, which saves the way to a thread and back. It does so
                only while the thread has nothing to do, so there is still one question at a time.

        Raises:
            ApiError: 429, when too many wait already.
        """
        if self._most_waiting is not None and self._num_asked >= self._most_waiting:
            raise ApiError(
                429,
                f"{self._num_asked} questions wait for the {self._name}; ask again in {RETRY_SECONDS} s",
                retry_after=RETRY_SECONDS,
            )
        if is_quick and not self._num_asked:
            return question()
        self._num_asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, question)
        finally:
            self._num_asked -= 1

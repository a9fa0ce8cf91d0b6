"""The worker: one question at a time, and quick ones on the spot while it is idle."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stackwright.serve.faults import ApiError
from stackwright.serve.worker import Worker


def test_a_quick_question_is_answered_on_the_spot_while_the_thread_is_idle() -> None:
    async def ask() -> None:
        worker, gate = Worker("test"), threading.Event()
        here = threading.get_ident()
        assert await worker.run(threading.get_ident, is_quick=True) == here
        assert await worker.run(threading.get_ident) != here
        busy = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)
        behind = asyncio.ensure_future(worker.run(threading.get_ident, is_quick=True))
        await asyncio.sleep(0.05)
        assert not behind.done()
        gate.set()
        assert await busy
        assert await behind != here
        assert await worker.run(threading.get_ident, is_quick=True) == here

    asyncio.run(ask())


def test_who_asks_when_too_many_wait_is_told_when_to_come_back() -> None:
    async def ask() -> None:
        worker, gate = Worker("test", most_waiting=1), threading.Event()
        busy = asyncio.ensure_future(worker.run(gate.wait))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="1 questions wait for the test") as caught:
            await worker.run(threading.get_ident, is_quick=True)
        assert caught.value.status == 429
        gate.set()
        assert await busy

    asyncio.run(ask())

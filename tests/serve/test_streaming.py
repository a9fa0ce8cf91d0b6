"""Answers in events: they end, whatever the client does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from stackwright.serve import streaming
from stackwright.serve.faults import ApiError
from stackwright.serve.streaming import EventStream, merged, together, unless_gone


class Client:
    """The two ends of a connection: what was sent, and when the client leaves."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def events(*texts: str, error: Exception | None = None, wait: bool = False) -> AsyncGenerator[str, None]:
    for text in texts:
        yield text
    if error is not None:
        raise error
    if wait:
        await asyncio.Event().wait()


async def answered(client: Client, source: AsyncGenerator[str, None]) -> int:
    """Let an answer run; returns how often it was told to have ended."""
    ended: list[int] = []
    await EventStream(source, lambda: ended.append(1))({"type": "http"}, client.receive, client.send)  # type: ignore[arg-type]
    return len(ended)


def test_events_are_sent_and_the_answer_ends() -> None:
    async def run() -> None:
        client = Client()
        assert await answered(client, events("a", "b")) == 1
        assert client.body == b"ab"
        assert [message.get("more_body") for message in client.sent] == [None, True, True, False]

    asyncio.run(run())


def test_an_error_on_the_way_is_an_event() -> None:
    async def run() -> None:
        client = Client()
        assert await answered(client, events("a", error=ApiError(503, "no more"))) == 1
        assert client.body.startswith(b'adata: {"error":{"message":"no more","type":"unavailable_error"')
        assert client.sent[-1]["more_body"] is False

    asyncio.run(run())


@pytest.mark.parametrize("is_early", [True, False])
def test_who_leaves_ends_the_answer(is_early: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        client = Client()
        if is_early:
            client.left.set()  # before an event was made
        else:
            asyncio.get_running_loop().call_later(0.01, client.left.set)
        async with asyncio.timeout(10):
            assert await answered(client, events("a", wait=True)) == 1

    asyncio.run(run())
    assert caplog.records == []  # that people leave is no news


def test_an_answer_has_a_time_to_be_read_in(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        client = Client()
        with pytest.raises(ApiError, match=r"the answer took more than 0\.01 s") as caught:
            await unless_gone(client.receive, asyncio.Event().wait())  # type: ignore[arg-type]
        assert caught.value.status == 503
        assert await answered(client, events("a", wait=True)) == 1

    monkeypatch.setattr(streaming, "REQUEST_SECONDS", 0.01)
    asyncio.run(run())
    assert "took more than 0.01 s" in caplog.text


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def run() -> None:
        client, cancelled = Client(), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        asyncio.get_running_loop().call_later(0.01, client.left.set)
        async with asyncio.timeout(10):
            with pytest.raises(ApiError, match="the client closed the connection"):
                await unless_gone(client.receive, work())  # type: ignore[arg-type]
        assert cancelled.is_set()

    asyncio.run(run())


def test_one_error_ends_all() -> None:
    async def run() -> None:
        async def fail() -> None:
            raise ApiError(429, "full")

        waiting = asyncio.ensure_future(asyncio.Event().wait())
        with pytest.raises(ApiError, match="full"):
            await together([waiting, fail()])
        assert waiting.cancelled()
        with pytest.raises(ApiError, match="full"):
            async for _ in merged([events("a", wait=True), events(error=ApiError(429, "full"))]):
                pass

    asyncio.run(run())


def test_sources_are_merged_as_they_come() -> None:
    async def run() -> None:
        found = [item async for item in merged([events("a", "b"), events(), events("c")])]
        assert sorted(found) == [(0, "a"), (0, "b"), (2, "c")]
        assert [text for place, text in found if place == 0] == ["a", "b"]

    asyncio.run(run())

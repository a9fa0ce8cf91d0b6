"""Server-sent events, and ending work that nobody waits for any more.

A client that goes away is noticed while the next token is waited for, not only when it is sent: the request leaves the batch
at once. A client that reads slowly holds up itself alone, and no longer than a request may take.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stackwright.log import get_logger
from stackwright.serve.faults import ApiError, told

logger = get_logger("serve")

T = TypeVar("T")

REQUEST_SECONDS = 300.0
"""How long an answer may take, its reading by the client included."""


class ClientGoneError(ApiError):
    """Nobody waits for the answer any more."""


def event(data: Any) -> str:
    """Return one event; its data is JSON, or a word such as `[DONE]`."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n"


async def until_gone(receive: Receive) -> None:
    """Return when the client has closed its connection. The body was read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; cancel it when the client goes away or the time of a request is over.

    Raises:
        ClientGoneError: the client went away.
        ApiError: the time is over.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(until_gone(receive))
    try:
        await asyncio.wait({task, gone}, timeout=REQUEST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientGoneError(400, "the client closed the connection")
        raise ApiError(503, f"the answer took more than {REQUEST_SECONDS:g} s: ask for fewer tokens")
    finally:
        await _cancel(task, gone)


async def together(works: Sequence[Awaitable[T]]) -> list[T]:
    """Return what all return; when one fails the others are cancelled and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _cancel(*tasks)


async def merged(sources: Sequence[AsyncGenerator[T, None]]) -> AsyncIterator[tuple[int, T]]:
    """Yield (place of the source, item) as items come; an error of one source ends all."""
    arrived: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue()

    async def forward(place: int, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source):
                async for item in source:
                    arrived.put_nowait((place, item))
            arrived.put_nowait(None)
        except Exception as error:  # noqa: BLE001  # raised again by who reads
            arrived.put_nowait(error)

    tasks = [asyncio.ensure_future(forward(place, source)) for place, source in enumerate(sources)]
    try:
        open_sources = len(tasks)
        while open_sources:
            item = await arrived.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                open_sources -= 1
            else:
                yield item
    finally:
        await _cancel(*tasks)


class EventStream(Response):
    """Sends events as they come. An error after the beginning is an event of its own: `data: {"error": {…}}`.

    Args:
        ended: called when nothing more is sent, also where the client was gone before the events began.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None], ended: Callable[[], None]) -> None:
        self._events, self._ended = events, ended
        self.status_code, self.background = 200, None
        # A proxy that gathers the answer would hold the tokens back.
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await unless_gone(receive, self._send_all(send))
        except ClientGoneError:
            return
        except ApiError as error:
            logger.warning("%s", error.message)  # the client, who does not read, cannot be told
        finally:
            self._ended()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._events):
            try:
                async for text in self._events:
                    await _send_text(send, text)
            except OSError:
                return  # the client went away
            except Exception as error:  # noqa: BLE001  # the client is told, and the log
                await _send_text(send, event(told(error).body()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_text(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task

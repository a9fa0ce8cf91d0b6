"""Between the requests of an event loop and the one thread that has the model.

In: generation requests. Out: a `Stream` each, whose chunks are awaited. The thread runs `Scheduler.step` and hands over what
a step brought all at once: waking the event loop costs as much as a token of a small model. A stream that is forgotten takes
its request out of the batch; when the queue is full, `open` refuses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from stackwright.generate.scheduler import GenerationRequest, Scheduler, Ticket
from stackwright.generate.stream import Chunk
from stackwright.log import get_logger
from stackwright.serve.faults import RETRY_SECONDS, ApiError

logger = get_logger("serve")


class Stream:
    """The chunks of one request. `Batcher.forget` ends it, whether it came to its end or not.

    Args:
        whole: nothing is wanted before the end: the event loop is woken once.
    """

    def __init__(self, whole: bool) -> None:
        self.ticket: Ticket | None = None
        self._whole = whole
        self._drawn: list[Chunk] = []  # of the thread of the model: what was not handed over yet
        self._arrived: asyncio.Queue[list[Chunk] | None] = asyncio.Queue()

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield chunks up to the one with a finish reason.

        Raises:
            ApiError: the server stops, or the model failed.
        """
        while True:
            arrived = await self._arrived.get()
            if arrived is None:
                raise ApiError(503, "the server stops: ask again later", retry_after=RETRY_SECONDS)
            for chunk in arrived:
                yield chunk
                if chunk.finish_reason is not None:
                    return

    def draw(self, chunk: Chunk) -> bool:
        """Take a chunk in the thread of the model; returns whether there is something to hand over."""
        self._drawn.append(chunk)
        return not self._whole or chunk.finish_reason is not None

    def take_drawn(self) -> list[Chunk]:
        drawn, self._drawn = self._drawn, []
        return drawn

    def put(self, chunks: list[Chunk] | None) -> None:
        """Hand chunks over, in the event loop; None when no more will come."""
        self._arrived.put_nowait(chunks)


class Batcher:
    """Runs a scheduler in a thread from `start` to `stop`. Everything else is called in the event loop that started it.

    Args:
        max_waiting: requests that may wait for a row.
        thread: has one thread, and the model was opened in it. OpenMP makes a team of workers for each thread that computes;
            a second team on the same cores makes both go to sleep between two operations, which halves the speed.
    """

    def __init__(self, scheduler: Scheduler, max_waiting: int, thread: ThreadPoolExecutor) -> None:
        self.scheduler, self.max_waiting = scheduler, max_waiting
        self.failed = False
        self._wake = threading.Event()
        self._stopping = False
        self._streams: set[Stream] = set()
        self._ready: dict[Stream, None] = {}  # streams to which the present step brought something, in order
        self._thread, self._running = thread, False

    def start(self) -> None:
        self._loop, self._running = asyncio.get_running_loop(), True
        self._thread.submit(self._run)

    def stop(self) -> None:
        """End the thread after its present step; streams under way are told."""
        self._stopping = True
        self._wake.set()
        self._thread.shutdown()
        self._end_streams()

    @property
    def is_running(self) -> bool:
        return self._running and not self.failed and not self._stopping

    @property
    def num_free(self) -> int:
        """Requests that would not be refused."""
        free_rows = self.scheduler.limits.max_rows - self.scheduler.num_running
        return max(0, self.max_waiting + free_rows - self.scheduler.num_waiting)

    def check_room(self, num_requests: int) -> None:
        """Refuse what does not fit the queue.

        Raises:
            ApiError: 429 when it is full, 503 when the model failed.
        """
        if not self.is_running:
            raise ApiError(503, "the model does not run: restart the server", retry_after=RETRY_SECONDS)
        if num_requests > self.num_free:
            raise ApiError(
                429,
                f"{self.scheduler.num_running} requests are being answered and {self.scheduler.num_waiting} wait, "
                f"{self.max_waiting} may; ask again in {RETRY_SECONDS} s",
                retry_after=RETRY_SECONDS,
            )

    def open(self, requests: Sequence[GenerationRequest], *, whole: bool) -> list[Stream]:
        """Add requests, all or none of them.

        Raises:
            ApiError: 429 or 503, as `check_room` does.
            UsageError: a prompt leaves no room for a token.
        """
        self.check_room(len(requests))
        streams: list[Stream] = []
        try:
            for request in requests:
                streams.append(self._open(request, whole))  # noqa: PERF401  # those before one that fails are needed
        except BaseException:
            for stream in streams:
                self.forget(stream)
            raise
        self._wake.set()
        return streams

    def _open(self, request: GenerationRequest, whole: bool) -> Stream:
        stream = Stream(whole)

        def sink(chunk: Chunk) -> None:
            if stream.draw(chunk):
                self._ready[stream] = None

        stream.ticket = self.scheduler.submit(request, sink)
        self._streams.add(stream)
        return stream

    def forget(self, stream: Stream) -> None:
        """Take the request of a stream out of the batch, where it still is."""
        if stream.ticket is not None:
            stream.ticket.cancel()
        self._streams.discard(stream)

    def _run(self) -> None:
        """The thread of the model."""
        try:
            while not self._stopping:
                # Cleared before the work is looked for: a request that comes after the last step sets it again.
                self._wake.clear()
                while not self._stopping and self.scheduler.step():
                    self._hand_over()
                if not self._stopping:
                    self._wake.wait()
        except BaseException:
            self.failed = True
            logger.exception("the model failed: no request is answered any more")
            self._in_loop(self._end_streams)

    def _hand_over(self) -> None:
        if self._ready:
            brought = [(stream, stream.take_drawn()) for stream in self._ready]
            self._ready.clear()
            self._in_loop(lambda: self._deliver(brought))

    def _in_loop(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the event loop ended before this thread did
            self._stopping = True

    def _deliver(self, brought: Sequence[tuple[Stream, list[Chunk]]]) -> None:
        for stream, chunks in brought:
            stream.put(chunks)

    def _end_streams(self) -> None:
        """Tell who still listens that no more will come."""
        for stream in self._streams:
            stream.put(None)

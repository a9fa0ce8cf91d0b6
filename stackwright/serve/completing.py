"""From what a client wants to what it gets: prompts become requests of the batch, chunks become answers under the policy.

`whole` returns a finished completion, `pieces` yields it as it comes. Both hold the policy on copies: under `annotate` the
end of an answer carries its citations; under `block` nothing is given out before it was looked up, so it comes in one piece.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from stackwright.errors import UsageError
from stackwright.generate.engine import Completion, join
from stackwright.generate.infill import fit_prompt
from stackwright.generate.sampling import SamplingSettings
from stackwright.generate.scheduler import GenerationRequest
from stackwright.generate.stream import Chunk, Codec, TokenScores
from stackwright.serve.batcher import Batcher, Stream
from stackwright.serve.citing import Answer, Citer, Policy
from stackwright.serve.faults import ApiError

REDRAWN_TEMPERATURE = 0.7
"""At the least, when a completion is drawn anew: at 0 every attempt would be the same."""


@dataclass(frozen=True)
class Wanted:
    """One completion that is asked for. `before` is the text that it follows, for what it may repeat from there on."""

    prompt: tuple[int, ...]
    before: str
    settings: SamplingSettings
    num_scores: int | None = None
    truncated: bool = False

    @property
    def request(self) -> GenerationRequest:
        return GenerationRequest(self.prompt, self.settings, self.num_scores)


@dataclass
class Timings:
    """Seconds of a completion: until its first token, and from there to its end."""

    begun: float = field(default_factory=time.perf_counter)
    first: float | None = None
    ended: float | None = None

    def saw(self, chunk: Chunk) -> None:
        now = time.perf_counter()
        self.first = self.first or now
        if chunk.finish_reason is not None:
            self.ended = now

    @property
    def prompt_seconds(self) -> float:
        return (self.first or self.begun) - self.begun

    @property
    def new_seconds(self) -> float:
        return (self.ended or 0.0) - (self.first or 0.0)


@dataclass(frozen=True)
class Piece:
    """A part of a completion that is streamed; the last one carries the whole answer."""

    text: str
    scores: tuple[TokenScores, ...] = ()
    answer: Answer | None = None


def seed_of(given: int | None) -> int:
    """Return the seed of a request; one is drawn where none is given."""
    return secrets.randbits(31) if given is None else given


class Completer:
    """Answers what is wanted of one model.

    Args:
        citer: None where there is no index; then the policy is `allow`.
    """

    def __init__(self, batcher: Batcher, codec: Codec, max_seq_len: int, policy: Policy, citer: Citer | None) -> None:
        if citer is None and policy != "allow":
            raise UsageError(f"policy {policy} needs an index of the training data", "give --index, or a run that has one")
        self.codec, self.max_seq_len, self.policy, self.citer = codec, max_seq_len, policy, citer
        self.batcher = batcher

    async def read_prompt(
        self, text: str, suffix: str | None, new_tokens: int, *, fit: bool
    ) -> tuple[tuple[int, ...], bool]:
        """Return `prompt_of`; a long one is read in a thread of its own, as others wait for the event loop."""
        if len(text) + len(suffix or "") <= _READ_AT_ONCE:
            return self.prompt_of(text, suffix, new_tokens, fit=fit)
        return await asyncio.to_thread(self.prompt_of, text, suffix, new_tokens, fit=fit)

    def prompt_of(self, text: str, suffix: str | None, new_tokens: int, *, fit: bool) -> tuple[tuple[int, ...], bool]:
        """Return the ids of a prompt, and whether it had to be cut.

        Args:
            new_tokens: that should follow; half of the context is left to the prompt at the least.
            fit: cut a prompt that is too long to what is next to the gap, as an editor wants it.

        Raises:
            ApiError: it is too long and may not be cut.
        """
        before, after = self.codec.encode(text), None if suffix is None else self.codec.encode(suffix)
        whole = fit_prompt(self.codec.fim, before, after, _UNBOUNDED, warn=False)
        room = self.max_seq_len - min(new_tokens, self.max_seq_len // 2)
        if fit and len(whole) > room:
            return tuple(fit_prompt(self.codec.fim, before, after, room, warn=False)), True
        self.check_length(whole)
        return tuple(whole), False

    def check_length(self, ids: Sequence[int]) -> None:
        """Raise an `ApiError` where a prompt leaves no room for a token."""
        if len(ids) >= self.max_seq_len:
            raise ApiError(
                400,
                f"the prompt has {len(ids):,} tokens and the context {self.max_seq_len:,}, which a new token must fit too; "
                "give a shorter prompt, or truncate_prompt_tokens -1 to keep its end",
                "prompt",
            )

    def open(self, wanted: Sequence[Wanted], *, whole: bool) -> list[Stream | None]:
        """Take places in the queue before an answer begins; under `block` they are taken at every attempt.

        Raises:
            ApiError: the queue is full.
        """
        if self.policy == "block":
            self.batcher.check_room(len(wanted))
            return [None] * len(wanted)
        return list(self.batcher.open([one.request for one in wanted], whole=whole))

    def forget(self, streams: Sequence[Stream | None]) -> None:
        for stream in streams:
            if stream is not None:
                self.batcher.forget(stream)

    async def whole(self, wanted: Wanted, stream: Stream | None, timings: Timings | None = None) -> Answer:
        """Return a completion as it may be given out."""
        if stream is None:
            assert self.citer is not None
            return await self.citer.block(wanted.before, lambda attempt: self._draw(wanted, attempt))
        completion = await self._completion(wanted, stream, timings or Timings())
        return await self._answer(wanted, completion)

    async def pieces(
        self, wanted: Wanted, stream: Stream | None, timings: Timings | None = None
    ) -> AsyncGenerator[Piece, None]:
        """Yield a completion as it comes; the last piece has the whole answer."""
        if stream is None:
            answer = await self.whole(wanted, None)
            yield Piece(answer.completion.text, answer.completion.scores, answer)
            return
        timings = timings or Timings()
        chunks = []
        async with aclosing(stream.chunks()) as arriving:
            async for chunk in arriving:
                timings.saw(chunk)
                chunks.append(chunk)
                if chunk.finish_reason is None:
                    if chunk.text or chunk.scores:
                        yield Piece(chunk.text, chunk.scores)
                else:
                    answer = await self._answer(wanted, join(chunks, len(wanted.prompt)))
                    yield Piece(chunk.text, chunk.scores, answer)

    async def _answer(self, wanted: Wanted, completion: Completion) -> Answer:
        if self.citer is None or self.policy == "allow":
            return Answer(completion)
        return await self.citer.annotate(wanted.before, completion)

    async def _draw(self, wanted: Wanted, attempt: int) -> Completion:
        if attempt:
            settings = wanted.settings
            wanted = replace(
                wanted,
                settings=replace(
                    settings,
                    temperature=max(settings.temperature, REDRAWN_TEMPERATURE),
                    seed=(settings.seed + attempt * _SEED_STEP) % 2**63,
                ),
            )
        (stream,) = self.batcher.open([wanted.request], whole=True)
        try:
            return await self._completion(wanted, stream, Timings())
        finally:
            self.batcher.forget(stream)

    async def _completion(self, wanted: Wanted, stream: Stream, timings: Timings) -> Completion:
        chunks = []
        async for chunk in stream.chunks():
            timings.saw(chunk)
            chunks.append(chunk)
        return join(chunks, len(wanted.prompt))


_UNBOUNDED = 1 << 40
_READ_AT_ONCE = 10_000  # characters, which take a few milliseconds; going to a thread and back takes longer under load
_SEED_STEP = 1_000_003  # so that the attempts of choices whose seeds follow each other differ

"""Tokens as text that is safe to show.

In: the tokens of one completion, one by one. Out: `Chunk`s, the last with the reason why it ended. Three things hold for
every stream: a character is given out when all its bytes are there; a stop text is found wherever tokens cut it, and nothing
of it is given out; the last chunk, and no other, has a finish reason.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from stackwright.tokenizer.special_tokens import FimIds

FinishReason = Literal["stop", "length", "eot"]


class Codec(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def fim(self) -> FimIds: ...

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token_id: int) -> bytes: ...


@dataclass(frozen=True)
class TokenScores:
    """Natural logarithms of probabilities: of the token that was drawn, and of the likeliest ones, best first.

    They are the model's own, before temperature and before anything is cut away; sentinels have none.
    """

    token_id: int
    logprob: float
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A piece of a stream. `finish_reason` is set on the last one; `scores` where they were asked for, one per token."""

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    scores: tuple[TokenScores, ...] = ()


class TextStream:
    """Turns token bytes into text that can be shown: whole characters, and nothing of a stop text."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Return the text that has become safe; sets `stopped` when a stop text is complete."""
        text = self._decoder.decode(data)
        if not self._stop:
            return text
        self._held += text
        found = [position for position in (self._held.find(text) for text in self._stop) if position >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._possible_stop())

    def finish(self) -> str:
        """Return what was held back for a stop text that did not come. A character cut off at the end is dropped."""
        return "" if self.stopped else self._release(len(self._held))

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _possible_stop(self) -> int:
        """Return the length of the longest end of the held text with which a stop text begins."""
        longest = 0
        for text in self._stop:
            for length in range(min(len(text) - 1, len(self._held)), longest, -1):
                if self._held.endswith(text[:length]):
                    longest = length
                    break
        return longest


class CompletionWriter:
    """The chunks of one completion: it ends at end-of-text, at a stop text, or when no token may follow."""

    def __init__(self, codec: Codec, stop: Sequence[str], max_tokens: int) -> None:
        self._codec, self._stream, self._left = codec, TextStream(stop), max_tokens

    def add(self, token: int, scores: TokenScores | None = None) -> Chunk:
        """Return what a token adds. After a chunk with a finish reason no other may be asked for."""
        if token == self._codec.fim.eot:
            return Chunk(self._stream.finish(), finish_reason="eot")
        self._left -= 1
        kept = () if scores is None else (scores,)
        text = self._stream.feed(self._codec.token_bytes(token))
        if self._stream.stopped:
            return Chunk(text, (token,), "stop", kept)
        if self._left == 0:
            return Chunk(text + self._stream.finish(), (token,), "length", kept)
        return Chunk(text, (token,), None, kept)

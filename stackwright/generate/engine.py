"""Generate text token by token, and hand it out as text that is safe to show.

In: a backend, a tokenizer, the ids of a prompt, sampling settings. Out: chunks of text, the last with the reason why it
ended. Three things hold for every stream: a character is given out when all its bytes are there; a stop text is found
wherever tokens cut it, and nothing of it is given out; no sentinel and no padded id is ever drawn, but end-of-text, which
ends the completion.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from stackwright.errors import UsageError
from stackwright.generate.backend import Backend
from stackwright.generate.sampling import Sampler, SamplingSettings
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
class Chunk:
    """A piece of a stream. `finish_reason` is set on the last one."""

    text: str
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True)
class Completion:
    """A whole completion. `token_ids` are all that were drawn, with those of a stop text, without end-of-text."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    num_prompt_tokens: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "token_ids": list(self.token_ids), "num_new_tokens": len(self.token_ids)}


class TextStream:
    """Turns token bytes into text that can be shown: whole characters, and nothing of a stop text."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Return the text that has become safe; sets `stopped` when a stop text is complete."""
        self._held += self._decoder.decode(data)
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


def forbidden_mask(codec: Codec, num_scores: int) -> Tensor:
    """Return [V] with -inf where an id must not be drawn: sentinels but end-of-text, and the padding of the embedding."""
    mask_V = torch.zeros(num_scores)
    mask_V[codec.vocab_size :] = -math.inf
    fim = codec.fim
    mask_V[[fim.prefix, fim.middle, fim.suffix, fim.pad]] = -math.inf
    return mask_V


def iter_tokens(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Iterator[int]:
    """Yield the ids of a completion, without end, up to `max_new_tokens` or the end of the context.

    Raises:
        UsageError: the prompt leaves no room for a single token.
    """
    room = backend.max_seq_len - len(prompt)
    if not prompt or room < 1:
        raise UsageError(
            f"a prompt of {len(prompt)} tokens does not fit a context of {backend.max_seq_len}", "give a shorter prompt"
        )
    session, sampler = backend.open(min(backend.max_seq_len, len(prompt) + settings.max_new_tokens)), Sampler(settings)
    fed: Sequence[int] = prompt
    mask_V: Tensor | None = None
    for _ in range(min(settings.max_new_tokens, room)):
        scores_V = session.feed(fed)
        if mask_V is None:
            mask_V = forbidden_mask(codec, scores_V.numel()).to(scores_V)
        token = sampler.next(scores_V + mask_V)
        yield token
        fed = [token]


def generate(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Iterator[Chunk]:
    """Yield the completion of a prompt piece by piece; the last chunk carries the finish reason."""
    stream = TextStream(settings.stop)
    for token in iter_tokens(backend, codec, prompt, settings):
        if token == codec.fim.eot:
            yield Chunk(stream.finish(), finish_reason="eot")
            return
        text = stream.feed(codec.token_bytes(token))
        if stream.stopped:
            yield Chunk(text, (token,), "stop")
            return
        yield Chunk(text, (token,))
    yield Chunk(stream.finish(), finish_reason="length")


def complete(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Completion:
    """Return the whole completion of a prompt."""
    chunks = list(generate(backend, codec, prompt, settings))
    reason = chunks[-1].finish_reason
    assert reason is not None
    ids = tuple(token for chunk in chunks for token in chunk.token_ids)
    return Completion("".join(chunk.text for chunk in chunks), ids, reason, len(prompt))

"""Generate text token by token, one sequence at a time: the reference for every quicker way.

In: a backend, a tokenizer, the ids of a prompt, sampling settings. Out: chunks of text, the last with the reason why it
ended (`stream.py`). No sentinel and no padded id is ever drawn, but end-of-text, which ends the completion. Many requests at
once are the scheduler's (`scheduler.py`); for the same request both draw the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stackwright.errors import UsageError
from stackwright.generate.backend import Backend
from stackwright.generate.sampling import Sampler, SamplingSettings
from stackwright.generate.stream import Chunk, Codec, CompletionWriter, FinishReason, TokenScores


@dataclass(frozen=True)
class Completion:
    """A whole completion. `token_ids` are all that were drawn, with those of a stop text, without end-of-text.

    `scores` are theirs, where they were asked for.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    num_prompt_tokens: int
    scores: tuple[TokenScores, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "token_ids": list(self.token_ids),
            "finish_reason": self.finish_reason,
            "num_prompt_tokens": self.num_prompt_tokens,
            "num_new_tokens": len(self.token_ids),
        }


def forbidden_mask(codec: Codec, num_scores: int) -> Tensor:
    """Return [V] with -inf where an id must not be drawn: sentinels but end-of-text, and the padding of the embedding."""
    mask_V = torch.zeros(num_scores)
    mask_V[codec.vocab_size :] = -math.inf
    fim = codec.fim
    mask_V[[fim.prefix, fim.middle, fim.suffix, fim.pad]] = -math.inf
    return mask_V


def room_for(prompt: Sequence[int], settings: SamplingSettings, max_seq_len: int) -> int:
    """Return how many tokens may follow a prompt.

    Raises:
        UsageError: the prompt leaves no room for a single token.
    """
    room = max_seq_len - len(prompt)
    if not prompt or room < 1:
        raise UsageError(
            f"a prompt of {len(prompt)} tokens does not fit a context of {max_seq_len}", "give a shorter prompt"
        )
    return min(settings.max_new_tokens, room)


def iter_tokens(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Iterator[int]:
    """Yield the ids of a completion, without end, up to `max_new_tokens` or the end of the context.

    Raises:
        UsageError: the prompt leaves no room for a single token.
    """
    room = room_for(prompt, settings, backend.max_seq_len)
    session, sampler = backend.open(len(prompt) + room), Sampler(settings)
    fed: Sequence[int] = prompt
    mask_V: Tensor | None = None
    for _ in range(room):
        scores_V = session.feed(fed)
        if mask_V is None:
            mask_V = forbidden_mask(codec, scores_V.numel()).to(scores_V)
        token = sampler.next(scores_V + mask_V)
        yield token
        fed = [token]


def generate(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Iterator[Chunk]:
    """Yield the completion of a prompt piece by piece; the last chunk carries the finish reason."""
    writer = CompletionWriter(codec, settings.stop, room_for(prompt, settings, backend.max_seq_len))
    for token in iter_tokens(backend, codec, prompt, settings):
        chunk = writer.add(token)
        yield chunk
        if chunk.finish_reason is not None:
            return


def complete(backend: Backend, codec: Codec, prompt: Sequence[int], settings: SamplingSettings) -> Completion:
    """Return the whole completion of a prompt."""
    return join(generate(backend, codec, prompt, settings), len(prompt))


def join(chunks: Iterator[Chunk] | Sequence[Chunk], num_prompt_tokens: int) -> Completion:
    """Return the chunks of one completion as a whole."""
    chunks = list(chunks)
    reason = chunks[-1].finish_reason
    assert reason is not None
    ids = tuple(token for chunk in chunks for token in chunk.token_ids)
    scores = tuple(score for chunk in chunks for score in chunk.scores)
    return Completion("".join(chunk.text for chunk in chunks), ids, reason, num_prompt_tokens, scores)

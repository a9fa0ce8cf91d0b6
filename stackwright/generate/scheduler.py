"""Many requests at once on one model: they join and leave the batch between two tokens.

In: requests, each with a sink that is called with its chunks. Out: calls of the sinks. One `step` reads at most one chunk of
one prompt and then draws one token for every request that is past its prompt, so a long prompt never holds up the others for
long. Every request has its own seed and its own end; for the same request the tokens are those of `engine.generate`, whoever
else is in the batch (up to the rounding of sums in another order). Not safe for several threads, but for `submit` and
`Ticket.cancel`: one thread calls `step`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stackwright.generate.backend import RowsBackend
from stackwright.generate.engine import forbidden_mask, room_for
from stackwright.generate.prefixes import KeptPrefixes, longest
from stackwright.generate.sampling import Sampler, SamplingSettings, likeliest
from stackwright.generate.speculative import MOST_GUESSED, PromptLookup, agreed
from stackwright.generate.stream import Chunk, Codec, CompletionWriter, TokenScores

Sink = Callable[[Chunk], None]


@dataclass(frozen=True)
class GenerationRequest:
    """What is asked for: the ids of a prompt, how to draw, and how many likeliest tokens to report with each.

    `num_scores` None reports nothing, 0 the probability of the drawn token alone.
    """

    prompt: tuple[int, ...]
    settings: SamplingSettings
    num_scores: int | None = None


@dataclass(eq=False)
class Ticket:
    """A request under way. `cancel` may be called from any thread; the sink hears nothing more after the next step."""

    request: GenerationRequest
    sink: Sink
    cancelled: bool = False
    finished: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Counts:
    """What a scheduler has done since it was made; all only grow."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0  # of which …
    reused_tokens: int = 0  # … those that were known from an earlier request
    new_tokens: int = 0  # of which …
    guessed_tokens: int = 0  # … those that a guess had right
    steps: int = 0


@dataclass(eq=False)
class _Running:
    """A request that has a row. The last of its `ids` may not be in the cache yet."""

    ticket: Ticket
    writer: CompletionWriter
    sampler: Sampler
    ids: list[int]
    begun: bool = False  # whether its prompt was looked for among what is kept
    lookup: PromptLookup | None = None

    @property
    def settings(self) -> SamplingSettings:
        return self.ticket.request.settings


@dataclass
class SchedulerLimits:
    """How much at once: rows, prompt tokens and guessed tokens of one step, bytes of earlier requests that are kept."""

    max_rows: int = 16
    prefill_chunk: int = 256
    kept_bytes: int = 256_000_000
    guesses: int = 32


class Scheduler:
    """The requests of one model."""

    def __init__(self, backend: RowsBackend, codec: Codec, limits: SchedulerLimits | None = None) -> None:
        self.limits = limits or SchedulerLimits()
        self.counts = Counts()
        self._backend, self._codec = backend, codec
        self._rows = backend.open_rows(self.limits.max_rows)
        self._kept = KeptPrefixes(self.limits.kept_bytes)
        self._waiting: deque[Ticket] = deque()
        self._running: list[_Running] = []
        self._mask_V: Tensor | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        return len(self._running)

    def submit(self, request: GenerationRequest, sink: Sink) -> Ticket:
        """Add a request. Its chunks come from `step`.

        Raises:
            UsageError: the prompt leaves no room for a single token.
        """
        room_for(request.prompt, request.settings, self._backend.max_seq_len)
        ticket = Ticket(request, sink)
        self._waiting.append(ticket)
        return ticket

    @torch.inference_mode()
    def step(self) -> bool:
        """Do one round of work. Returns whether there was any."""
        self._drop_cancelled()
        self._admit()
        if not self._running:
            return False
        self.counts.steps += 1
        self._read_prompt()
        self._draw_next()
        return True

    def _drop_cancelled(self) -> None:
        for running in [running for running in self._running if running.ticket.cancelled]:
            self._leave(running)
            self.counts.cancelled += 1

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.limits.max_rows:
            ticket = self._waiting.popleft()
            self.counts.requests += 1
            if ticket.cancelled:
                self.counts.cancelled += 1
                continue
            request = ticket.request
            room = room_for(request.prompt, request.settings, self._backend.max_seq_len)
            writer = CompletionWriter(self._codec, request.settings.stop, room)
            self._rows.reserve(len(request.prompt) + room)
            self._rows.truncate(len(self._running), 0)
            self._running.append(_Running(ticket, writer, Sampler(request.settings), list(request.prompt)))
            self.counts.prompt_tokens += len(request.prompt)

    def _num_unread(self, row: int) -> int:
        return len(self._running[row].ids) - self._rows.length(row)

    def _read_prompt(self) -> None:
        """Read a chunk of the prompt that has waited longest; at its end draw the first token."""
        row = next((row for row in range(len(self._running)) if not self._is_read(row)), None)
        if row is None:
            return
        running = self._running[row]
        if not running.begun:
            self._reuse(row)
        length = self._rows.length(row)
        chunk = running.ids[length : length + self.limits.prefill_chunk]
        scores_V = self._rows.feed(row, chunk)
        if self._num_unread(row) == 0:
            self._draw(row, scores_V)

    def _is_read(self, row: int) -> bool:
        """Whether a row waits for nothing but its next token: all but the token drawn last are in the cache."""
        running = self._running[row]
        return len(running.ids) > len(running.ticket.request.prompt) and self._num_unread(row) == 1

    def _reuse(self, row: int) -> None:
        """Give a row what another one, or an earlier request, has seen of its prompt. One token must be left to read."""
        running = self._running[row]
        running.begun = True
        prompt = np.asarray(running.ids, dtype=np.int64)
        others = (
            (np.asarray(other.ids[: self._rows.length(at)], dtype=np.int64), at)
            for at, other in enumerate(self._running)
            if at != row
        )
        beside, shared = longest(others, prompt)
        saved, kept = self._kept.find(running.ids)
        most = len(running.ids) - 1
        is_loaded = saved is not None and kept > shared and self._rows.load(row, saved, min(kept, most))
        if shared and not is_loaded:
            self._rows.copy(beside, row, min(shared, most))
        self.counts.reused_tokens += self._rows.length(row)

    def _draw_next(self) -> None:
        """Draw the next token of every request that is past its prompt, or several that a guess had right."""
        ready = [row for row in range(len(self._running)) if self._is_read(row)]
        if not ready:
            return
        most = min(MOST_GUESSED, self.limits.guesses // len(ready))
        guesses = {row: self._guess(self._running[row], most) for row in ready}
        fed = [[self._running[row].ids[-1], *guesses[row]] if row in guesses else [] for row in range(len(self._running))]
        scores_NV = self._rows.step(fed)
        scores_NV += self._mask(scores_NV)
        highest_N = likeliest(scores_NV)
        # From the last row on: a request that leaves gives its row to the last.
        end = len(highest_N)
        for row in reversed(ready):
            begin, end = end - len(fed[row]), end
            self._confirm(row, guesses[row], scores_NV[begin:end], highest_N[begin:end])
            end = begin

    def _guess(self, running: _Running, most: int) -> list[int]:
        """Return what may follow the next token of a request; nothing unless it is drawn greedily."""
        if most < 1 or running.settings.temperature > 0:
            return []
        if running.lookup is None:
            running.lookup = PromptLookup(running.ids)
        most = min(most, self._backend.max_seq_len - len(running.ids) - 1)
        guess = running.lookup.guess(most) if most > 0 else []
        if guess:
            self._rows.reserve(len(running.ids) + len(guess))
        return guess

    def _confirm(self, row: int, guess: list[int], scores_TV: Tensor, highest_T: list[int]) -> None:
        """Take what greedy decoding would have drawn: the part of a guess that is right, and the token after it."""
        running = self._running[row]
        if running.settings.temperature > 0:
            self._take(row, running.sampler.next(scores_TV[0]), scores_TV[0])
            return
        right = agreed(guess, highest_T)
        if guess and running.lookup is not None:
            running.lookup.learn(right, len(guess))
        before = len(running.ids)
        for place in range(right + 1):
            if running.ticket.finished:
                return
            self.counts.guessed_tokens += place < right
            if guess:  # what was seen of wrong guesses, and of what follows an end, is forgotten
                self._rows.truncate(row, before + place)
            self._take(row, highest_T[place], scores_TV[place])

    def _mask(self, scores: Tensor) -> Tensor:
        if self._mask_V is None:
            self._mask_V = forbidden_mask(self._codec, scores.size(-1)).to(scores)
        return self._mask_V

    def _draw(self, row: int, scores_V: Tensor) -> None:
        """Draw the next token of a row."""
        scores_V = scores_V + self._mask(scores_V)
        self._take(row, self._running[row].sampler.next(scores_V), scores_V)

    def _take(self, row: int, token: int, scores_V: Tensor) -> None:
        """Add a token to a row and hand it out; the request leaves with its last one."""
        running = self._running[row]
        running.ids.append(token)
        if running.lookup is not None:
            running.lookup.add(token)
        num_scores = running.ticket.request.num_scores
        chunk = running.writer.add(token, None if num_scores is None else token_scores(scores_V, token, num_scores))
        self.counts.new_tokens += len(chunk.token_ids)
        running.ticket.finished = chunk.finish_reason is not None
        running.ticket.sink(chunk)
        if running.ticket.finished:
            self.counts.finished += 1
            self._leave(running)

    def _leave(self, running: _Running) -> None:
        """Keep what a request's row has seen and give the row to the last request of the batch."""
        row = self._running.index(running)
        length = self._rows.length(row)
        if length:
            self._kept.keep(running.ids[:length], self._rows.save(row))
        last = len(self._running) - 1
        if row != last:
            self._rows.copy(last, row, self._rows.length(last))
            self._running[row] = self._running[last]
        self._running.pop()


def token_scores(scores_V: Tensor, token: int, num_likeliest: int) -> TokenScores:
    """Return the probability of a token and those of the likeliest, as natural logarithms."""
    logprobs_V = torch.log_softmax(scores_V.float(), dim=-1)
    values, ids = torch.topk(logprobs_V, min(num_likeliest, logprobs_V.numel()))
    best = [(token_id, value) for token_id, value in zip(ids.tolist(), values.tolist()) if value > float("-inf")]
    return TokenScores(token, float(logprobs_V[token]), tuple(best))

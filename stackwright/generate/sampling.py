"""From scores to the next token.

Greedy at temperature 0; otherwise the scores are divided by the temperature, cut to the `top_k` likeliest, then to the
smallest set whose probability reaches `top_p` (nucleus sampling, Holtzman et al., arXiv 1904.09751), and one is drawn with
the request's own seed. Everything but the draw is a pure function of the scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stackwright.errors import UsageError


@dataclass(frozen=True)
class SamplingSettings:
    """How a completion is drawn and where it ends. Values are checked when the object is made.

    Raises:
        UsageError: a value is outside its range; the message names value, range and what to do.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens {self.max_new_tokens} is not positive", "give 1 or more")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature {self.temperature} is not a number from 0 up", "give 0 for the likeliest token")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p {self.top_p} is not above 0 and up to 1", "give 1 to take every token")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k {self.top_k} is not positive", "leave it out to take every token")
        if not -(2**63) <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed} does not fit 64 bits", "give a smaller number")
        if any(not text for text in self.stop):
            raise UsageError("a stop text is empty", "leave it out")


def filter_top_k(logits_V: Tensor, top_k: int) -> Tensor:
    """Keep the `top_k` highest scores, and any that equal the lowest of them; the rest become -inf."""
    if top_k >= logits_V.numel():
        return logits_V
    lowest = torch.topk(logits_V, top_k).values[-1]
    return logits_V.masked_fill(logits_V < lowest, -math.inf)


def filter_top_p(logits_V: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens until their probability reaches `top_p`, at least one; the rest become -inf."""
    if top_p >= 1:
        return logits_V
    ordered_V, order_V = torch.sort(logits_V, descending=True, stable=True)
    probabilities_V = torch.softmax(ordered_V, dim=-1)
    # A token is dropped when those before it already reach top_p; so the one that reaches it is kept.
    dropped_V = torch.cumsum(probabilities_V, dim=-1) - probabilities_V >= top_p
    dropped_V[0] = False
    return logits_V.masked_fill(torch.zeros_like(dropped_V).scatter(0, order_V, dropped_V), -math.inf)


def likeliest(logits: Tensor) -> list[int]:
    """Return the id of the highest score of each row of [B, V].

    numpy looks for it in a tenth of torch's time on a processor.
    """
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        ids: list[int] = logits.numpy().argmax(axis=-1).tolist()
        return ids
    return logits.argmax(dim=-1).tolist()


class Sampler:
    """Draws the tokens of one request."""

    def __init__(self, settings: SamplingSettings) -> None:
        self._settings = settings
        self._generator = torch.Generator().manual_seed(settings.seed)

    def next(self, logits_V: Tensor) -> int:
        """Return the id drawn from the scores of the whole vocabulary; -inf is never drawn."""
        settings = self._settings
        if settings.temperature == 0:
            return likeliest(logits_V[None])[0]
        logits_V = logits_V.float() / settings.temperature
        if settings.top_k is not None:
            logits_V = filter_top_k(logits_V, settings.top_k)
        logits_V = filter_top_p(logits_V, settings.top_p)
        return int(torch.multinomial(torch.softmax(logits_V, dim=-1), 1, generator=self._generator))

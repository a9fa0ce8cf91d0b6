"""Prompts: text to continue, or the two sides of a gap, as ids that fit the context."""

from __future__ import annotations

from collections.abc import Sequence

from stackwright.errors import UsageError
from stackwright.generate.stream import Codec
from stackwright.log import get_logger
from stackwright.tokenizer.special_tokens import FimIds

logger = get_logger("generate")

SUFFIX_SHARE = 1 / 3
"""Share of the room that the suffix keeps when both sides are too long: what comes before a gap says more about it."""


def build_prompt(codec: Codec, prefix: str, suffix: str | None, max_tokens: int, *, warn: bool = True) -> list[int]:
    """Return the ids of a prompt: the prefix alone, or both sides of a gap in PSM order.

    A prompt that is too long keeps what is next to where the model writes: the end of the prefix, the beginning of the
    suffix. `warn` logs that it was cut: of a person's prompt that is news, of a whole file it is the rule. An empty prompt
    becomes end-of-text, after which a document begins.

    Raises:
        UsageError: `max_tokens` leaves no room for a prompt.
    """
    after = None if suffix is None else codec.encode(suffix)
    return fit_prompt(codec.fim, codec.encode(prefix), after, max_tokens, warn=warn)


def fit_prompt(
    fim: FimIds, before: Sequence[int], after: Sequence[int] | None, max_tokens: int, *, warn: bool = True
) -> list[int]:
    """Return what `build_prompt` does for sides that are ids already."""
    needed = 1 if after is None else 4
    if max_tokens < needed:
        raise UsageError(f"a prompt may have {max_tokens} tokens, at least {needed} are needed", "lower --max-new-tokens")
    if after is None:
        return _end_of(before, max_tokens, warn) or [fim.eot]
    room = max_tokens - len(fim.infill_prompt((), ()))
    suffix_room = min(len(after), max(int(room * SUFFIX_SHARE), room - len(before)))
    kept_before, kept_after = _end_of(before, room - suffix_room, warn), after[:suffix_room]
    if warn and len(kept_after) < len(after):
        _warn("suffix", len(after), len(kept_after))
    return fim.infill_prompt(kept_before, kept_after)


def _end_of(ids: Sequence[int], room: int, warn: bool) -> list[int]:
    kept = list(ids[max(len(ids) - room, 0) :])
    if warn and len(kept) < len(ids):
        _warn("prompt", len(ids), len(kept))
    return kept


def _warn(side: str, given: int, kept: int) -> None:
    logger.warning("the %s has %d tokens; %d fit the context beside the new tokens", side, given, kept)

"""Fill-in-the-middle: teaching a left-to-right model to write what is missing.

A model that reads from left to right can still fill a gap if it is shown the text after the gap first. So, for half of the
pieces it trains on, two cut points split the piece into prefix, middle and suffix, and the parts are put in another order
with sentinels between them:

    PSM   PRE prefix SUF suffix MID middle
    SPM   PRE SUF suffix MID prefix middle

Nothing but the order changes and every part is still predicted token by token, so infilling costs ordinary modelling
little. Both orders are trained (joint PSM and SPM); inference uses PSM.

What is done here, as in SantaCoder's training (FACTS D, K 3 to 7):

- Context level: a sample is a window over packed documents; it is cut at end-of-text tokens, and each piece is drawn on
  its own with `fim_rate`. Empty pieces are left as they are.
- Character level: a piece is decoded, the two cut points fall uniformly on characters (they may coincide or touch the
  ends), and the three parts are encoded again. Cuts inside what would have been one token are what an editor asks for.
- The sample keeps its length: it is cut at the end, or filled up with the pad sentinel.

A window may begin or end inside a character of several bytes. Tokens with a broken character at the front stay in front of
the transformed piece; those at the end are left out, where the sentinels push the end of the sample out anyway. So no
replacement character can enter the data. The inverse holds by construction: prefix + middle + suffix is the piece's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from stackwright.tokenizer.special_tokens import FimIds


class Codec(Protocol):
    """What FIM needs of a tokenizer."""

    @property
    def fim(self) -> FimIds: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token_id: int) -> bytes: ...


def fim_sample(ids: Sequence[int], codec: Codec, fim_rate: float, spm_rate: float, rng: np.random.Generator) -> list[int]:
    """Apply fill-in-the-middle to a packed sample.

    Args:
        ids: one window of packed documents, end-of-text tokens between them.
        fim_rate: probability that a piece is transformed.
        spm_rate: probability that a transformed piece is in SPM order.
        rng: the sample's own generator; a piece draws from it in the order of the pieces.

    Returns:
        As many ids as were given; padding, if any, stands at the end.
    """
    if fim_rate == 0.0:
        return list(ids)
    eot, sample, piece = codec.fim.eot, list[int](), list[int]()
    for token_id in ids:
        if token_id == eot:
            sample += [*_maybe_transform(piece, codec, fim_rate, spm_rate, rng), eot]
            piece = []
        else:
            piece.append(token_id)
    sample += _maybe_transform(piece, codec, fim_rate, spm_rate, rng)
    return (sample + [codec.fim.pad] * (len(ids) - len(sample)))[: len(ids)]


def _maybe_transform(
    piece: list[int], codec: Codec, fim_rate: float, spm_rate: float, rng: np.random.Generator
) -> list[int]:
    if not piece or rng.random() >= fim_rate:
        return piece
    head, body = split_broken_edges(piece, codec)
    text = b"".join(map(codec.token_bytes, body)).decode("utf-8", "surrogateescape")
    if not text or any("\udc80" <= character <= "\udcff" for character in text):
        return piece  # nothing but broken characters, or a sentinel's pad between them: left as it is
    first, second = sorted(rng.integers(0, len(text) + 1, size=2).tolist())
    prefix, middle, suffix = (codec.encode(part) for part in (text[:first], text[first:second], text[second:]))
    order = codec.fim.spm if rng.random() < spm_rate else codec.fim.psm
    return head + order(prefix, suffix, middle)


def split_broken_edges(piece: list[int], codec: Codec) -> tuple[list[int], list[int]]:
    """Return (tokens before the first whole character, tokens of whole characters); a broken end is left out."""
    start = 0
    while start < len(piece) and _begins_inside_character(codec.token_bytes(piece[start])):
        start += 1
    stop, pending = len(piece), b""
    # A broken character holds at most three bytes, so at most three tokens reach into it.
    for index in range(len(piece) - 1, max(start, len(piece) - 4) - 1, -1):
        pending = codec.token_bytes(piece[index]) + pending
        if _ends_inside_character(pending):  # the token with the character's first byte
            stop = index
            break
    return piece[:start], piece[start:stop]


def _begins_inside_character(data: bytes) -> bool:
    return bool(data) and 0x80 <= data[0] < 0xC0


def _ends_inside_character(data: bytes) -> bool:
    """Return whether the last character of `data` begins in it and is cut off."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
        if byte < 0x80:
            return False
    return False

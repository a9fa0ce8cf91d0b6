"""Fill-in-the-middle: teaching a left-to-right model to write what is missing.

A model that reads from left to right can still fill a gap if it is shown the text after the gap first. So, for half of the
pieces it trains on, two cut points split the piece into prefix, middle and suffix, and the parts are put in another order
with sentinels between them:

    PSM   PRE prefix SUF suffix MID middle
    SPM   PRE SUF suffix MID prefix middle

Nothing but the order changes and every part is still predicted token by token, so infilling costs ordinary modelling
little. Both orders are trained (joint PSM and SPM); inference uses PSM.

What is done here, as in the training of SantaCoder and StarCoder2 (FACTS D, K 3 to 7):

- Context level: a sample is a window over packed documents; it is cut at end-of-text tokens, and each piece is drawn on
  its own with `rate`.
  Document level, as an option, transforms whole documents before they are packed, so that a window may hold a part of one.
- Repository level: a piece that holds `<file_sep>` is a repository. It is a candidate with `rate`, and then each of its
  files is drawn with `fragment_rate`, so that of files in repositories a quarter is transformed and not a half. What begins
  with `<repo_name>` names the repository and stays as it is.
- Character level: a piece is decoded, the two cut points fall uniformly on characters (they may coincide or touch the
  ends), and the three parts are encoded again. Cuts inside what would have been one token are what an editor asks for.
  Token level, as an option, cuts between tokens.
- The sample keeps its length: it is cut at the end, or filled up with the pad sentinel.
- Empty pieces stay, or are dropped together with the sentinel that ends them, as the published code does: doubled
  end-of-text tokens collapse, and a repository without a name loses its first `<file_sep>` where it is transformed.

A window may begin or end inside a character of several bytes. Tokens with a broken character at the front stay in front of
the transformed piece; those at the end are left out, where the sentinels push the end of the sample out anyway. So no
replacement character can enter the data. The inverse holds by construction: prefix + middle + suffix is the piece's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from stackwright.tokenizer.special_tokens import FimIds

DOCUMENT_SLACK = 16
"""Tokens by which a document may grow: three sentinels, and what two cut words become when they are encoded in parts."""


class Codec(Protocol):
    """What FIM needs of a tokenizer."""

    @property
    def fim(self) -> FimIds: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token_id: int) -> bytes: ...


@dataclass(frozen=True)
class FimRule:
    """What is transformed, and how.

    Attributes:
        rate: probability that a piece is transformed, or that a repository is a candidate.
        spm_rate: probability that what is transformed is in SPM order.
        unit: where cut points may fall.
        fragment_rate: probability that a file of a candidate is transformed.
        file_sep: the token between the files of a repository; None: a piece is transformed as a whole.
        repo_name: a fragment that begins with this token is left as it is.
        drops_empty: whether empty pieces go, with the sentinel that ends them.
    """

    rate: float
    spm_rate: float
    unit: Literal["character", "token"] = "character"
    fragment_rate: float = 0.5
    file_sep: int | None = None
    repo_name: int | None = None
    drops_empty: bool = False


def fim_sample(ids: Sequence[int], codec: Codec, rule: FimRule, rng: np.random.Generator) -> list[int]:
    """Apply fill-in-the-middle to a packed sample.

    Args:
        ids: one window of packed documents, end-of-text tokens between them.
        rng: the sample's own generator; pieces draw from it in their order.

    Returns:
        As many ids as were given; padding, if any, stands at the end.
    """
    if rule.rate == 0.0:
        return list(ids)
    eot, sample = codec.fim.eot, list[int]()
    *ended, last = _split(ids, eot)
    for piece in ended:
        if piece or not rule.drops_empty:
            sample += [*_transform_piece(piece, codec, rule, rng), eot]
    sample += _transform_piece(last, codec, rule, rng)
    return (sample + [codec.fim.pad] * (len(ids) - len(sample)))[: len(ids)]


def fim_document(ids: Sequence[int], codec: Codec, rule: FimRule, rng: np.random.Generator) -> list[int]:
    """Apply fill-in-the-middle to a whole document that ends with its end-of-text: document level.

    Returns:
        `DOCUMENT_SLACK` ids more than were given, padding after the end-of-text. A document that grows by more stays as it
        is; that takes a cut in a word whose parts have many more tokens than the whole.
    """
    room, eot = len(ids) + DOCUMENT_SLACK, codec.fim.eot
    document = [*_maybe_transform(list(ids[:-1]), codec, rule, rule.rate, rng), eot]
    if len(document) > room:
        document = list(ids)
    return document + [codec.fim.pad] * (room - len(document))


def _split(ids: Sequence[int], separator: int) -> list[list[int]]:
    """Return the pieces between separators, empty ones included: one more than there are separators."""
    pieces: list[list[int]] = [[]]
    for token_id in ids:
        if token_id == separator:
            pieces.append([])
        else:
            pieces[-1].append(token_id)
    return pieces


def _transform_piece(piece: list[int], codec: Codec, rule: FimRule, rng: np.random.Generator) -> list[int]:
    if rule.file_sep is None or rule.file_sep not in piece:
        return _maybe_transform(piece, codec, rule, rule.rate, rng)
    if rng.random() >= rule.rate:
        return piece
    result = list[int]()
    *ended, last = _split(piece, rule.file_sep)
    for fragment in ended:
        if fragment or not rule.drops_empty:
            result += [*_transform_fragment(fragment, codec, rule, rng), rule.file_sep]
    return result + _transform_fragment(last, codec, rule, rng)


def _transform_fragment(fragment: list[int], codec: Codec, rule: FimRule, rng: np.random.Generator) -> list[int]:
    if fragment and fragment[0] == rule.repo_name:
        return fragment
    return _maybe_transform(fragment, codec, rule, rule.fragment_rate, rng)


def _maybe_transform(piece: list[int], codec: Codec, rule: FimRule, rate: float, rng: np.random.Generator) -> list[int]:
    if not piece or rng.random() >= rate:
        return piece
    if rule.unit == "token":
        first, second = sorted(rng.integers(0, len(piece) + 1, size=2).tolist())
        head, parts = list[int](), (piece[:first], piece[first:second], piece[second:])
    else:
        head, body = split_broken_edges(piece, codec)
        text = b"".join(map(codec.token_bytes, body)).decode("utf-8", "surrogateescape")
        if not text or any("\udc80" <= character <= "\udcff" for character in text):
            return piece  # nothing but broken characters, or a sentinel's pad between them: left as it is
        first, second = sorted(rng.integers(0, len(text) + 1, size=2).tolist())
        parts = (codec.encode(text[:first]), codec.encode(text[first:second]), codec.encode(text[second:]))
    prefix, middle, suffix = parts
    order = codec.fim.spm if rng.random() < rule.spm_rate else codec.fim.psm
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

"""What a token sees, and two ways to compute attention over no more than that.

A token sees itself and what stands before it; with a sliding window only the last `window` tokens of that, itself included
(FACTS K 26); with documents kept apart only those of its own document. Both narrow the same rule:

    query i sees key j  if  j <= i  and  i - j < window  and  document(j) = document(i)

`SdpaSight` computes it with torch's fused attention: in one call where the rule is plain causality, and otherwise in chunks
of queries, each against no more keys than its window and its documents reach back to, so that work and memory grow with the
window and not with the square of the length. `FlexSight` hands the rule itself to FlexAttention, which skips blocks that
nobody sees; compiled on a GPU it is the quicker one. Both equal a plain reference in tests/model/test_masks.py. Training on
a processor has its own chunks (`lean.py`).

Letters: B batch, H query heads, K key-value heads, T tokens, S keys seen by a chunk, D head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from stackwright.model.lean import CHUNK_QUERIES, Chunk, attend_in_chunks, is_lean

MIN_CHUNK, MAX_CHUNK = 128, 1024
"""Queries at a time: a chunk sees chunk + window - 1 keys, so a long one wastes work and a short one makes many calls."""


class Sight(Protocol):
    """What the tokens of a batch see; the same for all layers."""

    def attend(self, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, dropout: float = 0.0) -> Tensor:
        """Return the values [B, H, T, D] that each query sees, weighed by how well their keys fit it."""


@dataclass(frozen=True)
class SdpaSight:
    """Attention by torch's fused kernels.

    There may be more keys than queries: the last key is that of the last query, and the first ones are of tokens before it.

    Args:
        window: tokens seen, the token itself included; None for all.
        documents_BT: a number for each token, the same within a document and never falling along a row; None for one.
    """

    window: int | None = None
    documents_BT: Tensor | None = None

    def attend(self, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, dropout: float = 0.0) -> Tensor:
        T, S = q_BHTD.size(2), k_BKTD.size(2)
        if is_lean(q_BHTD) and T == S and dropout == 0.0:
            return attend_in_chunks(q_BHTD, k_BKTD, v_BKTD, self._chunks(T, q_BHTD.device))
        is_grouped = k_BKTD.size(1) != q_BHTD.size(1)
        if self.documents_BT is None and (T == 1 or T == S) and (self.window is None or self.window >= S):
            return F.scaled_dot_product_attention(
                q_BHTD, k_BKTD, v_BKTD, dropout_p=dropout, is_causal=T > 1, enable_gqa=is_grouped
            )
        step = min(max(self.window or MAX_CHUNK, MIN_CHUNK), MAX_CHUNK)
        chunks = []
        for start in range(S - T, S, step):  # queries by the places of their own keys
            stop = min(start + step, S)
            first = self._first_seen(start)
            chunks.append(
                F.scaled_dot_product_attention(
                    q_BHTD[:, :, start - S + T : stop - S + T],
                    k_BKTD[:, :, first:stop],
                    v_BKTD[:, :, first:stop],
                    attn_mask=self._mask(first, start, stop, q_BHTD.device),
                    dropout_p=dropout,
                    enable_gqa=is_grouped,
                )
            )
        return torch.cat(chunks, dim=2)

    def _chunks(self, num_tokens: int, device: torch.device) -> list[Chunk]:
        """Cut as many queries as keys into chunks for `attend_in_chunks`."""
        chunks = []
        is_causal = self.window is None and self.documents_BT is None
        for start in range(0, num_tokens, CHUNK_QUERIES):
            stop = min(start + CHUNK_QUERIES, num_tokens)
            first = self._first_seen(start)
            # Plain causality hides nothing before the chunk's own tokens.
            chunks.append(Chunk(first, start, stop, self._mask(start if is_causal else first, start, stop, device)))
        return chunks

    def _first_seen(self, start: int) -> int:
        """Return the first key that any query from `start` on sees."""
        first = 0 if self.window is None else max(0, start - self.window + 1)
        if self.documents_BT is not None:
            begins_B = torch.searchsorted(self.documents_BT, self.documents_BT[:, start : start + 1].contiguous())
            first = max(first, int(begins_B.min()))
        return first

    def _mask(self, first: int, start: int, stop: int, device: torch.device) -> Tensor:
        """Return which of the keys from `first` on the queries from `start` to `stop` see: [T, S] or [B, 1, T, S]."""
        distance_TS = torch.arange(start, stop, device=device)[:, None] - torch.arange(first, stop, device=device)
        seen = distance_TS >= 0
        if self.window is not None:
            seen &= distance_TS < self.window
        if self.documents_BT is not None:
            own_BT1, others_B1S = self.documents_BT[:, start:stop, None], self.documents_BT[:, None, first:stop]
            seen = (seen & (own_BT1 == others_B1S))[:, None]
        return seen


class FlexSight:
    """Attention by FlexAttention (Dong et al., arXiv 2412.05496), for one length. It knows no dropout.

    Args:
        num_tokens: the length T of the rows.
        window, documents_BT: as for `SdpaSight`.
    """

    def __init__(
        self, num_tokens: int, window: int | None, documents_BT: Tensor | None, device: torch.device | str = "cpu"
    ) -> None:
        self._device = torch.device(device)

        def sees(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            seen = query >= key
            if window is not None:
                seen = seen & (query - key < window)
            if documents_BT is not None:
                seen = seen & (documents_BT[row, query] == documents_BT[row, key])
            return seen

        num_rows = None if documents_BT is None else documents_BT.size(0)
        self._blocks = create_block_mask(sees, num_rows, None, num_tokens, num_tokens, device=str(self._device))

    def attend(self, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, dropout: float = 0.0) -> Tensor:
        assert dropout == 0.0, "FlexAttention has no dropout"
        is_grouped = k_BKTD.size(1) != q_BHTD.size(1)
        attend = _flex_attention(self._device.type)
        seen_BHTD: Tensor = attend(q_BHTD, k_BKTD, v_BKTD, block_mask=self._blocks, enable_gqa=is_grouped)
        return seen_BHTD


@cache
def _flex_attention(device_type: str) -> Callable[..., Any]:
    """Return FlexAttention, compiled where that makes it a kernel; elsewhere in its plain form, which is for tests."""
    attend: Any = flex_attention
    return cast("Callable[..., Any]", torch.compile(attend, dynamic=False) if device_type == "cuda" else attend)


def choose_sight(
    kind: Literal["auto", "sdpa", "flex"],
    num_tokens: int,
    window: int | None,
    documents_BT: Tensor | None,
    device: torch.device,
    dropout: float = 0.0,
) -> Sight:
    """Return how attention is computed: "auto" takes FlexAttention where it is a kernel and has something to skip."""
    is_narrowed = documents_BT is not None or (window is not None and window < num_tokens)
    if kind == "auto":
        kind = "flex" if device.type == "cuda" and is_narrowed and dropout == 0.0 else "sdpa"
    if kind == "flex":
        return FlexSight(num_tokens, window, documents_BT, device)
    return SdpaSight(window, documents_BT)


def documents_of(tokens_BT: Tensor, eot: int) -> tuple[Tensor, Tensor]:
    """Return for each token the number of its document in the row, and its place in that document: [B, T] each.

    A document ends with its end-of-text token.
    """
    ends_BT = (tokens_BT == eot).long()
    documents_BT = ends_BT.cumsum(dim=1) - ends_BT
    begins_BT = torch.searchsorted(documents_BT, documents_BT)
    positions_BT = torch.arange(tokens_BT.size(1), device=tokens_BT.device) - begins_BT
    return documents_BT, positions_BT

"""Causal self-attention with shared keys and values.

Multi-query attention (Shazeer, arXiv 1911.02150) keeps one key and one value head for all query heads: quality falls a
little, the cache by the number of heads. Query, key and value come from one matrix product.

Letters: B batch, T new tokens, S tokens attended to, C width, H query heads, K key-value heads, D head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackwright.model.config import ModelConfig
from stackwright.model.kv_cache import KVCache


class CausalSelfAttention(nn.Module):
    """Attention of one layer."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.dropout = config.dropout
        self.split_sizes = [config.hidden_size, config.kv_size, config.kv_size]
        self.qkv_proj = nn.Linear(config.hidden_size, sum(self.split_sizes))
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTC: Tensor, cache: KVCache | None = None) -> Tensor:
        B, T, C = x_BTC.shape
        q_BTC, k_BTC, v_BTC = self.qkv_proj(x_BTC).split(self.split_sizes, dim=-1)
        q_BHTD = q_BTC.view(B, T, self.num_heads, self.head_dim).transpose(1, 2)
        k_BKSD = k_BTC.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v_BKSD = v_BTC.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        if cache is not None:
            k_BKSD, v_BKSD = cache.extend(self.layer, k_BKSD, v_BKSD)
        y_BHTD = self._attend(q_BHTD, k_BKSD, v_BKSD)
        y_BTC = self.out_proj(y_BHTD.transpose(1, 2).reshape(B, T, C))
        return F.dropout(y_BTC, self.dropout, self.training)

    def _attend(self, q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor) -> Tensor:
        T, S = q_BHTD.size(2), k_BKSD.size(2)
        if self.num_kv_heads != self.num_heads:
            # A view, not a copy: every query head reads the one key-value head.
            k_BKSD = k_BKSD.expand(-1, self.num_heads, -1, -1)
            v_BKSD = v_BKSD.expand(-1, self.num_heads, -1, -1)
        mask_TS = None
        if 1 < T < S:  # a chunk after cached tokens: row t sees the cache and the chunk up to itself
            mask_TS = torch.ones(T, S, dtype=torch.bool, device=q_BHTD.device).tril(diagonal=S - T)
        return F.scaled_dot_product_attention(
            q_BHTD,
            k_BKSD,
            v_BKSD,
            attn_mask=mask_TS,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask_TS is None and T == S and T > 1,
        )

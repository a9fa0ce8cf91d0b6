"""Causal self-attention: keys and values shared by groups of heads, a sliding window, documents kept apart.

Multi-query attention (Shazeer, arXiv 1911.02150) keeps one key and one value head for all query heads, grouped-query
attention (Ainslie et al., arXiv 2305.13245) one for each group of them: quality falls a little, the cache by the number of
heads in a group. Query, key and value come from one matrix product. What a token may see, and how that is computed, is in
`masks.py`.

Letters: B batch, T tokens, C width, H query heads, K key-value heads, D head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackwright.model.config import ModelConfig
from stackwright.model.lean import normed_linear
from stackwright.model.masks import Sight
from stackwright.model.rotary import Rotation


class CausalSelfAttention(nn.Module):
    """Attention of one layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = config.num_heads, config.num_kv_heads, config.head_dim
        self.dropout = config.dropout
        self.split_sizes = [config.hidden_size, config.kv_size, config.kv_size]
        self.qkv_proj = nn.Linear(config.hidden_size, sum(self.split_sizes))
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTC: Tensor, norm: nn.LayerNorm, sight: Sight, rotation: Rotation | None = None) -> Tensor:
        """Return what is added to the stream [B, T, C], of which the layer reads the normed form."""
        B, T, C = x_BTC.shape
        q_BTC, k_BTC, v_BTC = torch.split(normed_linear(norm, x_BTC, self.qkv_proj), self.split_sizes, dim=-1)
        q_BHTD = q_BTC.view(B, T, self.num_heads, self.head_dim).transpose(1, 2)
        k_BKTD = k_BTC.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        v_BKTD = v_BTC.view(B, T, self.num_kv_heads, self.head_dim).transpose(1, 2)
        if rotation is not None:
            q_BHTD, k_BKTD = rotation.rotate(q_BHTD), rotation.rotate(k_BKTD)
        y_BHTD = sight.attend(q_BHTD, k_BKTD, v_BKTD, self.dropout if self.training else 0.0)
        y_BTC = self.out_proj(y_BHTD.transpose(1, 2).reshape(B, T, C))
        return F.dropout(y_BTC, self.dropout, self.training)

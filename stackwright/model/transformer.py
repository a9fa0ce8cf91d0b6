"""The decoder: token ids in, a score for every next token out.

One pre-norm transformer (GPT-2's arrangement) covers the family: each block adds attention and a two-layer feed-forward to
the stream, LayerNorm before each, learned positions, GELU in its tanh form, biases everywhere but in the head, and a head
that shares the embedding's weights. What varies is in `ModelConfig`; nothing here asks for a model's name, and nothing here
knows about training or files.

Letters: B batch, T tokens, C width, F feed-forward width, V vocabulary (padded).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackwright.model.attention import CausalSelfAttention
from stackwright.model.config import ModelConfig
from stackwright.model.kv_cache import KVCache


class FeedForward(nn.Module):
    """Two matrices with a GELU between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BTC: Tensor) -> Tensor:
        h_BTF = F.gelu(self.up_proj(x_BTC), approximate="tanh")
        return F.dropout(self.down_proj(h_BTF), self.dropout, self.training)


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.attention = CausalSelfAttention(config, layer)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(self, x_BTC: Tensor, cache: KVCache | None = None) -> Tensor:
        x_BTC = x_BTC + self.attention(self.attention_norm(x_BTC), cache)
        added_BTC: Tensor = x_BTC + self.feed_forward(self.feed_forward_norm(x_BTC))
        return added_BTC


class Transformer(nn.Module):
    """A decoder of any size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_seq_len, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.head.weight = self.token_embedding.weight

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every weight from N(0, sigma); projections into the stream from N(0, sigma/sqrt(2 layers)); biases are 0.

        2 x layers terms are added to the stream, and the smaller sigma keeps their sum in the range of one (GPT-2).
        """
        std = self.config.init_std
        residual_std = std * (2 * self.config.num_layers) ** -0.5
        for name, parameter in self.named_parameters():  # a shared weight is named, and drawn, once
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            else:
                into_stream = name.endswith(("out_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=residual_std if into_stream else std, generator=generator)

    def hidden_states(self, tokens_BT: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return the normed stream [B, T, C], on which the head works. New tokens are added to the cache."""
        past = 0 if cache is None else cache.length
        T = tokens_BT.size(1)
        assert past + T <= self.config.max_seq_len, f"{past} + {T} tokens exceed the context of {self.config.max_seq_len}"
        positions_T = torch.arange(past, past + T, device=tokens_BT.device)
        x_BTC = self.token_embedding(tokens_BT) + self.position_embedding(positions_T)
        x_BTC = F.dropout(x_BTC, self.config.dropout, self.training)
        for block in self.blocks:
            x_BTC = block(x_BTC, cache)
        if cache is not None:
            cache.advance(T)
        normed_BTC: Tensor = self.final_norm(x_BTC)
        return normed_BTC

    def forward(self, tokens_BT: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits [B, T, V] of the token after each token.

        Args:
            tokens_BT: ids; with a cache, only those that are not in it yet.
        """
        logits_BTV: Tensor = self.head(self.hidden_states(tokens_BT, cache))
        return logits_BTV

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device

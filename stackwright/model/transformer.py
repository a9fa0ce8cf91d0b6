"""The decoder: token ids in, a score for every next token out.

One pre-norm transformer (GPT-2's arrangement) covers both families: each block adds attention and a two-layer feed-forward
to the stream, LayerNorm before each, GELU in its tanh form, biases everywhere but in the head. What varies is in
`ModelConfig`: positions learned and added once, or rotated into queries and keys; heads that share keys; a sliding window; a
head that shares the embedding's weights. Nothing here asks for a model's name or knows about training or files.

Letters: B batch, T tokens, C width, F feed-forward width, V vocabulary (padded).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stackwright.model.attention import CausalSelfAttention
from stackwright.model.config import ModelConfig
from stackwright.model.lean import add_to, linear_of, normed_linear
from stackwright.model.masks import SdpaSight, Sight
from stackwright.model.rotary import Rotation
from stackwright.model.sharding import set_rows


class FeedForward(nn.Module):
    """Two matrices with a GELU between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BTC: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Return what is added to the stream [B, T, C], of which the layer reads the normed form."""
        h_BTF = normed_linear(norm, x_BTC, self.up_proj)
        added_BTC = linear_of(_gelu, h_BTF, self.down_proj)
        return F.dropout(added_BTC, self.dropout, self.training)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


class Block(nn.Module):
    """One layer: attention, then feed-forward, each added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.feed_forward = FeedForward(config)

    def forward(self, x_BTC: Tensor, sight: Sight, rotation: Rotation | None = None) -> Tensor:
        x_BTC = add_to(self.attention(x_BTC, self.attention_norm, sight, rotation), x_BTC)
        return add_to(self.feed_forward(x_BTC, self.feed_forward_norm), x_BTC)


class Transformer(nn.Module):
    """A decoder of any size.

    Attributes:
        recompute: whether training keeps only the stream between blocks and computes what is inside them again for the
            gradients: a third more arithmetic for a fraction of the memory (activation checkpointing).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.max_seq_len, config.hidden_size)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.head.weight = self.token_embedding.weight

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw every weight from N(0, sigma); projections into the stream from N(0, sigma/sqrt(2 layers)); biases are 0.

        2 x layers terms are added to the stream, and the smaller sigma keeps their sum in the range of one (GPT-2). Each
        weight is drawn whole, on the CPU, so that it is the same however the model is shared out.
        """
        std = self.config.init_std
        residual_std = std * (2 * self.config.num_layers) ** -0.5
        for name, parameter in self.named_parameters():  # a shared weight is named, and drawn, once
            whole = torch.zeros(parameter.shape)
            if "norm" in name and not name.endswith("bias"):
                nn.init.ones_(whole)
            elif not name.endswith("bias"):
                into_stream = name.endswith(("out_proj.weight", "down_proj.weight"))
                nn.init.normal_(whole, std=residual_std if into_stream else std, generator=generator)
            set_rows(parameter, whole)

    def hidden_states(self, tokens_BT: Tensor, sight: Sight | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """Return the normed stream [B, T, C], on which the head works.

        Args:
            sight: what the tokens see; all before them within the model's window when not given.
            positions_BT: the place of each token; counted from the beginning of the row when not given.
        """
        config, T = self.config, tokens_BT.size(1)
        assert config.max_seq_len >= T, f"{T} tokens exceed the context of {config.max_seq_len}"
        positions = torch.arange(T, device=tokens_BT.device) if positions_BT is None else positions_BT
        x_BTC, rotation = self.token_embedding(tokens_BT), None
        if config.positions == "learned":
            x_BTC = x_BTC + self.position_embedding(positions)
        else:
            rotation = Rotation.of(positions, config.head_dim, config.rope_theta).to(x_BTC.dtype)
        x_BTC = F.dropout(x_BTC, config.dropout, self.training)
        sight = sight or SdpaSight(config.window)
        for block in self.blocks:
            if self.recompute and self.training:
                x_BTC = checkpoint(block, x_BTC, sight, rotation, use_reentrant=False)
            else:
                x_BTC = block(x_BTC, sight, rotation)
        normed_BTC: Tensor = self.final_norm(x_BTC)
        return normed_BTC

    def forward(self, tokens_BT: Tensor, sight: Sight | None = None, positions_BT: Tensor | None = None) -> Tensor:
        """Return logits [B, T, V] of the token after each token; arguments as for `hidden_states`."""
        logits_BTV: Tensor = self.head(self.hidden_states(tokens_BT, sight, positions_BT))
        return logits_BTV

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device

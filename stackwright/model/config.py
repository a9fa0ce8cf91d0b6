"""The shape of a decoder. No value here names a published model: recipes do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from stackwright.errors import CheckpointError
from stackwright.recipe import ModelSettings

Positions = Literal["learned", "rope"]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides a model's tensors and its forward pass."""

    vocab_size: int  # of the embedding, padding included
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int  # 1: multi-query; num_heads: multi-head; between: grouped-query
    intermediate_size: int
    max_seq_len: int
    norm_eps: float = 1e-5
    dropout: float = 0.0
    init_std: float = 0.02
    tied_embeddings: bool = True
    positions: Positions = "learned"
    rope_theta: float = 10_000.0  # where positions are "rope"
    sliding_window: int | None = None  # a token sees itself and the sliding_window - 1 before it; None: all before it

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def kv_size(self) -> int:
        """Width of the keys of one token, and of its values."""
        return self.num_kv_heads * self.head_dim

    @property
    def window(self) -> int | None:
        """The sliding window where it is shorter than the context, which is where it makes a difference."""
        return None if self.sliding_window is None or self.sliding_window >= self.max_seq_len else self.sliding_window

    @classmethod
    def from_settings(cls, settings: ModelSettings, tokenizer_vocab_size: int) -> ModelConfig:
        """Resolve the recipe: the vocabulary is padded, the width of the feed-forward and sigma are derived.

        sigma = 1/sqrt(width) is the rule behind every published value of the family (FACTS E1).
        """
        multiple, width = settings.vocab_multiple, settings.hidden_size
        return cls(
            vocab_size=-(-tokenizer_vocab_size // multiple) * multiple,
            hidden_size=width,
            num_layers=settings.num_layers,
            num_heads=settings.num_heads,
            num_kv_heads=settings.num_kv_heads,
            intermediate_size=settings.intermediate_size or 4 * width,
            max_seq_len=settings.max_seq_len,
            norm_eps=settings.norm_eps,
            dropout=settings.dropout,
            init_std=settings.init_std or width**-0.5,
            tied_embeddings=settings.tied_embeddings,
            positions=settings.positions,
            rope_theta=settings.rope_theta or cls.rope_theta,
            sliding_window=settings.sliding_window,
        )

    def num_parameters(self) -> int:
        """Return the number of parameters: FACTS E1's and E2's formulas for any number of key-value heads."""
        width, inner = self.hidden_size, self.intermediate_size
        attention = width * (width + 2 * self.kv_size) + (width + 2 * self.kv_size) + width * width + width
        feed_forward = width * inner + inner + inner * width + width
        block = attention + feed_forward + 4 * width
        heads = 1 if self.tied_embeddings else 2
        positions = self.max_seq_len * width if self.positions == "learned" else 0
        return self.vocab_size * width * heads + positions + self.num_layers * block + 2 * width

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelConfig:
        known = {field.name for field in fields(cls)}
        if unknown := sorted(value.keys() - known):
            raise CheckpointError(
                f"model configuration has an unknown key {unknown[0]!r}", f"known: {', '.join(sorted(known))}"
            )
        return cls(**value)

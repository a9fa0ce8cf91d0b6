"""What a model weighs and what a token costs, by arithmetic: before a GPU is hired.

Everything here follows from a `ModelConfig`; nothing is measured. Bytes are exact, MB are 10^6 bytes. FLOPs count a
multiplication and an addition as two, in matrix products only, and of attention what the mask lets through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stackwright.model.config import ModelConfig

Precision = Literal["float32", "bfloat16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8", "int4")

_BYTES_OF_LINEAR: dict[Precision, float] = {"float32": 4, "bfloat16": 2, "int8": 1, "int4": 0.5}
_BYTES_OF_OTHERS: dict[Precision, int] = {"float32": 4, "bfloat16": 2, "int8": 2, "int4": 2}


@dataclass(frozen=True)
class Parameters:
    """Parameters by what quantisation does to them: matrices of the blocks become smaller, everything else does not."""

    linear: int
    others: int

    @property
    def total(self) -> int:
        return self.linear + self.others


def count_parameters(config: ModelConfig) -> Parameters:
    """Return the parameters. Linear weights are those of the blocks; embeddings, head, biases and norms are the others."""
    width, kv, inner = config.hidden_size, config.kv_size, config.intermediate_size
    linear = config.num_layers * (width * (width + 2 * kv) + width * width + 2 * width * inner)
    return Parameters(linear, config.num_parameters() - linear)


def weight_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the bytes of the weights as they are loaded here; scales of quantised blocks are not counted."""
    parameters = count_parameters(config)
    return int(_BYTES_OF_LINEAR[precision] * parameters.linear) + _BYTES_OF_OTHERS[precision] * parameters.others


def model_card_bytes(config: ModelConfig, precision: Precision) -> int:
    """Return the footprint that the model cards of StarCoder2 print (FACTS I1); other models have no such figure.

    The library of that time kept in every layer a table of the rotary cosines and sines for all positions, in the type of
    the weights, and the inverse frequencies in float32. Neither is there any more.
    """
    tables = config.num_layers * config.max_seq_len * config.head_dim * 2
    frequencies = config.num_layers * (config.head_dim // 2) * 4
    return weight_bytes(config, precision) + _BYTES_OF_OTHERS[precision] * tables + frequencies


def kv_cache_bytes(config: ModelConfig, num_tokens: int, bytes_per_value: int = 2) -> int:
    """Return the bytes of keys and values of one sequence; with a sliding window no more tokens are kept than it has."""
    kept = num_tokens if config.window is None else min(num_tokens, config.window)
    return config.num_layers * 2 * config.kv_size * bytes_per_value * kept


def mean_tokens_seen(config: ModelConfig, num_tokens: int) -> float:
    """Return how many tokens a token of a sample sees on average, itself included."""
    window = num_tokens if config.window is None else min(config.window, num_tokens)
    # The first `window` tokens see 1, 2, ..., window; each later one sees `window`.
    return (window * (window + 1) / 2 + (num_tokens - window) * window) / num_tokens


def forward_flops_per_token(config: ModelConfig, num_tokens: int) -> float:
    """Return the FLOPs of one token's way through the model, in samples of `num_tokens`."""
    products = 2 * (count_parameters(config).linear + config.vocab_size * config.hidden_size)
    # Scores and weighted values: two products of the width with every token seen.
    attention = config.num_layers * 2 * 2 * config.hidden_size * mean_tokens_seen(config, num_tokens)
    return products + attention


def training_flops_per_token(config: ModelConfig, num_tokens: int, *, recompute: bool = False) -> float:
    """Return the FLOPs of one token in training: the gradients cost twice the forward pass, recomputing once more."""
    return (4 if recompute else 3) * forward_flops_per_token(config, num_tokens)


def activation_bytes_per_token(config: ModelConfig, *, recompute: bool, bytes_per_value: int) -> int:
    """Return the bytes that a token of a micro-batch keeps for the gradients, logits aside.

    Of each block: the stream before either norm, what the norms give, queries, keys and values (once more where they are
    rotated), what attention gives, and the feed-forward before and after its activation. Recomputing keeps of each block the
    stream at its beginning, and all of this for one block at a time.
    """
    width, kv, inner = config.hidden_size, config.kv_size, config.intermediate_size
    rotated = width + kv if config.positions == "rope" else 0
    block = 2 * width + 2 * width + (width + 2 * kv) + rotated + width + 2 * inner
    kept = config.num_layers * width + block if recompute else config.num_layers * block
    return (kept + 2 * width) * bytes_per_value

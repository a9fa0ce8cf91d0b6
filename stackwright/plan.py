"""What a recipe takes before anything runs: parameters, memory, FLOPs, tokens, days.

In: a recipe, a number of GPUs and their kind. Out: facts, each by a formula of `model/footprint.py`. Times rest on a share
of the peak that is assumed and said; memory of training counts weights, gradients and both moments in float32, shared out
over the ranks, and the activations of one micro-batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stackwright.errors import UsageError, nearest_names
from stackwright.model.config import ModelConfig
from stackwright.model.footprint import (
    PRECISIONS,
    activation_bytes_per_token,
    count_parameters,
    kv_cache_bytes,
    model_card_bytes,
    training_flops_per_token,
    weight_bytes,
)
from stackwright.recipe import Recipe
from stackwright.tokenizer.special_tokens import FimTemplate
from stackwright.train.phases import phases_of

ASSUMED_MFU = 0.4
"""Share of the peak that training reaches, where nothing else is said."""


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU: dense FLOP/s in 16 bits and memory in bytes, as its maker states them."""

    flops: float
    memory: float


GPUS = {
    "v100": Gpu(125e12, 32e9),
    "a100": Gpu(312e12, 80e9),
    "h100": Gpu(989e12, 80e9),
    "h200": Gpu(989e12, 141e9),
}


@dataclass(frozen=True)
class Plan:
    """The facts of one recipe on some GPUs."""

    recipe: Recipe
    config: ModelConfig
    num_gpus: int
    gpu: str
    mfu: float

    @classmethod
    def of(cls, recipe: Recipe, num_gpus: int = 1, gpu: str = "h100", mfu: float = ASSUMED_MFU) -> Plan:
        """Return the plan of a recipe. Raises `UsageError` for a GPU that is not known."""
        if gpu not in GPUS:
            raise UsageError(f"GPU {gpu!r} is not known", nearest_names(gpu, GPUS))
        settings = recipe.tokenizer
        sentinels = len(FimTemplate.of(settings.spelling).tokens) + 2 * settings.repository_sentinels
        after = sentinels if settings.sentinels == "last" else 0
        config = ModelConfig.from_settings(recipe.model, settings.vocab_size + after)
        return cls(recipe, config, num_gpus, gpu, mfu)

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a step of the base part."""
        return phases_of(self.recipe)[0].tokens_per_step

    @property
    def tokens(self) -> int:
        """Tokens of the whole training, a part at a longer context included."""
        return sum(phase.num_tokens(phase.last_step) for phase in phases_of(self.recipe))

    @property
    def flops(self) -> float:
        """FLOPs of the whole training."""
        total = 0.0
        for phase in phases_of(self.recipe):
            model = phase.recipe.model
            config = replace(self.config, sliding_window=model.sliding_window, max_seq_len=model.max_seq_len)
            per_token = training_flops_per_token(config, phase.recipe.data.seq_len, recompute=self.recipe.train.recompute)
            total += per_token * phase.num_tokens(phase.last_step)
        return total

    @property
    def seconds(self) -> float:
        return self.flops / (self.num_gpus * GPUS[self.gpu].flops * self.mfu)

    def training_bytes(self) -> dict[str, int]:
        """Return the memory of one rank by what it holds."""
        size, ranks = self.config.num_parameters(), self.num_gpus
        phases = phases_of(self.recipe)
        tokens = max(phase.recipe.train.micro_batch_size * phase.recipe.data.seq_len for phase in phases)
        bytes_per_value = 4 if self.recipe.train.precision == "float32" else 2
        activations = tokens * activation_bytes_per_token(
            self.config, recompute=self.recipe.train.recompute, bytes_per_value=bytes_per_value
        )
        return {
            "weights": 4 * size // ranks,
            "gradients": 4 * size // ranks,
            "optimizer": 8 * size // ranks,
            "activations": activations,
        }

    def to_json(self) -> dict[str, Any]:
        config, parameters = self.config, count_parameters(self.config)
        memory, cards = self.training_bytes(), {name: model_card_bytes(config, name) for name in PRECISIONS}
        return {
            "recipe": self.recipe.name,
            "parameters": {"total": parameters.total, "linear": parameters.linear, "others": parameters.others},
            "weights_bytes": {precision: weight_bytes(config, precision) for precision in PRECISIONS},
            "model_card_bytes": cards if config.positions == "rope" else None,
            "kv_cache_bytes": {
                "per_token": kv_cache_bytes(config, 1),
                "full_context": kv_cache_bytes(config, config.max_seq_len),
            },
            "training": {
                "tokens_per_step": self.tokens_per_step,
                "tokens": self.tokens,
                "flops": self.flops,
                "gpus": self.num_gpus,
                "gpu": self.gpu,
                "mfu": self.mfu,
                "days": self.seconds / 86_400,
                "bytes_per_rank": {**memory, "total": sum(memory.values())},
                "fits": sum(memory.values()) < GPUS[self.gpu].memory,
            },
        }

"""The parts of a training that follow one another: the base, and where the recipe has it a part at a longer context.

Steps are counted through. Each part has its own samples, schedule and batch, and begins with the weights and the optimizer
of the part before; what may change of the model is what is not in its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from stackwright.model.config import ModelConfig
from stackwright.recipe import Recipe


@dataclass(frozen=True)
class Phase:
    """One part. `recipe` is that of a training which would consist of it alone.

    Attributes:
        first_step, first_token: steps done and tokens read before it.
    """

    recipe: Recipe
    first_step: int = 0
    first_token: int = 0

    @property
    def last_step(self) -> int:
        return self.first_step + self.recipe.train.steps

    @property
    def samples_per_step(self) -> int:
        return self.recipe.train.micro_batch_size * self.recipe.train.grad_accum_steps

    @property
    def tokens_per_step(self) -> int:
        return self.samples_per_step * self.recipe.data.seq_len

    def num_samples(self, step: int) -> int:
        """Return how many samples of this part a training had read after `step` steps in all."""
        done = min(max(step - self.first_step, 0), self.recipe.train.steps)
        return done * self.samples_per_step

    def num_tokens(self, step: int) -> int:
        return self.num_samples(step) * self.recipe.data.seq_len


def phases_of(recipe: Recipe) -> tuple[Phase, ...]:
    """Return the parts of a training in order."""
    base, settings = Phase(recipe), recipe.long_context
    if settings is None:
        return (base,)
    names = ("steps", "micro_batch_size", "grad_accum_steps", "peak_lr", "min_lr", "warmup_steps")
    train = recipe.train.model_copy(update={**{name: getattr(settings, name) for name in names}, "decay_steps": None})
    context = max(recipe.model.max_seq_len, settings.seq_len)
    changed: dict[str, Any] = {"max_seq_len": context}
    for name in ("rope_theta", "sliding_window"):
        if (value := getattr(settings, name)) is not None:
            changed[name] = value
    longer = recipe.model_copy(
        update={
            "train": train,
            "data": recipe.data.model_copy(update={"seq_len": settings.seq_len}),
            "model": recipe.model.model_copy(update=changed),
            # Another order of documents: what the base part began with shall not come first again.
            "seed": (recipe.seed + 1) % 2**32,
            "long_context": None,
        }
    )
    return base, Phase(longer, base.last_step, base.num_tokens(base.last_step))


def continues(saved: ModelConfig, config: ModelConfig) -> bool:
    """Return whether weights of one configuration can be trained on in another: what differs is not in the weights."""
    if config.positions == "learned" and saved.max_seq_len != config.max_seq_len:
        return False
    same = replace(
        saved,
        max_seq_len=config.max_seq_len,
        rope_theta=config.rope_theta,
        sliding_window=config.sliding_window,
        dropout=config.dropout,
    )
    return same == config

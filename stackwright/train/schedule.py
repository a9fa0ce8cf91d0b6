"""The learning rate of every step: a pure function, so nothing of it has to be saved."""

from __future__ import annotations

import math

from stackwright.recipe import TrainSettings


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of a step, counted from 0.

    Linear warm-up to `peak_lr`, then half a cosine to `min_lr` at `decay_steps`, constant after it. SantaCoder: 2e-4 after
    2 % of the steps, with a cosine laid out for 600 K steps (FACTS F1; its 300 K runs therefore end well above the minimum).
    """
    if step < settings.warmup_steps:
        return settings.peak_lr * (step + 1) / settings.warmup_steps
    decay_steps = settings.decay_steps or settings.steps
    progress = (step - settings.warmup_steps) / max(decay_steps - settings.warmup_steps, 1)
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
    return settings.min_lr + (settings.peak_lr - settings.min_lr) * cosine

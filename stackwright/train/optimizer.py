"""AdamW with decoupled weight decay on matrices and embeddings only.

Biases and norms set scales and offsets; pulling them to zero has no regularising effect that anyone wants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from stackwright.model.sharding import local_rows
from stackwright.recipe import TrainSettings


@dataclass
class Moments:
    """What AdamW remembers of one parameter, in its shape: averages of the gradient and of its square."""

    mean: Tensor
    mean_square: Tensor


class AdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2).

        mean        <- beta1 mean + (1 - beta1) gradient
        mean_square <- beta2 mean_square + (1 - beta2) gradient^2
        weight      <- weight - rate (decay weight + unbiased mean / (sqrt(unbiased mean_square) + epsilon))

    where unbiased divides by 1 - beta^updates. The arithmetic is torch's fused kernel: one pass over memory, half the time
    of an update on two cores. torch's own class around it would load the compiler, 73 MB that a run on two cores never uses.

    Attributes:
        parameters: by name, in the order of the names.
        moments: of each parameter; where it is shared out over ranks, of the rows that are here.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], settings: TrainSettings) -> None:
        self.parameters = dict(sorted(parameters))
        self._settings = settings
        self.moments: dict[str, Moments] = {}
        self._updates: dict[str, Tensor] = {}  # the kernel counts them, in a float32 for each parameter
        self._groups: dict[float, list[str]] = {settings.weight_decay: [], 0.0: []}
        for name, parameter in self.parameters.items():
            rows = local_rows(parameter.detach())
            self.moments[name] = Moments(torch.zeros_like(rows), torch.zeros_like(rows))
            self._updates[name] = torch.zeros((), dtype=torch.float32, device=rows.device)
            self._groups[settings.weight_decay if parameter.dim() >= 2 else 0.0].append(name)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter by its gradient, which it must have."""
        settings = self._settings
        for decay, names in self._groups.items():
            gradients = [self.parameters[name].grad for name in names]
            adamw(
                [local_rows(self.parameters[name]) for name in names],
                [local_rows(gradient) for gradient in gradients if gradient is not None],
                [self.moments[name].mean for name in names],
                [self.moments[name].mean_square for name in names],
                [],
                [self._updates[name] for name in names],
                fused=True,
                amsgrad=False,
                maximize=False,
                lr=learning_rate,
                beta1=settings.beta1,
                beta2=settings.beta2,
                eps=settings.adam_eps,
                weight_decay=decay,
            )

    def zero_grad(self) -> None:
        """Forget the gradients, and their memory."""
        for parameter in self.parameters.values():
            parameter.grad = None

    @property
    def updates(self) -> int:
        """How many updates were done."""
        return int(next(iter(self._updates.values())))

    @updates.setter
    def updates(self, value: int) -> None:
        for tensor in self._updates.values():
            tensor.fill_(value)

"""Rotary position embedding (RoPE; Su et al., arXiv 2104.09864): a token's place as an angle.

The D dimensions of a head are D/2 pairs (d, d + D/2). Queries and keys of position p are rotated in pair d by the angle
p * theta^(-2d/D), so that their product depends only on how far apart they stand. A larger base theta makes the slow pairs
slower, which is how a context is lengthened.

Letters: B batch, H heads, T tokens, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """Cosine and sine for each position: [T, D], or [B, 1, T, D] where the rows of a batch have positions of their own."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, positions: Tensor, head_dim: int, theta: float) -> Rotation:
        """Return the rotation of positions, [T] or [B, T], in float32: 16 bits do not tell large angles apart."""
        exponents_P = torch.arange(0, head_dim, 2, dtype=torch.float32, device=positions.device) / head_dim
        angles = positions[..., None].float() * (1.0 / theta**exponents_P)
        angles = torch.cat((angles, angles), dim=-1)
        if positions.dim() == 2:
            angles = angles[:, None]
        return cls(angles.cos(), angles.sin())

    def to(self, dtype: torch.dtype) -> Rotation:
        return Rotation(self.cos.to(dtype), self.sin.to(dtype))

    def rotate(self, x_BHTD: Tensor) -> Tensor:
        """Return queries or keys turned to their positions."""
        first, second = x_BHTD.chunk(2, dim=-1)
        turned_BHTD = torch.cat((-second, first), dim=-1)
        return x_BHTD * self.cos.to(x_BHTD.dtype) + turned_BHTD * self.sin.to(x_BHTD.dtype)

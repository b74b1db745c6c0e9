"""Concave functions phi of a reward: which statistical divergence an inverse objective measures.

phi(x) = -f*(-x) for the convex conjugate f* of the divergence's f; Garg et al. 2021, arXiv 2106.12142, section 4 and
appendix B. Each has phi'(0) = 1, but for its own scale.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ChiSquare:
    """Pearson's chi-squared, phi(x) = x - x^2 / (4 strength): a quadratic penalty keeps rewards bounded."""

    strength: float = 0.5

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ValueError(f"strength {self.strength}: must be above 0")

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the chi-squared divergence."""
        return reward - reward.square() / (4 * self.strength)


@dataclass(frozen=True)
class TotalVariation:
    """Total variation, phi(x) = x: rewards are bounded by nothing but a penalty beside it."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the total variation, for rewards of at most 1/2 either way."""
        return reward


@dataclass(frozen=True)
class Hellinger:
    """Squared Hellinger, phi(x) = x / (1 + x) for x > -1; rewards are held above -1 + 1e-2."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the squared Hellinger distance."""
        kept = reward.clamp(min=-1 + 1e-2)
        return kept / (1 + kept)


@dataclass(frozen=True)
class KullbackLeibler:
    """Forward Kullback-Leibler, phi(x) = -exp(-x - 1); the exponent is held below 10."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the forward Kullback-Leibler divergence."""
        return -torch.exp((-reward - 1).clamp(max=10.0))


@dataclass(frozen=True)
class JensenShannon:
    """Jensen-Shannon, phi(x) = log(2 - exp(-x)) for x > -log 2; rewards are held 1e-2 above it."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the Jensen-Shannon divergence."""
        return torch.log(2 - torch.exp(-reward.clamp(min=-math.log(2) + 1e-2)))


Divergence = ChiSquare | TotalVariation | Hellinger | KullbackLeibler | JensenShannon

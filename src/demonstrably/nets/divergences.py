"""Concave functions phi of a reward: which statistical divergence an inverse objective measures.

phi(x) = -f*(-x) for the convex conjugate f* of the divergence's f; Garg et al. 2021, arXiv 2106.12142, section 4 and
appendix B. Where phi is undefined below some reward, or steeper than `STEEPEST`, its tangent continues it: held at a
bound it would have no slope where a reward has furthest to rise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

STEEPEST = 100.0  # slope; phi' of the three below is 1 / (1 + x)^2, exp(-x - 1) and 1 / (2 exp(x) - 1)


def continued(
    concave: Callable[[Tensor], Tensor], reward: Float[Tensor, "*any"], bound: float
) -> Float[Tensor, "*any"]:
    """The function, and below the bound, where its slope is `STEEPEST`, its tangent."""
    return concave(reward.clamp(min=bound)) + STEEPEST * (reward - bound).clamp(max=0.0)


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
    """Squared Hellinger, phi(x) = x / (1 + x)."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the squared Hellinger distance."""
        return continued(lambda x: x / (1 + x), reward, STEEPEST**-0.5 - 1)


@dataclass(frozen=True)
class KullbackLeibler:
    """Reverse Kullback-Leibler, of the policy's steps from the demonstrated ones: phi(x) = -exp(-x - 1)."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the reverse Kullback-Leibler divergence."""
        return continued(lambda x: -torch.exp(-x - 1), reward, -1 - math.log(STEEPEST))


@dataclass(frozen=True)
class JensenShannon:
    """Jensen-Shannon, phi(x) = log(2 - exp(-x))."""

    def concave(self, reward: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Eq. phi of the Jensen-Shannon divergence."""
        return continued(lambda x: torch.log(2 - torch.exp(-x)), reward, math.log((1 + 1 / STEEPEST) / 2))


Divergence = ChiSquare | TotalVariation | Hellinger | KullbackLeibler | JensenShannon

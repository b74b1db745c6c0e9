"""What turns a network's last outputs into an action: four heads, each a pure function of the outputs.

A head works on actions scaled to [-1, 1] (`Scaling`). It states how many outputs it needs, the loss of a target, and
the action for one row of random numbers in (0, 1). Acting is low-noise: what is random is stated by each head.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from demonstrably.spec import Continuous, Discrete

EDGE = 1 - 1e-4  # targets are kept this far inside (-1, 1) where atanh is taken; 1e-4 bounds it at 4.95


class Scaling(nn.Module):
    """Between the environment's action units and [-1, 1], one copy a member."""

    center: Tensor
    reach: Tensor

    def __init__(self, action: Continuous, members: int):
        super().__init__()
        low, high = torch.tensor(action.low), torch.tensor(action.high)
        self.register_buffer("center", ((high + low) / 2).expand(members, -1).clone())
        self.register_buffer("reach", ((high - low) / 2).expand(members, -1).clone())

    def inward(self, actions: Float[Tensor, "M *lead A"]) -> Float[Tensor, "M *lead A"]:
        """Environment's units to [-1, 1]."""
        shape = (-1, *[1] * (actions.dim() - 2), actions.shape[-1])
        return (actions - self.center.view(shape)) / self.reach.view(shape)

    def outward(self, actions: Float[Tensor, "M *lead A"]) -> Float[Tensor, "M *lead A"]:
        """[-1, 1] to the environment's units."""
        shape = (-1, *[1] * (actions.dim() - 2), actions.shape[-1])
        return actions * self.reach.view(shape) + self.center.view(shape)


@dataclass(frozen=True)
class Deterministic:
    """tanh of the outputs, with a weighted sum of squared and smooth absolute errors (robomimic's BC)."""

    squared: float = 1.0
    absolute: float = 0.0

    def outputs(self, action: Continuous | Discrete) -> int:
        """One output an action dimension."""
        return _continuous(self, action).dim

    def noise(self, action: Continuous | Discrete) -> int:
        """Random numbers an action."""
        return 0

    def loss(self, outputs: Float[Tensor, "*lead A"], target: Float[Tensor, "*lead A"]) -> Float[Tensor, "*lead"]:
        """Mean over the action's dimensions."""
        error = torch.tanh(outputs) - target
        smooth = torch.where(error.abs() < 1, 0.5 * error.square(), error.abs() - 0.5)
        return (self.squared * error.square() + self.absolute * smooth).mean(-1)

    def act(self, outputs: Float[Tensor, "*lead A"], noise: Float[Tensor, "*lead 0"]) -> Float[Tensor, "*lead A"]:
        """Without noise."""
        return torch.tanh(outputs)


@dataclass(frozen=True)
class TanhGaussian:
    """A Gaussian squashed by tanh, its log-density corrected for the squashing (arXiv 1812.05905, appendix C).

    Acts by the squashed mean.
    """

    def outputs(self, action: Continuous | Discrete) -> int:
        """A mean and a log standard deviation a dimension."""
        return 2 * _continuous(self, action).dim

    def noise(self, action: Continuous | Discrete) -> int:
        """Random numbers an action."""
        return 0

    def loss(self, outputs: Float[Tensor, "*lead two_A"], target: Float[Tensor, "*lead A"]) -> Float[Tensor, "*lead"]:
        """Negative log-density of the target, kept off the bounds where it is infinite."""
        mean, log_std = _gaussian(outputs)
        inside = target.clamp(-EDGE, EDGE)
        raw = torch.atanh(inside)
        log_density = -0.5 * ((raw - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)
        return -(log_density - torch.log1p(-inside.square())).sum(-1)

    def log_density(
        self, outputs: Float[Tensor, "*lead two_A"], actions: Float[Tensor, "*lead A"]
    ) -> Float[Tensor, "*lead"]:
        """Log-density of actions that may be draws; at a bound, of the whole last 1e-4 before it.

        Draws whose distance from a bound is rounded away are many where the mean is far beyond. `loss` takes them all
        for 0.9999 of the bound, and so for ever less likely as the mean moves on; here their density stays 1e4.
        """
        mean, log_std = _gaussian(outputs)
        beyond = (mean * actions.sign() - math.atanh(EDGE)) * torch.exp(-log_std)
        at_bound = torch.special.log_ndtr(beyond) - math.log(1 - EDGE)
        inside = -self.loss(outputs.unflatten(-1, (2, -1)).transpose(-1, -2), actions.unsqueeze(-1))
        return torch.where(actions.abs() < EDGE, inside, at_bound).sum(-1)

    def draw(
        self, outputs: Float[Tensor, "*lead two_A"], noise: Float[Tensor, "*lead A"]
    ) -> tuple[Float[Tensor, "*lead A"], Float[Tensor, "*lead"]]:
        """An action for standard normal numbers, differentiable in the outputs, and its log-density."""
        mean, log_std = _gaussian(outputs)
        raw = mean + torch.exp(log_std) * noise
        # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)), which does not underflow
        squashing = 2 * (math.log(2) - raw - nn.functional.softplus(-2 * raw))
        log_density = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi) - squashing
        return torch.tanh(raw), log_density.sum(-1)

    def act(self, outputs: Float[Tensor, "*lead two_A"], noise: Float[Tensor, "*lead 0"]) -> Float[Tensor, "*lead A"]:
        """The squashed mean."""
        return torch.tanh(outputs.chunk(2, dim=-1)[0])


@dataclass(frozen=True)
class GaussianMixture:
    """A mixture of diagonal Gaussians with tanh means (robomimic's GMM; no correction, as the means are squashed).

    Acts by drawing a mode from the mixture's weights and returning its mean, as robomimic's low-noise evaluation does
    but for its 1e-4 of noise. With `acts="mean"` it acts by the mean of the whole mixture: without chance and smooth
    where the modes share out the noise of a hand, wrong where they are different ways to go.
    """

    modes: int = 5
    min_std: float = 1e-4
    acts: Literal["mode", "mean"] = "mode"

    def __post_init__(self) -> None:
        if self.modes < 1 or self.min_std <= 0:
            raise ValueError(f"modes {self.modes} must be at least 1 and min_std {self.min_std} above 0")
        if self.acts not in ("mode", "mean"):
            raise ValueError(f"acts {self.acts!r} must be 'mode' (of a mode drawn) or 'mean' (of the whole mixture)")

    def outputs(self, action: Continuous | Discrete) -> int:
        """A weight, and a mean and a raw standard deviation a dimension, for each mode."""
        return self.modes * (1 + 2 * _continuous(self, action).dim)

    def noise(self, action: Continuous | Discrete) -> int:
        """One number draws the mode."""
        return int(self.acts == "mode")

    def loss(self, outputs: Float[Tensor, "*lead outputs"], target: Float[Tensor, "*lead A"]) -> Float[Tensor, "*lead"]:
        """Negative log-density of the target."""
        logits, rest = outputs.split([self.modes, outputs.shape[-1] - self.modes], dim=-1)
        mean, raw = rest.unflatten(-1, (2, self.modes, -1)).unbind(-3)  # each (*lead, modes, A)
        std = nn.functional.softplus(raw) + self.min_std
        error = (target.unsqueeze(-2) - torch.tanh(mean)) / std
        of_mode = -(0.5 * error.square() + std.log()).sum(-1) - 0.5 * math.log(2 * math.pi) * target.shape[-1]
        return torch.logsumexp(logits, -1) - torch.logsumexp(logits + of_mode, -1)

    def act(self, outputs: Float[Tensor, "*lead outputs"], noise: Float[Tensor, "*lead n"]) -> Float[Tensor, "*lead A"]:
        """The mean of a mode drawn by its weight, or of all modes."""
        logits, rest = outputs.split([self.modes, outputs.shape[-1] - self.modes], dim=-1)
        mean = torch.tanh(rest.unflatten(-1, (2, self.modes, -1)).select(-3, 0))
        if self.acts == "mean":
            return (torch.softmax(logits, -1).unsqueeze(-1) * mean).sum(-2)
        mode = _draw(logits, noise)
        return mean.gather(-2, mode[..., None, None].expand(*mode.shape, 1, mean.shape[-1])).squeeze(-2)


@dataclass(frozen=True)
class Categorical:
    """One of the discrete actions.

    Acts by the most likely action at temperature 0, otherwise by a draw from the probabilities at that temperature.
    """

    temperature: float = 0.0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature} must be 0 (the most likely action) or above")

    def outputs(self, action: Continuous | Discrete) -> int:
        """A logit an action."""
        if not isinstance(action, Discrete):
            raise ValueError(
                "Categorical needs discrete actions, and these are continuous: use gaussian-mixture"
            )
        return action.count

    def noise(self, action: Continuous | Discrete) -> int:
        """One number draws the action."""
        return 1

    def loss(self, outputs: Float[Tensor, "*lead count"], target: Int64[Tensor, "*lead"]) -> Float[Tensor, "*lead"]:
        """Negative log-probability of the target."""
        return torch.logsumexp(outputs, -1) - outputs.gather(-1, target.unsqueeze(-1)).squeeze(-1)

    def act(self, outputs: Float[Tensor, "*lead count"], noise: Float[Tensor, "*lead 1"]) -> Int64[Tensor, "*lead"]:
        """The index of an action."""
        return _draw(outputs / self.temperature, noise) if self.temperature > 0 else outputs.argmax(-1)


Head = Deterministic | TanhGaussian | GaussianMixture | Categorical


def head_for(head: Head | None, action: Continuous | Discrete) -> Head:
    """The head given, or the usual one: a mixture of five for continuous actions, categorical for discrete ones."""
    if head is not None:
        return head
    return Categorical() if isinstance(action, Discrete) else GaussianMixture()


def _gaussian(outputs: Float[Tensor, "*lead two_A"]) -> tuple[Float[Tensor, "*lead A"], Float[Tensor, "*lead A"]]:
    """Mean and log standard deviation, kept within [-5, 2], before the squashing."""
    mean, log_std = outputs.chunk(2, dim=-1)
    return mean, log_std.clamp(-5.0, 2.0)


def _draw(logits: Float[Tensor, "*lead n"], noise: Float[Tensor, "*lead 1"]) -> Int64[Tensor, "*lead"]:
    """An index by its weight: where the cumulative probability first passes the number."""
    cumulative = torch.softmax(logits, -1).cumsum(-1)
    return (cumulative < noise).sum(-1).clamp(max=logits.shape[-1] - 1)


def _continuous(head: object, action: Continuous | Discrete) -> Continuous:
    if not isinstance(action, Continuous):
        raise ValueError(f"{type(head).__name__} needs continuous actions, and these are discrete: use categorical")
    return action

"""What tells demonstrated steps from others: scores of steps, and the penalty on their slopes.

The penalty: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv 1704.00028, section 4.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from demonstrably.nets.encoder import Encoder, Observations
from demonstrably.nets.heads import Scaling
from demonstrably.nets.linear import Generators, Linear
from demonstrably.nets.mlp import MLP
from demonstrably.nets.random import uniform
from demonstrably.spec import Continuous, Discrete


class Score(nn.Module):
    """One number for a step, from what was observed and, with `action`, what was done.

    Continuous actions are scaled to [-1, 1], discrete ones are a column each.
    """

    def __init__(self, encoder: Encoder, action: Continuous | Discrete | None, body: MLP, draws: Generators):
        super().__init__()
        self.encoder = encoder
        self.scaling = Scaling(action, len(draws)) if isinstance(action, Continuous) else None
        self.count = action.count if isinstance(action, Discrete) else 0
        width = action.dim if isinstance(action, Continuous) else self.count
        self.body = body.build(encoder.outputs + width, draws)
        self.last = Linear(self.body.outputs, 1, draws)

    def forward(self, observations: Observations, actions: Num[Tensor, "M B *action"]) -> Float[Tensor, "M B"]:
        """Scores of steps, actions in the environment's units."""
        return self.judged(self.inputs(observations, actions))

    def inputs(self, observations: Observations, actions: Num[Tensor, "M B *action"]) -> Float[Tensor, "M B W"]:
        """The encoder's features and the action, side by side."""
        features = self.encoder(observations)
        if self.scaling:
            return torch.cat([features, self.scaling.inward(actions)], -1)
        if self.count:
            columns = actions.unsqueeze(-1) == torch.arange(self.count, device=actions.device)
            return torch.cat([features, columns.float()], -1)
        return features

    def judged(self, inputs: Float[Tensor, "M B W"]) -> Float[Tensor, "M B"]:
        """Scores, given the inputs side by side."""
        return self.last(self.body(inputs)).float().squeeze(-1)


class Discriminator(nn.Module):
    """A score of steps, and where it is wanted a potential of observations."""

    def __init__(self, score: Score, potential: Score | None = None):
        super().__init__()
        self.score, self.potential = score, potential


def interpolates(
    demonstrated: Float[Tensor, "M B W"], own: Float[Tensor, "M B W"], shares: Float[Tensor, "M B"]
) -> Float[Tensor, "M B W"]:
    """Points between pairs of inputs; `shares` in (0, 1) say how near the demonstrated one. Without gradient."""
    return torch.lerp(own.detach(), demonstrated.detach(), shares.unsqueeze(-1))


def slopes(judged: Callable[[Tensor], Tensor], inputs: Float[Tensor, "M B W"]) -> Float[Tensor, "M B W"]:
    """Gradient in its inputs of what judges them one by one, itself differentiable in the weights."""
    inputs = inputs.detach().requires_grad_()
    return torch.autograd.grad(judged(inputs).sum(), inputs, create_graph=True)[0]


def gradient_penalty(slopes: Float[Tensor, "M B W"]) -> Float[Tensor, "M"]:
    """E[(|slope| - 1)^2]: a score whose every slope is 1 tells near from far, and cannot be sure of anything near."""
    return (torch.linalg.vector_norm(slopes, dim=-1) - 1).square().mean(1)


def penalty_between(
    judged: Callable[[Tensor], Tensor],
    demonstrated: Float[Tensor, "M B W"],
    own: Float[Tensor, "M B W"],
    noise: Int64[Tensor, "M"],
    step: Int64[Tensor, ""],
) -> Float[Tensor, "M"]:
    """The penalty on the slopes of what judges inputs (M, B, W), at places between pairs that the noise draws."""
    shares = uniform(noise, step, own.shape[1])
    return gradient_penalty(slopes(judged, interpolates(demonstrated, own, shares)))

"""Parts of a Gaussian policy that knows where it was shown nothing: there its spread returns to that of a prior.

Watson, Huang and Heess 2023, "Coherent Soft Imitation Learning", NeurIPS, arXiv 2305.16498, section 5: periodic
features of a learned embedding (Meronen et al. 2021, "Periodic Activation Functions Induce Stationarity in Bayesian
Neural Networks", arXiv 2110.13572, section 3), and a variance that is a quadratic form of them.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.linear import Generators, Linear
from demonstrably.nets.mlp import Layers, Memoryless

PRIOR, LEAST = 0.75, 1e-5  # variances of an action before it is squashed: the most that can be, and about the least


@dataclass(frozen=True)
class Stationary:
    """Hidden layers as of an `MLP`, a narrow linear one, and periodic features of that.

    `frequency` is the spread of the features' first frequencies, in radians a unit of the narrow layer: the higher,
    the nearer to what was shown the spread returns to the prior's.
    """

    hidden: tuple[int, ...] = (256, 256)
    embedding: int = 12
    features: int = 128
    frequency: float = 0.3

    def __post_init__(self) -> None:
        if not self.hidden or min(*self.hidden, self.embedding, self.features) < 1 or self.features % 2:
            raise ValueError(
                f"hidden widths {self.hidden}, embedding {self.embedding} and features {self.features} must be at "
                "least 1 each, and features even"
            )
        if not self.frequency > 0:
            raise ValueError(f"frequency {self.frequency} must be above 0")

    def build(self, inputs: int, draws: Generators) -> "Periodic":
        """The network for inputs of that width."""
        return Periodic(inputs, self, draws)


class Periodic(Memoryless):
    """The layers of a `Stationary`. Without memory: it maps (M, ..., inputs) to (M, ..., outputs) of about length 1."""

    def __init__(self, inputs: int, sizes: Stationary, draws: Generators):
        super().__init__()
        self.layers = Layers(inputs, sizes.hidden, draws)
        self.embed = Linear(self.layers.outputs, sizes.embedding, draws)
        shape = (sizes.embedding, sizes.features // 2)
        self.waves = nn.Parameter(sizes.frequency * torch.stack([torch.randn(shape, generator=g) for g in draws]))
        self.outputs = sizes.features

    def forward(self, x: Float[Tensor, "M ... inputs"]) -> Float[Tensor, "M ... outputs"]:
        """Two waves of each phase, a quarter of a period apart."""
        phase = torch.bmm(self.embed(self.layers(x.reshape(x.shape[0], -1, x.shape[-1]))), self.waves)
        waves = torch.cat([triangle(phase + math.pi / 4), triangle(phase - math.pi / 4)], -1)
        return (waves / math.sqrt(self.outputs)).view(*x.shape[:-1], self.outputs)


class Spread(Linear):
    """A mean and a log standard deviation for each action dimension, from periodic features."""

    def __init__(self, features: int, actions: int, draws: Generators):
        super().__init__(features, actions, draws)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.root = nn.Parameter(torch.eye(features).expand(len(draws), actions, -1, -1).clone())

    def forward(self, x: Float[Tensor, "M N features"], *, apart: bool = False) -> Float[Tensor, "M N two_A"]:
        """With `apart` the deviation's gradient does not reach the features."""
        members, actions, width, _ = self.root.shape
        root = self.root.tril().transpose(1, 2).reshape(members, width, actions * width)
        spans = torch.bmm(x.detach() if apart else x, root).view(members, -1, actions, width)
        deviation = math.sqrt(PRIOR) * torch.tanh((LEAST + spans.square().sum(-1)).sqrt())
        return torch.cat([super().forward(x), deviation.log()], -1)


def triangle(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """A wave of straight lines with the sine's period and zeros, and a mean square of 1."""
    folded = (torch.remainder(x - math.pi / 2, 2 * math.pi) - math.pi).abs() - math.pi / 2
    return (2 * math.sqrt(3) / math.pi) * folded

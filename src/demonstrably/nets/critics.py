"""Q-functions of observation and continuous action: several a member, all in one batched network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.encoder import Encoder, Observations
from demonstrably.nets.linear import Generators, LayerNorm, Linear
from demonstrably.nets.mlp import MLP
from demonstrably.nets.products import perceptron


class Critics(nn.Module):
    """`count` Q-functions a member. They share its encoder and nothing else."""

    def __init__(
        self, encoder: Encoder, action: int, body: MLP, count: int, draws: Generators, *, layer_norm: bool = False
    ):
        """`draws` has a generator for every Q-function, member by member; `action` is the action's width.

        With `layer_norm` what each layer gives is normalized before it is rectified.
        """
        super().__init__()
        self.encoder, self.count = encoder, count
        self.body = body.build(encoder.outputs + action, draws)
        self.norms = nn.ModuleList(LayerNorm(width, draws) for width in body.hidden if layer_norm)
        self.last = Linear(self.body.outputs, 1, draws)

    def forward(self, observations: Observations, actions: Float[Tensor, "M B A"]) -> Float[Tensor, "M C B"]:
        """Values of actions that are scaled to [-1, 1]."""
        return self.values(self.encoder(observations), actions)

    def values(self, features: Float[Tensor, "M B F"], actions: Float[Tensor, "M B A"]) -> Float[Tensor, "M C B"]:
        """Values, given the encoder's features."""
        x = torch.cat([features, actions], -1)
        x = x.repeat_interleave(self.count, 0) if self.count > 1 else x
        return self._perceptron(x).float().view(len(features), self.count, -1)

    def _perceptron(self, x: Float[Tensor, "MC B inputs"]) -> Float[Tensor, "MC B 1"]:
        if self.norms:
            for layer, norm in zip(self.body.layers, self.norms, strict=True):
                x = torch.relu(norm(layer(x)))
            return self.last(x)
        layers = [*self.body.pairs(), (self.last.bias, self.last.weight)]
        return perceptron(x, layers, rectified=len(layers) - 1)


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Inside the block gradients pass through the network and are not computed for its weights."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)

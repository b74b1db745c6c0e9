"""The affine layer of a population, and how its members are drawn."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.products import affine

Generators = Sequence[torch.Generator]


def generators(members: int, seed: int) -> list[torch.Generator]:
    """One CPU generator a member: member i starts from seed + i, so it equals a run of one with that seed."""
    return [torch.Generator().manual_seed(seed + i) for i in range(members)]


def drawn(shape: tuple[int, ...], bound: float, draws: Generators) -> nn.Parameter:
    """A parameter (M, *shape), uniform in [-bound, bound], each member from its own generator."""
    return nn.Parameter(torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=g) for g in draws]))


class Linear(nn.Module):
    """y = x W + b for every member; initialized as PyTorch's own layer, uniform within 1 / sqrt(inputs)."""

    def __init__(self, inputs: int, outputs: int, draws: Generators):
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = drawn((inputs, outputs), bound, draws)
        self.bias = drawn((1, outputs), bound, draws)

    def forward(self, x: Float[Tensor, "M N inputs"]) -> Float[Tensor, "M N outputs"]:
        """All members in one batched product."""
        return affine(self.bias, x, self.weight)

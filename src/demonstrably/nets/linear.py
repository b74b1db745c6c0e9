"""The layers of a population, and how its members are drawn."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.nets.products import affine
from demonstrably.nets.random import fork, streams

Generators = Sequence[torch.Generator]
SEEDS = 2**32 - 1  # torch's CPU generator reads no more of a seed: higher bits would start equal ones


def generators(members: int, seed: int) -> list[torch.Generator]:
    """One CPU generator a member: member i starts from seed + i, so it equals a run of one with that seed."""
    return [torch.Generator().manual_seed(seed + i) for i in range(members)]


def apart(members: int, seed: int, purpose: int, copies: int = 1) -> list[torch.Generator]:
    """Generators for one more network, `copies` a member, member by member: none starts as one of `generators` does."""
    keys = fork(streams(torch.arange(seed, seed + members)), purpose)
    starts = torch.stack([fork(keys, 1 + k) for k in range(copies)], 1) & SEEDS
    return [torch.Generator().manual_seed(start) for start in starts.flatten().tolist()]


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


class LayerNorm(nn.Module):
    """Layer normalization (Ba et al. 2016, arXiv 1607.06450), then a scale and a shift a member."""

    def __init__(self, width: int, draws: Generators):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(len(draws), 1, width))
        self.bias = nn.Parameter(torch.zeros(len(draws), 1, width))

    def forward(self, x: Float[Tensor, "M N width"]) -> Float[Tensor, "M N width"]:
        """Over the last axis."""
        width = x.shape[-1:]
        if len(self.weight) == 1:
            return F.layer_norm(x, width, self.weight.view(width), self.bias.view(width))
        return torch.addcmul(self.bias, F.layer_norm(x, width), self.weight)

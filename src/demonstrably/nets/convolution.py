"""Convolutional layers of a population, and the two trunks that image encoders stand on.

Activations are (N, M * C, H, W), member by member along the channels, and each member is one group of a
grouped convolution. With one member this is a plain convolution.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call

from demonstrably.nets.linear import Generators, drawn

GROUP = 16  # channels that are normalized together; the best number in Wu and He's comparison


class Convolution(nn.Module):
    """A square convolution with zero padding of half its kernel.

    Weights are uniform with the variance 2 / fan-in (He et al. 2015, arXiv 1502.01852, eq. 10), biases 0.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, draws: Generators, *, bias: bool = False):
        super().__init__()
        bound = math.sqrt(6 / (inputs * kernel**2))
        self.weight = drawn((outputs, inputs, kernel, kernel), bound, draws)
        self.bias = nn.Parameter(torch.zeros(len(draws), outputs)) if bias else None
        self.stride = stride

    def forward(self, x: Float[Tensor, "N M_inputs H W"]) -> Float[Tensor, "N M_outputs h w"]:
        """Height and width are divided by the stride, rounded up."""
        members, _, _, kernel, _ = self.weight.shape
        bias = None if self.bias is None else self.bias.flatten()
        return F.conv2d(x, self.weight.flatten(0, 1), bias, self.stride, kernel // 2, groups=members)


class GroupNorm(nn.Module):
    """Group normalization (Wu and He 2018, arXiv 1803.08494), 16 channels a group, with scale and shift."""

    def __init__(self, channels: int, draws: Generators):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(len(draws), channels))
        self.bias = nn.Parameter(torch.zeros(len(draws), channels))

    def forward(self, x: Float[Tensor, "N M_C H W"]) -> Float[Tensor, "N M_C H W"]:
        """No group holds channels of two members."""
        return F.group_norm(x, self.weight.numel() // GROUP, self.weight.flatten(), self.bias.flatten())


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al. 2016, fig. 2).

    Where the shape changes, the shortcut is a 1x1 convolution (their option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, draws: Generators):
        super().__init__()
        self.first = Convolution(inputs, outputs, 3, stride, draws)
        self.first_norm = GroupNorm(outputs, draws)
        self.second = Convolution(outputs, outputs, 3, 1, draws)
        self.second_norm = GroupNorm(outputs, draws)
        self.shortcut = nn.Identity()
        if inputs != outputs or stride != 1:
            projection = Convolution(inputs, outputs, 1, stride, draws)
            self.shortcut = nn.Sequential(projection, GroupNorm(outputs, draws))

    def forward(self, x: Float[Tensor, "N M_inputs H W"]) -> Float[Tensor, "N M_outputs h w"]:
        """ReLU after the sum."""
        y = torch.relu_(self.first_norm(self.first(x)))
        return torch.relu_(self.second_norm(self.second(y)) + self.shortcut(x))


class ResidualTrunk(nn.Module):
    """The convolutions of ResNet-18 (He et al. 2016, arXiv 1512.03385): 512 channels at 1/32 the size."""

    def __init__(self, channels: int, draws: Generators):
        super().__init__()
        self.stem = Convolution(channels, 64, 7, 2, draws)
        self.stem_norm = GroupNorm(64, draws)
        widths = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        pairs = [(Block(a, b, stride, draws), Block(b, b, 1, draws)) for a, b, stride in widths]
        self.blocks = nn.Sequential(*[block for pair in pairs for block in pair])

    def forward(self, x: Float[Tensor, "N M_C H W"]) -> Float[Tensor, "N M_512 h w"]:
        """Height and width are halved five times, rounded up."""
        x = torch.relu_(self.stem_norm(self.stem(x)))
        return self.blocks(F.max_pool2d(x, 3, 2, 1))


class PlainTrunk(nn.Module):
    """3x3 convolutions of stride 2, each with a ReLU. Height and width are halved by each, rounded up."""

    def __init__(self, channels: int, widths: tuple[int, ...], draws: Generators):
        super().__init__()
        pairs = zip((channels, *widths), widths, strict=False)
        self.layers = nn.ModuleList(Convolution(a, b, 3, 2, draws, bias=True) for a, b in pairs)

    def forward(self, x: Float[Tensor, "N M_C H W"]) -> Float[Tensor, "N M_outputs h w"]:
        """The last layer's activations."""
        for layer in self.layers:
            x = torch.relu_(layer(x))
        return x


def population(trunk: nn.Module, images: UInt8[Tensor, "M N C H W"]) -> Float[Tensor, "M N outputs h w"]:
    """A trunk's maps of every member's images, whose bytes are scaled to [0, 1].

    On a CPU the members take turns: grouped convolutions cost about a sixth more there.
    """
    return together(trunk, images) if images.is_cuda or len(images) == 1 else in_turn(trunk, images)


def together(trunk: nn.Module, images: UInt8[Tensor, "M N C H W"]) -> Float[Tensor, "M N outputs h w"]:
    """All members by grouped convolutions."""
    folded = scaled(images.transpose(0, 1).flatten(1, 2))
    return trunk(folded).unflatten(1, (len(images), -1)).transpose(0, 1)


def in_turn(trunk: nn.Module, images: UInt8[Tensor, "M N C H W"]) -> Float[Tensor, "M N outputs h w"]:
    """One member after the other."""
    parts = {name: tensor.unsqueeze(1).unbind() for name, tensor in trunk.named_parameters()}
    weights = [{name: slices[i] for name, slices in parts.items()} for i in range(len(images))]
    return torch.stack([functional_call(trunk, w, scaled(x)) for w, x in zip(weights, images, strict=True)])


def scaled(images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Bytes as numbers in [0, 1], channels first in memory: channels last trains no faster."""
    return images.to(torch.float32, memory_format=torch.contiguous_format) / 255

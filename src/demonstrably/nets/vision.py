"""Image encoders: from bytes as they lie in memory to a few features.

Departures from the encoder of Mandlekar et al. 2021 (arXiv 2108.03298), which `ResNet18` otherwise
follows: group normalization in place of batch normalization, so that training and evaluation compute the
same function, nothing but weights is stored, and an image's features do not depend on the rest of its
batch; weights are drawn by fan-in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from demonstrably.nets.convolution import Convolution, PlainTrunk, ResidualTrunk, population
from demonstrably.nets.linear import Generators, Linear
from demonstrably.nets.random import below, fork

Size = tuple[int, int]  # height, width
Summary = Callable[[Tensor], Tensor]  # of maps (M, N, C, h, w), to (M, N, F)


@dataclass(frozen=True)
class ResNet18:
    """ResNet-18, the spatial softmax of `keypoints` channels, a linear layer, ReLU.

    `crop` is the share of height and width that is kept, 1 to keep all.
    """

    keypoints: int = 32
    features: int = 64
    crop: float = 0.9

    def __post_init__(self) -> None:
        _check_encoder(self.features, self.crop)
        if self.keypoints < 1:
            raise ValueError(f"keypoints {self.keypoints}: give at least 1")

    def build(self, shape: tuple[int, ...], draws: Generators) -> "ImageEncoder":
        """The network for images of that (height, width, channels)."""
        maps = Convolution(512, self.keypoints, 1, 1, draws, bias=True)
        trunk = nn.Sequential(ResidualTrunk(shape[2], draws), maps)
        head = Linear(2 * self.keypoints, self.features, draws)
        return ImageEncoder(crop_size(shape, self.crop), trunk, spatial_softmax, head)


@dataclass(frozen=True)
class SmallCNN:
    """A few convolutions and a linear layer, ReLU after each, in the manner of Mnih et al. 2015.

    Every convolution is 3x3 with stride 2 in place of their 8x8, 4x4 and 3x3 with strides 4, 2 and 1: it
    serves images of 84x84 and less, down to a grid of a few cells (where `crop` should be 1).
    """

    channels: tuple[int, ...] = (32, 64, 64)
    features: int = 64
    crop: float = 0.9

    def __post_init__(self) -> None:
        _check_encoder(self.features, self.crop)
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels {self.channels}: give at least one, each at least 1")

    def build(self, shape: tuple[int, ...], draws: Generators) -> "ImageEncoder":
        """The network for images of that (height, width, channels)."""
        size = crop_size(shape, self.crop)
        height, width = (-(-side // 2 ** len(self.channels)) for side in size)
        head = Linear(self.channels[-1] * height * width, self.features, draws)
        return ImageEncoder(size, PlainTrunk(shape[2], self.channels, draws), flat, head)


class ImageEncoder(nn.Module):
    """Crops, scales to [0, 1], makes maps by the trunk, summarizes them, and mixes the summary linearly."""

    def __init__(self, size: Size, trunk: nn.Module, summary: Summary, head: Linear):
        super().__init__()
        self.size = size
        self.trunk, self.summary, self.head = trunk, summary, head
        self.outputs = head.weight.shape[-1]

    def forward(
        self,
        images: UInt8[Tensor, "M N H W C"],
        keys: Int64[Tensor, "M"] | None = None,
        counter: Tensor | int = 0,
    ) -> Float[Tensor, "M N outputs"]:
        """Features of each image. `keys` and `counter` place a crop in each; None crops the center."""
        if images.shape[2:4] == self.size:
            crops = images
        elif keys is None:
            crops = center_crop(images, self.size)
        else:
            crops = random_crop(images, self.size, keys, counter)
        maps = population(self.trunk, crops.permute(0, 1, 4, 2, 3))
        return torch.relu(self.head(self.summary(maps)))


def spatial_softmax(maps: Float[Tensor, "M N C h w"]) -> Float[Tensor, "M N two_C"]:
    """Mean position of each map under its own softmax, temperature 1: x and y of the first, the second, ...

    Finn et al. 2016 (arXiv 1509.06113), section IV-A. The centers of the outermost cells are at -1 and 1,
    x goes to the right and y down.
    """
    weights = maps.flatten(3).float().softmax(3).view(maps.shape)
    across = torch.linspace(-1, 1, maps.shape[4], device=maps.device)
    down = torch.linspace(-1, 1, maps.shape[3], device=maps.device)
    return torch.stack([weights.sum(3) @ across, weights.sum(4) @ down], 3).flatten(2)


def flat(maps: Float[Tensor, "M N C h w"]) -> Float[Tensor, "M N C_h_w"]:
    """Every activation, map by map, each row by row."""
    return maps.flatten(2)


def crop_size(shape: tuple[int, ...], crop: float) -> Size:
    """Height and width that are kept of (height, width, channels): 84 -> 76 with `crop` 0.9."""
    return max(1, round(crop * shape[0])), max(1, round(crop * shape[1]))


def center_crop(images: UInt8[Tensor, "M N H W C"], size: Size) -> UInt8[Tensor, "M N h w C"]:
    """The middle of every image, a view."""
    height, width = size
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


def random_crop(
    images: UInt8[Tensor, "M N H W C"], size: Size, keys: Int64[Tensor, "M"], counter: Tensor | int
) -> UInt8[Tensor, "M N h w C"]:
    """A crop of each image at a place of its own; all places are equally likely."""
    members, count, height, width, _ = images.shape
    top = below(height - size[0] + 1, fork(keys, 1), counter, count)
    left = below(width - size[1] + 1, fork(keys, 2), counter, count)
    member = torch.arange(members, device=images.device)[:, None]
    image = torch.arange(count, device=images.device)
    # All crops of an image are windows on the same bytes: only the chosen ones are copied.
    crops = images.unfold(2, size[0], 1).unfold(3, size[1], 1)[member, image, top, left]  # (M, N, C, h, w)
    return crops.permute(0, 1, 3, 4, 2)


def _check_encoder(features: int, crop: float) -> None:
    if features < 1:
        raise ValueError(f"features {features}: give at least 1")
    if not 0 < crop <= 1:
        raise ValueError(f"crop {crop}: give the share of height and width to keep, above 0 and at most 1")

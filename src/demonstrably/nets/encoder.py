"""From an observation by key to one feature vector."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from demonstrably.nets.linear import Generators
from demonstrably.nets.random import fork
from demonstrably.nets.vision import ResNet18, SmallCNN
from demonstrably.spec import Field

Observations = dict[str, Num[Tensor, "..."]]

CAMERAS = 1024  # forks from here on, one a camera, so that their crops differ
FARTHEST = 10.0  # standard deviations: a normalized value is clipped here, lest a freak reading drown the rest


class Encoder(nn.Module):
    """Concatenates the low-dimensional keys, sorted by name, and the features of each image.

    With `normalize`, low-dimensional keys are shifted and scaled by the data's exact statistics and clipped to 10
    standard deviations; a dimension that was constant in the data is masked to 0.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, fields: Mapping[str, Field], vision: ResNet18 | SmallCNN, *, normalize: bool, draws: Generators):
        super().__init__()
        self.low = sorted(key for key, field in fields.items() if not field.is_image)
        self.images = sorted(key for key, field in fields.items() if field.is_image)
        self.towers = nn.ModuleList(vision.build(fields[key].shape, draws) for key in self.images)
        self.ranks = [len(fields[key].shape) for key in self.low]
        sizes = [fields[key].size for key in self.low]
        means = [fields[key].mean if normalize else None for key in self.low]
        scales = [fields[key].scale if normalize else None for key in self.low]
        mean = [m for mean, n in zip(means, sizes, strict=True) for m in (mean or [0.0] * n)]
        scale = [s for scale, n in zip(scales, sizes, strict=True) for s in (scale or [1.0] * n)]
        factor = [1 / s if s else 0.0 for s in scale]
        self.plain = not any(mean) and all(f == 1 for f in factor)
        self.register_buffer("mean", torch.tensor(mean).expand(len(draws), -1).clone())
        self.register_buffer("factor", torch.tensor(factor).expand(len(draws), -1).clone())
        self.outputs = sum(sizes) + vision.features * len(self.images)

    def forward(
        self, observations: Observations, keys: Int64[Tensor, "M"] | None = None, counter: Tensor | int = 0
    ) -> Float[Tensor, "M ... outputs"]:
        """Features with the leading axes of the observations.

        `keys` draw the random crops, each image key's from a stream of its own; None crops the center.
        """
        parts = [self._low(observations)] if self.low else []
        parts += [
            self._image(tower, observations[key], keys if keys is None else fork(keys, CAMERAS + place), counter)
            for place, (tower, key) in enumerate(zip(self.towers, self.images, strict=True))
        ]
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def _low(self, observations: Observations) -> Float[Tensor, "M ... low"]:
        columns = [self._flat(observations[key], rank).float() for key, rank in zip(self.low, self.ranks, strict=True)]
        x = torch.cat(columns, -1) if len(columns) > 1 else columns[0]
        if self.plain:
            return x
        shape = (-1, *[1] * (x.dim() - 2), x.shape[-1])
        return ((x - self.mean.view(shape)) * self.factor.view(shape)).clamp(-FARTHEST, FARTHEST)

    def _image(
        self, tower: nn.Module, images: Tensor, keys: Int64[Tensor, "M"] | None, counter: Tensor | int
    ) -> Float[Tensor, "M ... features"]:
        lead = images.shape[:-3]
        features = tower(images.reshape(lead[0], -1, *images.shape[-3:]), keys, counter)
        return features.view(*lead, -1)

    @staticmethod
    def _flat(values: Tensor, rank: int) -> Tensor:
        """One step's values as a vector; `rank` axes are the step's own."""
        return values.reshape(*values.shape[: values.dim() - rank], -1)

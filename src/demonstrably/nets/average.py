"""A network that follows another: an exponential average of its weights, or a slowly moving target."""

import torch
from jaxtyping import Int64
from torch import Tensor, nn


@torch.no_grad()
def follow(average: nn.Module, source: nn.Module, rate: float, step: Int64[Tensor, ""] | None = None) -> None:
    """Moves the average's weights toward the source's by `rate` of the way, in place.

    With `step`, the number of earlier moves, the first moves are longer, so that the average is that of the steps so
    far and never of the weights it began with.
    """
    share = torch.full((), rate) if step is None else (1 / (step + 1)).clamp(min=rate)
    for mean, value in zip(average.parameters(), source.parameters(), strict=True):
        mean.lerp_(value, share.to(mean.device))

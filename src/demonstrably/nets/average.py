"""A network that follows another: an exponential average of its weights, or a slowly moving target."""

import torch
from jaxtyping import Int64
from torch import Tensor, nn


@torch.no_grad()
def follow(
    average: nn.Module, source: nn.Module, rate: float, step: Int64[Tensor, ""] | None = None, recent: int = 9
) -> None:
    """Moves the average's weights toward the source's by `rate` of the way, in place.

    With `step`, the number of earlier moves, the first moves are longer, recent / (recent + 1 + step): the average is
    then of about the last 1 / (1 + recent) of the steps so far, and an early checkpoint does not lag (the
    polynomial-decay averaging of Shamir and Zhang 2013, arXiv 1212.1824, section 4).
    """
    share = rate if step is None else (recent / (recent + 1 + step)).clamp(min=rate)
    for mean, value in zip(average.parameters(), source.parameters(), strict=True):
        mean.lerp_(value, share)


def check_decay(average: float) -> None:
    """ValueError unless it is the decay of an average, or 0 for none."""
    if not 0 <= average < 1:
        raise ValueError(f"average {average} must be in [0, 1)")

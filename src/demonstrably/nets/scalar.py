"""One number a member that is learned, or only kept with the weights."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Scalar(nn.Module):
    """A number a member, (M, 1)."""

    def __init__(self, value: float, members: int):
        super().__init__()
        self.value = nn.Parameter(torch.full((members, 1), value))

    def forward(self) -> Float[Tensor, "M 1"]:
        """The number."""
        return self.value

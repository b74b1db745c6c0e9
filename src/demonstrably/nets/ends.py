"""How often steps end the task, on either side of a comparison."""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn


class Ends(nn.Module):
    """Running shares of demonstrated and of own steps that end the task, (M, 2)."""

    shares: Tensor

    def __init__(self, members: int):
        super().__init__()
        self.register_buffer("shares", torch.zeros(members, 2))

    @torch.no_grad()
    def see(self, terminated: Bool[Tensor, "M B"], shown: int, step: Int64[Tensor, ""]) -> None:
        """Takes in a batch whose first `shown` steps are demonstrated."""
        counts = terminated.float().split([shown, terminated.shape[1] - shown], 1)
        found = torch.stack([part.sum(1) / max(1, part.shape[1]) for part in counts], 1)
        self.shares.lerp_(found, (1 / (1 + step)).clamp(min=0.001))

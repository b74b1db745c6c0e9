"""The episodes that are under way in a feed's environments: what they were begun with, did, and brought so far."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


class Lives:
    """One episode a lane, lanes as (members, environments)."""

    def __init__(self, shape: tuple[int, int]):
        self.seeds = torch.zeros(shape, dtype=torch.int64)
        self.episodes = torch.zeros(shape, dtype=torch.int64)  # begun in the lane
        self.returns = torch.zeros(shape)
        self.actions: list[list[np.ndarray]] = [[] for _ in range(shape[0] * shape[1])]
        # By member, since the last report: episodes that ended, their returns and lengths in all.
        self.ended = torch.zeros(3, shape[0])

    def begin(self, chosen: Bool[Tensor, "M E"], seeds: Int64[Tensor, "M E"]) -> None:
        """New episodes in the chosen lanes."""
        self.seeds = torch.where(chosen, seeds, self.seeds)
        self.episodes += chosen
        self.returns.masked_fill_(chosen, 0.0)
        for lane in torch.nonzero(chosen.flatten()).flatten().tolist():
            self.actions[lane] = []

    def act(self, actions: np.ndarray) -> None:
        """Every lane's action, (lanes, ...)."""
        for lane, action in zip(self.actions, actions, strict=True):
            lane.append(action.copy())

    def earn(self, rewards: Float[Tensor, "M E"], ended: Bool[Tensor, "M E"]) -> None:
        """What the step brought, and which episodes it ended."""
        self.returns += rewards
        if not ended.any():
            return
        lengths = torch.tensor([float(len(lane)) for lane in self.actions]).view(ended.shape)
        self.ended += torch.stack([ended.float(), self.returns * ended, lengths * ended]).sum(-1)

    def report(self) -> dict[str, np.ndarray]:
        """Mean return and length of the episodes that ended since the last report, where every member had one."""
        count, returns, lengths = self.ended.numpy()
        if not count.all():
            return {}
        self.ended = torch.zeros_like(self.ended)
        return {"episode_return": returns / count, "episode_length": lengths / count}

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        kept = {"seeds": self.seeds, "episodes": self.episodes, "returns": self.returns, "ended": self.ended}
        return kept | {f"actions/{i}": torch.from_numpy(np.stack(lane)) for i, lane in enumerate(self.actions) if lane}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave."""
        self.seeds, self.episodes = tensors["seeds"].clone(), tensors["episodes"].clone()
        self.returns, self.ended = tensors["returns"].clone(), tensors["ended"].clone()
        for i in range(len(self.actions)):
            self.actions[i] = list(tensors[f"actions/{i}"].numpy()) if f"actions/{i}" in tensors else []

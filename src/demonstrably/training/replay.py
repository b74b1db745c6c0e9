"""What a population lived through, resident on the device: a ring over each member's newest steps."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from demonstrably.data.batches import Observations, TransitionBatch
from demonstrably.nets.random import below
from demonstrably.spec import Continuous, Spec


class Replay:
    """Steps and what followed them. The members' rings turn together: all add equally many steps at once.

    The observation after an episode's last step is its own last one, never the first of the episode that comes next.
    """

    def __init__(self, spec: Spec, *, members: int, capacity: int, device: str | torch.device):
        def column(shape: tuple[int, ...], dtype: str) -> Tensor:
            # Of NumPy's zeros only the pages that are written to take memory
            return torch.from_numpy(np.zeros((members, capacity, *shape), dtype)).to(device)

        fields = spec.observations.items()
        self.members, self.capacity, self.count = members, capacity, 0
        self._filled = torch.zeros((), dtype=torch.int64, device=device)  # for draws, which a graph on CUDA repeats
        self.columns = {f"observations/{key}": column(field.shape, field.dtype) for key, field in fields}
        self.columns |= {f"next_observations/{key}": column(field.shape, field.dtype) for key, field in fields}
        self.columns["actions"] = (
            column((spec.action.dim,), "float32") if isinstance(spec.action, Continuous) else column((), "int64")
        )
        self.columns |= {"rewards": column((), "float32"), "terminated": column((), "bool")}

    def add(
        self,
        observations: Observations,
        actions: Num[Tensor, "M E *action"],
        rewards: Float[Tensor, "M E"],
        next_observations: Observations,
        terminated: Bool[Tensor, "M E"],
    ) -> None:
        """E steps of every member, in the place of its oldest ones once the ring is full."""
        new = {"actions": actions, "rewards": rewards, "terminated": terminated}
        new |= {f"observations/{key}": value for key, value in observations.items()}
        new |= {f"next_observations/{key}": value for key, value in next_observations.items()}
        steps = actions.shape[1]
        start = self.count % self.capacity
        whole = start + steps <= self.capacity
        places = slice(start, start + steps) if whole else torch.arange(start, start + steps) % self.capacity
        for name, values in new.items():
            self.columns[name][:, places] = values
        self._counted(self.count + steps)

    def draw(self, keys: Int64[Tensor, "M"], counter: Int64[Tensor, ""], size: int) -> TransitionBatch:
        """`size` steps a member, uniformly, with replacement; the record's `first` is empty."""
        places = below(self._filled, keys, counter, size)
        rows = places + self.capacity * torch.arange(self.members, device=places.device)[:, None]
        drawn = {name: self._take(values, rows) for name, values in self.columns.items()}
        return TransitionBatch(
            under("observations/", drawn),
            drawn["actions"],
            drawn["rewards"],
            under("next_observations/", drawn),
            drawn["terminated"],
            {},
        )

    def tensors(self) -> dict[str, Tensor]:
        """What is filled of every column, and the number of steps ever added."""
        kept = min(self.count, self.capacity)
        return {name: values[:, :kept] for name, values in self.columns.items()} | {"count": torch.tensor(self.count)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave. ValueError where the ring was full and had another capacity."""
        count = int(tensors["count"])
        kept = tensors["actions"].shape[1]
        if kept != min(count, self.capacity):
            raise ValueError(f"the replay held {kept} steps a member: resume with the same --replay")
        for name, values in self.columns.items():
            values[:, :kept] = tensors[name].to(values.device)
        self._counted(count)

    def _counted(self, count: int) -> None:
        self.count = count
        self._filled.fill_(min(count, self.capacity))

    @staticmethod
    def _take(values: Tensor, rows: Int64[Tensor, "M B"]) -> Tensor:
        return values.flatten(0, 1).index_select(0, rows.flatten()).view(*rows.shape, *values.shape[2:])


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

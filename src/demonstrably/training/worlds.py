"""What an online feed needs of environments. Who makes them stands above this room."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stepped:
    """What came of a round, a row a lane. `observations` are those after the step, the last of an ended episode too."""

    observations: dict[str, np.ndarray]  # (L, ...) a key
    rewards: np.ndarray  # (L,) float32
    terminated: np.ndarray  # (L,) bool
    truncated: np.ndarray  # (L,) bool


class Worlds(abc.ABC):
    """Environments of one kind, numbered by lane. ValueError wherever one of them fails."""

    lanes: int

    @abc.abstractmethod
    def reset(self, lanes: Sequence[int], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Begins the seeds' episodes in these lanes; their first observations, (n, ...) a key, in that order."""

    @abc.abstractmethod
    def begin(self, lanes: Sequence[int], actions: np.ndarray) -> None:
        """Lets these lanes make a step each, with actions (n, ...)."""

    @abc.abstractmethod
    def finish(self) -> Stepped:
        """Waits for what was begun."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives the environments back."""

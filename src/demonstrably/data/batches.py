"""What a learner may ask to read, and the records it then gets.

Every record keeps the member axis M first. Windows put time T before the batch B, as recurrent networks want it.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Num
from torch import Tensor

Observations = dict[str, Num[Tensor, "..."]]


@dataclass(frozen=True)
class Steps:
    """Asks for single steps drawn uniformly over all steps: `batch_size` a member."""

    batch_size: int

    def __post_init__(self) -> None:
        _check_size(self.batch_size)

    @property
    def length(self) -> int:
        """Steps in a row."""
        return 1


@dataclass(frozen=True)
class Windows:
    """Asks for windows of up to `length` steps that start uniformly over all steps and never leave their episode."""

    batch_size: int
    length: int

    def __post_init__(self) -> None:
        _check_size(self.batch_size)


@dataclass(frozen=True)
class Transitions:
    """Asks for steps with what was observed after them, drawn uniformly: `batch_size` a member."""

    batch_size: int

    def __post_init__(self) -> None:
        _check_size(self.batch_size)


Reads = Steps | Windows | Transitions


@dataclass(frozen=True)
class StepBatch:
    """Single steps."""

    observations: Observations  # (M, B, ...) a key
    actions: Num[Tensor, "M B *action"]


@dataclass(frozen=True)
class WindowBatch:
    """Windows; `mask` is false past the end of an episode, where the contents repeat the last step."""

    observations: Observations  # (M, T, B, ...) a key
    actions: Num[Tensor, "M T B *action"]
    mask: Bool[Tensor, "M T B"]


@dataclass(frozen=True)
class TransitionBatch:
    """Steps and what followed. Where `terminated`, nothing did: the next observations are then not to be valued.

    `first` are the first observations of episodes, drawn apart from the steps.
    """

    observations: Observations  # (M, B, ...) a key
    actions: Num[Tensor, "M B *action"]
    next_observations: Observations  # (M, B, ...) a key
    terminated: Bool[Tensor, "M B"]
    first: Observations  # (M, B, ...) a key


Batch = StepBatch | WindowBatch | TransitionBatch


def _check_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give at least 1")

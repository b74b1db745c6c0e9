"""What a learner may ask to read, and the records it then gets.

Every record keeps the member axis M first. Windows put time T before the batch B, as recurrent networks want it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Num
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


@dataclass(frozen=True)
class Experience:
    """Asks for steps of the learner's own in an environment, `batch_size` a member, and for demonstrated ones.

    0 `demonstrations` asks for none. The first `ahead` updates do without steps of its own; where there are such, its
    policy makes all its steps, and none are made by chance. `fixed_horizon` says why its own episodes must not end by
    the task, and `unended` why the demonstrated ones must not, "" where they may.
    """

    batch_size: int
    demonstrations: int
    fixed_horizon: str = ""
    unended: str = ""
    ahead: int = 0

    def __post_init__(self) -> None:
        _check_size(self.batch_size)
        if min(self.demonstrations, self.ahead) < 0:
            raise ValueError(f"demonstrations {self.demonstrations} and ahead {self.ahead}: give at least 0")
        if self.ahead and not self.demonstrations:
            raise ValueError(f"ahead is {self.ahead}: updates without steps of its own need demonstrated ones")


Reads = Steps | Windows | Transitions | Experience


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

    `rewards` are the environment's, NaN where none were recorded. `first` are the first observations of episodes,
    drawn apart from the steps; a learner's own steps come without them.
    """

    observations: Observations  # (M, B, ...) a key
    actions: Num[Tensor, "M B *action"]
    rewards: Float[Tensor, "M B"]
    next_observations: Observations  # (M, B, ...) a key
    terminated: Bool[Tensor, "M B"]
    first: Observations  # (M, B, ...) a key


@dataclass(frozen=True)
class ExperienceBatch:
    """Steps of the learner's own, and demonstrated ones (None where none were asked for).

    Where updates go `ahead` of its own steps, demonstrated ones stand in for them.
    """

    own: TransitionBatch
    demonstrated: TransitionBatch | None


Batch = StepBatch | WindowBatch | TransitionBatch | ExperienceBatch


def joined(first: TransitionBatch, second: TransitionBatch) -> TransitionBatch:
    """The steps of both, one batch after the other."""
    return TransitionBatch(
        beside(first.observations, second.observations),
        torch.cat([first.actions, second.actions], 1),
        torch.cat([first.rewards, second.rewards], 1),
        beside(first.next_observations, second.next_observations),
        torch.cat([first.terminated, second.terminated], 1),
        first.first or second.first,
    )


def all_steps(batch: TransitionBatch | ExperienceBatch) -> tuple[TransitionBatch, int]:
    """The steps of a batch, the demonstrated ones first, and how many those are."""
    if isinstance(batch, TransitionBatch):
        return batch, batch.terminated.shape[1]
    assert batch.demonstrated, "only a learner that reads demonstrated steps asks"
    return joined(batch.demonstrated, batch.own), batch.demonstrated.terminated.shape[1]


def beside(*parts: Observations) -> Observations:
    """The rows of all, one part after the other."""
    return {key: torch.cat([part[key] for part in parts], 1) for key in parts[0]}


def _check_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: give at least 1")

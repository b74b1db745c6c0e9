"""Where batches come from. A feed draws by (member's stream, step), so it has no state of its own to save."""

import abc
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from demonstrably.data.batches import (
    Batch,
    Experience,
    Observations,
    Reads,
    StepBatch,
    TransitionBatch,
    Transitions,
    WindowBatch,
    Windows,
)
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import BATCHES, State
from demonstrably.nets.random import below, fork

FIRST = 1  # fork of the batches' streams that draws the first observations of episodes


class Feed(abc.ABC):
    """Gives the batch of the state's next step. One that acts in an environment does so by the state's policy."""

    def advance(self, state: State, step: int) -> None:
        """What the host does before the batch after `step` updates is drawn; with recorded data nothing.

        `step` is the state's own, which a GPU would have to be waited for to tell.
        """
        del state, step

    @abc.abstractmethod
    def draw(self, state: State) -> Batch:
        """A batch for every member, by what the state's device holds alone: on CUDA this is captured and replayed."""

    def batch(self, state: State) -> Batch:
        """A batch for every member, on the state's device."""
        self.advance(state, int(state.step))
        return self.draw(state)


class OfflineFeed(Feed):
    """Draws from demonstrations resident on the device, by index there.

    On a CPU the columns are the demonstrations' own memory, mapped files included. uint8 stays uint8.
    """

    def __init__(
        self,
        demos: Demonstrations,
        observations: tuple[str, ...],
        reads: Reads,
        device: str | torch.device,
        *,
        subsample: int = 1,
        seed: int = 0,
    ):
        """With `subsample` n only every n-th step of an episode is read, from a place that the seed draws, and a step
        that ends the task besides; transitions are drawn so that such ends are as frequent as among all steps.
        """
        if demos.transitions == 0:
            raise ValueError("there are no steps to learn from: the selection of episodes is empty")
        self.reads = Transitions(max(1, reads.demonstrations)) if isinstance(reads, Experience) else reads
        self.actions = _column(demos.actions, device)
        self.observations = {key: _column(demos.observations[key], device) for key in observations}
        pairs = list(zip(demos.starts, demos.lengths, strict=True))
        step_rows = np.concatenate([np.arange(start, start + length) for start, length in pairs])
        behind = np.repeat(demos.observation_starts - demos.starts, demos.lengths)
        left = np.concatenate([np.arange(length, 0, -1) for _, length in pairs])
        since = np.concatenate([np.arange(length) for _, length in pairs])
        # By step of the view: its rows in the columns, and how many steps of its episode are left, it included.
        self.step_rows = torch.as_tensor(step_rows).to(device)
        self.observation_rows = torch.as_tensor(step_rows + behind).to(device)
        self.left = torch.as_tensor(left).to(device)
        self.since = torch.as_tensor(since).to(device)
        self.starts = torch.as_tensor(np.flatnonzero(since == 0)).to(device)
        self.rewards = _column(demos.rewards, device)
        self.terminated = _column(demos.terminated, device)
        kept = kept_steps(demos, subsample, seed)
        if isinstance(reads, Windows) and subsample > 1:
            raise ValueError(f"subsample {subsample}: windows of steps in a row cannot leave steps out")
        self.kept = torch.as_tensor(np.flatnonzero(kept)).to(device)
        read = np.flatnonzero(kept & _followed(demos, step_rows, left))
        stands_for = np.repeat(np.minimum(subsample, demos.lengths), demos.lengths)  # so many steps of its episode
        times = np.where(demos.terminated[step_rows], 1, stands_for)
        self.followed = torch.as_tensor(np.repeat(read, times[read])).to(device)
        if isinstance(self.reads, Transitions) and not len(self.followed):
            raise ValueError("no step says what was observed after it: record `next_obs`, or `last_obs` an episode")

    @property
    def steps(self) -> int:
        """How many steps batches are drawn from."""
        return len((self.followed if isinstance(self.reads, Transitions) else self.kept).unique())

    def draw(self, state: State) -> Batch:
        """Uniform over all steps, with replacement."""
        keys, size = fork(state.keys, BATCHES), self.reads.batch_size
        if not isinstance(self.reads, Transitions):
            return self._at(self.kept[below(len(self.kept), keys, state.step, size)])
        first = self.starts[below(len(self.starts), fork(keys, FIRST), state.step, size)]
        return self._transitions(self.followed[below(len(self.followed), keys, state.step, size)], first)

    def once(self, members: int, batch_size: int) -> Iterator[tuple[int, Batch]]:
        """Every step once, the same for all members: batches, each with its number of steps.

        Windows do not overlap, so that every step is seen once with them too.
        """
        if isinstance(self.reads, Transitions):
            for rows in self.followed.split(batch_size):
                first = self.starts[torch.arange(len(rows), device=rows.device) % len(self.starts)]
                yield len(rows), self._transitions(rows.expand(members, -1), first.expand(members, -1))
            return
        length = self.reads.length if isinstance(self.reads, Windows) else 1
        firsts = self.kept[self.since[self.kept] % length == 0]
        for rows in firsts.split(batch_size):
            batch = self._at(rows.expand(members, -1))
            yield int(self.left[rows].clamp(max=length).sum()), batch

    def _at(self, steps: Int64[Tensor, "M B"]) -> Batch:
        if not isinstance(self.reads, Windows):
            return StepBatch(self._gather(steps), _take(self.actions, self.step_rows[steps]))
        ahead = torch.arange(self.reads.length, device=steps.device)[:, None]  # (T, 1)
        left = self.left[steps].unsqueeze(1)  # (M, 1, B)
        inside = steps.unsqueeze(1) + torch.minimum(ahead, left - 1)  # (M, T, B): past the end, the last step again
        return WindowBatch(self._gather(inside), _take(self.actions, self.step_rows[inside]), ahead < left)

    def _transitions(self, steps: Int64[Tensor, "M B"], first: Int64[Tensor, "M B"]) -> TransitionBatch:
        rows = _take(self.step_rows, steps)
        return TransitionBatch(
            self._gather(steps),
            _take(self.actions, rows),
            _take(self.rewards, rows),
            self._gather(steps, 1),
            _take(self.terminated, rows),
            self._gather(first),
        )

    def _gather(self, steps: Int64[Tensor, "M ..."], ahead: int = 0) -> Observations:
        rows = _take(self.observation_rows, steps) + ahead
        return {key: _take(values, rows) for key, values in self.observations.items()}


def _followed(demos: Demonstrations, rows: np.ndarray, left: np.ndarray) -> np.ndarray:
    """By step: whether what came after it was observed, or nothing came because the task was over, (steps,) bool."""
    blind = left == 1
    blind[blind] = ~np.asarray(demos.table.column("final_observation"), bool)
    return ~blind | demos.terminated[rows]


def kept_steps(demos: Demonstrations, subsample: int, seed: int) -> np.ndarray:
    """By step of the view: whether it is read, (steps,) bool. Every episode has one at least, and those that end the
    task all are.
    """
    since = np.concatenate([np.arange(length) for length in demos.lengths])
    places = np.random.default_rng(seed).integers(np.minimum(subsample, demos.lengths))
    ended = np.concatenate([demos.terminated[place] for place in demos.step_slices()])
    return (since % subsample == np.repeat(places, demos.lengths)) | ended


def _column(values: np.ndarray, device: str | torch.device) -> Tensor:
    with warnings.catch_warnings():
        # A file mapped for reading is not writable, which torch warns of; nothing here writes to a column.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values).to(device)


def _take(values: Tensor, rows: Int64[Tensor, "..."]) -> Tensor:
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])

"""Environments for learners that gather experience of their own: an arena behind the interface of the online feed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from demonstrably.evaluation.arena import Arena, default_workers
from demonstrably.evaluation.environments import DATA, check
from demonstrably.spec import Environment, Spec
from demonstrably.training.worlds import Stepped, Worlds


class ArenaWorlds(Worlds):
    """One environment a lane. A lane is an arena's slot."""

    def __init__(self, environment: Environment, spec: Spec, lanes: int, *, workers: int | None = None):
        """ValueError where the environment cannot be made or does not fit the spec; it lists every difference."""
        if environment.seats > 1:
            raise ValueError(f"{environment.name} has {environment.seats} seats: experience is gathered by one policy")
        self.lanes = lanes
        count = default_workers(environment) if workers is None else workers
        self._arena = Arena(environment, workers=min(count, lanes))
        self._begun: list[int] = []  # lanes of the round under way
        with self._answered():
            self._arena.fit(check(spec, self._arena.open(), DATA))

    def reset(self, lanes: Sequence[int], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Begins the seeds' episodes in these lanes."""
        with self._answered():
            reply = self._arena.play(list(zip(lanes, seeds, strict=True)), [], np.zeros((0, 1)))
        order = _order(reply.slots, lanes)
        return {key: values[order] for key, values in reply.observations.items()}

    def begin(self, lanes: Sequence[int], actions: np.ndarray) -> None:
        """Lets these lanes make a step each."""
        with self._answered():
            self._arena.begin([], lanes, actions[:, None])  # the axis of the one seat
        self._begun = list(lanes)

    def finish(self) -> Stepped:
        """Waits for what was begun."""
        lanes, self._begun = self._begun, []
        with self._answered():
            reply = self._arena.finish()
        order = _order(reply.slots, lanes)
        ends = [reply.ended.get(lane) for lane in lanes]
        return Stepped(
            {key: values[order] for key, values in reply.observations.items()},
            reply.rewards[order],
            np.array([end is not None and end.terminated for end in ends]),
            np.array([end is not None and end.truncated for end in ends]),
        )

    def close(self) -> None:
        """Keeps the worker processes for whatever comes next; a round under way is waited for first."""
        with self._arena, suppress(ValueError):  # nobody wants that round, so its failure is none
            if self._begun:
                self.finish()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Whatever breaks off inside the block ends the workers: they may owe answers that nobody would await."""
        with ExitStack() as stack:
            stack.push(self._arena)
            yield
            stack.pop_all()


def _order(slots: list[int], lanes: Sequence[int]) -> list[int]:
    """Where each lane stands among the slots of a reply."""
    place = {slot: i for i, slot in enumerate(slots)}
    return [place[lane] for lane in lanes]

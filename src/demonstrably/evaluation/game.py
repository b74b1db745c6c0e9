"""The turns of a rollout: environments step, the policy acts, and a row whose episode has ended takes its next seed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from demonstrably.evaluation.arena import Arena
from demonstrably.evaluation.environments import Adapter, check
from demonstrably.evaluation.worker import Outcome, Reply
from demonstrably.learners.contract import Carry, Policy, policy_seeds

Pair = tuple[int, int]  # a member and a seed


class Game:
    """Episodes under way: of one group of members after the other, in one arena."""

    def __init__(self, arena: Arena, seeds: Sequence[int], slots: int, filmed: Sequence[Pair]) -> None:
        self.outcomes: dict[Pair, Outcome] = {}
        self.actions: dict[Pair, list[np.ndarray]] = {pair: [] for pair in filmed}
        self._arena, self._slots = arena, slots
        self._queues = [[seed for seed in seeds if seed % slots == row] for row in range(slots)]
        self._offered = arena.open()
        if self._offered.limit is None:
            raise ValueError(f"{self._offered.name} sets no limit to an episode's steps; give a horizon")

    def play(self, policy: Policy, members: Sequence[int], ended: Callable[[int], None] | None = None) -> None:
        """All seeds for a policy of these members. Row m * slots + b of a batch plays, in turn, the seeds of row b."""
        self.adapter = check(policy.spec, self._offered)
        self._arena.fit(self.adapter)
        rows = Rows(policy, self.adapter, self._slots)
        with _few_threads(policy):
            self._all(rows, members, ended)

    def _all(self, rows: "Rows", members: Sequence[int], ended: Callable[[int], None] | None) -> None:
        queues = [iter([(member, seed) for seed in queue]) for member in members for queue in self._queues]
        waiting = {row: pair for row, queue in enumerate(queues) if (pair := next(queue, None))}
        playing: dict[int, Pair] = {}
        while waiting or playing:
            over = self._round(rows, waiting, playing)
            for row, outcome in over.items():
                self.outcomes[playing.pop(row)] = outcome
                if ended:
                    ended(len(self.outcomes))
            playing |= waiting
            begun = {row: seed for row, (_, seed) in waiting.items()}
            waiting = {row: pair for row in over if (pair := next(queues[row], None))}
            if playing:
                rows.act(begun, playing)

    def _round(self, rows: "Rows", waiting: dict[int, Pair], playing: dict[int, Pair]) -> dict[int, Outcome]:
        """Resets the rows that wait, steps those that play, and says which of these have ended."""
        for row, pair in playing.items():
            if pair in self.actions:
                self.actions[pair].append(rows.actions[row])
        resets = [(rows.slot(row), seed) for row, (_, seed) in waiting.items()]
        reply = self._arena.play(resets, [rows.slot(row) for row in playing], rows.actions[list(playing)])
        rows.observe(reply)
        return {rows.row(slot): outcome for slot, outcome in reply.ended.items()}


class Rows:
    """A policy's batch: row m * slots + b is member m in its b-th slot; several seats each have a row of their own.

    Rows that have nothing to play act along on what they saw last, so that a batch never changes its shape.
    """

    def __init__(self, policy: Policy, adapter: Adapter, slots: int) -> None:
        self._policy, self._adapter, self._slots, self._members = policy, adapter, slots, policy.members
        count = policy.members * slots
        self._seen = {
            key: np.zeros((count, *adapter.shapes[key]), dtype=adapter.dtypes[key]) for key in adapter.sources
        }
        self._seeds = np.zeros((policy.members, slots), dtype=np.int64)
        self._carry = self._start()
        self._device = next((tensor.device for tensor in self._carry.values()), torch.device("cpu"))
        self.actions = np.zeros((count, adapter.seats))

    def slot(self, row: int) -> int:
        """The arena's slot of a row. Members change fastest: the last few seeds then spread over all workers."""
        member, slot = divmod(row, self._slots)
        return slot * self._members + member

    def row(self, slot: int) -> int:
        """The row of an arena's slot."""
        place, member = divmod(slot, self._members)
        return member * self._slots + place

    def observe(self, reply: Reply) -> None:
        """Take in the observations of a round."""
        rows = [self.row(slot) for slot in reply.slots]
        for key, values in reply.observations.items():
            self._seen[key][rows] = values

    @torch.inference_mode()
    def act(self, begun: dict[int, int], playing: dict[int, Pair]) -> None:
        """Actions of all rows, after those that have begun, given with their seeds, started anew."""
        if begun:
            self._restart(begun)
        lead = (self._members, self._slots * self._adapter.seats)
        shapes = {key: field.shape for key, field in self._policy.spec.observations.items()}
        seen = {key: torch.tensor(v).view(*lead, *shapes[key]).to(self._device) for key, v in self._seen.items()}
        chosen, self._carry = self._policy.act(seen, self._carry)
        self.actions = chosen.cpu().numpy().reshape(len(self.actions), self._adapter.seats, *chosen.shape[2:])
        self._require_finite(playing)

    def _require_finite(self, playing: dict[int, Pair]) -> None:
        if np.isfinite(self.actions).all():
            return
        for row, (member, seed) in playing.items():
            if not np.isfinite(self.actions[row]).all():
                raise ValueError(
                    f"member {member} gave the action {self.actions[row].ravel().tolist()} in the episode with seed "
                    f"{seed}: its weights, or what it observed, are not finite"
                )

    def _restart(self, begun: dict[int, int]) -> None:
        rows = list(begun)
        self._seeds.ravel()[rows] = list(begun.values())
        chosen = torch.zeros(self._seeds.size, dtype=torch.bool)
        chosen[rows] = True
        chosen = chosen.repeat_interleave(self._adapter.seats).view(self._members, -1).to(self._device)
        fresh = self._start()
        self._carry = {
            name: torch.where(chosen.view(*chosen.shape, *[1] * (old.ndim - 2)), fresh[name], old)
            for name, old in self._carry.items()
        }

    def _start(self) -> Carry:
        return self._policy.start(policy_seeds(torch.tensor(self._seeds), self._adapter.seats))


@contextmanager
def _few_threads(policy: Policy) -> Iterator[None]:
    """One thread for torch, unless the policy sees images.

    The products of a rollout are too small to share, and torch's idle threads spin on cores that workers need: with two
    threads on two cores a rollout was found to take up to twenty times as long.
    """
    before = torch.get_num_threads()
    if not any(field.is_image for field in policy.spec.observations.values()):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""A selection under way: the sums and the evidence that follow from its state, and the next round."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.allocation import Allocation, Batch, Standing
from demonstrably.evaluation.evidence import Evidence, PairedEvidence, UnpairedEvidence
from demonstrably.evaluation.sequential import e_value
from demonstrably.evaluation.state import Play, SelectionState

PlayFunction = Callable[[Sequence[int], Sequence[int]], NDArray[np.float64]]
"""play(arms, seeds) -> scores in [0, 1], (len(arms), len(seeds)): each arm plays each seed once."""

Batches = Sequence[tuple[Sequence[int], Sequence[int]]]
"""What a round will play: the arguments of its calls of `play`."""

Announce = Callable[[Batches], None]


class Race:
    """Replays a state's rounds, then goes on: the same state always goes on in the same way."""

    def __init__(self, state: SelectionState, allocation: Allocation, budget: int, round_seeds: int) -> None:
        arms, epsilon = len(state.design.arms), state.design.epsilon
        self.state = state
        self._allocation, self._budget, self._round_seeds = allocation, budget, round_seeds
        self.counts = np.zeros(arms, dtype=np.int64)
        self.totals = np.zeros(arms)
        self.squares = np.zeros(arms)
        self.dropped_round = np.full(arms, -1)
        self.dropped_value = np.zeros(arms)
        self.beaten_by = np.full(arms, -1)
        self.evidence: Evidence = (PairedEvidence if allocation.paired else UnpairedEvidence)(arms, epsilon)
        for index, plays in enumerate(state.rounds):
            self._count(index, plays)
        self._open, self._seeds = self._plan()

    def play_round(self, play: PlayFunction, announce: Announce) -> None:
        """Play the next round on new seeds. Its arms are fixed here, before any of its outcomes is seen."""
        batches, pending, seed = [], [], self.state.next_seed
        for batch, seeds in zip(self._open, self._seeds, strict=True):
            if seeds:
                batches.append((batch.arms, range(seed, seed + seeds)))
                seed += seeds
            if batch.seeds > seeds:
                pending.append(Batch(batch.arms, batch.seeds - seeds))
        announce(batches)
        plays = tuple(_played(play, arms, seeds) for arms, seeds in batches)
        self.state = self.state.played(plays, tuple(pending))
        self._count(len(self.state.rounds) - 1, plays)
        self._open, self._seeds = self._plan()

    def confirmed(self) -> bool:
        """Whether the winner of these very rounds has played its fresh seeds."""
        done = self.state.confirmations
        return bool(done) and done[-1].rounds == len(self.state.rounds)

    def confirm(self, play: PlayFunction, announce: Announce, episodes: int) -> None:
        """Play the winner on new seeds."""
        arms, seeds = (self.leader(),), range(self.state.next_seed, self.state.next_seed + episodes)
        announce([(arms, seeds)])
        self.state = self.state.confirmed(_played(play, arms, seeds))

    def against(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """E-values (K,) against "this arm is the best", and the other arm that speaks loudest against it.

        The mean over the other arms of the e-processes of "the other is no better": where one of them reaches
        (K - 1) / delta the mean reaches 1 / delta, and the mean of e-processes is one itself.
        """
        values = e_value(self.evidence.better())
        np.fill_diagonal(values, 0.0)
        return values.sum(axis=0) / (len(values) - 1), values.argmax(axis=0)

    def standing(self) -> Standing:
        """What the allocation may see."""
        design = self.state.design
        return Standing(
            counts=self.counts,
            totals=self.totals,
            prior=np.array(design.prior),
            prior_weight=design.prior_weight,
            dropped=self.dropped_round >= 0,
            last=self.state.last,
            remaining=max(self._budget - self.state.spent, 0),
        )

    def leader(self) -> int:
        """Who would win now."""
        return self._allocation.leader(self.standing())

    def equivalent(self, arms: Sequence[int]) -> list[int]:
        """Those of the arms that are shown not to beat the leader by epsilon; for all pairs at once."""
        leader, count = self.leader(), len(self.counts)
        shown = self.evidence.not_worse(leader) >= np.log(count * (count - 1) / self.state.design.delta)
        return [arm for arm in arms if arm != leader and shown[arm]]

    def stopped(self) -> str | None:
        """Why nothing more is played; None: the race goes on."""
        if len(self.standing().contenders) == 1:
            return "separated"
        if not any(self._seeds):
            return "budget"
        rivals = {arm for batch in self._open for arm in batch.arms} - {self.leader()}
        return "equivalent" if rivals and len(self.equivalent(sorted(rivals))) == len(rivals) else None

    def _count(self, index: int, plays: tuple[Play, ...]) -> None:
        """Take in a round and drop the arms that the evidence now speaks against."""
        for play in plays:
            scores, arms = play.array(), np.asarray(play.arms)
            self.counts[arms] += scores.shape[1]
            self.totals[arms] += scores.sum(axis=1)
            self.squares[arms] += (scores**2).sum(axis=1)
            self.evidence.add(play.arms, scores)
        against, by = self.against()
        out = (self.dropped_round < 0) & (against >= 1.0 / self.state.design.delta)
        if np.all(out | (self.dropped_round >= 0)):  # some arm is the best: the set is never empty
            out[self.leader()] = False
        self.dropped_round[out], self.dropped_value[out], self.beaten_by[out] = index, against[out], by[out]

    def _plan(self) -> tuple[tuple[Batch, ...], tuple[int, ...]]:
        """What is open, of the last plan or of a new one, and how many seeds of each batch come next."""
        open_batches = self._alive(self.state.pending)
        seeds = self._cut(open_batches)
        if any(seeds):
            return open_batches, seeds
        generator = np.random.default_rng([self.state.design.generator_seed, self.state.plans])
        plan = self._allocation.plan(self.standing(), generator)
        if plan:
            self.state = self.state.planned(plan)
        return plan, self._cut(plan)

    def _alive(self, batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
        """Batches without the arms dropped since; a paired one needs two arms."""
        fewest = 2 if self._allocation.paired else 1
        left = [Batch(tuple(arm for arm in b.arms if self.dropped_round[arm] < 0), b.seeds) for b in batches]
        return tuple(batch for batch in left if len(batch.arms) >= fewest)

    def _cut(self, batches: tuple[Batch, ...]) -> tuple[int, ...]:
        """Seeds of each batch that fit into a round and into the rollouts that remain."""
        remaining, seeds = self.standing().remaining, []
        for batch in batches:
            seeds.append(min(batch.seeds, self._round_seeds, remaining // len(batch.arms)))
            remaining -= seeds[-1] * len(batch.arms)
        return tuple(seeds)


def _played(play: PlayFunction, arms: tuple[int, ...], seeds: range) -> Play:
    """Outcomes, checked."""
    scores = np.asarray(play(arms, seeds), dtype=np.float64)
    if scores.shape != (len(arms), len(seeds)):
        raise ValueError(f"play returned shape {scores.shape}: give (arms, seeds), {(len(arms), len(seeds))}")
    if not np.all((scores >= 0.0) & (scores <= 1.0)):
        raise ValueError(f"play returned scores from {scores.min()} to {scores.max()}: rescale them to [0, 1]")
    return Play(arms, seeds.start, tuple(map(tuple, scores.tolist())))

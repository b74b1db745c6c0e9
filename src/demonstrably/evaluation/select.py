"""Choose the best of several policies from few rollouts, and say honestly how good it is.

Three concerns, kept apart. The allocation decides where rollouts go (`allocation`); it may be as clever as it
likes. The evidence decides what may be said (`evidence`): e-processes, which hold under any allocation that
looks at the past only. The confirmation decides what number is quoted: the winner's mean on fresh seeds.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.allocation import Allocation, sequential_halving
from demonstrably.evaluation.intervals import (
    Measured,
    bounded_interval,
    bounded_sequence,
    rate_interval,
    rate_sequence,
)
from demonstrably.evaluation.race import Announce, PlayFunction, Race
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.selection import Arm, RoundRecord, Selection
from demonstrably.evaluation.sequential import pairs_to_decide
from demonstrably.evaluation.state import Design, SelectionState, check_same

MOST_PAIRED = 1000  # arms: the evidence about all their pairs takes 1 GiB

def select(
    play: PlayFunction,
    arms: Sequence[str],
    rollouts: int,
    *,
    delta: float = 0.05,
    epsilon: float = 0.05,
    allocation: Allocation = sequential_halving,
    prior: Sequence[float] | None = None,
    prior_weight: float = 2.0,
    confirm_fraction: float = 0.2,
    round_seeds: int = 25,
    first_seed: int = 0,
    generator_seed: int = 0,
    level: float = 0.95,
    scale: Scale | None = None,
    state: SelectionState | None = None,
    save: Callable[[SelectionState], None] | None = None,
    confirm: PlayFunction | None = None,
    announce: Announce = lambda batches: None,
) -> Selection:
    """Select one of ``arms`` with ``rollouts`` episodes in all; docs/selection.md says how and what holds.

    ``play`` runs the arms (by index) on the seeds and returns scores in [0, 1]. Seeds must stand for
    independent draws from the distribution of episodes that the statement is about; each is handed out once,
    from ``first_seed`` on. ``prior`` guesses the arms' means (a validation score, say); it steers rollouts
    with the weight of ``prior_weight`` episodes and is no evidence. ``confirm_fraction`` of the rollouts is
    kept for the winner's fresh episodes, whose interval has ``level``. After at most ``round_seeds`` seeds an
    arm the evidence is looked at.

    ``save`` is called with the state at the beginning and after every round. A selection goes on from such a
    ``state`` as if never interrupted; with more ``rollouts`` it goes on where the budget ended, and confirms
    on new fresh seeds. ``confirm`` plays the winner's fresh episodes in place of ``play``; ``announce`` hears
    before each round all that it will play.

    Raises ValueError for a budget below two rollouts an arm, scores outside [0, 1], a changed design, or more than
    1,000 arms where they are paired.
    """
    if allocation.paired and len(arms) > MOST_PAIRED:
        raise ValueError(
            f"{len(arms)} arms: pairing more than {MOST_PAIRED} takes gigabytes; choose fewer checkpoints or members, "
            "or top-two Thompson sampling, which pairs none"
        )
    guesses = tuple(float(guess) for guess in prior) if prior is not None else (0.5,) * len(arms)
    design = Design(tuple(arms), delta, epsilon, allocation.name, guesses, prior_weight, first_seed, generator_seed)
    begun = state is not None
    state = state or SelectionState(design, next_seed=first_seed)
    check_same(state.design, design)
    confirming = _confirming(rollouts, confirm_fraction, round_seeds, len(arms))
    race = Race(state, allocation, rollouts - confirming, round_seeds)
    if save is not None and not begun:
        save(race.state)
    while race.stopped() is None:
        race.play_round(play, announce)
        if save is not None:
            save(race.state)
    if not race.confirmed():
        race.confirm(confirm or play, announce, confirming)
        if save is not None:
            save(race.state)
    return _conclude(race, rollouts, level, scale or Scale())


def _confirming(rollouts: int, fraction: float, round_seeds: int, arms: int) -> int:
    """Rollouts kept for the winner's fresh episodes."""
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"confirm_fraction {fraction}: must be between 0 and 1, for instance 0.2")
    if round_seeds < 1:
        raise ValueError(f"round_seeds {round_seeds}: must be 1 or more")
    confirming = max(1, round(fraction * rollouts))
    if rollouts - confirming < 2 * arms:
        need = math.ceil(2 * arms / (1.0 - fraction)) + 1
        raise ValueError(f"{rollouts} rollouts for {arms} arms: give at least {need}, or fewer arms")
    return confirming


def _conclude(race: Race, rollouts: int, level: float, scale: Scale) -> Selection:
    """The result as it stands; plays nothing."""
    state, design, winner = race.state, race.state.design, race.leader()
    contenders = race.standing().contenders
    stopped = race.stopped() or "budget"
    confirmation = state.confirmations[-1].play
    means = race.totals / np.maximum(race.counts, 1)
    tried = [arm for arm in range(len(means)) if 2 * race.counts[arm] >= race.counts[winner]]
    naive = max(tried, key=lambda arm: (means[arm], race.counts[arm], -arm))
    rounds = tuple(
        RoundRecord(
            tuple(arm for play in plays for arm in play.arms),
            tuple(len(play.seeds) for play in plays for _ in play.arms),
            (plays[0].first_seed, plays[-1].seeds.stop),
        )
        for plays in state.rounds
    )
    return Selection(
        arms=_arms(race),
        winner=winner,
        confidence_set=contenders,
        equivalent=tuple(race.equivalent(contenders)),
        naive=naive,
        confirmed=_measured(confirmation.array()[0], level),
        confirm_seeds=(confirmation.seeds.start, confirmation.seeds.stop),
        rounds=rounds,
        stopped=stopped,
        more_rollouts=_more_rollouts(race, winner, contenders) if stopped == "budget" else None,
        rollouts=rollouts,
        spent=state.spent,
        delta=design.delta,
        epsilon=design.epsilon,
        level=level,
        allocation=design.allocation,
        scale=scale,
    )


def _measured(scores: NDArray[np.float64], level: float) -> Measured:
    """Mean of the confirming episodes; their number was fixed before."""
    if not _binary(scores):
        return Measured(float(scores.mean()), *bounded_interval(scores, level), len(scores))
    count = int(scores.sum())
    return Measured(count / len(scores), *rate_interval(count, len(scores), level), len(scores), count)


def _arms(race: Race) -> tuple[Arm, ...]:
    design, counts = race.state.design, race.counts
    against, by = race.against()
    out = race.dropped_round >= 0
    values = np.where(out, race.dropped_value, against)
    ends = _sequences(race, 1.0 - design.delta)
    return tuple(
        Arm(
            label=label,
            episodes=int(counts[i]),
            mean=float(race.totals[i] / counts[i]) if counts[i] else None,
            low=float(ends[0][i]),
            high=float(ends[1][i]),
            e_value=float(values[i]),
            dropped_round=int(race.dropped_round[i]) if out[i] else None,
            beaten_by=int(race.beaten_by[i]) if out[i] else None,
        )
        for i, label in enumerate(design.arms)
    )


def _sequences(race: Race, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each arm's confidence sequence over all its episodes, in the order in which they were played."""
    seen: list[list[float]] = [[] for _ in race.state.design.arms]
    for play in (play for plays in race.state.rounds for play in plays):
        for arm, row in zip(play.arms, play.scores, strict=True):
            seen[arm].extend(row)
    scores = [np.array(row) for row in seen]
    if all(_binary(row) for row in scores):
        return rate_sequence([row.sum() for row in scores], [len(row) for row in scores], level)
    ends = np.array([bounded_sequence(row, level) if len(row) else (0.0, 1.0) for row in scores])
    return ends[:, 0], ends[:, 1]


def _more_rollouts(race: Race, winner: int, contenders: Sequence[int]) -> int | None:
    """Roughly what separating the winner from the rest of the set would take, if the means seen are true.

    A gap below epsilon is taken as epsilon: there the selection would stop at equivalence.
    """
    played = [arm for arm in contenders if arm != winner and race.counts[arm]]
    if not played:
        return None
    means = race.totals / np.maximum(race.counts, 1)
    variances = race.squares / np.maximum(race.counts, 1) - means**2
    log_needed = math.log((len(means) - 1) / race.state.design.delta)
    reached = race.evidence.better()[winner]
    pairs = [
        pairs_to_decide(
            gap := max(abs(float(means[winner] - means[arm])), race.state.design.epsilon),
            float(variances[winner] + variances[arm]) + gap * gap,
            log_needed - max(float(reached[arm]), 0.0),
        )
        for arm in played
    ]
    return sum(pairs) + max(pairs)


def _binary(scores: NDArray[np.float64]) -> bool:
    return bool(np.all((scores == 0.0) | (scores == 1.0)))

"""How a learned reward stands to the true one on recorded episodes, and how sure that is.

A learned reward is known at best up to scale and potential shaping, so it is compared by correlations and not by its
numbers: of the returns of whole episodes, in which shaping falls out but for their ends; of steps within episodes,
which shaping does change; and by a distance of steps without their shaping (`shaping.py`). The intervals are percentile
bootstraps over episodes: statements about this reward on episodes like these, not about learning it again.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.wording import counted
from demonstrably.evaluation.aggregate import stratified_bootstrap_interval
from demonstrably.evaluation.intervals import Measured
from demonstrably.evaluation.shaping import unshaped

Array = NDArray[np.float64]

FEWEST = 3  # episodes: a line through two points always fits
FEW = 10  # below it a bootstrap interval is too narrow
ALIKE = 0.05  # returns whose deviation is below this share of their mean size hardly differ
FLAT = 1e-6  # relative to their size, numbers that differ less are one number in float32


@dataclass(frozen=True)
class Agreement:
    """A correlation or a distance: the mean over members with its interval over episodes, and each member's.

    None where it is undefined, for the `reason`. `members` holds None for a member whose own is undefined.
    """

    name: str
    mean: Measured | None
    members: tuple[float | None, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        mean = None if self.mean is None else self.mean.to_dict()
        return {"mean": mean, "members": list(self.members), "reason": self.reason}

    def __str__(self) -> str:
        if self.mean is None:
            return f"{self.name}: undefined, {self.reason}"
        each = ", ".join("undefined" if value is None else f"{value:.2f}" for value in self.members)
        by_member = f"; members {each}" if len(self.members) > 1 else ""
        around = f"{self.mean.mean:.2f} [{self.mean.low:.2f}, {self.mean.high:.2f}]"
        return f"{self.name}: {around}, {self.mean.episodes} episodes{by_member}"


@dataclass(frozen=True)
class RewardReport:
    """Recovered returns of episodes, and beside true ones their correlations.

    `recovered` is (members, episodes). Returns are undiscounted sums over the steps whose recovered reward is known;
    `unscored` counts the steps that are left out of both sums. An episode that the task ended goes on earning what
    comes `afterwards` (members,), up to the length of the longest episode; the true reward is 0 there. Without true
    rewards `true` is None and the correlations are too.
    """

    names: tuple[str, ...]
    lengths: tuple[int, ...]
    recovered: tuple[tuple[float, ...], ...]
    unscored: int
    true: tuple[float, ...] | None = None
    pearson: Agreement | None = None
    spearman: Agreement | None = None
    within: Agreement | None = None  # Pearson of the steps of an episode, averaged over episodes
    a_step: Agreement | None = None  # Spearman of returns over lengths; None where all lengths are equal
    distance: Agreement | None = None  # of steps without their shaping: 0 the same, 1 opposite
    by_length: float | None = None  # Spearman of the true returns with the episodes' lengths alone
    notes: tuple[str, ...] = ()
    afterwards: tuple[float, ...] = ()
    level: float = 0.95

    def means(self) -> Array:
        """Recovered return of each episode, the mean over members, (episodes,)."""
        return np.array(self.recovered).mean(0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        correlations = {"pearson": self.pearson, "spearman": self.spearman}
        correlations |= {"within_episodes": self.within, "a_step": self.a_step, "distance": self.distance}
        return {
            "episodes": [
                {
                    "name": name,
                    "length": self.lengths[i],
                    "return": None if self.true is None else self.true[i],
                    "recovered": [member[i] for member in self.recovered],
                }
                for i, name in enumerate(self.names)
            ],
            "unscored_steps": self.unscored,
            "afterwards": list(self.afterwards),
            **{name: None if found is None else found.to_dict() for name, found in correlations.items()},
            "spearman_of_length": self.by_length,
            "level": self.level,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        found = (self.pearson, self.spearman, self.a_step, self.within, self.distance)
        return "\n".join([*(str(line) for line in found if line), *self.notes])


def reward_report(
    rewards: NDArray[Any],
    demos: Demonstrations,
    *,
    afterwards: NDArray[Any] | None = None,
    discount: float = 0.99,
    level: float = 0.95,
    repetitions: int = 1000,
    seed: int = 0,
) -> RewardReport:
    """Compare recovered rewards (members, steps of the view), NaN where unknown, with the demonstrations' own.

    `afterwards` (members,) is what a step after the end of the task is worth, by default nothing. `discount` is that of
    the potential shaping which the distance of steps leaves out.
    A resample of episodes in which a correlation is undefined counts as 0 in its interval, which widens it. ValueError
    for another shape or discount and for an episode without any known reward.
    """
    values = np.asarray(rewards, np.float64)
    if values.ndim != 2 or values.shape[1] != demos.transitions or not len(values):
        raise ValueError(f"rewards have shape {values.shape}: give (members, {demos.transitions}), one a step")
    if not 0 <= discount < 1:
        raise ValueError(f"discount {discount}: give 0 or above, and below 1")
    known = np.asarray(~np.isnan(values).any(axis=0))
    starts = np.cumsum(demos.lengths) - demos.lengths
    names = tuple(demos.table.column("name").to_pylist())
    blind = np.flatnonzero(~np.logical_or.reduceat(known, starts))
    if len(blind):
        raise ValueError(f"no step of {names[blind[0]]} has a known reward: leave it out")
    scored = np.add.reduceat(np.where(known, values, 0.0), starts, axis=1)
    after = np.zeros(len(values)) if afterwards is None else np.asarray(afterwards, np.float64)
    recovered = scored + after[:, None] * _left(demos)
    whole = RewardReport(
        names,
        tuple(demos.lengths.tolist()),
        tuple(map(tuple, recovered.tolist())),
        int((~known).sum()),
        afterwards=tuple(after.tolist()),
        level=level,
    )
    if not demos.rewarded:
        return _with_notes(whole, "the episodes have no true rewards: nothing to compare with")
    steps = np.concatenate([demos.rewards[place] for place in demos.step_slices()]).astype(np.float64)
    true = np.add.reduceat(np.where(known, steps, 0.0), starts)
    draws = _Draws(level, repetitions, seed)
    cut = [slice(start, start + length) for start, length in zip(starts, demos.lengths, strict=True)]
    over = np.concatenate([demos.terminated[place] for place in demos.step_slices()])
    ends = over * after[:, None] * (discount / (1 - discount))  # what follows the task's end, for ever
    counts = np.add.reduceat(known.astype(np.float64), starts)
    inside = np.array([_rows(values[:, rows][:, known[rows]], steps[rows][known[rows]]) for rows in cut]).T
    record = {
        **vars(whole),
        "true": tuple(true.tolist()),
        "pearson": draws.between("Pearson of episode returns", recovered, true),
        "spearman": draws.between("Spearman of episode returns", recovered, true, ranked=True),
        "within": draws.averaged("Pearson of steps within episodes, averaged", inside),
        # A constant a step, which demonstrations may leave open, moves all of these alike
        "a_step": None
        if _flat(counts)
        else draws.between("Spearman of mean rewards a step", scored / counts, true / counts, ranked=True),
        "distance": draws.apart(unshaped(np.vstack([values + ends, steps]), demos, known, discount), counts),
        "by_length": _plain(_rows(_ranks(demos.lengths[None]), _ranks(true[None])[0])[0]),
    }
    return _with_notes(RewardReport(**record), *_cautions(true))


@dataclass(frozen=True)
class _Draws:
    """How episodes are resampled."""

    level: float
    repetitions: int
    seed: int

    def between(self, name: str, recovered: Array, true: Array, *, ranked: bool = False) -> Agreement:
        """Agreement of (members, episodes) with (episodes,), of their ranks where `ranked`."""
        if len(true) < FEWEST:
            return Agreement(name, None, reason=f"for it takes {FEWEST} episodes and there are {len(true)}")
        if _flat(true):
            return Agreement(name, None, reason=f"for the true returns are all alike ({true[0]:.4g})")

        def at(rows: NDArray[np.int64]) -> Array:
            chosen, wanted = recovered[:, rows], true[rows]
            return _rows(_ranks(chosen), _ranks(wanted[None])[0]) if ranked else _rows(chosen, wanted)

        return self._measured(name, at, len(true), "for the recovered returns are all alike")

    def averaged(self, name: str, values: Array) -> Agreement:
        """Mean over the episodes (members, episodes) in which a correlation is defined."""
        some = np.isfinite(values).any(0)
        if not some.any():
            return Agreement(name, None, reason="for within every episode the true or the recovered rewards are alike")
        values = values[:, some]

        def at(rows: NDArray[np.int64]) -> Array:
            chosen = values[:, rows]
            counts = np.isfinite(chosen).sum(1)
            return np.where(counts > 0, np.nansum(chosen, 1) / np.maximum(counts, 1), np.nan)

        return self._measured(name, at, values.shape[1], "for it is undefined in every episode")

    def apart(self, values: Array | str, counts: Array) -> Agreement:
        """sqrt((1 - r) / 2) of the correlation r of each row but the last (members + 1, steps) with the last.

        `counts` says how many steps each episode has, or `values` why there is no distance.
        """
        name = "Distance of steps, shaping taken out"
        if isinstance(values, str):
            return Agreement(name, None, reason=values)
        if len(counts) < FEWEST:
            return Agreement(name, None, reason=f"for it takes {FEWEST} episodes and there are {len(counts)}")
        if not values[-1].any():
            return Agreement(name, None, reason="for the true rewards are shaping alone")
        x, y = values[:-1], np.broadcast_to(values[-1], values[:-1].shape)
        starts = (np.cumsum(counts) - counts).astype(np.int64)
        sums = np.add.reduceat(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y]), starts, axis=2)

        def at(rows: NDArray[np.int64]) -> Array:
            n, x, y, xx, yy, xy = sums[:, :, rows].sum(2)
            size = np.sqrt(np.maximum((xx - x * x / n) * (yy - y * y / n), 0.0))
            r = np.divide(xy - x * y / n, size, out=np.zeros_like(n), where=size > 0)
            return np.sqrt((1 - np.clip(r, -1.0, 1.0)) / 2)

        return self._measured(name, at, len(counts), "")

    def _measured(self, name: str, at: Callable[[NDArray[np.int64]], Array], episodes: int, reason: str) -> Agreement:
        members = at(np.arange(episodes))
        if not np.isfinite(members).any():
            return Agreement(name, None, reason=reason)
        # A member whose own is undefined counts as 0 in the mean, as a resample does.
        mean = stratified_bootstrap_interval(
            lambda drawn: float(np.nan_to_num(at(drawn[:, 0].astype(np.int64))).mean()),
            np.arange(episodes)[:, None],
            repetitions=self.repetitions,
            level=self.level,
            seed=self.seed,
        )
        return Agreement(name, mean, tuple(_plain(value) for value in members))


def _left(demos: Demonstrations) -> Array:
    """Steps from the end of the task to the length of the longest episode, (episodes,); 0 where it was not ended."""
    over = demos.terminated[demos.starts + demos.lengths - 1]
    return ((demos.lengths.max() - demos.lengths) * over).astype(np.float64)


def _rows(values: Array, other: Array) -> Array:
    """Pearson correlation of each row (rows, n) with (n,); NaN where either is constant."""
    if values.shape[1] < 2 or _flat(other):
        return np.full(len(values), np.nan)
    varied = np.ptp(values, axis=1) > FLAT * np.abs(values).max(1)
    x, y = values - values.mean(1, keepdims=True), other - other.mean()
    size = np.sqrt((x**2).sum(1) * (y**2).sum())
    found = np.divide(x @ y, size, out=np.full(len(values), np.nan), where=varied)
    return np.clip(found, -1.0, 1.0)


def _ranks(values: NDArray[Any]) -> Array:
    return np.asarray(rankdata(values, axis=1), np.float64)


def _flat(values: Array) -> bool:
    return bool(np.ptp(values) <= FLAT * np.abs(values).max())


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _cautions(true: Array) -> list[str]:
    """What a reader should know before trusting a correlation."""
    found = []
    if len(true) >= FEWEST and not _flat(true) and true.std() < ALIKE * np.abs(true).mean():
        span = f"{true.min():.4g} to {true.max():.4g}"
        found.append(f"the true returns hardly differ ({span}): a correlation over alike episodes says little")
    if _flat(true):
        found.append("episodes that are all alike cannot tell a good reward from a bad one: add worse ones to the data")
    if FEWEST <= len(true) < FEW:
        found.append(f"{len(true)} episodes are few: the intervals are too narrow")
    return found


def _with_notes(report: RewardReport, *notes: str) -> RewardReport:
    """The report with cautions, and what was left out of its sums."""
    told = list(notes)
    if report.by_length is not None:
        told.append(f"Spearman of the true returns with the length of the episode alone: {report.by_length:.2f}")
    if any(report.afterwards) and len(set(report.lengths)) > 1:
        each = f"after the end of the task a step is worth {np.mean(report.afterwards):.3g} by this reward"
        told.append(f"{each}: recovered returns go on with it up to step {max(report.lengths)}; the true reward is 0")
    if report.unscored:
        left = counted(report.unscored, "step")
        told.append(f"{left} without a recorded following observation left out of both returns")
    return RewardReport(**{**vars(report), "notes": (*report.notes, *told)})

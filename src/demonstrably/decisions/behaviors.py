"""How a person may decide, each as a function from what was observed to an estimate: optimally, with noise, or open.

- `optimal`: one threshold on the posterior, never missed.
- `noisy`: a threshold that is followed with noise (`noisy.fit_noisy`; with persons, `people.fit_people`).
- `from_data`: optimal if that agrees with every decision, else noisy if a threshold explains enough of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.special import logit, ndtri

from demonstrably.decisions.consistent import consistent_interval, density_at, precision, smooth_gap, trimmed
from demonstrably.decisions.disagreement import least_disagreement
from demonstrably.decisions.estimate import Confidence, Disagreement, LossEstimate, Noise
from demonstrably.decisions.isotonic import fit_isotonic, isotonic_interval
from demonstrably.decisions.posterior import Posterior

OPEN = 0.9  # width of an interval from which on the loss counts as not identified
OPTIMAL = "the decision maker minimizes the expected loss: decides 1 exactly where the posterior is at least the cost"
NO_LOSS = '"optimal decision maker" is rejected, and no loss is stated'
BELIEVES = "the posterior is what the decision maker believes"


@dataclass(frozen=True, eq=False)
class Observed:
    """Decisions (n,) 0/1 with their posterior, what else is known of each, and what is asked.

    `features` (n, d) and `person` (n,) or None. `tolerance`: the largest share of decisions that noise may explain.
    """

    decisions: Float[np.ndarray, "n"]
    posterior: Posterior
    features: NDArray | None
    person: NDArray | None
    tolerance: float
    level: float

    @cached_property
    def missed(self) -> Disagreement:
        """What the best rule misses: among thresholds on the score, where that was calibrated on outcomes."""
        found = least_disagreement(self.decisions, self.order, self.level)
        return replace(found, cost=self._cost(found.cost))

    @property
    def misses(self) -> Bool[np.ndarray, "n"]:
        """Which decisions the best rule misses."""
        order = self.order
        return (order >= least_disagreement(self.decisions, order).cost) != (self.decisions > 0.5)

    @cached_property
    def order(self) -> Float[np.ndarray, "n"]:
        """What rules put a threshold on, in (0, 1) where it is not a probability: an isotonic one ties many cases."""
        if self.posterior.outcomes is None:
            return self.posterior.probability
        ranks = np.unique(self.posterior.score, return_inverse=True)[1]
        return (ranks + 0.5) / (ranks.max() + 1.0)

    def _cost(self, place: float) -> float:
        if self.posterior.outcomes is None:
            return place
        above = self.posterior.probability[self.order >= place]
        return float(above.min()) if len(above) else 1.0


Behavior = Callable[[Observed], LossEstimate]


def from_data(observed: Observed) -> LossEstimate:
    """Optimal if one threshold agrees with every decision, noisy if it misses few enough, else rejected."""
    share = observed.missed.rate
    if share > observed.tolerance and observed.person is not None:
        share = _missed_by_each(observed, observed.person)
    if share > observed.tolerance:
        whose = "the best rule misses" if observed.person is None else "even a rule for each person misses"
        allowed = f"more than the {observed.tolerance:.0%} that are tolerated"
        return rejected(observed, f"{whose} {share:.1%} of the decisions, {allowed}: {NO_LOSS}")
    found = optimal(observed)
    return noisy(observed) if found.verdict == "rejected" else found


def optimal(observed: Observed) -> LossEstimate:
    """A threshold that is never missed, or rejected.

    With a posterior that was given, the consistent interval (`consistent`, Eq. 1), trimmed to the level (Eq. 2) if it
    is exact. With one that was calibrated on outcomes, all thresholds on the score are the class of rules, and the
    cost is the isotonic probability at the threshold with its interval (`isotonic`, Eq. 2).
    """
    posterior, decisions = observed.posterior, observed.decisions
    if posterior.outcomes is None:
        low, high = consistent_interval(decisions, posterior.probability, posterior.error)
        return _known(observed, low, high) if low < high else rejected(observed, _inconsistent(observed))
    positive = decisions > 0.5
    low, high = float(posterior.score[~positive].max()), float(posterior.score[positive].min())
    return _chain(observed, low, high) if low < high else rejected(observed, _inconsistent(observed))


def noisy(observed: Observed) -> LossEstimate:
    """A threshold that is followed with noise, if the checks of that model pass; else rejected."""
    from demonstrably.decisions.checks import check_fit
    from demonstrably.decisions.noisy import fit_noisy

    posterior, level = observed.posterior, observed.level
    checks = check_fit(observed.decisions, posterior, observed.features, observed.person)
    failed = [check for check in checks if not check.passed]
    if failed:
        text = f"no loss is stated, since a threshold with noise does not fit: {'; '.join(one.text for one in failed)}"
        return replace(rejected(observed, text), checks=tuple(checks))
    fit = fit_noisy(observed.decisions, posterior.probability, level)
    point, low, high, people, method = fit.point, fit.low, fit.high, (), "posterior of a noisy threshold, on a grid"
    if observed.person is not None:
        from demonstrably.decisions.people import fit_people

        found = fit_people(observed.decisions, posterior.probability, observed.person, level)
        point, low, high, people = found.center, found.low, found.high, found.people
        method = f"partial pooling of {len(people):,} people"
    low, high, words = _with_posterior_error(posterior, point, low, high, level)
    error = float(logit(high) - logit(low)) / (2.0 * float(ndtri((1.0 + level) / 2.0)))
    unknown = high - low > OPEN
    return LossEstimate(
        "not identified" if unknown else "noisy",
        (low, high),
        None if unknown else point,
        Confidence(level, low, high, method),
        observed.missed,
        len(observed.decisions),
        error=error,
        noise=Noise(fit.slope, fit.lapse),
        checks=tuple(checks),
        people=people,
        assumptions=("a threshold on the posterior's log-odds, followed with logistic noise and lapses", words),
    )


def rejected(observed: Observed, text: str) -> LossEstimate:
    """The estimate that states no loss, and why."""
    none = Confidence(observed.level, 0.0, 1.0, "none, since no loss is stated")
    return LossEstimate("rejected", (0.0, 1.0), None, none, observed.missed, len(observed.decisions), notes=(text,))


def _missed_by_each(observed: Observed, person: NDArray) -> float:
    """Share of decisions that are missed when every person has a threshold of their own."""
    order, codes = observed.order, np.unique(person, return_inverse=True)[1]
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    return sum(least_disagreement(observed.decisions[one], order[one]).count for one in rows) / len(order)


def _inconsistent(observed: Observed) -> str:
    missed = observed.missed
    return f"the best rule misses {missed.count:,} of {missed.decisions:,} decisions: {NO_LOSS}"


def _known(observed: Observed, low: float, high: float) -> LossEstimate:
    """Every decision agrees with the costs in (low, high], the posterior being known up to its error."""
    posterior, level = observed.posterior, observed.level
    exact = not posterior.error.any()
    smooth = exact and low > 0.0 and high < 1.0 and smooth_gap(posterior.probability, low, high)
    inside = trimmed(low, high, level) if smooth else (low, high)
    sure = "every cost that agrees with the decisions" + ("" if exact else " for some posterior within its error")
    confidence = Confidence(level, *inside, "uniform pivot in the gap between the decisions" if smooth else sure)
    found = _stated(observed, (low, high), (low + high) / 2.0, confidence, low <= 0.0 or high >= 1.0)
    assumptions = (OPTIMAL, BELIEVES + ("" if exact else f", up to an error of {posterior.error.max():.3g}"))
    if smooth:
        assumptions += ("for the confidence: the density of the posterior changes little over the gap",)
    return replace(found, assumptions=assumptions, notes=_notes(observed, low, high, smooth))


def _chain(observed: Observed, low: float, high: float) -> LossEstimate:
    """The threshold lies between two scores; the cost is the probability of the outcome there."""
    posterior, level = observed.posterior, observed.level
    outcomes, at = np.asarray(posterior.outcomes), (low + high) / 2.0
    ends = isotonic_interval(posterior.score, outcomes, at, level)
    point = float(fit_isotonic(posterior.score, outcomes).at([at])[0])
    seen = ~np.isnan(outcomes)
    sides = {"below": posterior.score <= low, "above": posterior.score >= high}
    blind = [name for name, side in sides.items() if not (seen & side).any()]
    confidence = Confidence(level, *ends, "likelihood ratio of an isotonic regression at the threshold")
    found = _stated(observed, ends, point, confidence, bool(blind))
    assumptions = (
        "the decision maker sets one threshold on the score, the best one for the outcomes at each score",
        "the outcome's probability rises smoothly with the score, and rows are different cases",
    )
    notes = (f"the threshold lies between the scores {low:.6g} and {high:.6g}",)
    notes += tuple(f"no outcome was seen {side} the threshold: nothing bounds the cost from there" for side in blind)
    if found.point is None:
        notes += (f"all that is known of the cost is that it lies in ({ends[0]:.3g}, {ends[1]:.3g}]",)
    return replace(found, assumptions=assumptions, notes=notes)


def _stated(
    observed: Observed, interval: tuple[float, float], point: float, confidence: Confidence, open_end: bool
) -> LossEstimate:
    """An optimal decision maker's estimate; without a point where an end is open or next to everything is."""
    unknown = open_end or interval[1] - interval[0] > OPEN
    return LossEstimate(
        "not identified" if unknown else "optimal",
        interval,
        None if unknown else point,
        confidence,
        observed.missed,
        len(observed.decisions),
    )


def _notes(observed: Observed, low: float, high: float, smooth: bool) -> tuple[str, ...]:
    q, decided = observed.posterior.probability, observed.decisions
    notes = []
    if decided.min() == decided.max():
        side = "at most the least" if decided[0] > 0.5 else "above the greatest"
        notes.append(f"all decisions are {decided[0]:.0f}: they say only that the cost is {side} posterior")
    if high - low > OPEN and not ((q > low) & (q < high)).any():
        notes.append(
            f"no posterior lies between {low:.3g} and {high:.3g}: the cases are so certain that every loss in between "
            "decides them alike; uncertain cases would tell"
        )
    elif low > 0.0 and high < 1.0 and not smooth and not observed.posterior.error.any():
        notes.append(
            "the posteriors around the gap are repeated, or farther apart than elsewhere, so the confidence interval "
            "is the whole gap"
        )
    if smooth:
        density = density_at(q, (low + high) / 2.0)
        reach = precision(len(q), 1.0 - observed.level, density)
        if math.isfinite(reach) and reach < 0.5:
            notes.append(
                f"so many decisions give any consistent cost to within {reach:.2g} with chance {observed.level:.0%} "
                f"(posterior density {density:.3g} at the threshold)"
            )
    return tuple(notes)


def _with_posterior_error(
    posterior: Posterior, point: float, low: float, high: float, level: float
) -> tuple[float, float, str]:
    """The interval of the threshold in a posterior, as one of the cost: the posterior may be off at the threshold.

    A given error widens it. One of a calibration on outcomes, which is independent of the noise of the decisions, adds
    in squares: the lesser of the band for all cases at once and the isotonic interval at this one place.
    """
    q, tiny = posterior.probability, 1e-9
    near = (q >= low) & (q <= high)
    if not near.any():
        near = np.abs(q - point) == np.abs(q - point).min()
    error = float(posterior.error[near].max())
    if posterior.outcomes is None:
        words = BELIEVES + (f", up to an error of {error:.3g} that widens the interval" if error else "")
        return max(low - error, tiny), min(high + error, 1.0 - tiny), words
    at = float(posterior.score[near].mean())
    ends = isotonic_interval(posterior.score, posterior.outcomes, at, level)
    error = min(error, (ends[1] - ends[0]) / 2.0)
    below, above = math.hypot(point - low, error), math.hypot(high - point, error)
    words = f"{BELIEVES}; its calibration may be off by {error:.3g} at the threshold, independently of the decisions"
    return max(point - below, tiny), min(point + above, 1.0 - tiny), words

"""The decision maker's rules are of an unknown class: which of several explains the decisions best, and which may.

Laidlaw and Russell, "Uncertain Decisions Facilitate Better Preference Learning", NeurIPS 2021, arXiv 2106.10394,
section 4: a class of rules is told by the posterior that it induces (for all rules on some features, P(Y = 1 | those
features)), and the estimate is the class and cost of minimum disagreement.

**Departures.** The paper takes any class that agrees with all decisions. Here every class that the decisions do not
tell from the best one is kept, by an exact paired test, and the interval is the least one that holds those of all.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

from demonstrably.decisions.behaviors import OPEN, Behavior, Observed
from demonstrably.decisions.disagreement import best_costs
from demonstrably.decisions.estimate import Candidate, LossEstimate
from demonstrably.decisions.posterior import Posterior

Class = Posterior | ArrayLike  # an induced posterior, exact or not, or the numbers of some columns of the features


def read_classes(
    classes: Sequence[Class], features: NDArray | None, outcomes: NDArray | None, decisions: int
) -> tuple[tuple[str, Posterior], ...]:
    """Name and induced posterior of each candidate; whole numbers are columns of `features`, cross-fitted."""
    found = []
    for index, one in enumerate(classes):
        if isinstance(one, Posterior):
            found.append((one.name, one))
            continue
        values = np.asarray(one)
        if values.dtype.kind in "iu" and values.ndim == 1 and features is not None:
            found.append(_of_columns(index, values, features, outcomes))
        elif values.dtype.kind == "f" and values.shape == (decisions,):
            found.append((f"number {index}", Posterior.given(values)))
        else:
            raise ValueError(
                f"class {index} has shape {values.shape} and type {values.dtype}: give a Posterior, {decisions} "
                "induced posteriors, or the numbers of columns (with features and outcomes)"
            )
    counts = Counter(name for name, _ in found)
    return tuple((f"number {i} ({name})" if counts[name] > 1 else name, one) for i, (name, one) in enumerate(found))


def worse_by_chance(misses: Bool[np.ndarray, "n"], best: Bool[np.ndarray, "n"]) -> float:
    """Eq. 1: P(B >= b), B binomial (a + b, 1/2): McNemar's exact test that a class misses no more than the best.

    b decisions are missed by the class alone, a by the best one alone.
    """
    alone, other = int((misses & ~best).sum()), int((best & ~misses).sum())
    return float(bdtrc(alone - 1, alone + other, 0.5)) if alone else 1.0


def fit_classes(observed: Sequence[Observed], names: Sequence[str], behavior: Behavior) -> LossEstimate:
    """Minimum disagreement over class and cost.

    `observed` are the same decisions with the induced posterior of each class. A class is kept where Eq. 1, at
    (1 - level) / (number of classes - 1), finds no more misses than the best's; and, if one whose posterior is exact
    explains every decision, none of exact posterior that does not.
    """
    misses = [one.misses for one in observed]
    counts = np.array([int(one.sum()) for one in misses])
    exact = np.array([one.posterior.outcomes is None and not one.posterior.error.any() for one in observed])
    explained = bool((counts[exact] == 0).any())
    best = int(np.argmin(np.where(exact & (counts == 0), -1, counts)))
    bound = (1.0 - observed[0].level) / max(len(observed) - 1, 1)
    kept = np.array([worse_by_chance(one, misses[best]) > bound for one in misses])
    kept &= ~exact | (counts == 0) | (not explained)
    fits = {index: behavior(observed[index]) for index in np.flatnonzero(kept).tolist()}
    shown = tuple(
        Candidate(name, *_costs(one, fits.get(index)), int(counts[index]), bool(kept[index]))
        for index, (name, one) in enumerate(zip(names, observed, strict=True))
    )
    return replace(_together(fits, best, counts), classes=shown, notes=_notes(fits, best, shown))


def _of_columns(index: int, columns: NDArray, features: NDArray, outcomes: NDArray | None) -> tuple[str, Posterior]:
    if outcomes is None:
        raise ValueError(f"class {index} names columns: give outcomes= too (NaN where unseen), to learn P(Y = 1)")
    wrong = columns[(columns < 0) | (columns >= features.shape[1])]
    if len(wrong) or not len(columns):
        what = f"column {wrong[0]}" if len(wrong) else "no column"
        raise ValueError(f"class {index} names {what}: give numbers from 0 to {features.shape[1] - 1}")
    name = ("feature " if len(columns) == 1 else "features ") + ", ".join(str(column) for column in columns)
    return name, Posterior.from_classifier(None, features[:, columns], outcomes)


def _costs(observed: Observed, fit: LossEstimate | None) -> tuple[float, float]:
    return best_costs(observed.decisions, observed.posterior.probability) if fit is None else fit.interval


def _together(fits: dict[int, LossEstimate], best: int, counts: NDArray) -> LossEstimate:
    """The best class's estimate, its intervals widened to hold those of all other classes that were kept."""
    first = fits[best]
    stated = [one for one in fits.values() if one.verdict != "rejected"]
    if first.verdict == "rejected":
        return first
    low, high = min(one.interval[0] for one in stated), max(one.interval[1] for one in stated)
    inner = (min(one.confidence.low for one in stated), max(one.confidence.high for one in stated))
    confidence = replace(first.confidence, low=inner[0], high=inner[1])
    rivals = [one for index, one in fits.items() if counts[index] == counts[best] and one.verdict != "rejected"]
    apart = max(one.interval[0] for one in rivals) >= min(one.interval[1] for one in rivals)
    assumption = "the decision maker's rules are of one of these classes"
    found = replace(first, interval=(low, high), confidence=confidence, assumptions=(assumption, *first.assumptions))
    if apart or high - low > OPEN:
        return replace(found, verdict="not identified", point=None)
    return found


def _notes(fits: dict[int, LossEstimate], best: int, shown: tuple[Candidate, ...]) -> tuple[str, ...]:
    dropped = [f"{one.name} ({one.disagreement:,} missed)" for one in shown if not one.kept]
    alike = [one.name for one in shown if one.kept and one.disagreement == shown[best].disagreement]
    notes = [f"best class: {shown[best].name}"]
    if dropped:
        notes.append(f"dropped, since they miss more decisions than {shown[best].name}: {', '.join(dropped)}")
    if len(alike) > 1:
        notes.append(f"equally good, so the interval holds the costs of each: {', '.join(alike)}")
    failed = [shown[index].name for index, one in fits.items() if one.verdict == "rejected" and index != best]
    if failed:
        notes.append(f"without a loss of their own, since they are rejected: {', '.join(failed)}")
    return (*notes, *fits[best].notes)

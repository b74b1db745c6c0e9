"""The loss that decisions reveal: from known posteriors, a score with outcomes, or candidate classes of rules."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from demonstrably.decisions.behaviors import Behavior, Observed, from_data
from demonstrably.decisions.classes import Class, fit_classes, read_classes
from demonstrably.decisions.estimate import LossEstimate
from demonstrably.decisions.inputs import outcome_column
from demonstrably.decisions.posterior import Posterior

ROUNDING = 1e-12  # by which probabilities may fall as the score rises
ONE_OF = "give one of posterior=, scores= with outcomes=, or classes="


def fit_loss(
    decisions: ArrayLike,
    *,
    posterior: Posterior | ArrayLike | None = None,
    scores: ArrayLike | None = None,
    outcomes: ArrayLike | None = None,
    features: ArrayLike | None = None,
    classes: Sequence[Class] | None = None,
    person: ArrayLike | None = None,
    behavior: Behavior | None = None,
    tolerance: float = 0.25,
    level: float = 0.95,
) -> LossEstimate:
    """The relative cost of a false positive that the decisions reveal, with what they leave open.

    Args:
        decisions: (n,) 0 or 1.
        posterior: P(Y = 1 | what the decision maker sees), (n,) or a `Posterior`. An array is taken as exact.
        scores: (n,), where rules put a threshold on this score. Needs `outcomes`.
        outcomes: (n,) 0 or 1, NaN where unseen, with `scores`, or with `classes` of columns.
        features: (n, d). With `classes`, what their columns are of; else, whether they predict decisions beyond the
            posterior is one of the checks of a noisy decision maker.
        classes: candidates for the class of rules: a `Posterior` or (n,) induced posteriors each (floats), or the
            numbers of some columns of `features` (integers): all rules on these columns.
        person: (n,) who decided: noisy decision makers then have a cost each, partially pooled.
        behavior: `optimal` or `noisy` from `behaviors`; by default what the data support.
        tolerance: the largest share of decisions that the best rule may miss, beyond which no loss is stated.
        level: of the confidence interval.

    The verdict is "optimal" where one threshold agrees with every decision, "not identified" where next to every loss
    does (or decisions are all alike), "noisy" where a threshold followed with noise passes its checks, "rejected"
    otherwise, without a loss. Raises ValueError for arrays of unequal length, decisions that are not 0 or 1,
    probabilities outside [0, 1] or missing, and decisions that are all alike unless the posterior was given.
    """
    decided = _read_decisions(decisions)
    _require_options(posterior, scores, outcomes, classes, tolerance, level)
    table = _matrix(features, len(decided))
    who = _people(person, len(decided))
    behavior = behavior or from_data
    if classes is not None:
        seen = None if outcomes is None else outcome_column(outcomes)
        names, found = zip(*read_classes(classes, table, seen, len(decided)), strict=True)
        observed = [Observed(decided, _ordered(one), None, who, tolerance, level) for one in found]
        for one in observed:
            _require_fit(one)
        return fit_classes(observed, names, behavior)
    source = _posterior(posterior) if scores is None else Posterior.from_score(scores, np.asarray(outcomes))
    one = Observed(decided, _ordered(source), table, who, tolerance, level)
    _require_fit(one)
    return behavior(one)


def _read_decisions(decisions: ArrayLike) -> Float[np.ndarray, "n"]:
    given = np.asarray(decisions)
    if given.dtype.kind not in "biuf":
        first = given.ravel()[0] if given.size else "nothing"
        raise ValueError(f"decisions hold {str(first)!r}: give 0 or 1 a row")
    if given.ndim != 1 or not len(given):
        raise ValueError(f"decisions have shape {given.shape}: give (n,), 0 or 1 a row, at least one")
    wrong = np.flatnonzero(~np.isin(given, (0, 1)))
    if len(wrong):
        hint = "; for more than two decisions see `fit_losses`" if np.isin(given, range(2, 20)).any() else ""
        raise ValueError(f"decision {given[wrong[0]]} in row {wrong[0]}: give 0 or 1{hint}")
    return given.astype(float)


def _require_options(
    posterior: object, scores: object, outcomes: object, classes: Sequence[Class] | None, tolerance: float, level: float
) -> None:
    sources = {"posterior": posterior, "scores": scores, "classes": classes}
    given = [name for name, one in sources.items() if one is not None]
    if len(given) != 1:
        raise ValueError(f"{' and '.join(given) or 'neither posterior nor scores nor classes'} given: {ONE_OF}")
    if scores is not None and outcomes is None:
        raise ValueError("scores without outcomes: give outcomes= (NaN where unseen), or probabilities as posterior=")
    if posterior is not None and outcomes is not None:
        raise ValueError(
            "outcomes with a posterior: it is taken as it is; to calibrate it, give it as scores= with outcomes="
        )
    if classes is not None and not len(classes):
        raise ValueError("classes is empty: give at least one candidate")
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"tolerance {tolerance}: give the share of decisions that may be missed, in [0, 1)")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: give the confidence, in (0, 1), for instance 0.95")


def _posterior(posterior: Posterior | ArrayLike | None) -> Posterior:
    if isinstance(posterior, Posterior):
        return posterior
    shape = np.shape(posterior) if posterior is not None else ()
    if len(shape) == 2:
        more = "give posterior[:, 1]" if shape[1] == 2 else "for more than two outcomes see `fit_losses`"
        raise ValueError(f"posterior of shape {shape}: give P(Y = 1) a decision, (n,); {more}")
    return Posterior.given(np.asarray(posterior))


def _ordered(posterior: Posterior) -> Posterior:
    """One whose score orders all cases as the probability does: calibrated within groups, it does so only there."""
    rising = posterior.probability[np.argsort(posterior.score, kind="stable")]
    if posterior.outcomes is None or (np.diff(rising) >= -ROUNDING).all():
        return posterior
    return replace(posterior, score=posterior.probability)


def _matrix(features: ArrayLike | None, rows: int) -> NDArray | None:
    if features is None:
        return None
    try:
        table = np.asarray(features, float)
    except (TypeError, ValueError):
        raise ValueError("features hold something that is no number; code categories as columns of 0 and 1") from None
    if table.ndim != 2 or len(table) != rows:
        raise ValueError(f"features of shape {table.shape}: give (n, d) for the {rows} decisions")
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        raise ValueError(f"feature {wrong[0, 1]} in row {wrong[0, 0]} is {table[tuple(wrong[0])]}: leave such rows out")
    return table


def _people(person: ArrayLike | None, rows: int) -> NDArray | None:
    who = None if person is None else np.asarray(person)
    if who is not None and who.shape != (rows,):
        raise ValueError(f"person of shape {who.shape}: give ({rows},), who decided each")
    if who is not None and who.dtype.kind == "f" and np.isnan(who).any():
        raise ValueError(f"person in row {np.flatnonzero(np.isnan(who))[0]} is missing: leave such rows out")
    return who


def _require_fit(observed: Observed) -> None:
    decided, posterior = observed.decisions, observed.posterior
    if len(posterior) != len(decided):
        raise ValueError(f"{len(posterior)} posteriors of {len(decided)} decisions: give one a decision")
    if decided.min() == decided.max() and posterior.outcomes is not None:
        raise ValueError(f"all {len(decided)} decisions are {decided[0]:.0f}: no threshold can be told from them")

"""P(Y = 1 | what the decision maker sees): given, from a classifier, or from a score; with its own uncertainty."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from demonstrably.decisions.calibration import (
    Calibration,
    calibrated,
    fit_logistic,
    isotonic_at,
    monotone_band,
)
from demonstrably.decisions.codes import dense
from demonstrably.decisions.crossfit import Evidence, assign_folds, forecasts
from demonstrably.decisions.inputs import (
    Values,
    feature_rows,
    first_bad,
    label_codes,
    number_column,
    outcome_column,
    refuse_falling,
    refuse_few,
    refuse_one_kind,
)

LEVEL = 0.95  # of every band and interval of a posterior
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Posterior:
    """A probability a decision, and what is known of its error.

    `probability` (n,) in [0, 1]; `score` (n,) orders the cases as the probability does (the probability itself, where
    it was given; within a group, where it was calibrated within groups). `error` (n,): the true posterior is at most so
    far off (0 where it was given as exact); of a score or a classifier, P(Y = 1 | score) is, for all rows at once with
    95 % probability, and what the score does not see is not in it. `outcomes` (n,) are the 0/1 that the map from score
    to probability was calibrated on, NaN where unseen; None for a given posterior. `name` says in a few words where it
    came from.
    """

    probability: Float[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]
    error: Float[np.ndarray, "n"]
    outcomes: Float[np.ndarray, "n"] | None
    name: str
    calibration: Calibration | None = None

    def __len__(self) -> int:
        return len(self.probability)

    def take(self, rows: NDArray) -> "Posterior":
        """The same for some rows only (numbers or a mask)."""
        outcomes = None if self.outcomes is None else self.outcomes[rows]
        return Posterior(
            self.probability[rows], self.score[rows], self.error[rows], outcomes, self.name, self.calibration
        )

    @staticmethod
    def given(probability: Values, error: Values = 0.0) -> "Posterior":
        """A posterior that is known, up to `error` (one number, or (n,)).

        Raises ValueError, naming the row, for a probability outside [0, 1] or missing, and for a negative error.
        """
        q = number_column("probability", probability)
        inside = (q >= 0.0) & (q <= 1.0)
        if not inside.all():
            raise ValueError(f"{first_bad('probability', q, inside)}; give probabilities from 0 to 1")
        off = np.asarray(error, np.float64)
        if off.ndim and off.shape != q.shape:
            raise ValueError(f"error has shape {off.shape} for {len(q)} probabilities; give one number, or one a row")
        off = np.broadcast_to(off, q.shape).copy()
        if not (off >= 0.0).all():
            raise ValueError(f"{first_bad('error', off, off >= 0.0)}; give how far it may be off, at least 0")
        name = f"given, off by at most {off.max():.3g}" if off.any() else "given as exact"
        return Posterior(q, q.copy(), off, None, name)

    @staticmethod
    def from_score(score: Values, outcomes: Values, *, case: Values | None = None) -> "Posterior":
        """The posterior that a score gives, if P(Y = 1) never falls as the score rises: isotonic regression.

        `score` (n,) any finite numbers; `outcomes` (n,) 0 or 1, NaN where unseen; `case` (n,), where rows repeat a
        case (several people judged it): its outcome counts once. `error` is the distance to the farther end of a 95 %
        band for all rows at once, valid for any number of independent outcomes (`calibration`, Eq. 2). `calibration`
        is by forecasts that did not see the outcome. This is also the posterior of a person who may only set a
        threshold on the score.

        Raises ValueError for scores that are not finite, outcomes that are not 0/1/NaN or all alike, and a score that
        falls where the outcomes rise.
        """
        s, y = number_column("score", score), outcome_column(outcomes)
        if len(s) != len(y):
            raise ValueError(f"{len(s)} scores for {len(y)} outcomes; give one of each a row")
        if not np.isfinite(s).all():
            raise ValueError(f"{first_bad('score', s, np.isfinite(s))}; give finite numbers, leave other rows out")
        seen = np.flatnonzero(~np.isnan(y))
        if case is not None:
            codes = label_codes("case", case, len(y)).codes
            seen = seen[np.unique(codes[seen], return_index=True)[1]]
        refuse_falling(s[seen], y[seen])
        q = isotonic_at(s[seen], y[seen], s)
        low, high = monotone_band(s[seen], y[seen], s, LEVEL)
        error = np.maximum(np.maximum(q - low, high - q), 0.0)
        name = f"score, by isotonic regression of {len(seen):,} outcomes"
        return Posterior(q, s, error, y, name, _of_score(s[seen], y[seen]))

    @staticmethod
    def from_classifier(
        classifier: Any,
        features: Any,
        outcomes: Values,
        *,
        groups: Values | None = None,
        cluster: Values | None = None,
        folds: int = FOLDS,
        seed: int = 0,
    ) -> "Posterior":
        """The posterior that features give by a scikit-learn classifier, cross-fitted, then calibrated.

        `classifier` has predict_proba or decision_function, alone or at the end of a pipeline; it is copied, never
        fitted itself. None takes logistic regression on standardized features, or gradient-boosted trees where these
        have the lower cross-validated log loss (tried up to 200,000 rows). `features` (n, d): an array, a frame or a
        sparse matrix, whatever the classifier reads. `outcomes` (n,) 0 or 1, NaN where unseen; rows without are
        forecast by all folds' mean. `groups` (n,), labels or codes: the log-odds are calibrated within each.
        `cluster` (n,): rows of one person or case, which stay in one fold and count together.

        `score` are the forecasts' log-odds; the probability is logistic in them within a group, and `error` the 95 %
        band of that map for all rows and groups at once. It says how well P(Y = 1 | score, group) is known, not that
        the decision maker sees what the classifier sees.

        Raises ValueError for something that is no classifier, features or outcomes that cannot be used, a group whose
        outcomes are all alike or unseen, and too few outcomes for the folds.
        """
        y = outcome_column(outcomes)
        x = feature_rows(features, len(y), finite=classifier is None)
        coded = label_codes("groups", np.zeros(len(y)) if groups is None else groups, len(y))
        group, names = coded.codes, coded.names or tuple(str(g) for g in range(int(coded.codes.max()) + 1))
        together = np.arange(len(y)) if cluster is None else label_codes("cluster", cluster, len(y)).codes
        seen = np.flatnonzero(~np.isnan(y))
        refuse_few(y[seen], together[seen], folds)
        refuse_one_kind(y[seen], group[seen], names)
        fold = np.full(len(y), -1)
        fold[seen] = assign_folds(y[seen], dense(together[seen]), folds, seed)
        made = forecasts(classifier, Evidence(x, y, fold, together, folds), seed)
        clusters = None if cluster is None else together
        probability, error = _within_groups(made.odds, y, group, clusters, 1.0 - (1.0 - LEVEL) / len(names))
        shown = _of_forecasts(made.odds, y, fold, group, clusters, names if groups is not None else ())
        within = f" within each of {len(names)} groups" if groups is not None else ""
        name = f"{made.name}, cross-fitted in {folds} folds, calibrated by logistic regression{within}"
        return Posterior(probability, made.odds, error, y, name, shown)


def _within_groups(
    odds: Float[np.ndarray, "n"],
    outcomes: Float[np.ndarray, "n"],
    group: Int[np.ndarray, "n"],
    cluster: Int[np.ndarray, "n"] | None,
    level: float,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Probabilities (n,) and their errors (n,), by the logistic map of the seen outcomes of each group."""
    probability, error = np.empty(len(odds)), np.empty(len(odds))
    for g in range(int(group.max()) + 1):
        rows, seen = group == g, np.flatnonzero((group == g) & ~np.isnan(outcomes))
        fitted = fit_logistic(odds[seen], outcomes[seen], None if cluster is None else cluster[seen])
        probability[rows], error[rows] = fitted.probability(odds[rows]), fitted.error(odds[rows], level)
    return probability, error


def _of_forecasts(
    odds: Float[np.ndarray, "n"],
    outcomes: Float[np.ndarray, "n"],
    fold: Int[np.ndarray, "n"],
    group: Int[np.ndarray, "n"],
    cluster: Int[np.ndarray, "n"] | None,
    names: tuple[str, ...],
) -> Calibration:
    """Calibration, overall and of each named group, of forecasts whose map did not see the outcome either."""
    forecast, seen = np.full(len(odds), np.nan), np.flatnonzero(fold >= 0)
    for g in range(int(group.max()) + 1):
        mine = seen[group[seen] == g]
        for k in np.unique(fold[mine]):
            inside, outside = mine[fold[mine] != k], mine[fold[mine] == k]
            if len(inside):
                forecast[outside] = fit_logistic(odds[inside], outcomes[inside]).probability(odds[outside])
    seen = seen[~np.isnan(forecast[seen])]
    parts = [(label, seen[group[seen] == g]) for g, label in enumerate(names)]
    shown = [
        calibrated(
            forecast[rows],
            outcomes[rows],
            cluster=None if cluster is None else cluster[rows],
            level=LEVEL,
            label=label,
        )
        for label, rows in [("all", seen), *((label, rows) for label, rows in parts if len(rows))]
    ]
    return replace(shown[0], groups=tuple(shown[1:]))


def _of_score(score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"]) -> Calibration:
    """Calibration of isotonic forecasts of each fifth of the outcomes by the others."""
    fold = assign_folds(outcomes, np.arange(len(outcomes)), FOLDS, seed=0)
    forecast = np.empty(len(outcomes))
    for k in range(min(FOLDS, len(outcomes))):
        inside, outside = fold != k, fold == k
        forecast[outside] = isotonic_at(score[inside], outcomes[inside], score[outside])
    return calibrated(forecast, outcomes, level=LEVEL)

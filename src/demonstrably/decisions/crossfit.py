"""Forecasts of outcomes by classifiers that never saw them: cross-fitting by folds.

A classifier's forecast of an outcome that it was trained on is too sure of itself, and a posterior that is too sure
moves the loss read out of the decisions. So rows are split in folds, and each fold's outcomes are forecast by a
classifier fitted to the others. Where forecasts are not linear in the outcomes' log-odds they are straightened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from demonstrably.decisions.calibration import fit_logistic, log_odds, straight_odds

MANY = 200_000  # rows above which the default is logistic regression, without a look at boosted trees
STANDARD_ERRORS = 2.0  # by which a gain of log loss must exceed 0 to count as one


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Log-odds (n,) of the outcomes, none by a classifier that saw the outcome, and who made them."""

    odds: Float[np.ndarray, "n"]
    name: str


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features of n rows, outcomes (n,) NaN where unseen, the fold (n,) of each row with an outcome, -1 of the others.

    `cluster` (n,) codes of rows whose outcomes hang together.
    """

    features: Any
    outcomes: Float[np.ndarray, "n"]
    fold: Int[np.ndarray, "n"]
    cluster: Int[np.ndarray, "n"]
    folds: int

    @property
    def seen(self) -> Bool[np.ndarray, "n"]:
        """Which rows have an outcome."""
        return self.fold >= 0


def assign_folds(
    outcomes: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"], folds: int, seed: int
) -> Int[np.ndarray, "m"]:
    """A fold (m,) a row: clusters, 0 .. C-1, are dealt out by size and share of outcomes, equal ones at random."""
    size = np.bincount(cluster)
    share = np.bincount(cluster, outcomes) / size
    shuffled = np.random.default_rng(seed).permutation(len(size))
    order = shuffled[np.lexsort((share[shuffled], size[shuffled]))]
    fold = np.empty(len(size), np.int64)
    fold[order] = np.arange(len(size)) % folds
    return fold[cluster]


def cross_fit(classifier: Any, evidence: Evidence) -> Float[np.ndarray, "n"]:
    """Log-odds (n,): of a row with outcome by the classifier that did not see it, of others the mean of all folds'."""
    from sklearn.base import clone
    from sklearn.utils import _safe_indexing

    odds, unseen = np.zeros(len(evidence.outcomes)), np.flatnonzero(~evidence.seen)
    for k in range(evidence.folds):
        inside = np.flatnonzero(evidence.seen & (evidence.fold != k))
        outside = np.flatnonzero(evidence.fold == k)
        target = evidence.outcomes[inside].astype(np.int64)
        if target.min() == target.max():
            raise ValueError(
                f"without fold {k + 1} of {evidence.folds} every outcome is {target[0]}: give fewer folds, more cases, "
                "or a cluster that leaves several independent cases of each outcome"
            )
        model: Any = clone(classifier)
        model.fit(_safe_indexing(evidence.features, inside), target)
        odds[outside] = _odds_of(model, _safe_indexing(evidence.features, outside))
        if len(unseen):
            odds[unseen] += _odds_of(model, _safe_indexing(evidence.features, unseen)) / evidence.folds
    return odds


def _odds_of(model: Any, features: Any) -> Float[np.ndarray, "n"]:
    """Log-odds of outcome 1, or what the classifier has in their place."""
    try:
        probability = model.predict_proba(features)[:, 1]
    except AttributeError:  # scikit-learn's way of saying that a classifier, or its setting, has none
        return np.asarray(model.decision_function(features), np.float64)
    return log_odds(np.asarray(probability, np.float64))


def forecasts(classifier: Any, evidence: Evidence, seed: int) -> Forecasts:
    """Cross-fitted log-odds of the given classifier, or of the better of two where none is given, straightened.

    Raises ValueError for something that is no classifier, and for folds with one outcome only.
    """
    if classifier is not None:
        _check_classifier(classifier)
        return straightened(Forecasts(cross_fit(seeded(classifier, seed), evidence), _name(classifier)), evidence)
    choices = _defaults(len(evidence.outcomes), seed)
    tried = [straightened(Forecasts(cross_fit(one, evidence), _name(one)), evidence) for one in choices]
    best = min(tried, key=lambda one: _log_loss(one.odds[evidence.seen], evidence.outcomes[evidence.seen]).mean())
    others = [one.name.split(",")[0] for one in tried if one is not best]
    chosen = f" (chosen by log loss over {' and '.join(others)})" if others else ""
    return Forecasts(best.odds, best.name + chosen)


def straightened(made: Forecasts, evidence: Evidence) -> Forecasts:
    """The forecasts, made linear in the outcomes' log-odds by isotonic regression where that forecasts better.

    Each fold's are straightened by what the other folds show. They stay as they are unless the log loss falls, against
    a logistic map fitted in the same way, by more than twice the standard error of the difference.
    """
    seen, fold = evidence.seen, evidence.fold
    straight, line = np.zeros(len(made.odds)), np.zeros(len(made.odds))
    for k in range(evidence.folds):
        inside, outside = seen & (fold != k), fold == k
        mapped = straight_odds(made.odds[inside], evidence.outcomes[inside], made.odds[outside | ~seen])
        straight[outside] = mapped[outside[outside | ~seen]]
        straight[~seen] += mapped[~seen[outside | ~seen]] / evidence.folds
        fitted = fit_logistic(made.odds[inside], evidence.outcomes[inside])
        line[outside] = log_odds(fitted.probability(made.odds[outside]))
    y = evidence.outcomes[seen]
    if gains(_log_loss(line[seen], y), _log_loss(straight[seen], y), evidence.cluster[seen]):
        return Forecasts(straight, f"{made.name}, straightened by isotonic regression")
    return made


def gains(
    plain: Float[np.ndarray, "m"], other: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"] | None = None
) -> bool:
    """Whether the other forecasts' mean loss is lower by more than chance, cases of a cluster counting together."""
    gain = plain - other
    noise = gain - gain.mean()
    parts = noise if cluster is None else np.bincount(cluster, noise)
    return bool(gain.sum() > STANDARD_ERRORS * np.sqrt(parts @ parts))


def _log_loss(odds: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
    return np.logaddexp(0.0, np.where(outcomes == 1.0, -odds, odds))


def seeded(classifier: Any, seed: int) -> Any:
    """A copy, not fitted, whose random states that were left open are the seed: the same call gives the same bits."""
    from sklearn.base import clone

    copy: Any = clone(classifier)
    states = copy.get_params(deep=True)
    names = [name for name in states if name.split("__")[-1] == "random_state" and states[name] is None]
    return copy.set_params(**dict.fromkeys(names, seed))


def _defaults(rows: int, seed: int) -> Sequence[Any]:
    """Logistic regression on standardized features, and gradient-boosted trees where these are quick."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return [plain] if rows > MANY else [plain, HistGradientBoostingClassifier(random_state=seed)]


def _check_classifier(classifier: Any) -> None:
    from sklearn.base import BaseEstimator, is_classifier

    if not isinstance(classifier, BaseEstimator) or not is_classifier(classifier):
        shown = classifier.__name__ + " (a class: make an object of it)" if isinstance(classifier, type) else classifier
        raise ValueError(
            f"classifier is {shown!r}; give a scikit-learn classifier with predict_proba or decision_function, such as "
            "LogisticRegression(), or None"
        )


def _name(classifier: Any) -> str:
    """ "LogisticRegression" for the classifier or for a pipeline that ends in it."""
    from sklearn.pipeline import Pipeline

    return type(classifier.steps[-1][1] if isinstance(classifier, Pipeline) else classifier).__name__

"""Are equal records treated alike? The effect of the group on the decision, given everything that is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

BOOSTED = 50_000  # rows up to which trees are grown, in five folds; more are left to logistic regression in two
OVERLAP = 1e-3  # share of a group's variance that the record must leave open


@dataclass(frozen=True)
class Conditional:
    """The decision rate of each group less that of `reference`, among equal records (a difference of probabilities).

    `effect`, `low`, `high` and `p_value` are by group, in the order of `groups`; `covariance` is of the effects, with
    `degrees` of freedom: one less than the clusters. NaN where the record tells the group outright, so that no equal
    records are to be compared.
    """

    groups: tuple[str, ...]
    reference: str
    effect: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    p_value: tuple[float, ...]
    level: float
    covariance: Float[np.ndarray, "k k"]
    degrees: float

    def between(self, first: str, second: str) -> tuple[float, float]:
        """Effect of `second` over `first` and its two-sided p-value."""
        weights = np.zeros(len(self.groups))
        for name, sign in ((first, -1.0), (second, 1.0)):
            if name != self.reference:
                weights[self.groups.index(name)] = sign
        effect = float(weights @ np.nan_to_num(self.effect))
        open_groups = np.isnan(self.effect) & (weights != 0.0)
        if open_groups.any():
            return float("nan"), float("nan")
        return effect, _p_value(effect, float(np.sqrt(weights @ self.covariance @ weights)), self.degrees)

    def __str__(self) -> str:
        rows = zip(self.groups, self.effect, self.low, self.high, self.p_value, strict=True)
        lines = [f"equal records (decision rate less that of {self.reference}, {self.level:.0%})"]
        for group, effect, low, high, p_value in rows:
            told = f"{effect:+.3f} [{low:+.3f}, {high:+.3f}], p = {p_value:.2g}"
            lines.append(f"  {group}: {'the record tells the group outright' if np.isnan(effect) else told}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        rows = zip(self.groups, self.effect, self.low, self.high, self.p_value, strict=True)
        names = ("group", "effect", "low", "high", "p_value")
        return {
            "reference": self.reference,
            "level": self.level,
            "groups": [{k: _plain(v) for k, v in zip(names, row, strict=True)} for row in rows],
        }


def conditional_test(
    decisions: Float[np.ndarray, "n"],
    features: Float[np.ndarray, "n d"],
    group: Int[np.ndarray, "n"],
    names: Sequence[str],
    clusters: tuple[Int[np.ndarray, "n"], ...] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Conditional:
    """Effects of the group on decisions, partialled out of all features by cross-fitted classifiers.

    Partially linear model, decision = effect of the group + m(features) + noise: Robinson's residual-on-residual
    regression with cross-fitting (Chernozhukov et al. 2018, arXiv 1608.00060, section 4.1), whose first-order error
    does not depend on how well either classifier fits. It assumes nothing of what the decision maker weighs, but
    that what they see is recorded. The covariance is clustered one or two ways, of at least two clusters each, and
    errors are by Student's t of one less than the fewer clusters. Groups are codes into `names`.
    """
    codes = np.unique(group)
    counts = np.array([(group == code).sum() for code in codes])
    reference = codes[counts.argmax()]
    others = [int(code) for code in codes if code != reference]
    member = np.stack([group == code for code in others], 1).astype(float)
    splits, number = (3, 5) if len(decisions) <= BOOSTED else (1, 2)
    effects, covariances, told = [], [], np.zeros(len(others), bool)
    for split in range(splits):
        folds = _folds(clusters[-1] if clusters else np.arange(len(decisions)), number, seed + split)
        expected = _cross_fitted(features, decisions.astype(np.int64), folds, seed)[:, -1]
        shares = _cross_fitted(features, np.searchsorted(codes, group), folds, seed)
        left = member - shares[:, np.searchsorted(codes, others)]
        told |= (left**2).mean(0) < OVERLAP * member.var(0)
        one = _residual_regression(decisions - expected, left, clusters)
        effects.append(one[0])
        covariances.append(one[1])
    effect, covariance = _over_splits(np.array(effects), np.array(covariances))
    effect = np.where(told, np.nan, effect)
    degrees = min((len(np.unique(one)) for one in clusters), default=len(decisions)) - 1.0
    errors = np.sqrt(np.diag(covariance))
    half = stdtrit(degrees, (1.0 + level) / 2.0) * errors
    p_values = [_p_value(e, error, degrees) for e, error in zip(effect.tolist(), errors.tolist(), strict=True)]
    low, high = (tuple((effect + sign * half).tolist()) for sign in (-1.0, 1.0))
    named = tuple(str(names[code]) for code in others)
    found = tuple(effect.tolist())
    return Conditional(named, str(names[reference]), found, low, high, tuple(p_values), level, covariance, degrees)


def _over_splits(
    effects: NDArray[np.float64], covariances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eq. 2: the mean over splits (r, k), and the mean of their covariances plus what the splits differ by."""
    apart = effects - effects.mean(0)
    return effects.mean(0), covariances.mean(0) + apart.T @ apart / len(effects)


def cluster_sum(scores: NDArray[np.float64], clusters: tuple[NDArray[np.int64], ...]) -> NDArray[np.float64]:
    """Eq. 1: the middle of a sandwich, the sum over clusters of outer products of their summed scores (n, k).

    Two ways: that of each, less that of the clusters' intersections (Cameron, Gelbach and Miller 2011), with negative
    eigenvalues set to 0. Each part is scaled by m / (m - 1) for m clusters.
    """

    def middle(codes: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.zeros((codes.max() + 1, scores.shape[1]))
        np.add.at(total, codes, scores)
        return total.T @ total * (len(total) / max(1, len(total) - 1))

    if not clusters:
        return scores.T @ scores
    parts = [np.unique(codes, return_inverse=True)[1] for codes in clusters]
    if len(parts) == 1:
        return middle(parts[0])
    both = np.unique(parts[0] * (parts[1].max() + 1) + parts[1], return_inverse=True)[1]
    values, vectors = np.linalg.eigh(middle(parts[0]) + middle(parts[1]) - middle(both))
    return (vectors * values.clip(0.0)) @ vectors.T


def _residual_regression(
    left: NDArray[np.float64], member: NDArray[np.float64], clusters: tuple[NDArray[np.int64], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least squares of what the record leaves of the decision on what it leaves of the groups, with its covariance."""
    inverse = np.linalg.pinv(member.T @ member)
    effect = inverse @ (member.T @ left)
    scores = member * (left - member @ effect)[:, None]
    return effect, inverse @ cluster_sum(scores, clusters) @ inverse


def _folds(cluster: NDArray[np.int64], number: int, seed: int) -> NDArray[np.int64]:
    """A fold for every row; rows of one cluster share it."""
    codes = np.unique(cluster, return_inverse=True)[1]
    shuffled = np.random.default_rng(seed).permutation(codes.max() + 1)
    return shuffled[codes] % number


def _cross_fitted(
    features: NDArray[np.float64], labels: NDArray[np.int64], folds: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Probability of each label (n, labels), by classifiers that did not see the row's fold."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = np.zeros((len(labels), labels.max() + 1))
    for fold in range(int(folds.max()) + 1):
        away = folds != fold
        if len(labels) <= BOOSTED:
            model = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.1, max_leaf_nodes=15, random_state=seed)
        else:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        known = np.unique(labels[away])  # the order of its columns
        if len(known) == 1:
            found[~away, known] = 1.0
            continue
        model.fit(features[away], labels[away])
        found[np.flatnonzero(~away)[:, None], known] = model.predict_proba(features[~away])
    return found


def _p_value(effect: float, error: float, degrees: float) -> float:
    return float("nan") if np.isnan(effect) or error == 0.0 else float(2.0 * stdtr(degrees, -abs(effect) / error))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value

"""Does a threshold on this posterior, followed with noise, describe the decisions at all? Checks to pass before a cost.

A cost that is read out of decisions is that of someone who weighs what the posterior weighs. Whoever weighs other
things has no cost on this posterior, and groups that differ in those things would seem to be treated differently.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import bdtrc, expit, logit, ndtr
from scipy.stats import rankdata

from demonstrably.decisions.curves import Rows, pairs_of, rise
from demonstrably.decisions.disagreement import least_disagreement
from demonstrably.decisions.estimate import Check
from demonstrably.decisions.noisy import SMALLEST
from demonstrably.decisions.posterior import Posterior

LEVEL = 0.05  # of each check; of those that fail by significance, unless another is given
SHARE = 0.8  # of what could be explained of the decisions, that the posterior must explain
MORE = 1.5  # times the odds of an outcome that a decision may add beyond the posterior
ALIKE = 0.1  # correlation that decisions on a case may have beyond the posterior
MOST = 50_000  # rows that the cross-fitted checks take
FOLDS = 5
ENOUGH = 20  # cases on the far side of a rule from which on it is taken to lie inside the posteriors seen
FEW = 50  # rows that cross-fitted checks need
SURE = 1e-3  # forecasts are kept so far from 0 and 1

Fitter = Callable[[NDArray, NDArray], Callable[[NDArray], NDArray]]  # columns, decisions -> (columns -> probability)


def check_fit(
    decisions: Float[np.ndarray, "n"],
    posterior: Posterior,
    features: NDArray | None = None,
    person: NDArray | None = None,
    case: NDArray | None = None,
    level: float = LEVEL,
) -> tuple[Check, ...]:
    """Checks of the model "a threshold on the posterior, followed with noise", as far as the evidence allows them.

    `decisions` (n,) 0/1; `features` (n, d) of the cases, to see what else decisions go by; `person` and `case` (n,)
    codes or names of who decided and on what. At most 50,000 rows, drawn with a fixed seed, enter the slower checks.
    `level`: of the checks that fail where something is significant; where several groups are checked, a share of 0.05.
    Raises ValueError for arrays of unequal length.
    """
    given = [column for column in (features, person, case) if column is not None]
    if any(len(column) != len(decisions) for column in (posterior, *given)):
        raise ValueError(f"posterior, features, person and case must have the {len(decisions)} rows of the decisions")
    person, case = (None if one is None else np.unique(one, return_inverse=True)[1].ravel() for one in (person, case))
    if decisions.min() == decisions.max():
        return (Check("rise", False, f"all decisions are {decisions[0]:.0f}: nothing can be checked"),)
    found = [check_rise(decisions, posterior.probability, person), check_rule(decisions, posterior.probability)]
    if features is not None and len(decisions) >= FEW:
        found.append(check_features(decisions, posterior.probability, np.asarray(features, float), person, case, level))
    if posterior.outcomes is not None and _seen_both_ways(decisions, posterior.outcomes):
        together = person if case is None else case
        found.append(check_outcomes(decisions, posterior.probability, posterior.outcomes, together, level))
    if case is not None and len(np.unique(case)) < len(case):
        found.append(check_cases(decisions, posterior.probability, case, level))
    return tuple(found)


def check_rise(decisions: NDArray, probability: NDArray, person: NDArray | None = None) -> Check:
    """Whether decisions of 1 become more frequent as the posterior rises. The effect is the area under the curve."""
    rows = Rows(decisions, _odds(probability), np.zeros(len(decisions), int), np.ones(len(decisions)), 1)
    p_value = float(ndtr(-rise(rows, [pairs_of(person, rows.group)])[0]))
    ones = decisions.sum()
    area = (rankdata(probability)[decisions > 0.5].sum() - ones * (ones + 1) / 2) / (ones * (len(decisions) - ones))
    passed = p_value < LEVEL
    what = "rise" if passed else "do not rise, as far as can be told,"
    text = f"decisions {what} with the posterior: a case decided 1 has the higher one in {area:.0%} of pairs"
    return Check("rise", passed, text, p_value, float(area))


def check_rule(decisions: NDArray, probability: NDArray) -> Check:
    """Whether the best rule on the posterior beats deciding all cases alike. The effect is the share that it misses.

    It fails where that may be chance and the rule sets only a few cases apart: the cost would lie beyond what was seen.
    What a rule gains is the largest sum of a walk that, where no rule is better, has no drift upward: by reflection, at
    most twice the chance of its last step, over dyadic lengths of the walk of which one holds the rule (Bonferroni).
    """
    missed, number = least_disagreement(decisions, probability), len(decisions)
    alike = float(min(decisions.sum(), number - decisions.sum()))
    called = probability >= missed.cost
    changed = int(called.sum() if decisions.mean() < 0.5 else number - called.sum())
    gain = alike - missed.count
    window = 1 << max(changed - 1, 0).bit_length()
    last = float(bdtrc(math.ceil((window + gain) / 2) - 1, window, 0.5))
    p_value = min(1.0, 2.0 * number.bit_length() * last)
    text = f"the best rule misses {missed.rate:.1%} of the decisions; deciding all alike misses {alike / number:.1%}"
    return Check("rule", p_value < LEVEL or changed >= ENOUGH, text, p_value, missed.rate)


def check_features(
    decisions: NDArray,
    probability: NDArray,
    features: NDArray,
    person: NDArray | None = None,
    case: NDArray | None = None,
    level: float = LEVEL,
) -> Check:
    """Whether decisions weigh the features as the posterior does.

    Eq. 1: share = (D_0 - D_q) / (D_0 - D_x), of deviances of decisions: D_0 of their mean, D_q and D_x cross-fitted on
    the posterior alone, and on features and posterior. The effect is the share. It fails below 0.8, if that the
    features add something is significant too: with many decisions, a trifle always is.
    """
    rows = _drawn(len(decisions))
    d, odds, table = decisions[rows], _odds(probability[rows])[:, None], features[rows]
    clusters = [code[rows] for code in (case, person) if code is not None]
    folds = _folds(clusters[0] if clusters else np.arange(len(rows)))
    tables = odds, np.column_stack([odds, table])
    null = _deviance(d, np.full(len(d), d.mean()))
    alone = _best([_cross_fitted(d, tables[0], folds, fitter) for fitter in (_spline, _rising_trees)])
    both = _best([alone, *(_cross_fitted(d, tables[1], folds, fitter) for fitter in (_spline, _trees))])
    explained, explainable = float(np.sum(null - alone)), float(np.sum(null - both))
    if explainable <= 0.0:
        text = "neither the posterior nor the features tell anything of the decisions"
        return Check("features", True, text, 1.0, 1.0)
    share, p_value = max(explained, 0.0) / explainable, _larger(alone - both, clusters)
    passed = share >= SHARE or p_value >= level
    words = "decisions weigh the features as the posterior does" if passed else "decisions go by something else as well"
    text = f"{words}: the posterior explains {share:.0%} of what posterior and features together explain of them"
    return Check("features", passed, text, p_value, share)


def check_outcomes(
    decisions: NDArray,
    probability: NDArray,
    outcomes: NDArray,
    cluster: NDArray | None = None,
    level: float = LEVEL,
) -> Check:
    """Whether decisions tell more of the outcome than the posterior does: the decision maker then knew more.

    The effect is the factor of the outcome's odds that a decision of 1 adds (logistic regression on the decision and a
    cubic in the posterior's log-odds). It fails where that is significant and above 1.5.
    """
    seen = ~np.isnan(outcomes)
    odds = _odds(probability[seen])
    odds = np.clip((odds - odds.mean()) / max(odds.std(), 1e-9), -4.0, 4.0)
    columns = np.stack([decisions[seen], np.ones(len(odds)), odds, odds**2, odds**3], axis=1)
    cluster = np.arange(len(odds)) if cluster is None else cluster[seen]
    value, error = _logistic_effect(columns, outcomes[seen], cluster)
    p_value = float(ndtr(-value / error))
    passed = p_value >= level or value < math.log(MORE)
    what = "little or nothing" if passed else "something"
    times = f"for equal posteriors its odds are {math.exp(value):.2f} times as high after a decision of 1"
    text = f"decisions tell {what} of the outcome beyond the posterior: {times}"
    return Check("outcomes", passed, text, p_value, math.exp(value))


def check_cases(decisions: NDArray, probability: NDArray, case: NDArray, level: float = LEVEL) -> Check:
    """Whether people agree on a case more than its posterior explains. The effect is the correlation of two of them.

    Eq. 2: sum over cases of (sum r)^2 - sum r^2, for residuals r of the decisions, over its value if all agreed.
    """
    odds, code = _odds(probability)[:, None], np.unique(case, return_inverse=True)[1]
    expected = _spline(odds, decisions)(odds)
    count, residual = np.bincount(code), decisions - expected
    together = np.bincount(code, residual) ** 2 - np.bincount(code, residual**2)
    pairs = np.sum(count * (count - 1.0)) * np.mean(expected * (1.0 - expected))
    effect = float(together.sum() / pairs)
    p_value = float(ndtr(-together.sum() / math.sqrt(max(together @ together, 1e-300))))
    passed = p_value >= level or effect < ALIKE
    what = "no more than" if passed else "more than"
    text = f"people agree on a case {what} its posterior explains: correlation of two of them {effect:.2f}"
    return Check("cases", passed, text, p_value, effect)


def _odds(probability: NDArray) -> NDArray:
    return logit(np.clip(probability, SMALLEST, 1.0 - SMALLEST))


def _seen_both_ways(decisions: NDArray, outcomes: NDArray) -> bool:
    """Outcomes of nearly all rows: otherwise they may be seen because of what the decision maker knew."""
    seen = ~np.isnan(outcomes)
    y, d = outcomes[seen], decisions[seen]
    return bool(seen.mean() > 0.95 and min(y.sum(), (1 - y).sum(), d.sum(), (1 - d).sum()) >= 20)


def _drawn(number: int) -> NDArray:
    """All rows, or MOST of them."""
    if number <= MOST:
        return np.arange(number)
    return np.sort(np.random.default_rng(0).choice(number, MOST, replace=False))


def _folds(cluster: NDArray) -> NDArray:
    """A fold (n,) a row, the same for all rows of a cluster."""
    code = np.unique(cluster, return_inverse=True)[1]
    return np.random.default_rng(0).permutation(int(code.max()) + 1)[code] % FOLDS


def _cross_fitted(decisions: NDArray, columns: NDArray, folds: NDArray, fitter: Fitter) -> NDArray:
    """Deviance (n,) of each decision, forecast without its own fold."""
    forecast = np.full(len(decisions), decisions.mean())
    for fold in range(FOLDS):
        inside = folds != fold
        if inside.all() or not inside.any() or decisions[inside].min() == decisions[inside].max():
            continue
        forecast[~inside] = fitter(columns[inside], decisions[inside])(columns[~inside])
    return _deviance(decisions, forecast)


def _deviance(decisions: NDArray, forecast: NDArray) -> NDArray:
    kept = np.clip(forecast, SURE, 1.0 - SURE)
    return -2.0 * np.log(np.where(decisions > 0.5, kept, 1.0 - kept))


def _best(deviances: list[NDArray]) -> NDArray:
    return min(deviances, key=np.sum)


def _spline(columns: NDArray, decisions: NDArray) -> Callable[[NDArray], NDArray]:
    """Logistic regression on standardized columns, the first (log-odds) as a piecewise linear curve."""
    from sklearn.linear_model import LogisticRegression

    knots = np.quantile(columns[:, 0], [0.1, 0.3, 0.5, 0.7, 0.9])

    def bent(table: NDArray) -> NDArray:
        return np.column_stack([table, np.maximum(table[:, :1] - knots, 0.0)])

    wide = bent(columns)
    middle, spread = wide.mean(axis=0), wide.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    model = LogisticRegression(C=10.0, max_iter=2000).fit((wide - middle) / spread, decisions)
    return lambda table: model.predict_proba((bent(table) - middle) / spread)[:, 1]


def _rising_trees(columns: NDArray, decisions: NDArray) -> Callable[[NDArray], NDArray]:
    """Boosted trees of the log-odds alone, that never fall."""
    return _boosted(columns, decisions, [1])


def _trees(columns: NDArray, decisions: NDArray) -> Callable[[NDArray], NDArray]:
    return _boosted(columns, decisions, None)


def _boosted(columns: NDArray, decisions: NDArray, rising: list[int] | None) -> Callable[[NDArray], NDArray]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    settings: dict[str, Any] = {"max_iter": 80, "max_leaf_nodes": 12, "early_stopping": False, "random_state": 0}
    model: Any = HistGradientBoostingClassifier(monotonic_cst=rising, **settings).fit(columns, decisions)
    return lambda table: model.predict_proba(table)[:, 1]


def _larger(gain: NDArray, clusters: list[NDArray]) -> float:
    """One-sided p-value of "the gains (n,) have a mean above 0", the least sure of the ways of clustering."""
    apart = gain - gain.mean()
    spreads = [np.sum(np.bincount(code, apart) ** 2) for code in clusters] + [np.sum(apart**2)]
    return float(ndtr(-gain.sum() / math.sqrt(max(*spreads, 1e-300))))


def _logistic_effect(columns: NDArray, outcomes: NDArray, cluster: NDArray) -> tuple[float, float]:
    """Coefficient of the first column in a logistic regression, and its clustered standard error."""
    weight = np.zeros(columns.shape[1])
    ridge = 1e-6 * len(columns) * np.eye(len(weight))
    for _ in range(50):
        fitted = expit(columns @ weight)
        information = (columns * (fitted * (1.0 - fitted))[:, None]).T @ columns + ridge
        step = np.linalg.solve(information, columns.T @ (outcomes - fitted) - ridge @ weight)
        weight = weight + step * min(1.0, 3.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-8:
            break
    row = np.linalg.inv(information)[0]
    score = (columns @ row) * (outcomes - expit(columns @ weight))
    parts = np.bincount(np.unique(cluster, return_inverse=True)[1], score)
    return float(weight[0]), float(math.sqrt(parts @ parts * len(parts) / max(len(parts) - 1, 1)))

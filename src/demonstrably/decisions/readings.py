"""What an audit reads of each group: the posterior both ways, the costs, and whether the model fits."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtr
from scipy.stats import beta

from demonstrably.decisions.auditing import Bins, GroupAudit, Measure, Shift
from demonstrably.decisions.behaviors import Observed
from demonstrably.decisions.calibration import fit_logistic
from demonstrably.decisions.checks import LEVEL, check_fit
from demonstrably.decisions.crossing import GroupCosts, group_costs, log_odds
from demonstrably.decisions.estimate import Check
from demonstrably.decisions.labels import selective_labels
from demonstrably.decisions.posterior import FOLDS, Posterior
from demonstrably.decisions.table import Decisions

BINS = 12
DRAWN = 60  # steps of an induced posterior
CHECKED = 20_000  # rows, over all groups, on which the fit is checked
ODDS = (1.5, 2.0, 3.0)  # by which unseen outcomes may differ
NONE = Measure(math.nan, math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The posterior and the costs that it gives, calibrated within each group, and `shared` by all groups.

    `shared` is None where a posterior was given, which is read one way only; all are None where there is none, and
    `why` says so. `unguarded`: the posterior rests on a score alone, so that unless the score explains every decision
    nothing tells what else they go by.
    """

    posterior: Posterior | None
    costs: GroupCosts | None
    shared: GroupCosts | None
    why: str = ""
    unguarded: bool = False


def codes_of(data: Decisions) -> NDArray[np.int64]:
    """Codes (n,) of the groups."""
    assert data.group is not None, "read with a group"
    return data.group.codes


def names_of(data: Decisions) -> tuple[str, ...]:
    """Names of the groups."""
    assert data.group is not None, "read with a group"
    return data.group.names


def clusters_of(data: Decisions) -> tuple[NDArray[np.int64], ...]:
    """Codes (n,) of what makes decisions depend on one another: persons, cases, both or neither."""
    return tuple(labels.codes for labels in (data.person, data.case) if labels is not None)


def evidence_of(data: Decisions, classifier: Any, seed: int) -> Evidence:
    """The posterior of a table: as given, else from its score, else from its features."""
    group, clusters = codes_of(data), clusters_of(data)
    if data.posterior is not None:
        own = Posterior.given(data.posterior)
        return Evidence(own, group_costs(data.decisions, own, group, clusters), None)
    if data.outcomes is None:
        return Evidence(None, None, None, "no outcomes are recorded, so nothing says what risk the decisions met")
    case = None if data.case is None else data.case.codes
    if data.score is not None:
        own = Posterior.from_score(data.score, data.outcomes, case=case)
        pooled = replace(own, probability=expit(log_odds(own)))
    elif data.features.shape[1]:
        person = None if data.person is None or len(data.person.names) < FOLDS else data.person.codes
        cluster = person if case is None else case
        own = Posterior.from_classifier(
            classifier, data.features, data.outcomes, groups=data.group, cluster=cluster, seed=seed
        )
        seen = ~np.isnan(data.outcomes)
        fitted = fit_logistic(own.score[seen], data.outcomes[seen])
        pooled = replace(own, probability=fitted.probability(own.score))
    else:
        return Evidence(None, None, None, "no posterior, score or features are given, so nothing says what was known")
    costs = group_costs(data.decisions, own, group, clusters)
    shared = group_costs(data.decisions, replace(pooled, outcomes=None), group, clusters)
    return Evidence(own, costs, shared, unguarded=not data.features.shape[1])


def groups_of(data: Decisions, evidence: Evidence, level: float) -> tuple[GroupAudit, ...]:
    """Each group's cost, or why none is stated, with what it was read from."""
    codes, found = codes_of(data), []
    for index, name in enumerate(names_of(data)):
        rows = np.flatnonzero(codes == index)
        if evidence.posterior is None or evidence.costs is None:
            found.append(GroupAudit(name, len(rows), NONE, None, (), evidence.why))
            continue
        posterior, decided = evidence.posterior.take(rows), data.decisions[rows]
        own = posterior.probability
        checks = _checks(data, evidence.posterior, rows)
        if evidence.posterior.outcomes is None and data.outcomes is not None and not evidence.costs.reasons[index]:
            checks += check_calibration(data, evidence.posterior, rows, float(evidence.costs.logit[index]))
        failed = [check.text for check in checks if not check.passed]
        reason = evidence.costs.reasons[index] or "; ".join(failed)
        outcomes = None if data.outcomes is None else _bins(own, data.outcomes[rows])
        cost = NONE if reason else _cost(evidence.costs, index, level)
        missed = Observed(decided, posterior, None, None, 1.0, level).missed
        curves = _bins(own, decided), outcomes, _induced(posterior)
        found.append(GroupAudit(name, len(rows), cost, missed, checks, reason, *curves))
    return tuple(found)


def _checks(data: Decisions, posterior: Posterior, rows: NDArray[np.int64]) -> tuple[Check, ...]:
    """Whether the model fits one group, on a sample of it where it is large."""
    most = max(2000, CHECKED // len(names_of(data)))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    features = data.features[rows] if data.features.shape[1] else None
    person, case = (None if labels is None else labels.codes[rows] for labels in (data.person, data.case))
    level = LEVEL / len(names_of(data))  # so that one group in twenty audits fails by chance, however many there are
    return check_fit(data.decisions[rows], posterior.take(rows), features, person, case, level)


def check_calibration(
    data: Decisions, posterior: Posterior, rows: NDArray[np.int64], at: float
) -> tuple[Check, ...]:
    """Whether the outcomes of one group bear out a posterior that was given, at the log-odds `at` of its cost.

    Eq. 1: log-odds of the outcome = a + b log-odds of the posterior. The effect is exp(a + b `at` - `at`), how many
    times the odds are what the posterior says. No check where the outcomes seen are all alike.
    """
    rows = rows[~np.isnan(data.outcomes[rows])] if data.outcomes is not None else rows[:0]
    outcomes = np.empty(0) if data.outcomes is None else data.outcomes[rows]
    if not 0.0 < outcomes.sum() < len(outcomes):
        return ()
    together = data.case or data.person
    line = fit_logistic(log_odds(posterior.take(rows)), outcomes, None if together is None else together.codes[rows])
    place = np.array([1.0, (at - line.center) / line.scale])
    shift, error = float(line.weights @ place) - at, math.sqrt(float(place @ line.covariance @ place))
    p_value = float(2.0 * stdtr(max(line.clusters - 2.0, 1.0), -abs(shift) / max(error, 1e-300)))
    passed = p_value >= LEVEL / len(names_of(data))
    what = "bear out" if passed else "contradict"
    text = f"outcomes {what} the posterior: where decisions turn, their odds are {math.exp(shift):.2f} times as high"
    return (Check("calibration", passed, text, p_value, math.exp(shift)),)


def _cost(costs: GroupCosts, index: int, level: float) -> Measure:
    low, high = costs.intervals(level)[index]
    return Measure(float(costs.cost[index]), float(low), float(high))


def _bins(probability: NDArray[np.float64], values: NDArray[np.float64]) -> Bins:
    """Shares of `values` (NaN where unseen) in bins of equal counts of the posterior, with exact 95 % intervals."""
    seen = ~np.isnan(values)
    probability, values = probability[seen], values[seen]
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(BINS, max(1, len(order) // 10)))
    hits, counts = np.array([values[part].sum() for part in parts]), np.array([len(part) for part in parts])
    low = np.where(hits == 0, 0.0, beta.ppf(0.025, np.maximum(hits, 0.5), counts - hits + 1))
    high = np.where(hits == counts, 1.0, beta.ppf(0.975, hits + 1, np.maximum(counts - hits, 0.5)))
    at = np.array([probability[part].mean() for part in parts])
    return Bins(*(tuple(column.tolist()) for column in (at, hits / counts, low, high, counts)))


def _induced(posterior: Posterior) -> Bins | None:
    """The posterior along its score, in steps of equal counts; None for one that was given."""
    if posterior.outcomes is None:
        return None
    parts = np.array_split(np.argsort(posterior.score, kind="stable"), min(DRAWN, len(posterior)))
    means = [[column[part].mean() for part in parts] for column in (posterior.score, posterior.probability)]
    error = np.array([posterior.error[part].max() for part in parts])
    at, middle = np.array(means)
    low, high = np.clip(middle - error, 0.0, 1.0), np.clip(middle + error, 0.0, 1.0)
    counts = np.array([len(part) for part in parts])
    return Bins(*(tuple(column.tolist()) for column in (at, middle, low, high, counts)))


def shifts_of(data: Decisions, evidence: Evidence) -> tuple[Shift, ...]:
    """Costs, if unseen outcomes are unlike the seen ones; none where all were seen, or the posterior was given."""
    posterior, seen = evidence.posterior, data.seen
    if posterior is None or posterior.outcomes is None or seen is None or seen.complete:
        return ()
    group, clusters, found = codes_of(data), clusters_of(data), []
    for case in selective_labels(posterior, data.decisions, ODDS, groups=group):
        ends = [group_costs(data.decisions, one, group, clusters).cost for one in (case.lowest, case.highest)]
        costs = tuple((float(low), float(high)) for low, high in zip(*ends, strict=True))
        found.append(Shift(case.odds, costs, _shift_words(case.odds, costs)))
    return tuple(found)


def _shift_words(odds: float, costs: tuple[tuple[float, float], ...]) -> str:
    known = [pair for pair in costs if not any(map(math.isnan, pair))]
    apart = len(known) > 1 and max(low for low, _ in known) > min(high for _, high in known)
    what = "the costs that differ most stay apart" if apart else "the costs could all be equal"
    return f"unseen outcomes have up to {odds:g} times the odds of seen ones of the same record, or 1/{odds:g}: {what}"

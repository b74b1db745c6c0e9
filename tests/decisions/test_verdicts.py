"""What an audit concludes of a pair: intervals of differences, corrected p-values, readings that disagree."""

import math

import numpy as np
import pytest
from scipy.special import logit

from demonstrably.decisions.auditing import GroupAudit, Measure
from demonstrably.decisions.conditional import Conditional
from demonstrably.decisions.crossing import GroupCosts
from demonstrably.decisions.readings import Evidence
from demonstrably.decisions.verdicts import holm, overall, pairs_of


def costs_of(odds, covariance):
    count = len(odds)
    degrees = np.full(count, 500.0)
    return GroupCosts(np.asarray(odds), covariance, degrees, (None,) * count, np.full(count, 100), ("",) * count)


def concluded(costs, shared=None, effect=None, error=0.01):
    """The pairs of groups a, b, ...; `effect` of equal records on the decisions about b."""
    none = Measure(math.nan, math.nan, math.nan)
    groups = [GroupAudit("ab"[index], 100, none, None, (), "") for index in range(len(costs.logit))]
    records = None
    if effect is not None:
        one = (effect,)
        records = Conditional(("b",), "a", one, one, one, one, 0.95, np.array([[error**2]]), 500.0)
    return pairs_of(Evidence(None, costs, shared), groups, records, 0.95)


@pytest.mark.parametrize(("errors", "correlation"), [((0.05, 0.5), 0.0), ((0.3, 0.2), 0.6)])
def test_intervals_of_a_difference_cover_it_where_groups_are_known_unequally_well(errors, correlation):
    draw, truth = np.random.default_rng(0), np.array([0.1, 0.45])
    covariance = np.outer(errors, errors) * np.array([[1.0, correlation], [correlation, 1.0]])
    held = 0
    for odds in draw.multivariate_normal(logit(truth), covariance, 400):
        (pair,) = concluded(costs_of(odds, covariance))
        held += pair.difference.low <= truth[1] - truth[0] <= pair.difference.high
    assert 0.92 < held / 400 < 0.98


def test_holm_multiplies_the_least_by_their_number_and_never_falls():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_readings_that_disagree_leave_a_pair_open():
    near, far = (costs_of(logit([0.3, other]), 0.01 * np.eye(2)) for other in (0.3, 0.5))
    assert concluded(far, far, -0.2)[0].verdict == "difference"
    open_ones = {
        "read as one for all, they differ by more than chance": (near, far, 0.0),
        "more than chance, if the posterior is read within each group": (far, near, -0.2),
        "treated alike": (far, far, -0.005),
        "direction": (far, far, 0.2),
        "no equal records": (far, far, math.nan),
        "not treated alike": (near, near, -0.2),
    }
    for words, readings in open_ones.items():
        (pair,) = concluded(*readings)
        assert pair.verdict == "not identified" and words in pair.text
    assert concluded(near, near, 0.005)[0].verdict == "no difference"
    assert concluded(near, near, math.nan)[0].verdict == "no difference"


def test_one_small_p_value_among_many_pairs_is_no_disagreement():
    odds = logit([0.3, 0.3, 0.3, 0.3, 0.3, 0.36])  # the last differs from each with p about 0.05 or less
    draw = np.random.default_rng(3)
    none = Measure(math.nan, math.nan, math.nan)
    costs = costs_of(odds + 0.01 * draw.normal(size=6), 0.0081 * np.eye(6))
    groups = [GroupAudit(str(index), 100, none, None, (), "") for index in range(6)]
    pairs = pairs_of(Evidence(None, costs, None), groups, None, 0.95)
    assert min(pair.p_values["cost"] for pair in pairs) < 0.05
    assert {pair.verdict for pair in pairs} == {"no difference"}
    told = [pair.p_values["cost"] < 0.05 for pair in pairs]
    assert told == ["may be chance among so many pairs" in pair.text for pair in pairs]


def test_the_statement_names_some_pairs_and_counts_the_others():
    none = Measure(math.nan, math.nan, math.nan)
    odds = logit(np.array([0.1, 0.3, 0.5, 0.7, 0.9]))
    groups = [GroupAudit(str(index), 100, none, None, (), "") for index in range(5)]
    pairs = pairs_of(Evidence(None, costs_of(odds, 0.0001 * np.eye(5)), None), groups, None, 0.95)
    verdict, statement = overall(groups, pairs, "")
    assert verdict == "difference" and statement.endswith("; and 7 more pairs") and statement.count("costs differ") == 3


def test_costs_are_probabilities_apart():
    (pair,) = concluded(costs_of(logit([0.2, 0.7]), 0.01 * np.eye(2)))
    assert pair.difference.point == pytest.approx(0.5) and pair.difference.low > 0.0

"""Equal records treated alike: size and power of the partialled-out effect, and two-way clusters against a formula."""

import numpy as np
import pytest

from demonstrably.decisions.conditional import cluster_sum, conditional_test

from .made_people import sigmoid


def records(seed, effect, rows=2500):
    """Decisions that bend in the features, a group that goes with them, judges with leanings of their own."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(rows, 3))
    group = (draw.random(rows) < sigmoid(1.2 * features[:, 0])).astype(np.int64)
    judge = draw.integers(0, 60, rows)
    logit = 0.5 * features[:, 0] + np.sin(2 * features[:, 1]) + 0.5 * draw.normal(size=60)[judge] + effect * group
    return (draw.random(rows) < sigmoid(logit)).astype(float), features, group, judge


def test_an_effect_is_found_and_its_direction_told():
    decisions, features, group, judge = records(0, 0.8)
    found = conditional_test(decisions, features, group, ("a", "b"), (judge,))
    assert found.reference in ("a", "b") and len(found.groups) == 1
    effect, p_value = found.between("a", "b")
    assert 0.1 < effect < 0.25 and p_value < 1e-6
    assert found.between("b", "a")[0] == pytest.approx(-effect)
    assert found.to_dict()["groups"][0]["group"] == found.groups[0]


def test_a_group_that_the_record_tells_outright_is_not_compared():
    decisions, features, group, _ = records(1, 0.0)
    found = conditional_test(decisions, np.c_[features, group], group, ("a", "b"))
    assert np.isnan(found.effect[0]) and found.to_dict()["groups"][0]["effect"] is None
    assert np.isnan(found.between("a", "b")[0])


def test_decisions_that_are_all_alike_outside_a_fold_are_expected_to_be_so():
    _, features, group, _ = records(2, 0.0, 300)
    judge = np.arange(300) % 2
    found = conditional_test((judge == 1).astype(float), features, group, ("a", "b"), (judge,))
    assert found.degrees == 1.0 and np.isfinite(found.effect[0])


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    alarms = 0
    for seed in range(40):
        decisions, features, group, judge = records(seed, 0.0, 1200)
        alarms += conditional_test(decisions, features, group, ("a", "b"), (judge,)).p_value[0] < 0.05
    assert alarms <= 7  # 5 % of 40 is 2; more than 7 have probability 0.001


def test_two_way_clusters_are_the_sum_less_the_intersections():
    draw = np.random.default_rng(0)
    scores, first, second = draw.normal(size=(300, 1)), draw.integers(0, 30, 300), draw.integers(0, 40, 300)

    def one_way(codes):
        sums = np.array([scores[codes == code].sum() for code in np.unique(codes)])
        return (sums**2).sum() * len(sums) / (len(sums) - 1)

    expected = one_way(first) + one_way(second) - one_way(first * 40 + second)
    assert cluster_sum(scores, (first, second))[0, 0] == pytest.approx(expected)
    assert cluster_sum(scores, (first,))[0, 0] == pytest.approx(one_way(first))
    assert cluster_sum(scores, ())[0, 0] == pytest.approx((scores**2).sum())

"""Rates of groups: intervals that cover, clusters, pairs, and the hybrid test's promise."""

import json

import numpy as np
import pytest
from scipy.special import betaincc

from demonstrably.decisions.disagreement import rate_interval
from demonstrably.decisions.rate_intervals import holm, p_values, spread_of
from demonstrably.decisions.rates import benchmark_test, group_metrics, hybrid_test, outcome_test


def stops(seed: int, thresholds: tuple[float, float], shapes: tuple, number: int = 4000):
    """Decisions at each group's threshold on its own Beta risks, and their outcomes where decided 1."""
    rng = np.random.default_rng(seed)
    group = np.repeat(["a", "b"], number)
    risk = np.concatenate([rng.beta(*shape, number) for shape in shapes])
    decisions = (risk >= np.repeat(thresholds, number)).astype(float)
    outcomes = (rng.random(2 * number) < risk).astype(float)
    return decisions, np.where(decisions == 1.0, outcomes, np.nan), group


def test_without_clusters_a_rate_has_the_exact_interval():
    decisions, group = np.array([1, 0, 0, 1, 1, 0, 0, 0.0]), np.array([0, 0, 0, 1, 1, 1, 1, 1])
    found = benchmark_test(decisions, group)
    assert [(one.name, one.count, one.total) for one in found.rates] == [("0", 1, 3), ("1", 2, 5)]
    for one in found.rates:
        assert (one.low, one.high) == pytest.approx(rate_interval(one.count, one.total))
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(2 / 5 - 1 / 3)
    assert pair.low < 0.0 < pair.high and pair.p_value == pytest.approx(1.0, abs=0.2)


def test_p_value_is_where_the_interval_reaches_zero():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 600)
    decisions = (rng.random(600) < 0.3 + 0.1 * group).astype(float)
    for pair in benchmark_test(decisions, group).pairs:
        narrow = benchmark_test(decisions, group, level=1.0 - pair.p_value * 1.01)
        wide = benchmark_test(decisions, group, level=1.0 - pair.p_value * 0.99)
        inside, outside = (
            next(one for one in found.pairs if (one.first, one.second) == (pair.first, pair.second))
            for found in (wide, narrow)
        )
        assert inside.low <= 0.0 <= inside.high and not outside.low <= 0.0 <= outside.high


def test_holm():
    assert holm(np.array([0.01, 0.04, 0.03, 0.2])).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.2])


def test_every_decision_its_own_cluster_changes_almost_nothing():
    decisions, _, group = stops(0, (0.3, 0.3), ((2, 8), (3, 5)))
    plain, alone = benchmark_test(decisions, group), benchmark_test(decisions, group, (np.arange(len(group)),))
    for one, other in zip(plain.rates, alone.rates, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=2e-4)
    twice = benchmark_test(decisions, group, (np.arange(len(group)), np.arange(len(group))[::-1]))
    assert twice.rates[0].low == pytest.approx(alone.rates[0].low, abs=1e-6)


def test_duplicated_decisions_in_clusters_tell_no_more():
    decisions, _, group = stops(1, (0.3, 0.3), ((2, 8), (3, 5)), 500)
    person = np.arange(len(group))
    once = benchmark_test(decisions, group, (person,))
    often = benchmark_test(np.tile(decisions, 5), np.tile(group, 5), (np.tile(person, 5),))
    for one, other in zip(once.rates, often.rates, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=2e-3)
    assert once.clusters == often.clusters == (1000,)


def test_people_who_decide_on_both_groups_sharpen_the_difference():
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(60), 40)
    group = np.tile([0, 1], 1200)
    strict = rng.normal(0, 1.5, 60)[person]
    decisions = (rng.logistic(size=2400) + strict > 0.0).astype(float)
    found = benchmark_test(decisions, group, (person,))
    (pair,) = found.pairs
    widths = [one.high - one.low for one in found.rates]
    assert pair.high - pair.low < 0.7 * min(widths)


def test_two_ways_are_wider_than_one():
    rng = np.random.default_rng(3)
    person, case = np.divmod(np.arange(40 * 50), 50)
    group = case % 2
    score = rng.normal(size=40)[person] + 2.0 * rng.normal(size=50)[case] + rng.normal(size=2000)
    decisions = (score > 0.0).astype(float)
    one, two = benchmark_test(decisions, group, (person,)), benchmark_test(decisions, group, (person, case))
    assert two.pairs[0].high - two.pairs[0].low > 2.0 * (one.pairs[0].high - one.pairs[0].low)
    assert two.clusters == (40, 50)


def test_a_group_without_hits_seen_and_groups_of_three():
    decisions = np.array([1, 1, 0, 1, 0, 0, 0, 0, 1.0])
    outcomes = np.array([1, np.nan, 0, 0, np.nan, 1, np.nan, 1, 1.0])
    group = np.repeat(["a", "b", "c"], 3)
    found = outcome_test(decisions, outcomes, group, (np.arange(9) // 2,))
    assert [(one.count, one.total) for one in found.rates] == [(1, 1), (0, 1), (1, 1)] and found.unseen == 1
    nobody = outcome_test(decisions[:6], np.where(group[:6] == "b", np.nan, outcomes[:6]), group[:6])
    assert nobody.rates[1].rate is None and nobody.pairs[0].difference is None
    assert (nobody.pairs[0].low, nobody.pairs[0].high, nobody.pairs[0].p_value) == (-1.0, 1.0, 1.0)
    assert "none seen" in str(nobody) and json.loads(json.dumps(nobody.to_dict()))["rates"][1]["rate"] is None
    assert hybrid_test(benchmark_test(decisions[:6], group[:6]), nobody).pairs[0].lower is None


def test_hybrid_concludes_only_where_both_tests_agree():
    same = stops(4, (0.3, 0.3), ((2, 8), (3, 5)))
    benchmark, outcome = benchmark_test(same[0], same[2]), outcome_test(*same)
    assert benchmark.pairs[0].adjusted < 1e-6 and outcome.pairs[0].adjusted < 1e-3  # both cry, in opposite directions
    assert "b is treated more harshly than a" in str(benchmark) and "a is treated more harshly" in str(outcome)
    found = hybrid_test(benchmark, outcome)
    assert found.pairs[0].lower is None and "inconclusive" in str(found) and "monotone likelihood" in str(found)
    biased = stops(5, (0.3, 0.08), ((2, 8), (3, 6)))
    found = hybrid_test(benchmark_test(biased[0], biased[2]), outcome_test(*biased))
    assert found.pairs[0].lower == "b" and "b is treated more harshly than a" in str(found)
    loan = hybrid_test(benchmark_test(biased[0], biased[2], burden=False), outcome_test(*biased, burden=False))
    assert loan.pairs[0].lower == "b" and "a is treated more harshly than b" in str(loan)
    json.dumps(found.to_dict())


def test_where_the_densities_ratio_is_monotone_both_tests_agreeing_are_right():
    """Beta(a, b) has a monotone ratio to Beta(c, d) exactly where a - c and b - d differ in sign."""
    rng = np.random.default_rng(6)
    number = 40_000
    first, second = rng.uniform(0.3, 8.0, (2, 2, number))
    one, other = rng.uniform(0.02, 0.8, (2, number))

    def rates(shape, threshold):
        rate = betaincc(*shape, threshold)
        with np.errstate(invalid="ignore", divide="ignore"):
            hit = shape[0] / shape.sum(axis=0) * betaincc(shape[0] + 1.0, shape[1], threshold) / rate
        return rate, hit

    (rate, hit), (rate_other, hit_other) = rates(first, one), rates(second, other)
    usable = (rate > 1e-8) & (rate_other > 1e-8)
    monotone = (first[0] - second[0]) * (first[1] - second[1]) <= 0.0
    agree = usable & ((rate > rate_other) == (hit < hit_other))
    wrong = agree & ((rate > rate_other) != (one < other))
    assert (agree & monotone).sum() > 6_000
    assert not (wrong & monotone).any()
    assert wrong.sum() > 20  # without the assumption the tests can agree and be wrong
    either = ((rate > rate_other) == (one < other)) | ((hit < hit_other) == (one < other))
    assert either[usable & monotone].all()


def test_metrics_are_fairlearns():
    decisions = np.array([1, 0, 1, 1, 0, 0, 1, 0.0])
    outcomes = np.array([0, 0, 1, np.nan, 1, 0, 1, np.nan])
    group = np.repeat(["a", "b"], 4)
    found = group_metrics(decisions, outcomes, group)
    assert found["a"] == pytest.approx(
        {"selection rate": 0.75, "true positive rate": 1.0, "false positive rate": 0.5, "false negative rate": 0.0}
    )
    assert found["b"]["true positive rate"] == pytest.approx(0.5) and found["b"]["selection rate"] == 0.25
    selective = group_metrics(decisions, np.where(decisions == 1.0, outcomes, np.nan), group)
    assert set(selective["a"]) == {"selection rate"}  # the others would be 1 by construction


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2, 1], [0, 1, 1]), "hold 2 in row 1"),
        (([0, np.nan, 1], [0, 1, 1]), "0 or 1"),
        (([0, 1], [0, 1, 1]), "group has shape"),
        (([0, 1], [0, 0]), "one group only"),
        (([], []), "one row"),
        (([0, 1], [0, 1], (np.zeros(2),) * 3), "3 ways"),
        (([0, 1], [0, 1], (np.zeros(3),)), "clusters have shape"),
        (([0, 1], [0, 1], (), 1.0), "level"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        benchmark_test(*arguments)


def test_hybrid_refuses_tests_that_do_not_belong_together():
    benchmark = benchmark_test([0, 1, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="then an outcome test"):
        hybrid_test(benchmark, benchmark)
    with pytest.raises(ValueError, match="different groups"):
        hybrid_test(benchmark, outcome_test([1, 1], [1, 0], ["a", "b"]))


@pytest.mark.slow
def test_clustered_intervals_and_tests_hold_their_level():
    """30 people, who differ, decide on both groups at one rate: 2,000 data sets."""
    rng = np.random.default_rng(7)
    person = np.repeat(np.arange(30), 40)
    group = rng.integers(0, 2, 1200)
    rejected, covered = 0, 0
    for _ in range(2000):
        chance = rng.beta(3.0, 5.0, 30)[person]
        decisions = (rng.random(1200) < chance).astype(float)
        spread = spread_of(decisions, group, 2, (person,))
        low, high = spread.limits(np.array(0.05))
        covered += int(low[0] <= 3 / 8 <= high[0])
        rejected += int(p_values(spread, np.array([[0, 1]]))[0] < 0.05)
    assert 0.935 <= covered / 2000 <= 0.985
    assert rejected / 2000 <= 0.06


@pytest.mark.slow
def test_hybrid_rarely_errs_at_equal_thresholds():
    """Equal thresholds, other risks: the outcome test cries mostly, the hybrid in at most 5 %."""
    cries = {"outcome": 0, "hybrid": 0}
    for seed in range(400):
        data = stops(seed, (0.3, 0.3), ((2, 8), (3, 5)), 2000)
        outcome = outcome_test(*data)
        cries["outcome"] += int(outcome.pairs[0].adjusted <= 0.05)
        cries["hybrid"] += int(hybrid_test(benchmark_test(data[0], data[2]), outcome).pairs[0].lower is not None)
    assert cries["outcome"] >= 300 and cries["hybrid"] == 0

"""Intervals against scipy, exact coverage, and the score record."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from demonstrably.evaluation.intervals import (
    Measured,
    Score,
    _predictable_stakes,
    bounded_interval,
    bounded_sequence,
    rate_interval,
    rate_sequence,
    return_interval,
    score_of,
)
from demonstrably.evaluation.sequential import betting_test


def table(returns, success=None, seeds=None):
    """Episode table from (members, episodes) arrays."""
    returns = np.atleast_2d(np.asarray(returns, dtype=float))
    members, episodes = returns.shape
    seeds = np.arange(episodes) if seeds is None else np.asarray(seeds)
    none = pa.array([None] * returns.size, pa.bool_())
    return pa.table(
        {
            "member": np.repeat(np.arange(members), episodes),
            "seed": np.tile(seeds, members),
            "return": returns.ravel(),
            "length": np.full(returns.size, 10),
            "success": none if success is None else pa.array(np.ravel(success).astype(bool)),
        }
    )


@pytest.mark.parametrize(("count", "episodes"), [(0, 1), (1, 1), (0, 20), (20, 20), (37, 50), (3, 700)])
def test_rate_interval_is_clopper_pearson(count, episodes):
    for level in (0.9, 0.95):
        exact = stats.binomtest(count, episodes).proportion_ci(level, method="exact")
        assert rate_interval(count, episodes, level) == pytest.approx((exact.low, exact.high), abs=1e-12)


def test_rate_interval_never_covers_less_than_its_level():
    for episodes in (5, 50):
        ends = np.array([rate_interval(count, episodes) for count in range(episodes + 1)])
        for rate in np.linspace(0.005, 0.995, 67):
            inside = (ends[:, 0] <= rate) & (rate <= ends[:, 1])
            assert stats.binom.pmf(np.arange(episodes + 1), episodes, rate)[inside].sum() >= 0.95


@pytest.mark.parametrize("bad", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(bad):
    with pytest.raises(ValueError, match="0 <= count <= episodes"):
        rate_interval(*bad)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rate_interval(1, 2, level=1.5)


def test_rate_sequence_holds_at_all_times_at_once():
    """Exact probability, by dynamic programming, that the rate ever leaves the interval in 250 episodes."""
    for rate in (0.03, 0.5):
        alive, left = np.array([1.0]), 0.0
        for n in range(1, 251):
            alive = np.append(alive * (1 - rate), 0.0) + np.insert(alive * rate, 0, 0.0)
            low, high = rate_sequence(np.arange(n + 1), n)
            out = (rate < low) | (rate > high)
            left, alive = left + alive[out].sum(), np.where(out, 0.0, alive)
        assert 0.01 < left <= 0.05


def test_rate_sequence_is_wider_than_a_fixed_interval_and_keeps_its_shape():
    counts, episodes = np.array([[0, 20], [37, 0]]), np.array([[20, 20], [50, 0]])
    low, high = rate_sequence(counts, episodes)
    assert low.shape == high.shape == (2, 2)
    assert (low[0, 0], high[0, 1], low[1, 1], high[1, 1]) == (0.0, 1.0, 0.0, 1.0)
    fixed = rate_interval(37, 50)
    assert low[1, 0] < fixed[0] < fixed[1] < high[1, 0] < fixed[1] + 0.1
    with pytest.raises(ValueError, match="count <= episodes"):
        rate_sequence([3], [2])


@pytest.mark.parametrize("draw", ["beta", "thirds", "catastrophe"])
def test_bounded_interval_covers(draw):
    generator, mean = np.random.default_rng(3), {"beta": 0.8, "thirds": 0.6, "catastrophe": 0.95}[draw]
    draws = {
        "beta": lambda: generator.beta(4, 1, 40),
        "thirds": lambda: generator.binomial(3, 0.6, 40) / 3,
        "catastrophe": lambda: (generator.random(40) < 0.95).astype(float),
    }
    ends = np.array([bounded_interval(draws[draw]()) for _ in range(400)])
    covered = np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1]))
    assert covered >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 400)
    assert (ends[:, 1] - ends[:, 0]).mean() < 0.35


def test_stakes_do_not_see_the_score_they_are_laid_on():
    scores = np.random.default_rng(10).random(20)
    for changed in range(20):
        other = scores.copy()
        other[changed] = 1 - scores[changed]
        same = _predictable_stakes(scores, 3.0) == _predictable_stakes(other, 3.0)
        assert same[: changed + 1].all() and not same[changed + 1 :].any()


def test_bounded_interval_is_nearly_exact_for_successes():
    scores = np.tile([1.0, 1.0, 0.0, 1.0], 25)
    low, high = bounded_interval(scores)
    exact = rate_interval(75, 100)
    assert low == pytest.approx(exact[0], abs=0.05)
    assert high == pytest.approx(exact[1], abs=0.05)


def test_bounded_sequence_agrees_with_the_paired_test():
    generator = np.random.default_rng(4)
    for shift in (-0.3, -0.1, 0.0, 0.05, 0.2):
        differences = np.clip(generator.normal(shift, 0.4, 120), -1, 1)
        low, high = bounded_sequence((differences + 1) / 2)
        needed = math.log(2 / 0.05)
        assert (low > 0.5) == (betting_test(differences).max() >= needed)
        assert (high < 0.5) == (betting_test(-differences).max() >= needed)


def test_bounded_intervals_mirror():
    scores = np.random.default_rng(5).beta(1, 3, 30)
    for interval in (bounded_interval, bounded_sequence):
        low, high = interval(scores)
        assert interval(1 - scores) == pytest.approx((1 - high, 1 - low), abs=1e-9)
        with pytest.raises(ValueError, match="rescale"):
            interval([0.5, 1.5])
        with pytest.raises(ValueError, match="at least one"):
            interval([])


def test_return_interval_is_students():
    returns = np.random.default_rng(6).normal(100, 20, 12)
    exact = stats.t.interval(0.95, 11, loc=returns.mean(), scale=stats.sem(returns))
    assert return_interval(returns) == pytest.approx(exact)
    assert return_interval([3.0]) == (-math.inf, math.inf)
    assert return_interval([500.0] * 5) == (500.0, 500.0)


def test_score_of_one_member():
    score = score_of(table(np.arange(50.0), np.arange(50) < 37))
    assert str(score.success) == "0.74 [0.60, 0.85], 37/50"
    assert score.to_dict()["success"] == pytest.approx(
        {"mean": 0.74, "low": 0.5966, "high": 0.8537, "count": 37, "episodes": 50}, abs=1e-4
    )
    assert score.returns.mean == 24.5
    assert str(score_of(table([[500.0, 500.0]])).returns) == "500 (no spread), 2 episodes"
    assert score.members == () and score.spread is None


def test_score_of_members_counts_seeds_not_episodes():
    generator = np.random.default_rng(7)
    same = np.tile(generator.random(40) < 0.7, (3, 1))
    apart = generator.random((3, 40)) < 0.7
    copied, independent = score_of(table(same, same)), score_of(table(apart, apart))
    single = score_of(table(same[0], same[0]))
    assert copied.success.episodes == 120
    assert copied.success.high - copied.success.low >= single.success.high - single.success.low
    assert independent.success.high - independent.success.low < 0.85 * (copied.success.high - copied.success.low)
    assert copied.returns.low == pytest.approx(single.returns.low)  # copies add nothing
    assert copied.spread.success == 0.0
    assert independent.spread.success == pytest.approx(apart.mean(axis=1).std(ddof=1))
    assert [member.success.count for member in independent.members] == apart.sum(axis=1).tolist()


def test_pooled_interval_covers_when_seeds_decide():
    """Members that fail on the same seeds: the interval over 3 x 40 "independent" episodes would not cover."""
    generator, inside, naive = np.random.default_rng(8), 0, 0
    for _ in range(200):
        lucky = generator.random(40) < 0.6
        success = np.stack([lucky ^ (generator.random(40) < 0.03) for _ in range(3)])
        mean = 0.6 * 0.97 + 0.4 * 0.03
        score = score_of(table(success, success)).success
        inside += score.low <= mean <= score.high
        low, high = rate_interval(int(success.sum()), 120)
        naive += low <= mean <= high
    assert inside >= 184  # 0.95 less two standard errors
    assert naive < 170


def test_score_of_uses_common_seeds_and_counts_a_seed_once():
    first, second = table([[1.0, 2.0, 3.0]], [[1, 0, 1]]), table([[5.0, 7.0]], [[1, 1]], seeds=[1, 2])
    second = second.set_column(0, "member", pa.array([1, 1]))
    score = score_of(pa.concat_tables([first, first, second]))
    assert (score.success.count, score.success.episodes) == (3, 4)
    assert score.returns.mean == (2 + 3 + 5 + 7) / 4
    assert score.members[0].success.episodes == 3
    alone = table([[5.0]], [[1]], seeds=[9]).set_column(0, "member", pa.array([1]))
    with pytest.raises(ValueError, match="share no seed"):
        score_of(pa.concat_tables([first, alone]))


def test_score_without_success_and_with_part_of_it():
    score = score_of(table([[1.0, 3.0], [2.0, 4.0]]))
    assert score.success is None and score.to_dict()["success"] is None
    assert score.spread.success is None and score.spread.returns == pytest.approx(math.sqrt(0.5))
    part = pa.concat_tables([table([1.0]), table([2.0], [1], seeds=[1])])
    with pytest.raises(ValueError, match="1 of 2 episodes have no success"):
        score_of(part)


def test_score_of_refuses_what_it_cannot_score():
    episodes = table([1.0, 2.0], [1, 0])
    with pytest.raises(ValueError, match="empty"):
        score_of(episodes.slice(0, 0))
    with pytest.raises(ValueError, match="no column success"):
        score_of(episodes.drop_columns("success"))
    with pytest.raises(ValueError, match="several checkpoints"):
        score_of(episodes.append_column("checkpoint", pa.array([5, 10])))


def test_score_becomes_json_and_back():
    generator = np.random.default_rng(9)
    for returns in (generator.random((1, 1)), generator.random((3, 6))):
        for success in (None, returns > 0.5):
            score = score_of(table(returns, success))
            written = json.dumps(score.to_dict(), allow_nan=False)
            assert Score.from_dict(json.loads(written)) == score
            assert str(score)
    assert Measured(1.0, -math.inf, math.inf, 1).to_dict()["low"] is None

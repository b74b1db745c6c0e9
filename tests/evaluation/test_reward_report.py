"""Correlations of recovered with true returns, worked out by hand, and what is said where there are none."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation import reward_report as module

reward_report = partial(module.reward_report, repetitions=50)


def recorded(rewards: np.ndarray, lengths: list[int], rewarded: bool = True) -> Demonstrations:
    steps = sum(lengths)
    states = np.zeros((steps + len(lengths), 1), np.float32)
    return Demonstrations.from_arrays(states, np.zeros(steps, np.int64), rewards if rewarded else None, lengths=lengths)


@pytest.fixture
def drawn() -> tuple[np.ndarray, Demonstrations]:
    """Rewards of two members, the second without any tie to the true ones; 12 episodes of 3 to 5 steps."""
    draws = np.random.default_rng(0)
    lengths = [3, 4, 5] * 4
    true = draws.normal(size=sum(lengths)) + np.repeat(draws.normal(size=12), lengths)
    recovered = np.stack([3 * true + draws.normal(size=true.size), draws.normal(size=true.size)])
    return recovered, recorded(true.astype(np.float32), lengths)


def test_correlations_equal_those_of_scipy(drawn) -> None:
    rewards, demos = drawn
    found = reward_report(rewards, demos)
    starts = np.cumsum(demos.lengths) - demos.lengths
    returns = np.add.reduceat(rewards, starts, axis=1)
    np.testing.assert_allclose(found.recovered, returns)
    true = demos.table.column("return").to_numpy()
    assert found.pearson.members == pytest.approx([pearsonr(row, true)[0] for row in returns])
    assert found.spearman.members == pytest.approx([spearmanr(row, true)[0] for row in returns])
    parts = np.split(np.arange(rewards.shape[1]), starts[1:])
    inside = [np.mean([pearsonr(row[part], demos.rewards[part])[0] for part in parts]) for row in rewards]
    assert found.within.members == pytest.approx(inside)
    assert found.by_length == pytest.approx(spearmanr(demos.lengths, true)[0])
    for one in (found.pearson, found.spearman, found.within):
        assert one.mean.mean == pytest.approx(np.mean(one.members))
        assert one.mean.low < one.mean.mean < one.mean.high and one.mean.episodes == 12
    assert found.pearson.members[0] > 0.9 and "; members 0.9" in str(found)


def test_an_ended_episode_goes_on_earning_what_comes_afterwards() -> None:
    states, over = np.zeros((15, 1), np.float32), np.zeros(12, bool)
    over[2] = True  # the first of three episodes, of 3, 4 and 5 steps
    rows = np.ones(12, np.float32)
    demos = Demonstrations.from_arrays(states, np.zeros(12, np.int64), rows, over, lengths=[3, 4, 5])
    found = reward_report(np.stack([rows, 2 * rows]), demos, afterwards=np.array([-1.0, 0.5]))
    assert found.recovered == ((3 - 2, 4, 5), (6 + 1, 8, 10))
    assert "go on with it up to step 5" in str(found) and found.to_dict()["afterwards"] == [-1.0, 0.5]


def test_scale_and_shaping_leave_episode_returns_alone(drawn) -> None:
    rewards, demos = drawn
    starts = np.cumsum(demos.lengths) - demos.lengths
    first = np.isin(np.arange(rewards.shape[1]), starts)
    shaped = 2.5 * demos.rewards + np.where(first, 4.0, 0.0) - np.where(np.roll(first, -1), 4.0, 0.0)
    found = reward_report(shaped[None], demos)
    assert found.pearson.mean.mean == pytest.approx(1.0) == found.spearman.mean.low
    assert found.within.mean.mean < 0.9


def test_a_constant_a_step_leaves_means_alone(drawn) -> None:
    demos = drawn[1]
    found = reward_report(demos.rewards[None] - 50.0, demos)
    assert found.spearman.mean.mean < 0.5 and found.a_step.mean.mean == pytest.approx(1.0)
    assert found.within.mean.mean == pytest.approx(1.0)
    assert reward_report(np.arange(40.0)[None], recorded(np.arange(40.0), [10] * 4)).a_step is None


def test_the_same_call_gives_the_same_interval(drawn) -> None:
    assert reward_report(*drawn) == reward_report(*drawn)
    assert reward_report(*drawn, level=0.5).pearson.mean.low > reward_report(*drawn).pearson.mean.low


def test_alike_episodes_have_no_correlation() -> None:
    rewards = np.random.default_rng(0).normal(size=(2, 40))
    found = reward_report(rewards, recorded(np.ones(40, np.float32), [10] * 4))
    assert found.pearson.mean is None and "the true returns are all alike (10)" in str(found.pearson)
    assert "rewards are alike" in str(found.within) and "nan" not in str(found)
    assert "add worse ones" in str(found) and found.by_length is None
    assert "NaN" not in json.dumps(found.to_dict())


def test_a_constant_reward_has_no_correlation() -> None:
    true = np.random.default_rng(0).normal(size=40).astype(np.float32)
    found = reward_report(np.ones((1, 40)), recorded(true, [10] * 4))
    assert "recovered returns are all alike" in str(found.spearman) and "nan" not in str(found)
    half = reward_report(np.stack([np.ones(40), true]), recorded(true, [10] * 4))
    assert half.spearman.members == (None, pytest.approx(1.0)) and half.spearman.mean.mean == pytest.approx(0.5)
    assert "members undefined, 1.00" in str(half)


def test_hardly_different_episodes_are_named() -> None:
    true = 10 + 0.1 * np.random.default_rng(0).normal(size=40).astype(np.float32)
    assert "hardly differ" in str(reward_report(true[None], recorded(true, [10] * 4)))


def test_few_episodes_are_named() -> None:
    true = np.random.default_rng(0).normal(size=20).astype(np.float32)
    assert "takes 3 episodes and there are 2" in str(reward_report(true[None], recorded(true, [10] * 2)).pearson)
    assert "4 episodes are few" in str(reward_report(true[None], recorded(true, [5] * 4)))


def test_unknown_steps_are_left_out_of_both_returns() -> None:
    true = np.arange(1.0, 13.0, dtype=np.float32)
    rewards = true[None].astype(np.float64).copy()
    rewards[0, 3] = np.nan
    found = reward_report(rewards, recorded(true, [4, 4, 4]))
    assert found.true == (6.0, 26.0, 42.0) == found.recovered[0] and found.unscored == 1
    assert "1 step without a recorded following observation" in str(found)
    rewards[0, :4] = np.nan
    with pytest.raises(ValueError, match="no step of demo_0"):
        reward_report(rewards, recorded(true, [4, 4, 4]))


def test_without_true_rewards_there_are_scores_only() -> None:
    found = reward_report(np.ones((2, 12)), recorded(np.ones(12), [4, 4, 4], rewarded=False))
    assert found.true is None and found.pearson is None and found.means().tolist() == [4.0, 4.0, 4.0]
    assert str(found) == "the episodes have no true rewards: nothing to compare with"
    assert found.to_dict()["episodes"][0]["return"] is None


def test_another_shape_is_refused(drawn) -> None:
    with pytest.raises(ValueError, match=r"give \(members, 48\)"):
        reward_report(drawn[0][:, :5], drawn[1])


def test_a_view_is_scored_in_its_own_order(drawn) -> None:
    rewards, demos = drawn
    parts = np.split(np.arange(rewards.shape[1]), np.cumsum(demos.lengths)[:-1])
    chosen = [7, 2, 5, 0]
    found = reward_report(rewards[:, np.concatenate([parts[i] for i in chosen])], demos.select(chosen))
    whole = reward_report(rewards, demos)
    assert found.true == tuple(whole.true[i] for i in chosen)
    assert found.recovered[0] == pytest.approx([whole.recovered[0][i] for i in chosen])
    assert replace(found, notes=()).names == ("demo_7", "demo_2", "demo_5", "demo_0")

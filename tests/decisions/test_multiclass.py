"""Losses of decisions among several."""

import numpy as np
import pytest

from demonstrably.decisions.consistent import consistent_interval
from demonstrably.decisions.multiclass import fit_losses


def decided(losses, number, seed):
    """Optimal decisions, with their posteriors."""
    q = np.random.default_rng(seed).dirichlet(np.ones(losses.shape[1]), number)
    return (q @ losses.T).argmin(axis=1), q


def random_losses(actions, outcomes, seed):
    losses = np.random.default_rng(seed).random((actions, outcomes)) + 0.1
    losses[np.arange(outcomes), np.arange(outcomes)] = 0.0
    return losses / losses.sum()


@pytest.mark.parametrize("seed", range(5))
def test_two_outcomes_are_the_case_of_one_threshold(seed):
    q = np.random.default_rng(seed).random(100)
    decisions = (q >= 0.3).astype(int)
    found = fit_losses(decisions, np.stack([1 - q, q], axis=1))
    low, high = consistent_interval(decisions, q)
    assert (found.low[1, 0], found.high[1, 0]) == pytest.approx((low, high), abs=1e-7)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((1 - high, 1 - low), abs=1e-7)
    assert found.center[1, 0] == pytest.approx((low + high) / 2, abs=1e-7)
    assert found.verdict == "optimal" and found.missed == 0


@pytest.mark.parametrize(("actions", "outcomes"), [(3, 3), (4, 4), (3, 2), (5, 3)])
def test_the_true_losses_agree_and_more_decisions_leave_less(actions, outcomes):
    losses, widths = random_losses(actions, outcomes, 1), []
    for number in (100, 10_000):
        found = fit_losses(*decided(losses, number, 2), actions=actions)
        assert (found.low - 1e-7 <= losses).all() and (losses <= found.high + 1e-7).all()
        assert found.center.sum() == pytest.approx(1.0)
        taken, q = decided(losses, number, 2)
        expected = q @ found.center.T
        assert (expected[np.arange(number), taken] <= expected.min(axis=1) + 1e-7).all()
        widths.append((found.high - found.low).sum())
    assert widths[1] < widths[0]


def test_many_decisions_pin_the_losses_down():
    losses = random_losses(3, 3, 3)
    losses = (losses + 1 / 6 * (1 - np.eye(3))) / 2  # every action is at times the best
    found = fit_losses(*decided(losses, 20_000, 4))
    np.testing.assert_allclose(found.center, losses, atol=0.005)


def test_decisions_that_no_loss_explains_are_rejected():
    taken, q = decided(random_losses(3, 3, 5), 500, 6)
    taken[:100] = np.random.default_rng(7).integers(0, 3, 100)
    found = fit_losses(taken, q)
    assert (found.verdict, found.center, found.low) == ("rejected", None, None)
    assert 30 <= found.missed <= 150
    assert "no loss is stated" in str(found)
    assert found.to_dict()["center"] is None


def test_certain_cases_leave_every_loss_open():
    found = fit_losses([0, 1, 2], np.eye(3))
    assert found.verdict == "not identified"
    np.testing.assert_allclose(found.high[~np.eye(3, dtype=bool)], 1.0)
    assert "no loss" not in str(found)


def test_an_action_never_taken_is_named():
    q = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    found = fit_losses(q[:, :2].argmax(axis=1), q)
    assert "action 2" in str(found)


@pytest.mark.parametrize(
    ("decisions", "posterior", "words"),
    [
        ([0, 1], [0.2, 0.3], "see `fit_loss`"),
        ([0, 1, 2], np.full((2, 3), 1 / 3), "give one action a row"),
        ([0, 1], [[0.5, 0.5], [0.7, 0.7]], "row 1 is"),
        ([0, 1], [[np.nan, 0.5], [0.7, 0.3]], "row 0 is"),
        ([0, 3], np.full((2, 3), 1 / 3), "decision 3 in row 1"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(decisions, posterior, words):
    with pytest.raises(ValueError, match=words) as caught:
        fit_losses(decisions, posterior)
    assert "\n" not in str(caught.value)


def test_fewer_actions_than_outcomes_are_refused():
    with pytest.raises(ValueError, match="2 actions for 3 outcomes"):
        fit_losses([0, 1], np.full((2, 3), 1 / 3), actions=2)

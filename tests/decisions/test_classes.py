"""The decision maker's rules are of one of several classes."""

import numpy as np
import pytest
from scipy.special import expit

from demonstrably.decisions.classes import worse_by_chance
from demonstrably.decisions.fit import fit_loss
from demonstrably.decisions.posterior import Posterior


def gaussian(number, seed=0):
    """Two features with means -1 and 1 by outcome, and P(Y = 1) given the first, the second, and both."""
    generator = np.random.default_rng(seed)
    outcomes = generator.integers(0, 2, number)
    x = generator.normal(size=(number, 2)) + (2 * outcomes - 1)[:, None]
    return x, outcomes, [expit(2 * x[:, 0]), expit(2 * x[:, 1]), expit(2 * x.sum(axis=1))]


def test_a_wrong_class_sits_at_a_wrong_cost():
    _, _, induced = gaussian(400_000)
    found = fit_loss(induced[0] >= 0.2, classes=induced)
    assert found.verdict == "optimal"
    assert found.point == pytest.approx(0.2, abs=1e-4)
    first, second, both = found.classes
    assert (first.kept, second.kept, both.kept) == (True, False, False)
    assert both.high == pytest.approx(0.06, abs=0.005)
    assert both.disagreement / 400_000 == pytest.approx(0.139, abs=0.002)
    assert second.disagreement / 400_000 > 0.13
    assert any("dropped" in note for note in found.notes)


@pytest.mark.parametrize(("true", "cost"), [(0, 0.4), (1, 0.2), (2, 0.7)])
def test_the_true_class_and_its_cost_are_found(true, cost):
    _, _, induced = gaussian(2000, seed=true)
    found = fit_loss(induced[true] >= cost, classes=induced)
    assert [one.kept for one in found.classes] == [index == true for index in range(3)]
    assert found.interval[0] < cost <= found.interval[1]


def test_classes_that_explain_everything_at_different_costs_leave_the_loss_open():
    q = np.random.default_rng(0).random(200)
    found = fit_loss(q >= 0.3, classes=[q, q**3])
    assert found.verdict == "not identified" and found.point is None
    assert found.interval[0] < 0.3**3 and found.interval[1] >= 0.3
    assert any("equally good" in note for note in found.notes)


def test_subsets_of_columns_are_learned_from_outcomes():
    x, outcomes, induced = gaussian(6000, seed=3)
    found = fit_loss(induced[0] >= 0.3, features=x, outcomes=outcomes, classes=[[0], [1], [0, 1]])
    assert [one.name for one in found.classes] == ["feature 0", "feature 1", "features 0, 1"]
    assert [one.kept for one in found.classes] == [True, False, False]
    assert found.verdict in ("optimal", "noisy") and found.interval[0] < 0.3 < found.interval[1]


def test_a_posterior_is_a_class_and_names_are_told_apart():
    q = np.random.default_rng(1).random(300)
    found = fit_loss(q >= 0.5, classes=[Posterior.given(q), Posterior.given(q[::-1].copy())])
    assert [one.name for one in found.classes] == ["number 0 (given as exact)", "number 1 (given as exact)"]
    assert found.classes[0].kept and not found.classes[1].kept


def test_the_exact_paired_test():
    misses, best = np.zeros(10, bool), np.zeros(10, bool)
    assert worse_by_chance(misses, best) == 1.0
    misses[:5] = True
    assert worse_by_chance(misses, best) == pytest.approx(0.5**5)
    best[5] = True
    assert worse_by_chance(misses, best) == pytest.approx((6 + 1) / 2**6)
    assert worse_by_chance(best, misses) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"classes": [[0]]}, "give a Posterior"),
        ({"classes": [[0]], "features": np.zeros((4, 2))}, "give outcomes"),
        ({"classes": [[2]], "features": np.zeros((4, 2)), "outcomes": [0, 1, 0, 1]}, "names column 2"),
        ({"classes": [np.zeros(0, int)], "features": np.zeros((4, 2)), "outcomes": [0, 1, 0, 1]}, "names no column"),
        ({"classes": [[0.1, 0.2]]}, r"shape \(2,\)"),
        ({"classes": [[0.1, 0.2, 0.3, 1.4]]}, "row 3 is 1.4"),
    ],
)
def test_classes_that_cannot_be_used_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        fit_loss([0, 1, 0, 1], **arguments)

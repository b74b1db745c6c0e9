"""One call from decisions to a loss: verdicts, intervals, and what it says of bad input."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.behaviors import noisy, optimal
from demonstrably.decisions.fit import fit_loss
from demonstrably.decisions.posterior import Posterior


def uniform(number=400, seed=0):
    return np.random.default_rng(seed).random(number)


def test_an_optimal_decision_maker_with_a_known_posterior():
    q = uniform()
    found = fit_loss(q >= 0.375, posterior=q)
    low, high = q[q < 0.375].max(), q[q >= 0.375].min()
    assert (found.verdict, found.interval) == ("optimal", (low, high))
    assert found.point == pytest.approx((low + high) / 2)
    assert found.confidence.low == pytest.approx(low + 0.025 * (high - low))
    assert found.disagreement.count == 0 and found.decisions == 400
    assert json.loads(json.dumps(found.to_dict()))["interval"] == [low, high]
    assert "uniform pivot" in found.confidence.method


def test_swapping_positive_and_negative_mirrors_the_estimate():
    q = uniform()
    one, other = fit_loss(q >= 0.3, posterior=q), fit_loss(q < 0.3, posterior=1 - q)
    assert one.point == pytest.approx(1 - other.point)
    assert fit_loss(np.tile(q >= 0.3, 2), posterior=np.tile(q, 2)).interval == one.interval


def test_certain_cases_tell_nothing_and_it_says_why():
    q = np.array([0.0, 1.0] * 50)
    found = fit_loss(q, posterior=q)
    assert (found.verdict, found.interval, found.point) == ("not identified", (0.0, 1.0), None)
    assert "certain" in str(found)


def test_decisions_all_alike_bound_the_cost_from_one_side():
    q = uniform() / 2 + 0.3
    found = fit_loss(np.ones(400), posterior=q)
    assert (found.verdict, found.interval, found.point) == ("not identified", (0.0, q.min()), None)
    assert found.confidence.high == q.min()  # not trimmed
    assert "all decisions are 1" in str(found)
    assert fit_loss(np.zeros(400), posterior=q).interval == (q.max(), 1.0)


def test_an_error_of_the_posterior_widens_the_interval_and_nothing_is_trimmed():
    q = uniform()
    found = fit_loss(q >= 0.4, posterior=Posterior.given(q, np.full(400, 0.05)))
    low, high = q[q < 0.4].max() - 0.05, q[q >= 0.4].min() + 0.05
    assert found.interval == pytest.approx((low, high))
    assert (found.confidence.low, found.confidence.high) == found.interval
    off = np.clip(q + np.random.default_rng(1).uniform(-0.05, 0.05, 400), 0, 1)
    found = fit_loss(q >= 0.4, posterior=Posterior.given(off, np.full(400, 0.05)))
    assert found.verdict == "optimal" and found.interval[0] < 0.4 <= found.interval[1]


def test_repeated_posteriors_are_not_trimmed():
    q = np.round(uniform(), 1)
    found = fit_loss(q >= 0.35, posterior=q)
    assert found.interval == pytest.approx((0.3, 0.4)) and found.confidence.low == found.interval[0]
    assert "repeated" in str(found)


def test_a_third_missed_rejects_and_states_no_loss():
    generator = np.random.default_rng(0)
    q = uniform(3000)
    decisions = np.where(generator.random(3000) < 0.7, generator.random(3000) < 0.5, q >= 0.4)
    found = fit_loss(decisions, posterior=q)
    assert found.disagreement.rate > 0.3
    assert (found.verdict, found.point, found.interval) == ("rejected", None, (0.0, 1.0))
    assert "no loss is stated" in str(found)
    json.dumps(found.to_dict())


def test_optimal_behavior_allows_no_miss():
    q = uniform()
    decisions = (q >= 0.4).astype(float)
    decisions[np.argmax(q)] = 0.0
    found = fit_loss(decisions, posterior=q, behavior=optimal)
    assert found.verdict == "rejected" and "misses 1 of 400" in str(found)


def test_people_with_thresholds_of_their_own_are_judged_each_by_theirs():
    generator = np.random.default_rng(1)
    q, person = generator.random(4000), np.repeat(np.arange(20), 200)
    own = np.linspace(0.02, 0.98, 20)[person]
    found = fit_loss(q >= own, posterior=q, person=person, tolerance=0.2)
    assert found.disagreement.rate > 0.2 and found.verdict == "noisy"
    assert [one.point for one in found.people] == pytest.approx(np.linspace(0.02, 0.98, 20), abs=0.03)
    assert fit_loss(q >= own, posterior=q, tolerance=0.2).verdict == "rejected"


def test_a_threshold_on_a_score():
    generator = np.random.default_rng(2)
    score = generator.normal(size=3000)
    outcomes = (generator.random(3000) < expit(score)).astype(float)
    found = fit_loss(expit(score) >= 0.3, scores=score, outcomes=outcomes)
    assert found.verdict == "optimal"
    assert found.interval[0] < 0.3 < found.interval[1] and found.interval[1] - found.interval[0] < 0.2
    assert found.interval[0] < found.point < found.interval[1]
    assert found.disagreement.count == 0


def test_a_score_with_outcomes_of_one_side_alone_is_not_identified():
    generator = np.random.default_rng(2)
    score = generator.normal(size=3000)
    q = expit(score)
    outcomes = np.where(q >= 0.3, generator.random(3000) < q, np.nan)
    found = fit_loss(q >= 0.3, scores=score, outcomes=outcomes)
    assert (found.verdict, found.point) == ("not identified", None)
    assert found.interval[0] == 0.0 and 0.3 < found.interval[1] < 0.45
    assert "no outcome was seen below" in str(found)


def test_a_noisy_person():
    generator = np.random.default_rng(3)
    q = generator.beta(2, 3, 3000)
    decisions = generator.random(3000) < expit(3 * (logit(q) - logit(0.4)))
    found = fit_loss(decisions, posterior=q)
    assert found.verdict == "noisy" and found.noise is not None
    assert found.interval[0] < 0.4 < found.interval[1] and found.interval[1] - found.interval[0] < 0.1
    assert found.error == pytest.approx(np.diff(logit(found.interval))[0] / 3.92, rel=1e-3)
    wider = fit_loss(decisions, posterior=Posterior.given(q, np.full(3000, 0.03)), behavior=noisy)
    assert wider.interval == pytest.approx((found.interval[0] - 0.03, found.interval[1] + 0.03))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"decisions": [0, 1]}, "neither posterior nor scores nor classes"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "scores": [1, 2]}, "posterior and scores given"),
        ({"decisions": [0, 1], "scores": [1, 2]}, "scores without outcomes"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "outcomes": [0, 1]}, "outcomes with a posterior"),
        ({"decisions": [0, 1, 1], "posterior": [0.1, 0.2]}, "2 posteriors of 3 decisions"),
        ({"decisions": [0, 1], "posterior": [0.1, 1.2]}, "row 1 is 1.2"),
        ({"decisions": [0, 1], "posterior": [np.nan, 0.2]}, "row 0 is missing"),
        ({"decisions": [0, 0.5], "posterior": [0.1, 0.2]}, "decision 0.5 in row 1"),
        ({"decisions": [0, 2], "posterior": [0.1, 0.2]}, "see `fit_losses`"),
        ({"decisions": [0, np.nan], "posterior": [0.1, 0.2]}, "decision nan in row 1"),
        ({"decisions": ["yes", "no"], "posterior": [0.1, 0.2]}, "decisions hold 'yes'"),
        ({"decisions": [[0, 1]], "posterior": [0.1, 0.2]}, r"shape \(1, 2\)"),
        ({"decisions": [], "posterior": []}, "at least one"),
        ({"decisions": [0, 1], "posterior": [[0.5, 0.5], [0.4, 0.6]]}, r"posterior\[:, 1\]"),
        ({"decisions": [0, 1], "posterior": np.full((2, 3), 1 / 3)}, "see `fit_losses`"),
        ({"decisions": [1, 1, 1], "scores": [1, 2, 3], "outcomes": [0, 1, 1]}, "all 3 decisions are 1"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "level": 1.0}, "level"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "tolerance": 1.5}, "tolerance"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "person": ["a"]}, "who decided each"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "features": [[1], [np.nan]]}, "feature 0 in row 1"),
        ({"decisions": [0, 1], "posterior": [0.1, 0.2], "features": [1, 2]}, "features of shape"),
        ({"decisions": [0, 1], "classes": []}, "classes is empty"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        fit_loss(arguments.pop("decisions"), **arguments)
    assert "\n" not in str(caught.value)


def test_a_million_decisions():
    q = uniform(1_000_000)
    assert fit_loss(q >= 0.4, posterior=q).interval[1] - 0.4 < 1e-4


def test_a_posterior_calibrated_within_groups_orders_the_cases_by_its_probability():
    draw = np.random.default_rng(21)
    group, x = draw.integers(0, 2, 3000), draw.normal(size=(3000, 2))
    outcomes = (draw.random(3000) < expit(x @ [1.0, 0.7] + np.where(group == 1, 1.0, -1.0))).astype(float)
    posterior = Posterior.from_classifier(None, x, outcomes, groups=group)
    found = fit_loss(posterior.probability >= 0.4, posterior=posterior)
    assert found.verdict == "optimal" and found.disagreement.count == 0
    assert found.confidence.low < 0.4 < found.confidence.high

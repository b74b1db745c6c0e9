"""Checks of the noisy threshold."""

import numpy as np
import pytest
from scipy.special import expit

from demonstrably.decisions.checks import check_cases, check_features, check_fit, check_outcomes, check_rise, check_rule
from demonstrably.decisions.posterior import Posterior


def given(probability, outcomes=None):
    return Posterior(probability, probability, np.zeros(len(probability)), outcomes, "given")


def made(seed, weighed, number=2000, slope=2.0, people=30):
    """Features whose posterior weighs (1, 0.7, 0.4), and people who weigh them in their own way."""
    draw = np.random.default_rng(seed)
    features, person = draw.normal(size=(number, 3)), draw.integers(0, people, number)
    odds = features @ [1.0, 0.7, 0.4] - 0.5
    lean = 0.4 * draw.normal(size=people)[person]
    decisions = (draw.random(number) < expit(slope * (features @ weighed + lean))).astype(float)
    return decisions, expit(odds), features, person


def named(checks):
    return {check.name: check for check in checks}


def test_people_who_decide_by_the_posterior_pass():
    decisions, probability, features, person = made(0, [1.0, 0.7, 0.4])
    outcomes = (np.random.default_rng(1).random(2000) < probability).astype(float)
    found = named(check_fit(decisions, given(probability, outcomes), features, person))
    assert list(found) == ["rise", "rule", "features", "outcomes"]
    assert all(check.passed for check in found.values())
    assert found["features"].effect > 0.95 and found["rise"].effect > 0.75


def test_people_who_weigh_by_themselves_fail():
    decisions, probability, features, person = made(1, [0.2, 0.1, 1.0])
    found = named(check_fit(decisions, given(probability), features, person))
    assert not found["features"].passed and found["features"].effect < 0.5
    assert "something else" in found["features"].text


def test_a_trifle_of_other_weights_does_not_fail_though_it_is_significant():
    decisions, probability, features, person = made(2, [1.0, 0.7, 0.6], 8000)
    check = check_features(decisions, probability, features, person)
    assert check.passed and 0.8 < check.effect < 1.0 and check.p_value < 0.05


def test_an_optimal_decision_maker_passes():
    decisions, probability, features, _ = made(3, [1.0, 0.7, 0.4], slope=1e6, people=1)
    check = check_features(decisions, probability, features)
    assert check.passed and check.effect > 0.95


def test_decisions_at_random_fail():
    draw = np.random.default_rng(4)
    decisions, probability = draw.integers(0, 2, 1000).astype(float), draw.random(1000)
    assert not check_rise(decisions, probability).passed
    assert not check_rule(decisions[:30] * (probability[:30] > 0.6), probability[:30]).passed  # few, and mostly 0


def test_decisions_that_fall_fail():
    probability = np.random.default_rng(5).random(300)
    assert check_rise((probability < 0.4).astype(float), probability).p_value > 0.99


def test_knowing_more_than_the_posterior_is_seen_in_the_outcomes():
    draw = np.random.default_rng(6)
    seen, unseen = draw.normal(size=(2, 3000))
    outcomes = (draw.random(3000) < expit(seen + 1.5 * unseen)).astype(float)
    knowing = (draw.random(3000) < expit(3 * (seen + 1.5 * unseen))).astype(float)
    posterior = expit(seen / 1.3)
    check = check_outcomes(knowing, posterior, outcomes)
    assert not check.passed and check.effect > 2.0
    assert check_outcomes((draw.random(3000) < expit(3 * seen)).astype(float), posterior, outcomes).passed


def test_agreeing_on_a_case_is_seen():
    draw = np.random.default_rng(7)
    case = np.repeat(np.arange(200), 10)
    odds = draw.normal(size=200)[case]
    own = draw.normal(size=200)[case]
    check = check_cases((draw.random(2000) < expit(odds + 1.5 * own)).astype(float), expit(odds), case)
    assert not check.passed and check.effect > 0.1
    check = check_cases((draw.random(2000) < expit(2 * odds)).astype(float), expit(odds), case)
    assert check.passed and abs(check.effect) < 0.05


def test_what_cannot_be_checked_is_not():
    decisions, probability, features, person = made(8, [1.0, 0.7, 0.4], 40)
    assert list(named(check_fit(decisions, given(probability), features, person))) == ["rise", "rule"]
    (check,) = check_fit(np.ones(40), given(probability))
    assert not check.passed and "all decisions are 1" in check.text


def test_unequal_lengths_are_refused():
    decisions, probability, features, _ = made(9, [1.0, 0.7, 0.4], 100)
    with pytest.raises(ValueError, match="100 rows"):
        check_fit(decisions, given(probability), features[1:])

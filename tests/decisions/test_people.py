"""Many noisy decision makers, partially pooled."""

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.noisy import fit_noisy
from demonstrably.decisions.people import fit_people, population_on


def made(seed, people, each, center=-0.8, spread=0.6, lapse=0.04):
    draw = np.random.default_rng(seed)
    person, risk = np.repeat(np.arange(people), each), draw.beta(3, 5, people * each)
    own, slope = center + spread * draw.normal(size=people), 3 * np.exp(0.3 * draw.normal(size=people))
    rising = expit(slope[person] * (logit(risk) - own[person]))
    decisions = (draw.random(len(risk)) < lapse / 2 + (1 - lapse) * rising).astype(float)
    return decisions, risk, person, expit(own)


def test_pooling_is_closer_than_separate_fits_and_holds_the_center():
    decisions, risk, person, own = made(0, 60, 30)
    fit = fit_people(decisions, risk, person)
    pooled = np.array([one.point for one in fit.people])
    separate = np.array([fit_noisy(decisions[person == j], risk[person == j]).point for j in range(60)])
    assert np.mean((pooled - own) ** 2) < 0.8 * np.mean((separate - own) ** 2)
    assert fit.low < expit(-0.8) < fit.high and fit.spread == pytest.approx(0.6, abs=0.2)
    held = np.mean([one.low < cost < one.high for one, cost in zip(fit.people, own, strict=True)])
    assert held > 0.85


def test_who_decided_much_keeps_a_cost_of_their_own():
    decisions, risk, person, _ = made(1, 30, 30, spread=0.1)
    draw = np.random.default_rng(0)
    theirs = draw.beta(3, 5, 1000)
    odd = (draw.random(1000) < expit(4 * (logit(theirs) - logit(0.5)))).astype(float)
    person = np.concatenate([person, np.full(1000, 30)])
    fit = fit_people(np.concatenate([decisions, odd]), np.concatenate([risk, theirs]), person)
    assert fit.people[30].low < 0.5 < fit.people[30].high and fit.people[30].low > fit.people[0].high - 0.15
    assert fit.people[30].decisions == 1000 and fit.people[30].slope == pytest.approx(4.0, rel=0.5)


def test_a_person_of_one_decision_is_drawn_to_the_others():
    decisions, risk, person, _ = made(2, 20, 40, spread=0.2)
    fit = fit_people(np.append(decisions, 1.0), np.append(risk, 0.05), np.append(person, 20))
    assert fit.people[20].point == pytest.approx(fit.center, abs=0.08)
    assert fit.people[20].high - fit.people[20].low > 0.05


def test_names_stay_with_their_people():
    decisions, risk, person, own = made(3, 4, 300)
    names = np.array(["zoe", "ann", "bob", "eve"])[person]
    fit = fit_people(decisions, risk, names)
    assert [one.name for one in fit.people] == ["ann", "bob", "eve", "zoe"]
    assert [one.point for one in fit.people] == pytest.approx(own[[1, 2, 3, 0]], abs=0.06)


def test_mass_of_a_population_adds_up():
    population = population_on(np.linspace(-2, 2, 41), np.array([0.0, 1.0]), np.array([0.01, 1.0]))
    np.testing.assert_allclose(population.mass.sum(axis=1), 1.0)
    assert population.mass[0].argmax() == 20 and population.mass[0].max() == pytest.approx(1.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="level 2"):
        fit_people(np.ones(3), np.full(3, 0.5), np.arange(3), level=2.0)
    with pytest.raises(ValueError, match="lengths"):
        fit_people(np.ones(3), np.full(3, 0.5), np.arange(2))

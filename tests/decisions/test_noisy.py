"""One noisy decision maker."""

from importlib import import_module

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.noisy import fit_noisy, log_prior, probability_of_one


def made(seed, number, cost=0.3, slope=3.0, lapse=0.05):
    draw = np.random.default_rng(seed)
    risk = draw.beta(3, 5, number)
    rising = expit(slope * (logit(risk) - logit(cost)))
    return (draw.random(number) < lapse / 2 + (1 - lapse) * rising).astype(float), risk


def test_decisions_cross_one_half_at_the_cost_whatever_the_noise():
    """The best threshold of a population, too, is where P(1 | q) = 1/2: there the rule's sign changes."""
    risk = np.linspace(0.001, 0.999, 1999)
    for slope, lapse, cost in ((0.5, 0.3, 0.2), (20.0, 0.0, 0.7)):
        of_one = probability_of_one(logit(risk), *(np.array(value) for value in (logit(cost), slope, lapse)))
        density = np.random.default_rng(0).random(len(risk))  # any density of posteriors
        missed = [np.sum(density * np.where(risk >= at, 1 - of_one, of_one)) for at in risk]
        assert risk[np.argmin(missed)] == pytest.approx(cost, abs=1e-3)


def test_the_noise_is_recovered():
    fit = fit_noisy(*made(1, 100_000))
    assert fit.low < 0.3 < fit.high and fit.high - fit.low < 0.01
    assert fit.slope == pytest.approx(3.0, rel=0.05) and fit.lapse == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("settings", [(5, 0.3, 3.0, 0.0), (80, 0.3, 2.0, 0.1), (300, 0.6, 50.0, 0.0)])
def test_the_grid_is_fine_enough(settings, monkeypatch):
    decisions, risk = made(1, *settings)
    fit = fit_noisy(decisions, risk)
    grid = import_module("demonstrably.decisions.noisy")
    monkeypatch.setattr(grid, "FINE", (121, 75, 31))
    monkeypatch.setattr(grid, "BINS", 5000)
    finer = fit_noisy(decisions, risk)
    for name in ("point", "low", "high"):
        apart = logit(vars(fit)[name]) - logit(vars(finer)[name])
        assert abs(apart) < 0.05 * finer.error, name


def test_the_posterior_is_that_of_brute_force():
    decisions, risk = made(2, 12)
    center, slope, lapse = np.meshgrid(
        np.linspace(-9, 9, 241), np.linspace(np.log(0.02), np.log(1000), 121), np.linspace(0, 0.5, 41), indexing="ij"
    )
    density = log_prior(center, slope, lapse)
    for decision, odds in zip(decisions, logit(risk), strict=True):
        of_one = probability_of_one(np.array(odds), center, np.exp(slope), lapse)
        density += np.log(np.maximum(of_one if decision else 1 - of_one, 1e-300))
    mass = np.exp(density - density.max())
    mass = mass.sum(axis=(1, 2)) / mass.sum()
    nodes = center[:, 0, 0]
    mean = nodes @ mass
    fit = fit_noisy(decisions, risk)
    assert fit.error == pytest.approx(np.sqrt((nodes - mean) ** 2 @ mass), rel=0.03)
    running = mass.cumsum() - mass / 2
    assert logit(fit.point) == pytest.approx(np.interp(0.5, running, nodes), abs=0.05 * fit.error)
    assert logit(fit.low) == pytest.approx(np.interp(0.025, running, nodes), abs=0.1 * fit.error)


def test_swapping_ones_and_zeros_gives_the_complement():
    decisions, risk = made(3, 200)
    one, other = fit_noisy(decisions, risk), fit_noisy(1 - decisions, 1 - risk)
    assert (one.point, one.low, one.high) == pytest.approx((1 - other.point, 1 - other.high, 1 - other.low), abs=1e-3)


def test_one_decision_leaves_nearly_everything_open():
    fit = fit_noisy(np.array([1.0]), np.array([0.5]))
    assert fit.low < 0.05 and fit.high > 0.8


def test_certain_posteriors_leave_the_cost_open():
    risk = np.repeat([0.0, 1.0], 50)
    fit = fit_noisy((risk > 0.5).astype(float), risk)
    assert fit.low < 0.03 and fit.high > 0.97


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="level 95"):
        fit_noisy(np.ones(3), np.full(3, 0.5), level=95.0)
    with pytest.raises(ValueError, match=">= 1"):
        fit_noisy(np.ones(0), np.ones(0))

"""How often the intervals of noisy decision makers hold the true cost. Seeds are fixed: results do not vary."""

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.noisy import fit_noisy
from demonstrably.decisions.people import fit_people


@pytest.mark.slow
def test_intervals_of_one_person_hold_the_cost():
    repeats, held = 2000, []
    for seed in range(repeats):
        draw = np.random.default_rng([3, seed])
        cost, slope, lapse = draw.uniform(0.15, 0.6), np.exp(draw.uniform(0, np.log(20))), draw.uniform(0, 0.15)
        risk = draw.beta(2, 4, 100)
        rising = expit(slope * (logit(risk) - logit(cost)))
        fit = fit_noisy((draw.random(100) < lapse / 2 + (1 - lapse) * rising).astype(float), risk)
        held.append(fit.low <= cost <= fit.high)
    print(f"one person: {np.mean(held):.4f} covered")
    assert 0.94 <= np.mean(held) <= 0.97


@pytest.mark.slow
def test_intervals_of_pooled_people_hold_their_costs_and_the_center():
    """2,000 people in 200 data sets."""
    people, center = [], []
    for seed in range(200):
        draw = np.random.default_rng([4, seed])
        middle, spread = draw.uniform(-1.2, 0.0), draw.uniform(0.2, 1.0)
        own, slope = middle + spread * draw.normal(size=10), np.exp(np.log(3) + 0.4 * draw.normal(size=10))
        person, risk = np.repeat(np.arange(10), 40), draw.beta(3, 5, 400)
        rising = expit(slope[person] * (logit(risk) - own[person]))
        fit = fit_people((draw.random(400) < 0.02 + 0.96 * rising).astype(float), risk, person)
        people += [one.low <= cost <= one.high for one, cost in zip(fit.people, expit(own), strict=True)]
        center.append(fit.low <= expit(middle) <= fit.high)
    print(f"people: {np.mean(people):.4f} covered, center {np.mean(center):.4f}")
    assert 0.94 <= np.mean(people) <= 0.97
    assert 0.91 <= np.mean(center) <= 0.99

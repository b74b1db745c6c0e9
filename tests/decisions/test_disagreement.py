"""The best threshold, against trying every one."""

import numpy as np
import pytest
from scipy.special import expit

from demonstrably.decisions.disagreement import best_costs, least_disagreement, rate_interval


def brute(decisions, q):
    costs = np.linspace(0.0005, 0.9995, 1000)
    counts = ((q[:, None] >= costs) != (decisions[:, None] > 0.5)).sum(axis=0)
    return counts.min(), costs[counts == counts.min()]


@pytest.mark.parametrize("seed", range(20))
def test_it_misses_as_few_as_the_best_of_all_costs(seed):
    generator = np.random.default_rng(seed)
    q = np.round(generator.random(40), 2)  # ties, and at times 0 and 1
    q[:4] = [0, 1, 0, 1]
    decisions = (generator.random(40) < expit(6 * (q - 0.4))).astype(float)
    fewest, costs = brute(decisions, q)
    found = least_disagreement(decisions, q)
    assert found.count == fewest == ((q >= found.cost) != (decisions > 0.5)).sum()
    low, high = best_costs(decisions, q)
    assert low < costs.min() <= low + 0.002 and high - 0.002 < costs.max() <= high


def test_certain_cases_that_are_decided_wrongly_are_missed_by_every_rule():
    found = least_disagreement([1.0, 0.0, 1.0], [0.0, 1.0, 0.5])
    assert found.count == 2
    assert best_costs([1.0, 0.0, 1.0], [0.0, 1.0, 0.5]) == (0.0, 0.5)
    assert least_disagreement([1.0, 1.0], [1.0, 1.0]).count == 0


def test_the_rate_has_an_exact_interval():
    assert rate_interval(0, 10) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))
    assert rate_interval(10, 10)[1] == 1.0
    found = least_disagreement([0.0, 1.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4])
    assert (found.rate, found.low, found.high) == (0.25, *rate_interval(1, 4))


def test_a_noisy_person_is_missed_least_at_the_cost():
    generator = np.random.default_rng(0)
    q = generator.beta(2, 4, 400_000)
    decisions = generator.random(len(q)) < expit(8 * (q - 0.35))
    assert least_disagreement(decisions, q).cost == pytest.approx(0.35, abs=0.02)

"""How often equal costs are called different, how often intervals hold the cost, and what differences are found.

Two groups of different base rates, Beta(2, 8) and Beta(3, 5), are decided at costs of 0.3. Seeds are fixed: results do
not vary.
"""

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.crossing import equality_test, group_costs
from demonstrably.decisions.posterior import Posterior

COST, LEVEL = 0.3, 0.05


def exact(probability):
    return Posterior(probability, probability, np.zeros(len(probability)), None, "given")


def cases(generator, number):
    """Groups (n,) and true posteriors (n,)."""
    group = generator.integers(0, 2, number)
    return group, generator.beta(np.where(group == 0, 2, 3), np.where(group == 0, 8, 5))


def decide(generator, odds, threshold, slope=3.0, lapse=0.05):
    return (generator.random(len(odds)) < lapse / 2 + (1 - lapse) * expit(slope * (odds - threshold))).astype(float)


def noisy(generator, number=600, slope=3.0, lapse=0.05, costs=(COST, COST)):
    group, risk = cases(generator, number)
    return decide(generator, logit(risk), logit(np.array(costs))[group], slope, lapse), exact(risk), group, ()


def noise_in_probability(generator):
    """Noise that is even in the probability, and so lopsided in the log-odds that the curves are fitted in."""
    group, risk = cases(generator, 2000)
    return (generator.random(2000) < expit(10 * (risk - COST))).astype(float), exact(risk), group, ()


def with_outcomes(generator):
    """A score that means another risk in each group, which outcomes tell."""
    group, risk = cases(generator, 1500)
    outcomes = (generator.random(1500) < risk).astype(float)
    outcomes[generator.random(1500) < 0.2] = np.nan
    score = expit((logit(risk) - np.array([0.3, -0.2])[group]) / np.array([1.3, 0.9])[group])
    decisions = decide(generator, logit(risk), logit(COST))
    return decisions, Posterior(score, score, np.zeros(1500), outcomes, "score"), group, ()


def with_isotonic_steps(generator):
    group, risk = cases(generator, 1500)
    outcomes = (generator.random(1500) < risk).astype(float)
    score = logit(risk) - np.array([0.3, -0.2])[group]
    return decide(generator, logit(risk), logit(COST)), Posterior.from_score(score, outcomes), group, ()


def by_persons(generator, people=40, each=40):
    """People with thresholds of their own, who see the two groups in shares of their own."""
    person = np.repeat(np.arange(people), each)
    group = (generator.random(len(person)) < generator.beta(2, 2, people)[person]).astype(int)
    risk = generator.beta(np.where(group == 0, 2, 3), np.where(group == 0, 8, 5))
    own = logit(COST) + 0.6 * generator.normal(size=people)
    return decide(generator, logit(risk), own[person], 4.0), exact(risk), group, (person,)


def by_persons_and_cases(generator, people=30, number=120, each=40):
    """The same cases are judged by several people, who agree on them beyond the posterior."""
    of_case, risk_of_case = cases(generator, number)
    case, person = generator.integers(0, number, people * each), np.repeat(np.arange(people), each)
    own = logit(COST) + 0.5 * generator.normal(size=people)[person] + 0.5 * generator.normal(size=number)[case]
    risk = risk_of_case[case]
    return decide(generator, logit(risk), own, 4.0), exact(risk), of_case[case], (person, case)


def nearly_optimal(generator):
    return noisy(generator, 200, 40.0, 0.0)


def simulated(make, repeats, **settings):
    """P-values (R,), and whether each group's interval holds the cost (R, 2), NaN where none was stated."""
    values, held = np.empty(repeats), np.empty((repeats, 2))
    for seed in range(repeats):
        costs = group_costs(*make(np.random.default_rng([7, seed]), **settings))
        values[seed] = equality_test(costs)
        low, high = costs.intervals().T
        held[seed] = np.where(np.isnan(costs.logit), np.nan, (low <= COST) & (high >= COST))
    return values, held


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "repeats"),
    [
        (noisy, 2000),
        (with_outcomes, 2000),
        (with_isotonic_steps, 500),
        (by_persons, 2000),
        (by_persons_and_cases, 2000),
        (nearly_optimal, 300),
    ],
)
def test_equal_costs_are_called_different_no_more_often_than_the_level(make, repeats):
    values, held = simulated(make, repeats)
    assert np.isnan(values).mean() < 0.02
    alarms, covered = float(np.nanmean(values < LEVEL)), float(np.nanmean(held))
    print(f"{make.__name__}: {alarms:.4f} false alarms, {covered:.4f} covered")
    assert alarms < LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / repeats)
    assert (0.94 if repeats >= 2000 else 0.93) <= covered <= (0.97 if repeats >= 2000 else 0.99)


@pytest.mark.slow
def test_noise_of_another_shape_makes_no_false_alarm():
    values, _ = simulated(noise_in_probability, 1000)
    alarms = float(np.mean(values < LEVEL))
    print(f"noise in probability: {alarms:.4f} false alarms")
    assert alarms < LEVEL + 2 * math.sqrt(LEVEL * (1 - LEVEL) / 1000)


@pytest.mark.slow
def test_a_difference_is_found_the_surer_the_more_decisions_there_are():
    numbers, repeats = (100, 300, 1000, 3000), 200
    power = [np.nanmean(simulated(noisy, repeats, number=n, costs=(0.3, 0.36))[0] < LEVEL) for n in numbers]
    print("power at", dict(zip(numbers, np.round(power, 3).tolist(), strict=True)))
    assert np.all(np.diff(power) > 0)
    assert power[0] < 0.4 and power[-1] > 0.95

"""Elicitation by simulation: the statement holds as often as it says, and questions grow with the logarithm."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.posterior import Posterior

pytestmark = pytest.mark.slow

RUNS, FEWER = 500, 400

Rate = Callable[..., float]  # of wrong answers, from the question and the person's threshold


def constant(rate: float) -> Rate:
    """Errs at this rate whatever is asked."""
    return lambda question, cost: rate


def varying(bound: float) -> Rate:
    """Errs up to the bound: in every third question and near the threshold, and seldom else."""

    def rate(question, cost):
        return bound if question.number % 3 == 0 or abs(question.probability - cost) < 0.1 else bound / 5

    return rate


def one_sided(bound: float) -> Rate:
    """Errs at the bound where the right decision is 1, and never where it is 0."""
    return lambda question, cost: bound if question.probability >= cost else 0.0


def spiteful(bound: float, width: float) -> Rate:
    """Always wrong within the width of the threshold, at the bound else."""
    return lambda question, cost: 1.0 if abs(question.probability - cost) <= width else bound


def logistic(slope: float) -> Rate:
    """Decides 1 with probability sigmoid(slope (logit q - logit c)), as a noisy person does."""

    def rate(question, cost):
        q = question.probability
        odds = math.log(q / (1 - q)) - math.log(cost / (1 - cost))
        return 1 / (1 + math.exp(min(slope * abs(odds), 500.0)))

    return rate


def simulated(rate: Rate, posterior=None, truth=None, *, cost=None, runs=FEWER, **settings):
    """Share of runs whose interval holds c, and the mean number of questions.

    `truth` (n,): what the person sees of the cases, where the given posterior is off. c is drawn if not given.
    """
    generator = np.random.default_rng(0)
    held, questions = 0, 0
    for _ in range(runs):
        threshold = generator.random() if cost is None else cost

        def ask(question, threshold=threshold):
            seen = question.probability if truth is None else truth[question.row]
            return bool((seen >= threshold) ^ (generator.random() < rate(question, threshold)))

        found = elicit(ask, posterior, **settings)
        held += found.interval[0] < threshold <= found.interval[1]
        questions += found.questions
    return held / runs, questions / runs


@pytest.mark.parametrize(("wrong", "precision"), [(0.1, 0.1), (0.25, 0.2)])
@pytest.mark.parametrize("rate", [constant, lambda bound: constant(bound / 2), varying])
def test_the_interval_holds_the_cost_at_least_as_often_as_stated(rate, wrong, precision):
    held, _ = simulated(rate(wrong), runs=RUNS, precision=precision, wrong=wrong)
    assert held >= 0.95  # and more often than that, since one may stop whenever one likes


def test_it_holds_where_only_one_decision_errs():
    assert simulated(one_sided(0.1), precision=0.05, wrong=0.1)[0] >= 0.95


@pytest.mark.parametrize("cost", [0.004, 0.25, 0.5])
def test_it_holds_for_each_cost_and_not_only_on_average(cost):
    held, _ = simulated(constant(0.1), cost=cost, precision=0.05, wrong=0.1)
    assert held >= 0.95


def test_at_a_low_level_it_is_not_wrong_too_often_either():
    held, _ = simulated(constant(0.3), precision=0.1, wrong=0.3, confidence=0.6)
    assert 0.6 <= held < 0.99  # the statement is no empty one


def test_within_the_indifference_answers_may_be_anything():
    settings = {"precision": 0.08, "wrong": 0.1, "limit": 500}
    assert simulated(spiteful(0.1, 0.03), indifference=0.03, **settings)[0] >= 0.95
    blind, _ = simulated(spiteful(0.1, 0.03), **{**settings, "precision": 0.05})
    assert blind < 0.7  # and without it the statement would fail


def test_a_noisy_person_is_held_by_the_indifference_that_their_slope_asks_for():
    slope, wrong = 5.0, 0.1
    width = math.log(1 / wrong - 1) / (4 * slope)  # farther away errors are at most `wrong`, since |logit'| >= 4
    assert simulated(logistic(slope), precision=0.05 + width, wrong=wrong, indifference=width)[0] >= 0.95


def test_the_posteriors_error_is_carried_into_the_statement():
    generator = np.random.default_rng(1)
    truth = generator.random(3000)
    given = np.clip(truth + generator.uniform(-0.02, 0.02, 3000), 0.0, 1.0)
    posterior = Posterior(given, given, np.full(3000, 0.02), None, "given")
    for wrong in (0.0, 0.1):
        held, _ = simulated(constant(wrong), posterior, truth, precision=0.06, wrong=wrong)
        assert held == 1.0 if wrong == 0.0 else held >= 0.95


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.25])
def test_questions_grow_with_the_logarithm_of_the_precision(wrong):
    halvings = np.array([3, 8, 13])
    questions = [simulated(constant(wrong), runs=80, precision=0.5 ** (k + 1), wrong=wrong)[1] for k in halvings]
    slope, _ = np.polyfit(halvings, questions, 1)
    entropy = 0.0 if wrong == 0.0 else -wrong * math.log2(wrong) - (1 - wrong) * math.log2(1 - wrong)
    # No scheme can do with fewer than 1 / capacity questions a halving in the long run. The interval holds all tails of
    # the weight and not its bulk alone, which costs about half as many again.
    assert 0.95 <= slope * (1 - entropy) <= 1.75

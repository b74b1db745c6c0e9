"""Infra-marginality: the numbers by which equal thresholds look unequal, and the other way round."""

import json

import numpy as np
import pytest

from demonstrably.decisions.marginality import (
    beta_decision_rate,
    beta_hit_rate,
    beta_threshold,
    equal_hit_cost,
    inframarginality,
)
from demonstrably.decisions.posterior import Posterior


@pytest.mark.parametrize(("shape", "decided", "hit"), [((2.0, 8.0), 0.1960, 0.3906), ((3.0, 5.0), 0.6471, 0.4670)])
def test_one_threshold_gives_different_rates(shape, decided, hit):
    assert beta_decision_rate(*shape, 0.30) == pytest.approx(decided, abs=5e-5)
    assert beta_hit_rate(*shape, 0.30) == pytest.approx(hit, abs=5e-5)
    risk = np.random.default_rng(0).beta(*shape, 4_000_000)
    above = risk >= 0.30
    assert above.mean() == pytest.approx(decided, abs=1e-3) and risk[above].mean() == pytest.approx(hit, abs=5e-4)


def test_another_threshold_gives_the_same_hit_rate():
    found = beta_threshold(3.0, 5.0, beta_hit_rate(2.0, 8.0, 0.30))
    assert found == pytest.approx(0.13157, abs=5e-6)
    assert beta_hit_rate(3.0, 5.0, found) == pytest.approx(beta_hit_rate(2.0, 8.0, 0.30), abs=1e-9)
    with pytest.raises(ValueError, match="above the mean 0.375"):
        beta_threshold(3.0, 5.0, 0.3)


def test_equal_hit_cost_on_a_sample():
    risk = np.random.default_rng(1).beta(3, 5, 400_000)
    assert equal_hit_cost(risk, beta_hit_rate(2.0, 8.0, 0.30)) == pytest.approx(0.13157, abs=5e-3)
    assert equal_hit_cost(np.array([0.2, 0.4]), 0.1) is None
    assert equal_hit_cost(np.array([0.2, 0.4]), 0.5) is None
    assert equal_hit_cost(np.array([0.25, 0.5]), 0.375) == 0.25


def sample(thresholds: tuple[float, float], number: int = 100_000):
    rng = np.random.default_rng(2)
    risk = np.concatenate([rng.beta(2, 8, number + 1), rng.beta(3, 5, number)])
    group = np.repeat(["a", "b"], [number + 1, number])
    return risk, (risk >= np.where(group == "a", *thresholds)).astype(float), group


def test_with_one_cost_the_distributions_explain_all_of_the_gap():
    risk, decisions, group = sample((0.30, 0.30))
    found = inframarginality(risk, decisions, group)
    assert found.cost == pytest.approx(0.30, abs=1e-3) and found.reference == "a"
    assert found.share[0] is None and found.share[1] == pytest.approx(1.0, abs=0.02)
    assert found.groups[1].equal_hits == pytest.approx(0.13157, abs=0.01)
    assert found.groups[0].same_hit_rate == pytest.approx(0.3906, abs=2e-3)
    assert "the risk distributions alone make it +0.07" in str(found)
    known = Posterior(risk, risk, np.zeros_like(risk), None, "given")
    assert inframarginality(known, decisions, group) == found
    json.dumps(found.to_dict())


def test_equal_hit_rates_can_hide_unequal_costs():
    risk, decisions, group = sample((0.30, 0.13157))
    found = inframarginality(risk, decisions, group)
    one, other = (group.hit_rate for group in found.groups)
    assert other == pytest.approx(one, abs=3e-3)
    assert found.groups[1].same_hit_rate > found.groups[0].same_hit_rate + 0.05


def test_groups_of_which_nobody_is_decided_on():
    found = inframarginality(np.array([0.9, 0.8, 0.1, 0.2]), np.array([1, 1, 0, 0]), np.array([0, 0, 1, 1]))
    assert found.groups[1].hit_rate is None and found.groups[1].same_hit_rate is None and found.share == (None, None)
    assert "hit rate of nobody" in str(found) and "with no cost" in str(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.2, 1.2], [0, 1], [0, 1]), "give probabilities"),
        (([0.2, np.nan], [0, 1], [0, 1]), "give probabilities"),
        (([0.2], [0, 1], [0, 1]), "give one each"),
        (([0.2, 0.3], [0, 1], [1, 1]), "one group only"),
        (([0.2, 0.3], [0, 3], [0, 1]), "0 or 1"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        inframarginality(*arguments)

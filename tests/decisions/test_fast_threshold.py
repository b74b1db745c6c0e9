"""The fast threshold test: golden numbers, the inverse of its decision rate, and thresholds that are found again."""

import json
import sys

import numpy as np
import pytest

from demonstrably.decisions.counts import Counts, counts_table
from demonstrably.decisions.fast_threshold import FAMILY, fast_threshold_test, signal_rates
from demonstrably.decisions.hierarchy import _solved

jax = pytest.importorskip("jax")
pytest.importorskip("numpyro")

SHARES, SEPARATIONS = (0.08, 0.15), (1.5, 1.5)


def simulated(seed: int, thresholds: tuple[float, float], departments: int, size: float) -> tuple[Counts, np.ndarray]:
    """Counts of departments that differ in base rates, separations and thresholds; the groups' weighted thresholds."""
    rng = np.random.default_rng(seed)
    logits = np.log(np.divide(SHARES, np.subtract(1.0, SHARES))) + rng.normal(0.0, 0.4, (departments, 1))
    separations = np.array(SEPARATIONS) * np.exp(rng.normal(0.0, 0.1, (departments, 1)))
    center = np.log(np.divide(thresholds, np.subtract(1.0, thresholds)))
    risk = center + rng.normal(0.0, 0.3, (departments, 2))
    signal = (risk - logits) / separations + separations / 2.0
    shares = 1.0 / (1.0 + np.exp(-logits))
    rates = [signal_rates(*one) for one in zip(*(table.ravel() for table in np.broadcast_arrays(
        shares, separations, signal)), strict=True)]  # fmt: skip
    n = rng.poisson(size * rng.gamma(2.0, 0.5, (departments, 1)) * np.array([1.0, 0.6])) + 20
    s = rng.binomial(n, np.reshape([one.decision_rate for one in rates], n.shape))
    h = rng.binomial(s, np.reshape([one.hit_rate for one in rates], n.shape))
    weights = n.sum(axis=1) / n.sum()
    return counts_table(n, s, h, ["a", "b"]), weights @ np.reshape([one.threshold for one in rates], n.shape)


def test_golden_numbers():
    found = signal_rates(0.1, 1.5, 1.2)
    assert found.decision_rate == pytest.approx(0.165354, abs=5e-7)
    assert found.hit_rate == pytest.approx(0.373690, abs=5e-7)
    assert found.threshold == pytest.approx(0.179134, abs=5e-7)


def test_golden_numbers_by_simulation():
    rng = np.random.default_rng(0)
    guilty = rng.random(4_000_000) < 0.1
    signal = rng.normal(size=4_000_000) + 1.5 * guilty
    decided = signal > 1.2
    assert decided.mean() == pytest.approx(0.165354, abs=8e-4)
    assert guilty[decided].mean() == pytest.approx(0.373690, abs=2.5e-3)
    near = np.abs(signal - 1.2) < 0.02
    assert guilty[near].mean() == pytest.approx(0.179134, abs=5e-3)


def test_the_samplers_equations_are_the_closed_forms():
    rng = np.random.default_rng(1)
    share, separation, signal = rng.uniform(0.01, 0.9, 50), rng.uniform(0.1, 5.0, 50), rng.normal(1.0, 1.5, 50)
    wanted = [signal_rates(*one) for one in zip(share, separation, signal, strict=True)]
    risk = np.array([one.threshold for one in wanted])
    arguments = np.log(share / (1 - share)), np.log(separation), np.log(risk / (1 - risk))
    with jax.enable_x64(True):
        found = [np.exp(np.asarray(one)) for one in FAMILY.observables(*arguments)]
    assert found[0] == pytest.approx([one.decision_rate for one in wanted], rel=1e-9)
    assert found[2] == pytest.approx([one.hit_rate for one in wanted], rel=1e-9)
    assert found[0] + found[1] == pytest.approx(np.ones(50)) and found[2] + found[3] == pytest.approx(np.ones(50))


def test_solving_for_the_threshold_and_its_derivative():
    rng = np.random.default_rng(2)
    mean, shape, threshold = rng.normal(-2, 0.7, 40), rng.normal(0.5, 0.4, 40), rng.normal(-1.5, 0.7, 40)
    with jax.enable_x64(True):
        solved = jax.jit(lambda *point: _solved(FAMILY, *point))
        rate, rest, _, _ = FAMILY.observables(mean, shape, threshold)
        assert np.asarray(solved(mean, shape, rate - rest)) == pytest.approx(threshold, abs=1e-8)
        slopes = jax.jit(jax.grad(lambda *point: solved(*point).sum(), (0, 1, 2)))(mean, shape, rate - rest)
        point = (mean, shape, np.asarray(rate - rest))
        for place, slope in enumerate(slopes):
            up, down = (
                np.asarray(solved(*(one + step * (i == place) for i, one in enumerate(point))))
                for step in (1e-5, -1e-5)
            )
            assert np.asarray(slope) == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-6)


@pytest.fixture(scope="module")
def small():
    counts, truth = simulated(3, (0.16, 0.06), 8, 4000.0)
    return fast_threshold_test(counts, chains=1, warmup=80, draws=60), truth


def test_a_small_sample_finds_a_large_difference(small):
    found, truth = small
    for one, true in zip(found.groups, truth, strict=True):
        assert one.low - 0.03 < true < one.high + 0.03
    (pair,) = found.pairs
    assert pair.difference < 0.0 and pair.probability_lower > 0.9
    assert 0.01 < found.predictive.decision_rates < 0.99 and 0.01 < found.predictive.hit_rates < 0.99
    assert found.sampling.draws == 60 and np.isfinite(found.sampling.rhat)


def test_result_prints_and_becomes_json_and_warns_of_few_draws(small):
    found, _ = small
    record = json.loads(json.dumps(found.to_dict()))
    assert record["groups"][0]["name"] == "a" and record["sampling"]["chains"] == 1
    assert "few effective draws" in str(found) and "lower with probability" in str(found)
    assert "&" not in found._repr_html_().replace("&lt;", "").replace("&gt;", "").replace("&#x27;", "")


def test_the_users_jax_is_left_as_it_was(small):
    assert not jax.config.jax_enable_x64
    assert jax.numpy.zeros(1).dtype == jax.numpy.float32


def test_numpyro_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro.infer", None)
    counts = counts_table([[9, 9]], [[5, 5]], [[2, 2]])
    with pytest.raises(ValueError, match=r'pip install "demonstrably\[decisions\]"'):
        fast_threshold_test(counts)


def test_too_few_draws_are_refused():
    counts = counts_table([[9, 9]], [[5, 5]], [[2, 2]])
    with pytest.raises(ValueError, match="at least 1, 50 and 4"):
        fast_threshold_test(counts, draws=1)


@pytest.mark.slow
def test_same_seed_same_draws_with_a_progress_bar_or_without():
    counts, _ = simulated(4, (0.12, 0.12), 3, 1000.0)
    one = fast_threshold_test(counts, chains=1, warmup=50, draws=10, progress=True)
    assert fast_threshold_test(counts, chains=1, warmup=50, draws=10).to_dict() == one.to_dict()
    assert fast_threshold_test(counts, chains=1, warmup=50, draws=10, seed=1).to_dict() != one.to_dict()


@pytest.mark.slow
def test_one_department_says_that_it_leans_on_the_priors():
    counts = counts_table([[4000, 3000]], [[600, 500]], [[200, 150]])
    found = fast_threshold_test(counts, chains=1, warmup=150, draws=150)
    assert any("lean" in text for text in found.warnings)
    assert found.pairs[0].low < 0.0 < found.pairs[0].high


@pytest.mark.slow
def test_intervals_cover_and_equal_thresholds_look_equal():
    """Four data sets of equal thresholds and other base rates: the hit rates differ in all, the thresholds in none."""
    covered, cried, claimed = 0, 0, 0
    for seed in range(4):
        counts, truth = simulated(seed, (0.12, 0.12), 15, 2500.0)
        found = fast_threshold_test(counts, chains=2, warmup=200, draws=200, seed=seed)
        covered += sum(one.low <= true <= one.high for one, true in zip(found.groups, truth, strict=True))
        pair, apart = found.pairs[0], truth[1] - truth[0]
        claimed += int(not pair.low <= apart <= pair.high)
        hits, totals = counts.h.sum(axis=0), counts.s.sum(axis=0)
        rates = hits / totals
        pooled = hits.sum() / totals.sum()
        cried += int(abs(rates[1] - rates[0]) > 1.96 * np.sqrt(pooled * (1 - pooled) * (1 / totals).sum()))
    assert covered >= 7 and claimed == 0 and cried == 4

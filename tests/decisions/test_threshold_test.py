"""The threshold test with Beta risks: its tails against scipy, their derivatives, and thresholds found again."""

import numpy as np
import pytest
from scipy.special import betaincc

from demonstrably.decisions.counts import counts_table
from demonstrably.decisions.hierarchy import _solved
from demonstrably.decisions.threshold_test import FAMILY, threshold_test

jax = pytest.importorskip("jax")
pytest.importorskip("numpyro")


def logit(values):
    return np.log(values / (1.0 - values))


def closed(mean, total, threshold):
    """Decision rate and hit rate by the regularized incomplete beta function."""
    a, b = mean * total, (1.0 - mean) * total
    rate = betaincc(a, b, threshold)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rate, mean * betaincc(a + 1.0, b, threshold) / rate


def test_golden_numbers_of_inframarginality():
    for (a, b), rate, hit in (((2.0, 8.0), 0.1960, 0.3906), ((3.0, 5.0), 0.6471, 0.4670)):
        with jax.enable_x64(True):
            arguments = (np.array(one) for one in (logit(a / (a + b)), np.log(a + b), logit(0.30)))
            found = np.exp([float(one) for one in FAMILY.observables(*arguments)])
        assert found[[0, 2]] == pytest.approx([rate, hit], abs=5e-5)
        assert found[[0, 2]] == pytest.approx(closed(a / (a + b), a + b, 0.30), rel=1e-9)


def test_tails_are_those_of_scipy():
    rng = np.random.default_rng(0)
    mean = 1.0 / (1.0 + np.exp(-rng.normal(-1.5, 1.5, 5000)))
    total = np.exp(rng.uniform(np.log(0.5), np.log(2000.0), 5000))
    threshold = 1.0 / (1.0 + np.exp(-rng.normal(-1.0, 1.5, 5000)))
    rate, hit = closed(mean, total, threshold)
    usable = (rate > 1e-100) & (rate < 1.0 - 1e-12)
    with jax.enable_x64(True):
        found = [np.asarray(one)[usable] for one in FAMILY.observables(logit(mean), np.log(total), logit(threshold))]
    assert np.exp(found[0]) == pytest.approx(rate[usable], rel=1e-6)
    assert np.exp(found[1]) == pytest.approx(1.0 - rate[usable], rel=1e-6, abs=1e-12)
    assert np.exp(found[2]) == pytest.approx(hit[usable], rel=1e-6)
    assert np.exp(found[3]) == pytest.approx(1.0 - hit[usable], rel=1e-4)


def test_derivatives_are_those_of_the_closed_form():
    rng = np.random.default_rng(1)
    point = [rng.normal(-1.5, 0.7, 30), rng.normal(1.5, 0.7, 30), rng.normal(-1.2, 0.8, 30)]

    def sums(mean, shape, threshold):
        rate, hit = closed(1 / (1 + np.exp(-mean)), np.exp(shape), 1 / (1 + np.exp(-threshold)))
        return np.stack([rate, hit])

    for output in (0, 2):
        with jax.enable_x64(True):
            slopes = jax.grad(lambda *x, k=output: jax.numpy.exp(FAMILY.observables(*x)[k]).sum(), (0, 1, 2))(*point)
        for place, slope in enumerate(slopes):
            up, down = (sums(*(one + step * (i == place) for i, one in enumerate(point))) for step in (1e-5, -1e-5))
            assert np.asarray(slope) == pytest.approx((up - down)[output // 2] / 2e-5, rel=1e-5, abs=1e-8)


def test_solving_for_the_threshold():
    rng = np.random.default_rng(2)
    mean, shape, threshold = rng.normal(-2, 0.7, 40), rng.normal(1.5, 0.7, 40), rng.normal(-1.5, 0.7, 40)
    shape[0] = -1.0  # a density that piles up at 0
    with jax.enable_x64(True):
        rate, rest, _, _ = FAMILY.observables(mean, shape, threshold)
        assert np.asarray(_solved(FAMILY, mean, shape, rate - rest)) == pytest.approx(threshold, abs=1e-6)


def simulated(seed: int, thresholds: tuple[float, float], departments: int, size: float):
    """Beta risks of mean 0.2 and 0.375 (infra-marginality's pair), departments that differ."""
    rng = np.random.default_rng(seed)
    mean = 1 / (1 + np.exp(-(logit(np.array([0.2, 0.375])) + rng.normal(0.0, 0.3, (departments, 1)))))
    total = np.array([10.0, 8.0]) * np.exp(rng.normal(0.0, 0.1, (departments, 1)))
    threshold = 1 / (1 + np.exp(-(logit(np.array(thresholds)) + rng.normal(0.0, 0.3, (departments, 2)))))
    rate, hit = closed(mean, total, threshold)
    n = rng.poisson(size * rng.gamma(2.0, 0.5, (departments, 2))) + 20
    s = rng.binomial(n, rate)
    return counts_table(n, s, rng.binomial(s, hit), ["a", "b"]), n.sum(axis=1) / n.sum() @ threshold


def test_a_small_sample_runs_and_is_near():
    counts, truth = simulated(3, (0.30, 0.30), 4, 1500.0)
    found = threshold_test(counts, chains=1, warmup=60, draws=40)
    for one, true in zip(found.groups, truth, strict=True):
        assert one.low - 0.1 < true < one.high + 0.1
    assert found.name == "threshold test" and found.pairs[0].low < 0.05


@pytest.mark.slow
def test_thresholds_are_found_where_the_outcome_test_is_fooled():
    """Thresholds .30 and .13157 have equal hit rates; thresholds .30 and .30 have not."""
    counts, truth = simulated(4, (0.30, 0.13157), 15, 3000.0)
    found = threshold_test(counts, chains=2, warmup=200, draws=200)
    assert found.pairs[0].high < 0.0
    assert found.groups[0].low - 0.01 < truth[0] < found.groups[0].high + 0.01
    counts, _ = simulated(5, (0.30, 0.30), 15, 3000.0)
    found = threshold_test(counts, chains=2, warmup=200, draws=200)
    assert found.pairs[0].low < 0.0 < found.pairs[0].high

"""Maps from scores to probabilities: closed forms, brute force, and coverage by simulation."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import beta

from demonstrably.decisions.calibration import (
    calibrated,
    design_effect,
    fit_logistic,
    isotonic_at,
    isotonic_map,
    mean_interval,
    monotone_band,
    straight_odds,
    windows,
)


def count_distribution(probabilities):
    """P(k successes) of independent cases with these probabilities."""
    law = np.ones(1)
    for q in probabilities:
        law = np.convolve(law, [1.0 - q, q])
    return law


def test_mean_interval_is_clopper_pearson_but_for_one_success():
    low, high = mean_interval(np.array([3.0, 0.0, 10.0, 1.0]), np.full(4, 10.0), 0.025)
    np.testing.assert_allclose(low, [beta.ppf(0.025, 3, 8), 0.0, beta.ppf(0.025, 10, 1), 0.0025])
    np.testing.assert_allclose(high, [beta.ppf(0.975, 4, 7), 1 - 0.025 ** (1 / 10), 1.0, beta.ppf(0.975, 2, 9)])


@pytest.mark.parametrize("tail", [0.025, 0.1, 0.2])
def test_mean_interval_holds_for_unlike_probabilities(tail):
    """The exact chance of a wrong bound, for thousands of ways to spread a mean over cases; some put it all in one."""
    random, worst = np.random.default_rng(0), 0.0
    for n in (1, 2, 3, 5, 8):
        k = np.arange(n + 1.0)
        low, high = mean_interval(k, np.full(n + 1, float(n)), tail)
        spread = random.beta(0.15, 0.15, (1500, n))
        alone = np.concatenate([np.linspace(0, 1, 400)[:, None], np.zeros((400, n - 1))], axis=1)
        for q in np.concatenate([spread, alone]):
            law = count_distribution(q)
            worst = max(worst, law[low > q.mean() + 1e-12].sum(), law[high < q.mean() - 1e-12].sum())
    assert 0.5 * tail < worst <= tail + 1e-9


def test_clopper_pearson_itself_would_fail_for_one_case_that_holds_all_of_the_chance():
    """Why one success is bounded by Markov's inequality: 0.2 / n against 1 - 0.8^(1 / n)."""
    tail, n = 0.2, 8
    clopper = beta.ppf(tail, 1, n)
    certain = n * (clopper - 1e-6)  # the one case's probability; P(one success) is the same
    assert certain > tail
    assert mean_interval(np.array([1.0]), np.array([float(n)]), tail)[0][0] <= certain / n


def test_windows_never_part_equal_scores_and_cover_all():
    ordered = np.sort(np.random.default_rng(0).integers(0, 37, 1000).astype(float))
    first, last = windows(ordered)
    assert (first < last).all() and first.min() == 0 and last.max() == 1000
    assert all(a == 0 or ordered[a - 1] < ordered[a] for a in first)
    assert all(b == 1000 or ordered[b - 1] < ordered[b] for b in last)
    assert len({*zip(first.tolist(), last.tolist(), strict=True)}) == len(first)


def test_band_does_not_depend_on_the_order_of_rows():
    random = np.random.default_rng(1)
    score = random.integers(0, 10, 500).astype(float)
    outcomes = (random.random(500) < score / 10).astype(float)
    by_outcome = np.argsort(outcomes)
    one = monotone_band(score, outcomes, np.arange(10.0))
    other = monotone_band(score[by_outcome], outcomes[by_outcome], np.arange(10.0))
    np.testing.assert_array_equal(one, other)


def test_band_outside_the_seen_scores_is_open_on_that_side():
    low, high = monotone_band(np.arange(100.0), (np.arange(100) > 50).astype(float), np.array([-5.0, 200.0]))
    assert low[0] == 0.0 and high[1] == 1.0
    assert high[0] < 0.5 < low[1]


def band_failures(runs, n, distinct):
    random, failures = np.random.default_rng(3), 0
    for _ in range(runs):
        score = random.random(n) if distinct is None else random.integers(0, distinct, n) / distinct
        q = expit(6 * (score - 0.5))
        low, high = monotone_band(score, (random.random(n) < q).astype(float), score)
        failures += bool(((q < low) | (q > high)).any())
    return failures


@pytest.mark.parametrize("distinct", [None, 10])
def test_band_holds_everywhere_at_once(distinct):
    assert band_failures(150, 400, distinct) <= 12


@pytest.mark.slow
@pytest.mark.parametrize(("n", "distinct"), [(60, None), (1000, None), (1000, 10)])
def test_band_fails_in_at_most_a_twentieth_of_data_sets(n, distinct):
    """Finite-sample: the bound is 5 % of data sets; 2,000 of them put the count below 130 with chance 0.999."""
    assert band_failures(2000, n, distinct) <= 130


def test_band_narrows_with_more_outcomes():
    random, widths = np.random.default_rng(4), []
    for n in (1000, 30_000, 1_000_000):
        score = random.random(n)
        low, high = monotone_band(score, (random.random(n) < score).astype(float), np.array([0.5]))
        widths.append(high[0] - low[0])
    assert widths[0] < 0.5 and widths[1] < 0.5 * widths[0] and widths[2] < 0.5 * widths[1]


def test_isotonic_map_is_the_max_of_mins_of_averages():
    random = np.random.default_rng(5)
    for _ in range(50):
        score = random.integers(0, 7, 30).astype(float)
        outcomes = random.integers(0, 2, 30).astype(float)
        levels, fitted, block = isotonic_map(score, outcomes)
        brute = [
            max(
                min(outcomes[(score >= a) & (score <= b)].mean() for b in levels if b >= at)
                for a in levels
                if a <= at
            )
            for at in levels
        ]
        np.testing.assert_allclose(fitted, brute, atol=1e-12)
        pooled = [outcomes[block == block[i]].mean() for i in range(30)]
        np.testing.assert_allclose(pooled, isotonic_at(score, outcomes, score))


def test_straight_odds_rise_and_stay_finite():
    score = np.arange(40.0)
    odds = straight_odds(score, (score > 20).astype(float), np.linspace(-10, 60, 200))
    assert np.isfinite(odds).all() and (np.diff(odds) >= 0).all() and odds[0] < -3 < 3 < odds[-1]


@pytest.mark.parametrize(("zeros", "ones"), [((7, 20), (15, 18)), ((0, 12), (30, 30))])
def test_logistic_of_two_scores_adds_a_half_to_every_cell(zeros, ones):
    """Jeffreys' prior in a saturated model: log-odds (k + 1/2) / (n - k + 1/2), finite where the score separates."""
    score = np.repeat([0.0, 5.0], [zeros[1], ones[1]])
    outcomes = np.concatenate([np.arange(n) < k for k, n in (zeros, ones)]).astype(float)
    fitted = fit_logistic(score, outcomes)
    expected = [np.log((k + 0.5) / (n - k + 0.5)) for k, n in (zeros, ones)]
    assert fitted.intercept == pytest.approx(expected[0], abs=1e-6)
    assert fitted.slope == pytest.approx((expected[1] - expected[0]) / 5, abs=1e-6)


def test_logistic_agrees_with_maximum_likelihood_for_many_cases():
    linear = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(6)
    score = random.normal(3.0, 10.0, 50_000)
    outcomes = (random.random(50_000) < expit(0.1 * score - 0.5)).astype(float)
    fitted = fit_logistic(score, outcomes)
    peer = linear.LogisticRegression(C=np.inf, tol=1e-10).fit(score[:, None], outcomes)
    assert fitted.slope == pytest.approx(peer.coef_[0, 0], rel=1e-3)
    assert fitted.intercept == pytest.approx(peer.intercept_[0], rel=1e-3)
    x, p = np.stack([np.ones(50_000), score]), peer.predict_proba(score[:, None])[:, 1]
    expected = np.linalg.inv((x * p * (1 - p)) @ x.T)[1, 1]
    assert fitted.covariance[1, 1] / fitted.scale**2 == pytest.approx(expected, rel=0.05)


def test_clusters_of_copies_count_once():
    random = np.random.default_rng(7)
    score, case = random.normal(size=300), np.repeat(np.arange(300), 9)
    outcomes = (random.random(300) < expit(score)).astype(float)
    alone = fit_logistic(score, outcomes)
    copies = fit_logistic(score[case], outcomes[case], case)
    naive = fit_logistic(score[case], outcomes[case])
    np.testing.assert_allclose(copies.covariance, alone.covariance, rtol=0.05)
    assert copies.clusters == 300
    assert naive.covariance[1, 1] < 0.2 * alone.covariance[1, 1]


def test_a_score_that_does_not_vary_or_falls_gives_the_mean():
    outcomes = (np.arange(40) < 10).astype(float)
    assert fit_logistic(np.ones(40), outcomes).probability(np.ones(1))[0] == pytest.approx(0.25, abs=0.02)
    falling = fit_logistic(np.arange(40.0), outcomes)
    assert np.ptp(falling.probability(np.arange(40.0))) == 0.0


@pytest.mark.slow
def test_logistic_band_holds_in_95_percent_of_data_sets():
    """The line's two weights lie in Scheffe's ellipse; 2,000 data sets, standard error of the share 0.5 %."""
    random, inside, grid = np.random.default_rng(8), 0, np.linspace(-40.0, 40.0, 400)
    for _ in range(2000):
        score = random.normal(size=400)
        outcomes = (random.random(400) < expit(0.8 * score - 0.4)).astype(float)
        fitted = fit_logistic(score, outcomes)
        error = np.array([fitted.weights[0] - (-0.4 + 0.8 * fitted.center), fitted.weights[1] - 0.8 * fitted.scale])
        inside += error @ np.linalg.solve(fitted.covariance, error) < 2 * 3.018  # F(2, 398) at 0.95
        assert (fitted.error(grid, 0.95) >= 0.0).all()
    assert 0.94 <= inside / 2000 <= 0.97


def test_design_effect_of_copies_is_their_number():
    outcomes = np.random.default_rng(9).integers(0, 2, 500).astype(float)
    assert design_effect(np.repeat(outcomes, 6), np.repeat(np.arange(500), 6)) == pytest.approx(6, rel=0.01)
    assert design_effect(outcomes, np.arange(500)) == pytest.approx(1, rel=0.01)
    assert design_effect(np.ones(12), np.repeat([0, 1], 6)) == 6


def test_calibration_bins_hold_equal_counts_and_equal_forecasts_together():
    random = np.random.default_rng(10)
    forecast = random.random(4000)
    outcomes = (random.random(4000) < forecast).astype(float)
    shown = calibrated(forecast, outcomes)
    assert shown.counts == (400,) * 10
    assert shown.slope == pytest.approx(1, abs=0.1) and shown.intercept == pytest.approx(0, abs=0.1)
    assert all(low <= rate <= high for low, rate, high in zip(shown.low, shown.observed, shown.high, strict=True))
    coarse = calibrated(np.repeat([0.2, 0.7], 50), np.tile([0.0, 1.0], 50))
    assert coarse.counts == (50, 50) and coarse.forecast == pytest.approx((0.2, 0.7))


def test_calibration_of_clustered_outcomes_is_less_sure():
    forecast, case = np.full(600, 0.5), np.repeat(np.arange(100), 6)
    outcomes = (case % 2).astype(float)
    plain, clustered = calibrated(forecast, outcomes), calibrated(forecast, outcomes, cluster=case)
    assert clustered.high[0] - clustered.low[0] > 2 * (plain.high[0] - plain.low[0])


def test_overconfident_forecasts_have_a_slope_below_one():
    random = np.random.default_rng(11)
    odds = random.normal(size=20_000)
    outcomes = (random.random(20_000) < expit(odds)).astype(float)
    assert calibrated(expit(2 * odds), outcomes).slope == pytest.approx(0.5, abs=0.04)
    assert calibrated(expit(odds + 1), outcomes).intercept == pytest.approx(-1, abs=0.1)
    assert logit(0.5) == 0.0


def test_all_means_of_bands_are_probabilities():
    for n, k in itertools.product((1, 5, 100), (0.0, 1.0)):
        low, high = mean_interval(np.array([k]), np.array([float(n)]), 0.025)
        assert 0.0 <= low[0] <= k / n <= high[0] <= 1.0

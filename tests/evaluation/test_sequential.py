"""Evidence under peeking: exact checks on small trees of outcomes, and against numerical integration."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from demonstrably.evaluation.sequential import (
    BETS,
    GRID,
    betting_test,
    e_value,
    grid_means,
    log_factors,
    mean_test,
    mixed,
    pairs_to_decide,
    sign_test,
    unpaired_evidence,
)


def arm_wealth(scores, arms=1):
    """Log wealth of one arm against "at most m" and "at least m", (GRID,) each."""
    x, m = np.asarray(scores, dtype=float)[:, None], grid_means()
    return mixed(log_factors(x, m).sum(axis=0)), mixed(log_factors(1 - x, 1 - m).sum(axis=0))


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 3), (5, 2), (17, 30), (60, 20)])
def test_sign_test_is_the_integral(wins, losses):
    def integrand(angle):  # t = sin(angle)^2 makes the Beta(1/2, 1/2) density flat
        t = math.sin(angle) ** 2
        return (2 * t) ** wins * (2 * (1 - t)) ** losses

    integral = quad(integrand, math.pi / 4, math.pi / 2, epsabs=0, epsrel=1e-10)[0] / (math.pi / 4)
    assert sign_test(wins, losses) == pytest.approx(math.log(integral), abs=1e-8)


def test_sign_test_is_a_martingale_at_one_half_and_falls_on_average_below():
    wins, losses = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    now = np.exp(sign_test(wins, losses))
    up, down = np.exp(sign_test(wins + 1, losses)), np.exp(sign_test(wins, losses + 1))
    np.testing.assert_allclose(0.5 * up + 0.5 * down, now, rtol=1e-9)
    for chance in (0.45, 0.3, 0.0):
        assert np.all(chance * up + (1 - chance) * down < now)
    assert np.all(0.6 * up + 0.4 * down > now)  # and it grows once the hypothesis is false


def reached(chance, pairs, alpha):
    """Exact probability that the sign test reaches 1 / alpha within so many discordant pairs."""
    alive, done = np.array([1.0]), 0.0  # alive[w]: probability of w wins so far without having reached it
    for n in range(1, pairs + 1):
        alive = np.append(alive * (1 - chance), 0.0) + np.insert(alive * chance, 0, 0.0)
        out = sign_test(np.arange(n + 1), n - np.arange(n + 1)) >= math.log(1 / alpha)
        done, alive = done + alive[out].sum(), np.where(out, 0.0, alive)
    return done


def test_sign_test_rarely_errs_however_long_one_looks():
    assert 0.02 < reached(0.5, 1000, 0.05) <= 0.05
    assert reached(0.4, 300, 0.05) < reached(0.5, 300, 0.05)
    assert reached(0.8, 100, 0.05) > 0.99


def test_sign_test_survives_extreme_counts():
    assert sign_test(0, 5000) < -100
    assert np.isfinite(sign_test(100_000, 0))
    assert np.isfinite(e_value(sign_test(100_000, 0)))


def test_betting_on_signs_is_the_sign_test():
    signs = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=(3, 300), p=[0.3, 0.3, 0.4])
    wins, losses = (signs > 0).cumsum(axis=1), (signs < 0).cumsum(axis=1)
    np.testing.assert_allclose(betting_test(signs), sign_test(wins, losses), atol=2e-3)


@pytest.mark.parametrize(
    ("values", "chances"),
    [((0.0, 1.0), (0.7, 0.3)), ((0.0, 0.5, 1.0), (0.2, 0.5, 0.3)), ((0.05, 1.0), (0.9, 0.1))],
)
def test_wealth_is_one_on_average_at_the_mean_and_less_below(values, chances):
    mean = float(np.dot(values, chances))
    paths = np.array(list(itertools.product(range(len(values)), repeat=7)))
    scores, weights = np.array(values)[paths], np.array(chances)[paths].prod(axis=1)
    assert weights @ np.exp(mean_test(scores, mean)[:, -1]) == pytest.approx(1.0)
    assert weights @ np.exp(mean_test(scores, mean + 0.05)[:, -1]) < 0.95
    assert weights @ np.exp(mean_test(scores, mean - 0.05)[:, -1]) > 1.0


def test_margin_moves_the_hypothesis():
    differences = np.full(60, 0.1)
    assert betting_test(differences)[-1] > 0
    assert betting_test(differences, margin=0.1)[-1] == pytest.approx(0.0, abs=1e-9)
    assert betting_test(differences, margin=-0.1)[-1] > betting_test(differences)[-1]


def test_unpaired_evidence_is_below_the_least_product_and_close_to_it():
    generator = np.random.default_rng(1)
    for first, second, episodes in (
        (0.9, 0.4, 20),
        (0.7, 0.5, 100),
        (0.5, 0.7, 60),
        (1.0, 0.0, 9),
        (0.2, 0.2, 1),
    ):
        x = (generator.random(episodes) < first).astype(float)
        y = (generator.random(episodes) < second).astype(float)
        fine = np.linspace(1e-3, 1 - 1e-3, 1001)
        above = mixed(log_factors(x[:, None], fine).sum(axis=0))
        below = mixed(log_factors(1 - y[:, None], 1 - fine).sum(axis=0))
        least = (above + below).min()
        found = unpaired_evidence(arm_wealth(x)[0], arm_wealth(y)[1])
        assert least - 0.5 < found <= least + 1e-9


def test_unpaired_evidence_is_an_e_value():
    """Mean at most 1 over all outcomes of five and four episodes, wherever the equal means lie."""
    count = 2 ** np.arange(5)
    outcomes = (np.arange(32)[:, None] // count) % 2
    above = np.stack([arm_wealth(row)[0] for row in outcomes])
    below = np.stack([arm_wealth(row[:4])[1] for row in outcomes[:16]])
    evidence = np.exp(unpaired_evidence(above[:, None], below[None]))
    for rate in (0.01, 0.1, 0.35, 0.5, 0.8, 0.99):
        first = (rate**outcomes * (1 - rate) ** (1 - outcomes)).prod(axis=1)
        second = (rate ** outcomes[:16, :4] * (1 - rate) ** (1 - outcomes[:16, :4])).prod(axis=1)
        assert first @ evidence @ second <= 1.0
        better = min(rate + 0.5, 1.0)  # the second is better by 0.5: within the hypothesis with slack 0.5 too
        second = (better ** outcomes[:16, :4] * (1 - better) ** (1 - outcomes[:16, :4])).prod(axis=1)
        slack = np.exp(unpaired_evidence(above[:, None], below[None], slack=better - rate))
        assert first @ slack @ second <= 1.0


def test_slack_helps_and_is_rounded_to_the_cautious_side():
    x = np.ones(40)
    above, below = arm_wealth(x)[0], arm_wealth(x)[1]
    assert unpaired_evidence(above, below, slack=0.1) > unpaired_evidence(above, below) + 1
    half_step = 0.5 / GRID
    assert unpaired_evidence(above, below, slack=0.1 + half_step) == unpaired_evidence(above, below, slack=0.1)


def test_stakes_are_shares():
    assert 0 < BETS.min() < BETS.max() < 1


def test_guess_of_pairs_is_of_the_right_size():
    """0.5 against 0.7 with independent seeds: half of the runs have reached log 20 at about the guess."""
    generator = np.random.default_rng(2)
    a, b = (generator.random((400, 400)) < rate for rate in (0.7, 0.5))
    evidence = sign_test((a & ~b).cumsum(axis=1), (b & ~a).cumsum(axis=1)) >= math.log(20)
    median = np.median(np.where(evidence.any(axis=1), evidence.argmax(axis=1), 400))
    guess = pairs_to_decide(0.2, 0.5, math.log(20))
    assert 0.5 * median < guess < 2.0 * median
    assert pairs_to_decide(0.2, 0.5, 0.0) < guess < pairs_to_decide(0.1, 0.5, math.log(20))

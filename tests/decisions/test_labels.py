"""Selective labels: what pattern is told, the arithmetic of the bound, and that it holds where the truth is known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from demonstrably.decisions.labels import ALIKE, mixed, outcomes_seen, selective_labels, share_seen
from demonstrably.decisions.posterior import Posterior

NAN = np.nan


@pytest.mark.parametrize(
    ("outcomes", "only", "complete", "text"),
    [
        ([0, 1, 1, 0], None, True, "all of the 4 outcomes were seen"),
        ([NAN, NAN, 1, 0], 1, False, "only after decision 1: for 0 of 2 decisions 0 and 2 of 2 decisions 1"),
        ([0, 1, NAN, NAN], 0, False, "only after decision 0: for 2 of 2 decisions 0 and 0 of 2 decisions 1"),
        ([0, NAN, 1, 1], None, False, "for 1 of 2 decisions 0 and 2 of 2 decisions 1"),
        ([NAN, NAN, NAN, NAN], None, False, "none of the 4 outcomes were seen"),
    ],
)
def test_tells_where_outcomes_were_seen(outcomes, only, complete, text):
    seen = outcomes_seen(np.array([0.0, 0.0, 1.0, 1.0]), np.array(outcomes, float))
    assert (seen.only, seen.complete) == (only, complete)
    assert text in seen.text


def test_mixture_by_hand():
    """q1 = 0.2 has odds 1/4; at 4 times the odds q0 = 1/2; half seen gives 0.35."""
    assert mixed(np.array([0.2]), np.array([0.5]), 4.0)[0] == pytest.approx(0.35)
    np.testing.assert_allclose(mixed(np.array([0.0, 1.0]), np.array([0.0, 0.0]), 9.0), [0.0, 1.0])


def test_share_seen_rises_or_falls_as_it_must():
    random = np.random.default_rng(0)
    score = random.normal(size=5000)
    for sign in (-1, 1):
        chance = expit(sign * 2 * score)
        share = share_seen(score, random.random(5000) < chance)
        assert np.abs(share - chance).mean() < 0.03
        assert (np.diff(share[np.argsort(score)]) * sign >= 0).all()


def world(gamma, n=20_000):
    """People who decide 1 by q and by something unrecorded, which multiplies the odds of the unseen by 1 / gamma."""
    random = np.random.default_rng(1)
    score = random.normal(size=n)
    decisions = (random.random(n) < expit(score)).astype(float)
    seen = expit(score - 0.3)
    truth = np.where(decisions == 1, seen, expit(logit(seen) - np.log(gamma)))
    outcomes = (random.random(n) < truth).astype(float)
    mean = expit(score) * seen + (1 - expit(score)) * expit(logit(seen) - np.log(gamma))
    return score, decisions, np.where(decisions == 1, outcomes, np.nan), mean


def test_band_holds_the_truth_if_the_odds_are_large_enough():
    score, decisions, outcomes, q = world(gamma=2.0)
    posterior = Posterior.from_classifier(None, score[:, None], outcomes)
    one, two = selective_labels(posterior, decisions, odds=(1.0, 2.0))
    np.testing.assert_allclose(one.low, posterior.probability)
    np.testing.assert_allclose(one.high, posterior.probability)
    assert ((one.low - q) > 0.05).mean() > 0.5
    inside = (two.low - two.lowest.error <= q + 0.01) & (q <= two.high + two.highest.error)
    assert inside.mean() > 0.98
    assert np.abs(two.low - q).mean() < 0.02


def test_bands_are_nested_and_keep_an_error():
    score, decisions, outcomes, _ = world(gamma=1.0, n=2000)
    posterior = Posterior.from_score(score, outcomes)
    bands = selective_labels(posterior, decisions)
    assert [band.odds for band in bands] == [1.0, 1.5, 2.0, 3.0]
    for narrow, wide in zip(bands[:-1], bands[1:], strict=True):
        assert (wide.low <= narrow.low + 1e-12).all() and (narrow.high <= wide.high + 1e-12).all()
    np.testing.assert_allclose(bands[0].lowest.error, posterior.error, atol=1e-12)
    assert bands[0].lowest.outcomes is None and "2 times the odds" in bands[2].highest.name


def test_complete_outcomes_leave_no_doubt():
    score, decisions, _, _ = world(gamma=1.0, n=1000)
    outcomes = (np.random.default_rng(2).random(1000) < expit(score)).astype(float)
    (band,) = selective_labels(Posterior.from_score(score, outcomes), decisions, odds=(5.0,))
    np.testing.assert_allclose(band.low, band.high)


def test_says_what_is_assumed():
    score, decisions, outcomes, _ = world(gamma=1.0, n=500)
    one, two = selective_labels(Posterior.from_score(score, outcomes), decisions, odds=(1.0, 2.0))
    assert one.text.startswith("outcomes were seen only after decision 1") and ALIKE in one.text
    assert "between 1/2 and 2 times" in two.text


def test_share_is_told_within_groups():
    """In group 1 all are seen, in group 0 none but a few: only group 0 can move."""
    random = np.random.default_rng(3)
    score, group = random.normal(size=2000), np.repeat([0, 1], 1000)
    decisions = np.where(group == 1, 1.0, (random.random(2000) < 0.1).astype(float))
    outcomes = np.where(decisions == 1, random.random(2000) < expit(score), NAN).astype(float)
    posterior = Posterior.from_score(score, outcomes)
    (band,) = selective_labels(posterior, decisions, odds=(3.0,), groups=group)
    assert np.ptp((band.high - band.low)[group == 1]) == 0.0
    assert (band.high - band.low)[group == 0].mean() > 0.2


@pytest.mark.parametrize(
    ("posterior", "decisions", "odds", "message"),
    [
        (Posterior.given([0.1, 0.9]), [0, 1], (2.0,), "calibrated on no outcomes"),
        (None, [0, 2], (2.0,), "give 0 or 1 for each of 2 rows"),
        (None, [0], (2.0,), r"shape \(1,\)"),
        (None, [0, 1], (0.5,), "odds 0.5"),
        (None, [0, 1], (np.inf,), "odds inf"),
    ],
)
def test_refuses(posterior, decisions, odds, message):
    known = Posterior.from_score(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=message):
        selective_labels(posterior or known, np.array(decisions, float), odds)

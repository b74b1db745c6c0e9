"""Summaries over members and tasks, against small cases by hand."""

import numpy as np
import pytest
from scipy import stats

from demonstrably.evaluation.aggregate import (
    iqm,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap_interval,
)


def test_iqm_by_hand():
    assert iqm([[0.0], [1.0], [2.0], [9.0]]) == 1.5
    assert iqm([[1.0, 5.0], [2.0, 100.0], [-50.0, 3.0], [4.0, 6.0]]) == 3.5  # 2, 3, 4, 5 are the middle half
    assert iqm([[1.0], [2.0], [6.0]]) == 3.0  # too few to leave any out
    scores = np.random.default_rng(0).random((5, 7))
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores, 0.25, axis=None))


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([[1.0], [3.0]], [[0.0], [2.0], [3.0]]) == pytest.approx((1 + 2.5) / 6)
    assert probability_of_improvement([[1.0, 0.0]], [[0.0, 1.0]]) == 0.5
    assert probability_of_improvement([[1.0]], [[1.0]]) == 0.5
    x, y = np.random.default_rng(1).integers(0, 4, (2, 9, 1)).astype(float)
    mann_whitney = stats.mannwhitneyu(x[:, 0], y[:, 0]).statistic / 81
    assert probability_of_improvement(x, y) == pytest.approx(mann_whitney)
    with pytest.raises(ValueError, match="same tasks"):
        probability_of_improvement([[1.0]], [[1.0, 2.0]])


def test_performance_profile_by_hand():
    profile = performance_profile([[0.0, 10.0], [1.0, 20.0]], [-1.0, 0.0, 5.0, 10.0, 20.0])
    np.testing.assert_allclose(profile, [1.0, 0.75, 0.5, 0.25, 0.0])


def test_bootstrap_draws_members_within_their_task():
    """Tasks of very different scale: mixing them would spread the mean, drawing within each does not."""
    tasks = np.array([[0.0, 1000.0]] * 4)
    assert stratified_bootstrap_interval(iqm, tasks).low == stratified_bootstrap_interval(iqm, tasks).high == 500.0
    spread = tasks + np.arange(4)[:, None]
    found = stratified_bootstrap_interval(lambda x: float(x.mean()), spread, repetitions=4000)
    assert found.mean == 501.5 and found.episodes == 4
    deviation = np.sqrt(1.25 / 4 / 2)  # two tasks drawn apart
    assert found.low == pytest.approx(501.5 - 1.96 * deviation, abs=0.15)
    assert found.high == pytest.approx(501.5 + 1.96 * deviation, abs=0.15)


def test_bootstrap_of_two_arrays_is_seeded():
    x, y = np.random.default_rng(2).random((2, 6, 1))
    first = stratified_bootstrap_interval(probability_of_improvement, x, y)
    assert first == stratified_bootstrap_interval(probability_of_improvement, x, y)
    assert first != stratified_bootstrap_interval(probability_of_improvement, x, y, seed=1)
    assert 0.0 <= first.low <= first.mean <= first.high <= 1.0


def test_wrong_shapes_are_refused():
    for wrong in ([1.0, 2.0], np.zeros((0, 1))):
        with pytest.raises(ValueError, match="members, tasks"):
            iqm(wrong)
    with pytest.raises(ValueError, match="no scores"):
        stratified_bootstrap_interval(iqm)

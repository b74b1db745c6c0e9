"""Statistics are exact, whatever the blocks, and constants are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demonstrably.data.stats import moments


@given(
    cuts=st.lists(st.integers(0, 50), max_size=5),
    offset=st.sampled_from([0.0, 1e3, -1e6]),
    seed=st.integers(0, 10),
)
def test_any_blocks_give_what_all_rows_at_once_give(cuts, offset, seed):
    rows = (np.random.default_rng(seed).normal(size=(50, 3)) + offset).astype(np.float32)
    found = moments(np.split(rows, sorted(cuts)))
    exact = rows.astype(np.float64)
    assert found.count == 50
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found.scale, exact.std(0), rtol=1e-9)
    assert (found.minimum == exact.min(0)).all() and (found.maximum == exact.max(0)).all()


def test_a_large_mean_does_not_swallow_the_spread():
    rows = np.array([[16777216.0], [16777218.0], [16777220.0]], np.float32)
    found = moments([rows[:1], rows[1:]])
    assert found.mean[0] == 16777218.0
    assert found.squares[0] == 8.0


def test_constants_have_scale_zero_and_small_signals_do_not():
    rows = np.zeros((100, 5), np.float32)
    rows[:, 1] = 0.1
    rows[::2, 2] = np.nextafter(np.float32(0.1), np.float32(1))  # 0.1 written with rounding noise
    rows[1::2, 2] = 0.1
    rows[::2, 3] = 1e-20  # tiny, but a signal
    rows[::2, 4] = 1.0
    found = moments([rows])
    assert found.constant.tolist() == [True, True, True, False, False]
    assert (found.scale == 0).tolist() == [True, True, True, False, False]
    assert found.scale[3] == pytest.approx(5e-21) and found.scale[4] == pytest.approx(0.5)


def test_bytes_are_summed_without_overflow():
    rows = np.full((70000, 2), 255, np.uint8)
    rows[0] = 0
    found = moments([rows])
    assert found.mean[0] == pytest.approx(255 * 69999 / 70000, rel=1e-14)
    assert found.scale[0] == pytest.approx(np.sqrt(69999) * 255 / 70000, rel=1e-12)


def test_no_rows():
    with pytest.raises(ValueError, match="statistics of no rows"):
        moments([])

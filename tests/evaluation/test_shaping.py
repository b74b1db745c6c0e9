"""Shaping is taken out of recorded rewards: what is left knows neither potential nor constant nor scale."""

import math
from functools import partial

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation import reward_report as module
from demonstrably.evaluation import shaping as shaping_module
from demonstrably.evaluation.shaping import unshaped

DISCOUNT, LENGTHS = 0.9, [30, 50, 40] * 4
STEPS, EPISODES = sum(LENGTHS), len(LENGTHS)
reward_report = partial(module.reward_report, repetitions=50, discount=DISCOUNT)
DRAWS = np.random.default_rng(0)
SEEN = DRAWS.normal(size=(STEPS + EPISODES, 2)).astype(np.float32)
TRUE = DRAWS.normal(size=STEPS)
OVER = np.isin(np.arange(STEPS), np.cumsum(LENGTHS)[::2] - 1)  # every other episode ends its task
ROWS = np.delete(np.arange(STEPS + EPISODES), np.cumsum(np.array(LENGTHS) + 1) - 1)  # observations that were acted on


def recorded(seen: np.ndarray = SEEN, lengths: list[int] = LENGTHS) -> Demonstrations:
    steps = sum(lengths)
    actions = np.zeros(steps, np.int64)
    return Demonstrations.from_arrays(seen, actions, TRUE[:steps].astype(np.float32), OVER[:steps], lengths=lengths)


def shaping() -> np.ndarray:
    """Of a potential that is quadratic in what is seen, and 0 after the end of the task."""
    x, y = SEEN.astype(np.float64).T
    potential = 3.0 + x - 2.0 * y + 0.5 * x * y - y**2
    return DISCOUNT * potential[ROWS + 1] * ~OVER - potential[ROWS]


def test_shaping_constant_and_scale_are_no_distance() -> None:
    found = reward_report(np.stack([4.0 * TRUE + 10.0 * shaping(), TRUE, -TRUE + shaping()]), recorded())
    assert found.distance.members == pytest.approx((0.0, 0.0, 1.0), abs=1e-3)
    assert found.within.members[0] < 0.3
    assert "Distance of steps, shaping taken out: 0.33" in str(found)
    assert found.to_dict()["distance"]["mean"]["episodes"] == EPISODES


def test_another_discount_leaves_shaping_in() -> None:
    found = reward_report((TRUE + 10.0 * shaping())[None], recorded(), discount=0.5)
    assert found.distance.mean.mean > 0.2


def test_without_any_tie_or_any_reward_it_is_that_of_no_correlation() -> None:
    other = np.random.default_rng(1).normal(size=STEPS)
    found = reward_report(np.stack([other, shaping()]), recorded())
    assert found.distance.members[0] == pytest.approx(math.sqrt(1 / 2), abs=0.05)
    assert found.distance.members[1] == pytest.approx(math.sqrt(1 / 2))


@pytest.mark.parametrize("discount", [1.0, -0.1, math.nan])
def test_a_discount_that_sums_up_no_end_is_refused(discount: float) -> None:
    with pytest.raises(ValueError, match="below 1"):
        reward_report(TRUE[None], recorded(), discount=discount)


def test_what_follows_the_end_is_worth_its_sum() -> None:
    after = np.array([-0.7])
    ended = TRUE - OVER * after * DISCOUNT / (1 - DISCOUNT)
    assert reward_report(ended[None], recorded(), afterwards=after).distance.mean.mean == pytest.approx(0, abs=1e-6)
    assert reward_report(ended[None], recorded()).distance.mean.mean > 0.15


def test_what_is_left_is_least(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.ones(STEPS, bool)
    left = unshaped(TRUE[None], recorded(), known, DISCOUNT)
    monkeypatch.setattr(shaping_module, "BATCH", 100)  # steps at once change nothing
    again = unshaped(TRUE[None] + shaping(), recorded(), known, DISCOUNT)
    np.testing.assert_allclose(left, again, atol=1e-9)
    assert np.linalg.norm(left) < np.linalg.norm(TRUE)
    assert not unshaped(shaping()[None], recorded(), known, DISCOUNT).any()


def test_a_class_that_would_be_too_large_stays_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    known = np.ones(STEPS, bool)
    monkeypatch.setattr(shaping_module, "WIDEST", 5)  # with two numbers it takes six
    assert np.abs(unshaped(shaping()[None], recorded(), known, DISCOUNT)).max() > 0.1
    linear = DISCOUNT * SEEN[ROWS + 1, 0] * ~OVER - SEEN[ROWS, 0]
    assert not unshaped(linear[None].astype(np.float64), recorded(), known, DISCOUNT).any()


def test_unknown_steps_are_left_out() -> None:
    values = np.stack([TRUE, TRUE])
    values[0, 5] = np.nan
    known = np.isfinite(values).all(0)
    assert unshaped(values, recorded(), known, DISCOUNT).shape == (2, STEPS - 1)
    assert reward_report(values, recorded()).distance.members == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize(
    ("demos", "reason"),
    [
        (recorded(np.zeros((STEPS + EPISODES, 8, 8, 3), np.uint8)), "only images"),
        (recorded(SEEN[:33], [10, 10, 10]), "numbers it takes 60 steps and there are 30"),
    ],
)
def test_where_it_cannot_be_told_it_says_why(demos: Demonstrations, reason: str) -> None:
    found = reward_report(np.ones((1, demos.transitions)), demos)
    assert found.distance.mean is None and reason in str(found.distance)

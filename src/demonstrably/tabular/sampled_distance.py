"""Distances between rewards that are functions, from samples of transitions; `distance` has the equations and sources.

A reward is called as reward(states, actions, next_states), arrays with one row a transition, and gives an array (n,).

The expectations of a canonical form are means over samples. Both rewards see the same samples, so that potential
shaping cancels in every sample and not on average only. A mean has an error, and the square of a form with an error is
too large on average; so every form is computed twice, from separate samples, and a square is the product of the two.
The interval is a jackknife over groups of transitions, each with samples of its own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
Rows = NDArray[Any]

RewardFunction = Callable[[Rows, Rows, Rows], Array]
Draw = Callable[[np.random.Generator, int], tuple[Rows, Rows, Rows]]
Step = Callable[[np.random.Generator, Rows, Rows], Rows]
Form = Callable[[np.random.Generator, tuple[Rows, Rows, Rows]], tuple[Array, Array]]

GROUPS = 20
VANISHED = 1e-12  # a form smaller than this, relative to its reward, is rounding
CUT = 1e-4  # the part of a value that rollouts leave out


@dataclass(frozen=True)
class Distance:
    """An estimated distance in [0, 1] with its interval at `level`, from `samples` transitions."""

    distance: float
    low: float
    high: float
    level: float
    samples: int

    def __str__(self) -> str:
        return f"{self.distance:.3f} [{self.low:.3f}, {self.high:.3f}], {self.samples} transitions"

    def to_dict(self) -> dict[str, float | int]:
        """JSON-able record."""
        return dict(vars(self))


def epic_sampled(
    first: RewardFunction,
    second: RewardFunction,
    draw: Draw,
    *,
    discount: float,
    samples: int = 4000,
    means: int = 64,
    seed: int = 0,
    level: float = 0.95,
) -> Distance:
    """EPIC from samples.

    `draw(generator, count)` gives that many transitions of the coverage distribution; S, A and S' of the canonical
    form are its states, its actions and its states again, drawn apart. `means` is the number of draws a mean.

    Raises ValueError for fewer than two transitions a group, a level outside (0, 1), rewards of another shape or that
    are not finite, and a reward that cannot be told from a constant.
    """

    def form(generator: np.random.Generator, transitions: tuple[Rows, Rows, Rows]) -> tuple[Array, Array]:
        states, actions, after = transitions
        (drawn, follow), count = (draw(generator, means), draw(generator, means)), len(states)

        def at(reward: RewardFunction) -> Array:
            here, there = (
                _mean(reward, _each(where, means), _tiled(drawn[1], count), _tiled(follow[0], count), means)
                for where in (states, after)
            )  # the third mean of Eq. 1 is a constant, which a correlation does not see
            return _values(reward, states, actions, after) + discount * there - here

        return at(first), at(second)

    return _estimate((first, second), form, draw, samples, seed, level, centered=True)


def dard_sampled(
    first: RewardFunction,
    second: RewardFunction,
    draw: Draw,
    step: Step,
    *,
    discount: float,
    samples: int = 4000,
    means: int = 64,
    seed: int = 0,
    level: float = 0.95,
) -> Distance:
    """DARD from samples: as `epic_sampled`, with `step(generator, states, actions)` that gives next states."""

    def form(generator: np.random.Generator, transitions: tuple[Rows, Rows, Rows]) -> tuple[Array, Array]:
        states, actions, after = transitions
        taken = _tiled(draw(generator, means)[1], len(states))
        here, there = _each(states, means), _each(after, means)
        follow, later = step(generator, here, taken), step(generator, there, taken)

        def at(reward: RewardFunction) -> Array:
            ahead = _mean(reward, there, taken, later, means) - _mean(reward, follow, taken, later, means)
            return _values(reward, *transitions) + discount * ahead - _mean(reward, here, taken, follow, means)

        return at(first), at(second)

    return _estimate((first, second), form, draw, samples, seed, level, centered=True)


def starc_sampled(
    first: RewardFunction,
    second: RewardFunction,
    draw: Draw,
    step: Step,
    *,
    discount: float,
    samples: int = 2000,
    means: int = 16,
    seed: int = 0,
    level: float = 0.95,
) -> Distance:
    """STARC with the value-adjusted form and the 2-norm, from samples.

    States and actions come from `draw`, next states from `step`; values are means over `means` rollouts that take
    actions of `draw` and end where 1e-4 of the value is left. Raises as `epic_sampled`, and for a discount of 1.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"discount {discount}: give one in [0, 1)")
    length = math.ceil(math.log(CUT) / math.log(discount)) if discount else 1

    def both(states: Rows, actions: Rows, after: Rows) -> Array:
        return np.stack([_values(reward, states, actions, after) for reward in (first, second)])

    def rollouts(generator: np.random.Generator, states: Rows, base: Array) -> Array:
        """Discounted sums of both rewards, (2, n)."""
        sums = np.zeros((2, len(states)))
        for time in range(length):
            actions = draw(generator, len(states))[1]
            after = step(generator, states, actions)
            sums += discount**time * (both(states, actions, after) - base)
            states = after
        return sums

    def form(generator: np.random.Generator, transitions: tuple[Rows, Rows, Rows]) -> tuple[Array, Array]:
        here, taken = (_each(rows, means) for rows in transitions[:2])
        follow = step(generator, here, taken)
        # A constant matters to no policy. Without it rollouts may end early.
        base = both(*transitions).mean(1, keepdims=True)
        forms = both(here, taken, follow) - base - rollouts(generator, here, base)
        forms += discount * rollouts(generator, follow, base)
        one, other = forms.reshape(2, -1, means).mean(2)
        return one, other

    return _estimate((first, second), form, draw, samples, seed, level, centered=False)


def _estimate(
    rewards: tuple[RewardFunction, RewardFunction],
    form: Form,
    draw: Draw,
    samples: int,
    seed: int,
    level: float,
    *,
    centered: bool,
) -> Distance:
    """sqrt((1 - cosine) / 2) of the forms of two rewards, with a jackknife interval over groups."""
    size = samples // GROUPS
    if size < 2 or not 0 < level < 1:
        raise ValueError(f"samples {samples}, level {level}: give at least {2 * GROUPS} samples and a level in (0, 1)")
    products = []
    for group in range(GROUPS):
        generator = np.random.default_rng([seed, group])
        transitions = draw(generator, size)
        one, two = form(generator, transitions), form(generator, transitions)
        noise = [_noise(_values(reward, *transitions), 0.0 if centered else 10 * CUT) for reward in rewards]
        products.append(_products(one, two, noise, centered))
    table = np.array(products)  # (groups, 3): squares of the first, of the second, and their product
    without = [_cosine(np.delete(table, group, 0).mean(0)) for group in range(GROUPS)]
    cosine = _cosine(table.mean(0))
    deviation = math.sqrt((GROUPS - 1) * np.var(without))
    reach = float(stdtrit(GROUPS - 1, (1 + level) / 2)) * deviation
    high, low = (_apart(cosine + end) for end in (-reach, reach))
    return Distance(_apart(cosine), low, high, level, GROUPS * size)


def _noise(values: Array, cut: float) -> float:
    """The size of a form below which it is rounding, or what `cut` of a value leaves."""
    return max(VANISHED * float(np.abs(values).max()), cut * float(values.std()))


def _products(
    one: Sequence[Array], two: Sequence[Array], noise: Sequence[float], centered: bool
) -> tuple[float, float, float]:
    """Mean products of the forms of both rewards, each computed twice; 0 for the square of a form that vanishes."""
    (first, second), (third, fourth) = ([form - centered * form.mean() for form in forms] for forms in (one, two))
    squares = [
        float((a * b).mean()) if np.abs([a, b]).max() > small else 0.0
        for a, b, small in zip((first, second), (third, fourth), noise, strict=True)
    ]
    return squares[0], squares[1], float((first * fourth + third * second).mean() / 2)


def _cosine(products: Array) -> float:
    squares = products[:2]
    if not (squares > 0).all():
        which = "first" if squares[0] <= 0 else "second"
        raise ValueError(
            f"the {which} reward cannot be told from one that matters to no policy: give more samples, or more means"
        )
    return float(products[2] / np.sqrt(squares.prod()))


def _apart(cosine: float) -> float:
    return math.sqrt((1 - min(1.0, max(-1.0, cosine))) / 2)


def _values(reward: RewardFunction, states: Rows, actions: Rows, after: Rows) -> Array:
    values = np.asarray(reward(states, actions, after), dtype=np.float64)
    if values.shape != (len(states),) or not np.isfinite(values).all():
        raise ValueError(f"a reward gave shape {values.shape}: give ({len(states)},) finite numbers")
    return values


def _mean(reward: RewardFunction, states: Rows, actions: Rows, after: Rows, means: int) -> Array:
    return _values(reward, states, actions, after).reshape(-1, means).mean(1)


def _each(rows: Rows, times: int) -> Rows:
    """Every row that many times in a row."""
    return np.repeat(rows, times, 0)


def _tiled(rows: Rows, times: int) -> Rows:
    """All rows, that many times over."""
    return np.concatenate([rows] * times)

"""From raw arrays to the columns that Demonstrations holds: types, shapes and values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from demonstrably.spec import Continuous, Discrete

# Bounds of robomimic's convention and of most robot environments; kept when all recorded actions are inside.
USUAL_BOUND = 1.0
BOUND_TOLERANCE = 1e-6
# Rows checked at a time, so that checking takes little memory beside the column.
BLOCK = 65536
# A policy has an output for each discrete action; larger numbers are no indices.
MOST_CHOICES = 100_000


def stored_dtype(dtype: np.dtype) -> np.dtype | None:
    """The type an observation is kept in: uint8 stays, other numbers become float32; None if no number."""
    if dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype.kind in "fiub" else None


def converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in another type, itself where it has it already; too large values become infinite."""
    with np.errstate(over="ignore", invalid="ignore"):  # a signaling NaN is invalid to cast, and stays a NaN
        return array.astype(dtype, copy=False)


def observation_column(key: str, values: Any, lengths: np.ndarray) -> tuple[np.ndarray, bool]:
    """One key as (sum of T+1, ...) rows, and whether each episode's last row was given.

    With sum-of-T rows, the last row of every episode is repeated. Raises ValueError for other counts and
    types.
    """
    array = np.asarray(values)
    dtype = stored_dtype(array.dtype)
    if dtype is None:
        raise ValueError(f"observation {key!r} has type {array.dtype}; give numbers (float32, or uint8 for images)")
    array = converted(array, dtype)
    if array.ndim == 1:
        array = array[:, None]
    total, episodes = int(lengths.sum()), len(lengths)
    if array.ndim == 0 or len(array) not in (total, total + episodes):
        raise ValueError(
            f"observation {key!r} has shape {array.shape}; give {total + episodes} rows (length + 1 an "
            f"episode), or {total} where the final observations are missing"
        )
    if 0 in array.shape[1:]:
        raise ValueError(f"observation {key!r} has rows of shape {array.shape[1:]}, which hold nothing; leave it out")
    if len(array) == total + episodes:
        return array, True
    ends = np.cumsum(lengths) - 1
    repeats = np.ones(total, dtype=np.int64)
    repeats[ends] = 2
    return np.repeat(array, repeats, axis=0), False


def action_column(values: Any, total: int) -> np.ndarray:
    """Integers (total,) or (total, 1) as (total,) int64; real numbers as (total, A) float32."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or len(array) != total or 0 in array.shape[1:]:
        raise ValueError(
            f"actions have shape {array.shape} and type {array.dtype}; give ({total}, A) real numbers, "
            f"or ({total},) integers for discrete actions"
        )
    if array.dtype.kind == "f":
        return converted(array.reshape(total, -1), np.dtype(np.float32))
    if array.ndim == 2 and array.shape[1] != 1:
        raise ValueError(
            f"actions are integers of shape {array.shape}, {array.shape[1]} choices a step; a discrete "
            "action is one: make one episode a seat, or give real numbers"
        )
    return array.reshape(total).astype(np.int64)


def step_column(name: str, values: Any, total: int, dtype: type) -> np.ndarray:
    """One value a step, (total,)."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.size != total or array.shape[:1] != (total,):
        raise ValueError(f"{name} have shape {array.shape} and type {array.dtype}; give one number a step, ({total},)")
    return converted(array.reshape(total), np.dtype(dtype))


def checked_lengths(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Episode lengths as int64, each at least 1."""
    array = np.asarray(lengths)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"lengths are {lengths!r}; give one integer an episode, and at least one episode")
    if (array < 1).any():
        raise ValueError(
            f"episode {int(np.argmax(array < 1))} has length {int(array.min())}; give each at least 1 step"
        )
    return array.astype(np.int64)


def step_columns(
    actions: Any, rewards: Any, terminated: Any, truncated: Any, lengths: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns with one row a step.

    Where None is given, rewards become NaN, no step terminates, and each episode ends by truncation unless it
    terminates.
    """
    total = int(lengths.sum())
    no_rewards, no_flags = np.full(total, np.nan, np.float32), np.zeros(total, bool)
    earned = no_rewards if rewards is None else step_column("rewards", rewards, total, np.float32)
    over = no_flags if terminated is None else step_column("terminated", terminated, total, bool)
    ends = ends_only(lengths) & ~over
    cut = ends if truncated is None else step_column("truncated", truncated, total, bool)
    return {"actions": action_column(actions, total), "rewards": earned, "terminated": over, "truncated": cut}


def ends_only(lengths: np.ndarray) -> np.ndarray:
    """True at the last step of every episode, (sum of lengths,)."""
    result = np.zeros(int(lengths.sum()), dtype=bool)
    result[np.cumsum(lengths) - 1] = True
    return result


def first_invalid(rows: np.ndarray) -> tuple[int, int, float] | None:
    """Row, flat dimension and value of the first NaN or infinity, or None."""
    if rows.dtype.kind != "f":
        return None
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK].reshape(min(BLOCK, len(rows) - start), -1)
        finite = np.isfinite(block)
        if not finite.all():
            row, dimension = (int(index) for index in np.argwhere(~finite)[0])
            return start + row, dimension, float(block[row, dimension])
    return None


def require_finite(what: str, rows: np.ndarray, starts: np.ndarray, names: Sequence[str]) -> None:
    """Raise ValueError naming episode, step and dimension of the first NaN or infinity in a column.

    `starts` are the first rows of the episodes `names`, both in stored order.
    """
    found = first_invalid(rows)
    if found is None:
        return
    row, dimension, value = found
    episode = int(np.searchsorted(starts, row, side="right")) - 1
    raise ValueError(
        f"{what}: {value} in episode {names[episode]}, step {row - int(starts[episode])}, dimension "
        f"{dimension}; give finite numbers, or leave the episode out"
    )


def require_choices(actions: np.ndarray) -> None:
    """Raise ValueError where discrete actions (N,) are no small whole numbers from 0."""
    low, high = int(actions.min(initial=0)), int(actions.max(initial=0))
    if low < 0 or high >= MOST_CHOICES:
        step = int(actions.argmin() if low < 0 else actions.argmax())
        raise ValueError(
            f"discrete action {low if low < 0 else high} at step {step}; give indices from 0 to "
            f"{MOST_CHOICES - 1}, or real numbers for continuous actions"
        )


def action_space(actions: np.ndarray) -> Continuous | Discrete:
    """What can be done, judged from the recorded actions alone.

    Integers (N,): the largest seen is taken for the last one. Real numbers (N, A): a dimension whose values
    stay in [-1, 1] gets those bounds, any other its own recorded range, for a squashed output must reach
    every recorded action.
    """
    if actions.ndim == 1:
        require_choices(actions)
        return Discrete(max(2, int(actions.max(initial=0)) + 1))
    minimum, maximum = actions.min(0).astype(float), actions.max(0).astype(float)
    limit = USUAL_BOUND + BOUND_TOLERANCE
    usual = (minimum >= -limit) & (maximum <= limit)
    constant = minimum == maximum
    low = np.where(usual, -USUAL_BOUND, np.where(constant, minimum - 1.0, minimum))
    high = np.where(usual, USUAL_BOUND, np.where(constant, maximum + 1.0, maximum))
    return Continuous(tuple(low.tolist()), tuple(high.tolist()))

"""Rewards of recorded steps with potential shaping taken out, so that what is left can be compared step by step.

Skalse et al. 2024, "STARC: A General Framework For Quantifying Differences Between Reward Functions",
arXiv 2309.15257, section 3.1: among all rewards that differ by shaping, the one of the least norm is a canonical form.

Uses: Eq. 1, that form over the steps of a file, r - min over potentials of the distance to
discount Phi(s') - Phi(s), where Phi is 0 after the task's end.
**Departure**: a file has no transitions but its own, so potentials come from a class, linear and, where there are steps
enough for it, quadratic in the observations. What shaping outside of the class does is left in.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from demonstrably.data.demonstrations import Demonstrations

Array = NDArray[np.float64]

BATCH = 1 << 14  # steps at once, for their potentials take far more room than they do
WIDEST = 1_000  # numbers of a potential with squares; more would take gigabytes, and hours
STEPS_EACH = 20  # steps that it takes for one number of a potential
ROUNDING = 1e-5  # of float32 rewards; what is left of one is 0 below it, relative to its size
TINY = 1e-12  # directions of potentials that the steps tell apart by less, relative to the rest, are not fitted


def unshaped(
    values: Float[np.ndarray, "rewards steps"],
    demos: Demonstrations,
    known: Bool[np.ndarray, "steps"],
    discount: float,
) -> Float[np.ndarray, "rewards known"] | str:
    """Eq. 1 of each reward at those of the view's steps that are `known`, or the reason why there is none.

    A reward that is shaping alone becomes 0.
    """
    keys = [key for key, column in demos.observations.items() if column.dtype != np.uint8]
    if not keys:
        return "for it takes plain observations and there are only images"
    starts, lengths = demos.observation_starts, demos.lengths
    rows = np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths, strict=True)])[known]
    over = np.concatenate([demos.terminated[place] for place in demos.step_slices()])[known]
    seen = _flat(demos, keys, rows)
    middle, spread, width = seen.mean(0), seen.std(0), seen.shape[1]
    scale = np.where(spread > 0, spread, 1.0)
    if len(rows) < STEPS_EACH * (1 + width):
        needed = STEPS_EACH * (1 + width)
        return f"for with observations of {width} numbers it takes {needed} steps and there are {len(rows)}"
    with_squares = 1 + width + width * (width + 1) // 2
    squares = with_squares <= min(WIDEST, len(rows) // STEPS_EACH)

    def shaping(part: slice) -> Array:
        before, after = ((_flat(demos, keys, at) - middle) / scale for at in (rows[part], rows[part] + 1))
        return discount * _potentials(after, squares) * ~over[part, None] - _potentials(before, squares)

    found, parts = values[:, known], [slice(at, at + BATCH) for at in range(0, len(rows), BATCH)]
    products = [(change.T @ change, change.T @ found[:, part].T) for part in parts for change in [shaping(part)]]
    square, with_found = (sum(each) for each in zip(*products, strict=True))
    best = np.linalg.pinv(square, rcond=TINY, hermitian=True) @ with_found
    left = np.concatenate([found[:, part] - (shaping(part) @ best).T for part in parts], 1)
    sizes = np.linalg.norm(left, axis=1, keepdims=True), np.linalg.norm(found, axis=1, keepdims=True)
    return np.where(sizes[0] > ROUNDING * sizes[1], left, 0.0)


def _flat(demos: Demonstrations, keys: Sequence[str], rows: NDArray[np.int64]) -> Array:
    """Observations of the keys side by side, (rows, width)."""
    return np.concatenate([demos.observations[key][rows].reshape(len(rows), -1) for key in keys], 1).astype(np.float64)


def _potentials(observations: Array, squares: bool) -> Array:
    """1, every number, and with `squares` every product of two, (rows, count)."""
    parts = [np.ones((len(observations), 1)), observations]
    if squares:
        first, second = np.triu_indices(observations.shape[1])
        parts.append(observations[:, first] * observations[:, second])
    return np.concatenate(parts, 1)

"""Null spaces whose rank decision can be trusted: by dense and by sparse arithmetic, with the gap that decided."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEMORY = 4 * 2**30  # bytes that one dense array may take
EPSILON = float(np.finfo(np.float64).eps)
CLEAN = 64  # roundings that a singular value of zero may have gathered, times the square root of the size
NEEDED = 1e3  # ratio of the last singular value that is not zero to the first that is, below which nothing is decided


@final
class UndecidedRank(ValueError):
    """Singular values lie so close together that rounding hides the rank."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Orthonormal columns that span a null space; the smallest singular value that is not zero (inf where there is
    none), relative to the scale of the matrix; and the gap, its ratio to the largest taken as zero."""

    basis: Array
    smallest: float
    gap: float


def kernel(matrix: Array, scale: float, error: float = EPSILON) -> Kernel:
    """The null space of a matrix (rows, columns), by singular values.

    `scale` is the size that the numbers had from which the matrix was computed, `error` their error relative to that.
    UndecidedRank, a ValueError, where singular values lie so close together that the rank cannot be decided.
    """
    rows, columns = matrix.shape
    rounding = error * scale
    clean = CLEAN * rounding * math.sqrt(max(rows, columns, 1))
    matrix = matrix[np.abs(matrix).max(axis=1, initial=0) > rounding]
    if not len(matrix) or not columns:
        return Kernel(np.eye(columns), math.inf, math.inf)
    if len(matrix) > columns:
        matrix = np.asarray(np.linalg.qr(matrix, mode="r"))
    _, found, right = np.linalg.svd(matrix, full_matrices=True)
    rank = int((found > clean).sum())
    last = float(found[rank - 1]) if rank else math.inf
    gap = decided_gap(last / scale, max(error, float(found[rank]) / scale if rank < len(found) else 0.0))
    return Kernel(right[rank:].T, last / scale, gap)


def decided_gap(last: float, first: float) -> float:
    """The last singular value that is not zero over the first that is. UndecidedRank where that says nothing."""
    gap = last / first
    if gap < NEEDED:
        raise UndecidedRank(
            f"the rank cannot be decided: relative singular values {last:.1e} and {first:.1e} lie too close together. "
            "The problems differ by little more than rounding: give exact probabilities, or more different problems"
        )
    return gap


def require_memory(numbers: float | int, what: str, instead: str) -> None:
    """ValueError where an array of so many float64 would be too large."""
    if 8 * numbers > MEMORY:
        raise ValueError(
            f"{what} would take {8 * numbers / 2**30:.1f} GiB of memory, more than {MEMORY / 2**30:.0f}: give {instead}"
        )

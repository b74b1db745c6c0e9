"""The smallest singular values of a large sparse matrix, by inverse iteration on a block of vectors."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from demonstrably.tabular.kernels import decided_gap, require_memory
from demonstrably.tabular.structure import breadth_first_depths

Array = NDArray[np.float64]

BLOCK = 4  # vectors to begin with; doubled while all of them are in the null space
LARGEST_BLOCK = 64
SHIFT = 1e-13  # of the largest eigenvalue, which keeps a singular Gram matrix from stopping its factorization
CLEAN = 1e-9  # relative singular value that may still be zero: squaring into the Gram matrix costs half of the digits
ROUNDS = 40
POWERS = 50  # steps of the power method for the largest singular value, which only sets a scale
SETTLED = 1e-5  # relative change of a singular value from round to round at which it counts as found
FILL = 12  # numbers in the factors, over n log2 n, of a graph without wide layers


@dataclass(frozen=True, eq=False)
class SparseKernel:
    """Orthonormal null vectors beside those known, the smallest singular value that is not zero, the largest, and
    the ratio of the smallest to what was taken as zero."""

    basis: Array
    smallest: float
    largest: float
    gap: float


def sparse_kernel(matrix: sparse.csr_array, project: Callable[[Array], Array], known: int) -> SparseKernel:
    """Null space and smallest singular value of a sparse matrix (rows, n), apart from a known null space.

    `project` takes vectors (n, k) to what of them is orthogonal to the known null space, which has dimension `known`.
    ValueError where the factors would not fit into memory, where more than LARGEST_BLOCK directions are open, or where
    rounding hides the rank.
    """
    gram = sparse.csc_array(matrix.T @ matrix)
    size = gram.indptr.size - 1
    if size == known:
        return SparseKernel(np.zeros((size, 0)), math.inf, math.inf, math.inf)
    largest = _largest(gram)
    require_memory(
        _fill(gram), "the factors of the sparse system", "a smaller problem: its graph is too well connected"
    )
    shifted = sparse.csc_array(gram + SHIFT * largest**2 * sparse.eye_array(size))
    factors = splu(shifted, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    block = BLOCK
    while True:
        values, vectors = _smallest(matrix, factors, project, min(block, size - known), largest)
        zero = int((values <= CLEAN * largest).sum())
        if zero < len(values) or block >= size - known:
            break
        block *= 2
        if block > LARGEST_BLOCK:
            raise ValueError(
                f"more than {zero} directions of reward are open beside those that the graph shows: "
                "give a smaller problem of the same kind, for which they can be told one by one"
            )
    smallest = float(values[zero]) if zero < len(values) else math.inf
    gap = decided_gap(smallest / largest, max(CLEAN / 1e3, float(values[zero - 1]) / largest if zero else 0.0))
    return SparseKernel(vectors[:, :zero], smallest, largest, gap)


def _largest(gram: sparse.csc_array) -> float:
    """The largest singular value of a matrix, from its Gram matrix, within some percent; 1 if all are 0."""
    vector, square = np.random.default_rng(0).standard_normal(gram.indptr.size - 1), 0.0
    for _ in range(POWERS):
        vector = gram @ (vector / np.linalg.norm(vector))
        square = float(np.linalg.norm(vector))
        if not square:
            return 1.0
    return math.sqrt(square)


def _smallest(
    matrix: sparse.csr_array, factors: SuperLU, project: Callable[[Array], Array], count: int, largest: float
) -> tuple[Array, Array]:
    """Rising singular values (count,) and their vectors (n, count), orthogonal to the known null space.

    Values come from the matrix itself and not from its Gram matrix, so that a zero is one to nearly full precision.
    """
    size = np.random.default_rng(1).standard_normal((factors.shape[0], count))
    vectors, before = np.linalg.qr(project(size))[0], np.full(count, np.inf)
    for _ in range(ROUNDS):
        vectors = np.linalg.qr(project(factors.solve(vectors)))[0]
        image = np.zeros((count, count))
        triangle = np.asarray(np.linalg.qr(matrix @ vectors, mode="r"))
        image[: len(triangle)] = triangle
        _, values, right = np.linalg.svd(image)
        vectors, values = vectors @ right[::-1].T, values[::-1]
        null = values <= CLEAN * largest
        first = int(null.sum())  # only the smallest that is not zero has to be exact
        if null.all() or abs(values[first] - before[first]) <= SETTLED * values[first]:
            break
        before = values
    return values, vectors


def _fill(gram: sparse.csc_array) -> float:
    """A guess of how many numbers the factors hold: a graph with a wide layer has no small separator."""
    size = gram.indptr.size - 1
    depth = breadth_first_depths(sparse.csr_array(gram), 0)
    return int(np.bincount(depth + 1)[1:].max()) ** 2 / 2 + FILL * size * math.log2(size + 1)

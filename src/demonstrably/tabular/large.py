"""What no policy could reveal of the reward in large problems: by the graph where it decides, else by sparse factors.

Eq. 1: with two discounts g1, g2 and the same dynamics, d = (E - g1 P) v1 = (E - g2 P) v2 if and only if
    z = g1 v1 - g2 v2 has P_a z = P_b z for all actions a, b; and then v1 = (z - g2 P z) / (g1 - g2).
Eq. 2: a reward w on states is open to one expert if and only if w = v - g P v with P_a v = P_b v.

Both count the null space of the stacked differences P_a - P_0: with S unknowns, not 2 S, whatever the discounts. It
holds all functions that are constant on the components of `structure.components`, and for deterministic dynamics no
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from demonstrably.tabular.ambiguity import Ambiguity, pathwise, shaping_matrix
from demonstrably.tabular.forms import Form
from demonstrably.tabular.kernels import EPSILON, kernel, require_memory
from demonstrably.tabular.mdp import MDP, shape_of
from demonstrably.tabular.sparse_kernels import SparseKernel, sparse_kernel
from demonstrably.tabular.structure import (
    Labels,
    Mask,
    chance_components,
    components,
    count,
    layers,
    reachable,
    visited,
)

Array = NDArray[np.float64]
Part = tuple[NDArray[np.int64], sparse.csr_array]

BASIS = 2e7  # numbers that the directions of a large problem may take; they are left out beyond
ROUNDING = 8 * EPSILON
PROJECTED = 1e-13  # error of directions from which potentials were taken by normal equations
SOLVED = 1e-12  # error of directions found by inverse iteration
NARROW = 200  # features up to which potentials are taken away by least squares, one factorization an expert


@dataclass(frozen=True, eq=False)
class Found:
    """What is open, and how that was decided. `directions` (S * A, m) is None where it would be too large.

    `labels` are the components that the answer rests on; `smallest` and `largest` the singular values that are not
    zero of the system that was solved. `error` is that of the directions, relative to their length.
    """

    dimension: int
    trajectory_dimension: int
    directions: Array | None
    gap: float
    method: str
    labels: Labels | None = None
    smallest: float | None = None
    largest: float | None = None
    error: float = EPSILON


def found_in_large(problems: Sequence[MDP], form: Form) -> Found:
    """As `ambiguity`, for problems too large for dense arrays."""
    if len(problems) == 1 and problems[0].horizon is None and form.kind == "state_action":
        return _one_expert(problems[0])
    if comparable(problems, form):
        return _compared(problems, form)
    if form.width <= NARROW:
        return _few_features(problems, form)
    return _general(problems, form)


def comparable(problems: Sequence[MDP], form: Form) -> bool:
    """Whether Eq. 1 or Eq. 2 applies: the same dynamics and visited states, and two discounts or rewards on states."""
    first = problems[0]
    if any(mdp.horizon is not None for mdp in problems) or not all(same_dynamics(first, mdp) for mdp in problems[1:]):
        return False
    discounts = {mdp.discount for mdp in problems}
    wanted = {"state_action": 2, "state": 1, "features": 0}[form.kind]
    if len(discounts) != wanted or (form.kind == "state" and first.discount == 0):
        return False
    return all(np.array_equal(reachable(first), reachable(mdp)) for mdp in problems[1:])


def same_dynamics(first: MDP, second: MDP) -> bool:
    """Whether two problems have the same transitions."""
    one, other = first.transitions, second.transitions
    return one is other or (
        np.array_equal(one.indptr, other.indptr)
        and np.array_equal(one.indices, other.indices)
        and np.array_equal(one.data, other.data)
    )


def differences(mdp: MDP, seen: Mask) -> sparse.csr_array:
    """Stacked P_a - P_0 for a = 1, 2, ..., at visited states: (visited * (A - 1), visited)."""
    states = np.flatnonzero(seen)
    first = states * mdp.actions
    other = (first[:, None] + np.arange(1, mdp.actions)).ravel()
    matrix = mdp.transitions[other] - mdp.transitions[np.repeat(first, mdp.actions - 1)]
    matrix.data[np.abs(matrix.data) < ROUNDING] = 0  # equal probabilities that were written as different sums
    matrix.eliminate_zeros()
    return sparse.csr_array(matrix if seen.all() else matrix[:, states])


def raised(problems: Sequence[MDP], form: Form, z: Array) -> Array:
    """Eq. 1 or 2: the rewards (S * A, m) that belong to z (S, m) in the null space of the stacked differences."""
    mdp, last = problems[0], problems[-1]
    values = z
    if form.kind == "state_action":
        last = next(other for other in problems if other.discount != mdp.discount)
        onward = mdp.transitions[np.arange(mdp.states) * mdp.actions] @ z
        values = (z - last.discount * onward) / (mdp.discount - last.discount)
    return np.repeat(values, mdp.actions, axis=0) - mdp.discount * (mdp.transitions @ values)


def _one_expert(mdp: MDP) -> Found:
    seen = reachable(mdp)
    free = mdp.actions * int((~seen).sum())
    tied = int(seen.sum()) if mdp.discount == 0 or mdp.deterministic else count(chance_components(mdp, seen), seen)
    return Found(int(seen.sum()) + free, tied + free, None, np.inf, "closed form: a potential for each visited state")


def _compared(problems: Sequence[MDP], form: Form) -> Found:
    mdp = problems[0]
    seen = reachable(mdp)
    labels = components(mdp, seen)
    groups = count(labels, seen)
    free = int((~seen).sum()) * (mdp.actions if form.kind == "state_action" else 1)
    if mdp.deterministic:
        directions, error = _directions(problems, form, seen, labels, np.zeros((mdp.states, 0)), free)
        method = "components of the graph of choices"
        return Found(groups + free, groups + free, directions, np.inf, method, labels, error=error)
    inside = np.unique(labels[seen], return_inverse=True)[1]
    sizes = np.bincount(inside)
    summing = sparse.csr_array((np.ones(len(inside)), (inside, np.arange(len(inside)))))

    def project(vectors: Array) -> Array:
        """Without the mean of each component, which is the known null space."""
        return vectors - ((summing @ vectors) / sizes[:, None])[inside]

    solved = sparse_kernel(differences(mdp, seen), project, groups)
    extra = np.zeros((mdp.states, solved.basis.shape[1]))
    extra[seen] = solved.basis
    dimension = groups + extra.shape[1] + free
    tied = _tied_groups(problems, form, seen, labels) + free
    directions, error = _directions(problems, form, seen, labels, extra, free, _error(solved))
    method = "components of the graph of choices, and sparse inverse iteration within them"
    return Found(dimension, tied, directions, solved.gap, method, labels, solved.smallest, solved.largest, error)


def _error(solved: SparseKernel) -> float:
    """Of null vectors that were found by inverse iteration: rounding over the smallest singular value."""
    return max(SOLVED, EPSILON * solved.largest / solved.smallest)


def _tied_groups(problems: Sequence[MDP], form: Form, seen: Mask, labels: Labels) -> int:
    """Dimension of the trajectory equivalence of Eq. 1 and 2, apart from what is never visited.

    The potentials must not depend on chance. z then is constant on components, and so is v in Eq. 2. In Eq. 1 v also
    holds P z, the z of the component that a state leads to; it must be the same for all outcomes of a pair.
    """
    mdp = problems[0]
    groups = count(labels, seen)
    if groups == 1 or form.kind == "state" or any(other.discount == 0 for other in problems):
        return groups
    ahead = labels[mdp.transitions.indices[mdp.transitions.indptr[: -1 : mdp.actions]]]
    pair = np.repeat(np.arange(mdp.pairs), np.diff(mdp.transitions.indptr))
    same = (pair[1:] == pair[:-1]) & seen[pair[1:] // mdp.actions]
    after = ahead[mdp.transitions.indices]
    ones = np.ones(int(same.sum()))
    size = int(labels.max()) + 1
    graph = sparse.csr_array((ones, (after[1:][same], after[:-1][same])), shape=(size, size))
    merged = sparse.csgraph.connected_components(graph, directed=False)[1]
    return len(np.unique(merged[np.unique(labels[seen])]))


def _directions(
    problems: Sequence[MDP], form: Form, seen: Mask, labels: Labels, extra: Array, free: int, error: float = EPSILON
) -> tuple[Array | None, float]:
    """Orthonormal rewards of all that is open, or None where they would be too large; and their error, from that of
    the functions `extra`: what Eq. 1 or 2 leaves of functions that it mostly cancels is less exact."""
    mdp = problems[0]
    groups = np.unique(labels[seen])
    if (len(groups) + extra.shape[1] + free) * mdp.pairs > BASIS:
        return None, error
    if len(groups) == 1 and not extra.shape[1] and not free:
        return np.full((mdp.pairs, 1), mdp.pairs**-0.5), EPSILON
    z = np.hstack([(labels[:, None] == groups) & seen[:, None], extra])
    z = z / np.linalg.norm(z, axis=0)
    open_pairs = np.flatnonzero(~np.repeat(seen, mdp.actions))
    directions = np.zeros((mdp.pairs, z.shape[1] + free))
    directions[:, : z.shape[1]] = raised(problems, form, z) * np.repeat(seen, mdp.actions)[:, None]
    column = np.arange(len(open_pairs)) // (mdp.actions if form.kind == "state" else 1)
    directions[open_pairs, z.shape[1] + column] = 1
    orthonormal, sizes = np.linalg.qr(directions)
    lift = 1 + mdp.discount
    if form.kind == "state_action":
        second = next(other for other in problems if other.discount != mdp.discount)
        lift *= (1 + second.discount) / abs(mdp.discount - second.discount)
    kept = float(np.abs(np.diag(sizes)).min(initial=1))
    return orthonormal, error * max(1.0, lift / kept)


def revealed(mdp: MDP) -> tuple[NDArray[np.int64], sparse.csr_array]:
    """The pairs that the policy speaks of, one a row, and the sparse matrix from potentials to their rewards.

    Without end one row a visited pair; with a horizon one for each time, and one potential for each time and state.
    """
    if mdp.horizon is None:
        seen = reachable(mdp)
        return np.flatnonzero(np.repeat(seen, mdp.actions)), shaping_matrix(mdp, seen)
    masks = layers(mdp)
    states = [np.flatnonzero(mask) for mask in masks[:-1]]
    pairs = [np.flatnonzero(np.repeat(mask, mdp.actions)) for mask in masks[:-1]]
    entries = sum(map(len, pairs)) * (1 + mdp.transitions.nnz / mdp.pairs)
    require_memory(3 * entries, "the sparse system over time", "a shorter horizon, or the problem without end")
    blocks: list[list[sparse.csr_array | None]] = []
    for time, (now, rows) in enumerate(zip(states, pairs, strict=True)):
        line: list[sparse.csr_array | None] = [None] * len(states)
        columns = np.searchsorted(now, rows // mdp.actions)
        line[time] = sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), columns)), (len(rows), len(now)))
        if time + 1 < len(states):
            line[time + 1] = sparse.csr_array(-mdp.discount * mdp.transitions[rows][:, states[time + 1]])
        blocks.append(line)
    return np.concatenate(pairs), sparse.csr_array(sparse.block_array(blocks, format="csr"))


def _few_features(problems: Sequence[MDP], form: Form) -> Found:
    """Features without what potentials make of them, expert by expert, by the normal equations of the potentials."""
    directions, gap, error = form.span(), np.inf, PROJECTED
    for mdp in problems:
        rows, matrix = revealed(mdp)
        normal = splu(sparse.csc_array(matrix.T @ matrix), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0)
        left = directions[rows]
        for _ in range(3):  # the normal equations lose digits; projecting again brings them back
            left = left - matrix @ normal.solve(np.ascontiguousarray(matrix.T @ left))
        kept = kernel(left, 1.0, error)
        directions, gap, error = directions @ kept.basis, min(gap, kept.gap), max(error, PROJECTED / kept.smallest)
    tied = pathwise(problems, Ambiguity(directions, gap, error)).directions.shape[1]
    return Found(directions.shape[1], tied, directions, gap, "sparse projection of the features", error=error)


def _general(problems: Sequence[MDP], form: Form) -> Found:
    """Null space of the sparse system in rewards and potentials of all experts, with the constant known."""
    seen: Mask = np.any([visited(mdp) for mdp in problems], axis=0)
    pairs = np.repeat(seen, problems[0].actions)
    lift = form.matrix()
    used = np.flatnonzero(np.asarray(np.abs(lift[pairs]).sum(axis=0)).ravel() > 0)
    lift = sparse.csr_array(lift[:, used])
    parts = [revealed(mdp) for mdp in problems]
    matrix = sparse.csr_array(
        sparse.hstack(
            [
                sparse.vstack([lift[rows] for rows, _ in parts]),
                -sparse.block_diag([potential for _, potential in parts]),
            ]
        )
    )
    known = _constant(problems, parts, lift, form)
    solved = sparse_kernel(matrix, lambda vectors: vectors - known @ (known.T @ vectors), known.shape[1])
    kernel_vectors = np.hstack([known, solved.basis])[: len(used)]
    directions = np.linalg.qr(lift @ kernel_vectors)[0]
    free = form.width - len(used)
    error = _error(solved)
    tied = pathwise(problems, Ambiguity(directions, solved.gap, error)).directions.shape[1]
    method = "sparse inverse iteration on rewards and potentials"
    total = directions.shape[1] + free
    kept = None if free else directions
    return Found(total, tied + free, kept, solved.gap, method, None, solved.smallest, solved.largest, error)


def _constant(problems: Sequence[MDP], parts: Sequence[Part], lift: sparse.csr_array, form: Form) -> Array:
    """The constant reward and its potentials in every problem, as a unit column; no column where it is no reward."""
    pairs, width = shape_of(lift)
    if not form.constant:
        return np.zeros((width + sum(shape_of(matrix)[1] for _, matrix in parts), 0))
    weights = np.ones(width)
    if form.features is not None:
        weights = np.linalg.lstsq(lift.toarray(), np.ones(pairs), rcond=None)[0]
    whole = [weights]
    for mdp, (_, matrix) in zip(problems, parts, strict=True):
        if mdp.horizon is None:
            whole.append(np.full(shape_of(matrix)[1], 1 / (1 - mdp.discount)))
            continue
        worth = np.cumsum(mdp.discount ** np.arange(mdp.horizon))[::-1]
        whole.append(np.repeat(worth, [int(mask.sum()) for mask in layers(mdp)[:-1]]))
    column = np.concatenate(whole)[:, None]
    return column / np.linalg.norm(column)

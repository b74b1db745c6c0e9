"""The linear equations that tie the reward to policies, and their least-squares solution.

Cao, Cohen and Szpruch 2021, "Identifiability in inverse reinforcement learning", arXiv 2106.03498, for the discounted
case; the same with a time for a horizon. Of every decision of expert k at time t, in terms of `soft`, Eq. 1 to 3:

Eq. 1: lambda log pi_k,t(a | s) = r(s, a) - V_k,t(s) + discount_k sum_s' P_k(s' | s, a) V_k,t+1(s')

It is linear in the reward r and the values V, which are unknown. Without a horizon V_k,t+1 is V_k,t; with one the
values after the last decision are 0. What the policies determine of the reward is what these equations determine.

Policies estimated from counts err. To first order an estimate from n decisions in a state has

Eq. 2: Cov(log pi) = (diag(1 / pi) - 1 1') / n

which is singular along pi: frequencies sum to one whatever they are. That direction holds exactly, and gives the
values, with Q(s, a) = r(s, a) + discount_k sum_s' P_k(s' | s, a) V_k,t+1(s'):

Eq. 3: V_k,t(s) = sum_a pi_k,t(a | s) (Q(s, a) - lambda log pi_k,t(a | s))

What is left is weighted by n pi(a | s), a generalized inverse of Eq. 2, which makes the estimate efficient and the
weighted sum of squares chi-square.

With Pi the projection on what values make of all the equations, F orthonormal rewards of the form, and L the matrix
that takes the rewards of the equations' pairs, least squares with equal weights errs by no more than

Eq. 4: |r_hat - r| <= |errors of lambda log pi| / s,    s the smallest singular value of (1 - Pi) L F that is not zero

apart from what is not determined. Weights by counts do better on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.span import width
from demonstrably.tabular.structure import layers, reachable
from demonstrably.tabular.tallies import Seen

Array = NDArray[np.float64]

COLUMNS = 600  # unknowns up to which the equations are solved by a dense decomposition, which tells the rank
RANK = 1e-10  # of the largest singular value: below it a direction is not determined
ROUNDING = 1e-13  # of numbers that were subtracted: a difference that is smaller is rounding
RIDGE = 1e-10  # of the largest diagonal entry, where the equations are solved by sparse factorization
SETTLED = 1e-14
ROUNDS = 30


@dataclass(frozen=True, eq=False)
class Equations:
    """Eq. 1 of all decisions: `matrix` times (weights, values) is `target`.

    Rows come in blocks of one decision in a state, over its actions; `decisions` holds a row's policy and how often the
    decision was seen (0 where the policy is known). The first `weights` columns belong to the reward, the others to
    the values of each expert, time and state; `own` is the column of each block's own value.
    """

    matrix: sparse.csr_array  # (blocks * A, weights + values)
    target: Array  # (blocks * A,)
    policy: Array  # (blocks, A)
    seen: Array  # (blocks,)
    own: NDArray[np.int64]  # (blocks,)
    weights: int


@dataclass(frozen=True, eq=False)
class Solved:
    """The least-squares solution of `Equations`.

    Of all solutions the `weights` are the smallest; where there are too many unknowns, weights and values together are.
    `free` (d, k) is an orthonormal basis of what is not determined of the weights (None: not known), `covariance`
    (d, d) that of the weights where policies were estimated, `residual` what is left of every equation in units of
    log-policies, `statistic` the weighted sum of squares, `rank` that of the equations after Eq. 3.
    """

    weights: Array
    free: Array | None
    covariance: Array | None
    residual: Array
    statistic: float
    rank: int | None


def equations(mdps: Sequence[MDP], seen: Sequence[Seen], span: sparse.csr_array, temperature: float) -> Equations:
    """Eq. 1 of the decisions that experts can be seen to take: in the states they reach, or that were visited."""
    parts = [_expert(mdp, one) for mdp, one in zip(mdps, seen, strict=True)]
    states, policy, counts = (np.concatenate(rows) for rows in zip(*(part.rows for part in parts), strict=True))
    before = np.cumsum([0, *(width(part.values) for part in parts)])
    own = np.concatenate([part.own + start for part, start in zip(parts, before, strict=False)])
    body = sparse.csr_array(sparse.block_diag([part.values for part in parts], format="csr"))
    used = np.union1d(np.unique(body.indices), own)
    pairs = _pairs(states, mdps[0].actions)
    matrix = sparse.csr_array(sparse.hstack([span[pairs], body[:, used]], format="csr"))
    target = temperature * np.log(policy).ravel()
    return Equations(matrix, target, policy, counts, np.searchsorted(used, own), width(span))


def never_taken(mdp: MDP, policy: Array) -> str | None:
    """Name of the first action of probability 0 in a state that can be reached; None where there is none."""
    reached = reachable(mdp) if mdp.horizon is None else np.array(layers(mdp)[:-1])
    zeros = np.argwhere((policy == 0) & reached[..., None])
    return mdp.name(int(zeros[0][-2]) * mdp.actions + int(zeros[0][-1])) if len(zeros) else None


def solve(system: Equations, temperature: float) -> Solved:
    """The solution by a dense decomposition, or where there are too many unknowns by sparse factorization."""
    if width(system.matrix) > COLUMNS:
        return _sparse(system, temperature)
    matrix, target, scale, least = _reduced(system)
    rows, columns = matrix.shape
    padded = np.zeros((max(rows, columns), columns))  # so that the decomposition holds every direction
    padded[:rows] = scale[:, None] * matrix
    left, sizes, right = np.linalg.svd(padded, full_matrices=False)
    kept = sizes > max(RANK * sizes[0], least)
    found = right[kept].T @ ((left[:rows, kept].T @ (scale * target)) / sizes[kept])
    free = _spanned(right[~kept, : system.weights].T)
    weights = found[: system.weights]
    residual = (target - matrix @ found) / temperature
    inverse = right[kept, : system.weights] / sizes[kept, None] * temperature
    inverse -= (inverse @ free) @ free.T
    sampled = bool(system.seen.any())
    return Solved(
        weights - free @ (free.T @ weights),
        free,
        inverse.T @ inverse if sampled else None,
        residual,
        float((scale * residual) @ (scale * residual)) if sampled else 0.0,
        int(kept.sum()),
    )


def amplification(system: Equations, span: sparse.csr_array, free: Array) -> float | None:
    """Eq. 4: 1 / s, with the matrix of rewards (S * A, d) and what is not determined of the weights (d, k).

    None where nothing is determined.
    """
    rank = system.weights - free.shape[1]
    if not rank:
        return None
    dense = system.matrix.toarray()
    left, sizes, right = np.linalg.svd(span.toarray(), full_matrices=False)
    kept = sizes > RANK * sizes[0]
    rewards = dense[:, : system.weights] @ (right[kept].T / sizes[kept])
    basis = np.linalg.qr(dense[:, system.weights :])[0]
    for _ in range(2):  # once more takes away what rounding has left
        rewards = rewards - basis @ (basis.T @ rewards)
    return 1 / float(np.linalg.svd(rewards, compute_uv=False)[rank - 1])


def least_squares(matrix: sparse.csr_array, target: Array) -> tuple[Array, Array, "Ridged"]:
    """A solution of least squares by normal equations, its residual, and the factorization.

    The ridge that keeps the factorization from failing where directions are not determined is taken away again by
    repeating on what is left: a direction of size s converges by ridge / (s^2 + ridge) a round, and directions of size
    0 are never entered, so that the solution is the smallest one.
    """
    ridged = Ridged(matrix)
    found, residual = np.zeros(width(matrix)), target
    for _ in range(ROUNDS):
        step = ridged.solve(ridged.back @ residual)
        found = found + step
        residual = target - matrix @ found
        if np.abs(step).max() <= SETTLED * max(1.0, np.abs(found).max()):
            break
    return found, residual, ridged


class Ridged:
    """Factors of matrix' matrix plus a small ridge."""

    def __init__(self, matrix: sparse.csr_array):
        self.back = sparse.csr_array(matrix.T)
        gram = sparse.csc_array(self.back @ matrix)
        self.largest = float(gram.diagonal().max())
        ridge = RIDGE * self.largest * sparse.eye_array(width(matrix))
        # A positive definite matrix needs no pivots, and keeps the sparse ordering of its symmetric pattern.
        options = {"SymmetricMode": True}
        self.factors = splu(
            sparse.csc_array(gram + ridge), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options
        )

    def solve(self, right: Array) -> Array:
        """The solution for one right-hand side."""
        return self.factors.solve(right)


@dataclass(frozen=True, eq=False)
class _Part:
    """One expert's columns of values (blocks * A, values), each block's own column, and its state, policy and count."""

    values: sparse.csr_array
    own: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], Array, Array]


def _expert(mdp: MDP, seen: Seen) -> _Part:
    stay, ahead = mdp.stay(), sparse.csr_array(mdp.discount * mdp.transitions)
    if mdp.horizon is None:
        counts = np.zeros(mdp.states) if seen.counts is None else seen.counts.sum(1)
        kept = np.flatnonzero(reachable(mdp) if seen.counts is None else counts)
        values = sparse.csr_array(ahead - stay)[_pairs(kept, mdp.actions)]
        return _Part(sparse.csr_array(values), kept, (kept, seen.policy[kept], counts[kept]))
    parts = []
    reached = layers(mdp)[:-1] if seen.counts is None else [now.any(-1) for now in seen.counts]
    for step, kept in enumerate(map(np.flatnonzero, reached)):
        policy = seen.policy[step] if seen.policy.ndim == 3 else seen.policy
        counts = np.zeros(len(kept)) if seen.counts is None else seen.counts[step].sum(1)[kept]
        rows = _pairs(kept, mdp.actions)
        widths = (step * mdp.states, (mdp.horizon - step - 2) * mdp.states)
        columns = [sparse.csr_array((len(rows), widths[0])), -stay[rows]]
        if step < mdp.horizon - 1:
            columns += [ahead[rows], sparse.csr_array((len(rows), widths[1]))]
        values = sparse.csr_array(sparse.hstack(columns, format="csr"))
        parts.append(_Part(values, kept + step * mdp.states, (kept, policy[kept], counts)))
    states, policy, counts = (np.concatenate(rows) for rows in zip(*(part.rows for part in parts), strict=True))
    values = sparse.csr_array(sparse.vstack([part.values for part in parts], format="csr"))
    return _Part(values, np.concatenate([part.own for part in parts]), (states, policy, counts))


def _pairs(states: NDArray[np.int64], actions: int) -> NDArray[np.int64]:
    return (states[:, None] * actions + np.arange(actions)).ravel()


def _reduced(system: Equations) -> tuple[Array, Array, Array, float]:
    """Dense equations with Eq. 3 solved for the values of the blocks, the square roots of the rows' weights, and the
    size of a singular value that is rounding.

    Where policies are known the values stay unknowns, and all rows weigh alike.
    """
    matrix = system.matrix.toarray()
    if not system.seen.any():
        return matrix, system.target, np.ones(len(matrix)), 0.0
    blocks, actions = system.policy.shape
    mean = (system.policy[:, :, None] * matrix.reshape(blocks, actions, -1)).sum(1)
    mean_target = (system.policy * system.target.reshape(blocks, actions)).sum(1)
    own = system.weights + np.unique(system.own)
    others = np.setdiff1d(np.arange(matrix.shape[1]), own)
    gain = np.linalg.solve(mean[:, own], np.column_stack([mean[:, others], mean_target]))
    taken = matrix[:, own] @ gain
    scale = np.sqrt(system.seen[:, None] * system.policy).ravel()
    # All may cancel, where rewards matter to no choice: what is small is told by what was there before.
    before, gone = (np.linalg.norm(scale[:, None] * part) for part in (matrix, taken[:, :-1]))
    least = max(RANK * float(before), ROUNDING * float(gone))
    return matrix[:, others] - taken[:, :-1], system.target - taken[:, -1], scale, least


def _spanned(columns: Array) -> Array:
    """An orthonormal basis (d, k) of the span of columns that may depend on one another."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-8]


def _sparse(system: Equations, temperature: float) -> Solved:
    scale = np.where(system.seen[:, None] > 0, np.sqrt(system.seen[:, None] * system.policy), 1.0).ravel()
    matrix = sparse.csr_array(sparse.diags_array(scale) @ system.matrix)
    found, residual, _ = least_squares(matrix, scale * system.target)
    return Solved(found[: system.weights], None, None, residual / scale / temperature, 0.0, None)

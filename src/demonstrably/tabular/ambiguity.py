"""The rewards that no policy could reveal, exactly, by dense linear algebra for problems of moderate size.

A change d of the reward (a number for each state and action) leaves the entropy-regularized policy alone if and only
if it is made of potentials. Derived from the soft Bellman equations; Cao, Cohen and Szpruch 2021, arXiv 2106.03498;
Rolland et al. 2022; Shehab et al. 2024.

Eq. 1, without end: d(s, a) = v(s) - discount * sum_s' P(s' | s, a) v(s') for some v, at every state that is visited.
Eq. 2, horizon T: d(s, a) + discount * sum_s' P(s' | s, a) v_{t+1}(s') = v_t(s) for some v_0, ..., v_{T-1} and v_T = 0,
    at every state that can be visited at time t.
Eq. 3, trajectory equivalence: the same with v(s') of every possible s' in place of its expectation.

In Eq. 1 the potentials are unique, since the discount is below 1; in Eq. 2 they follow from d backward in time. Several
experts leave the intersection. Eq. 3 says that the discounted sum of d along every trajectory from a start is that
start's potential: follow any two continuations of the same beginning. So it is Eq. 1 or 2 for deterministic dynamics,
and stricter where chance decides: there a potential changes what an episode earns, and only its expectation stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from demonstrably.tabular.forms import Form
from demonstrably.tabular.kernels import EPSILON, Kernel, kernel, require_memory
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import Mask, layers, reachable

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ambiguity:
    """Orthonormal directions (S * A, m) of reward that no policy reveals, the smallest gap of a rank decision, and the
    error that the directions have gathered: rounding over the smallest singular value so far."""

    directions: Array
    gap: float
    error: float = EPSILON


def ambiguity(problems: Sequence[MDP], form: Form) -> Ambiguity:
    """The rewards of a form that none of the problems' policies could reveal."""
    ordered = sorted(problems, key=lambda mdp: (mdp.horizon is not None, mdp.horizon or 0))  # the narrowest first
    found = Ambiguity(_opening(ordered[0]) if form.kind == "state_action" else form.span(), np.inf)
    for index, mdp in enumerate(ordered):
        if index or mdp.horizon is not None or form.kind != "state_action":
            found = narrowed(mdp, found)
    return found


def narrowed(mdp: MDP, found: Ambiguity) -> Ambiguity:
    """The part of the directions that this problem's policy does not reveal either."""
    return (_narrowed_without_end if mdp.horizon is None else _narrowed_backward)(mdp, found)


def pathwise(problems: Sequence[MDP], found: Ambiguity) -> Ambiguity:
    """The part of an ambiguity that is trajectory equivalence (Eq. 3) in every problem."""
    for mdp in problems:
        if not mdp.deterministic:
            found = (_pathwise_without_end if mdp.horizon is None else _pathwise_backward)(mdp, found)
    return found


def potentials(mdp: MDP, directions: Array) -> Array:
    """Eq. 1: the potentials v (S, m) of directions (S * A, m) that have some; 0 at states that are never visited."""
    seen = np.flatnonzero(reachable(mdp))
    onward = mdp.transitions[seen * mdp.actions][:, seen]
    system = splu(sparse.csc_array(sparse.eye_array(len(seen)) - mdp.discount * onward))
    values = np.zeros((mdp.states, directions.shape[1]))
    values[seen] = system.solve(np.ascontiguousarray(directions[seen * mdp.actions]))
    return values


def shaping_matrix(mdp: MDP, seen: Mask) -> sparse.csr_array:
    """Eq. 1 as a sparse matrix E - discount * P from potentials to rewards, of the states that are visited."""
    states = np.flatnonzero(seen)
    rows = np.flatnonzero(np.repeat(seen, mdp.actions))
    matrix = mdp.stay()[rows] - mdp.discount * mdp.transitions[rows]
    return sparse.csr_array(matrix[:, states])


def shaping_basis(mdp: MDP, seen: Mask) -> Array:
    """Orthonormal basis of Eq. 1: (visited pairs, visited states)."""
    require_memory(
        2 * mdp.pairs * int(seen.sum()), "potentials of all states as a dense matrix", "a problem with fewer states"
    )
    return np.linalg.qr(shaping_matrix(mdp, seen).toarray())[0]


def _opening(mdp: MDP) -> Array:
    """Directions to begin with, of rewards on states and actions: what one problem leaves, as far as it is plain.

    Without end this is Eq. 1. With a horizon the last decision's v_T = 0 makes d equal over the actions of the states
    in which it can be taken. Pairs that are never visited are free.
    """
    last = reachable(mdp) if mdp.horizon is None else layers(mdp)[-2]
    rows = np.flatnonzero(np.repeat(last, mdp.actions))
    free = np.flatnonzero(~np.repeat(last, mdp.actions))
    width = int(last.sum())
    require_memory(mdp.pairs * (width + len(free)), "the open directions", "features, a later horizon or more starts")
    directions = np.zeros((mdp.pairs, width + len(free)))
    if mdp.horizon is None:
        directions[rows, :width] = shaping_basis(mdp, last)
    else:
        directions[rows, np.arange(len(rows)) // mdp.actions] = mdp.actions**-0.5
    directions[free, width + np.arange(len(free))] = 1
    return directions


def _narrowed_without_end(mdp: MDP, found: Ambiguity) -> Ambiguity:
    left = residual(mdp, found.directions)
    return _kept(found, kernel(left, 1.0, found.error))


def residual(mdp: MDP, directions: Array) -> Array:
    """What of the directions, at visited pairs, no potential makes (Eq. 1); of singular values the principal sines."""
    seen = reachable(mdp)
    basis, left = shaping_basis(mdp, seen), directions[np.repeat(seen, mdp.actions)]
    for _ in range(2):  # once more takes away what rounding has left
        left = left - basis @ (basis.T @ left)
    return left


def _narrowed_backward(mdp: MDP, found: Ambiguity) -> Ambiguity:
    def required(now: Array, _: Array, rows: NDArray[np.int64]) -> Array:
        """Eq. 2 asks for the same value of all actions."""
        return (now[rows, 1:] - now[rows, :1]).reshape(-1, now.shape[2])

    return _backward(mdp, found, required)


def _pathwise_backward(mdp: MDP, found: Ambiguity) -> Ambiguity:
    def required(_: Array, later: Array, rows: NDArray[np.int64]) -> Array:
        """Eq. 3 asks for the same potential of all outcomes."""
        return _ties(mdp, later, rows)

    return _backward(mdp, found, required)


def _backward(mdp: MDP, found: Ambiguity, required: Callable[[Array, Array, NDArray[np.int64]], Array]) -> Ambiguity:
    """Eq. 2 from the last decision to the first: potentials, and the null space of what each time requires.

    `required` gets the values of all actions at a time (S, A, m), the potentials one step later (S, m), and the states
    that are possible at the time.
    """
    masks = layers(mdp)
    require_memory(4 * found.directions.size, "the open directions", "a shorter horizon, features, or fewer states")
    later = np.zeros((mdp.states, found.directions.shape[1]))
    for time in reversed(range(mdp.horizon or 0)):
        if not found.directions.size:
            break
        rows = np.flatnonzero(masks[time])
        now = found.directions + mdp.discount * (mdp.transitions @ later)
        scale = max(1.0, float(np.linalg.norm(now, axis=1).max(initial=0)))
        now = now.reshape(mdp.states, mdp.actions, -1)
        kept = kernel(required(now, later, rows), scale, found.error)
        later = np.where(masks[time][:, None], now[:, 0], 0) @ kept.basis
        found = _kept(found, kept)
    return found


def _pathwise_without_end(mdp: MDP, found: Ambiguity) -> Ambiguity:
    if mdp.discount == 0:  # what happens next is worth nothing
        return found
    values = potentials(mdp, found.directions)
    scale = max(1.0, float(np.linalg.norm(values, axis=1).max(initial=0)))
    return _kept(found, kernel(_ties(mdp, values, np.flatnonzero(reachable(mdp))), scale, found.error))


def _ties(mdp: MDP, values: Array, states: NDArray[np.int64]) -> Array:
    """Differences of values (S, m) between neighbors in the list of a pair's outcomes, for all pairs of some states."""
    pair = np.repeat(np.arange(mdp.pairs), np.diff(mdp.transitions.indptr))
    wanted = np.isin(pair // mdp.actions, states)
    same = (pair[1:] == pair[:-1]) & wanted[1:]
    outcomes = mdp.transitions.indices
    return values[outcomes[1:][same]] - values[outcomes[:-1][same]]


def _kept(found: Ambiguity, kept: Kernel) -> Ambiguity:
    error = max(found.error, EPSILON / kept.smallest)
    return Ambiguity(found.directions @ kept.basis, min(found.gap, kept.gap), error)

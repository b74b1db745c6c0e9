"""How well what is identifiable can be estimated from policies that are themselves estimates.

Eq. 1: N = stack over experts of (1 - Pi_k) L_k F. F holds orthonormal rewards of the form, L_k takes the pairs that
    expert k's policy speaks of, Pi_k projects on what potentials make of them.
Eq. 2: the least-squares reward has |r_hat - r| <= |e| / s, with e the stacked errors of the log-policies apart from
    potentials, and s the smallest singular value of N that is not zero. The bound is attained.
Eq. 3: for two experts without end s^2 = 1 - cos(angle), with the smallest principal angle between their potentials'
    rewards that is not zero. (Looser, by the triangle inequality: |r_hat - r| <= (|e_1| + |e_2|) / (1 - cos(angle)).)
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demonstrably.tabular.ambiguity import residual, shaping_basis
from demonstrably.tabular.forms import Form
from demonstrably.tabular.identification import Condition
from demonstrably.tabular.large import Found, comparable, differences, revealed
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import reachable

Array = NDArray[np.float64]

FORMAL = 100.0  # amplification from which errors of 0.01 in the log-policies can become errors of 1 in the reward
WORK = 4e9  # multiplications up to which the singular values of Eq. 1 are taken


def condition_of(problems: Sequence[MDP], form: Form, dimension: int) -> Condition | None:
    """Eq. 2 and 3 of a problem of moderate size; None where nothing is identifiable, or Eq. 1 would take long."""
    rank = form.width - dimension
    if not rank:
        return None
    angle = None
    if form.kind == "state_action" and len(problems) == 1 and problems[0].horizon is None:
        smallest = largest = 1.0  # Eq. 1 is a projection
    elif form.kind == "state_action" and _two_without_end(problems):
        angle, smallest, largest = _angle(problems, dimension)
    else:
        rows = sum(mdp.pairs * (mdp.horizon or 1) for mdp in problems)
        potentials = max(mdp.states * (mdp.horizon or 1) for mdp in problems)
        if rows * max(form.width, potentials) ** 2 > WORK:
            return None
        span = form.span()
        values = np.linalg.svd(np.vstack([_unexplained(mdp, span) for mdp in problems]), compute_uv=False)
        smallest, largest = float(values[rank - 1]), float(values[0])
    amplification = 1 / smallest
    if comparable(problems, form):
        smallest, largest = _of_differences(problems, form, dimension, (smallest, largest))
    return Condition(angle, smallest / largest, amplification, _warning(amplification), largest)


def condition_in_large(problems: Sequence[MDP], form: Form, found: Found) -> Condition | None:
    """From the system that was solved; None where the graph alone gave the answer."""
    if found.smallest is None or found.largest is None or not math.isfinite(found.smallest):
        return None
    amplification = math.inf
    if comparable(problems, form):
        amplification = _difference_bound(problems, form, found.smallest)
    warning = _warning(amplification) if math.isfinite(amplification) else None
    return Condition(None, found.smallest / found.largest, amplification, warning, found.largest)


def _unexplained(mdp: MDP, span: Array) -> Array:
    """Eq. 1 for one expert."""
    rows, matrix = revealed(mdp)
    basis, left = np.linalg.qr(matrix.toarray())[0], span[rows]
    for _ in range(2):  # once more takes away what rounding has left
        left = left - basis @ (basis.T @ left)
    return left


def _two_without_end(problems: Sequence[MDP]) -> bool:
    if len(problems) != 2 or any(mdp.horizon is not None for mdp in problems):
        return False
    return np.array_equal(reachable(problems[0]), reachable(problems[1]))


def _angle(problems: Sequence[MDP], dimension: int) -> tuple[float | None, float, float]:
    """Eq. 3: the angle, from its sine, which loses no digits where it is small; and extreme singular values of Eq. 1.

    Those are the roots of 1 - cos and 1 + cos of the angles, and of 2 for rewards that no expert's potentials make.
    """
    first, second = problems
    seen = reachable(first)
    states, pairs = int(seen.sum()), int(seen.sum()) * first.actions
    shared = dimension - (first.pairs - pairs)
    rows = np.repeat(seen, first.actions)
    basis = np.zeros((first.pairs, states))
    basis[rows] = shaping_basis(first, seen)
    sines = np.linalg.svd(residual(second, basis), compute_uv=False)
    if states == shared:  # the second expert says nothing new
        return None, math.sqrt(2), math.sqrt(2)
    angle = math.asin(min(1.0, float(sines[states - shared - 1])))
    outside = pairs > 2 * states - shared
    return angle, math.sqrt(2) * math.sin(angle / 2), math.sqrt(2) if outside else math.sqrt(1 + math.cos(angle))


def _of_differences(
    problems: Sequence[MDP], form: Form, dimension: int, otherwise: tuple[float, float]
) -> tuple[float, float]:
    """Smallest singular value that is not zero, and largest, of the stacked differences between actions."""
    seen = reachable(problems[0])
    free = int((~seen).sum()) * (form.actions if form.kind == "state_action" else 1)
    rank = int(seen.sum()) - (dimension - free)
    if not rank:
        return otherwise
    values = np.linalg.svd(differences(problems[0], seen).toarray(), compute_uv=False)
    return float(values[rank - 1]), float(values[0])


def _difference_bound(problems: Sequence[MDP], form: Form, smallest: float) -> float:
    """A bound on the error of the reward found through the stacked differences, for stacked errors of norm 1.

    Two discounts: z from the differences of log-policies, then v1 = (z - g2 u) / (g1 - g2), then the reward. Rewards on
    states: v from the differences. The norm of P is at most the root of its largest column sum.
    """
    first, actions = problems[0], problems[0].actions
    norm = math.sqrt(float((np.ones(first.pairs) @ first.transitions).max()))
    lift = math.sqrt(actions) + first.discount * norm
    if form.kind == "state":
        return 1 + lift * math.sqrt(actions) / (first.discount * smallest)
    second = next(mdp for mdp in problems if mdp.discount != first.discount)
    of_z = math.sqrt(2 * actions) / smallest
    of_values = of_z + second.discount * (math.sqrt(2) + norm * of_z)
    return 1 + lift * of_values / abs(first.discount - second.discount)


def _warning(amplification: float) -> str | None:
    if amplification < FORMAL:
        return None
    return (
        f"identifiable in form only: errors of the log-policies can grow up to {amplification:.3g} times on the way to "
        "the reward. Use problems that differ more"
    )

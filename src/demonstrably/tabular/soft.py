"""Soft (entropy-regularized) values and policies of a tabular problem, and the occupancies of a policy.

Ziebart 2010, "Modeling Purposeful Adaptive Behavior with the Principle of Maximum Causal Entropy"; Haarnoja et al.
2017, arXiv 1702.08165. Rewards are per state and action, (S, A); the temperature multiplies the entropy.

Eq. 1: V(s) = temperature * log sum_a exp(Q(s, a) / temperature)
Eq. 2: Q(s, a) = r(s, a) + discount * sum_s' P(s' | s, a) V(s')
Eq. 3: pi(a | s) = exp((Q(s, a) - V(s)) / temperature)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from demonstrably.tabular.mdp import MDP

Array = NDArray[np.float64]

DIRECT = 20_000  # states up to which Eq. 1 and 2 are solved by Newton's method, with a sparse factorization a step
STEPS = 1000  # of Newton's method, and one a state: a step settles at least one more state where little is random
SWEEPS = 1_000_000  # of value iteration
PRECISION = 1e-13  # of the largest value
ROUNDING = 8 * float(np.finfo(float).eps)  # of the largest value, over 1 - discount: what solving for values can reach


@dataclass(frozen=True, eq=False)
class Soft:
    """The solution of Eq. 1 to 3. Without a horizon the arrays are (S,), (S, A); with one, (T, S) and (T, S, A)."""

    values: Array
    policy: Array
    log_policy: Array


def soft_optimal(mdp: MDP, reward: ArrayLike, temperature: float = 1.0) -> Soft:
    """The policy that maximizes expected reward plus temperature times entropy, and its values.

    `reward` is (S, A), or (S,) for one that depends on the state alone; with a horizon also (T, S, A). Raises
    ValueError for another shape, numbers that are not finite, a temperature of 0 or less, or a large problem whose
    discount is so near 1 that value iteration does not settle.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: give one above 0")
    if mdp.horizon is not None:
        return _backward(mdp, reward_of(mdp, reward, over_time=True), temperature)
    reward = reward_of(mdp, reward)
    values = (_newton if mdp.states <= DIRECT else _iterated)(mdp, reward, temperature)
    return Soft(*_policy(backup(mdp, reward, values), temperature))


def reward_of(mdp: MDP, reward: ArrayLike, *, over_time: bool = False) -> Array:
    """A reward as (S, A); with `over_time` a reward (T, S, A) is let through. ValueError names what is wrong."""
    array = np.asarray(reward, dtype=np.float64)
    if array.shape == (mdp.states,):
        array = np.repeat(array[:, None], mdp.actions, 1)
    whole = (mdp.states, mdp.actions)
    if array.shape != whole and not (over_time and array.shape == (mdp.horizon, *whole)):
        raise ValueError(f"reward of shape {array.shape}: give ({mdp.states}, {mdp.actions}) or ({mdp.states},)")
    if not np.isfinite(array).all():
        pair = int(np.argwhere(~np.isfinite(array.reshape(-1, mdp.pairs)))[0][1])
        raise ValueError(f"the reward of {mdp.name(pair)} is not finite: give a number")
    return array


def policy_of(mdp: MDP, policy: ArrayLike) -> Array:
    """A policy as (S, A), or (T, S, A) where the problem has a horizon. ValueError names a row that is none."""
    array = np.asarray(policy, dtype=np.float64)
    whole = (mdp.states, mdp.actions)
    if array.shape != whole and not (mdp.horizon is not None and array.shape == (mdp.horizon, *whole)):
        raise ValueError(f"policy of shape {array.shape}: give probabilities ({mdp.states}, {mdp.actions})")
    wrong = ~(np.isfinite(array).all(-1) & (array >= 0).all(-1) & (np.abs(array.sum(-1) - 1) < 1e-6))
    if wrong.any():
        state = int(np.argwhere(wrong.reshape(-1, mdp.states))[0][1])
        raise ValueError(f"the policy in state {mdp.state_names[state]} is no probabilities that sum to 1")
    return array


def backup(mdp: MDP, reward: Array, values: Array) -> Array:
    """Eq. 2: Q (S, A) from the values (S,) of the next states."""
    return reward + mdp.discount * (mdp.transitions @ values).reshape(mdp.states, mdp.actions)


def policy_matrix(mdp: MDP, policy: Array) -> sparse.csr_array:
    """State to state probabilities (S, S) under a stationary policy (S, A)."""
    rows = mdp.transitions
    weighted = rows.data * np.repeat(policy.ravel(), np.diff(rows.indptr))
    # The rows of a state's actions lie one after another: read as one row they add up. Copies, since this is in place.
    parts = (weighted, rows.indices.copy(), rows.indptr[:: mdp.actions].copy())
    follow = sparse.csr_array(parts, shape=(mdp.states, mdp.states))
    follow.sum_duplicates()
    return follow


def values_of(mdp: MDP, policy: ArrayLike, reward: ArrayLike, temperature: float = 0.0) -> Array:
    """Expected discounted reward of a policy, plus temperature times entropy, from each state at the start, (S,)."""
    policy, reward = policy_of(mdp, policy), reward_of(mdp, reward)
    entropy = -temperature * np.where(policy > 0, policy * np.log(np.where(policy > 0, policy, 1)), 0).sum(-1)
    if mdp.horizon is None:
        gains = (policy * reward).sum(1) + entropy
        return _solve(mdp, policy, gains)
    values = np.zeros(mdp.states)
    for step in reversed(range(mdp.horizon)):
        now = policy[step] if policy.ndim == 3 else policy
        values = (now * backup(mdp, reward, values)).sum(1) + (entropy[step] if policy.ndim == 3 else entropy)
    return values


def occupancy(mdp: MDP, policy: ArrayLike) -> Array:
    """Expected discounted number of visits to each state and action, (S, A), from the problem's starts."""
    policy = policy_of(mdp, policy)
    if mdp.horizon is None:
        system = sparse.eye_array(mdp.states) - mdp.discount * policy_matrix(mdp, policy)
        visits = np.asarray(spsolve(sparse.csc_array(system.T), mdp.starts))
        return visits[:, None] * policy
    back = sparse.csr_array(mdp.transitions.T)
    visits, total = mdp.starts, np.zeros((mdp.states, mdp.actions))
    for step in range(mdp.horizon):
        now = visits[:, None] * (policy[step] if policy.ndim == 3 else policy)
        total += mdp.discount**step * now
        visits = back @ now.ravel()
    return total


def _policy(q: Array, temperature: float) -> tuple[Array, Array, Array]:
    """Eq. 1 and 3: values, policy and its logarithm from Q."""
    top = q.max(-1, keepdims=True)  # taken out, so that no power overflows
    powers = np.exp((q - top) / temperature)
    sums = powers.sum(-1, keepdims=True)
    values = top + temperature * np.log(sums)
    return values[..., 0], powers / sums, (q - values) / temperature


def _backward(mdp: MDP, reward: Array, temperature: float) -> Soft:
    horizon = mdp.horizon or 0
    values = np.empty((horizon, mdp.states))
    policy, log_policy = np.empty((2, horizon, mdp.states, mdp.actions))
    later = np.zeros(mdp.states)
    for step in reversed(range(horizon)):
        now = reward[step] if reward.ndim == 3 else reward
        values[step], policy[step], log_policy[step] = _policy(backup(mdp, now, later), temperature)
        later = values[step]
    return Soft(values, policy, log_policy)


def _newton(mdp: MDP, reward: Array, temperature: float) -> Array:
    """Eq. 1 and 2 are convex in V, so Newton's method, which is soft policy iteration, converges from anywhere."""
    values, unit = np.zeros(mdp.states), max(float(np.abs(reward).max()), temperature)
    for step in range(STEPS + mdp.states):
        _, policy, log_policy = _policy(backup(mdp, reward, values), temperature)
        gains = (policy * (reward - temperature * log_policy)).sum(1)
        solved = _solve(mdp, policy, gains)
        change, values = solved - values, solved
        rise, fall = float(change.max()), -float(change.min())
        # From the second step on values only rise: what falls is rounding, and what rises no further is so too.
        rounding = step > 0 and rise <= fall
        if rounding or max(rise, fall) <= _reachable(mdp, max(unit, float(np.abs(values).max()))):
            break
    return values


def _iterated(mdp: MDP, reward: Array, temperature: float) -> Array:
    """Value iteration, until what is left is below the precision of the numbers.

    If a sweep changes all values by between x and y, the solution is discount / (1 - discount) times x to y away
    (MacQueen 1966), and the middle is taken.
    """
    values, unit = np.zeros(mdp.states), max(float(np.abs(reward).max()), temperature)
    for _ in range(SWEEPS):
        after = _policy(backup(mdp, reward, values), temperature)[0]
        change, values = after - values, after
        low, high = (mdp.discount / (1 - mdp.discount) * float(end) for end in (change.min(), change.max()))
        found = values + (low + high) / 2
        if (high - low) / 2 <= _reachable(mdp, max(unit, float(np.abs(found).max()))):
            return found
    raise ValueError(
        f"the values of {mdp} did not settle in {SWEEPS} sweeps: give a discount further from 1, or a horizon"
    )


def _reachable(mdp: MDP, size: float) -> float:
    """The error of values of that size that is as good as none."""
    return max(PRECISION, ROUNDING / (1 - mdp.discount)) * size


def _solve(mdp: MDP, policy: Array, gains: Array) -> Array:
    """Values (S,) with V = gains + discount P_pi V."""
    system = sparse.eye_array(mdp.states) - mdp.discount * policy_matrix(mdp, policy)
    return np.asarray(spsolve(sparse.csc_array(system), gains))

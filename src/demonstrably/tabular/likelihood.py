"""How well a reward explains behavior: the causal likelihood, its exact gradient, and its information.

Ziebart, Bagnell and Dey 2010, "Modeling Interaction via the Principle of Maximum Causal Entropy". The person's decision
in state s is drawn from the soft-optimal policy pi of a reward r (`soft`, Eq. 1 to 3), with values V and temperature
lambda. Everything is per decision at a time t; without a horizon there is one policy, and sums over t stand inside.

A policy is known. Its expected discounted log-likelihood telescopes, because each Q holds the next V:

Eq. 1: L(r) = E[sum_t discount^t log pi(a_t | s_t)] = (<occupancy of the person, r> - E V(s_0)) / lambda
Eq. 2: dL / dr = (occupancy of the person - occupancy of pi) / lambda

L is concave in r. Both occupancies use the problem's discount and starts, with or without a horizon.

Decisions were counted. What was seen is a sample of the dynamics too, and may be cut short at any step, so the
likelihood is that of the decisions given the states. No decision is discounted in it, because each tells as much as
another. It need not be concave:

Eq. 3: L(r) = sum_t sum_s,a n_t(s, a) log pi_t(a | s)
Eq. 4: dL / dr = sum_t c_t / lambda
       c_t(s, a) = n_t(s, a) + (m_t(s) - n_t(s)) pi_t(a | s)
       m_0 = 0,   m_t+1(s') = discount sum_s,a P(s' | s, a) c_t(s, a)

c is the change of L with Q and m its change with the values that earlier decisions looked forward to. Where counts are
the discounted occupancies of a policy, Eq. 4 is Eq. 2. Without a horizon m is the solution of its own equation.

Eq. 5: I = sum_t sum_s n_t(s) Cov_a~pi_t(.|s)[dQ_t(s, a) / dw] / lambda^2      (Fisher's information about weights w)
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import DIRECT, SWEEPS, Soft, occupancy, policy_matrix, soft_optimal
from demonstrably.tabular.span import width

Array = NDArray[np.float64]

PRECISION = float(np.finfo(float).eps)  # what is left of the sum is then as exact as solving for it would be


def matched(mdp: MDP, expert: Array, reward: Array, temperature: float) -> tuple[float, Array, Soft]:
    """Eq. 1 and 2: log-likelihood of a policy with these occupancies (S, A), its gradient (S, A), and the solution."""
    soft = soft_optimal(mdp, reward, temperature)
    start = soft.values if mdp.horizon is None else soft.values[0]
    value = (float((expert * reward).sum()) - float(mdp.starts @ start)) / temperature
    return value, (expert - occupancy(mdp, soft.policy)) / temperature, soft


def counted(mdp: MDP, counts: Array, reward: Array, temperature: float) -> tuple[float, Array, Soft]:
    """Eq. 3 and 4: log-likelihood of counted decisions (S, A) or (T, S, A), its gradient (S, A), and the solution."""
    soft = soft_optimal(mdp, reward, temperature)
    value = float((counts * soft.log_policy).sum())
    surprise = counts - counts.sum(-1, keepdims=True) * soft.policy
    if mdp.horizon is None:
        ahead = mdp.discount * (mdp.transitions.T @ surprise.ravel())
        flow = _flow(mdp, soft.policy, ahead)
        return value, (surprise + flow[:, None] * soft.policy) / temperature, soft
    back = sparse.csr_array(mdp.transitions.T)
    flow, total = np.zeros(mdp.states), np.zeros((mdp.states, mdp.actions))
    for step in range(mdp.horizon):
        change = surprise[step] + flow[:, None] * soft.policy[step]
        total += change
        flow = mdp.discount * (back @ change.ravel())
    return value, total / temperature, soft


def information(mdp: MDP, visits: Array, policy: Array, span: sparse.csr_array, temperature: float) -> Array:
    """Eq. 5: information (d, d) about the weights of decisions at `visits`, (S,) or (T, S), of a policy."""
    slope, count = span.toarray(), width(span)
    if mdp.horizon is None:
        gains = (policy[:, :, None] * slope.reshape(mdp.states, mdp.actions, count)).sum(1)
        system = sparse.eye_array(mdp.states) - mdp.discount * policy_matrix(mdp, policy)
        slopes = slope + mdp.discount * (mdp.transitions @ splu(sparse.csc_array(system)).solve(gains))
        return _spread(visits, policy, slopes) / temperature**2
    total, ahead = np.zeros((count, count)), np.zeros((mdp.states, count))
    for step in reversed(range(mdp.horizon)):
        slopes = slope + mdp.discount * (mdp.transitions @ ahead)
        total += _spread(visits[step], policy[step], slopes)
        ahead = (policy[step][:, :, None] * slopes.reshape(mdp.states, mdp.actions, count)).sum(1)
    return total / temperature**2


def _spread(visits: Array, policy: Array, slopes: Array) -> Array:
    """Covariances over actions of slopes (S * A, d), summed over states by visits."""
    slopes = slopes.reshape(*policy.shape, -1)
    centered = slopes - (policy[:, :, None] * slopes).sum(1, keepdims=True)
    weighted = (np.sqrt(visits[:, None] * policy)[:, :, None] * centered).reshape(policy.size, -1)
    return weighted.T @ weighted


def _flow(mdp: MDP, policy: Array, ahead: Array) -> Array:
    """m (S,) with m = ahead + discount P_pi' m: directly, or by summing the series where that would take long."""
    follow = sparse.csr_array(policy_matrix(mdp, policy).T)
    if mdp.states <= DIRECT:
        return splu(sparse.csc_array(sparse.eye_array(mdp.states) - mdp.discount * follow)).solve(ahead)
    total, term = ahead.copy(), ahead
    for _ in range(SWEEPS):
        if np.abs(term).sum() <= PRECISION * np.abs(total).sum():
            break
        term = mdp.discount * (follow @ term)
        total += term
    return total

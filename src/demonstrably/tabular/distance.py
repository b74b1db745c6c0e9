"""How far two rewards are apart, in what they ask for and not in their numbers.

EPIC:  Gleave et al. 2021, "Quantifying Differences in Reward Functions", arXiv 2006.13900.
DARD:  Wulfe et al. 2022, "Dynamics-Aware Comparison of Learned Reward Functions", arXiv 2201.10081.
STARC: Skalse et al. 2024, "STARC: A General Framework For Quantifying Differences Between Reward Functions",
       arXiv 2309.15257.
Regret, or expected value difference: Levine et al. 2011, "Nonlinear Inverse Reinforcement Learning with Gaussian
       Processes".

The first three bring both rewards into a canonical form, which undoes changes that matter to no policy, and compare
the forms at equal scale. All are numbers from 0 (the same) to 1 (opposite) but for regret, which is in units of the
true reward. A reward is (S,), (S, A), or (S, A, S') where it depends on the next state too. `sampled_distance` holds
the same for rewards that are functions.

Departures. A canonical form that vanishes has no direction: two such forms are at distance 0, and one is at
sqrt(1/2) (EPIC, DARD: no correlation) or 1/2 (STARC, by its definition) from any other. STARC compares the expected
rewards (S, A): a norm over (S, A, S') of a form that is constant in s' differs by a factor that the scaling removes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.sampled_distance import Distance, dard_sampled, epic_sampled, starc_sampled
from demonstrably.tabular.sampled_regret import SampledRegret, estimated, returns
from demonstrably.tabular.soft import STEPS, backup, reward_of, soft_optimal, values_of

__all__ = [
    "Distance",
    "SampledRegret",
    "best_policy",
    "canonical_dard",
    "canonical_epic",
    "dard",
    "dard_sampled",
    "epic",
    "epic_sampled",
    "expected_reward",
    "minimal",
    "regret",
    "regret_sampled",
    "starc",
    "starc_sampled",
    "value_adjusted",
]

Array = NDArray[np.float64]

DENSE = 2e8  # entries of an array (S, A, S') above which the sampled distances are the way
VANISHED = 1e-12  # a canonical form smaller than this, relative to its reward, is rounding
TIED = 1e-10  # actions this close to the best, relative to the largest value, count as equally good


def epic(
    mdp: MDP,
    first: ArrayLike,
    second: ArrayLike,
    *,
    states: ArrayLike | None = None,
    actions: ArrayLike | None = None,
    coverage: ArrayLike | None = None,
) -> float:
    """Eq. 2: sqrt((1 - rho) / 2), with rho the correlation of the canonical rewards over transitions.

    Invariant to potential shaping, a positive scale and a constant; blind to which transitions are possible. `states`
    (S,) and `actions` (A,) are the distributions of the canonical form, `coverage` (S, A, S') that of the transitions;
    all uniform by default, every transition alike.

    Raises ValueError for shapes that do not fit and for problems too large for an array (S, A, S').
    """
    states, actions = _weights(states, mdp.states, "states"), _weights(actions, mdp.actions, "actions")
    forms = [canonical_epic(mdp, reward, states, actions) for reward in (first, second)]
    product = states[:, None, None] * actions[:, None] * states
    return _correlated(forms, [first, second], product if coverage is None else _coverage(mdp, coverage))


def dard(
    mdp: MDP,
    first: ArrayLike,
    second: ArrayLike,
    *,
    actions: ArrayLike | None = None,
    coverage: ArrayLike | None = None,
) -> float:
    """Eq. 2 with the canonical form of Eq. 3, which looks at transitions near possible ones only.

    `coverage` (S, A, S') is by default every state and action alike, and what follows by the dynamics.
    Raises as `epic`.
    """
    actions = _weights(actions, mdp.actions, "actions")
    forms = [canonical_dard(mdp, reward, actions) for reward in (first, second)]
    possible = mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states) / mdp.pairs
    return _correlated(forms, [first, second], possible if coverage is None else _coverage(mdp, coverage))


def canonical_epic(
    mdp: MDP, reward: ArrayLike, states: ArrayLike | None = None, actions: ArrayLike | None = None
) -> Array:
    """Eq. 1: C(s, a, s') = R(s, a, s') + E[discount R(s', A, S') - R(s, A, S') - discount R(S, A, S')], (S, A, S').

    S, S' and A are independent draws from the distributions `states` and `actions`, uniform by default.
    """
    states, actions = _weights(states, mdp.states, "states"), _weights(actions, mdp.actions, "actions")
    whole = _whole(mdp, reward)
    mean = (whole @ states) @ actions  # over next states and actions
    return whole + mdp.discount * mean - mean[:, None, None] - mdp.discount * (states @ mean)


def canonical_dard(mdp: MDP, reward: ArrayLike, actions: ArrayLike | None = None) -> Array:
    """Eq. 3: C(s, a, s') = R(s, a, s') + E[discount R(s', A, S'') - R(s, A, S') - discount R(S', A, S'')], (S, A, S').

    A is drawn from `actions`, S' follows s and A, S'' follows s' and A, by the dynamics.
    """
    whole, weights = _whole(mdp, reward), _weights(actions, mdp.actions, "actions")
    mean = expected_reward(mdp, reward) @ weights
    form = whole + mdp.discount * mean - mean[:, None, None]
    for action, weight in enumerate(weights):
        follow = mdp.transitions[action :: mdp.actions]  # (S, S) of this action
        form -= mdp.discount * weight * ((follow @ whole[:, action]) @ follow.T)[:, None]
    return form


def starc(
    mdp: MDP,
    first: ArrayLike,
    second: ArrayLike,
    *,
    canonical: Callable[[MDP, ArrayLike], Array] | None = None,
    order: float | int = 2,
) -> float:
    """Eq. 4: half the norm of c(R1) / |c(R1)| - c(R2) / |c(R2)|, over pairs (S, A).

    Zero exactly where both rewards order all policies alike: invariant to potential shaping, to what is redistributed
    over next states at equal mean, and to a positive scale. `canonical` is `value_adjusted` (the default), `minimal`,
    or any linear map that undoes these; `order` 1, 2 or inf of the norm.

    Raises ValueError for shapes that do not fit, another order, and a problem with a horizon.
    """
    if order not in (1, 2, np.inf):
        raise ValueError(f"order {order}: give 1, 2 or inf, the order of the norm")
    canonical = canonical or value_adjusted
    forms = []
    for reward in (first, second):
        form = canonical(mdp, reward).ravel()
        size = np.linalg.norm(form, order)
        vanished = size <= VANISHED * np.linalg.norm(expected_reward(mdp, reward).ravel(), order)
        forms.append(np.zeros(mdp.pairs) if vanished else form / size)
    return float(np.linalg.norm(forms[0] - forms[1], order) / 2)


def value_adjusted(mdp: MDP, reward: ArrayLike, policy: ArrayLike | None = None) -> Array:
    """Eq. 5: c(s, a) = E[R(s, a, S') + discount V(S')] - V(s), (S, A), with V the values of a policy.

    The policy (S, A) is uniform by default. This is its advantage: a projection of rank S A - S whose kernel is
    potential shaping.
    """
    _require_endless(mdp)
    mean = expected_reward(mdp, reward)
    uniform = np.full((mdp.states, mdp.actions), 1 / mdp.actions)
    values = values_of(mdp, uniform if policy is None else policy, mean)
    return backup(mdp, mean, values) - values[:, None]


def minimal(mdp: MDP, reward: ArrayLike) -> Array:
    """Eq. 6: the expected reward (S, A) plus the potential shaping that makes it smallest in the 2-norm.

    This is the orthogonal projection whose kernel is potential shaping.
    """
    _require_endless(mdp)
    mean = expected_reward(mdp, reward)
    shaping = sparse.csc_array(mdp.stay() - mdp.discount * mdp.transitions)
    normal, left = splu(sparse.csc_array(shaping.T @ shaping)), mean.ravel()
    for _ in range(2):  # the second time takes away what the squared condition of the first left
        left = left - shaping @ normal.solve(shaping.T @ left)
    return left.reshape(mean.shape)


def regret(mdp: MDP, truth: ArrayLike, guess: ArrayLike, *, temperature: float = 0.0) -> float:
    """Eq. 7: what a policy that is best for `guess` loses under `truth`, from the problem's starts; 0 or more.

    Give another problem to learn what the guess is worth there: the policy is found in `mdp` anew. With a temperature
    both policies are soft-optimal, and the entropy counts. With none, actions equally good under `guess` are taken
    alike. The unit is that of `truth`, summed over an episode with the problem's discount.

    Raises ValueError for shapes that do not fit, and a temperature below 0.
    """
    if temperature < 0:
        raise ValueError(f"temperature {temperature}: give 0, for hard-optimal policies, or more")
    truth, guess = expected_reward(mdp, truth), expected_reward(mdp, guess)
    best, taken = (best_policy(mdp, reward, temperature) for reward in (truth, guess))
    lost = values_of(mdp, best, truth, temperature) - values_of(mdp, taken, truth, temperature)
    return max(0.0, float(mdp.starts @ lost))


def regret_sampled(
    mdp: MDP,
    truth: ArrayLike,
    guess: ArrayLike,
    *,
    temperature: float = 0.0,
    episodes: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> SampledRegret:
    """`regret` as episodes show it: the mean difference of what both policies earn under `truth`, in pairs.

    The two episodes of a pair share their random numbers: where both policies do the same they earn the same. Without a
    horizon episodes end where less than 1e-4 of the largest possible value is left. A temperature adds the entropy of
    each decision. The interval is Student's, for many episodes; where the pairs never differ it has no width, though
    what is rare may have been missed.

    Raises ValueError as `regret`, and for fewer than two episodes or a level outside (0, 1).
    """
    if temperature < 0 or episodes < 2 or not 0 < level < 1:
        raise ValueError(
            f"temperature {temperature}, episodes {episodes}, level {level}: give a temperature of 0 or more, at least "
            "2 episodes, and a level in (0, 1)"
        )
    truth, guess = expected_reward(mdp, truth), expected_reward(mdp, guess)
    best, taken = (
        returns(mdp, best_policy(mdp, reward, temperature), truth, temperature, episodes, seed)
        for reward in (truth, guess)
    )
    return estimated(best - taken, level)


def expected_reward(mdp: MDP, reward: ArrayLike) -> Array:
    """A reward as (S, A), with the mean over next states where it depends on them. Raises ValueError as `reward_of`."""
    array = np.asarray(reward, dtype=np.float64)
    if array.shape != (mdp.states, mdp.actions, mdp.states):
        return reward_of(mdp, array)
    mean = np.asarray(mdp.transitions.multiply(array.reshape(mdp.pairs, mdp.states)).sum(1))
    return reward_of(mdp, mean.reshape(mdp.states, mdp.actions))


def _whole(mdp: MDP, reward: ArrayLike) -> Array:
    """A reward as (S, A, S')."""
    shape = (mdp.states, mdp.actions, mdp.states)
    if np.prod(shape, dtype=float) > DENSE:
        raise ValueError(
            f"{mdp.states} states and {mdp.actions} actions: an array (S, A, S') of "
            f"{8e-9 * np.prod(shape, dtype=float):.3g} GB is too large; use epic_sampled or dard_sampled, or starc"
        )
    array = np.asarray(reward, dtype=np.float64)
    if array.shape != shape:
        return np.broadcast_to(reward_of(mdp, array)[:, :, None], shape)
    if not np.isfinite(array).all():
        state, action, after = map(int, np.argwhere(~np.isfinite(array))[0])
        pair = mdp.name(state * mdp.actions + action)
        raise ValueError(f"the reward of {pair}, next state {mdp.state_names[after]} is not finite: give a number")
    return array


def _correlated(forms: list[Array], rewards: list[ArrayLike], coverage: Array) -> float:
    """Eq. 2 of two canonical forms, weighted by a distribution of transitions."""
    centered = [form - (form * coverage).sum() for form in forms]
    spreads = []
    for form, reward in zip(centered, rewards, strict=True):
        spread = float(np.sqrt((form**2 * coverage).sum()))
        spreads.append(0.0 if spread <= VANISHED * np.abs(np.asarray(reward)).max() else spread)
    if not all(spreads):
        return float(np.sqrt(0.5 * any(spreads)))
    # Half the distance of the standardized forms: the same as sqrt((1 - rho) / 2), with all digits where rho is near 1.
    apart = centered[0] / spreads[0] - centered[1] / spreads[1]
    return float(np.sqrt((apart**2 * coverage).sum()) / 2)


def _weights(weights: ArrayLike | None, count: int, what: str) -> Array:
    if weights is None:
        return np.full(count, 1 / count)
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (count,) or not (array >= 0).all() or abs(array.sum() - 1) > 1e-8:
        raise ValueError(
            f"{what} of shape {array.shape} with sum {array.sum():.6g}: give probabilities ({count},) that sum to 1"
        )
    return array


def _coverage(mdp: MDP, coverage: ArrayLike) -> Array:
    array, shape = np.asarray(coverage, dtype=np.float64), (mdp.states, mdp.actions, mdp.states)
    if array.shape != shape or not (array >= 0).all() or abs(array.sum() - 1) > 1e-8:
        raise ValueError(
            f"coverage of shape {array.shape} with sum {array.sum():.6g}: give probabilities {shape} that sum to 1"
        )
    return array


def _require_endless(mdp: MDP) -> None:
    if mdp.horizon is not None:
        raise ValueError(
            f"a problem with horizon {mdp.horizon}: STARC is for a discounted future without end; give a problem "
            "without a horizon, or canonical=..., a linear map that undoes what matters to no policy there"
        )


def best_policy(mdp: MDP, reward: Array, temperature: float = 0.0) -> Array:
    """The policy that is best for a reward (S, A), or soft-optimal for it; (S, A), or (T, S, A) with a horizon."""
    if temperature > 0:
        return soft_optimal(mdp, reward, temperature).policy
    if mdp.horizon is None:
        return _policy_iteration(mdp, reward)
    policy, later = np.empty((mdp.horizon, mdp.states, mdp.actions)), np.zeros(mdp.states)
    for step in reversed(range(mdp.horizon)):
        q = backup(mdp, reward, later)
        # At some time all values may cancel: the reward then says what is rounding.
        policy[step], later = _best(q, max(float(np.abs(q).max()), float(np.abs(reward).max()))), q.max(1)
    return policy


def _policy_iteration(mdp: MDP, reward: Array) -> Array:
    """All best actions alike, of the values that no single change of action improves."""
    chosen = reward.argmax(1)
    q = reward
    for _ in range(STEPS + mdp.states):
        q = backup(mdp, reward, values_of(mdp, np.eye(mdp.actions)[chosen], reward))
        ahead = q.max(1) - np.take_along_axis(q, chosen[:, None], 1)[:, 0]
        better = ahead > TIED * float(np.abs(q).max())
        if not better.any():
            break
        chosen = np.where(better, q.argmax(1), chosen)
    return _best(q, float(np.abs(q).max()))


def _best(q: Array, size: float) -> Array:
    """The policy that takes all best actions alike, where values are of that size."""
    best = q >= q.max(1, keepdims=True) - TIED * size
    return best / best.sum(1, keepdims=True)

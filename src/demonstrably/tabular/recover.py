"""The reward that policies under several discounts or dynamics share, in closed form.

Cao, Cohen and Szpruch 2021, "Identifiability in inverse reinforcement learning", arXiv 2106.03498; Rolland et al. 2022,
"Identifiability and generalizability from multiple experts in Inverse Reinforcement Learning", arXiv 2209.10974. The
general equations are in `equations`. Two discounts g1, g2 with the same dynamics need only a number z(s) a state:

Eq. 4: P_a z - u = D_a for every action,   D_a(s) = lambda (log pi_1(a | s) - log pi_2(a | s))
Eq. 5: u = mean over actions of (P_a z - D_a)
Eq. 6: V_1 = (z - g2 u) / (g1 - g2),   V_2 = V_1 - u,   r = lambda log pi_k + V_k - g_k P V_k

with z = g1 V_1 - g2 V_2 and u = V_1 - V_2: the difference of two of `equations`, Eq. 1. Eq. 4 less its mean over
actions is solved for z. What Eq. 4 leaves open of z is what the two policies leave open of the reward.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from demonstrably.tabular.equations import COLUMNS, Ridged, amplification, equations, least_squares, never_taken, solve
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import Behavior, misspecification
from demonstrably.tabular.recovery import Recovery
from demonstrably.tabular.soft import backup
from demonstrably.tabular.span import Features, span_of, width
from demonstrably.tabular.structure import reachable, visited
from demonstrably.tabular.tallies import SMOOTHING, Evidence, Seen, read

Array = NDArray[np.float64]

SAME = 1e-12  # differences of probabilities, and sines of angles, that are rounding
FORMAL = 1e-5  # of the largest singular value: below it what is determined is determined in name only
POWERS = 8  # inverse iterations for the smallest singular value


def recover_reward(
    mdps: MDP | Sequence[MDP],
    policies: Evidence | Sequence[Evidence],
    *,
    features: Features = "state_action",
    temperature: float = 1.0,
    suppose: Sequence[Behavior] = (),
) -> Recovery:
    """The reward, the same in all problems, for which these policies are soft-optimal.

    Args:
        mdps: one problem, or several with the same states and actions: other discounts, dynamics, horizons, starts.
        policies: of one problem, or a list with one for each: probabilities, counts of decisions or demonstrations, as
            `tallies.read` takes them; all known, or all counted.
        features: what rewards are thought possible, as in `max_ent_irl`.
        temperature: of the persons' entropy, in units of reward.
        suppose: behaviors that the persons may have shown instead, from `misspecification`: for each the result says
            how far off the reward would be.

    Of all rewards that fit alike the result is the smallest, in its weights (in large problems, in weights and values
    together), and it says how many directions are not determined. Raises ValueError for problems that do not match,
    evidence that does not fit, and a policy with an action of probability 0, which no finite reward explains.
    """
    mdps, seen = read_experts(mdps, policies, temperature)
    for mdp, one in zip(mdps, seen, strict=True):
        _require_positive(mdp, one.policy)
    pairs = isinstance(features, str) and features == "state_action"
    unknowns = sum(mdp.states * (mdp.horizon or 1) for mdp in mdps)
    if pairs and unknowns + mdps[0].pairs > COLUMNS and _two_discounts(mdps, seen):
        found = _by_discounts_where_reached(mdps, seen, temperature)
    else:
        found = _in_general(mdps, seen, span_of(mdps[0], features), temperature)
    if pairs and len(mdps) == 2 and 2 * mdps[0].states <= COLUMNS and all(mdp.horizon is None for mdp in mdps):
        found = replace(found, angle=second_angle(mdps))
        if found.amplification is None and found.angle is not None and _seen_wherever_reached(mdps, seen):
            found = replace(found, amplification=float(np.sqrt(0.5) / np.sin(found.angle / 2)))
    if found.sampled and found.amplification is not None and _seen_wherever_reached(mdps, seen):
        found = replace(found, error_bound=found.amplification * _expected_error(seen, temperature))
    cases = (misspecification(mdps, found.reward, one, features=features, temperature=temperature) for one in suppose)
    return replace(found, misspecifications=tuple(cases))


def read_experts(
    mdps: MDP | Sequence[MDP], policies: Evidence | Sequence[Evidence], temperature: float
) -> tuple[list[MDP], list[Seen]]:
    """Problems and their evidence as lists. ValueError where they do not match one another."""
    if not temperature > 0:
        raise ValueError(f"temperature {temperature}: give one above 0")
    problems = [mdps] if isinstance(mdps, MDP) else list(mdps)
    given = cast("list[Evidence]", [policies] if isinstance(mdps, MDP) else list(cast("Sequence[Evidence]", policies)))
    if len(problems) != len(given) or not problems:
        raise ValueError(f"{len(problems)} problems and {len(given)} policies: give one policy a problem")
    seen = [read(mdp, evidence) for mdp, evidence in zip(problems, given, strict=True)]
    shapes = {(mdp.states, mdp.actions) for mdp in problems}
    if len(shapes) > 1:
        raise ValueError(f"problems of (states, actions) {sorted(shapes)}: they must have the same, to share a reward")
    if len({one.counts is None for one in seen}) > 1:
        raise ValueError("some policies are probabilities and some are counted: give counts for all, or for none")
    return problems, seen


def second_angle(mdps: Sequence[MDP]) -> float | None:
    """The smallest nonzero principal angle between the ambiguities of two endless experts, in the states they reach.

    None where all angles are 0, and where the two reach different states.
    """
    reached = [reachable(mdp) for mdp in mdps]
    if not np.array_equal(reached[0], reached[1]):
        return None
    pairs = np.repeat(reached[0], mdps[0].actions)
    shaping = [(mdp.stay() - mdp.discount * mdp.transitions).toarray()[pairs][:, reached[0]] for mdp in mdps]
    bases = [np.linalg.qr(one)[0] for one in shaping]
    # Sines, of what of one basis lies outside the other: cosines near 1 would lose half of the digits.
    sines = np.linalg.svd(bases[1] - bases[0] @ (bases[0].T @ bases[1]), compute_uv=False)
    apart = sines[sines > SAME]
    return float(np.arcsin(min(1.0, apart.min()))) if len(apart) else None


def _in_general(mdps: list[MDP], seen: list[Seen], span: sparse.csr_array, temperature: float) -> Recovery:
    system = equations(mdps, seen, span, temperature)
    solved = solve(system, temperature)
    shape, errors = (mdps[0].states, mdps[0].actions), None
    undetermined = None if solved.free is None else solved.free.shape[1]
    if solved.covariance is not None and undetermined != width(span):
        errors = np.sqrt(span.multiply(span @ solved.covariance).sum(1)).reshape(shape)
    return Recovery(
        reward=(span @ solved.weights).reshape(shape),
        weights=solved.weights,
        undetermined=undetermined,
        misfit=float(np.abs(solved.residual).max()),
        temperature=temperature,
        experts=len(mdps),
        sampled=seen[0].counts is not None,
        standard_errors=errors,
        amplification=None if solved.free is None else amplification(system, span, solved.free),
    )


def _by_discounts_where_reached(mdps: list[MDP], seen: list[Seen], temperature: float) -> Recovery:
    """`_by_discounts` without the states that are never reached, whose rewards are open, and 0."""
    first, reached = mdps[0], reachable(mdps[0])
    if reached.all() or seen[0].counts is not None:
        return _by_discounts(mdps, seen, temperature)
    inside = sparse.csr_array(first.transitions[np.repeat(reached, first.actions)][:, reached])
    parts = [MDP(inside, discount=mdp.discount, actions=mdp.actions) for mdp in mdps]
    found = _by_discounts(parts, [Seen(one.policy[reached]) for one in seen], temperature)
    reward = np.zeros((first.states, first.actions))
    reward[reached] = found.reward
    more = int((~reached).sum()) * first.actions
    undetermined = None if found.undetermined is None else found.undetermined + more
    return replace(found, reward=reward, weights=reward.ravel(), undetermined=undetermined)


def _by_discounts(mdps: list[MDP], seen: list[Seen], temperature: float) -> Recovery:
    """Eq. 4 to 6."""
    first, second = mdps
    logs: list[Array] = [temperature * np.log(one.policy) for one in seen]
    weights = _precisions(seen)
    apart = (logs[0] - logs[1]).ravel()
    mean = _mean_over_actions(weights)
    average = sparse.csr_array(mean @ first.transitions)
    scale = sparse.diags_array(np.sqrt(weights.ravel()))
    matrix = sparse.csr_array(scale @ (first.transitions - first.stay() @ average))
    target = scale @ (apart - np.repeat(mean @ apart, first.actions))
    z, _, ridged = least_squares(matrix, target)
    value = _smallest(matrix, ridged)
    u = average @ z - mean @ apart
    values = (z - second.discount * u) / (first.discount - second.discount)
    # Eq. 6 has r = lambda log pi + V - g P V: the negative of a backup of V, of the negative reward.
    rewards = [v[:, None] - backup(mdp, -log, v) for log, mdp, v in zip(logs, mdps, (values, values - u), strict=True)]
    shares = [np.ones_like(logs[0]) if one.counts is None else one.counts + SMOOTHING for one in seen]
    reward = (shares[0] * rewards[0] + shares[1] * rewards[1]) / (shares[0] + shares[1])
    reward = reward - reward.mean()  # the smallest: the constant is open
    return Recovery(
        reward=reward,
        weights=reward.ravel(),
        undetermined=1 if value > FORMAL else None,
        misfit=float(np.abs(rewards[0] - rewards[1]).max()) / 2 / temperature,
        temperature=temperature,
        experts=2,
        sampled=seen[0].counts is not None,
        singular_value=value,
    )


def _precisions(seen: list[Seen]) -> Array:
    """Of the difference of two log-policies, (S, A): 1 where they are known, else by the counts of both."""
    if any(one.counts is None for one in seen):
        return np.ones_like(seen[0].policy)
    first, second = (np.asarray(one.counts) for one in seen)
    both = (first.sum(1, keepdims=True) > 0) & (second.sum(1, keepdims=True) > 0)
    return np.where(both, 1 / (1 / (first + SMOOTHING) + 1 / (second + SMOOTHING)), 0.0)


def _mean_over_actions(weights: Array) -> sparse.csr_array:
    """The matrix (S, S * A) that takes weighted means over actions."""
    states, actions = weights.shape
    sums = weights.sum(1, keepdims=True)
    shares = np.where(sums > 0, weights / np.where(sums > 0, sums, 1), 1 / actions)
    return sparse.csr_array((shares.ravel(), np.arange(weights.size), np.arange(0, weights.size + 1, actions)))


def _smallest(matrix: sparse.csr_array, ridged: Ridged) -> float:
    """The smallest singular value but that of constants, relative to the largest, by inverse iteration."""
    vector = np.random.default_rng(0).standard_normal(width(matrix))
    large = vector
    for _ in range(POWERS):
        vector = ridged.solve(vector - vector.mean())
        vector /= np.linalg.norm(vector)
        large = ridged.back @ (matrix @ large)
        large /= np.linalg.norm(large)
    vector -= vector.mean()
    return float(np.linalg.norm(matrix @ vector) / np.linalg.norm(vector) / np.linalg.norm(matrix @ large))


def _two_discounts(mdps: list[MDP], seen: list[Seen]) -> bool:
    """Whether two endless experts differ in their discount alone, and are known in the same states or counted."""
    if len(mdps) != 2 or any(mdp.horizon is not None for mdp in mdps) or mdps[0].discount == mdps[1].discount:
        return False
    first, second = (mdp.transitions for mdp in mdps)
    if first is not second and (first.nnz != second.nnz or bool(abs(first - second).max() > SAME)):
        return False
    return seen[0].counts is not None or np.array_equal(reachable(mdps[0]), reachable(mdps[1]))


def _seen_wherever_reached(mdps: list[MDP], seen: list[Seen]) -> bool:
    """Whether every state that can be reached was seen, at some time, where decisions were counted."""
    counted = [(mdp, one.counts) for mdp, one in zip(mdps, seen, strict=True) if one.counts is not None]
    return all(
        (counts.reshape(-1, mdp.states, mdp.actions).sum((0, 2))[visited(mdp)] > 0).all() for mdp, counts in counted
    )


def _expected_error(seen: list[Seen], temperature: float) -> float:
    """Root of the expected squared 2-norm of all errors of log-policies (`equations`, Eq. 2) of counted decisions."""
    total = 0.0
    for one in seen:
        number = np.asarray(one.counts).sum(-1)
        variances = (1 / one.policy).sum(-1) - one.policy.shape[-1]
        total += float((variances / np.maximum(number, 1))[number > 0].sum())
    return temperature * total**0.5


def _require_positive(mdp: MDP, policy: Array) -> None:
    name = never_taken(mdp, policy)
    if name:
        raise ValueError(
            f"the policy gives {name} probability 0, which no finite reward explains at a "
            "temperature above 0: give counts of decisions, which are smoothed, or mix the policy with chance"
        )

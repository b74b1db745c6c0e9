"""Maximum causal entropy inverse reinforcement learning of tabular rewards.

Ziebart, Bagnell and Dey 2010, "Modeling Interaction via the Principle of Maximum Causal Entropy". The equations are in
`likelihood` (Eq. 1 and 2 for a policy, 3 and 4 for demonstrations, 5 for standard errors); what is maximized is

Eq. 6: L(F w) - (l2 / 2) |w|^2

with rewards F w linear in features, or given by a network of them. It is concave for a policy and linear rewards.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

from demonstrably.tabular.likelihood import counted, information, matched
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import Soft, occupancy
from demonstrably.tabular.span import Features, Rewards, linear_rewards, span_of
from demonstrably.tabular.tallies import Evidence, Seen, read

Array = NDArray[np.float64]
Slope = Callable[[Array], tuple[float, Array, Soft]]  # of the log-likelihood at a rewards, in any shape

MEMORY = 30  # steps that L-BFGS remembers
LARGE = 2e10  # multiplications above which information is not computed
FLAT = 1e-10  # of the largest eigenvalue of the information: below it a direction of the weights changes no decision
ROUNDING = 1e-12  # of the slopes of values: differences between actions that are smaller are rounding


@dataclass(frozen=True, eq=False)
class RewardEstimate:
    """A reward that explains behavior, and how well.

    `reward` is (S, A); `weights` (d,) give it through the features (a network's parameters, one after another).
    `standard_errors` (d,) are those of the weights where behavior was sampled: inf where a weight is not determined,
    None where there are too many to compute. `undetermined` counts the directions of the weights that change no
    decision that was seen (None: not counted). `log_likelihood` is of all decisions that were counted, or of an
    episode of the given policy (discounted). `gradient` is the largest slope of Eq. 6 per decision, which is what
    was to come below the tolerance. `policy` is soft-optimal for the reward, (S, A), or (T, S, A) with a horizon.
    """

    reward: Array
    weights: Array
    standard_errors: Array | None
    undetermined: int | None
    log_likelihood: float
    gradient: float
    iterations: int
    converged: bool
    policy: Array
    temperature: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record; a standard error that is infinite is null."""
        errors = self.standard_errors
        return {
            "reward": self.reward.tolist(),
            "weights": self.weights.tolist(),
            "standard_errors": None if errors is None else [x if np.isfinite(x) else None for x in errors.tolist()],
            "undetermined": self.undetermined,
            "log_likelihood": self.log_likelihood,
            "gradient": self.gradient,
            "iterations": self.iterations,
            "converged": self.converged,
            "temperature": self.temperature,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        states, actions = self.reward.shape
        done = "converged" if self.converged else "NOT converged"
        lines = [
            f"maximum causal entropy reward of {states} states and {actions} actions, {len(self.weights)} weights",
            f"  log-likelihood {self.log_likelihood:.6g}; {done} after {self.iterations} iterations, "
            f"gradient {self.gradient:.1e} per decision",
        ]
        if self.standard_errors is not None and np.isfinite(self.standard_errors).any():
            finite = self.standard_errors[np.isfinite(self.standard_errors)]
            lines.append(f"  standard errors of {len(finite)} weights: {finite.min():.3g} to {finite.max():.3g}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in str(self).splitlines())


def max_ent_irl(
    mdp: MDP,
    evidence: Evidence,
    *,
    features: Features = "state_action",
    network: Callable[..., Any] | None = None,
    temperature: float = 1.0,
    l2: float = 0.0,
    tolerance: float = 1e-6,
    iterations: int = 1000,
) -> RewardEstimate:
    """The reward under which behavior is most likely, if decisions are soft-optimal at this temperature.

    Args:
        mdp: the problem, with or without a horizon; its discount is the person's, its starts those of Eq. 1.
        evidence: a policy of probabilities (S, A), or (T, S, A) with a horizon; counts of decisions as whole numbers
            of the same shape; or demonstrations, a list of tuples (states, actions). See `tallies.read`.
        features: "state_action" for a weight a pair, "state" for a weight a state, or an array (S * A, d) or (S, d).
        network: a `torch.nn.Module` from features (S * A, d) to rewards (S * A,) or (S * A, 1). It is fitted in place,
            from the parameters that it has, in double precision and in evaluation mode.
        temperature: of the entropy, in units of reward. It is not learned: the reward's scale is relative to it.
        l2: of Eq. 6. With it, the weights have no part along directions that behavior does not determine.
        tolerance: of the largest slope per decision; it stops there, or after so many iterations.

    Raises ValueError for evidence and features that do not fit the problem or are no numbers.
    """
    if not temperature > 0 or not l2 >= 0 or not tolerance > 0 or iterations < 1:
        raise ValueError(
            f"temperature {temperature}, l2 {l2}, tolerance {tolerance}, iterations {iterations}: "
            "give numbers above 0, and l2 of 0 or more"
        )
    span, seen = span_of(mdp, features), read(mdp, evidence)
    decisions = occupancy(mdp, seen.policy) if seen.counts is None else seen.counts
    equation = matched if seen.counts is None else counted

    def slope(reward: Array) -> tuple[float, Array, Soft]:
        return equation(mdp, decisions, reward.reshape(mdp.states, mdp.actions), temperature)

    rewards = linear_rewards(span) if network is None else _network(network, span)
    weights, steps, gradient = _ascend(rewards, slope, l2, float(decisions.sum()), tolerance, iterations)
    reward = rewards.evaluate(weights)[0].reshape(mdp.states, mdp.actions)
    value, _, soft = slope(reward)
    errors, undetermined = None, None
    if network is not None:
        _keep(network, weights)
    elif float(mdp.pairs) * len(weights) ** 2 * (mdp.horizon or 1) <= LARGE:
        visits = _visits(mdp, seen)
        known = information(mdp, visits, soft.policy, span, temperature)
        errors, undetermined = _errors(known, _rounding(mdp, visits, span, temperature), l2, seen)
    return RewardEstimate(
        reward=reward,
        weights=weights,
        standard_errors=errors,
        undetermined=undetermined,
        log_likelihood=value,
        gradient=gradient,
        iterations=steps,
        converged=gradient <= tolerance,
        policy=soft.policy,
        temperature=temperature,
        notes=_notes(seen, isinstance(features, str) and features == "state_action", l2, len(weights), undetermined),
    )


def _ascend(
    rewards: Rewards, slope: Slope, l2: float, decisions: float, tolerance: float, iterations: int
) -> tuple[Array, int, float]:
    """Weights that maximize Eq. 6 by L-BFGS, its iterations, and the largest slope that is left per decision."""

    def loss(weights: Array) -> tuple[float, Array]:
        reward, pull = rewards.evaluate(weights)
        value, slopes, _ = slope(reward)
        value = value - l2 / 2 * float(weights @ weights)
        return -value / decisions, (l2 * weights - pull(slopes.ravel())) / decisions

    options = {"maxiter": iterations, "maxfun": 2 * iterations, "gtol": tolerance, "ftol": 0.0, "maxcor": MEMORY}
    found = minimize(loss, rewards.start, jac=True, method="L-BFGS-B", options=options)
    return found.x, int(found.nit), float(np.abs(found.jac).max())


def _network(network: Any, span: sparse.csr_array) -> Rewards:
    from demonstrably.tabular.network import network_rewards  # loads torch

    return network_rewards(network, span.toarray())


def _keep(network: Any, weights: Array) -> None:
    from demonstrably.tabular.network import keep

    keep(network, weights)


def _visits(mdp: MDP, seen: Seen) -> Array:
    """How often decisions were taken in each state, (S,) or (T, S)."""
    if seen.counts is not None:
        return seen.counts.sum(-1)
    if mdp.horizon is None:
        return occupancy(mdp, seen.policy).sum(1)
    back, now, visits = mdp.transitions.T.tocsr(), mdp.starts, np.empty((mdp.horizon, mdp.states))
    for step in range(mdp.horizon):
        policy = seen.policy[step] if seen.policy.ndim == 3 else seen.policy
        visits[step] = mdp.discount**step * now
        now = back @ (now[:, None] * policy).ravel()
    return visits


def _rounding(mdp: MDP, visits: Array, span: sparse.csr_array, temperature: float) -> float:
    """Information that is rounding: where no weight changes a decision, all that was computed is that."""
    decisions = mdp.discount ** np.arange(mdp.horizon) if mdp.horizon else 1 / (1 - mdp.discount)
    slope = float(abs(span).max()) * float(np.sum(decisions)) / temperature  # of a value, at most
    return float(visits.sum()) * (ROUNDING * slope) ** 2


def _errors(known: Array, rounding: float, l2: float, seen: Seen) -> tuple[Array | None, int]:
    """Standard errors of the weights, if behavior was sampled, and the number of directions without information."""
    sizes, directions = np.linalg.eigh(known)
    least = max(FLAT * sizes[-1], rounding)
    flat = sizes <= least
    if seen.counts is None:
        return None, int(flat.sum())
    kept = np.maximum(sizes, 0) + l2
    shown = kept > least
    errors = np.sqrt((directions[:, shown] ** 2 / kept[shown]).sum(1))
    hidden = (directions[:, ~shown] ** 2).sum(1) > 1e-8
    return np.where(hidden, np.inf, errors), int(flat.sum())


def _notes(seen: Seen, tables: bool, l2: float, directions: int, undetermined: int | None) -> tuple[str, ...]:
    """What a reader of the numbers must know."""
    notes = []
    if undetermined:
        notes.append(
            f"{undetermined} of {directions} directions of the weights change no decision that was seen: the values "
            "along them are arbitrary; `identify` says which, and what would settle them"
        )
    elif undetermined is None:
        notes.append("directions of the weights that change no decision were not counted: `identify` does")
    taken = seen.policy if seen.counts is None else seen.counts
    never = int(((taken == 0) & (taken.sum(-1, keepdims=True) > 0)).sum())
    if never and not l2 and tables:
        notes.append(
            f"{never} actions were never taken where others were: no finite table makes them that unlikely, and their "
            "rewards are as low as the tolerance let them fall; give l2, or features"
        )
    return tuple(notes)

"""How far off a reward is that was inferred under maximum entropy from a person who is something else.

A behavior is chosen: what the person would do for a known reward. Its policies are taken for soft-optimal ones, a
reward is inferred from them by `equations`, and held against the known one, beside what the same inference gives where
the person is soft-optimal indeed. What is left open in that case is no fault of the assumption.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from demonstrably.tabular.distance import best_policy, expected_reward, regret
from demonstrably.tabular.equations import COLUMNS, equations, never_taken, solve
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import policy_of, reward_of, soft_optimal
from demonstrably.tabular.span import Features, span_of, width
from demonstrably.tabular.structure import layers
from demonstrably.tabular.tallies import Seen

Array = NDArray[np.float64]
Behavior = Callable[[MDP, Array, float], Array]  # problem, reward (S, A), temperature -> policy

SLIP = 0.25  # of the transferred problem, where none is given
DRAWS = 5  # random rewards, where none is known
REVEALED = 1e-6  # errors of log-probabilities that are no rounding
VANISHED = 1e-10  # a reward less what stays open that is smaller than this, relative to the known one, is rounding


@dataclass(frozen=True)
class SoftOptimal:
    """What is assumed: the policy of maximum entropy."""

    def __call__(self, mdp: MDP, reward: Array, temperature: float) -> Array:
        """The policy (S, A), or (T, S, A) with a horizon."""
        return soft_optimal(mdp, reward, temperature).policy


@dataclass(frozen=True)
class EpsilonGreedy:
    """The best action but for a share of decisions, which are random."""

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise ValueError(f"epsilon {self.epsilon}: give a share of random decisions in (0, 1]")

    def __call__(self, mdp: MDP, reward: Array, temperature: float) -> Array:
        """The policy (S, A), or (T, S, A) with a horizon."""
        return (1 - self.epsilon) * best_policy(mdp, reward) + self.epsilon / mdp.actions


@dataclass(frozen=True)
class HardOptimal:
    """Always the best action; `smoothing` is the share that smoothed frequencies give to all actions alike."""

    smoothing: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.smoothing < 1:
            raise ValueError(
                f"smoothing {self.smoothing}: give a share in (0, 1), since no action may have probability 0"
            )

    def __call__(self, mdp: MDP, reward: Array, temperature: float) -> Array:
        """The policy (S, A), or (T, S, A) with a horizon."""
        return EpsilonGreedy(self.smoothing)(mdp, reward, temperature)


@dataclass(frozen=True)
class Myopic:
    """Soft-optimal for a discount that is this share of the problem's."""

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share {self.share}: give a share of the discount in (0, 1)")

    def __call__(self, mdp: MDP, reward: Array, temperature: float) -> Array:
        """The policy (S, A), or (T, S, A) with a horizon."""
        return soft_optimal(mdp.replace(discount=self.share * mdp.discount), reward, temperature).policy


@dataclass(frozen=True)
class Misspecification:
    """What becomes of a known reward when it is inferred from another behavior than the one assumed.

    `distance` is half the distance of the rewards at equal size, from 0 to 1, and `scale` the inferred one's size over
    the known one's, both without the directions that stay open under the assumption too (inf where nothing is left of
    the known one). `regret` is what the best policy of the inferred reward loses in the first problem, `transferred`
    the same in another one, both as a share of all there is to lose (what the worst policy loses). The `_right` figures
    are those of a person as assumed. `misfit` is the largest error of a log-probability: above rounding, the data can
    reveal that the assumption fails. `draws` is 0 for one known reward; else each figure is the median over so many
    random ones.
    """

    behavior: str
    distance: float
    scale: float
    regret: float
    transferred: float
    regret_right: float
    transferred_right: float
    misfit: float
    draws: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record. A scale without end is null."""
        return {**asdict(self), "scale": self.scale if math.isfinite(self.scale) else None}

    @property
    def revealed(self) -> bool:
        """Whether the policies can show that the assumption fails."""
        return self.misfit > REVEALED

    def __str__(self) -> str:
        shown = "which the policies can reveal" if self.revealed else "which nothing in the policies reveals"
        drawn = f" (medians over {self.draws} random rewards)" if self.draws else ""
        return (
            f"if the person is {self.behavior}, {shown}{drawn}:\n"
            f"  {self._off()}\n"
            f"  regret {self.regret:.2%} of what is at stake, {self.transferred:.2%} in the other environment "
            f"({self.regret_right:.2%} and {self.transferred_right:.2%} were the person as assumed)"
        )

    def _off(self) -> str:
        if math.isfinite(self.scale):
            return f"reward off by {self.distance:.3g} of at most 1, its scale {self.scale:.3g} of the true one"
        inferred = "but something of the inferred one does" if self.distance else "and nothing of the inferred one"
        return f"nothing of the true reward matters to a choice, {inferred}"

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in str(self).splitlines())


def misspecification(
    mdps: MDP | Sequence[MDP],
    reward: ArrayLike,
    behavior: Behavior = EpsilonGreedy(),
    *,
    transfer: MDP | None = None,
    features: Features = "state_action",
    temperature: float = 1.0,
) -> Misspecification:
    """How far off the reward would be, were the person of this behavior and taken for soft-optimal.

    Args:
        mdps: the problem, or several that are to be solved together as in `recover_reward`.
        reward: the known reward, (S, A) or (S,): a guess of the truth, or one that was inferred.
        behavior: `EpsilonGreedy`, `HardOptimal`, `Myopic`, or any function of problem, reward and temperature that
            gives a policy without zeros, (S, A) or (T, S, A).
        transfer: another problem with the same states and actions; by default the first one with a quarter of each
            action's outcomes exchanged for those of the next action.
        features, temperature: of the inference, as in `recover_reward`.

    Raises ValueError for a reward, a behavior or problems that do not fit, and for problems too large to know what
    stays open.
    """
    problems = [mdps] if isinstance(mdps, MDP) else list(mdps)
    _require_alike([*problems, *([] if transfer is None else [transfer])])
    if isinstance(behavior, type):
        name = behavior.__name__
        raise ValueError(f"behavior {name} is a class: give one of it, for instance {name}()")
    first, truth = problems[0], reward_of(problems[0], reward)
    other = _slipping(first) if transfer is None else transfer
    span = span_of(first, features)
    _require_small(problems, span)
    guess, free, misfit = _inferred(problems, truth, behavior, span, temperature)
    right = _inferred(problems, truth, SoftOptimal(), span, temperature)[0]
    forms = [_closed(one, free, span) for one in (truth, guess)]
    least = VANISHED * max(float(np.linalg.norm(truth)), temperature)
    sizes = [size if (size := float(np.linalg.norm(form))) > least else 0.0 for form in forms]
    units = [form / size if size > 0 else np.zeros(first.pairs) for form, size in zip(forms, sizes, strict=True)]
    return Misspecification(
        behavior=str(behavior),
        distance=float(np.linalg.norm(units[0] - units[1])) / 2,
        scale=sizes[1] / sizes[0] if sizes[0] > 0 else float("inf"),
        regret=_share(first, truth, guess),
        transferred=_share(other, truth, guess),
        regret_right=_share(first, truth, right),
        transferred_right=_share(other, truth, right),
        misfit=misfit,
    )


def supposed(
    problems: Sequence[MDP], behaviors: Sequence[Behavior], *, features: Features, known: ArrayLike | None
) -> tuple[Misspecification, ...]:
    """`misspecification` for each behavior, at temperature 1.

    `known` is a reward (S,), (S, A) or (S, A, S'). Where it is None, each figure is the median over `DRAWS` random
    rewards: combinations of pairs, states or features with weights from a normal distribution, at a mean square of 1.
    Raises ValueError as `misspecification`, and for a known reward that is not one of those thought possible.
    """
    if not behaviors:
        return ()
    first, span = problems[0], span_of(problems[0], features)
    _require_small(problems, span)
    if known is not None:
        truth = expected_reward(first, known)
        _require_possible(first, truth, span)
        return tuple(misspecification(problems, truth, behavior, features=features) for behavior in behaviors)
    truths, found = _random_rewards(first, span), []
    for behavior in behaviors:
        found.append(_median([misspecification(problems, truth, behavior, features=features) for truth in truths]))
    return tuple(found)


def _random_rewards(mdp: MDP, span: sparse.csr_array) -> list[Array]:
    """(S, A) each, the same at every call."""
    drawn = [span @ weights for weights in np.random.default_rng(0).standard_normal((DRAWS, width(span)))]
    sizes = [float(np.sqrt((one**2).mean())) for one in drawn]
    return [(one / (size or 1)).reshape(mdp.states, mdp.actions) for one, size in zip(drawn, sizes, strict=True)]


def _median(cases: Sequence[Misspecification]) -> Misspecification:
    """The median of each figure."""
    records = [asdict(case) for case in cases]
    figures = {name: float(np.median([one[name] for one in records])) for name in records[0] if name != "behavior"}
    return replace(cases[0], **{**figures, "draws": len(cases)})


def _require_alike(problems: Sequence[MDP]) -> None:
    shapes = sorted({(mdp.states, mdp.actions) for mdp in problems})
    if len(shapes) != 1:
        raise ValueError(
            f"problems of (states, actions) {shapes}: give at least one, and all, the one to transfer to included, "
            "with the same states and actions"
        )


def _require_small(problems: Sequence[MDP], span: sparse.csr_array) -> None:
    """ValueError where the equations have too many unknowns for a decomposition that tells what stays open."""
    unknowns = width(span)
    for mdp in problems:
        unknowns += mdp.states if mdp.horizon is None else sum(int(mask.sum()) for mask in layers(mdp)[:-1])
    if unknowns > COLUMNS:
        raise ValueError(
            f"{problems[0]} with rewards of {width(span)} weights has {unknowns} unknown weights and values, too many "
            f"to hold rewards against one another (at most {COLUMNS}): give features, a discount without a horizon or "
            "a shorter one, or a part of the problem"
        )


def _require_possible(mdp: MDP, truth: Array, span: sparse.csr_array) -> None:
    dense, flat = span.toarray(), truth.ravel()
    left = np.abs(flat - dense @ np.linalg.lstsq(dense, flat, rcond=None)[0])
    if left.max() > 1e-8 * max(1.0, float(np.abs(flat).max())):
        raise ValueError(
            f"the known reward is none of those thought possible: the nearest is off by {left.max():.3g} for "
            f"{mdp.name(int(left.argmax()))}; give one that is, or another form of rewards"
        )


def _inferred(
    problems: Sequence[MDP], truth: Array, behavior: Behavior, span: sparse.csr_array, temperature: float
) -> tuple[Array, Array, float]:
    """The smallest reward (S, A) that fits policies of a behavior, what stays open of its weights, and the misfit."""
    seen = [Seen(policy_of(mdp, behavior(mdp, truth, temperature))) for mdp in problems]
    for mdp, one in zip(problems, seen, strict=True):
        name = never_taken(mdp, one.policy)
        if name:
            raise ValueError(f"behavior {behavior} gives {name} probability 0: mix it with a little chance")
    solved = solve(equations(problems, seen, span, temperature), temperature)
    assert solved.free is not None  # `_require_small`
    return (span @ solved.weights).reshape(truth.shape), solved.free, float(np.abs(solved.residual).max())


def _closed(reward: Array, free: Array, span: sparse.csr_array) -> Array:
    """A reward (S * A,) less what stays open."""
    flat = reward.ravel()
    basis = np.linalg.qr(span @ free)[0]
    return flat - basis @ (basis.T @ flat)


def _share(mdp: MDP, truth: Array, guess: Array) -> float:
    stake = regret(mdp, truth, -truth)
    return regret(mdp, truth, guess) / stake if stake > 0 else 0.0


def _slipping(mdp: MDP) -> MDP:
    """The problem with a share of each action's outcomes exchanged for those of the next action."""
    rows = np.arange(mdp.pairs).reshape(mdp.states, mdp.actions)
    after = mdp.transitions[np.roll(rows, -1, 1).ravel()]
    return mdp.replace(transitions=sparse.csr_array((1 - SLIP) * mdp.transitions + SLIP * after))

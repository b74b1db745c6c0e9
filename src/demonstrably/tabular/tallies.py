"""What was seen of a person's decisions: a policy, counts of decisions, or demonstrations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import policy_of
from demonstrably.tabular.structure import layers

Array = NDArray[np.float64]
Evidence = ArrayLike | Sequence[tuple[ArrayLike, ...]]

HOW = "give counts of decisions as an integer array, demonstrations as a list of tuples (states, actions)"
SMOOTHING = 0.5  # added to every count before a logarithm, which makes its bias of second order (Haldane, Anscombe)


@dataclass(frozen=True, eq=False)
class Seen:
    """A policy that is known, or counts of decisions and the policy they suggest; (S, A), or (T, S, A)."""

    policy: Array
    counts: Array | None = None

    @property
    def sampled(self) -> bool:
        """Whether the policy is an estimate from counts."""
        return self.counts is not None


def read(mdp: MDP, evidence: Evidence) -> Seen:
    """Evidence of a person's behavior, as a policy with or without counts.

    `evidence` is one of three:
        probabilities: a policy (S, A), or (T, S, A) with a horizon;
        whole numbers (an integer array): how often each decision was seen, (S, A), or (T, S, A) with a horizon, in
            states that can be reached at that time;
        demonstrations: a list of tuples (states, actions) of integer arrays, the states with or without the last.

    With a horizon every demonstration begins at the first decision, in a state that the problem can start in; it may be
    cut short. Without one it may be cut at both ends. Raises ValueError for shapes that do not fit, for a state or
    action out of range, and for a start or a transition that the problem says is impossible, each named by
    demonstration and step; and for whole numbers in lists, which could be counts or demonstrations.
    """
    if isinstance(evidence, Sequence) and (not evidence or isinstance(evidence[0], tuple)):
        return _estimated(tally(mdp, evidence))  # pyright: ignore[reportArgumentType] (a tuple: no array)
    array = _array(evidence)
    if array.dtype.kind in "iu":
        if not isinstance(evidence, np.ndarray):
            raise ValueError(f"whole numbers that are no array: {HOW}")
        return _estimated(_counted(mdp, array))
    return Seen(policy_of(mdp, array))


def tally(mdp: MDP, demonstrations: Sequence[tuple[ArrayLike, ...]]) -> Array:
    """How often each decision was taken, (S, A), or (T, S, A) with a horizon. Raises ValueError as `read`."""
    if not demonstrations:
        raise ValueError("no demonstrations: give at least one tuple (states, actions)")
    for number, demonstration in enumerate(demonstrations):
        if len(demonstration) != 2:
            raise ValueError(f"demonstration {number} has {len(demonstration)} parts: give a tuple (states, actions)")
    rows = [_checked(mdp, number, *demonstration) for number, demonstration in enumerate(demonstrations)]
    if mdp.horizon is not None:
        _require_started(mdp, rows)
    pairs = np.concatenate([states[: len(actions)] * mdp.actions + actions for states, actions in rows])
    _require_possible(mdp, rows)
    if mdp.horizon is None:
        return np.bincount(pairs, minlength=mdp.pairs).astype(float).reshape(mdp.states, mdp.actions)
    steps = np.concatenate([np.arange(len(actions)) for _, actions in rows])
    counts = np.bincount(steps * mdp.pairs + pairs, minlength=mdp.horizon * mdp.pairs)
    return counts.astype(float).reshape(mdp.horizon, mdp.states, mdp.actions)


def _array(evidence: Evidence) -> NDArray[Any]:
    try:
        return np.asarray(evidence)
    except ValueError as error:
        raise ValueError(f"evidence in lists of different lengths: {HOW}, or a policy as an array") from error


def _estimated(counts: Array) -> Seen:
    smoothed = counts + SMOOTHING
    return Seen(smoothed / smoothed.sum(-1, keepdims=True), counts)


def _counted(mdp: MDP, array: NDArray[np.integer]) -> Array:
    whole = (mdp.states, mdp.actions) if mdp.horizon is None else (mdp.horizon, mdp.states, mdp.actions)
    if array.shape != whole:
        raise ValueError(f"counts of decisions of shape {array.shape}: give {whole}")
    if (array < 0).any() or not array.any():
        raise ValueError("counts of decisions must be 0 or more, and some above 0")
    if (array.sum(-1) == 1).all():
        raise ValueError("whole numbers that sum to 1 in each state: give a policy as floats; whole numbers are counts")
    if mdp.horizon is not None:
        wrong = np.argwhere(array.any(-1) & ~np.array(layers(mdp)[:-1]))
        if len(wrong):
            time, state = map(int, wrong[0])
            raise ValueError(
                f"counts of decisions at time {time} in state {mdp.state_name(state)}, where no episode can be then: "
                "mend the counts, or the problem's initial and transitions"
            )
    return array.astype(np.float64)


def _checked(mdp: MDP, number: int, states: ArrayLike, actions: ArrayLike) -> tuple[NDArray[np.int64], ...]:
    """One demonstration's states and actions as integers in range."""
    rows = []
    for what, values, count in (("state", states, mdp.states), ("action", actions, mdp.actions)):
        array = np.asarray(values)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"demonstration {number}: {what}s of shape {array.shape} and type {array.dtype}: give (T,) integers"
            )
        wrong = np.flatnonzero((array < 0) | (array >= count))
        if len(wrong):
            raise ValueError(
                f"demonstration {number}, step {wrong[0]}: {what} {array[wrong[0]]} is out of range; "
                f"give 0 to {count - 1}"
            )
        rows.append(array.astype(np.int64))
    found, steps = len(rows[0]), len(rows[1])
    if not steps or found not in (steps, steps + 1):
        raise ValueError(f"demonstration {number}: {found} states, {steps} actions; give as many states, or one more")
    if mdp.horizon is not None and steps > mdp.horizon:
        raise ValueError(f"demonstration {number} has {steps} decisions; the horizon is {mdp.horizon}")
    return rows[0], rows[1]


def _require_started(mdp: MDP, rows: Sequence[tuple[NDArray[np.int64], ...]]) -> None:
    """ValueError naming the first demonstration that begins where no episode does."""
    firsts = np.array([states[0] for states, _ in rows])
    wrong = np.flatnonzero(mdp.starts[firsts] == 0)
    if len(wrong):
        state = mdp.state_name(int(firsts[wrong[0]]))
        raise ValueError(
            f"demonstration {wrong[0]} begins in state {state}, where no episode does: with a horizon demonstrations "
            "begin at the first decision; mend the problem's initial or the demonstration"
        )


def _require_possible(mdp: MDP, rows: Sequence[tuple[NDArray[np.int64], ...]]) -> None:
    """ValueError naming the first step to a state that cannot follow."""
    known = [len(states) - 1 for states, _ in rows]
    before = np.concatenate([states[:n] for (states, _), n in zip(rows, known, strict=True)])
    taken = np.concatenate([actions[:n] for (_, actions), n in zip(rows, known, strict=True)])
    after = np.concatenate([states[1:] for states, _ in rows])
    pairs = before * mdp.actions + taken
    wrong = np.flatnonzero(np.asarray(mdp.transitions[pairs, after]).ravel() == 0) if len(pairs) else []
    if len(wrong):
        first = int(wrong[0])
        number = int(np.searchsorted(np.cumsum(known), first, side="right"))
        step = first - sum(known[:number])
        raise ValueError(
            f"demonstration {number}, step {step}: {mdp.name(int(pairs[first]))} was followed by state "
            f"{mdp.state_names[after[first]]}, which has probability 0 there; mend the transitions or the demonstration"
        )

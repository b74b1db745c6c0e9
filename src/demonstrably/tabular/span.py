"""The rewards that are thought possible: every table, those of the state alone, or those linear in features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from demonstrably.tabular.mdp import MDP

Features = ArrayLike | Literal["state_action", "state"]


def span_of(mdp: MDP, features: Features) -> sparse.csr_array:
    """The matrix (S * A, d) that turns weights into rewards of pairs.

    `features` is "state_action" (a weight a pair), "state" (a weight a state), or an array (S * A, d), (S, A, d) or
    (S, d), the last for features of states. Raises ValueError for other shapes, and names a feature that is no number.
    """
    if isinstance(features, str):
        if features not in ("state_action", "state"):
            raise ValueError(f"features {features!r}: give 'state_action', 'state' or an array ({mdp.pairs}, d)")
        return sparse.csr_array(sparse.eye_array(mdp.pairs)) if features == "state_action" else mdp.stay()
    array = np.asarray(features, dtype=np.float64)
    if array.shape[:-1] == (mdp.states, mdp.actions):
        array = array.reshape(mdp.pairs, -1)
    elif array.ndim == 2 and len(array) == mdp.states:
        array = np.repeat(array, mdp.actions, 0)
    if array.ndim != 2 or len(array) != mdp.pairs or not array.shape[1]:
        raise ValueError(
            f"features of shape {array.shape}: give ({mdp.pairs}, d), one row a state-action pair in the order "
            f"state * {mdp.actions} + action, or ({mdp.states}, d), one row a state"
        )
    if not np.isfinite(array).all():
        pair, column = map(int, np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"feature {column} of {mdp.name(pair)} is {array[pair, column]}: give a finite number")
    return sparse.csr_array(array)


@dataclass(frozen=True)
class Rewards:
    """Rewards as a function of weights.

    `evaluate` gives rewards (S * A,) and the function that pulls a slope in them back to the weights; `start` is where
    to begin.
    """

    start: NDArray[np.float64]
    evaluate: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], Callable]]


def linear_rewards(span: sparse.csr_array) -> Rewards:
    """Rewards that are a span's matrix times weights."""
    back = sparse.csr_array(span.T)
    return Rewards(np.zeros(width(span)), lambda weights: (span @ weights, lambda slope: back @ slope))


def width(matrix: sparse.csr_array) -> int:
    """Number of columns."""
    return int(matrix.shape[1])  # pyright: ignore[reportOptionalSubscript] (scipy has no types; it is no None)

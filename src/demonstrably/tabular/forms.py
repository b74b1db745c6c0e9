"""Which rewards are thought possible: any on state-action pairs, any on states, or a span of features."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from demonstrably.tabular.kernels import kernel, require_memory
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.span import Features, span_of

Array = NDArray[np.float64]

CONSTANT = 1e-9  # relative distance below which the constant reward counts as a combination of the features


@dataclass(frozen=True, eq=False)
class Form:
    """The linear space of possible rewards. `features` is (S * A, D) for the kind "features", else None.

    `constant` says whether the constant reward is one of them: always but for features that cannot make it.
    """

    kind: Literal["state_action", "state", "features"]
    states: int
    actions: int
    features: Array | None = None
    constant: bool = True

    @property
    def width(self) -> int:
        """Number of coordinates of a reward: pairs, states or features."""
        if self.features is not None:
            return self.features.shape[1]
        return self.states * (self.actions if self.kind == "state_action" else 1)

    def span(self) -> Array:
        """Orthonormal rewards (S * A, width). ValueError where they would not fit into memory."""
        pairs = self.states * self.actions
        require_memory(pairs * self.width, "all possible rewards", "a smaller problem, or features")
        if self.features is not None:
            return np.linalg.qr(self.features)[0]
        if self.kind == "state":
            return np.repeat(np.eye(self.states), self.actions, axis=0) / np.sqrt(self.actions)
        return np.eye(pairs)

    def matrix(self) -> sparse.csr_array:
        """Sparse rewards (S * A, width), a column a coordinate."""
        if self.features is not None:
            return sparse.csr_array(self.features)
        identity = sparse.csr_array(sparse.eye_array(self.width))
        return (
            identity if self.kind == "state_action" else identity[np.arange(self.states * self.actions) // self.actions]
        )

    def coordinates(self, directions: Array) -> Array:
        """Orthonormal coordinates (width, m) that span the same rewards as directions (S * A, m)."""
        if self.features is not None:
            return np.linalg.qr(np.linalg.lstsq(self.features, directions, rcond=None)[0])[0]
        if self.kind == "state":
            return directions[:: self.actions] * np.sqrt(self.actions)
        return directions


def form_of(mdp: MDP, reward: Features) -> Form:
    """The form of rewards "state_action", "state", or features, as `span_of` takes them. ValueError where wrong."""
    if isinstance(reward, str) and reward not in ("state_action", "state"):
        raise ValueError(f"reward {reward!r}: give 'state_action', 'state' or an array of features ({mdp.pairs}, d)")
    matrix = span_of(mdp, reward)
    if isinstance(reward, str):
        return Form("state" if reward == "state" else "state_action", mdp.states, mdp.actions)
    features = matrix.toarray()
    scales = np.linalg.norm(features, axis=0)
    if not scales.all():
        raise ValueError(f"feature {int(scales.argmin())} is 0 everywhere: leave it out, since its weight says nothing")
    scaled = features / scales
    dependent = kernel(scaled, 1.0).basis.shape[1]
    if dependent:
        raise ValueError(
            f"{dependent} of {len(scales)} features are linear combinations of the others: leave them out, since no "
            "data tell their weights apart"
        )
    ones = np.full(mdp.pairs, mdp.pairs**-0.5)
    orthonormal = np.linalg.qr(scaled)[0]
    left = ones - orthonormal @ (orthonormal.T @ ones)
    return Form("features", mdp.states, mdp.actions, features, bool(np.linalg.norm(left) < CONSTANT))

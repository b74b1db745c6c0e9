"""What of a reward behavior can reveal, as a result that prints itself."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from demonstrably.tabular.ambiguity import Ambiguity, narrowed
from demonstrably.tabular.kernels import EPSILON
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import Misspecification

Verdict = Literal["strong", "weak", "none"]

WRITTEN = 20_000  # numbers of a basis that a record still holds
NO_GROWTH = 1e-9  # by which a factor of 1 may be off
MEANING = {
    "strong": "strongly identifiable: only the constant, if any, stays open",
    "weak": "weakly identifiable: open up to trajectory equivalence",
    "none": "not identifiable: rewards that value trajectories differently lead to the same behavior",
}


@dataclass(frozen=True)
class Block:
    """Directions of the reward that no behavior reveals, with what they are in words.

    `kind` is "constant", "shaping", "component", "period", "factor", "unvisited" or "other". `states` and `pairs` are
    where the directions live, as numbers; empty where they live everywhere, or in more places than a list is good for.
    """

    kind: str
    dimension: int
    states: tuple[int, ...]
    pairs: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Remedy:
    """A change of the problem or of the data, and the dimension that it was verified to leave.

    `kind` is "discount", "transitions", "self-loop", "horizon" or "starts".
    """

    kind: str
    text: str
    dimension: int


@dataclass(frozen=True)
class Condition:
    """How well what is identifiable can be estimated.

    `angle` is the smallest nonzero principal angle between the ambiguities of two experts without end (radians; None
    in other cases). `singular_value` is the smallest nonzero singular value of the system that recovers the reward,
    relative to the `largest`: the stacked differences of transitions between actions where they decide (two discounts,
    or one expert and rewards on states), else the rewards that potentials do not explain. `amplification` bounds the
    2-norm of the reward's error over that of the log-policies' errors, both stacked over states and actions (inf where
    no bound was computed). `warning` says where identifiability is only formal.
    """

    angle: float | None
    singular_value: float
    amplification: float
    warning: str | None
    largest: float = 1.0


@dataclass(frozen=True)
class Transfer:
    """Whether the ambiguity leaves the optimal behavior of another problem alone. `dimension` counts what does not."""

    determined: bool
    dimension: int
    text: str


@dataclass(frozen=True, eq=False)
class Identification:
    """The set of reward changes that no policy could reveal.

    `dimension` counts it, the constant included (where the constant is a combination of the features); the part that
    changes no trajectory's reward but by a number of its start is counted by `trajectory_dimension`. `basis` has one
    column a direction over pairs, states or features, orthonormal; `directions` the same over pairs; None where they
    would be too large. `gap` is the last singular value taken as not zero over the first taken as zero (inf for an
    exact method), `method` how it was found. `error` is what the directions have gathered of rounding, relative to
    their length. `misspecifications` says for each behavior that was supposed how far off an inferred reward would be.
    """

    dimension: int
    trajectory_dimension: int
    verdict: Verdict
    basis: NDArray[np.float64] | None
    blocks: tuple[Block, ...]
    condition: Condition | None
    remedies: tuple[Remedy, ...]
    method: str
    gap: float
    directions: NDArray[np.float64] | None = None
    actions: int = 1
    misspecifications: tuple[Misspecification, ...] = ()
    error: float = EPSILON

    def transfers_to(self, other: MDP | Sequence[MDP]) -> Transfer:
        """Whether all rewards that these experts leave open lead to the same behavior in another problem.

        They do if and only if no direction is outside what the other problem's policy would leave open itself: rewards
        of potentials without end, of potentials over time with a horizon. Several problems must all be so. ValueError
        for a problem with other states or actions, or where the directions were too large to keep.
        """
        others = (other,) if isinstance(other, MDP) else tuple(other)
        if self.directions is None:
            raise ValueError("the open directions of this problem are too many to keep: ask about a smaller problem")
        left = Ambiguity(self.directions, math.inf, self.error)
        for mdp in others:
            if (mdp.pairs, mdp.actions) != (len(self.directions), self.actions):
                raise ValueError(
                    f"the other problem has {mdp.states} states and {mdp.actions} actions: give one with "
                    f"{len(self.directions) // self.actions} and {self.actions}"
                )
            left = narrowed(mdp, left)
        changing = self.dimension - left.directions.shape[1]
        if not changing:
            return Transfer(True, 0, "transfers: every reward that is left open leads to the same behavior there")
        return Transfer(
            False,
            changing,
            f"does not transfer: {changing} of {self.dimension} open directions change the behavior there",
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record. A gap or bound without end is null; so is a basis that is large."""
        condition = None if self.condition is None else _finite(asdict(self.condition))
        small = self.basis is not None and self.basis.size <= WRITTEN
        return {
            "dimension": self.dimension,
            "trajectory_dimension": self.trajectory_dimension,
            "verdict": self.verdict,
            "basis": self.basis.tolist() if small and self.basis is not None else None,
            "blocks": [
                {**asdict(block), "states": list(block.states), "pairs": list(block.pairs)} for block in self.blocks
            ],
            "condition": condition,
            "remedies": [asdict(remedy) for remedy in self.remedies],
            "method": self.method,
            "gap": self.gap if math.isfinite(self.gap) else None,
            "misspecifications": [one.to_dict() for one in self.misspecifications],
        }

    def __str__(self) -> str:
        directions = "1 direction" if self.dimension == 1 else f"{self.dimension} directions"
        lines = [f"{directions} of reward left open; {MEANING[self.verdict]}"]
        lines += [f"  {block.text}" for block in self.blocks]
        if self.verdict != "strong":
            lines.append(f"  trajectory equivalence: {self.trajectory_dimension} of them")
        if self.condition is not None:
            lines += self._conditioning(self.condition)
        lines += [f"  remedy: {remedy.text} leaves {remedy.dimension}" for remedy in self.remedies]
        lines += [f"  {line}" for one in self.misspecifications for line in str(one).splitlines()]
        gap = "exact" if math.isinf(self.gap) else f"gap {self.gap:.1e}"
        return "\n".join([*lines, f"  method: {self.method} ({gap})"])

    def _repr_html_(self) -> str:
        first, *others = (html.escape(line.strip()) for line in str(self).splitlines())
        return f"<p><b>{first}</b></p><ul>" + "".join(f"<li>{line}</li>" for line in others) + "</ul>"

    def _conditioning(self, condition: Condition) -> list[str]:
        angle = "" if condition.angle is None else f"smallest angle {condition.angle:.4g}, "
        lines = [f"  condition: {angle}relative singular value {condition.singular_value:.3g}{_growth(condition)}"]
        return lines + ([f"  warning: {condition.warning}"] if condition.warning else [])


def _growth(condition: Condition) -> str:
    if math.isinf(condition.amplification):
        return ""
    if condition.amplification < 1 + NO_GROWTH:
        return ", errors do not grow"
    return f", errors grow at most {condition.amplification:.3g} times"


def _finite(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in record.items()
    }

"""The result of recovering a reward from policies: the reward, and how far it is known."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demonstrably.tabular.misspecification import Misspecification

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recovery:
    """A reward (S, A) for which policies are soft-optimal, the smallest of all that fit alike.

    `weights` (d,) give it through the features. `undetermined` counts the directions of the weights that these policies
    leave open, the constant included (None: not counted). `misfit` is the
    largest error of a log-probability: rounding where one reward explains all policies. `standard_errors` (S, A) hold
    where policies were estimated from counts, up to what is undetermined (None where all is). `angle` is the smallest
    nonzero principal angle between what two endless experts leave open, in radians.

    `amplification` is the least bound on the reward's error over that of all log-policies (times temperature), in the
    2-norm and apart from what is undetermined: `equations`, Eq. 4, or 1 / sqrt(1 - cos angle), which is the same; None
    in problems too large for either. `error_bound` is the bound that it gives on the root of the reward's expected
    squared error, where policies were estimated from counts and every state that can be reached was seen. It is as good
    as the first order in the errors of log-policies. `singular_value` is the smallest nonzero one of `recover`, Eq. 4,
    relative to the largest, where that was solved.
    """

    reward: Array
    weights: Array
    undetermined: int | None
    misfit: float
    temperature: float
    experts: int
    sampled: bool
    standard_errors: Array | None = None
    angle: float | None = None
    amplification: float | None = None
    error_bound: float | None = None
    singular_value: float | None = None
    misspecifications: tuple[Misspecification, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        errors = self.standard_errors
        return {
            "reward": self.reward.tolist(),
            "weights": self.weights.tolist(),
            "undetermined": self.undetermined,
            "misfit": self.misfit,
            "temperature": self.temperature,
            "experts": self.experts,
            "sampled": self.sampled,
            "standard_errors": None if errors is None else errors.tolist(),
            "angle": self.angle,
            "amplification": self.amplification,
            "error_bound": self.error_bound,
            "singular_value": self.singular_value,
            "misspecifications": [one.to_dict() for one in self.misspecifications],
        }

    def __str__(self) -> str:
        states, actions = self.reward.shape
        what = "1 policy" if self.experts == 1 else f"{self.experts} policies"
        how = "estimated from counts" if self.sampled else "known"
        lines = [f"reward of {states} states and {actions} actions, from {what} {how}", f"  {self._open()}"]
        lines.append(f"  largest misfit of a log-probability {self.misfit:.2g}" + self._explained())
        if self.standard_errors is not None:
            lines.append(f"  standard errors {self.standard_errors.min():.3g} to {self.standard_errors.max():.3g}")
        if self.amplification is not None:
            lines.append(f"  errors of the log-policies are amplified by at most {self.amplification:.3g}")
        if self.error_bound is not None:
            bound = f"{self.error_bound:.3g}, counts as they are"
            lines.append(f"  which bounds the error of all that is determined by {bound}")
        if self.singular_value is not None:
            lines.append(f"  smallest relative singular value {self.singular_value:.2g}")
        for one in self.misspecifications:
            lines.extend(f"  {line}" for line in str(one).splitlines())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return "<br>".join(html.escape(line) for line in str(self).splitlines())

    def _open(self) -> str:
        if self.undetermined is None:
            return "how many directions are not determined was not counted, or decided: `identify` says"
        if self.undetermined == 0:
            return "determined: no other reward of this form fits"
        if self.undetermined == len(self.weights):
            return "nothing is determined: every reward of this form fits alike, and this is the smallest"
        if self.undetermined == 1:
            return "determined up to one direction: a constant, where this form of rewards holds it"
        return (
            f"{self.undetermined} of {len(self.weights)} directions are not determined: this is the smallest of all "
            "rewards that fit, and `identify` says which directions are open"
        )

    def _explained(self) -> str:
        if self.sampled:
            return ": `rationalize` tests whether sampling explains it"
        return "" if self.misfit < 1e-6 else ": no one reward explains the policies; see `rationalize`"

"""What is compared: success, or a return between two bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.sequential import Numbers


@dataclass(frozen=True)
class Scale:
    """A measure and the bounds that become 0 and 1. The default is success.

    Valid statements need bounded scores. A return outside the bounds is clipped to them, and then the
    statements are about the clipped return: count the clipped ones and report them.
    """

    measure: str = "success"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"bounds {self.low} and {self.high}: the low one must be below the high one")

    def scores(self, values: Numbers) -> tuple[NDArray[np.float64], int]:
        """Values as scores in [0, 1], and how many had to be clipped."""
        raw = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.clip(raw, 0.0, 1.0), int(np.count_nonzero((raw < 0.0) | (raw > 1.0)))

    def value(self, score: float) -> float:
        """A score back in the measure's own unit."""
        return self.low + (self.high - self.low) * score

    def difference(self, score: float) -> float:
        """A difference of scores back in the measure's own unit."""
        return (self.high - self.low) * score

    def text(self, score: float, sign: bool = False) -> str:
        """A score, or with ``sign`` a difference, written in the measure's own unit."""
        number = self.difference(score) if sign else self.value(score)
        return format(number, ("+" if sign else "") + (".2f" if self.is_rate else ".4g"))

    @property
    def note(self) -> str:
        """Between which bounds a return is measured; empty for a rate."""
        return "" if self.is_rate else f"{self.measure} is measured from {self.low:.6g} to {self.high:.6g}"

    @property
    def is_rate(self) -> bool:
        """Whether scores are successes, already between 0 and 1."""
        return (self.low, self.high) == (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return {"measure": self.measure, "low": self.low, "high": self.high}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Scale":
        """Inverse of ``to_dict``."""
        return Scale(record["measure"], record["low"], record["high"])

"""What decisions reveal of a loss, as a result that prints itself."""

import html
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["optimal", "noisy", "not identified", "rejected"]

MEANING = {
    "optimal": "one threshold on the posterior explains every decision",
    "noisy": "a threshold on the posterior, followed with noise, explains the decisions",
    "not identified": "the decisions agree with every loss, or nearly so",
    "rejected": "no threshold on this posterior explains the decisions, so no loss is read out of them",
}


@dataclass(frozen=True)
class Confidence:
    """An interval that holds the relative cost with probability `level`; `method` says by what argument."""

    level: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Disagreement:
    """How many decisions the best rule {posterior >= cost} does not make, with the exact interval of the rate."""

    count: int
    decisions: int
    low: float
    high: float
    cost: float

    @property
    def rate(self) -> float:
        """Share of decisions, 0 to 1."""
        return self.count / self.decisions


@dataclass(frozen=True)
class Noise:
    """How a noisy person decides: P(1 | q) = lapse / 2 + (1 - lapse) sigmoid(slope (logit q - logit c))."""

    slope: float
    lapse: float


@dataclass(frozen=True)
class Check:
    """One test of whether the model fits: its name, whether it passed, and what was found in words."""

    name: str
    passed: bool
    text: str
    p_value: float | None = None
    effect: float | None = None


@dataclass(frozen=True)
class Person:
    """The relative cost of one person, drawn toward the others' as far as their own decisions leave it open."""

    name: str
    decisions: int
    point: float
    low: float
    high: float
    slope: float


@dataclass(frozen=True)
class Candidate:
    """A class of rules that might be the decision maker's: the costs that fit best, and how many decisions they miss.

    `kept` says whether the class is among those that the decisions cannot tell from the best.
    """

    name: str
    low: float
    high: float
    disagreement: int
    kept: bool


@dataclass(frozen=True)
class LossEstimate:
    """The relative cost c of a false positive: c against 1 - c of a false negative; decide 1 where P(Y = 1) >= c.

    `interval` (low, high] holds every cost that the decisions leave open: with certainty for an optimal decision maker
    whose posterior is known, else at the level of `confidence`. `point` is None where the tool abstains. `error` is
    the standard error of logit c (None where there is none). `people` are per-person estimates, `classes` the
    candidates that were tried, `assumptions` what must be true for the statement to hold.
    """

    verdict: Verdict
    interval: tuple[float, float]
    point: float | None
    confidence: Confidence
    disagreement: Disagreement
    decisions: int
    error: float | None = None
    noise: Noise | None = None
    checks: tuple[Check, ...] = ()
    people: tuple[Person, ...] = ()
    classes: tuple[Candidate, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        record = asdict(self)
        record["interval"] = list(self.interval)
        record["disagreement"]["rate"] = self.disagreement.rate
        return record

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {MEANING[self.verdict]}", self._cost(), self._missed()]
        lines += [f"  {'ok' if check.passed else 'FAILED'}  {check.text}" for check in self.checks]
        lines += [f"class {one.name}: {_range(one.low, one.high)}, misses {one.disagreement}" for one in self.classes]
        lines += [f"assumed: {text}" for text in self.assumptions]
        lines += [f"note: {text}" for text in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _cost(self) -> str:
        if self.point is None:
            return "relative cost of a false positive: none is stated"
        low, high = self.confidence.low, self.confidence.high
        digits = _digits(low, high)
        shown = f"{self.point:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        text = f"relative cost of a false positive: {shown} at {self.confidence.level:.0%}"
        odds = (1.0 - self.point) / self.point if self.point > 0.0 else math.inf
        return f"{text}; a false negative weighs {odds:.3g} times as much"

    def _missed(self) -> str:
        missed = self.disagreement
        return (
            f"the best rule misses {missed.count:,} of {missed.decisions:,} decisions "
            f"({missed.rate:.1%} [{missed.low:.1%}, {missed.high:.1%}])"
        )


def _range(low: float, high: float) -> str:
    digits = _digits(low, high)
    return f"({low:.{digits}f}, {high:.{digits}f}]"


def _digits(low: float, high: float) -> int:
    """Decimals that show two digits of the width, three at least."""
    return 3 if high <= low else min(max(3, 1 - math.floor(math.log10(high - low))), 9)

"""What a person's answers told of the relative cost, as a result that prints itself."""

import html
from dataclasses import asdict, dataclass
from typing import Any, Literal

from demonstrably.decisions.estimate import Confidence

Stopped = Literal["precise", "no case", "limit", "stopped"]

WHY = {
    "precise": "the precision asked for is reached",
    "no case": "no case is left whose answer is not known already",
    "limit": "the number of questions is used up",
    "stopped": "stopped before the precision was reached; the statement holds all the same",
}


@dataclass(frozen=True)
class Settings:
    """What an elicitation supposes and wants; the meaning is that of `elicit`."""

    precision: float
    confidence: float = 0.95
    wrong: float = 0.0
    indifference: float = 0.0
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.precision < 0.5:
            raise ValueError(f"precision {self.precision:g}: give a half-width in (0, 0.5), for instance 0.02")
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence {self.confidence:g}: give a probability in (0, 1), for instance 0.95")
        if not 0.0 <= self.wrong < 0.5:
            raise ValueError(
                f"wrong {self.wrong:g}: give a bound on the chance of a wrong answer in [0, 0.5), for instance 0.1; "
                "answers that are wrong half the time tell nothing"
            )
        if not 0.0 <= self.indifference < self.precision:
            raise ValueError(
                f"indifference {self.indifference:g}: give a half-width from 0 to below the precision, "
                f"{self.precision:g}: c cannot be known to any better"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: give the number of questions at most, 1 or more")


@dataclass(frozen=True)
class Question:
    """A case to decide. `row` is its number among the given cases, None for a probability of our own choice.

    `number` counts from 1 the answers that stand. `repeated` says that the same was asked before.
    """

    number: int
    probability: float
    row: int | None
    repeated: bool = False


@dataclass(frozen=True)
class Answer:
    """A question, what was decided, and the interval (low, high] that holds c after it."""

    question: Question
    decision: bool
    low: float
    high: float


@dataclass(frozen=True)
class Elicitation:
    """The relative cost c of a false positive, from answers to chosen questions: decide 1 where P(Y = 1) >= c.

    `interval` (low, high] holds c, as `confidence` says; `point` is its middle, so that c is within half its width of
    it, and None while nothing is known. `precision` is what was asked for, `wrong` bounds the chance of a wrong answer.
    `widened` is what the interval was widened by on either side: the half-width within which answers may be anything,
    and the posterior's error. `stopped` says why no more was asked, `gap` the probabilities between which there is no
    case. `answers` are those that stand.
    """

    interval: tuple[float, float]
    point: float | None
    precision: float
    confidence: Confidence
    wrong: float
    widened: float
    stopped: Stopped
    gap: tuple[float, float] | None
    answers: tuple[Answer, ...]
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def questions(self) -> int:
        """Number of answers that stand."""
        return len(self.answers)

    @property
    def losses(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """A loss matrix [decision][outcome] of this relative cost: right decisions cost 0, the mistakes 1 together."""
        return None if self.point is None else ((0.0, 1.0 - self.point), (self.point, 0.0))

    @property
    def odds(self) -> float | None:
        """How many times as much as a false positive a false negative weighs."""
        return None if self.point is None else (1.0 - self.point) / self.point

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        record = asdict(self) | {
            "interval": list(self.interval),
            "gap": None if self.gap is None else list(self.gap),
            "questions": self.questions,
            "losses": None if self.losses is None else [list(row) for row in self.losses],
            "odds": self.odds,
            "text": self.words(),
        }
        record["answers"] = [{**asdict(one.question), **_without_question(one)} for one in self.answers]
        return record

    def words(self) -> list[str]:
        """The result in sentences."""
        half = (self.interval[1] - self.interval[0]) / 2.0
        asked = f"{self.questions} question{'' if self.questions == 1 else 's'}"
        lines = [
            *self._cost(),
            f"{asked}, known to ±{half:.2g} where ±{self.precision:.2g} was asked for: {WHY[self.stopped]}",
        ]
        if self.gap is not None:
            lines.append(
                f"no case has a probability between {self.gap[0]:.4g} and {self.gap[1]:.4g}, where c lies: only cases "
                "in that gap, or made-up ones, could tell more"
            )
        return lines

    def __str__(self) -> str:
        lines = self.words()
        lines += [f"assumed: {text}" for text in self.assumptions]
        lines += [f"note: {text}" for text in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _cost(self) -> list[str]:
        if self.point is None:
            return ["not identified: nothing is known of the relative cost, which may be any number from 0 to 1"]
        low, high = self.interval
        certain = self.confidence.level == 1.0
        sure = "for certain, if every answer is right" if certain else f"at {self.confidence.level:.4g} confidence"
        least, most = (1.0 - high) / high, f"{(1.0 - low) / low:.3g}" if low > 0.0 else "without bound"
        return [
            f"relative cost of a false positive: {self.point:.4g}, in ({low:.4g}, {high:.4g}] {sure}",
            f"decide 1 where the probability is at least {self.point:.4g}: a false negative weighs {self.odds:.3g} "
            f"times as much as a false positive (from {least:.3g} to {most})",
        ]


def _without_question(answer: Answer) -> dict[str, Any]:
    return {"decision": answer.decision, "low": answer.low, "high": answer.high}

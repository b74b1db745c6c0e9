"""An elicitation as it goes on: the open question, answers and their taking back, and what is known so far."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demonstrably.decisions.elicit_words import assumptions, confidence_of, contradiction, notes
from demonstrably.decisions.elicitation import Answer, Elicitation, Question, Settings, Stopped
from demonstrably.decisions.inputs import number_column
from demonstrably.decisions.journal import Journal
from demonstrably.decisions.posterior import Posterior
from demonstrably.decisions.questions import Belief, belief, next_case, open_interval, vignettes

ROUNDING = 1e-12  # by which a half-width may miss the precision


class ElicitSession:
    """Asks for one decision after another. `elicit` is a loop around it; dialogues use it as it is."""

    def __init__(
        self,
        posterior: ArrayLike | Posterior | None,
        settings: Settings,
        *,
        journal: str | Path | None = None,
        about: str = "",
    ) -> None:
        """`about` is kept in the journal: what the person is asked. Arguments and errors else as in `elicit`."""
        self.settings = settings
        self._given, self._error = _read(posterior)
        self._widened = settings.indifference + self._error
        if self._widened >= settings.precision:
            raise ValueError(
                f"the posterior is known to ±{self._error:.3g} only (indifference {settings.indifference:g}), and c to "
                f"no better: give a precision above {self._widened:.3g}, or only cases with a smaller error"
            )
        cases = np.empty(0) if self._given is None else self._given
        self._order = np.argsort(cases, kind="stable")
        self._probability = cases[self._order]
        self._asked = np.zeros(len(self._probability), np.int64)
        self._answers: list[Answer] = []
        self._learn()
        header = _header(self._given, self._error, settings, about)
        self._journal: Journal | None = None  # while it is read nothing is written
        kept = None if journal is None else Journal(journal, header, free="precision")
        for number, line in enumerate(() if kept is None else kept.lines, start=2):
            self._replay(line, f"{journal} line {number}")
        self._journal = kept

    @property
    def answered(self) -> int:
        """Number of answers that stand."""
        return len(self._answers)

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high] that holds c, as far as it is known by now."""
        low, high = self._interval
        return max(0.0, low - self._widened), min(1.0, high + self._widened)

    def question(self) -> Question | None:
        """The open question; None where there is nothing more to ask."""
        return self._question

    def answer(self, decision: bool) -> None:
        """Keeps the answer to the open question, in the journal first."""
        question = self._question
        if question is None:
            raise ValueError("there is no open question: all is answered, or the limit is reached")
        self._write({"number": question.number, "row": question.row, "probability": question.probability}, decision)
        self._keep(question, decision)

    def take_back(self) -> bool:
        """Takes the last answer back, so that its question is open again; False where there is none."""
        if not self._answers:
            return False
        question = self._answers[-1].question
        self._write({"number": question.number}, None)
        self._drop()
        return True

    def result(self) -> Elicitation:
        """What is known now; valid whenever one stops."""
        low, high = self.interval
        stopped = self._stopped or "stopped"
        return Elicitation(
            (low, high),
            None if (low, high) == (0.0, 1.0) else (low + high) / 2.0,
            self.settings.precision,
            confidence_of((low, high), self.settings),
            self.settings.wrong,
            self._widened,
            stopped,
            self._interval if stopped == "no case" else None,
            tuple(self._answers),
            assumptions(self.settings, self._error),
            tuple(notes(self._answers, self._belief, self.settings.wrong)),
        )

    def _write(self, record: dict[str, Any], decision: bool | None) -> None:
        if self._journal is not None:
            self._journal.write({**record, "decision": decision})

    def _replay(self, line: dict[str, Any], where: str) -> None:
        decision, number = line.get("decision"), line.get("number")
        if self._answers and number == self.answered and "decision" in line and decision is None:
            self._drop()
        elif isinstance(decision, bool) and number == self.answered + 1 and self._is_case(line):
            case = line["row"], line["probability"]
            repeated = case in [(one.question.row, one.question.probability) for one in self._answers]
            self._keep(Question(self.answered + 1, line["probability"], line["row"], repeated), decision)
        else:
            raise ValueError(f"{where} does not follow from the lines before it: was it edited, or do two write it?")

    def _is_case(self, line: dict[str, Any]) -> bool:
        """Whether a question could have been about it."""
        row, probability = line.get("row"), line.get("probability")
        if self._given is None:
            return row is None and isinstance(probability, float) and 0.0 < probability < 1.0
        return isinstance(row, int) and 0 <= row < len(self._given) and float(self._given[row]) == probability

    def _keep(self, question: Question, decision: bool) -> None:
        self._count(question, 1)
        self._answers.append(Answer(question, decision, 0.0, 1.0))
        self._learn()
        self._answers[-1] = Answer(question, decision, *self.interval)

    def _drop(self) -> None:
        self._count(self._answers.pop().question, -1)
        self._learn()

    def _count(self, question: Question, change: int) -> None:
        if question.row is not None:
            self._asked[np.flatnonzero(self._order == question.row)] += change

    def _learn(self) -> None:
        """Belief, interval and next question from the answers that stand."""
        probability = np.array([one.question.probability for one in self._answers])
        decisions = np.array([one.decision for one in self._answers], bool)
        found = belief(probability, decisions, self.settings.wrong)
        if found is None:
            raise ValueError(contradiction(self._answers))
        self._belief = found
        self._interval = open_interval(found, self.settings.confidence)
        self._stopped: Stopped | None = self._reached()
        self._question = None if self._stopped else self._next(found, probability)
        if self._stopped is None and self._question is None:
            self._stopped = "no case"

    def _reached(self) -> Stopped | None:
        low, high = self._interval
        if (high - low) / 2.0 + self._widened <= self.settings.precision + ROUNDING:
            return "precise"
        return "limit" if self.settings.limit is not None and self.answered >= self.settings.limit else None

    def _next(self, found: Belief, before: NDArray[np.float64]) -> Question | None:
        if self._given is not None:
            at = next_case(self._probability, self._asked, found, self._interval)
            if at is None:
                return None
            row = int(self._order[at])
            return Question(self.answered + 1, float(self._probability[at]), row, bool(self._asked[at]))
        near = vignettes(found, self._interval, self.settings.precision - self._widened, self.settings.wrong)
        asked = (near[:, None] == before).sum(1)
        at = next_case(near, asked, found, self._interval)
        assert at is not None  # numbers lie closer together than any interval that is still too wide
        return Question(self.answered + 1, float(near[at]), None, bool(asked[at]))


def _read(posterior: ArrayLike | Posterior | None) -> tuple[NDArray[np.float64] | None, float]:
    """Probabilities (n,), checked, and the largest error of any."""
    if posterior is None:
        return None, 0.0
    given = posterior.probability if isinstance(posterior, Posterior) else posterior
    error = float(posterior.error.max(initial=0.0)) if isinstance(posterior, Posterior) else 0.0
    probability = number_column("the posterior", given)
    bad = np.flatnonzero(~((probability >= 0.0) & (probability <= 1.0)))
    if len(bad):
        raise ValueError(
            f"the posterior of row {bad[0]} is {probability[bad[0]]:g} ({len(bad)} such rows): give probabilities in "
            "[0, 1]"
        )
    return probability, error


def _header(probability: NDArray[np.float64] | None, error: float, settings: Settings, about: str) -> dict[str, Any]:
    """What tells one elicitation from another, as the journal keeps it."""
    digest = None if probability is None else hashlib.sha256(probability.tobytes()).hexdigest()
    return {
        "precision": settings.precision,
        "confidence": settings.confidence,
        "wrong": settings.wrong,
        "indifference": settings.indifference,
        "cases": 0 if probability is None else len(probability),
        "posterior": digest,
        "error": error,
        "about": about,
    }

"""What a person's answers told of the relative cost, as one HTML file: the result, how it was narrowed, the answers."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from demonstrably.decisions.elicitation import Answer, Elicitation

from . import blocks
from .blocks import Group, Section, Table
from .figures import Axis, Frame, Scale, band, dot, draw, line, segment
from .pages import kept, rendered

PROBABILITY = Scale(0.0, 1.0)


def write_elicitation(found: Elicitation, out: str | Path, *, yes: str = "yes", no: str = "no") -> Path:
    """Writes the page. `yes` and `no` name the decisions 1 and 0.

    The file is replaced as a whole, or not at all. Raises OSError where it cannot be written.
    """
    return kept(page(found, yes, no), out)


def page(found: Elicitation, yes: str, no: str) -> str:
    """The whole page."""
    parts = [
        Section("result", "What weighs against what", 1, _result(found)),
        Section("losses", "The losses", 1, [_losses(found, yes, no)]),
        Section("answers", "The answers", 1, _answers(found, yes, no)),
    ]
    known = "not known" if found.point is None else f"{found.point:.3g}"
    return rendered(
        f"Relative cost of a false positive: {known}",
        f"{found.questions} answers · in ({found.interval[0]:.4g}, {found.interval[1]:.4g}]",
        parts,
    )


def _result(found: Elicitation) -> list[Markup]:
    first, *rest = found.words()
    supposed = [("assumed", text) for text in found.assumptions]
    entries = [("by what argument", found.confidence.method), *supposed]
    notes = [blocks.text(note, "problem") for note in found.notes]
    return [blocks.text(first, "lead"), *map(blocks.text, rest), *notes, blocks.definitions([Group("", entries)])]


def _losses(found: Elicitation, yes: str, no: str) -> Markup:
    if found.losses is None:
        return blocks.missing("Any losses fit.")
    rows = [
        (f"{name} ({decision})", *(f"{loss:.4g}" for loss in found.losses[decision]))
        for decision, name in ((0, no), (1, yes))
    ]
    head = ("decision", "outcome 0", "outcome 1")
    note = "Any multiple, with any number added to an outcome's column, leads to the same decisions."
    return blocks.table("Loss of a decision, given what comes", Table(head, rows, (1, 2), note))


def _answers(found: Elicitation, yes: str, no: str) -> list[Markup]:
    if not found.answers:
        return [blocks.missing("Nothing was answered.")]
    rows = [
        (str(asked.number), f"{asked.probability:.6g}", _name(one, yes, no), f"{one.low:.4g}", f"{one.high:.4g}")
        for one in found.answers
        for asked in [one.question]
    ]
    head = ("question", "probability", "decision", "low", "high")
    table = Table(head, rows, (0, 1, 3, 4))
    key = blocks.legend([("block-1", yes), ("block-2", no)])
    narrowed = blocks.figure(
        "How the interval narrowed",
        "The band holds the relative cost after each answer; a dot is a question and how it was decided.",
        _narrowing(found, yes, no) + key,
        table,
    )
    against = blocks.figure(
        "Answers against probability",
        f"Each dot is an answer; the rules are the ends of the last interval. To its left one expects {no}, to its "
        f"right {yes}.",
        _against(found, yes, no),
    )
    return [narrowed, against]


def _narrowing(found: Elicitation, yes: str, no: str) -> Markup:
    steps = np.arange(len(found.answers) + 1, dtype=float)
    low = np.array([0.0, *(one.low for one in found.answers)])
    high = np.array([1.0, *(one.high for one in found.answers)])
    last = max(len(found.answers), 1)
    every = max(1, round(last / 6))
    ticks = tuple((number, str(number)) for number in range(0, last + 1, every))
    frame = Frame(Axis("answers", Scale(0.0, last + 0.5), ticks), Axis("probability", PROBABILITY), height=280)
    edges = [line(frame, steps, low, "one thin", "low"), line(frame, steps, high, "one thin", "high")]
    dots = [
        dot(frame, one.question.number, one.question.probability, _style(one), _told(one, yes, no))
        for one in found.answers
    ]
    description = (
        f"The interval that holds the relative cost, from (0, 1] to ({found.interval[0]:.4g}, {found.interval[1]:.4g}] "
        f"after {found.questions} answers."
    )
    return draw(frame, [band(frame, steps, low, high, "one"), *edges], dots, description)


def _against(found: Elicitation, yes: str, no: str) -> Markup:
    frame = Frame(
        Axis("probability of the outcome", PROBABILITY), Axis("", Scale(-0.5, 1.5), ((0, no), (1, yes))), height=110
    )
    rules = [segment(frame, (end, -0.5), (end, 1.5), "quiet dashed") for end in found.interval]
    dots = [
        dot(frame, one.question.probability, int(one.decision), _style(one), _told(one, yes, no))
        for one in found.answers
    ]
    count = sum(one.decision for one in found.answers)
    description = f"{count} answers {yes} and {found.questions - count} answers {no}, by the probability of the case."
    return draw(frame, [], [*rules, *dots], description)


def _style(answer: Answer) -> str:
    return "one" if answer.decision else "two hollow"


def _name(answer: Answer, yes: str, no: str) -> str:
    return yes if answer.decision else no


def _told(answer: Answer, yes: str, no: str) -> str:
    question = answer.question
    case = "" if question.row is None else f", row {question.row}"
    return f"question {question.number}: {question.probability:.4g}{case}\n{_name(answer, yes, no)}"

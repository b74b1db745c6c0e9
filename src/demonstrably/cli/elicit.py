"""`demonstrably elicit [CASES]`: ask a person for few decisions, and say what they weigh against what."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from demonstrably.cli import parse

if TYPE_CHECKING:  # imported where they are used: `--help` does not need numpy, scipy and pyarrow
    from demonstrably.cli.elicit_cases import Cases
    from demonstrably.decisions.elicit_session import ElicitSession
    from demonstrably.decisions.elicitation import Elicitation

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}
DONE = "\nThat is all. [Enter: finish, u: take the last answer back] "
UNDO = ("u", "undo")
STOP = ("q", "quit", "")  # the last at the end of input


@dataclass(frozen=True)
class Options:
    """Ask a person for decisions on chosen cases until it is known what a false positive costs them against a false
    negative. The same command goes on after an interruption."""

    cases: tyro.conf.Positional[Path | None] = None
    """A file of cases (.csv, .csv.gz, .parquet), one a row. Without one, only probabilities are asked about."""
    posterior: str = "posterior"
    """The column with the probability of the outcome, in [0, 1]."""
    show: tuple[str, ...] = ()
    """Columns to show; by default all but those that look like personal names."""
    hide_probability: bool = False
    """Show the columns only. The person's own idea of the probability must then be that of the column."""
    precision: float = 0.02
    """Half-width of the interval to reach."""
    wrong: float = 0.1
    """Bound on the chance of a wrong answer, below 0.5; 0 where no answer can be wrong."""
    indifference: float = 0.0
    """Answers may be anything where the probability is within this of the threshold."""
    confidence: float = 0.95
    """The chance that the interval holds the relative cost; with --wrong 0 it does for certain."""
    limit: int | None = None
    """Questions at most."""
    question: str | None = None
    """What is asked about every case; by default whether they would decide what --yes says. Yes must be the right
    decision where the outcome will come."""
    yes: str = "yes"
    """The decision that is right where the outcome will come, in a word or two."""
    no: str = "no"
    """The other decision."""
    journal: Path = Path("elicitation.jsonl")
    """The file that keeps the answers."""
    restart: bool = False
    """Begin anew; the old journal is kept beside the new one."""
    web: bool = False
    """Ask on a page in a browser on this machine instead of in the terminal."""
    port: int = 0
    """Port of the page; 0 for any that is free."""
    show_progress: bool = False
    """Show how the interval narrows. Seeing it may sway the person."""
    json: bool = False
    """Print one JSON document."""
    html: Path | None = None
    """Also write the result as one HTML file with figures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, then print the result or its record."""
    options = parse(Options, arguments, prog="demonstrably elicit")
    _check(options)
    from demonstrably.cli.elicit_cases import made_up, read_cases

    if options.cases is None:
        cases = made_up()
    else:
        cases = read_cases(options.cases, options.posterior, options.show, hidden=options.hide_probability)
    session = _session(options, cases)
    if cases.withheld:
        names = ", ".join(cases.withheld)
        _say(f"not shown, since they look like names of people: {names}; --show shows what it names")
    if options.web:
        _in_browser(session, cases, options)
    else:
        _in_terminal(session, cases, options)
    found = session.result()
    if found.stopped == "stopped":
        _say(f"stopped; answers kept in {options.journal}: {session.answered}; the same command goes on from there")
    _print(found, options)
    return 0


def _check(options: Options) -> None:
    if options.html is not None and options.html.is_dir():
        raise ValueError(f"--html {options.html} is a folder; give the name of a file")
    if options.cases is None and (options.show or options.hide_probability):
        raise ValueError("--show and --hide-probability are about cases: give a file of cases")
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port {options.port}: give a number from 0 (any that is free) to 65535")
    if options.port and not options.web:
        raise ValueError("--port is about the page: give --web with it")


def _session(options: Options, cases: "Cases") -> "ElicitSession":
    from demonstrably.decisions.elicit_session import ElicitSession
    from demonstrably.decisions.elicitation import Settings

    settings = Settings(options.precision, options.confidence, options.wrong, options.indifference, options.limit)
    about = f"{_asked(options)} {options.yes}/{options.no}"
    if options.restart:
        _set_aside(options.journal)
    session = ElicitSession(cases.posterior, settings, journal=options.journal, about=about)
    if session.answered:
        _say(f"going on; answers kept in {options.journal}: {session.answered}; --restart begins anew")
    return session


def _asked(options: Options) -> str:
    return f"Would you decide {options.yes}?" if options.question is None else options.question


def _set_aside(journal: Path) -> None:
    """Keeps an old journal under the next free name."""
    if journal.exists():
        number = 1
        while (old := journal.with_name(f"{journal.stem}.{number}{journal.suffix}")).exists():
            number += 1
        journal.rename(old)


def _in_terminal(session: "ElicitSession", cases: "Cases", options: Options) -> None:
    while (question := session.question()) is not None:
        facts = [f"  {name}: {value}" for name, value in cases.facts(question)]
        again = " (asked before: decide afresh)" if question.repeated else ""
        _say("\n".join([f"\nQuestion {question.number}{again}", *facts]))
        if _one_word(session, options) in STOP:
            return
        if options.show_progress:
            _say("between {:.4g} and {:.4g}".format(*session.interval))
        if session.question() is None and _read(DONE) in UNDO:
            session.take_back()


def _one_word(session: "ElicitSession", options: Options) -> str:
    """What was typed, an answer or a taking back done."""
    keys = f"y: {options.yes}, n: {options.no}, u: take the last answer back, q: stop"
    word = _read(f"{_asked(options)} [{keys}] ")
    while word not in (*ANSWERS, *UNDO, *STOP):
        word = _read(f"{word!r} is not understood [{keys}] ")
    if word in ANSWERS:
        session.answer(ANSWERS[word])
    elif word in UNDO and not session.take_back():
        _say("there is no answer to take back")
    return word


def _in_browser(session: "ElicitSession", cases: "Cases", options: Options) -> None:
    from demonstrably.cli.elicit_page import Wording, serve

    wording = Wording(_asked(options), options.yes, options.no, options.show_progress)
    try:
        serve(session, cases.facts, wording, options.port, announce=_say)
    except KeyboardInterrupt:
        if session.question() is not None:  # else all was answered, and only the page was still open
            raise


def _read(prompt: str) -> str:
    """A word in lower case: "?" for an empty line, "" at the end of input."""
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip().lower() or "?" if line else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(found: "Elicitation", options: Options) -> None:
    if options.html is not None:
        from demonstrably.report.elicitation import write_elicitation

        path = write_elicitation(found, options.html, yes=options.yes, no=options.no)
        _say(str(path.resolve()))
    print(json.dumps(found.to_dict()) if options.json else found)

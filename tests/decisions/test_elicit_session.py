"""The journal of an elicitation: going on after any end, taking back, and what is refused."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.elicit_session import ElicitSession
from demonstrably.decisions.elicitation import Settings

CASES = np.random.default_rng(0).random(300)


def answers_of(number):
    """One person: threshold 0.41, some answers wrong, by the number of the question."""
    return lambda question: (question.probability >= 0.41) ^ (question.number % number == 0)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def open_session(path, posterior=CASES, about="", **changed):
    settings = Settings(**{"precision": 0.02, "wrong": 0.1, **changed})
    return ElicitSession(posterior, settings, journal=path, about=about)


@pytest.mark.parametrize("posterior", [None, CASES])
def test_going_on_after_each_answer_equals_one_sitting(tmp_path, posterior):
    ask = answers_of(7)
    whole = elicit(ask, posterior, precision=0.02, wrong=0.1)
    found, sittings = None, 0
    while found is None or found.stopped == "stopped":
        left = iter([None, *[True] * 2])  # two answers a sitting

        def two(question, left=left):
            return ask(question) if next(left, None) or next(left, None) else None

        found = elicit(two, posterior, precision=0.02, wrong=0.1, journal=tmp_path / "kept.jsonl")
        sittings += 1
    assert found == whole and sittings > 5
    assert len(lines(tmp_path / "kept.jsonl")) == 1 + whole.questions
    settings = {"precision": 0.02, "wrong": 0.1, "journal": tmp_path / "kept.jsonl"}
    assert elicit(lambda question: pytest.fail("asked"), posterior, **settings) == whole


CHILD = """
import os, signal, sys
import numpy as np
from demonstrably.decisions.elicit import elicit

def ask(question):
    if question.number == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return (question.probability >= 0.41) ^ (question.number % 7 == 0)

elicit(ask, np.random.default_rng(0).random(300), precision=0.02, wrong=0.1, journal=sys.argv[1])
"""


def test_a_killed_elicitation_goes_on_as_if_it_had_not_been(tmp_path):
    path = tmp_path / "kept.jsonl"
    for number in (4, 9):
        done = subprocess.run([sys.executable, "-c", CHILD, str(path), str(number)], env={**os.environ})
        assert done.returncode == -signal.SIGKILL and len(lines(path)) == number
    with path.open("a") as file:
        file.write('{"number": 9, "row": 12, "prob')  # as if it had been killed while it wrote
    found = elicit(answers_of(7), CASES, precision=0.02, wrong=0.1, journal=path)
    assert found == elicit(answers_of(7), CASES, precision=0.02, wrong=0.1)
    assert len(lines(path)) == 1 + found.questions


def test_answers_are_taken_back_to_the_first(tmp_path):
    session = open_session(tmp_path / "kept.jsonl")
    asked = []
    for decision in (True, False, True):
        asked.append(session.question())
        session.answer(decision)
    assert session.take_back() and session.question() == asked[2]
    assert session.take_back() and session.question() == asked[1]
    again = open_session(tmp_path / "kept.jsonl")
    assert again.question() == asked[1] and again.answered == 1 and again.interval == session.interval
    assert again.take_back() and again.question() == asked[0] and not again.take_back()
    assert again.interval == (0, 1) and again.result().point is None
    assert [line["decision"] for line in lines(tmp_path / "kept.jsonl")[1:]] == [True, False, True, None, None, None]


def test_the_last_answer_of_all_can_be_taken_back():
    session = open_session(None, posterior=None, wrong=0.0, precision=0.2)
    for _ in range(2):
        session.answer(True)
    assert session.question() is None
    with pytest.raises(ValueError, match="there is no open question"):
        session.answer(True)
    assert session.take_back() and session.question().number == 2


def test_a_finer_precision_goes_on_with_the_same_journal(tmp_path):
    path = tmp_path / "kept.jsonl"
    coarse = elicit(answers_of(99), None, precision=0.1, journal=path)
    fine = elicit(answers_of(99), None, precision=0.01, journal=path)
    assert fine.answers[: coarse.questions] == coarse.answers
    assert fine == elicit(answers_of(99), None, precision=0.01)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"wrong": 0.2}, "wrong 0.1 there and 0.2 here"),
        ({"confidence": 0.9}, "confidence 0.95 there and 0.9 here"),
        ({"indifference": 0.01}, "indifference 0.0 there and 0.01 here"),
        ({"posterior": CASES + 0.0 * CASES - 1e-9}, "posterior '"),
        ({"posterior": None}, "cases 300 there and 0 here, posterior '.{8}[.]{3}' there and None here"),
        ({"about": "Would you operate?"}, "about '' there and 'Would you operate.' here"),
    ],
)
def test_the_journal_of_another_elicitation_is_refused(tmp_path, changed, message):
    open_session(tmp_path / "kept.jsonl").answer(True)
    with pytest.raises(ValueError, match=f"is the journal of another elicitation .*{message}.*give another file"):
        open_session(tmp_path / "kept.jsonl", **changed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "line 1 is no JSON: repair it"),
        ("[1]\n", "line 1 is no journal's line"),
        ('{"step": 3}\n', "is no journal of an elicitation"),
        ("\x00\xff\n", "line 1 is no JSON"),
    ],
)
def test_another_file_is_refused_and_left_alone(tmp_path, text, message):
    path = tmp_path / "other"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        open_session(path)
    assert path.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize(
    "line",
    [
        {"number": 2, "row": 3, "probability": CASES[3], "decision": True},
        {"number": 1, "row": 300, "probability": 0.5, "decision": True},
        {"number": 1, "row": -1, "probability": CASES[-1], "decision": True},
        {"number": 1, "row": 3, "probability": 0.5, "decision": True},
        {"number": 1, "row": 3, "probability": CASES[3], "decision": "yes"},
        {"number": 1, "row": 3, "probability": CASES[3]},
        {"number": 1, "row": None, "probability": 0.5, "decision": True},
        {"number": 0, "decision": None},
        {"number": 1, "decision": None},
    ],
)
def test_lines_that_do_not_follow_are_refused(tmp_path, line):
    path = tmp_path / "kept.jsonl"
    open_session(path)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match="kept.jsonl line 2 does not follow from the lines before it: was it edited"):
        open_session(path)


def test_contradictions_in_a_journal_are_found(tmp_path):
    path = tmp_path / "kept.jsonl"
    open_session(path, posterior=None, wrong=0.0)
    with path.open("a") as file:
        for number, (probability, decision) in enumerate([(0.55, True), (0.3, False), (0.6, False)], start=1):
            record = {"number": number, "row": None, "probability": probability, "decision": decision}
            file.write(json.dumps(record) + "\n")
    with pytest.raises(ValueError, match=r"1 at 0.55 \(question 1\) but 0 at 0.6 \(question 3\).*wrong=0.1"):
        open_session(path, posterior=None, wrong=0.0)


def test_an_empty_file_or_a_torn_header_begins_anew(tmp_path):
    path = tmp_path / "deep" / "kept.jsonl"
    open_session(path)
    for text in ("", '{"elicit'):
        path.write_text(text)
        open_session(path).answer(True)
        assert len(lines(path)) == 2


def test_a_full_disk_keeps_the_question_open(tmp_path, monkeypatch):
    session = open_session(tmp_path / "kept.jsonl")
    question, before = session.question(), (tmp_path / "kept.jsonl").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        session.answer(True)
    assert session.question() == question and (tmp_path / "kept.jsonl").read_bytes() == before
    monkeypatch.undo()
    session.answer(True)
    assert open_session(tmp_path / "kept.jsonl").answered == 1

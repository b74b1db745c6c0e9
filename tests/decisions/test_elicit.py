"""Elicitation: how many questions, which ones, what is stated, and what is refused."""

import contextlib
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.elicitation import Question
from demonstrably.decisions.posterior import Posterior
from demonstrably.decisions.questions import belief, disagreements, open_interval


class Person:
    """Decides 1 from a threshold on; keeps what was asked. `wrong` answers by their number."""

    def __init__(self, cost, wrong=(), stop_after=None):
        self.cost, self.wrong, self.stop_after, self.asked = cost, wrong, stop_after, []

    def __call__(self, question):
        if len(self.asked) == self.stop_after:
            return None
        self.asked.append(question)
        return (question.probability >= self.cost) ^ (question.number in self.wrong)


@pytest.mark.parametrize("precision", [0.3, 0.25, 0.1, 0.02, 1 / 64, 1e-3, 1e-6])
@pytest.mark.parametrize("cost", [1e-9, 0.1, 0.375, 0.5, 2 / 3, 1 - 1e-9])
def test_bisection_takes_exactly_so_many_questions_and_holds_the_cost(precision, cost):
    found = elicit(Person(cost), None, precision=precision)
    assert found.questions == math.ceil(math.log2(0.5 / precision)) and found.stopped == "precise"
    low, high = found.interval
    assert low < cost <= high and high - low == 0.5**found.questions <= 2 * precision
    assert abs(found.point - cost) <= precision and found.confidence.level == 1.0


def test_the_losses_are_those_of_the_point():
    found = elicit(Person(0.375), None, precision=0.001)
    (right, missed), (alarm, also_right) = found.losses
    assert (right, also_right) == (0, 0) and alarm / (alarm + missed) == pytest.approx(0.375, abs=0.001)
    assert found.odds == pytest.approx(5 / 3, abs=0.01)


def test_cases_are_asked_by_halves_and_never_twice():
    cases = np.random.default_rng(0).random(1000)
    person = Person(0.2)
    found = elicit(person, cases, precision=0.01)
    rows = [question.row for question in person.asked]
    assert len(set(rows)) == len(rows) == found.questions <= 8
    assert all(cases[question.row] == question.probability for question in person.asked)
    assert abs(person.asked[0].probability - 0.5) == np.abs(cases - 0.5).min()
    low, high = found.interval
    assert low < 0.2 <= high and not found.notes
    for one in found.answers:  # no answer was known before it was given
        before = found.answers[one.question.number - 2] if one.question.number > 1 else None
        assert before is None or before.low < one.question.probability < before.high


def test_where_no_case_is_left_the_gap_is_named():
    found = elicit(Person(0.5), [0.1, 0.4, 0.4, 0.62, 0.9], precision=0.01)
    assert found.stopped == "no case" and found.interval == found.gap == (0.4, 0.62)
    assert "no case has a probability between 0.4 and 0.62" in str(found) and found.questions == 2
    assert [one.question.row for one in found.answers] == [1, 3]


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_certain_cases_tell_nothing(wrong):
    found = elicit(Person(0.5), [0.0, 1.0, 1.0], precision=0.1, wrong=wrong)
    assert found.interval == (0, 1) == found.gap and found.questions == 0
    assert found.point is found.losses is found.odds is None
    assert str(found).startswith("not identified: nothing is known")
    assert json.loads(json.dumps(found.to_dict()))["losses"] is None


def test_the_posteriors_error_and_indifference_widen_the_statement():
    cases = np.linspace(0, 1, 1001)
    posterior = Posterior(cases, cases, np.full(1001, 0.01), None, "given")
    for wrong in (0.0, 0.1):
        found = elicit(Person(0.3), posterior, precision=0.05, wrong=wrong, indifference=0.02)
        low, high = found.interval
        inner = found.answers[-1].question  # the last question lies on an end of the interval before it was widened
        assert found.widened == pytest.approx(0.03) and high - low <= 0.1 + 1e-9
        assert low + 0.03 - 1e-9 <= inner.probability <= high - 0.03 + 1e-9
        assert "known to ±0.01" in str(found) and "within ±0.02 of c answers may be anything" in str(found)
    with pytest.raises(ValueError, match="known to ±0.01 only .* give a precision above 0.01, or only cases"):
        elicit(Person(0.3), posterior, precision=0.01)


def test_repeated_cases_are_told():
    person = Person(0.5, wrong=(2,))
    found = elicit(person, [0.3, 0.45, 0.55, 0.7], precision=0.06, wrong=0.2)
    repeated = sum(question.repeated for question in person.asked)
    rows = [question.row for question in person.asked]
    assert repeated == len(rows) - len(set(rows)) > 0
    assert found.interval == (0.45, 0.55) and f"{repeated} of {len(rows)} questions had been asked before" in str(found)
    first_repeat = [question.repeated for question in person.asked].index(True)
    inside = [row for row in range(4) if row not in rows[:first_repeat]]
    before = found.answers[first_repeat - 1]
    assert all(not before.low < [0.3, 0.45, 0.55, 0.7][row] < before.high for row in inside)


def test_one_wrong_answer_does_no_harm_where_it_was_foreseen():
    for lie in range(1, 8):
        low, high = elicit(Person(0.37, wrong=(lie,)), None, precision=0.02, wrong=0.1).interval
        assert low < 0.37 <= high
    assert not elicit(Person(0.37, wrong=(1,)), None, precision=0.02).interval[0] < 0.37


def test_a_wrong_answer_shows_in_a_bisection_as_a_run_of_equals():
    found = elicit(Person(0.37, wrong=(1,)), None, precision=1e-3)
    assert "the last 8 answers were all 1: c lies close to 0.5, or the answer to question 1 was wrong" in found.notes[0]
    assert not elicit(Person(0.37), None, precision=1e-3).notes
    assert not elicit(Person(1e-6), None, precision=1e-3).notes  # no earlier answer that could be wrong


def test_more_wrong_answers_than_supposed_are_often_told():
    def told(rate):
        generator = np.random.default_rng(0)
        notes = 0
        for _ in range(40):
            answers = lambda question: bool((question.probability >= 0.37) ^ (generator.random() < rate))  # noqa: E731
            notes += "ask again with a larger wrong" in str(elicit(answers, None, precision=0.01, wrong=0.1))
        return notes

    assert told(0.5) >= 12 and told(0.1) <= 2  # about half of those who toss coins


def test_numbers_to_read_are_short_and_not_named_twice():
    generator = np.random.default_rng(1)
    person = Person(0.4)
    elicit(lambda question: bool(person(question) ^ (generator.random() < 0.2)), None, precision=0.02, wrong=0.2)
    named = [question.probability for question in person.asked]
    assert all(round(value, 3) == value for value in named) and len(set(named)) == len(named) > 15


def test_stopping_early_and_a_limit():
    found = elicit(Person(0.2, stop_after=2), None, precision=0.01)
    assert found.stopped == "stopped" and found.interval == (0, 0.25) and found.point == 0.125
    found = elicit(Person(0.2), None, precision=0.01, limit=3)
    assert found.stopped == "limit" and found.interval == (0.125, 0.25) and "used up" in str(found)
    assert elicit(Person(0.2), None, precision=0.01, limit=6).stopped == "precise"


def test_the_weights_are_those_of_the_definition():
    generator = np.random.default_rng(2)
    asked, decisions = generator.random(9).round(1), generator.random(9) < 0.5
    edges, missed = disagreements(asked, decisions)
    for cost in np.append(generator.random(200), [0.1, 0.5, 1.0]):
        piece = np.searchsorted(edges, cost) - 1
        assert missed[piece] == ((asked >= cost) != decisions).sum()
    found = belief(asked, decisions, 0.2)
    direct = 0.8 ** (9 - missed) * 0.2**missed
    density = direct / (direct * np.diff(edges)).sum()
    assert np.allclose(found.density, density)
    low, high = open_interval(found, 0.95)
    kept = np.flatnonzero(density > 0.05)
    assert (low, high) == (edges[kept[0]], edges[kept[-1] + 1])
    assert found.mass_below(np.array([found.median()])) == pytest.approx(0.5)
    assert belief(np.array([0.3, 0.4]), np.array([True, False]), 0.0) is None


def test_a_result_prints_itself_and_becomes_json():
    found = elicit(Person(0.375), [0.2, 0.3, 0.4, 0.5], precision=0.05, wrong=0.1)
    record = json.loads(json.dumps(found.to_dict()))
    assert record["interval"] == list(found.interval) and record["questions"] == len(record["answers"])
    assert record["answers"][0] == {
        "number": 1,
        "probability": 0.5,
        "row": 3,
        "repeated": False,
        "decision": True,
        "low": 0.0,
        "high": 1.0,
    }
    assert record["text"] == found.words() and record["confidence"]["level"] == 0.95
    assert "at 0.95 confidence" in str(found) and "wrong with a chance of at most 0.1" in str(found)
    assert found._repr_html_().startswith("<pre>relative cost")


def test_low_confidence_still_finds_questions():
    generator = np.random.default_rng(3)
    for _ in range(20):
        cost = generator.random()
        answers = lambda question: bool((question.probability >= cost) ^ (generator.random() < 0.4))  # noqa: B023, E731
        elicit(answers, None, precision=0.02, wrong=0.4, confidence=0.2, limit=40)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": 0.0}, r"precision 0: give a half-width in \(0, 0.5\)"),
        ({"precision": 0.5}, "precision 0.5"),
        ({"precision": float("nan")}, "precision nan"),
        ({"wrong": 0.5}, r"wrong 0.5: give a bound .* in \[0, 0.5\)"),
        ({"wrong": -0.1}, "wrong -0.1"),
        ({"confidence": 1.0}, "confidence 1: give a probability"),
        ({"indifference": 0.02}, "indifference 0.02: give a half-width from 0 to below the precision, 0.02"),
        ({"limit": 0}, "limit 0: give the number of questions"),
        ({"posterior": [0.2, 1.2, -1.0]}, r"posterior of row 1 is 1.2 \(2 such rows\): give probabilities in \[0, 1\]"),
        ({"posterior": [0.2, float("nan")]}, "posterior of row 1 is nan"),
        ({"posterior": []}, r"shape \(0,\)"),
        ({"posterior": [[0.2]]}, r"shape \(1, 1\); give one number a row"),
    ],
)
def test_mistakes_are_refused(settings, message):
    given = {"posterior": None, "precision": 0.02} | settings
    with pytest.raises(ValueError, match=message):
        elicit(Person(0.3), given.pop("posterior"), **given)


def test_an_answer_that_is_none_is_refused():
    with pytest.raises(ValueError, match="ask answered 'yes': return True for 1, False for 0, or None"):
        elicit(lambda question: "yes", None, precision=0.1)
    assert elicit(lambda question: np.bool_(True), None, precision=0.1).interval == (0, 0.125)


def test_a_million_cases_are_no_burden():
    cases = np.random.default_rng(4).random(1_000_000)
    found = elicit(Person(0.123456), cases, precision=1e-5, wrong=0.05)
    low, high = found.interval
    assert low < 0.123456 <= high and found.questions < 60


def test_a_question_is_a_record():
    assert Question(1, 0.5, None) == Question(1, 0.5, None, repeated=False)


def test_the_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "elicitation.md").read_text()
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    assert len(examples) == 4
    for code, expected in examples:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        assert printed.getvalue() == expected

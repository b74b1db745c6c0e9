"""The page on an elicitation: its words, its figures, and how a browser shows it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.elicitation import Elicitation
from demonstrably.report.elicitation import page, write_elicitation

from .test_report_browser import CONTRAST, DESK, DRAWN, OVERFLOW, PHONE, Opened

BAD = "<script>document.title='run'</script>"


@pytest.fixture(scope="module")
def found() -> Elicitation:
    generator, cases = np.random.default_rng(0), np.random.default_rng(1).random(500)

    def ask(question):
        return bool((question.probability >= 0.37) ^ (generator.random() < 0.1))

    return elicit(ask, cases, precision=0.02, wrong=0.1)


def test_the_result_the_losses_and_the_answers_are_told(found: Elicitation) -> None:
    text = page(found, "treat", "wait")
    for words in (*found.words(), *found.assumptions, found.confidence.method):
        assert words.replace("'", "&#39;") in text
    assert "treat (1)" in text and f"{found.losses[1][0]:.4g}" in text and f"{found.losses[0][1]:.4g}" in text
    dots = text.count('<circle class="dot one"'), text.count('<circle class="dot two hollow"')
    yes = sum(one.decision for one in found.answers)
    assert dots == (2 * yes, 2 * (found.questions - yes))  # in both figures
    first = found.answers[0].question
    assert f'data-tip="question 1: {first.probability:.4g}, row {first.row}\n' in text


def test_nothing_answered_is_told() -> None:
    text = page(elicit(lambda question: None, None, precision=0.1), "yes", "no")
    assert "not identified" in text and "Nothing was answered." in text and "Any losses fit." in text


def test_notes_stand_out() -> None:
    found = elicit(lambda question: question.number > 1, None, precision=0.001)
    assert f'<p class="problem">{found.notes[0]}</p>' in page(found, "yes", "no")


@pytest.fixture(scope="module")
def written(found: Elicitation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_elicitation(found, tmp_path_factory.mktemp("page") / "found.html", yes="treat", no="wait")


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(browser: Any, written: Path, viewport: dict[str, int], scheme: str) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened = Opened(context.new_page(), written)
    plots = opened.page.evaluate(DRAWN)
    assert len(plots) == 2
    for plot in plots:
        assert plot["width"] > 250 and plot["height"] > 100 and plot["seen"] == plot["marks"] > 15
    assert opened.logged == [] and opened.requests == [written.as_uri()]
    assert opened.page.evaluate(OVERFLOW) == []
    worst = opened.page.evaluate(CONTRAST)
    assert worst[0][0] >= 4.5, worst[:5]
    opened.page.locator("circle.dot").first.hover()
    assert "question 1: " in opened.page.locator("#tip").inner_text()
    context.close()


@pytest.mark.browser
def test_markup_in_names_does_not_run(browser: Any, found: Elicitation, tmp_path: Path) -> None:
    context = browser.new_context()
    opened = Opened(context.new_page(), write_elicitation(found, tmp_path / "bad.html", yes=BAD, no=BAD))
    assert opened.logged == [] and opened.page.title().endswith("Demonstrably report")
    context.close()

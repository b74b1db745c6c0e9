"""The page on an audit: its words, its figures, and how a browser shows it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.decisions import audit
from demonstrably.report.audit import page, write_audit

from ..decisions.made_people import noisy_groups, recorded
from .test_report_browser import CONTRAST, DESK, DRAWN, OVERFLOW, PHONE, Opened

KNOWN = {"decision": "decision", "group": "group", "outcome": "outcome", "posterior": "risk"}
BAD = "<script>document.title='run'</script>"


@pytest.fixture(scope="module")
def apart() -> str:
    return page(audit(noisy_groups(0, costs=(0.2, 0.4)), **KNOWN), "made.csv")


def test_verdict_costs_curves_and_older_tests_are_there(apart: str) -> None:
    assert "The groups meet different costs." in apart and "verdict: difference" in apart
    for title in ("Relative cost by group", "Decisions along the posterior", "Outcomes along the posterior", "Checks"):
        assert title in apart
    assert "Benchmark test" in apart and "Outcome test" in apart and "Hybrid test" in apart
    assert "Why hit rates mislead" in apart and "If unseen outcomes" not in apart


def test_without_outcomes_it_says_what_is_missing() -> None:
    table = {name: column for name, column in noisy_groups(1).items() if name in ("decision", "group")}
    text = page(audit(table, decision="decision", group="group"), "made.csv")
    assert "The data cannot tell" in text and "No cost is stated for any group" in text
    assert "Decisions along the posterior" not in text and "Outcome test" not in text


def test_more_than_two_groups_are_compared_in_rows() -> None:
    found = audit(noisy_groups(2, costs=(0.3,) * 3, shapes=((2, 8), (3, 5), (2, 8))), **KNOWN)
    text = page(found, "made.csv")
    assert "Decision rates, group against group" in text and "<thead><tr></tr>" not in text


def test_many_groups_are_told_and_few_are_drawn() -> None:
    shapes = ((2, 8), (3, 5)) * 5
    found = audit(noisy_groups(2, rows=6000, costs=(0.3,) * 10, shapes=shapes), **KNOWN)
    assert len(found.pairs) == 45
    assert "Further groups are not drawn." in page(found, "made.csv")


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = recorded(3)
    table["outcome"] = np.where(table["decision"] == 1, table["outcome"], np.nan)
    found = audit(table, decision="decision", group="group", outcome="outcome", features=["x0", "x1", "x2"])
    return write_audit(found, "made.csv", tmp_path_factory.mktemp("page") / "audit.html")


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(browser: Any, unseen: Path, viewport: dict[str, int], scheme: str) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened = Opened(context.new_page(), unseen)
    plots = [plot for plot in opened.page.evaluate(DRAWN) if plot["kind"] == "plot"]
    assert len(plots) == 3
    for plot in plots:
        assert plot["width"] > 250 and plot["height"] > 120 and plot["seen"] == plot["marks"] > 3
    assert opened.logged == [] and opened.requests == [unseen.as_uri()]
    assert opened.page.evaluate(OVERFLOW) == []
    worst = opened.page.evaluate(CONTRAST)
    assert worst[0][0] >= 4.5, worst[:5]
    context.close()


@pytest.mark.browser
def test_markup_in_names_does_not_run(browser: Any, tmp_path: Path) -> None:
    table = noisy_groups(4)
    table["group"] = np.where(table["group"] == "group a", BAD, "b")
    file = write_audit(audit(table, **KNOWN), BAD, tmp_path / "bad.html")
    context = browser.new_context()
    opened = Opened(context.new_page(), file)
    assert opened.logged == [] and BAD in opened.page.title()
    context.close()

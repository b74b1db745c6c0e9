"""The page on what could be known: its words, its graph, and how a browser shows it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from demonstrably.report.graphs import grid_places, spread_places
from demonstrably.report.identification import page, write_identification
from demonstrably.tabular import problems
from demonstrably.tabular.identification import Block, Condition, Identification, Remedy
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import Misspecification

from .test_report_browser import CONTRAST, DESK, DRAWN, OVERFLOW, PHONE, Opened

BAD = "<script>document.title='run'</script>"


def found(mdp: MDP, parts: int = 3, **changes: Any) -> Identification:
    """A result with that many blocks, which share the states among themselves."""
    shares = np.array_split(np.arange(mdp.states), parts)
    blocks = [Block("constant", 1, tuple(range(mdp.states)), tuple(range(mdp.pairs)), "the same for every pair")]
    for index, share in enumerate(shares):
        states = tuple(map(int, share))
        blocks.append(Block("component", len(states), states, (), f"part {index}: potential shaping"))
    values: dict[str, Any] = dict(
        dimension=mdp.states + 1,
        trajectory_dimension=4,
        verdict="none",
        basis=None,
        blocks=tuple(blocks),
        condition=Condition(0.1, 0.01, 200.0, "identifiable only formally"),
        remedies=(Remedy("discount", "a second person with discount 0.5", 1),),
        method="dense singular values",
        gap=1e8,
    )
    return Identification(**(values | changes))


def ring(states: int, **names: Any) -> MDP:
    """States in a circle, one action."""
    rows = np.arange(states)
    transitions = sparse.csr_array((np.ones(states), (rows, (rows + 1) % states)), shape=(states, states))
    return MDP([transitions], discount=0.9, **names)


def nodes(text: str) -> list[tuple[str, str]]:
    """Class and tip of every node drawn."""
    return re.findall(r'<circle class="node ([\w-]+)"[^>]*data-tip="([^"]*)"', text)


def test_states_are_drawn_on_their_grid_and_colored_by_block():
    mdp = problems.read("FrozenLake-v1").mdp
    text = page(found(mdp), [("lake", mdp)])
    drawn = nodes(text)
    assert len(drawn) == 16 and {style for style, _ in drawn} == {"block-1", "block-2", "block-3"}
    assert drawn[5] == ("block-1", "row 1 column 1 (hole)\npart 0: potential shaping")
    assert text.count('class="loop"') == np.count_nonzero((mdp.stay().T @ mdp.transitions).diagonal()) == 13
    assert 'marker-end="url(#arrow)"' in text
    for words in (
        "part 2: potential shaping",
        "a second person with discount 0.5",
        "identifiable only formally",
        "1e+08",
    ):
        assert words in text


def test_smaller_blocks_win_a_state_and_many_blocks_are_told():
    mdp = ring(30)
    whole = Block("shaping", 40, (), (), "everything")
    result = found(mdp, parts=15)
    text = page(found(mdp, blocks=(whole, *result.blocks)), [("ring", mdp)])
    styles = [style for style, _ in nodes(text)]
    assert styles[:2] == ["block-2", "block-2"] and styles[-1] == "block-1" and len(set(styles)) == 8
    assert "Smaller blocks have no color." in text


def test_the_verdicts_and_what_is_not_there():
    mdp = ring(3)
    settled = found(mdp, verdict="strong", dimension=1, blocks=(), remedies=(), condition=None, gap=np.inf)
    text = page(settled, [("ring", mdp)])
    for words in (
        "can be known up to a constant",
        "Nothing is left to settle but",
        "Not computed",
        "exact",
    ):
        assert words in text
    assert "can be known exactly" in page(found(mdp, verdict="strong", dimension=0), [("ring", mdp)])
    text = page(found(mdp, verdict="weak", remedies=()), [("ring", mdp)])
    assert "up to trajectory equivalence:" in text and "None was found." in text


def test_supposed_behavior_has_a_table_of_its_own():
    mdp = ring(3)
    assert "If people are not as assumed" not in page(found(mdp), [("ring", mdp)])
    case = Misspecification("Myopic(share=0.5)", 0.123, 1.5, 0.02, 0.3, 0.0, 0.0, 0.01, draws=5)
    text = page(found(mdp, misspecifications=(case,)), [("ring", mdp)])
    for words in ("If people are not as assumed", "Myopic(share=0.5)", "0.123", "30.00%", "over 5 random rewards"):
        assert words in text


def test_large_graphs_are_condensed_or_left_out():
    taxi = problems.read("Taxi-v4").mdp
    text = page(found(taxi), [("taxi", taxi)])
    assert len(nodes(text)) == 9 and "One dot for all states that lead to one another" in text
    large = ring(301)
    text = page(found(large), [("ring", large)])
    assert not nodes(text) and "The graph is not drawn: 301 states, in one part" in text


def test_too_many_lines_are_left_out():
    states = 60
    mdp = MDP(np.full((states, 1, states), 1 / states), discount=0.9)
    text = page(found(mdp), [("all", mdp)])
    assert 'class="edge"' not in text and "Its 3,540 lines are left out." in text


def test_several_problems_are_drawn_together():
    one = ring(4)
    other = one.replace(transitions=[sparse.csr_array(np.eye(4))])
    text = page(found(one), [("a", one), ("b", other)])
    assert text.count('class="loop"') == 4 and text.count('class="edge"') == 4
    assert "The problems" in text and "Could the reward be known? a, b" in text


def test_grids_are_known_by_their_names():
    assert grid_places(("row 0, column 0", "row 0 column 1 (goal)")).tolist() == [[0, 0], [1, 0]]
    assert grid_places(("row 0, column 0", "row 0, column 2", "end")).tolist() == [[0, 0], [2, 0], [1, 1]]
    assert grid_places(("row 0, column 0, full", "row 0, column 0, empty")) is None
    assert grid_places(("a", "b", "row 0, column 0")) is None


def test_the_layout_keeps_distances():
    edges = np.array([(i, i + 1) for i in range(9)])
    places = spread_places(edges, 10)
    apart = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert np.allclose(apart, 1, atol=0.05)  # a path is drawn as a straight line
    assert np.ptp(places[:, 0]) > 8.5
    assert np.array_equal(places, spread_places(edges, 10))
    two = spread_places(np.array([(0, 1), (2, 3)]), 4)  # in two parts
    assert np.isfinite(two).all() and np.linalg.norm(two[0] - two[2]) > np.linalg.norm(two[0] - two[1])
    assert spread_places(np.zeros((0, 2), int), 1).shape == (1, 2)
    assert np.isfinite(spread_places(np.zeros((0, 2), int), 3)).all()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mdp = problems.read("FrozenLake-v1").mdp
    return write_identification(found(mdp), [("FrozenLake-v1", mdp)], tmp_path_factory.mktemp("page") / "lake.html")


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(browser: Any, lake: Path, viewport: dict[str, int], scheme: str) -> None:
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    opened = Opened(context.new_page(), lake)
    plot = opened.page.evaluate(DRAWN)[0]
    assert (
        plot["kind"] == "plot" and plot["width"] > 250 and plot["height"] > 120 and plot["seen"] == plot["marks"] > 30
    )
    assert opened.logged == [] and opened.requests == [lake.as_uri()]
    assert opened.page.evaluate(OVERFLOW) == []
    worst = opened.page.evaluate(CONTRAST)
    assert worst[0][0] >= 4.5, worst[:5]
    opened.page.locator("circle.node").nth(5).hover()
    assert opened.page.locator("#tip").inner_text() == "row 1 column 1 (hole)\npart 0: potential shaping"
    fills = "[...document.querySelectorAll('circle.node')].map((one) => getComputedStyle(one).stroke)"
    assert len(set(opened.page.evaluate(fills))) == 3
    context.close()


@pytest.mark.browser
def test_markup_in_names_does_not_run(browser: Any, tmp_path: Path) -> None:
    mdp = ring(3, state_names=[f"{BAD}{state}" for state in range(3)])
    file = write_identification(found(mdp, method=BAD), [(BAD, mdp)], tmp_path / "bad.html")
    context = browser.new_context()
    opened = Opened(context.new_page(), file)
    assert opened.logged == [] and BAD in opened.page.title()
    context.close()

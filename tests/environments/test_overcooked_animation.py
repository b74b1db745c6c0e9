"""The animation of an episode: its frames by hand, its size, and the player in a real browser."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.environments.overcooked_animation import animate, animation_html, play
from demonstrably.environments.overcooked_rules import LAYOUTS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("overcooked") is None, reason="the package overcooked is not installed"
)
KEYS = {"N": 0, "S": 1, "E": 2, "W": 3, ".": 4, "!": 5}
# Seat 0 alone cooks and serves a soup in the cramped room.
ALONE = "N" + "W!EN!" * 3 + "SWS!" + "NEN" + "." * 12 + "!SES!" + "."


def cook(row: int, column: int, direction: str, thing: int = 0) -> int:
    return ((row * 9 + column) * 4 + "NESW".index(direction)) * 4 + thing


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return animate("cramped_room", [[KEYS[key], KEYS["."]] for key in ALONE], "Alone")


def test_an_episode_by_hand(alone: dict[str, Any]) -> None:
    assert alone["terrain"] == ["XXPXX", "O   O", "X   X", "XDXSX"]
    first = [cook(2, 1, "N"), cook(1, 1, "N"), cook(1, 1, "W"), cook(1, 1, "W", 1), cook(1, 2, "E", 1)]
    assert [seats[0] for seats in alone["cooks"][:5]] == first
    assert {seats[1] for seats in alone["cooks"]} == {cook(1, 3, "N")}
    pot, window = 2, 3 * 9 + 3
    cooking = [[step, pot, 39 - (step - 16)] for step in range(16, 36)]
    assert alone["changes"] == [[6, pot, 11], [11, pot, 12], *cooking, [36, pot, 0]]
    assert alone["served"] == [[len(ALONE) - 1, window]]
    assert len(alone["cooks"]) == len(ALONE) + 1
    assert json.loads(json.dumps(alone)) == alone


def test_things_on_counters_and_in_hands() -> None:
    """Seat 0 takes an onion and lays it on the counter above, seat 1 takes a dish."""
    seats = zip("NW!N!..", "SW" + "WS!..", strict=True)
    data = animate("cramped_room", [[KEYS[one], KEYS[two]] for one, two in seats])
    assert data["changes"] == [[5, 1, 1]] and data["title"] == "cramped_room"
    assert data["cooks"][4][0] % 4 == 1 and data["cooks"][5] == [cook(1, 1, "N"), cook(2, 1, "S", 2)]


def test_a_policy_can_be_watched() -> None:
    generator = np.random.default_rng(0)
    seen: list[tuple[int, ...]] = []

    def act(observation: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(observation["near"].shape)
        return generator.integers(0, 6, 2)

    data = play(act, "coordination_ring", horizon=30, title="Random")
    assert seen == [(2, 735)] * 30 and len(data["cooks"]) == 31 and data["title"] == "Random"


def test_a_long_busy_episode_stays_small() -> None:
    generator = np.random.default_rng(0)
    for layout in LAYOUTS:
        actions = generator.choice(6, (400, 2), p=[0.15, 0.15, 0.15, 0.15, 0.05, 0.35])
        assert len(json.dumps(animate(layout, actions))) < 30_000


def test_mistakes_are_told(alone: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no layout"):
        animate("kitchen", [[0, 0]])
    for actions in ([0, 0], [[0, 6]], [[-1, 0]], [[0.0, 0.0]], [[0, 0, 0]]):
        with pytest.raises(ValueError, match=r"give \(T, 2\) integers"):
            animate("cramped_room", np.array(actions))
    with pytest.raises(ValueError, match="kind 'chess'"):
        animation_html({**alone, "kind": "chess"})


def test_the_player_brings_all_it_needs_and_nothing_can_break_out(alone: dict[str, Any]) -> None:
    page = animation_html({**alone, "title": "</script><img src=x onerror=alert(1)>"})
    assert "<img" not in page and page.count("</script>") == 2
    assert set(re.findall(r"https?://[^\"']+", page)) == {"http://www.w3.org/2000/svg"}
    page = animation_html(alone)
    assert not re.search(r"\b(src|href)=|@import|url\(|fetch\(|XMLHttpRequest|localStorage", page)


@pytest.mark.browser
def test_players_play_in_a_browser(alone: dict[str, Any], tmp_path: Path, browser: Any) -> None:
    page_file = tmp_path / "page.html"
    players = animation_html(alone) + animation_html({**alone, "title": "<b>second</b> & last"})
    page_file.write_text(f"<!doctype html><meta charset=utf-8><title>t</title>{players}", encoding="utf-8")
    with browser.new_context(viewport={"width": 360, "height": 800}, color_scheme="dark") as context:
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(page_file.as_uri())
        first, second = page.locator("figure").all()
        assert second.locator("figcaption").inner_text() == "<b>second</b> & last"
        slider = first.get_by_role("slider", name="Step")
        slider.fill("16")
        assert "Pot at row 1, column 3: soup cooks for 19 more steps." in str(
            first.get_by_role("img").get_attribute("aria-label")
        )
        assert slider.get_attribute("aria-valuetext") == f"Step 16 of {len(ALONE)} · 0 soups served"
        first.get_by_role("combobox", name="Speed").select_option("8")
        first.get_by_role("button", name="Play").click()
        first.get_by_text(f"Step {len(ALONE)} of {len(ALONE)} · 1 soup served").wait_for()
        first.get_by_role("button", name="Play").wait_for()
        assert second.locator(".count").inner_text() == f"Step 0 of {len(ALONE)} · 0 soups served"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert first.locator("svg.kitchen").bounding_box()["height"] > 200
    assert complaints == []

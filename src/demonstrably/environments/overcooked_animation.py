"""An Overcooked episode as a small drawing that moves: a few kilobytes of JSON, and a player for it in one page.

The game is deterministic, so a layout and the joint actions are all of an episode. The player is an SVG
drawn by a short script, without network, images, fonts or OpenGL; any number of players fit on a page.
"""

import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demonstrably.environments.overcooked import HORIZON, Overcooked
from demonstrably.environments.overcooked_rules import ACTIONS, WIDTH, kitchen

KIND = "overcooked"
_PLAYER = Path(__file__).with_name("overcooked_player.html")
_CLOCKWISE = {(0, -1): 0, (1, 0): 1, (0, 1): 2, (-1, 0): 3}
_NOTHING, _ONION, _DISH, _SOUP = range(4)
_THINGS = {"onion": _ONION, "dish": _DISH, "soup": _SOUP}
# What lies on a square: one of the things above, onions waiting in a pot, or a soup in its pot by steps left.
_POT_ONIONS, _POT_LEFT = 10, 20


def animate(layout: str, actions: np.ndarray | Sequence[Sequence[int]], title: str = "") -> dict[str, Any]:
    """The episode that joint actions (T, 2) lead to on a layout, as plain JSON of T + 1 frames.

    `cooks` holds one number a frame and seat, ((row * 9 + column) * 4 + direction) * 4 + thing held,
    directions clockwise from north. `changes` holds [frame, square, what] where what lies on a square
    changes, `served` [frame, square] for each soup.

    Raises:
        ValueError: an unknown layout, actions of another shape, or an action that is not 0 to 5.
    """
    place = kitchen(layout)
    state = place.start()
    cooks = [_cooks(state)]
    changes: list[list[int]] = []
    served: list[list[int]] = []
    lying: dict[int, int] = {}
    for frame, pair in enumerate(_joint(actions), start=1):
        state, _ = place.step(state, pair)
        cooks.append(_cooks(state))
        before, lying = lying, _lying(state, place.terrain)
        changed = [square for square in sorted(before | lying) if before.get(square) != lying.get(square)]
        changes += [[frame, square, lying.get(square, _NOTHING)] for square in changed]
        served += [[frame, square] for square in _served(cooks[-2], cooks[-1], place.terrain)]
    return {
        "kind": KIND,
        "title": title or layout,
        "layout": layout,
        "terrain": list(place.terrain),
        "cooks": cooks,
        "changes": changes,
        "served": served,
    }


def play(
    act: Callable[[dict[str, np.ndarray]], Any], layout: str, horizon: int = HORIZON, title: str = ""
) -> dict[str, Any]:
    """The animation of an episode that `act` plays: from both seats' observations (2, ...) to two actions.

    Raises:
        ValueError: an unknown layout, or `act` returns anything but two actions of 0 to 5.
    """
    environment = Overcooked([layout], horizon)
    observation, _ = environment.reset(seed=0)
    actions: list[list[int]] = []
    over = False
    while not over:
        actions.append([int(action) for action in act(observation)])
        observation, _, _, over, _ = environment.step(actions[-1])
    return animate(layout, actions, title)


def animation_html(data: Mapping[str, Any]) -> str:
    """A player for an animation: one `<figure>` with all that it needs, to put anywhere in a page.

    Raises:
        ValueError: the data is no animation of this kind.
    """
    if data.get("kind") != KIND:
        raise ValueError(f"an animation of kind {data.get('kind')!r}; give one made by animate or play")
    # In a script element only "<" could end the data.
    written = json.dumps(dict(data), separators=(",", ":")).replace("<", "\\u003c")
    page = _PLAYER.read_text(encoding="utf-8")
    return page.replace("{{ title }}", html.escape(str(data["title"]))).replace("{{ data }}", written)


def _joint(actions: np.ndarray | Sequence[Sequence[int]]) -> list[list[int]]:
    joint = np.asarray(actions)
    fits = joint.ndim == 2 and joint.shape[1] == 2 and joint.dtype.kind in "iu"
    if not fits or joint.min(initial=0) < 0 or joint.max(initial=0) >= len(ACTIONS):
        raise ValueError(f"actions of shape {joint.shape}, {joint.dtype}; give (T, 2) integers, each 0 to 5")
    return joint.tolist()


def _cooks(state: Any) -> list[int]:
    """Both cooks of a frame as numbers."""
    numbers = []
    for player in state.players:
        thing = _THINGS[player.held_object.name] if player.held_object is not None else _NOTHING
        numbers.append((_square(player.position) * 4 + _CLOCKWISE[player.orientation]) * 4 + thing)
    return numbers


def _lying(state: Any, terrain: Sequence[str]) -> dict[int, int]:
    """What lies on each square."""
    found = {}
    for (column, row), thing in state.objects.items():
        what = _THINGS[thing.name]
        if terrain[row][column] == "P":
            waiting = _POT_ONIONS + len(thing.ingredients)
            what = waiting if thing.is_idle else _POT_LEFT + thing.cook_time_remaining
        found[_square((column, row))] = what
    return found


def _served(before: Sequence[int], after: Sequence[int], terrain: Sequence[str]) -> list[int]:
    """The serving squares that took a soup between two frames."""
    squares = []
    for old, new in zip(before, after, strict=True):
        square, direction = divmod(old // 4, 4)
        row, column = divmod(square, WIDTH)
        across, down = list(_CLOCKWISE)[direction]
        if old % 4 == _SOUP and new % 4 == _NOTHING and terrain[row + down][column + across] == "S":
            squares.append(_square((column + across, row + down)))
    return squares


def _square(position: tuple[int, int]) -> int:
    return position[1] * WIDTH + position[0]

"""Shehab et al. 2024 (PMLR 242:1266), the 5 x 5 grid: what stays open of the reward against horizon and start.

    python reproductions/identifiability_grids.py

Four moves succeed with probability 0.9 and else go to one of the four sides or stay; discount 0.9; horizons 3 to 19;
starts 0, 4, 7, 12, 15, 20, 24. The published findings: the open grid is strongly identifiable for a long horizon,
without self-transitions it is not, and neither is it with a strip or a wall. Strip and wall are our own: the strip's
cells 1 to 4 lead one cell back whatever the action, and are not entered from elsewhere; the wall's cells 6 to 9 cannot
be entered. The curves are drawn in results/identifiability_grids.svg.
"""

from pathlib import Path
from typing import Any

import numpy as np
from common import main
from plots import Panel, Series, keep

from demonstrably.report.figures import Axis, Scale
from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP

SIZE, SUCCESS, DISCOUNT = 5, 0.9, 0.9
HORIZONS, STARTS, HORIZON = range(3, 20), (0, 4, 7, 12, 15, 20, 24), 15
STRIP, WALL = (1, 2, 3, 4), (6, 7, 8, 9)


def neighbors(state: int) -> list[int | None]:
    """Cells up, down, left and right; None outside the grid."""
    row, column = divmod(state, SIZE)
    places = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [r * SIZE + c if 0 <= r < SIZE and 0 <= c < SIZE else None for r, c in places]


def grid(*, stays: bool = True, strip: bool = False, wall: bool = False) -> np.ndarray:
    """(S, 4, S); a blocked move stays, or where nothing `stays` goes to an open side."""
    states = SIZE * SIZE
    found = np.zeros((states, 4, states))
    for state in range(states):
        shut = set(WALL if wall else ()) | set(STRIP if strip else ())
        sides = [None if side in shut else side for side in neighbors(state)]
        ways = [side for side in sides if side is not None]
        chances = [state, *(state if side is None else side for side in sides)] if stays else ways
        for action, side in enumerate(sides):
            blocked = state if stays else ways[action % len(ways)]
            found[state, action, blocked if side is None else side] += SUCCESS
            for chance in chances:
                found[state, action, chance] += (1 - SUCCESS) / len(chances)
    for state in STRIP if strip else ():
        found[state] = np.eye(states)[state - 1]
    return found


def dimensions(transitions: np.ndarray, start: int) -> list[int]:
    """What stays open at each horizon."""
    mdp = MDP(transitions, horizon=1, discount=DISCOUNT, initial=start)
    return [identify(mdp.replace(horizon=horizon), remedies=False).dimension for horizon in HORIZONS]


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Curves of each grid, and what the paper states about them."""
    grids = {"open": grid(), "bipartite": grid(stays=False), "strip": grid(strip=True), "wall": grid(wall=True)}
    curves: dict[str, dict[str, list[int]]] = {
        name: {str(start): dimensions(transitions, start) for start in STARTS if not (name == "wall" and start in WALL)}
        for name, transitions in grids.items()
    }
    draw(curves)
    at = HORIZONS.index(HORIZON)
    found: dict[str, Any] = {"horizons": list(HORIZONS), "curves": curves}
    for name, curve in curves.items():
        found[name] = {"most": max(values[at] for values in curve.values())}
        found[name]["least"] = min(values[at] for values in curve.values())
    found["corner"] = {f"horizon_{h}": curves["open"]["0"][HORIZONS.index(h)] for h in (3, 5, 7, 8, 9)}
    found["center"] = {f"horizon_{h}": curves["open"]["12"][HORIZONS.index(h)] for h in (3, 5)}
    return found


def draw(curves: dict[str, dict[str, list[int]]]) -> None:
    """A panel a grid: open directions against the horizon, a line a start."""
    x = Axis("horizon", Scale(HORIZONS[0], HORIZONS[-1]), tuple((h, str(h)) for h in HORIZONS[::4]))
    y = Axis("open directions", Scale(0.9, 120, logarithmic=True))
    panels = [
        Panel(name, x, y, [Series(HORIZONS, values, faint=True) for values in curve.values()])
        for name, curve in curves.items()
    ]
    keep("identifiability_grids", panels, 2)


if __name__ == "__main__":
    main("identifiability_grids", reproduce)

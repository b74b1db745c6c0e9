"""Kim et al. 2021 (PMLR 139:5496): cycles are not identifiable, and one self-loop makes them so, given time.

    python reproductions/identifiability_cycles.py

A cycle of k classes of two states, in which every state leads to both states of the next class: not identifiable for
any horizon. The same with one state that may also stay: strongly connected and aperiodic, so identifiable from twice
the covering time on. Kim et al.'s two tests are compared with the exact dimension on random deterministic problems. The
dimensions are drawn in results/identifiability_cycles.svg.
"""

from pathlib import Path
from typing import Any

import numpy as np
from common import main
from plots import COLORS, Panel, Series, keep

from demonstrably.report.figures import Axis, Scale
from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import aperiodicity_test, coverage_test, covering_time, strongly_connected

CLASSES, PROBLEMS = (2, 3, 4), 300
HORIZONS = range(1, 25)


def cycle(classes: int, *, loop: bool) -> np.ndarray:
    """(S, 3, S): to the first or second state of the next class; the third action stays in state 0 if `loop`."""
    states = 2 * classes
    ahead = 2 * (np.arange(states) // 2 + 1) % states
    table = np.stack([ahead, ahead + 1, ahead], axis=1)
    if loop:
        table[0, 2] = 0
    return np.eye(states)[table]


def row(classes: int, *, loop: bool) -> dict[str, Any]:
    """Dimensions against the horizon, the covering time, and the least horizon that leaves only the constant."""
    mdp = MDP(cycle(classes, loop=loop), horizon=1, initial=0)
    dimensions = [identify(mdp.replace(horizon=horizon), remedies=False).dimension for horizon in HORIZONS]
    time = covering_time(mdp)
    least = next((horizon for horizon, value in enumerate(dimensions, 1) if value == 1), None)
    return {"dimensions": dimensions, "lowest": min(dimensions), "covering_time": time, "least_horizon": least}


def agreement() -> dict[str, int]:
    """Random deterministic problems on which the tests are valid, and on which they contradict the exact answer."""
    valid = wrong = 0
    for seed in range(PROBLEMS):
        generator = np.random.default_rng(seed)
        states = int(generator.integers(2, 6))
        transitions = np.eye(states)[generator.integers(states, size=(states, 2))]
        mdp = MDP(transitions, horizon=1, initial=0)
        time = covering_time(mdp)
        mdp = mdp.replace(horizon=max(1, 2 * (states if time is None else time)))
        exact = identify(mdp, remedies=False).verdict == "strong"
        wrong += coverage_test(mdp) and not exact
        if strongly_connected(mdp):
            valid += 1
            wrong += aperiodicity_test(mdp) != exact
    return {"valid": valid, "wrong": int(wrong)}


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """Both kinds of cycles, and the tests against the exact answer."""
    found: dict[str, Any] = {"tests": agreement()}
    for classes in CLASSES:
        plain, looped = row(classes, loop=False), row(classes, loop=True)
        found[f"cycle_{classes}"] = plain
        found[f"loop_{classes}"] = {**looped, "margin": 2 * looped["covering_time"] - looped["least_horizon"]}
    draw(found)
    return found


def draw(found: dict[str, Any]) -> None:
    """A panel a number of classes: open directions against the horizon, with and without the self-loop."""
    x = Axis("horizon", Scale(1, HORIZONS[-1]), tuple((h, str(h)) for h in (1, 6, 12, 18, 24)))
    y = Axis("open directions", Scale(0.8, 30, logarithmic=True))
    panels = []
    for classes in CLASSES:
        plain, looped = (found[f"{kind}_{classes}"] for kind in ("cycle", "loop"))
        twice = 2 * looped["covering_time"]
        series = [
            Series([twice, twice], [0.8, 30], color="#888", dashed=True),
            Series(HORIZONS, plain["dimensions"], "cycle"),
            Series(HORIZONS, looped["dimensions"], "self-loop", COLORS[1]),
        ]
        panels.append(Panel(f"{classes} classes (dashed: twice the covering time)", x, y, series, names=50))
    keep("identifiability_cycles", panels, len(panels))


if __name__ == "__main__":
    main("identifiability_cycles", reproduce)

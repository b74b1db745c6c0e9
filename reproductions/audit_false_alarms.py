"""Equal thresholds, different risks: who raises a false alarm, and from how many decisions a real difference is seen.

    python reproductions/audit_false_alarms.py

Two groups of equal size with risks Beta(2, 8) and Beta(3, 5), and decisions at a cost of 0.3: exact, or noisy (P(1) is
logistic in the risk's log-odds, slope 3), or noisy by 40 people with thresholds of their own. False alarms are over
2,000 data sets of 4,000 decisions each, at a level of 0.05: the test of equal costs, the benchmark test, the outcome
test (Simoiu, Corbett-Davies and Goel 2017, arXiv 1607.05376: both mislead), and how often the interval of a cost holds
it. Power is over 400 data sets a size, with group b's cost moved to 0.35 for noisy decisions, to 0.31 for exact ones.
Beside the latter stands what no test can exceed: two costs give the same decisions unless a case lies between them, so
power is at most the level plus the chance that one does. The power is drawn in results/audit_false_alarms.svg.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).parent))
from common import main, say
from plots import COLORS, Panel, Series, keep

from demonstrably.decisions.crossing import equality_test, group_costs
from demonstrably.decisions.posterior import Posterior
from demonstrably.decisions.rates import benchmark_test, outcome_test
from demonstrably.report.figures import Axis, Scale

SHAPES, COST, LEVEL = ((2, 8), (3, 5)), 0.3, 0.95
MOVED = {"exact": 0.31, "noisy": 0.35}
ALARMS, ROWS, POWERS, SIZES = 2000, 4000, 400, (125, 250, 500, 1000, 2000, 4000)
KINDS: dict[str, dict[str, Any]] = {"exact": {}, "noisy": {"slope": 3.0}, "people": {"slope": 3.0, "people": 40}}


def decided(
    seed: int, rows: int, costs: tuple[float, float], slope: float | None = None, people: int = 0
) -> dict[str, Any]:
    """One data set: decisions, outcomes, risks, groups, and clusters."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 2, rows)
    risk = draw.beta(*np.array(SHAPES, float)[group].T)
    threshold = np.log(np.array(costs) / (1 - np.array(costs)))[group]
    person = draw.integers(0, max(1, people), rows)
    if people:
        threshold = threshold + draw.normal(0, 0.5, people)[person]
    away = np.log(risk / (1 - risk)) - threshold
    decision = away >= 0 if slope is None else draw.random(rows) < 1 / (1 + np.exp(-slope * away))
    return {
        "decisions": decision.astype(float),
        "outcomes": (draw.random(rows) < risk).astype(float),
        "risk": risk,
        "group": group,
        "clusters": (person,) if people else (),
    }


def tested(data: dict[str, Any]) -> tuple[float, np.ndarray]:
    """p-value of equal costs, and the intervals (2, 2) of both."""
    costs = group_costs(data["decisions"], Posterior.given(data["risk"]), data["group"], data["clusters"])
    return equality_test(costs), costs.intervals(LEVEL)


def alarms(kind: str) -> dict[str, float]:
    """Shares of data sets with equal costs in which each test claims a difference, and coverage of the costs."""
    found: dict[str, list[float]] = {"cost": [], "benchmark": [], "outcome": [], "covered": []}
    for seed in range(ALARMS):
        data = decided(seed, ROWS, (COST, COST), **KINDS[kind])
        p_value, intervals = tested(data)
        named = data["decisions"], data["group"], data["clusters"]
        older = benchmark_test(*named), outcome_test(named[0], data["outcomes"], *named[1:])
        found["cost"].append(p_value < 1 - LEVEL)
        found["benchmark"].append(older[0].pairs[0].p_value < 1 - LEVEL)
        found["outcome"].append(older[1].pairs[0].p_value < 1 - LEVEL)
        found["covered"].append(float(((intervals[:, 0] <= COST) & (COST <= intervals[:, 1])).mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def bound(rows: int) -> float:
    """What the power of no test can exceed with exact decisions, the smaller of both groups' chances."""
    masses = [beta.cdf(MOVED["exact"], *shape) - beta.cdf(COST, *shape) for shape in SHAPES]
    return min(1.0, 1 - LEVEL + min(1 - (1 - mass / 2) ** rows for mass in masses))


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """All figures; nothing is read or kept."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        found[kind] = alarms(kind)
        say(f"{kind}: {found[kind]}")
    for kind, moved in MOVED.items():
        powers = []
        for rows in SIZES:
            sets = (decided(10_000 + seed, rows, (COST, moved), **KINDS[kind]) for seed in range(POWERS))
            powers.append(float(np.mean([tested(one)[0] < 1 - LEVEL for one in sets])))
            say(f"{kind}, {rows} decisions: power {powers[-1]:.3f}")
        found[f"power_{kind}"] = dict(zip(map(str, SIZES), powers, strict=True))
    found["bound"] = {str(rows): bound(rows) for rows in SIZES}
    sizes = np.array(SIZES, float)
    exact = [
        Series(sizes, list(found["power_exact"].values()), "audit", COLORS[0]),
        Series(sizes, list(found["bound"].values()), "no test beyond", COLORS[2], dashed=True),
    ]
    noisy = [Series(sizes, list(found["power_noisy"].values()), "audit", COLORS[0])]
    axes = Axis("decisions", Scale(100, 5000, logarithmic=True)), Axis("power", Scale(0, 1.02))
    titles = (f"Exact, costs {COST} and {MOVED['exact']}", f"Noisy, costs {COST} and {MOVED['noisy']}")
    panels = [Panel(title, *axes, lines, names=90) for title, lines in zip(titles, (exact, noisy), strict=True)]
    keep("audit_false_alarms", panels, 2)
    return found


if __name__ == "__main__":
    main("audit_false_alarms", reproduce)

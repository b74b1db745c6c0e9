"""Laidlaw and Russell 2021: how fast decisions reveal a loss, for how uncertain a decision maker, in the three cases.

    python reproductions/decision_rates.py

arXiv 2106.10394. The paper states rates and has no benchmark tables; this measures the rates.

- "known": an optimal decision maker whose posterior q is known. The error of the middle of the consistent interval
  falls as 1 / m, and is 1 / (2 p m), p being the density of q at the cost. The 95 % quantile of the largest error of
  any consistent cost lies between the paper's bound, log(2 / delta) / (p m), and the lower bound.
- "certainty": the same number of decisions, q ~ Beta(a, a), from nearly certain cases to doubtful ones.
- "score": a threshold on a score, of which P(Y = 1 | score) is learned from one outcome a decision. Isotonic regression
  assumes nothing but that it rises, and its error falls as n^(-1/3); the decisions themselves would give 1 / m.
- "classes": two features, the decision maker uses the first alone, which is not known. Once the other classes are
  dropped, the error falls as 1 / m.

The curves are drawn in results/decision_rates.svg.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta

sys.path.insert(0, str(Path(__file__).parent))
from common import main, say
from plots import COLORS, Panel, Series, keep

from demonstrably.decisions.consistent import lower_bound_decisions, precision
from demonstrably.decisions.fit import fit_loss
from demonstrably.decisions.isotonic import fit_isotonic, isotonic_interval
from demonstrably.report.figures import Axis, Scale

COST, DELTA, SETS = 0.375, 0.05, 2000
DENSITIES = {"uniform": (1.0, 1.0), "doubtful": (8.0, 8.0), "certain": (0.2, 0.2)}  # Beta(a, b) of the posterior
DECISIONS = (100, 300, 1000, 3000, 10_000)
OUTCOMES = (250, 1000, 4000, 16_000, 64_000)
SPREADS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


def ends(shape: tuple[float, float], cost: float, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Consistent intervals (L, U], (SETS,) each, by their places in the distribution of q, of which only two matter."""
    generator, distribution = np.random.default_rng([seed, number]), beta(*shape)
    place = distribution.cdf(cost)
    found = []
    for _ in range(SETS):
        u = generator.random(number)
        found.append((u[u < place].max(initial=0.0), u[u >= place].min(initial=1.0)))
    low, high = np.array(found).T
    return distribution.ppf(low), distribution.ppf(high)


def slope(numbers: tuple[int, ...], errors: list[float]) -> float:
    """Of the error on the number, in logarithms."""
    return float(np.polyfit(np.log(numbers), np.log(errors), 1)[0])


def known(shape: tuple[float, float]) -> dict[str, Any]:
    """Errors of the middle and of the worst consistent cost, against the bounds."""
    density, middle, worst = float(beta(*shape).pdf(COST)), [], []
    for number in DECISIONS:
        low, high = ends(shape, COST, number, 0)
        middle.append(float(np.abs((low + high) / 2 - COST).mean()))
        worst.append(float(np.quantile(np.maximum(COST - low, high - COST), 1 - DELTA)))
    upper = [precision(number, DELTA, density) for number in DECISIONS]
    return {
        "density": density,
        "error": middle,
        "worst": worst,
        "upper": upper,
        "lower": [least_error(number, density) for number in DECISIONS],
        "slope": slope(DECISIONS, middle),
        "slope_of_worst": slope(DECISIONS, worst),
        "last_over_formula": middle[-1] * 2 * density * DECISIONS[-1],
        "last_worst_over_bound": worst[-1] / upper[-1],
    }


def least_error(number: int, density: float) -> float:
    """The error below which so few decisions are too few for any method: the lower bound, solved for it."""
    low, high = 1e-9, 0.5
    for _ in range(100):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if lower_bound_decisions(middle, DELTA, density) > number else (low, middle)
    return low


def certainty(number: int = 1000) -> dict[str, Any]:
    """Errors at cost 1/2 for posteriors Beta(a, a), over 1 / (2 p m)."""
    densities = [float(beta(a, a).pdf(0.5)) for a in SPREADS]
    errors = []
    for index, a in enumerate(SPREADS):
        low, high = ends((a, a), 0.5, number, 10 + index)
        errors.append(float(np.abs((low + high) / 2 - 0.5).mean()))
    over = np.array(errors) * 2 * number * np.array(densities)
    return {"density": densities, "error": errors, "least_over": float(over.min()), "most_over": float(over.max())}


def score(sets: int = 400) -> dict[str, Any]:
    """Errors of the isotonic probability at the threshold, and widths and coverage of its interval."""
    at, errors, widths, covered = float(logit(COST)), [], [], []
    for number in OUTCOMES:
        generator, found = np.random.default_rng([2, number]), []
        for _ in range(sets):
            scores = generator.normal(size=number)
            outcomes = (generator.random(number) < expit(scores)).astype(float)
            low, high = isotonic_interval(scores, outcomes, at)
            found.append((abs(fit_isotonic(scores, outcomes).at([at])[0] - COST), high - low, low <= COST <= high))
        error, width, inside = np.mean(found, axis=0)
        errors.append(float(error))
        widths.append(float(width))
        covered.append(float(inside))
        say(f"score: {number} outcomes, error {error:.4f}")
    return {
        "error": errors,
        "width": widths,
        "covered": float(np.mean(covered)),
        "slope": slope(OUTCOMES, errors),
        "slope_of_width": slope(OUTCOMES, widths),
    }


def classes(sets: int = 300) -> dict[str, Any]:
    """Errors where the class is not known, and how often a wrong class is kept, by the number of decisions."""
    numbers, errors, kept = (30, 100, 300, 1000, 3000), [], []
    for number in numbers:
        generator, found = np.random.default_rng([3, number]), []
        for _ in range(sets):
            x = generator.normal(size=(number, 2)) + generator.choice([-1, 1], number)[:, None]
            induced = [expit(2 * x[:, 0]), expit(2 * x[:, 1]), expit(2 * x.sum(axis=1))]
            fit = fit_loss(induced[0] >= COST, classes=induced)
            point = fit.point if fit.point is not None else sum(fit.interval) / 2
            found.append((abs(point - COST), sum(one.kept for one in fit.classes) > 1))
        error, more = np.mean(found, axis=0)
        errors.append(float(error))
        kept.append(float(more))
    return {"decisions": list(numbers), "error": errors, "wrong_kept": kept, "slope": slope(numbers[1:], errors[1:])}


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """All figures; nothing is read or kept."""
    found: dict[str, Any] = {"known": {name: known(shape) for name, shape in DENSITIES.items()}}
    say("known posteriors: done")
    found |= {"certainty": certainty(), "score": score(), "classes": classes()}
    draw(found)
    return found


def draw(found: dict[str, Any]) -> None:
    """Errors against the number of decisions for the three cases, and against the density of the posterior."""
    error = Axis("error of the cost", Scale(1e-5, 1.0, True))
    number = Axis("decisions", Scale(80, 13_000, True))
    first, second = [], []
    for color, (name, one) in zip(COLORS, found["known"].items(), strict=True):
        first.append(Series(DECISIONS, one["error"], name, color))
        first.append(Series(DECISIONS, 0.5 / (one["density"] * np.array(DECISIONS)), color=color, dashed=True))
    one = found["known"]["uniform"]
    second.append(Series(DECISIONS, one["worst"], "measured", COLORS[0]))
    second.append(Series(DECISIONS, one["upper"], "enough", COLORS[1], dashed=True))
    second.append(Series(DECISIONS, one["lower"], "too few", COLORS[2], dashed=True))
    sweep = found["certainty"]
    densities = np.array(sweep["density"])
    third = [
        Series(densities, sweep["error"], joined=False),
        Series(densities, 0.5 / (1000 * densities), "1/(2pm)", "#888", dashed=True),
    ]
    fourth = [
        Series(OUTCOMES, found["score"]["error"], "score", COLORS[0]),
        Series(found["classes"]["decisions"], found["classes"]["error"], "classes", COLORS[1]),
    ]
    density, near = Axis("density of the posterior at the cost", Scale(0.15, 6, True)), Scale(5e-5, 0.01, True)
    panels = [
        Panel("known posterior: mean error", number, error, first, 60),
        Panel("uniform posterior: 95 % of errors below", number, error, second, 60),
        Panel("1,000 decisions, certain to doubtful cases", density, Axis(error.label, near), third, 60),
        Panel("unknown posterior: mean error", Axis("decisions", Scale(25, 80_000, True)), error, fourth, 60),
    ]
    keep("decision_rates", panels, 2)


if __name__ == "__main__":
    main("decision_rates", reproduce)

"""How much do fewer rollouts buy? Selection and the paired test on simulated policies with known success rates.

    python reproductions/selection_simulation.py            # compare with the expected figures, exit 1 outside
    python reproductions/selection_simulation.py --write    # measure and write them

Twelve checkpoints of a training run: success rates on a saturating curve with a jitter of 7 points. A rollout
succeeds with its checkpoint's rate; with correlation c a share c of the (latent normal) variance of the outcome
comes from the seed, that is from the initial state. All methods get the same number of rollouts in all;
`select` spends a fifth of it on the winner's fresh seeds. Regret is the distance to the truly best checkpoint.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from demonstrably.evaluation.allocation import Allocation, sequential_halving, top_two_thompson
from demonstrably.evaluation.select import PlayFunction, select
from demonstrably.evaluation.sequential import sign_test

HERE = Path(__file__).parent
EXPECTED, RESULT = (HERE / kind / "selection_simulation.json" for kind in ("expected", "results"))
ARMS, BUDGETS, CORRELATIONS = 12, (120, 240, 600), (0.0, 0.5)
LABELS = tuple(f"checkpoint {index}" for index in range(ARMS))


def rates(generator: np.random.Generator) -> np.ndarray:
    """True success rates, (ARMS,), in the order of training."""
    curve = 0.75 * (1.0 - np.exp(-np.arange(1, ARMS + 1) / 3.0))
    return np.clip(curve + 0.07 * generator.standard_normal(ARMS), 0.02, 0.98)


def game(true: np.ndarray, correlation: float, generator: np.random.Generator) -> PlayFunction:
    """Rollouts of policies with these rates; the luck of a seed is the same for all arms of a call."""
    limits = ndtri(true)

    def play(arms: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
        shared = generator.standard_normal(len(seeds))
        own = generator.standard_normal((len(arms), len(seeds)))
        luck = np.sqrt(correlation) * shared + np.sqrt(1.0 - correlation) * own
        return (luck < limits[list(arms)][:, None]).astype(np.float64)

    return play


def uniform(true: np.ndarray, budget: int, correlation: float, generator: np.random.Generator) -> dict[str, float]:
    """The habit: the same seeds for all, the highest mean (of equal ones, any) wins and is quoted."""
    means = game(true, correlation, generator)(range(ARMS), range(budget // ARMS)).mean(axis=1)
    winner = int(generator.choice(np.flatnonzero(means == means.max())))
    return {"regret": true.max() - true[winner], "overreport": means[winner] - true[winner]}


def selected(
    true: np.ndarray, budget: int, correlation: float, allocation: Allocation, generator: np.random.Generator
) -> dict[str, float]:
    """One call of `select` and how it did."""
    found = select(game(true, correlation, generator), LABELS, budget, allocation=allocation)
    naive = found.arms[found.naive].mean
    return {
        "regret": true.max() - true[found.winner],
        "overreport": (0.0 if naive is None else naive) - true[found.naive],
        "confirm_bias": found.confirmed.mean - true[found.winner],
        "covered": float(found.confirmed.low <= true[found.winner] <= found.confirmed.high),
        "best_dropped": float(int(true.argmax()) not in found.confidence_set),
    }


def table(problems: int) -> dict[str, dict[str, float]]:
    """Means over problems by "correlation/budget/method/figure", rates in points of success."""
    rows: dict[str, dict[str, float]] = {}
    for correlation in CORRELATIONS:
        for budget in BUDGETS:
            seen: dict[str, list[dict[str, float]]] = {}
            for index in range(problems):
                true = rates(np.random.default_rng([0, index]))
                streams = [np.random.default_rng([1, index, budget, method]) for method in range(3)]
                for name, result in (
                    ("last", {"regret": true.max() - true[-1]}),
                    ("uniform", uniform(true, budget, correlation, streams[0])),
                    ("halving", selected(true, budget, correlation, sequential_halving, streams[1])),
                    ("thompson", selected(true, budget, correlation, top_two_thompson, streams[2])),
                ):
                    seen.setdefault(name, []).append(result)
            for name, results in seen.items():
                rows[f"{correlation}/{budget}/{name}"] = {
                    figure: round(100.0 * float(np.mean([result[figure] for result in results])), 2)
                    for figure in results[0]
                }
    return rows


def paired_test(problems: int) -> dict[str, dict[str, float]]:
    """The two-sided paired test at 0.05, looked at after each of at most 200 seeds."""
    rows = {}
    for first, second in ((0.5, 0.5), (0.7, 0.7), (0.9, 0.9), (0.5, 0.7), (0.7, 0.9), (0.5, 0.6)):
        for correlation in (0.0, 0.5, 0.8):
            generator = np.random.default_rng([2, int(100 * first), int(100 * second), int(10 * correlation)])
            shared = generator.standard_normal((1, problems, 200))
            luck = np.sqrt(correlation) * shared
            luck = luck + np.sqrt(1.0 - correlation) * generator.standard_normal((2, problems, 200))
            a, b = luck < ndtri(np.array([first, second]))[:, None, None]
            wins, losses = (b & ~a).cumsum(axis=1), (a & ~b).cumsum(axis=1)
            reached = np.maximum(sign_test(wins, losses), sign_test(losses, wins)) >= np.log(2.0 / 0.05)
            at = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, 200)
            rows[f"{first}/{second}/{correlation}"] = {
                "rejected": round(100.0 * float(reached.any(axis=1).mean()), 2),
                "pairs": round(float(at.mean()), 1),
            }
    return rows


def measure(problems: int) -> dict[str, object]:
    """All figures."""
    return {"problems": problems, "select": table(problems), "paired_test": paired_test(4 * problems)}


def differences(measured: dict, expected: dict, tolerance: float) -> list[str]:
    """Figures that lie further than the tolerance from the expected ones."""
    return [
        f"{part} {row} {figure}: {value}, expected {expected[part][row][figure]}"
        for part in ("select", "paired_test")
        for row, figures in measured[part].items()
        for figure, value in figures.items()
        if abs(value - expected[part][row][figure]) > tolerance * (5.0 if figure in ("covered", "pairs") else 1.0)
    ]


def main() -> int:
    """Measure; write, or compare with what was written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problems", type=int, default=600)
    parser.add_argument("--tolerance", type=float, default=1.0, help="points of success")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    measured = measure(options.problems)
    text = json.dumps(measured, indent=1) + "\n"
    for path in (RESULT, *((EXPECTED,) if options.write else ())):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    print(text)
    outside = differences(measured, json.loads(EXPECTED.read_text()), options.tolerance)
    print("\n".join(outside) or "all figures are within the tolerance", file=sys.stderr)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())

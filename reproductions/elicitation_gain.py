"""What choosing the questions gains: decisions needed against precision, for elicitation and for waiting.

    python reproductions/elicitation_gain.py

Laidlaw and Russell 2021 (arXiv 2106.10394): from decisions as they come, of an optimal person whose posteriors are
uniform, the loss is known to +-e with probability 1 - delta after about log(2 / delta) / e decisions; the exact number
m solves 2 (1 - e)^m - (1 - 2 e)^m = delta. Robertson, Zhang and Koyejo 2023 (PMLR 206:5854) show that choosing the
cases gains exponentially. Here cases are chosen by `elicit`, of people who never err, and who err with a chance of 0.1
and 0.25. Thresholds are uniform; questions are means over 400 people for each precision, `held` is the smallest share
of intervals that hold the threshold. `slope` is the number of questions for each halving of the precision, `rate` the
slope times the capacity of the noise: 1 where no scheme could do better in the long run. The slope of waiting is that
of log decisions in log precision. The figures are drawn in results/elicitation_gain.svg.
"""

from pathlib import Path
from typing import Any

import numpy as np
from common import main, say
from plots import COLORS, Panel, Series, keep
from scipy.optimize import brentq

from demonstrably.decisions.elicit import elicit
from demonstrably.report.figures import Axis, Scale

WRONG = (0.0, 0.1, 0.25)
PRECISIONS = tuple(0.5**k for k in range(4, 15, 2))
PEOPLE, CONFIDENCE = 400, 0.95


def elicited(wrong: float, precision: float) -> dict[str, float]:
    """Mean number of questions, and the share of intervals that hold the threshold."""
    generator = np.random.default_rng([int(100 * wrong), int(1 / precision)])
    questions, held = np.zeros(PEOPLE), np.zeros(PEOPLE, bool)
    for person in range(PEOPLE):
        cost = generator.random()

        def ask(question, cost=cost):
            return bool((question.probability >= cost) ^ (generator.random() < wrong))

        found = elicit(ask, None, precision=precision, wrong=wrong, confidence=CONFIDENCE)
        questions[person] = found.questions
        held[person] = found.interval[0] < cost <= found.interval[1]
    return {"questions": float(questions.mean()), "most": float(questions.max()), "held": float(held.mean())}


def awaited(precision: float) -> float:
    """Decisions on uniform cases as they come, after which every consistent threshold is within the precision."""

    def excess(decisions: float) -> float:
        return 2 * (1 - precision) ** decisions - (1 - 2 * precision) ** decisions - (1 - CONFIDENCE)

    return float(brentq(excess, 1, 100 / precision))


def capacity(wrong: float) -> float:
    """Bits that an answer carries at most."""
    return 1.0 if wrong == 0 else 1 + wrong * np.log2(wrong) + (1 - wrong) * np.log2(1 - wrong)


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """All figures; nothing is read or kept."""
    halvings = -np.log2(PRECISIONS)
    found: dict[str, Any] = {"precisions": PRECISIONS, "awaited": [awaited(one) for one in PRECISIONS]}
    found["awaited_slope"] = float(np.polyfit(np.log(PRECISIONS), np.log(found["awaited"]), 1)[0])
    for wrong in WRONG:
        rows = [elicited(wrong, one) for one in PRECISIONS]
        questions = [row["questions"] for row in rows]
        slope = float(np.polyfit(halvings, questions, 1)[0])
        found[f"wrong_{int(100 * wrong)}"] = {
            "questions": questions,
            "most": [row["most"] for row in rows],
            "held": min(row["held"] for row in rows),
            "slope": slope,
            "rate": slope * capacity(wrong),
            "gain": found["awaited"][-1] / questions[-1],
        }
        say(f"wrong {wrong}: {found[f'wrong_{int(100 * wrong)}']}")
    draw(found)
    return found


def draw(found: dict[str, Any]) -> None:
    """Decisions against precision, on a logarithmic axis beside waiting, and on an even one."""
    x = Axis("precision", Scale(PRECISIONS[-1], PRECISIONS[0], logarithmic=True))
    chosen = [
        Series(PRECISIONS[::-1], found[f"wrong_{int(100 * wrong)}"]["questions"][::-1], f"wrong {wrong:g}", color)
        for wrong, color in zip(WRONG, COLORS, strict=True)
    ]
    waiting = Series(PRECISIONS[::-1], found["awaited"][::-1], "as they come", "#777", dashed=True)
    most = max(found["wrong_25"]["questions"])
    panels = [
        Panel("Decisions needed", x, Axis("decisions", Scale(2, 1e5, logarithmic=True)), [waiting, *chosen], names=84),
        Panel("Chosen questions alone", x, Axis("questions", Scale(0, 1.05 * most)), chosen, names=84),
    ]
    keep("elicitation_gain", panels, len(panels))


if __name__ == "__main__":
    main("elicitation_gain", reproduce)

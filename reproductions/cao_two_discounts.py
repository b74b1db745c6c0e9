"""Cao, Cohen and Szpruch 2021: the reward from one person's policies under two discounts, known and sampled.

    python reproductions/cao_two_discounts.py

arXiv 2106.03498, the numerical example of discounted problems: random dynamics of 10 states and 5 actions, a random
reward, and entropy-regularized policies under two discounts. Here 50 problems with discounts 0.9 and 0.5, transitions
drawn uniformly and normalized, rewards uniform on [0, 1]. Errors are the largest over pairs, up to the constant that no
policy reveals, as medians over the problems. Policies are known, or estimated from so many decisions in each state.
The policy error is the largest difference between the true policies and those of the recovered reward, under either
discount. `covered` is the share of rewards within 1.96 standard errors; `size` is the 2-norm of the reward's error,
`size_foretold` what the standard errors foretell of it, `size_bound` the bound that the smallest angle gives. The paper
shows policies under both discounts that agree to about 1e-3; its exact settings could not be verified. The errors are
drawn in results/cao_two_discounts.svg.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from common import main, say
from plots import COLORS, Panel, Series, keep

from demonstrably.report.figures import Axis, Scale
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.recover import recover_reward
from demonstrably.tabular.soft import soft_optimal

STATES, ACTIONS, DISCOUNTS, PROBLEMS = 10, 5, (0.9, 0.5), 50
DECISIONS = (10**2, 10**3, 10**4, 10**5, 10**6, 10**7)


def problem(seed: int) -> tuple[list[MDP], np.ndarray]:
    """Two problems that differ in their discount, and a reward (S, A)."""
    generator = np.random.default_rng(seed)
    transitions = generator.random((STATES, ACTIONS, STATES))
    transitions /= transitions.sum(2, keepdims=True)
    return [MDP(transitions, discount=discount) for discount in DISCOUNTS], generator.random((STATES, ACTIONS))


def recovered(mdps: list[MDP], truth: np.ndarray, seen: list[np.ndarray]) -> dict[str, float]:
    """Errors of the recovered reward and of its policies."""
    found = recover_reward(mdps, seen)
    error = found.reward - truth
    error -= error.mean()
    policies = [np.abs(soft_optimal(m, found.reward).policy - soft_optimal(m, truth).policy).max() for m in mdps]
    figures = {"reward_error": float(np.abs(error).max()), "policy_error": float(max(policies))}
    if found.standard_errors is not None and found.error_bound is not None:
        figures["covered"] = float((np.abs(error) <= 1.96 * found.standard_errors).mean())
        figures["size"] = float(np.linalg.norm(error))
        figures["size_foretold"] = float(np.linalg.norm(found.standard_errors))
        figures["size_bound"] = found.error_bound
    return figures


def summary(results: list[dict[str, float]]) -> dict[str, float]:
    """Medians over problems; of coverage the mean."""
    return {
        name: float((np.mean if name == "covered" else np.median)([result[name] for result in results]))
        for name in results[0]
    }


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """All figures; nothing is read or kept."""
    known, sampled = [], {number: [] for number in DECISIONS}
    for seed in range(PROBLEMS):
        mdps, truth = problem(seed)
        policies = [soft_optimal(mdp, truth).policy for mdp in mdps]
        known.append(recovered(mdps, truth, policies))
        for number, results in sampled.items():
            generator = np.random.default_rng([seed, number])
            results.append(recovered(mdps, truth, [generator.multinomial(number, policy) for policy in policies]))
    found: dict[str, Any] = {"known": summary(known)}
    for number, results in sampled.items():
        found[f"sampled_{number}"] = summary(results)
        say(f"{number} decisions a state: {found[f'sampled_{number}']}")
    errors = [found[f"sampled_{number}"]["reward_error"] for number in DECISIONS[1:]]
    found["slope"] = float(np.polyfit(np.log(DECISIONS[1:]), np.log(errors), 1)[0])  # of log error in log decisions
    draw(found)
    return found


def draw(found: dict[str, Any]) -> None:
    """Errors of the reward and of its policies against the number of decisions."""

    def values(name: str) -> list[float]:
        return [found[f"sampled_{number}"][name] for number in DECISIONS]

    x = Axis("decisions seen in each state", Scale(DECISIONS[0], DECISIONS[-1], logarithmic=True))
    reward = [
        Series(DECISIONS, values("size_bound"), "bound", "#777", dashed=True),
        Series(DECISIONS, values("size"), "measured"),
        Series(DECISIONS, values("size_foretold"), "standard errors", COLORS[1], dashed=True),
    ]
    ticks = tuple((10.0**power, f"1e{power}") for power in (-4, -3, -2, -1))
    policies = [Series(DECISIONS, values("policy_error"))]
    panels = [
        Panel("Error of the reward", x, Axis("2-norm", Scale(0.02, 200, logarithmic=True)), reward, names=90),
        Panel(
            "Error of its policies", x, Axis("largest difference", Scale(1e-4, 0.2, logarithmic=True), ticks), policies
        ),
    ]
    keep("cao_two_discounts", panels, len(panels))


if __name__ == "__main__":
    main("cao_two_discounts", reproduce)

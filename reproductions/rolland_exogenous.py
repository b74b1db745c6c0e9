"""Rolland et al. 2022: rewards of an exogenous factor stay unknown whatever the discounts and dynamics are.

    python reproductions/rolland_exogenous.py

arXiv 2209.10974, the exogenous example: part of the state moves by itself, whatever is done. Here a weather of 3 kinds
changes by chance while a person moves among 4 places with 3 actions. Two discounts, or two dynamics, would determine
the reward of an ordinary problem up to a constant ("generic"). Here every function of the weather stays open, and
nothing else: the directions that `identify` finds are compared with those functions. They change no policy where the
weather stays exogenous, so that the reward is good there, and they do where it does not. Recovery from two experts
shows the same: the recovered reward less its mean over each weather is right, and so is its policy in another exogenous
problem. The recovered rewards are drawn against the true ones in results/rolland_exogenous.svg.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from common import main
from plots import COLORS, Panel, Series, keep

from demonstrably.report.figures import Axis, Scale
from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.recover import recover_reward
from demonstrably.tabular.recovery import Recovery
from demonstrably.tabular.soft import soft_optimal

WEATHERS, PLACES, ACTIONS = 3, 4, 3
STATES = WEATHERS * PLACES
TITLES = {
    "two_discounts": "exogenous weather, two discounts",
    "two_dynamics": "exogenous weather, two dynamics",
    "generic": "no exogenous part, two discounts",
}


def exogenous(seed: int, discount: float) -> MDP:
    """Weather and places move apart from one another; state weather * 4 + place."""
    generator = np.random.default_rng(seed)
    weather = generator.dirichlet(np.ones(WEATHERS), WEATHERS)
    places = generator.dirichlet(np.ones(PLACES), (PLACES, ACTIONS))
    whole = np.einsum("xz,yaw->xyazw", weather, places).reshape(STATES, ACTIONS, STATES)
    return MDP(whole, discount=discount)


def generic(seed: int, discount: float) -> MDP:
    """Dynamics without any structure."""
    return MDP(np.random.default_rng(seed).dirichlet(np.ones(STATES), (STATES, ACTIONS)), discount=discount)


def weather_part(directions: np.ndarray) -> float:
    """Largest part of unit reward directions (S * A, k) that is no function of the weather."""
    means = directions.reshape(WEATHERS, -1, directions.shape[1]).mean(1, keepdims=True)
    rest = directions.reshape(WEATHERS, -1, directions.shape[1]) - means
    return float(np.linalg.norm(rest.reshape(directions.shape), 2))


def true_reward() -> np.ndarray:
    """(S, A)."""
    return np.random.default_rng(9).normal(size=(STATES, ACTIONS))


def recovery(mdps: list[MDP]) -> Recovery:
    """The reward that the policies of these experts give."""
    return recover_reward(mdps, [soft_optimal(mdp, true_reward()).policy for mdp in mdps])


def errors(found: Recovery, other: MDP) -> dict[str, float]:
    """Errors of a recovered reward, whole and less what belongs to the weather, and of its policy elsewhere."""
    error = (found.reward - true_reward()).reshape(WEATHERS, -1)
    policies = [soft_optimal(other, reward).policy for reward in (found.reward, true_reward())]
    return {
        "undetermined": float(found.undetermined or np.nan),
        "error": float(np.abs(error - error.mean()).max()),
        "error_without_weather": float(np.abs(error - error.mean(1, keepdims=True)).max()),
        "policy_error_elsewhere": float(np.abs(policies[0] - policies[1]).max()),
    }


def reproduce(data: Path, runs: Path) -> dict[str, Any]:
    """All figures; nothing is read or kept."""
    experts = {
        "two_discounts": [exogenous(0, 0.9), exogenous(0, 0.5)],
        "two_dynamics": [exogenous(0, 0.9), exogenous(1, 0.9)],
        "generic": [generic(0, 0.9), generic(0, 0.5)],
    }
    found: dict[str, Any] = {}
    recoveries = {name: recovery(mdps) for name, mdps in experts.items()}
    for name, mdps in experts.items():
        answer = identify(mdps, remedies=False)
        assert answer.directions is not None
        found[name] = {
            "dimension": answer.dimension,
            "no_function_of_weather": weather_part(answer.directions),
            "changes_in_exogenous": answer.transfers_to(exogenous(2, 0.9)).dimension,
            "changes_in_generic": answer.transfers_to(generic(2, 0.9)).dimension,
            **errors(recoveries[name], exogenous(2, 0.9)),
        }
    draw(recoveries)
    return found


def draw(recoveries: dict[str, Recovery]) -> None:
    """A panel a kind of experts: recovered against true rewards, a color a weather."""
    x, y = (Axis(f"{name} reward", Scale(-3.3, 3.3)) for name in ("true", "recovered"))
    panels = []
    for name, found in recoveries.items():
        pairs = zip(true_reward().reshape(WEATHERS, -1), found.reward.reshape(WEATHERS, -1), COLORS, strict=True)
        points = [Series(truth, guess, color=color, joined=False) for truth, guess, color in pairs]
        panels.append(Panel(TITLES[name], x, y, [Series([-3.3, 3.3], [-3.3, 3.3], color="#888", dashed=True), *points]))
    keep("rolland_exogenous", panels, len(panels))


if __name__ == "__main__":
    main("rolland_exogenous", reproduce)

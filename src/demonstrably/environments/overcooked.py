"""Overcooked for two seats as a Gymnasium environment, under the dynamics that people played in 2019.

Carroll et al., *On the Utility of Learning about Humans for Human-AI Coordination*, arXiv:1910.05789. Two
cooks share a kitchen: three onions into a pot, 20 steps to cook, the soup onto a dish and to the serving
counter, for 20 points a soup. The rules are those of the `overcooked` package, the encoding its lossless
one (see `overcooked_rules`). The game is deterministic: episodes on a layout differ only by the policy's
own chance.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from demonstrably.environments.overcooked_rules import ACTIONS, LAYOUTS, OBSERVATIONS, kitchen, observations
from demonstrably.spec import Environment

NAME = "demonstrably/Overcooked-v0"
HORIZON = 400
"""Steps of an episode, unless told otherwise."""

POINTS = 20
"""What a soup is worth."""

HUMAN_RATE = {
    "cramped_room": 0.295989,
    "asymmetric_advantages": 0.439457,
    "coordination_ring": 0.255604,
    "forced_coordination": 0.282326,
    "counter_circuit_o_1order": 0.203626,
}
"""Points a step of the human pairs: a trial's points over its steps, averaged over all trials of a layout."""


class Overcooked(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Both seats at once: observations carry a leading seat axis, the action is one of six for each seat.

    Observations: each seat's own view three times, all uint8 (see `overcooked_rules.observations`): `grid`,
    (2, 5, 9, 21), its planes in the order of `overcooked_rules.PLANES`; `flat`, (2, 945), the same bytes;
    `near`, (2, 735), cut to what lies around the player. Actions: two indices into
    `overcooked_rules.ACTIONS`. Reward: 20 for each soup served, to both seats. An episode is truncated
    after `horizon` steps and never terminates. `info` holds `task` (the layout) and `soups` (served so
    far); there is no signal of success.

    `reset(seed=s)` plays `layouts[s % len(layouts)]`, so that consecutive seeds share the layouts evenly;
    without a seed the layout is drawn at random.
    """

    metadata: dict[str, Any] = {"render_modes": []}

    def __init__(self, layouts: Sequence[str] = LAYOUTS, horizon: int = HORIZON) -> None:
        """
        Raises:
            ValueError: an unknown layout, no layout, a horizon below 1, or no package `overcooked`.
        """
        if isinstance(layouts, str) or not layouts:
            raise ValueError(f"layouts is {layouts!r}; give a list of at least one of {', '.join(LAYOUTS)}")
        if horizon < 1:
            raise ValueError(f"horizon is {horizon}; give at least 1 step")
        self.layouts, self.horizon = tuple(layouts), horizon
        self._kitchens = tuple(kitchen(layout) for layout in layouts)
        self._kitchen = self._kitchens[0]
        self._state = self._kitchen.start()
        self._steps, self._soups = horizon, 0
        self.action_space = gymnasium.spaces.MultiDiscrete([len(ACTIONS)] * 2)
        boxes: dict[str, gymnasium.Space[Any]] = {
            key: gymnasium.spaces.Box(0, 255, (2, *shape), np.uint8) for key, shape in OBSERVATIONS.items()
        }
        self.observation_space = gymnasium.spaces.Dict(boxes)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode on the seed's layout."""
        super().reset(seed=seed)
        chosen = int(self.np_random.integers(len(self._kitchens))) if seed is None else seed
        self._kitchen = self._kitchens[chosen % len(self._kitchens)]
        self._state = self._kitchen.start()
        self._steps, self._soups = 0, 0
        return self._observation(), self._information()

    def step(
        self, action: np.ndarray | Sequence[int]
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Play one action for each seat.

        Raises:
            ValueError: not two actions of 0 to 5, or the episode is over.
        """
        chosen = [int(seat) for seat in action]
        if len(chosen) != 2 or not all(0 <= seat < len(ACTIONS) for seat in chosen):
            raise ValueError(f"action {chosen}; give two, one for each seat, each 0 to {len(ACTIONS) - 1}")
        if self._steps >= self.horizon:
            raise ValueError("the episode is over; call reset")
        self._state, reward = self._kitchen.step(self._state, chosen)
        self._steps += 1
        self._soups += reward // POINTS
        return self._observation(), float(reward), False, self._steps >= self.horizon, self._information()

    def _observation(self) -> dict[str, np.ndarray]:
        return observations(self._kitchen.encode(self._state))

    def _information(self) -> dict[str, Any]:
        return {"task": self._kitchen.layout, "soups": self._soups}


def environment(layouts: Sequence[str] = LAYOUTS, horizon: int = HORIZON) -> Environment:
    """The environment as a run's configuration keeps it."""
    # Gymnasium's own limit, at the same step, tells whoever plays it that episodes end.
    kwargs = {"layouts": list(layouts), "horizon": horizon, "max_episode_steps": horizon}
    return Environment(NAME, kwargs, imports=("demonstrably.environments",), seats=2)


def human_return(layout: str, horizon: int = HORIZON) -> float:
    """What human pairs earn on a layout in `horizon` steps: their mean points a step times the horizon.

    The rate is over whole trials (about 1,200 steps, 180 seconds). A shorter episode spends a larger share
    of its steps on the first soup, when nothing can be earned yet, so the reference is more than people
    earned in their first `horizon` steps.

    Raises:
        ValueError: an unknown layout.
    """
    if layout not in HUMAN_RATE:
        raise ValueError(f"no layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    return HUMAN_RATE[layout] * horizon


def normalized_return(points: float, layout: str, horizon: int = HORIZON) -> float:
    """An episode's return as a share of the human pairs' mean: 0 is no soup, 1 as many as people serve.

    Raises:
        ValueError: an unknown layout.
    """
    return points / human_return(layout, horizon)

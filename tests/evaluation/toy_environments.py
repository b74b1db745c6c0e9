"""Small environments that tests register by importing this module, here and in worker processes."""

import itertools
import os
import signal
import sys
import time

import gymnasium
import numpy as np
from gymnasium import spaces

LIMIT = 8


class Sum(gymnasium.Env):
    """Observes (seed's number, steps done, sum of actions) and pays the action: a return that can be worked out."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None, success=None, terminates=None, size=2):
        self.render_mode, self.success, self.terminates = render_mode, success, terminates
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number, self.steps, self.total = self.np_random.random(), 0, 0.0
        return self._observe(), {"task": "sum"}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is outside"
        self.steps += 1
        reward = float(action.sum())
        self.total += reward
        over = self.terminates is not None and self.number * LIMIT < self.terminates * self.steps
        return self._observe(), reward, bool(over), False, self._info()

    def _info(self):
        return {} if self.success is None else {self.success: self.steps == 2}

    def _observe(self):
        return np.array([self.number, self.steps, self.total])

    def render(self):
        return np.full((33, 48, 3), 20 * self.steps, np.uint8)


class Choices(Sum):
    """Five choices, counted from 3; pays the choice."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Discrete(5, start=3)

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is outside"
        self.steps += 1
        return self._observe(), float(action), False, False, {}


class Seats(gymnasium.Env):
    """Two seats that see (seat, number) and pay 10 for the first seat's choice, 1 for the second's."""

    def __init__(self):
        self.observation_space = spaces.Dict(
            {"place": spaces.Box(-1, 1, (2, 2), np.float32), "picture": spaces.Box(0, 255, (2, 4, 4, 3), np.uint8)}
        )
        self.action_space = spaces.MultiDiscrete([6, 6])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.number = self.np_random.random()
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is outside"
        return self._observe(), float(10 * action[0] + action[1]), False, False, {}

    def _observe(self):
        place = np.array([[0, self.number], [1, self.number]], np.float32)
        return {"place": place, "picture": np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])}


class Trouble(Sum):
    """Fails at its third step in the way that `how` says, if the seed is odd."""

    def __init__(self, how, render_mode=None):
        super().__init__(render_mode)
        self.how = how

    def reset(self, *, seed=None, options=None):
        self.odd = seed % 2
        print("printed by an environment")
        return super().reset(seed=seed)

    def step(self, action):
        if self.steps == 2 and self.odd:
            self._fail()
        return super().step(action)

    def _fail(self):
        if self.how == "raise":
            raise ZeroDivisionError("the simulator\ndiverged")
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            time.sleep(60)

    def render(self):
        if self.how == "render":
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().render()


class Process(Sum):
    """Observes its process: (id, whether torch is loaded, 0)."""

    def _observe(self):
        return np.array([os.getpid(), "torch" in sys.modules, 0.0])


class Remembers(Sum):
    """Its reset does not forget: what it pays depends on how often it was reset."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.resets = itertools.count()

    def reset(self, *, seed=None, options=None):
        self.age = next(self.resets)
        return super().reset(seed=seed)

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.age), *rest


class Fickle(Sum):
    """Pays by its own unseeded chance."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(np.random.default_rng().random()), *rest


for kind in (Sum, Choices, Seats, Trouble, Process, Remembers, Fickle):
    gymnasium.register(f"toy/{kind.__name__}-v0", kind, max_episode_steps=LIMIT)
gymnasium.register("toy/Endless-v0", Sum)

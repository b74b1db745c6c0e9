"""The side of an arena that holds the environments: in a process of its own, or in the caller's.

A worker process is started with this module as its program and takes commands from a pipe until that closes, so it
ends with its parent, however that ends. It never imports torch.
"""

import os
import sys
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np

from demonstrably.evaluation.environments import Adapter, Blame, Interface, forgets, interface, make
from demonstrably.evaluation.video import film
from demonstrably.spec import Environment


@dataclass(frozen=True)
class Outcome:
    """How an episode went. `success_any` and `success_last` are None where `info` never said."""

    total: float
    length: int
    success_any: bool | None
    success_last: bool | None
    terminated: bool
    truncated: bool
    final_reward: float
    task: str | None


@dataclass
class Episode:
    """An environment and the episode under way in it."""

    env: gymnasium.Env[Any, Any]
    name: str
    seed: int = 0
    length: int = 0
    total: float = 0.0
    reward: float = 0.0  # of the last step
    signals: list[bool] = field(default_factory=list)
    task: str | None = None

    def reset(self, seed: int, adapter: Adapter) -> dict[str, np.ndarray]:
        """Begin the seed's episode and return its first observation."""
        self.seed, self.length, self.total, self.signals = seed, 0, 0.0, []
        with Blame(f"{self.name} failed at the reset with seed {seed}"):
            raw, info = self.env.reset(seed=seed)
            observation = adapter.observation(raw)
        task = info.get("task")
        self.task = task if isinstance(task, str) else None
        return observation

    def step(self, action: np.ndarray, adapter: Adapter) -> tuple[dict[str, np.ndarray], Outcome | None]:
        """The next observation, and the outcome if the episode has ended."""
        with Blame(f"{self.name} failed at step {self.length} of the episode with seed {self.seed}"):
            raw, reward, terminated, truncated, info = self.env.step(adapter.action(action))
            observation, reward = adapter.observation(raw), float(reward)
            signal = info.get("success", info.get("is_success"))
            if signal is not None:
                self.signals.append(bool(signal))
        self.length += 1
        self.reward = reward
        self.total += reward
        return observation, self._outcome(reward, bool(terminated), bool(truncated))

    def _outcome(self, reward: float, terminated: bool, truncated: bool) -> Outcome | None:
        if not (terminated or truncated):
            return None
        success_any, success_last = (any(self.signals), self.signals[-1]) if self.signals else (None, None)
        return Outcome(self.total, self.length, success_any, success_last, terminated, truncated, reward, self.task)


@dataclass(frozen=True)
class Reply:
    """What came of one round: the slots in order, for each an observation by key, (slots, ...), and the reward of its
    step, 0 where it was reset; and what has ended.
    """

    slots: list[int]
    observations: dict[str, np.ndarray]
    rewards: np.ndarray
    ended: dict[int, Outcome]


class Host:
    """Environments of one kind, numbered by slot, made when first needed and stepped one after the other."""

    def __init__(self) -> None:
        self._kind: tuple[Environment, int | None] | None = None
        self._slots: dict[int, Episode] = {}
        self._adapter: Adapter | None = None

    def open(self, environment: Environment, horizon: int | None) -> Interface:
        """Take this kind of environment and describe it. Environments of the same kind are kept from earlier."""
        if self._kind != (environment, horizon):
            self.close()
            self._kind = (environment, horizon)
        return interface(environment, self._slot(0).env)

    def fit(self, adapter: Adapter) -> None:
        """Translate for this policy from now on."""
        self._adapter = adapter

    def play(self, resets: list[tuple[int, int]], steps: list[int], actions: np.ndarray) -> Reply:
        """Reset slots, given as (slot, seed), and step others with actions (n, seats, ...), one each."""
        adapter = self._adapter
        assert adapter is not None, "fit comes before play"
        rows, ended = [self._anew(slot).reset(seed, adapter) for slot, seed in resets], {}
        rewards = [0.0] * len(resets)
        for slot, action in zip(steps, actions, strict=True):
            observation, outcome = self._slots[slot].step(action, adapter)
            rows.append(observation)
            rewards.append(self._slots[slot].reward)
            if outcome is not None:
                ended[slot] = outcome
        slots = [slot for slot, _ in resets] + steps
        seen = {key: np.stack([row[key] for row in rows]) for key in adapter.sources}
        return Reply(slots, seen, np.array(rewards, dtype=np.float32), ended)

    def close(self) -> None:
        """Close all environments."""
        for episode in self._slots.values():
            episode.env.close()
        self._slots, self._kind = {}, None

    def _slot(self, slot: int) -> Episode:
        if slot not in self._slots:
            assert self._kind is not None, "open comes before play"
            environment, horizon = self._kind
            self._slots[slot] = Episode(make(environment, horizon=horizon), environment.name)
        return self._slots[slot]

    def _anew(self, slot: int) -> Episode:
        """The slot's environment as though it had never been played."""
        if slot in self._slots and self._kind and not forgets(self._kind[0]):
            self._slots.pop(slot).env.close()
        return self._slot(slot)


def serve(connection: Connection) -> None:
    """Carry out commands until the other end closes. A ValueError goes back as its message and traceback."""
    host = Host()
    commands = {"open": host.open, "fit": host.fit, "play": host.play, "film": film}
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            reply = (commands[name](*arguments), None)
        except ValueError as error:
            reply = (str(error), traceback.format_exc())
        try:
            connection.send(reply)
        except OSError:
            return


def main() -> None:
    """Serve the pipe whose file descriptor is the last argument."""
    serve(Connection(int(sys.argv[-1])))
    # Renderers complain when the interpreter takes them down; nothing here needs that.
    sys.stderr.flush()
    os._exit(0)

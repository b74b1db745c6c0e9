"""Which episodes of a rollout become videos, and what hindered it."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demonstrably.evaluation.arena import Worker
from demonstrably.evaluation.environments import Adapter
from demonstrably.spec import Environment


@dataclass(frozen=True)
class Take:
    """An episode to film: its actions (length, seats, ...) and the return that they earned."""

    member: int
    seed: int
    total: float
    actions: np.ndarray


@dataclass
class Recorder:
    """Films the first episodes of a rollout into `folder`: of each seed in turn, all members.

    Filming plays the episodes again: their recorded actions, in a process of its own that a renderer may bring down.
    The returns must agree. Where filming fails the rollout is none the worse: `problem` says what happened, and `paths`
    holds the files that were written.
    """

    folder: Path
    episodes: int = 3
    prefix: str = ""
    paths: list[Path] = field(default_factory=list)
    problem: str | None = None

    def wanted(self, members: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, int]]:
        """The (member, seed) pairs whose actions it needs, in order."""
        return [(member, seed) for seed in seeds for member in members][: self.episodes]

    def film(self, environment: Environment, horizon: int | None, adapter: Adapter, takes: Sequence[Take]) -> None:
        """Write one file a take, stopping at the first that cannot be."""
        worker = Worker(_variables())
        try:
            for take in takes:
                self.paths.append(self._film(worker, environment, horizon, adapter, take))
        except (ValueError, OSError) as error:
            self.problem = str(error)
        finally:
            worker.kill()

    def _film(
        self, worker: Worker, environment: Environment, horizon: int | None, adapter: Adapter, take: Take
    ) -> Path:
        path = self.folder / f"{self.prefix}member{take.member}_seed{take.seed}.mp4"
        worker.send("film", environment, horizon, adapter, take.seed, take.actions, path)
        total = worker.receive()
        if total != take.total:
            path.unlink()
            raise ValueError(
                f"the episode of member {take.member} with seed {take.seed} returned {take.total:g}, but {total:g} "
                "when played again to film it: its environment does not repeat itself"
            )
        return path


def _variables() -> dict[str, str]:
    """Software rendering without a screen, where the user has not chosen otherwise."""
    chosen = {"MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy"} if sys.platform == "linux" else {}
    return {name: value for name, value in chosen.items() if name not in os.environ}

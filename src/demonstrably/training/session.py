"""A run from data to checkpoints: the loop, with validation, logging and saving around it."""

import platform
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import Learner, State
from demonstrably.training import checkpoints
from demonstrably.training.events import Events
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import Progress, train, validation_loss
from demonstrably.training.run import CONFIG, Run

PACKAGES = ("demonstrably", "torch", "numpy", "gymnasium", "mujoco", "h5py")


@dataclass(frozen=True)
class Plan:
    """How a learner is run on demonstrations."""

    steps: int
    members: int = 1
    seed: int = 0
    checkpoint_every: int | None = None  # None: 20 checkpoints
    log_every: int = 100
    validation: float = 0.1  # share of the episodes held out; 0 holds out none
    stratify: str | None = None  # a column of the episode table whose shares the split keeps
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("steps", "members", "log_every"):
            if vars(self)[name] < 1:
                raise ValueError(f"{name} is {vars(self)[name]}: give at least 1")
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every is {self.checkpoint_every}: give at least 1")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation is {self.validation}: give a share of the episodes in [0, 1)")

    @property
    def spacing(self) -> int:
        """Steps between checkpoints."""
        return self.checkpoint_every or max(1, self.steps // 20)


@dataclass(frozen=True)
class Session:
    """A learner, its data and its run folder, ready to train."""

    learner: Learner
    plan: Plan
    run: Run
    config: dict[str, Any]
    state: State
    feed: OfflineFeed
    held_out: OfflineFeed | None

    @classmethod
    def open(
        cls,
        learner: Learner,
        demos: Demonstrations,
        plan: Plan,
        folder: str | Path,
        *,
        observations: tuple[str, ...] | None = None,
        resume: bool = False,
    ) -> "Session":
        """A new run folder, or with `resume` the one that is there, at its last checkpoint.

        ValueError where hyperparameters, data and folder do not fit together; then nothing was written.
        """
        if resume and plan.checkpoint_every is None:
            plan = replace(plan, checkpoint_every=Run(folder).config["checkpoint_every"])
        keys = demos.keys(observations)
        training, held_out = demos, None
        if plan.validation:
            training, held_out = demos.split(plan.validation, plan.stratify, plan.seed)
        spec = training.spec(keys)
        state = learner.init(spec, members=plan.members, seed=plan.seed, device=plan.device)
        config = checkpoints.describe(learner, spec, plan.members, plan.seed)
        config |= {"steps": plan.steps, "checkpoint_every": plan.spacing, "device": plan.device, "plan": asdict(plan)}
        config |= {"data": _data(demos, training, held_out, keys), "versions": versions()}
        feed = OfflineFeed(training, keys, learner.reads(), plan.device)
        apart = OfflineFeed(held_out, keys, learner.reads(), plan.device) if held_out else None
        run = _resumed(folder, config, state) if resume else Run.create(folder, config)
        run.rewind(int(state.step))
        return cls(learner, plan, run, config, state, feed, apart)

    def train(self) -> Iterator[Progress]:
        """Trains to the plan's end, yielding at every log and every checkpoint.

        At a checkpoint the metrics hold the validation loss, and the run folder is complete. A run that was killed
        and resumed equals one that was not, bit for bit.
        """
        stops = (self.plan.log_every, self.plan.spacing)
        logged = self.run.metrics()
        began = time.monotonic() - (logged[-1]["time"] if logged else 0.0)
        # Closed whatever happens, an early stop included: until then the last points are in memory only.
        with closing(Events(self.run.path, int(self.state.step))) as events:
            for progress in train(self.learner, self.feed, self.plan.steps, state=self.state, every=stops):
                if self.at_checkpoint(progress.step) and self.held_out:
                    loss = validation_loss(self.learner, self.held_out, self.state)
                    progress.metrics["validation_loss"] = loss
                line = {name: values.tolist() for name, values in progress.metrics.items()}
                rate = {"time": time.monotonic() - began, "steps_per_second": progress.steps_per_second}
                self.run.log({"step": progress.step} | line | rate)
                events.write(progress.step, line)
                if self.at_checkpoint(progress.step):
                    self._save(progress.step)
                yield progress

    def at_checkpoint(self, step: int) -> bool:
        """Whether a checkpoint is written at a step."""
        return step % self.plan.spacing == 0 or step == self.plan.steps

    def _save(self, step: int) -> None:
        """Writes the checkpoint; only the newest keeps what going on needs."""
        earlier = [s for s in self.run.checkpoints if s < step]
        checkpoints.save(self.run.checkpoint(step), self.state, self.config)
        for old in earlier:
            checkpoints.drop_training(self.run.checkpoint(old))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that change results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _data(
    demos: Demonstrations, training: Demonstrations, held_out: Demonstrations | None, keys: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "path": demos.path,
        "fingerprint": demos.fingerprint(),
        "episodes": len(demos),
        "transitions": demos.transitions,
        "keys": list(keys),
        "train": training.episodes.tolist(),
        "validation": held_out.episodes.tolist() if held_out else [],
    }


def _resumed(folder: str | Path, config: dict[str, Any], state: State) -> Run:
    """The run in the folder, and the state at its last checkpoint. ValueError where it is another one."""
    run = Run(folder)
    _require_same(run, config)
    done, steps = run.checkpoints[-1] if run.checkpoints else 0, config["steps"]
    if done > steps:
        raise ValueError(f"{run.path} has done {done} steps already: resume it with that many or more, not {steps}")
    if done:
        checkpoints.restore(run.checkpoint(done), state)
    run.write_json(CONFIG, config)
    return run


def _require_same(run: Run, config: dict[str, Any]) -> None:
    """ValueError where the run in the folder was another one; more steps are welcome."""
    was, now = _identity(run.config), _identity(config)
    for name, value in now.items():
        if was.get(name) != value:
            begun = f"{run.path} was begun with {name} {was.get(name)}"
            raise ValueError(f"{begun}, and this is {value}: resume it with the same options")
    data = run.config["data"]
    if data["fingerprint"] != config["data"]["fingerprint"]:
        raise ValueError(f"{run.path} was begun on other episodes ({data['path']}): resume it on the same")
    if run.config["spec"] != config["spec"]:
        raise ValueError(f"{run.path} was begun with another environment: resume it with the same options")


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """The options by which a run is the same one, whatever its number of steps."""
    own = {name: config[name] for name in ("learner", "members", "seed", "checkpoint_every")}
    split = {name: config["plan"][name] for name in ("validation", "stratify")}
    return own | config["fields"] | {"keys": config["data"]["keys"]} | split

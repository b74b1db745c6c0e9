"""A run from data to checkpoints: the loop, with validation, logging and saving around it."""

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from demonstrably.data.batches import Experience, Reads
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import Learner, State
from demonstrably.spec import Spec
from demonstrably.training import checkpoints
from demonstrably.training.events import Events
from demonstrably.training.feeds import OfflineFeed, kept_steps
from demonstrably.training.fields import require_finite
from demonstrably.training.loop import Progress, train, validation_loss
from demonstrably.training.online import Collection, OnlineFeed
from demonstrably.training.rewards import Relabelled, Reward
from demonstrably.training.run import CONFIG, Run
from demonstrably.training.worlds import Worlds

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
    subsample: int = 1  # of each episode only every so many-th step, from a place drawn by the seed
    device: str = "cpu"
    collection: Collection = Collection()  # of a learner that gathers experience of its own

    def __post_init__(self) -> None:
        for name in ("steps", "members", "log_every", "subsample"):
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
    feed: OfflineFeed | OnlineFeed
    held_out: OfflineFeed | None
    notes: tuple[str, ...] = ()  # what a user should know of how it was resumed
    reward: Reward | None = None  # learned by another run, in place of the environment's

    @classmethod
    def open(
        cls,
        learner: Learner,
        demos: Demonstrations | None,
        plan: Plan,
        folder: str | Path,
        *,
        observations: tuple[str, ...] | None = None,
        worlds: Callable[[Spec, int], Worlds] | None = None,
        spec: Spec | None = None,
        resume: bool = False,
        reward: Reward | None = None,
    ) -> "Session":
        """A new run folder, or with `resume` the one that is there, at its last checkpoint.

        A learner that gathers experience of its own needs `worlds`, which makes a number of environments for a spec.
        One that needs no demonstrations may go without `demos`; then `spec` says what it observes and does.
        With `reward` the environment's rewards of its own steps give way to those that another run learned.
        ValueError where hyperparameters, data and folder do not fit together; then nothing was written.
        """
        if resume and plan.checkpoint_every is None:
            plan = replace(plan, checkpoint_every=Run(folder).config["checkpoint_every"])
        require_finite(learner)
        reads = learner.reads()
        if isinstance(reads, Experience):
            plan = replace(plan, validation=0.0)  # there is no loss of held-out episodes to tell anything by
        evidence = Evidence.of(demos, plan, observations, spec, reads)
        spec = evidence.spec
        if reward:
            _require_use(reward, learner, spec)
        state = learner.init(spec, members=plan.members, seed=plan.seed, device=plan.device)
        _require_room(reads, plan)
        config = checkpoints.describe(learner, spec, plan.members, plan.seed)
        config |= {"steps": plan.steps, "checkpoint_every": plan.spacing, "device": plan.device, "plan": asdict(plan)}
        config |= {"data": evidence.record(), "versions": versions()}
        config["rewards_from"] = reward.record() if reward else None
        feed, apart = evidence.feed(reads, plan), evidence.apart(reads, plan)
        if isinstance(reads, Experience):
            if worlds is None:
                raise ValueError(f"{config['learner']} gathers experience of its own: give it an environment")
            feed = OnlineFeed(
                worlds(spec, plan.members * plan.collection.environments),
                reads,
                spec,
                learner.explore,
                plan.collection,
                state=state,
                updates=plan.steps,
                demonstrated=feed,
            )
        assert feed, "only a learner with experience of its own goes without demonstrations"
        with ExitStack() as refused:
            if isinstance(feed, OnlineFeed):
                refused.enter_context(closing(feed))
            run = _resumed(folder, config, state) if resume else Run.create(folder, config)
            notes = _resume_feed(run, feed, state) if resume and int(state.step) else ()
            run.rewind(int(state.step))
            refused.pop_all()
        return cls(learner, plan, run, config, state, feed, apart, notes, reward)

    def train(self) -> Iterator[Progress]:
        """Trains to the plan's end, yielding at every log and every checkpoint.

        At a checkpoint the metrics hold the validation loss, and the run folder is complete. A run that was killed
        and resumed equals one that was not, bit for bit.
        """
        stops = (self.plan.log_every, self.plan.spacing)
        logged = self.run.metrics()
        began = time.monotonic() - (logged[-1]["time"] if logged else 0.0)
        # Closed whatever happens, an early stop included: until then the last points are in memory only.
        source = self.feed
        if self.reward:  # for a learner by trial, which has a discount
            source = Relabelled(self.feed, self.reward, float(self.config["fields"]["discount"]))
        with ExitStack() as stack:
            events = stack.enter_context(closing(Events(self.run.path, int(self.state.step))))
            if isinstance(self.feed, OnlineFeed):
                stack.enter_context(closing(self.feed))
            for progress in train(self.learner, source, self.plan.steps, state=self.state, every=stops):
                if self.at_checkpoint(progress.step) and self.held_out:
                    loss = validation_loss(self.learner, self.held_out, self.state)
                    progress.metrics["validation_loss"] = loss
                if isinstance(self.feed, OnlineFeed):
                    progress.metrics.update(self.feed.report())
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
        kept = self.feed.tensors() if isinstance(self.feed, OnlineFeed) else None
        checkpoints.save(self.run.checkpoint(step), self.state, self.config, kept)
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


@dataclass(frozen=True)
class Evidence:
    """The demonstrations that a run learns from, split, and what a policy on them observes and does."""

    spec: Spec
    demos: Demonstrations | None = None
    training: Demonstrations | None = None
    held_out: Demonstrations | None = None

    @classmethod
    def of(
        cls,
        demos: Demonstrations | None,
        plan: Plan,
        observations: tuple[str, ...] | None,
        spec: Spec | None,
        reads: Reads,
    ) -> "Evidence":
        """ValueError where demonstrations are needed and there are none."""
        if demos is None:
            if not isinstance(reads, Experience) or reads.demonstrations:
                raise ValueError("this learner learns from demonstrations: give it a file of them")
            if spec is None:
                raise ValueError("without demonstrations it must be said what is observed and done: give a spec")
            return cls(spec)
        if isinstance(reads, Experience) and reads.unended and any(episode.terminated.any() for episode in demos):
            raise ValueError(reads.unended)
        training, held_out = demos, None
        if plan.validation:
            training, held_out = demos.split(plan.validation, plan.stratify, plan.seed)
        read = kept_steps(training, plan.subsample, plan.seed) if plan.subsample > 1 else None
        return cls(training.spec(demos.keys(observations), read), demos, training, held_out)

    @property
    def keys(self) -> tuple[str, ...]:
        """The observation keys that are read."""
        return tuple(self.spec.observations)

    def feed(self, reads: Reads, plan: Plan) -> OfflineFeed | None:
        """Batches of the demonstrations, None where none are read."""
        if self.training is None or (isinstance(reads, Experience) and not reads.demonstrations):
            return None
        return self._feed(self.training, reads, plan)

    def apart(self, reads: Reads, plan: Plan) -> OfflineFeed | None:
        """Those that were held out."""
        return self._feed(self.held_out, reads, plan) if self.held_out else None

    def _feed(self, demos: Demonstrations, reads: Reads, plan: Plan) -> OfflineFeed:
        return OfflineFeed(demos, self.keys, reads, plan.device, subsample=plan.subsample, seed=plan.seed)

    def record(self) -> dict[str, Any]:
        """What the run folder says of them."""
        if self.demos is None or self.training is None:
            return {"path": None, "fingerprint": None, "episodes": 0, "transitions": 0, "keys": list(self.keys)} | {
                "train": [],
                "validation": [],
            }
        return {
            "path": self.demos.path,
            "fingerprint": self.demos.fingerprint(),
            "episodes": len(self.demos),
            "transitions": self.demos.transitions,
            "keys": list(self.keys),
            "train": self.training.episodes.tolist(),
            "validation": self.held_out.episodes.tolist() if self.held_out else [],
        }


def _require_room(reads: Reads, plan: Plan) -> None:
    """ValueError where a learner's own experience would come after the last update, or would not fill a batch."""
    if not isinstance(reads, Experience):
        return
    if plan.steps <= reads.ahead:
        raise ValueError(
            f"the first {reads.ahead} updates go ahead of its own experience, and there are but {plan.steps}: "
            "give more steps, or fewer of those (of csil: `cloning` and `judging`)"
        )
    if plan.collection.replay < reads.batch_size:
        raise ValueError(f"replay {plan.collection.replay}: give at least a batch, {reads.batch_size} steps")


def _require_use(reward: Reward, learner: Learner, spec: Spec) -> None:
    """ValueError where a learner would not read the rewards that it is given, or they do not fit."""
    reads = learner.reads()
    if not isinstance(reads, Experience) or reads.demonstrations:
        name = checkpoints.name_of(learner)
        raise ValueError(f"{name} reads no rewards: give a learned reward to a learner by trial alone, with --env")
    reward.require_spec(spec)


def _resume_feed(run: Run, feed: OfflineFeed | OnlineFeed, state: State) -> tuple[str, ...]:
    """Brings an online feed to where it was; what there is to say of it."""
    if not isinstance(feed, OnlineFeed):
        return ()
    note = feed.restore(state, checkpoints.experience(run.checkpoint(int(state.step))))
    return (note,) if note else ()


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
    if was["rewards_from"] != now["rewards_from"]:
        begun, other = (_rewarded_by(given) for given in (run.config, config))
        raise ValueError(f"{run.path} was begun on {begun}, and this is on {other}: resume it with the same options")
    for name, value in now.items():
        if was.get(name) != value:
            begun = f"{run.path} was begun with {name} {was.get(name)}"
            raise ValueError(f"{begun}, and this is {value}: resume it with the same options")
    data = run.config["data"]
    if data["fingerprint"] != config["data"]["fingerprint"]:
        raise ValueError(f"{run.path} was begun on other episodes ({data['path']}): resume it on the same")
    if run.config["spec"] != config["spec"]:
        raise ValueError(f"{run.path} was begun with another environment: resume it with the same options")


def _rewarded_by(config: dict[str, Any]) -> str:
    """Whose rewards a run is on, in words."""
    learned = config.get("rewards_from")
    if not learned:
        return "the environment's rewards"
    return f"the reward of {learned['run']} (checkpoint {learned['checkpoint']}, {learned['fingerprint'][:15]})"


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """The options by which a run is the same one, whatever its number of steps."""
    own = {name: config[name] for name in ("learner", "members", "seed", "checkpoint_every")}
    # Folders of before there was experience know nothing of these two, and were as they are by default
    usual = {"subsample": 1, "collection": asdict(Collection())}
    plan = usual | config["plan"]
    split = {name: plan[name] for name in ("validation", "stratify", "subsample", "collection")}
    learned = {"rewards_from": (config.get("rewards_from") or {}).get("fingerprint")}
    return own | config["fields"] | {"keys": config["data"]["keys"]} | split | learned

"""`demonstrably train LEARNER --data FILE --out RUN`."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from demonstrably.cli import parse, suggest
from demonstrably.cli.parts import registry
from demonstrably.cli.progress import Bar
from demonstrably.cli.reading import demonstrations
from demonstrably.data.batches import Experience, Transitions
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.findings import inspect
from demonstrably.learners import LEARNERS
from demonstrably.learners.contract import Learner
from demonstrably.spec import Continuous, Environment, Spec
from demonstrably.training.fields import text_name
from demonstrably.training.online import Collection, OnlineFeed
from demonstrably.training.rewards import Reward
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session
from demonstrably.training.worlds import Worlds

SHOWN = {"loss": "loss", "episode_return": "return of its own episodes"}  # beside the bar

# What plays episodes is imported where it is needed: without it the first step comes a second earlier.


@dataclass(frozen=True)
class Options:
    """What every learner's training takes; the learner's own hyperparameters stand beside it."""

    out: Path
    """Run folder to make."""
    data: Path | None = None
    """File of demonstrations. A learner from its own experience alone may go without, and then needs `env`."""
    steps: int = 10_000
    """Updates of each member."""
    members: int = 1
    """Independent copies, seeded seed, seed + 1, ..., trained at once."""
    seed: int = 0
    keys: tuple[str, ...] = ()
    """Observation keys that the policy reads; by default all that are not repeated in another."""
    where: str | None = None
    """Which episodes: a mask's name, or a condition such as "quality == 'expert' and length > 100"."""
    episodes: int | None = None
    """Only the first so many of them."""
    on_invalid: Literal["error", "drop"] = "error"
    """What an episode that cannot be used does: stop the reading, or be left out."""
    subsample: int = 1
    """Of each episode only every so many-th step, from a place drawn by the seed, and one that ends the task."""
    validation: float = 0.1
    """Share of the episodes held out for the validation loss."""
    stratify: str | None = None
    """Column of the episode table whose shares the held-out episodes keep."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; by default there are 20."""
    log_every: int = 100
    """Steps between lines of metrics."""
    env: str | None = None
    """Environment id; by default the file's own. Where a learner gathers experience, it does so there."""
    rewards_from: Path | None = None
    """Learn by trial on the reward that this run learned, in place of the environment's (sac, soft-q). Its selected
    checkpoint is taken, else its last; without `data` what it observes is observed."""
    collection: Annotated[Collection, tyro.conf.arg(name="")] = Collection()
    trust_ends: bool = False
    """Take it that episodes of the file which stop short of the environment's time limit did not end by the task."""
    rollouts: int = 0
    """Episodes a member at every checkpoint; 0 plays none."""
    success: str = "any"
    """When an episode succeeds: any or last (the environment's signal at any step or at the last), or a rule."""
    workers: int | None = None
    """Processes that hold the environments; 0 keeps them in this one."""
    stop_early: Literal["validation-loss", "success", "return"] | None = None
    """End once this has not improved for `patience` checkpoints."""
    patience: int = 5
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""
    resume: bool = False
    """Go on from the last checkpoint in `out`."""
    json: bool = False
    """Print one JSON document."""

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"--episodes is {self.episodes}: give at least 1")
        if self.rollouts < 0 or self.patience < 1:
            raise ValueError("--rollouts must be at least 0 and --patience at least 1")
        if self.stop_early in ("success", "return") and not self.rollouts:
            raise ValueError(f"--stop-early {self.stop_early} needs episodes to look at: give --rollouts 10")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and print where the run is and how it went."""
    options, learner = _options(list(sys.argv[1:] if arguments is None else arguments))
    demos = _demonstrations(options) if options.data else None
    session = _session(demos, options, learner)
    with Bar("train") as bar:
        last = _train(session, options, bar)
    if demos:
        session.run.write_json("findings.json", inspect(demos).to_dict())
    _finish(session, options, last)
    return 0


def _options(given: list[str]) -> tuple[Options, Learner]:
    """The options and the learner that the words describe; its preset gives the defaults of the rest."""
    if not given or given[0].startswith("-"):
        if given and given[0] in ("-h", "--help"):
            print("usage: demonstrably train LEARNER --data FILE --out RUN [options]\n\nlearners:")
            for name, (kind, presets) in LEARNERS.items():
                print(f"  {name:10} {(kind.__doc__ or '').splitlines()[0]}{_presets(presets)}")
            print("\n`demonstrably train LEARNER --help` lists the options of one.")
            raise SystemExit(0)
        raise ValueError(f"`demonstrably train` needs a learner first: {', '.join(LEARNERS)}")
    name, *rest = given
    if name not in LEARNERS:
        raise ValueError(f"`demonstrably train` knows no {name!r}; {suggest(name, LEARNERS)}")
    kind, presets = LEARNERS[name]
    base = _preset(name, rest) or kind()
    shape = dataclasses.make_dataclass(
        "TrainOptions",
        [
            ("common", Annotated[Options, tyro.conf.arg(name="")]),
            ("learner", Annotated[kind, tyro.conf.arg(name="")], dataclasses.field(default=base)),
            ("preset", str | None, dataclasses.field(default=None)),
        ],
        frozen=True,
    )
    shape.__doc__ = f"{kind.__doc__}{_presets(presets)}"
    _check_flags(base, rest, f"demonstrably train {name}")

    def filled(usual: tuple[Any, ...]) -> Any:
        return parse(shape, rest, prog=f"demonstrably train {name}", registry=registry(kind, Collection, usual=usual))

    found = filled(base.usual())
    if found.learner.usual() != base.usual():  # another flag, such as --online, changes what is usual
        found = filled(found.learner.usual())
    return found.common, found.learner


def _check_flags(learner: Learner, given: Sequence[str], prog: str) -> None:
    """ValueError where a flag is no field of the learner but one of the generator inside it, which says how."""
    kinds: tuple[Any, ...] = (type(learner), Options, Collection)
    own = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    for word in (word.split("=")[0] for word in given if word.startswith("--")):
        field = word.removeprefix("--").replace("-", "_")
        holders = [part for part in learner.usual() if field in {f.name for f in dataclasses.fields(part)}]
        if field not in own and holders:
            ways = " or ".join(f'--generator "{text_name(type(part))}({field}=...)"' for part in holders)
            fits = ", as fits the actions" if len(holders) > 1 else ""
            raise ValueError(f"unknown flag {word} for `{prog}`: its generator has it, so give {ways}{fits}")


def _presets(presets: Iterable[str]) -> str:
    """The names of presets, where there are some."""
    return f" Presets: {', '.join(presets)}." if presets else ""


def _preset(name: str, given: Sequence[str]) -> Learner | None:
    """The preset that the words ask for. ValueError for an unknown one."""
    words = [word for text in given for word in text.split("=", 1)]
    if "--preset" not in words[:-1]:
        return None
    wanted, presets = words[words.index("--preset") + 1], LEARNERS[name][1]
    if not presets:
        raise ValueError(f"{name} has no presets: leave --preset out")
    if wanted not in presets:
        raise ValueError(f"{name} has no preset {wanted!r}; {suggest(wanted, presets)}")
    return presets[wanted]


def _demonstrations(options: Options) -> Demonstrations:
    assert options.data, "asked for only where there is a file"
    demos = demonstrations(
        options.data, where=options.where, episodes=options.episodes, on_invalid=options.on_invalid
    )
    if options.env:
        demos = dataclasses.replace(demos, environment=Environment(options.env))
    return demos


def _session(demos: Demonstrations | None, options: Options, learner: Learner) -> Session:
    """Plan, checks and run folder. Everything that can be wrong is found before training."""
    reward = _reward(options)
    reads = learner.reads()
    gathers = isinstance(reads, Experience)
    _refuse_idle(options, learner, gathers=gathers)
    if demos and isinstance(reads, Experience | Transitions):
        demos = _checked(demos, options, reads)
    spec = demos.spec(options.keys or None) if demos else _own_spec(options, learner, reward)
    plan = Plan(
        steps=options.steps,
        members=options.members,
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
        log_every=options.log_every,
        validation=options.validation if demos and len(demos) > 1 and not gathers else 0.0,
        stratify=options.stratify,
        subsample=options.subsample,
        device=_device(options.device),
        collection=options.collection,
    )
    if options.stop_early == "validation-loss" and gathers:
        raise ValueError(
            "--stop-early validation-loss says nothing of a learner with experience of its own: stop early by return, "
            "with --rollouts 10"
        )
    if options.stop_early == "validation-loss" and not plan.validation:
        raise ValueError("--stop-early validation-loss needs held-out episodes: give --validation 0.1, and 2 episodes")
    if options.rollouts or (options.env and demos and not gathers):  # who gathers experience holds the two together
        from demonstrably.cli.while_training import check_environment

        check_environment(spec)
    session = Session.open(
        learner,
        demos,
        plan,
        options.out,
        observations=options.keys or None,
        worlds=lambda spec, lanes: _worlds(spec, lanes, options.workers),
        spec=spec,
        resume=options.resume,
        reward=reward,
    )
    for note in session.notes:
        _say(note)
    _say(f"{demos!r}" if demos else f"experience in {spec.environment.name if spec.environment else options.env}")
    shown = session.feed.demonstrated if isinstance(session.feed, OnlineFeed) else session.feed
    if shown and plan.subsample > 1:
        _say(f"every {plan.subsample}. step of an episode: {shown.steps:,} steps to learn from")
    _say(f"{plan.members} member(s), {plan.steps} steps on {plan.device}, into {session.run.path}")
    return session


def _refuse_idle(options: Options, learner: Learner, *, gathers: bool) -> None:
    """ValueError for options that would change nothing, by one who thinks that they do."""
    given = [f.name for f in dataclasses.fields(Collection) if vars(options.collection)[f.name] != f.default]
    if given and not gathers:
        way = "give --online, or leave it out" if "online" in vars(learner) else "leave it out"
        raise ValueError(f"--{given[0].replace('_', '-')}: this learner gathers no experience of its own; {way}")
    of_file = {"--episodes": options.episodes, "--where": options.where, "--stratify": options.stratify}
    of_file["--on-invalid"] = options.on_invalid == "drop"
    of_file["--subsample"] = options.subsample > 1
    if not options.data and (idle := [flag for flag, value in of_file.items() if value]):
        raise ValueError(f"{idle[0]} is for a file of demonstrations: give one with --data, or leave it out")


def _checked(demos: Demonstrations, options: Options, reads: Experience | Transitions) -> Demonstrations:
    """The demonstrations as the environment would have them; says where its bounds of actions are others."""
    if demos.environment is None or demos.environment.seats > 1:
        return demos
    from demonstrably.evaluation.environments import offered_by
    from demonstrably.evaluation.evidence_checks import check_evidence

    try:
        offered = offered_by(demos.environment)
    except ValueError as error:
        if isinstance(reads, Experience):
            raise
        _say(f"ends and actions of the file are not held against its environment: {error}")
        return demos
    read = isinstance(reads, Transitions) or reads.demonstrations > 0
    found = check_evidence(demos, offered, trust_ends=options.trust_ends, read=read)
    if found.action != demos.action and isinstance(found.action, Continuous):
        low, high = min(found.action.low), max(found.action.high)
        _say(f"actions: within the environment's bounds, {low:g} to {high:g}, which are others than the file's")
    return found


def _own_spec(options: Options, learner: Learner, reward: Reward | None) -> Spec:
    """What is observed and done where no file says so: what a learned reward reads, else all the environment shows.

    ValueError where there must be a file, or an environment.
    """
    reads = learner.reads()
    if not isinstance(reads, Experience) or reads.demonstrations:
        raise ValueError("it learns from demonstrations: give a file of them with --data FILE")
    place = Environment(options.env) if options.env else reward.spec.environment if reward else None
    if place is None:
        raise ValueError("without --data it needs to know where it gathers experience: give --env ID")
    from demonstrably.evaluation.environments import check, offered_by, spec_of

    found = replace(reward.spec, environment=place) if reward else spec_of(place)
    if reward:
        check(found, offered_by(place), ("the reward", "give --rewards-from a run of this task"))
    for key in options.keys:
        if key not in found.observations:
            raise ValueError(f"{place.name} has no observation key {key!r}; {suggest(key, found.observations)}")
    return replace(found, observations={key: found.observations[key] for key in options.keys or found.observations})


def _worlds(spec: Spec, lanes: int, workers: int | None) -> Worlds:
    """The environments of a learner that gathers experience. ValueError where none is named."""
    if spec.environment is None:
        raise ValueError("it gathers experience of its own, and the file names no environment: give --env ID")
    from demonstrably.evaluation.worlds import ArenaWorlds

    return ArenaWorlds(spec.environment, spec, lanes, workers=workers)


def _reward(options: Options) -> Reward | None:
    """The reward to learn on where it is another run's. A resumed run takes the checkpoint that it was begun with."""
    if options.rewards_from is None:
        return None
    from demonstrably.cli.reward import recovered

    begun = (Run(options.out).config.get("rewards_from") or {}) if options.resume else {}
    return recovered(options.rewards_from, begun.get("checkpoint"), _device(options.device))


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {wanted} cannot be used here: {str(error).splitlines()[0]}") from error
    return wanted


def _train(session: Session, options: Options, bar: Bar) -> dict[str, Any]:
    """Runs the session to its end or to an early stop; returns the last checkpoint's figures."""
    last: dict[str, Any] = {}
    shown: dict[str, float] = {}  # the newest of each metric: no episode may have ended since the last line
    resumed = int(session.state.step)
    if resumed and _over(session, options, resumed, last):  # a kill may have come between a checkpoint and this
        return last
    for progress in session.train():
        shown |= {name: float(np.mean(values)) for name, values in progress.metrics.items()}
        words = ", ".join(f"{words} {shown[name]:.4g}" for name, words in SHOWN.items() if name in shown)
        bar.update(progress.step, session.plan.steps, f"{words}, {progress.steps_per_second:.0f} steps/s")
        if not session.at_checkpoint(progress.step):
            continue
        last = {name: values.tolist() for name, values in progress.metrics.items()}
        last["steps_per_second"] = progress.steps_per_second
        if _over(session, options, progress.step, last):
            break
    return last


def _over(session: Session, options: Options, step: int, last: dict[str, Any]) -> bool:
    """What follows a checkpoint: the rollouts that are wanted, into `last`, and whether to stop early."""
    if options.rollouts:
        from demonstrably.cli.while_training import play

        last["score"] = play(session, options.rollouts, options.success, options.workers)
    if not options.stop_early:
        return False
    from demonstrably.evaluation.early_stop import Watch

    reads = session.learner.reads()
    ahead = reads.ahead if isinstance(reads, Experience) else 0
    over = Watch(options.stop_early, options.patience, session.run, ahead).over()
    if over:
        what = f"no better {options.stop_early} for {options.patience} checkpoints"
        _say(f"stopped early at step {step}: {what}")
    return over


def _finish(session: Session, options: Options, last: dict[str, Any]) -> None:
    run = session.run
    if options.json:
        print(json.dumps({"run": str(run.path), "checkpoints": run.checkpoints, **last}))
        return
    if "validation_loss" in last:
        losses = ", ".join(f"{loss:.3f}" for loss in last["validation_loss"])
        print(f"validation loss by member: {losses} (a poor guide to success: select by rollouts)")
    print(f"{len(run.checkpoints)} checkpoints in {run.path}")
    bounds = "" if session.config["data"]["path"] else " --return-low LOWEST --return-high HIGHEST"
    print(f"next: demonstrably select {run.path} --rollouts 300{bounds}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

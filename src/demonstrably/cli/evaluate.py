"""`demonstrably evaluate RUN`: play checkpoints on fresh seeds and give their scores with intervals."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import tyro

from demonstrably.cli import parse
from demonstrably.cli.playing import Playing
from demonstrably.cli.progress import Bar
from demonstrably.evaluation.intervals import Score, score_of
from demonstrably.evaluation.recorder import Recorder
from demonstrably.evaluation.rollout import rollout
from demonstrably.spec import Environment
from demonstrably.training.run import Run

FIRST_SEED = 100_000  # demonstrations recorded from seeds tend to use small ones


@dataclass(frozen=True)
class Options:
    """Play a run's policies on fresh seeds; give success and return with their intervals."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    selected: bool = False
    """The checkpoint and member that `demonstrably select` chose. The default where there is a selection."""
    checkpoint: int | None = None
    """This checkpoint, all members. The last one is the default where there is no selection."""
    all: bool = False
    """Every checkpoint, all members."""
    episodes: int = 50
    """Episodes a member."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode; the others follow it."""
    video: int = 0
    """Episodes a checkpoint to film, into the run's folder `videos`."""
    playing: Annotated[Playing, tyro.conf.arg(name="")] = Playing()
    json: bool = False
    """Print one JSON document."""


@dataclass(frozen=True)
class Played:
    """The score of a checkpoint: of one of its members, or of all."""

    checkpoint: int
    member: int | None
    score: Score
    videos: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, keep the episodes in the run folder, and print the scores."""
    options = parse(Options, arguments, prog="demonstrably evaluate")
    _check(options)
    run = Run(options.run)
    environment = options.playing.conditions().place(run)
    played = [_play(options, run, environment, *choice) for choice in _choices(options, run)]
    if options.json:
        records = [_record(one, options, environment) for one in played]
        print(json.dumps({"checkpoints": records} if options.all else records[0]))
    else:
        print("\n\n".join(_text(one) for one in played))
    return 0


def _check(options: Options) -> None:
    if options.selected + (options.checkpoint is not None) + options.all > 1:
        raise ValueError("give one of --selected, --checkpoint and --all")
    if options.episodes < 1 or options.first_seed < 0 or options.video < 0:
        raise ValueError("--episodes must be at least 1, --first-seed and --video at least 0")


def _choices(options: Options, run: Run) -> list[tuple[int, int | None]]:
    """The checkpoints to play, each with the one member to play or None for all."""
    steps = run.trained()
    if options.all:
        return [(step, None) for step in steps]
    if options.checkpoint is not None:
        return [(options.checkpoint, None)]
    winner = _winner(run)
    if winner is None and options.selected:
        raise ValueError(f"{run.path} has no selection: run `demonstrably select {run.path}` first")
    if winner is None:
        _say(f"checkpoint {steps[-1]}, the last (there is no selection)")
        return [(steps[-1], None)]
    _say(f"checkpoint {winner[0]}, member {winner[1]}, as selected")
    return [winner]


def _winner(run: Run) -> tuple[int, int] | None:
    """Checkpoint and member of the selection's winner."""
    selection = run.read_json("selection.json")
    if selection is None:
        return None
    numbers = re.fullmatch(r"step (\d+), member (\d+)", str(selection.get("label")))
    if numbers is None:
        raise ValueError(f"{run.path / 'selection.json'} names no winner: select again")
    return int(numbers[1]), int(numbers[2])


def _play(options: Options, run: Run, environment: Environment, checkpoint: int, member: int | None) -> Played:
    policy = run.policy(checkpoint, options.playing.device)
    recorder = Recorder(run.path / "videos", options.video, f"{checkpoint:06d}_") if options.video else None
    with Bar(f"checkpoint {checkpoint}") as bar:
        table = rollout(
            policy,
            environment,
            range(options.first_seed, options.first_seed + options.episodes),
            members=None if member is None else [member],
            workers=options.playing.workers,
            horizon=options.playing.horizon,
            success=options.playing.success,
            record=recorder,
            progress=bar.update,
        )
    _keep(run, environment, table, checkpoint)
    if recorder and recorder.problem:
        _say(f"no video: {recorder.problem}")
    videos = tuple(str(path) for path in recorder.paths) if recorder else ()
    return Played(checkpoint, member, score_of(table), videos)


def _keep(run: Run, environment: Environment, table: pa.Table, checkpoint: int) -> None:
    own = run.spec.environment
    if own is not None and own != environment:
        _say(f"the episodes are not kept in the run folder: they were not played in its {own.name}")
        return
    rows = table.num_rows
    table = table.append_column("checkpoint", pa.array([checkpoint] * rows))
    run.append_evaluations(table.append_column("purpose", pa.array(["evaluate"] * rows)))


def _record(played: Played, options: Options, environment: Environment) -> dict[str, Any]:
    return {
        "checkpoint": played.checkpoint,
        "member": played.member,
        "environment": environment.name,
        "first_seed": options.first_seed,
        "episodes": options.episodes,
        **played.score.to_dict(),
        "videos": list(played.videos),
    }


def _text(played: Played) -> str:
    score = played.score
    who = "" if played.member is None else f", member {played.member}"
    lines = [f"checkpoint {played.checkpoint}{who}", *_lines("", score)]
    for number, member in enumerate(score.members):
        lines += _lines(f"member {number} ", member)
    if score.success is None:
        lines.append("no success signal: give a rule, such as --success 'return >= 475'")
    return "\n".join([*lines, *(f"video {path}" for path in played.videos)])


def _lines(who: str, score: Score) -> list[str]:
    success = [] if score.success is None else [f"  {who}success {score.success}"]
    return [*success, f"  {who}return {score.returns}"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

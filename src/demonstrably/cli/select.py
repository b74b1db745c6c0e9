"""`demonstrably select RUN`: find the best checkpoint and member of a run, and say what it is worth."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from demonstrably.cli import parse
from demonstrably.cli.playing import Playing

if TYPE_CHECKING:  # imported where they are used: `--help` does not need scipy, pyarrow and torch
    from demonstrably.evaluation.allocation import Allocation
    from demonstrably.evaluation.selection import Selection


@dataclass(frozen=True)
class Options:
    """Choose among a run's checkpoints and members by rollouts spent where they decide most, and re-estimate the
    winner's score on fresh seeds. The same command goes on after an interruption, or with more rollouts."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    rollouts: int
    """Rollouts in all. A fifth is kept for the winner's fresh seeds."""
    delta: float = 0.05
    """The best one is left out of the confidence set with at most this probability."""
    epsilon: float = 0.05
    """Stop when what is left is equivalent up to this (of 1 success, or of the range of returns)."""
    allocation: Literal["halving", "thompson"] = "halving"
    """Sequential halving on shared seeds, or top-two Thompson sampling with a seed of its own for each rollout."""
    checkpoint: tuple[int, ...] = ()
    """Only these checkpoints; by default all."""
    member: tuple[int, ...] = ()
    """Only these members; by default all."""
    return_low: float | None = None
    """Select by return; the return that counts as 0. Lower ones are clipped to it."""
    return_high: float | None = None
    """Select by return; the return that counts as 1. Higher ones are clipped to it."""
    first_seed: int | None = None
    """Seed of the first rollout; by default above all that the run has played."""
    playing: Annotated[Playing, tyro.conf.arg(name="")] = Playing()
    manual: bool = False
    """For a real robot: say which policy to run next, under a blinded label, and ask how it went."""
    restart: bool = False
    """Begin a new selection instead of going on with the one in the run's folder."""
    json: bool = False
    """Print one JSON document."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Select and print the story, or its record. Exit status 130 where the operator stopped."""
    options = parse(Options, arguments, prog="demonstrably select")
    _check(options)
    if options.manual:
        return _manual(options)
    selection = _simulated(options)
    _print(options, selection)
    return 0


def _check(options: Options) -> None:
    played = options.return_low, options.return_high, options.first_seed, options.playing.env
    if options.manual and any(value is not None for value in played):
        raise ValueError("--manual plays nothing: leave --return-low, --return-high, --first-seed, --env out")


def _allocation(options: Options) -> "Allocation":
    from demonstrably.evaluation.allocation import sequential_halving, top_two_thompson

    return sequential_halving if options.allocation == "halving" else top_two_thompson


def _simulated(options: Options) -> "Selection":
    from demonstrably.cli.progress import Bar
    from demonstrably.evaluation.select_run import select_run

    with Bar("select") as bar:
        return select_run(
            options.run,
            options.rollouts,
            checkpoints=options.checkpoint or None,
            members=options.member or None,
            conditions=options.playing.conditions(),
            bounds=(options.return_low, options.return_high),
            delta=options.delta,
            epsilon=options.epsilon,
            allocation=_allocation(options),
            first_seed=options.first_seed,
            restart=options.restart,
            progress=bar.update,
        )


def _manual(options: Options) -> int:
    from demonstrably.evaluation.manual import Paused, meanings, select_manually

    try:
        selection = select_manually(
            options.run,
            options.rollouts,
            _ask,
            checkpoints=options.checkpoint or None,
            members=options.member or None,
            delta=options.delta,
            epsilon=options.epsilon,
            allocation=_allocation(options),
            restart=options.restart,
        )
    except Paused as pause:
        print(f"demonstrably: stopped; {pause}", file=sys.stderr)
        return 130
    for blinded, label in meanings(options.run).items():
        print(f"{blinded} was {label}", file=sys.stderr)
    _print(options, selection)
    return 0


def _ask(prompt: str) -> str:
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline()


def _print(options: Options, selection: "Selection") -> None:
    record = json.loads((options.run / "selection.json").read_text())
    if options.json:
        print(json.dumps(record))
        return
    print(selection)
    if record["clipped"]:
        print(f"  {record['clipped']} returns lay outside the bounds; all statements are about clipped returns")
    print()
    rows = [("", "episodes", selection.scale.measure, "standing"), *selection.table()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

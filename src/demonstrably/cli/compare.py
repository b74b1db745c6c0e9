"""`demonstrably compare RUN RUN...`: which run is better, by how much, and how sure that is."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from demonstrably.cli import parse
from demonstrably.cli.playing import Playing


@dataclass(frozen=True)
class Options:
    """Play runs on the same fresh seeds and test all pairs. One may look at any time: the same command with more
    episodes goes on where the last one ended."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, two or more."""
    episodes: int = 100
    """Episodes a policy, all on the same seeds; those of an earlier call count."""
    selected: bool = False
    """The policies that `demonstrably select` chose. The default where all runs have a selection."""
    checkpoint: int | None = None
    """All members of this checkpoint. The last one is the default where a run has no selection."""
    level: float = 0.95
    """Confidence of intervals and verdicts."""
    return_low: float | None = None
    """Compare returns; the return that counts as 0. Lower ones are clipped to it."""
    return_high: float | None = None
    """Compare returns; the return that counts as 1. Higher ones are clipped to it."""
    first_seed: int | None = None
    """Seed of the first episode; by default one that no run has played."""
    playing: Annotated[Playing, tyro.conf.arg(name="")] = Playing()
    json: bool = False
    """Print one JSON document."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print the verdicts, or their record."""
    options = parse(Options, arguments, prog="demonstrably compare")
    if options.selected and options.checkpoint is not None:
        raise ValueError("give one of --selected and --checkpoint")
    from demonstrably.cli.progress import Bar  # with torch and environments, which `--help` does not need
    from demonstrably.evaluation.compare_run import compare_runs

    with Bar("compare") as bar:
        found = compare_runs(
            options.runs,
            options.episodes,
            checkpoint=options.checkpoint,
            use_selected=True if options.selected else None,
            conditions=options.playing.conditions(),
            bounds=(options.return_low, options.return_high),
            first_seed=options.first_seed,
            level=options.level,
            progress=bar.update,
        )
    if options.json:
        print(json.dumps(found.to_dict()))
        return 0
    print(found.comparison)
    if found.clipped:
        print(f"{found.clipped} returns lay outside the bounds; all statements are about clipped returns.")
    return 0

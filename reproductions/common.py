"""What the reproductions share: training into a folder, scores on fresh seeds, and the check against expectation."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation.fresh import Conditions, free_seed
from demonstrably.evaluation.intervals import Score, score_of
from demonstrably.evaluation.select_run import Bounds, select_run, selected
from demonstrably.evaluation.worlds import ArenaWorlds
from demonstrably.learners.contract import Learner
from demonstrably.spec import Environment, Spec
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session

HERE = Path(__file__).parent


def say(text: str) -> None:
    """A line on standard error, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def trained(
    learner: Learner,
    demos: Demonstrations | None,
    plan: Plan,
    folder: Path,
    spec: Spec | None = None,
    workers: int = 0,
) -> Run:
    """The run in the folder, trained to its end; gone on with where it was interrupted.

    Environments step in this process, or in that many others.
    """
    session = Session.open(
        learner,
        demos,
        plan,
        folder,
        worlds=lambda spec, lanes: ArenaWorlds(spec.environment or Environment("none"), spec, lanes, workers=workers),
        spec=spec,
        resume=(folder / "config.json").exists(),
    )
    began = time.monotonic()
    for progress in session.train():
        if session.at_checkpoint(progress.step):
            shown = progress.metrics.get("episode_return", progress.metrics["loss"])
            values = ", ".join(f"{value:.2f}" for value in shown)
            what = "return" if "episode_return" in progress.metrics else "loss"
            say(f"{folder.name} step {progress.step}: {what} {values}; {progress.steps_per_second:.0f} steps/s")
    say(f"{folder.name}: trained in {time.monotonic() - began:.0f} s")
    return session.run


def picked(run: Run, member: int, each: int, bounds: Bounds = (None, None)) -> tuple[int, int]:
    """The checkpoint that selection finds within one member, by that many rollouts; `bounds` are of returns."""
    select_run(run.path, each, members=[member], restart=True, bounds=bounds)
    winner = selected(run)
    assert winner, "select_run wrote it"
    return winner


def fresh_score(run: Run, arms: list[tuple[int, int]], episodes: int, conditions: Conditions | None = None) -> Score:
    """Score of some (checkpoint, member) on seeds that the run has never played; the episodes are kept in it."""
    conditions = conditions or Conditions()
    first = free_seed([run], episodes)
    table = conditions.play(run, arms, range(first, first + episodes))
    conditions.keep(run, [table], "evaluate")
    return score_of(table.drop_columns(["checkpoint"]))  # each member at its own checkpoint


def curve(run: Run) -> list[list[float]]:
    """Update, and each member's mean return of the episodes that ended since the update before."""
    return [[line["step"], *map(round, line["episode_return"])] for line in run.metrics() if "episode_return" in line]


def main(name: str, reproduce: Callable[[Path, Path], dict[str, Any]]) -> None:
    """Runs a reproduction, writes its result, and compares it with its expected range."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data", help="folder of data files")
    parser.add_argument("--runs", type=Path, default=Path("runs") / name, help="where the runs are kept and resumed")
    options = parser.parse_args()
    found = reproduce(options.data, options.runs)
    text = json.dumps(found, indent=1)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(text + "\n")
    print(text)
    raise SystemExit(1 if misses(name, found) else 0)


def misses(name: str, found: dict[str, Any]) -> list[str]:
    """What lies outside of its expected range, said on the terminal too."""
    expected = json.loads((HERE / "expected" / f"{name}.json").read_text())
    lines = [line for key, bounds in expected.items() if (line := _miss(key, found, bounds))]
    print("\n".join(lines) if lines else "all within the expected range")
    return lines


def _miss(key: str, found: dict[str, Any], bounds: dict[str, float]) -> str | None:
    value: Any = found
    for part in key.split("."):
        if part not in value:
            return f"{key} was not found"
        value = value[part]
    low, high = bounds.get("at_least", float("-inf")), bounds.get("at_most", float("inf"))
    return None if low <= value <= high else f"{key} is {value:.3f}, expected within [{low}, {high}]"

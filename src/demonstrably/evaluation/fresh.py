"""Fresh episodes for honest statements: unseen seeds, conditions that stay, a measure with bounds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from demonstrably.data.formats import load
from demonstrably.evaluation.rollout import SLOTS, Progress, play
from demonstrably.evaluation.scale import Scale
from demonstrably.spec import Environment
from demonstrably.training.run import Run

FIRST_SEED = 1_000_000  # above what training, recording and evaluating use by habit

Arm = tuple[int, int]
"""A checkpoint's step and a member."""


@dataclass(frozen=True)
class Conditions:
    """Under which rollouts are played; all arms alike, from the first round to the last.

    ``environment`` None is the one of the run's data; the others are as in `rollout`.
    """

    environment: Environment | None = None
    horizon: int | None = None
    success: str = "any"
    slots: int = SLOTS
    workers: int | None = None
    device: str = "cpu"

    def place(self, run: Run) -> Environment:
        """The environment to play in. ValueError where neither the conditions nor the data name one."""
        found = self.environment or run.spec.environment
        if found is None:
            raise ValueError(f"the data of {run.path} names no environment: give one with --env ID")
        return found

    def record(self, run: Run) -> dict[str, Any]:
        """What decides outcomes, as plain JSON."""
        record = {
            "environment": asdict(self.place(run)),
            "horizon": self.horizon,
            "success": self.success,
            "slots": self.slots,
        }
        return json.loads(json.dumps(record))  # tuples become lists, as they will be when read back

    def play(self, run: Run, arms: Sequence[Arm], seeds: Sequence[int], progress: Progress | None = None) -> pa.Table:
        """Episodes of a run's arms on the seeds, as `rollout.play` gives them."""
        return play(
            lambda checkpoint: run.policy(checkpoint, self.device),
            arms,
            self.place(run),
            seeds,
            slots=self.slots,
            workers=self.workers,
            horizon=self.horizon,
            success=self.success,
            progress=progress,
        )

    def keep(self, run: Run, tables: Sequence[pa.Table], purpose: str, round_: int | None = None) -> None:
        """Episodes into the run's evaluations, unless they were played somewhere else than the run's own."""
        own = run.spec.environment
        if not tables or (own is not None and self.place(run) != own):
            return
        table = pa.concat_tables(tables)
        rows = table.num_rows
        table = table.append_column("purpose", pa.array([purpose] * rows))
        run.append_evaluations(table.append_column("round", pa.array([round_] * rows, pa.int64())))


def label(arm: Arm) -> str:
    """How an arm is written everywhere: "step 500, member 0"."""
    return f"step {arm[0]}, member {arm[1]}"


def free_seed(runs: Sequence[Run], count: int, start: int = FIRST_SEED, own: Sequence[str] = ()) -> int:
    """The least seed from ``start`` on after which ``count`` were never played, but for ``own`` purposes."""
    taken = [_seeds(run.evaluations(), own) for run in runs]
    for seed in np.unique(np.concatenate(taken)).tolist():
        if seed >= start + count:
            break
        start = max(start, seed + 1)
    return start


def require_unseen(runs: Sequence[Run], first_seed: int, count: int) -> None:
    """ValueError where one of these seeds was played before: its outcome may have been looked at."""
    free = free_seed(runs, count, first_seed)
    if free != first_seed:
        raise ValueError(
            f"some of the {count} seeds from {first_seed} on were played before, and their outcomes may have "
            f"been looked at: leave --first-seed out, or give one from {free} on"
        )


def scale_of(
    runs: Sequence[Run], table: pa.Table, bounds: tuple[float | None, float | None]
) -> tuple[Scale, str | None]:
    """What the first episodes show can be measured, and a note where bounds had to be taken from the data.

    Success where there is a signal and no bounds are given. Otherwise the return between the bounds. A bound
    not given is taken from the demonstrations: their highest return; their lowest or 0, whichever is less.

    Raises ValueError where a bound is missing and the demonstrations cannot give it.
    """
    low, high = bounds
    if low is None and high is None and table.column("success").null_count < table.num_rows:
        return Scale(), None
    if low is not None and high is not None:
        return Scale("return", low, high), None
    returns = _demonstrated(runs)
    low = min(0.0, float(returns.min())) if low is None else low
    high = float(returns.max()) if high is None else high
    if not low < high:
        raise ValueError(
            f"the demonstrations' returns, from {returns.min():.4g} to {returns.max():.4g}, give no bounds: "
            "give --return-low and --return-high"
        )
    note = f"returns are measured between {low:.4g} and {high:.4g}, a range taken from the demonstrations"
    return Scale("return", low, high), note


def measured(table: pa.Table, scale: Scale) -> tuple[NDArray[np.float64], int]:
    """The table's episodes as scores in [0, 1], and how many returns were clipped."""
    if scale.measure == "return":
        return scale.scores(table.column("return").to_numpy())
    column = table.column("success")
    if column.null_count:
        raise ValueError(f"{column.null_count} of {len(column)} episodes gave no success signal, others did")
    return scale.scores(column.to_numpy().astype(np.float64))


def same_conditions(before: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """ValueError that names the first condition in which a continued statement differs from its beginning."""
    for name, value in now.items():
        if before[name] != value:
            raise ValueError(f"{name} was {before[name]} before and is {value} now: keep it, or {advice}")


def _seeds(table: pa.Table, own: Sequence[str]) -> NDArray[np.int64]:
    """Seeds played for other purposes than one's own."""
    others = [purpose not in own for purpose in table.column("purpose").to_pylist()]
    return table.column("seed").to_numpy()[np.array(others, dtype=bool)]


def _demonstrated(runs: Sequence[Run]) -> NDArray[np.float64]:
    """Returns of the demonstrations that the runs learned from."""
    found = []
    for run in runs:
        path = run.config["data"]["path"]
        if path is None:
            raise ValueError(f"{run.path} learned from no file: give --return-low and --return-high")
        found.append(load(path).table.column("return").to_numpy().astype(np.float64))
    return np.concatenate(found)

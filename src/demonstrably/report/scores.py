"""Scores of a run's checkpoints from its table of episodes, by the intervals that all of the library uses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from demonstrably.evaluation.intervals import Measured, Score, score_of

from .charts import Checkpoint, Interval

PURPOSES = ("train", "evaluate")
FEWEST = 5  # seeds of a selection's first round that are worth a point on a curve
SCORED = 120  # checkpoints that are scored at most


@dataclass(frozen=True)
class Scores:
    """The scores of a run: `measure` is "success" where there is a success signal, else "return"."""

    measure: str
    checkpoints: tuple[Checkpoint, ...]
    evaluated: int  # checkpoints with episodes, of which `checkpoints` holds all or an even share
    level: float
    selecting: bool  # whether episodes of a selection's first round are among them
    problems: tuple[str, ...]

    @property
    def axis(self) -> str:
        """Axis label with its unit."""
        return "success rate" if self.measure == "success" else "return (sum of rewards)"

    @property
    def bounds(self) -> tuple[float, ...]:
        """Values that an axis of this measure must reach."""
        return (0.0, 1.0) if self.measure == "success" else ()


def interval(measured: Measured) -> Interval:
    """A measured mean as something to draw; without an interval where one episode gave none."""
    if math.isfinite(measured.low) and math.isfinite(measured.high):
        return Interval(measured.mean, measured.low, measured.high, str(measured))
    text = f"{measured.mean:.4g}, {measured.episodes} episode(s): too few for an interval"
    return Interval(measured.mean, measured.mean, measured.mean, text)


def of_checkpoints(table: pa.Table, keep: Sequence[int] = ()) -> Scores | None:
    """Scores of the checkpoints that were evaluated; None where none was.

    Of very many, `SCORED` evenly spaced ones are scored, and those in `keep` and the one that looks best.
    """
    counting, selecting = _counting(table)
    chosen = counting.sort_by("checkpoint")
    if not chosen.num_rows:
        return None
    column = chosen.column("success")
    measure = "success" if column.null_count < len(column) else "return"
    steps, starts = np.unique(chosen.column("checkpoint").to_numpy(), return_index=True)
    ends = np.append(starts[1:], chosen.num_rows)
    means = np.add.reduceat(_numbers(chosen, measure), starts) / (ends - starts)
    kept = _spaced(len(steps)) | set(np.flatnonzero(np.isin(steps, list(keep))).tolist()) | {int(np.argmax(means))}
    scored: list[Checkpoint] = []
    problems: list[str] = []
    level = 0.95
    for index in sorted(kept):
        try:
            rows = chosen.slice(starts[index], ends[index] - starts[index])
            score = score_of(rows, level)
        except ValueError as error:
            problems.append(f"checkpoint {steps[index]:,}: {error}")
            continue
        scored.append(
            Checkpoint(int(steps[index]), interval(_measured(score, measure)), _members(score, rows, measure))
        )
    return Scores(measure, tuple(scored), len(steps), level, selecting, tuple(problems))


def _counting(table: pa.Table) -> tuple[pa.Table, bool]:
    """The episodes that count towards a checkpoint's score, and whether a selection's are among them.

    Those of later rounds of a selection were spent where scores looked good, and would flatter. The first round
    was fixed before any outcome was seen; it counts where all its arms met on the same seeds, `FEWEST` at least.
    """
    purposes = np.array(table.column("purpose").to_pylist(), dtype=object)
    counts = np.isin(purposes, PURPOSES)
    first = (purposes == "select") & (_column(table, "round") == 0)
    rows = table.filter(pa.array(first))
    arms = set(zip(_column(rows, "checkpoint").tolist(), _column(rows, "member").tolist(), strict=True))
    seeds = len(np.unique(_column(rows, "seed")))
    selecting = seeds >= FEWEST and len(arms) * seeds == rows.num_rows
    return table.filter(pa.array(counts | first if selecting else counts)), selecting


def _column(table: pa.Table, name: str) -> np.ndarray:
    """A column of whole numbers; -1 where there is none."""
    if name not in table.column_names:
        return np.full(table.num_rows, -1)
    return table.column(name).cast(pa.int64()).fill_null(-1).to_numpy()


def _numbers(table: pa.Table, measure: str) -> np.ndarray:
    """The measure of each episode; a missing success counts as 0 here, where only a rough rank matters."""
    return np.nan_to_num(table.column(measure).cast(pa.float64()).to_numpy())


def _spaced(count: int) -> set[int]:
    return set(np.unique(np.linspace(0, count - 1, min(count, SCORED)).round().astype(int)).tolist())


def _measured(score: Score, measure: str) -> Measured:
    """The success where it is the measure and known, else the return."""
    return score.success if measure == "success" and score.success is not None else score.returns


def _members(score: Score, table: pa.Table, measure: str) -> dict[int, Interval]:
    numbers = np.unique(table.column("member").to_numpy()).tolist()
    if not score.members:
        return {int(numbers[0]): interval(_measured(score, measure))}
    return {int(m): interval(_measured(s, measure)) for m, s in zip(numbers, score.members, strict=True)}


def by_task(table: pa.Table, step: int) -> dict[str, Interval]:
    """The pooled score of each task at one checkpoint; empty where the episodes name fewer than two tasks."""
    if "task" not in table.column_names:
        return {}
    counting, _ = _counting(table)
    rows = counting.filter(pa.array(counting.column("checkpoint").to_numpy() == step))
    names = sorted(name for name in rows.column("task").unique().to_pylist() if name is not None)
    if len(names) < 2:
        return {}
    measure = "success" if rows.column("success").null_count < rows.num_rows else "return"
    found = {}
    for name in names:
        try:
            score = score_of(rows.filter(pa.array([task == name for task in rows.column("task").to_pylist()])))
        except ValueError:
            continue  # this task's members share no seed: it has no pooled score
        found[name] = interval(_measured(score, measure))
    return found


def evaluated_again(table: pa.Table, step: int, member: int, measure: str) -> Interval | None:
    """The score of one member by the episodes of `evaluate` alone, which no selection has seen; None without any."""
    purposes = np.array(table.column("purpose").to_pylist(), dtype=object)
    mine = (_column(table, "checkpoint") == step) & (_column(table, "member") == member)
    rows = table.filter(pa.array((purposes == "evaluate") & mine))
    if not rows.num_rows or (measure == "success" and rows.column("success").null_count):
        return None
    return interval(_measured(score_of(rows), measure))

"""`compare` on run folders: the same fresh seeds for all, kept so that episodes can be added later."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from demonstrably.evaluation.compare import Comparison, compare
from demonstrably.evaluation.fresh import (
    FIRST_SEED,
    Arm,
    Conditions,
    free_seed,
    measured,
    require_unseen,
    scale_of,
)
from demonstrably.evaluation.intervals import Score, score_of
from demonstrably.evaluation.rollout import Progress
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.select_run import Bounds, Listener, selected
from demonstrably.training.run import EPISODES, Run

ROUND = 25  # seeds between two savings


@dataclass(frozen=True)
class ComparedRuns:
    """A comparison of runs, each run's score on the shared seeds, and how many returns were clipped."""

    comparison: Comparison
    scores: tuple[Score, ...]
    clipped: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        scores = [score.to_dict() for score in self.scores]
        return {"comparison": self.comparison.to_dict(), "scores": scores, "clipped": self.clipped}


def compare_runs(
    folders: Sequence[str | Path],
    episodes: int,
    *,
    checkpoint: int | None = None,
    use_selected: bool | None = None,
    conditions: Conditions | None = None,
    bounds: Bounds = (None, None),
    first_seed: int | None = None,
    level: float = 0.95,
    progress: Listener | None = None,
) -> ComparedRuns:
    """Compare runs on ``episodes`` seeds that none of them has ever played.

    What plays: the run's selected policy (``use_selected``; the default where all runs have a selection), or
    all members of a checkpoint (by default the last one). Outcomes are saved as they come, in every run's
    comparisons/<names>.json and evaluations: the same call goes on after an interruption, and one with more
    ``episodes`` adds seeds, which is valid because this evidence may be looked at at any time. Once another
    policy plays or something else changes, a new comparison begins. For ``bounds`` see `select_run`.

    Raises ValueError for runs with different environments, a policy that is not there, seeds played before.
    """
    runs, conditions = [Run(folder) for folder in folders], conditions or Conditions()
    if episodes < 1:
        raise ValueError(f"{episodes} episodes: give at least 1")
    names = _names(runs)
    arms = _arms(runs, checkpoint, use_selected)
    record = {
        "names": names,
        "arms": arms,
        "bounds": list(bounds),
        "conditions": _one_place(runs, conditions),
    }
    file = f"comparisons/{'-vs-'.join(names).replace('/', '_')}.json"
    shared = _Shared(runs, [[(step, member) for step, member in of] for of in arms], conditions, progress)
    shared.resume(runs[0].read_json(file), record)
    if not shared.rounds and first_seed is not None:
        require_unseen(runs, first_seed, episodes)
    while shared.seeds < episodes:
        shared.play(min(ROUND, episodes - shared.seeds), episodes, first_seed, bounds)
        saved = {"record": record, **shared.saved(), **shared.compared(names, level).to_dict()}
        for run in runs:
            run.write_json(file, saved)
    return shared.compared(names, level)


class _Shared:
    """Rounds of episodes on shared seeds: one table a run and round, rows by arm, then by seed."""

    def __init__(
        self,
        runs: Sequence[Run],
        arms: Sequence[Sequence[Arm]],
        conditions: Conditions,
        progress: Listener | None,
    ) -> None:
        self._runs, self._arms, self._conditions, self._progress = runs, arms, conditions, progress
        self.rounds: list[list[pa.Table]] = []
        self._scale: Scale | None = None
        self._next = 0

    @property
    def seeds(self) -> int:
        """Seeds that all have played."""
        return sum(tables[0].num_rows // len(self._arms[0]) for tables in self.rounds)

    def resume(self, saved: dict[str, Any] | None, record: dict[str, Any]) -> None:
        """Take up what was played, if it was under the same record."""
        if saved is None or saved.get("record") != record:
            return
        self.rounds = [[_table(columns) for columns in tables] for tables in saved["rounds"]]
        self._scale, self._next = Scale.from_dict(saved["scale"]), saved["next_seed"]

    def play(self, count: int, episodes: int, first_seed: int | None, bounds: Bounds) -> None:
        """One more round, on seeds that nobody has played, and its episodes into the runs' evaluations."""
        start = self._next if self.rounds else FIRST_SEED if first_seed is None else first_seed
        begin = free_seed(self._runs, count, start)
        arms = sum(map(len, self._arms))
        tables, before = [], self.seeds * arms
        for run, own in zip(self._runs, self._arms, strict=True):
            listener = self._listener(before, episodes * arms, run.name)
            tables.append(self._conditions.play(run, own, range(begin, begin + count), listener))
            before += tables[-1].num_rows
        for run, table in zip(self._runs, tables, strict=True):
            self._conditions.keep(run, [table], "compare")
        self.rounds.append(tables)
        self._next = begin + count
        if self._scale is None:
            self._scale, note = scale_of(self._runs, pa.concat_tables(tables), bounds)
            if note and self._progress:
                self._progress(before, episodes * arms, note)

    def _listener(self, before: int, total: int, note: str) -> Progress | None:
        told = self._progress
        return None if told is None else lambda done, _: told(before + done, total, note)

    def saved(self) -> dict[str, Any]:
        """What `resume` needs."""
        assert self._scale is not None
        rounds = [[table.to_pydict() for table in tables] for tables in self.rounds]
        return {"scale": self._scale.to_dict(), "next_seed": self._next, "rounds": rounds}

    def compared(self, names: Sequence[str], level: float) -> ComparedRuns:
        """The comparison as it stands."""
        assert self._scale is not None
        matrices, scores, clipped = [], [], 0
        for index, arms in enumerate(self._arms):
            parts = [measured(tables[index], self._scale) for tables in self.rounds]
            matrices.append(np.concatenate([part.reshape(len(arms), -1) for part, _ in parts], axis=1))
            clipped += sum(count for _, count in parts)
            scores.append(score_of(pa.concat_tables([tables[index] for tables in self.rounds]), level))
        found = compare(*matrices, names=names, level=level, scale=self._scale)
        return ComparedRuns(found, tuple(scores), clipped)


def _table(columns: dict[str, list[Any]]) -> pa.Table:
    """A saved table with its column types, which plain lists of nothing do not tell."""
    return pa.table({name: pa.array(values, EPISODES.field(name).type) for name, values in columns.items()})


def _names(runs: Sequence[Run]) -> list[str]:
    """The folders' names, with as many parts of their paths as tell them apart."""
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} run to compare: give at least two")
    paths = [run.path.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise ValueError("the same run is given twice: compare different runs")
    parts = 1
    while len({path.parts[-parts:] for path in paths}) < len(paths):
        parts += 1
    return ["/".join(path.parts[-parts:]) for path in paths]


def _arms(runs: Sequence[Run], checkpoint: int | None, use_selected: bool | None) -> list[list[list[int]]]:
    """Per run, the (checkpoint, member) pairs that play, as JSON has them."""
    winners = [selected(run) for run in runs]
    if use_selected and checkpoint is not None:
        raise ValueError("give --checkpoint or --selected, not both")
    if use_selected or (use_selected is None and checkpoint is None and None not in winners):
        for run, winner in zip(runs, winners, strict=True):
            if winner is None:
                raise ValueError(f"{run.path} has no selection: run `demonstrably select {run.path}` first")
        return [[list(winner)] for winner in winners if winner is not None]
    for run in runs:
        if not run.checkpoints or (checkpoint is not None and checkpoint not in run.checkpoints):
            raise ValueError(f"{run.path} has no checkpoint {checkpoint}: it has {run.checkpoints or 'none'}")
    steps = [run.checkpoints[-1] if checkpoint is None else checkpoint for run in runs]
    return [[[step, member] for member in range(run.members)] for run, step in zip(runs, steps, strict=True)]


def _one_place(runs: Sequence[Run], conditions: Conditions) -> dict[str, Any]:
    """The conditions' record, the same for all runs; ValueError where their environments differ."""
    records = [conditions.record(run) for run in runs]
    for run, record in zip(runs, records, strict=True):
        if record != records[0]:
            places = [conditions.place(one).name for one in (runs[0], run)]
            where = f"{runs[0].path} plays in {places[0]}, {run.path} plays in {places[1]}"
            raise ValueError(f"{where}, or with other settings of it: give one with --env ID")
    return records[0]

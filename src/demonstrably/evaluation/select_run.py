"""`select` on a run folder: its checkpoints and members are the arms, and the folder keeps everything."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from demonstrably.evaluation.allocation import Allocation, sequential_halving
from demonstrably.evaluation.fresh import (
    Arm,
    Conditions,
    free_seed,
    label,
    measured,
    require_unseen,
    same_conditions,
    scale_of,
)
from demonstrably.evaluation.intervals import Score, score_of
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.select import select
from demonstrably.evaluation.selection import Selection
from demonstrably.evaluation.state import SelectionState
from demonstrably.training.run import Run

RESULT, STATE = "selection.json", "selection_state.json"
PURPOSES = ("select", "confirm")

Bounds = tuple[float | None, float | None]
Listener = Callable[[int, int, str], None]
"""Called with rollouts done, rollouts in all, and a note."""


def select_run(
    folder: str | Path,
    rollouts: int,
    *,
    checkpoints: Sequence[int] | None = None,
    members: Sequence[int] | None = None,
    conditions: Conditions | None = None,
    bounds: Bounds = (None, None),
    delta: float = 0.05,
    epsilon: float = 0.05,
    allocation: Allocation = sequential_halving,
    confirm_fraction: float = 0.2,
    first_seed: int | None = None,
    restart: bool = False,
    progress: Listener | None = None,
) -> Selection:
    """Select among a run's (checkpoint, member) pairs, by default all of them, and write selection.json.

    The state is saved after every round in selection_state.json: the same call goes on after an
    interruption, and a call with more ``rollouts`` goes on after the end (``restart``: begin a new selection
    instead). Only seeds are used that the run has never played. Episodes are added to the run's evaluations
    with purpose "select" and their round, or "confirm". ``bounds`` (low, high) select by return in place of
    success; without a success signal a missing bound is taken from the demonstrations (`fresh.scale_of`).

    Raises ValueError for what `select` and `rollout` refuse, and for conditions that changed on the way.
    """
    run = Run(folder)
    arms = arms_of(run, checkpoints, members)
    table = _Table(run, arms, conditions or Conditions(), bounds, rollouts, progress)
    state = None if restart else table.resume()
    if state is not None:
        first_seed = state.design.first_seed
    elif first_seed is not None:
        require_unseen([run], first_seed, rollouts)
    found = select(
        table.play,
        [label(arm) for arm in arms],
        rollouts,
        delta=delta,
        epsilon=epsilon,
        allocation=allocation,
        confirm_fraction=confirm_fraction,
        first_seed=free_seed([run], rollouts) if first_seed is None else first_seed,
        state=state,
        save=table.save,
        confirm=table.confirm,
    )
    return table.conclude(found)


def arms_of(run: Run, checkpoints: Sequence[int] | None, members: Sequence[int] | None) -> list[Arm]:
    """The run's (checkpoint, member) pairs, in the order of training; ValueError names what is not there."""
    steps, all_members = run.trained(), range(run.members)
    for given, known, name in ((checkpoints, steps, "checkpoint"), (members, all_members, "member")):
        unknown = [value for value in given or () if value not in known]
        if unknown:
            raise ValueError(f"{run.path} has no {name} {unknown[0]}: it has {', '.join(map(str, known))}")
    chosen = steps if checkpoints is None else sorted(set(checkpoints))
    return [(step, member) for step in chosen for member in (all_members if members is None else sorted(set(members)))]


def selected(run: Run) -> Arm | None:
    """The winner of the run's selection, None where there is none."""
    record = run.read_json(RESULT)
    return None if record is None else (record["checkpoint"], record["member"])


def write_result(run: Run, found: Selection, arm: Arm, score: Score | None, clipped: int) -> None:
    """selection.json: the selection's own record, the winner by numbers, and its score on the fresh seeds."""
    extra = {
        "checkpoint": arm[0],
        "member": arm[1],
        "score": None if score is None else score.to_dict(),
        "clipped": clipped,
    }
    run.write_json(RESULT, found.to_dict() | extra)


class _Table:
    """The run's side of a selection: plays, keeps what was played, and remembers the measure."""

    def __init__(
        self,
        run: Run,
        arms: Sequence[Arm],
        conditions: Conditions,
        bounds: Bounds,
        rollouts: int,
        progress: Listener | None,
    ) -> None:
        self._run, self._arms, self._conditions = run, arms, conditions
        self._bounds, self._rollouts, self._progress = bounds, rollouts, progress
        self._record = conditions.record(run) | {"bounds": list(bounds)}
        self._scale: Scale | None = None
        self._clipped = self._spent = 0
        self._new: list[pa.Table] = []  # played since the last save
        self._left: pa.Table | None = None  # episodes of a round that was played but never saved
        self._confirming: pa.Table | None = None

    def resume(self) -> SelectionState | None:
        """The saved state, with its next seed moved past any that something else has played since."""
        saved = self._run.read_json(STATE)
        if saved is None:
            return None
        state = SelectionState.from_dict(saved["state"])
        own = pc.field("purpose").isin(PURPOSES) & (pc.field("seed") >= state.next_seed)
        left = self._run.evaluations().filter(own)
        if not state.rounds and not left.num_rows:
            return None  # it never came to play
        same_conditions(saved["conditions"], self._record, "begin a new selection with --restart")
        self._scale = None if saved["scale"] is None else Scale.from_dict(saved["scale"])
        self._clipped, self._spent, self._left = saved["clipped"], state.spent, left
        free = free_seed([self._run], self._rollouts, state.next_seed, PURPOSES)
        return replace(state, next_seed=free)

    def play(self, arms: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float64]:
        """Scores (arms, seeds) of a round's play."""
        return self._scores(self._episodes("select", arms, seeds), len(arms))

    def confirm(self, arms: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float64]:
        """Scores (1, seeds) of the winner on fresh seeds."""
        self._confirming = self._episodes("confirm", arms, seeds)
        return self._scores(self._confirming, len(arms))

    def save(self, state: SelectionState) -> None:
        """Keep the episodes first and the state then: what is lost between is found again by `resume`."""
        confirming = bool(state.confirmations) and state.confirmations[-1].rounds == len(state.rounds)
        round_ = None if confirming else len(state.rounds) - 1
        self._conditions.keep(self._run, self._new, PURPOSES[confirming], round_)
        self._new, self._spent = [], state.spent
        scale = None if self._scale is None else self._scale.to_dict()  # none before the first episodes
        record = {"conditions": self._record, "scale": scale, "clipped": self._clipped}
        self._run.write_json(STATE, record | {"state": state.to_dict()})

    def conclude(self, found: Selection) -> Selection:
        """Write selection.json and return the selection with its measure."""
        assert self._scale is not None
        found, arm = replace(found, scale=self._scale), self._arms[found.winner]
        confirming = self._confirming
        if confirming is None:  # confirmed by an earlier call
            confirming = _rows(self._run.evaluations(), "confirm", [arm], range(*found.confirm_seeds))
        write_result(self._run, found, arm, score_of(confirming) if confirming else None, self._clipped)
        return found

    def _episodes(self, purpose: str, arms: Sequence[int], seeds: Sequence[int]) -> pa.Table:
        chosen = [self._arms[arm] for arm in arms]
        found = None if self._left is None else _rows(self._left, purpose, chosen, seeds)
        if found is None:
            found = self._conditions.play(self._run, chosen, seeds, self._tell)
            self._new.append(found)
        self._spent += found.num_rows
        return found

    def _scores(self, table: pa.Table, arms: int) -> NDArray[np.float64]:
        if self._scale is None:
            self._scale, note = scale_of([self._run], table, self._bounds)
            if note and self._progress:
                self._progress(self._spent, self._rollouts, note)
        scores, clipped = measured(table, self._scale)
        self._clipped += clipped
        return scores.reshape(arms, -1)

    def _tell(self, done: int, total: int) -> None:
        if self._progress:
            self._progress(self._spent + done, self._rollouts, "")


def _rows(table: pa.Table, purpose: str, arms: Sequence[Arm], seeds: Sequence[int]) -> pa.Table | None:
    """These arms' episodes on these seeds, in order; None unless all are there."""
    columns = (table.column(name).to_pylist() for name in ("purpose", "checkpoint", "member", "seed"))
    at: dict[tuple[Any, ...], int] = {key: row for row, key in enumerate(zip(*columns, strict=True))}
    rows = [at.get((purpose, *arm, seed)) for arm in arms for seed in seeds]
    return None if None in rows else table.take(pa.array(rows, pa.int64()))

"""Selection on a real robot: the operator runs what a blinded label says and types how it went.

Labels are drawn at random, the trials of a round are interleaved (within each initial condition every policy
once, in random order), and every answer is one line of a journal, on the disk before the next is asked for.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.allocation import Allocation, sequential_halving
from demonstrably.evaluation.fresh import label
from demonstrably.evaluation.race import Batches
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.select import select
from demonstrably.evaluation.select_run import arms_of, write_result
from demonstrably.evaluation.selection import Selection
from demonstrably.evaluation.state import SelectionState
from demonstrably.training.run import Run

JOURNAL, STATE = "manual.jsonl", "manual_state.json"
HINT = "y, n, or a number from 0 to 1; u takes the last back; q stops"

Ask = Callable[[str], str]
"""Shows a prompt and returns the line typed, with its newline; an empty string at the end of input."""

Key = tuple[str, int]
"""A trial: a blinded label and an initial condition."""


class Paused(Exception):
    """The operator stopped; everything typed so far is kept."""


def select_manually(
    folder: str | Path,
    rollouts: int,
    ask: Ask,
    *,
    checkpoints: Sequence[int] | None = None,
    members: Sequence[int] | None = None,
    delta: float = 0.05,
    epsilon: float = 0.05,
    allocation: Allocation = sequential_halving,
    confirm_fraction: float = 0.2,
    round_seeds: int = 5,
    seed: int = 0,
    restart: bool = False,
) -> Selection:
    """Select among a run's policies with a person who runs them, and write selection.json.

    ``ask`` gets a prompt such as "trial 7 of 60: run C on initial condition 3" and returns y, n, a number in
    [0, 1], u to take the last answer of this round back, or q. A condition stands for a seed: set it up alike
    for all policies that meet on it, and draw conditions as they come in use, not by how hard they look. What
    the labels mean is in the first line of manual.jsonl; the operator should not look there before the end.
    ``seed`` fixes labels and order. ``restart`` begins anew and keeps the old journal beside the new one.

    Raises `Paused` after q or at the end of input: the same call goes on. ValueError as in `select`, and for
    a journal that belongs to other policies or is broken.
    """
    run = Run(folder)
    arms = arms_of(run, checkpoints, members)
    names = [label(arm) for arm in arms]
    if restart:
        _set_aside(run)
    session = _Session(run, names, rollouts, ask, seed)
    saved = run.read_json(STATE)
    found = select(
        session.play,
        names,
        rollouts,
        delta=delta,
        epsilon=epsilon,
        allocation=allocation,
        confirm_fraction=confirm_fraction,
        round_seeds=round_seeds,
        generator_seed=seed,
        state=None if saved is None else SelectionState.from_dict(saved),
        save=lambda state: run.write_json(STATE, state.to_dict()),
        announce=session.announce,
    )
    found = replace(found, scale=Scale("score" if session.graded else "success"))
    write_result(run, found, arms[found.winner], None, 0)
    return found


def blinded(count: int, seed: int) -> list[str]:
    """A label for each of ``count`` policies, drawn at random: A to Z, then AA, AB, ..."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    labels = [(letters[i // 26 - 1] if i >= 26 else "") + letters[i % 26] for i in range(count)]
    return [labels[i] for i in np.random.default_rng([seed, count]).permutation(count)]


def interleaved(batches: Batches, seed: int) -> list[tuple[int, int]]:
    """All (arm, condition) of a round: conditions in random order, in each the arms in random order."""
    conditions = [(condition, arms) for arms, conditions in batches for condition in conditions]
    generator = np.random.default_rng([seed, conditions[0][0]])
    mixed = [conditions[i] for i in generator.permutation(len(conditions))]
    return [(arms[i], condition) for condition, arms in mixed for i in generator.permutation(len(arms))]


def meanings(folder: str | Path) -> dict[str, str]:
    """What the labels of a run's journal stand for: to be shown at the end."""
    return _read(Path(folder) / JOURNAL)[0]["labels"]


class _Session:
    """The journal, the labels, and the questions."""

    def __init__(self, run: Run, names: Sequence[str], rollouts: int, ask: Ask, seed: int) -> None:
        self._rollouts, self._ask, self._seed = rollouts, ask, seed
        self._labels = blinded(len(names), seed)
        self._path = run.path / JOURNAL
        self._answers: dict[Key, float] = {}
        meaning = dict(sorted(zip(self._labels, names, strict=True)))
        if not self._path.exists():
            self._write({"labels": meaning, "seed": seed})
        first, *lines = _read(self._path)
        if first.get("labels") != meaning:
            raise ValueError(f"{self._path} is about other policies or another seed: begin anew with --restart")
        for line in lines:
            key = line["label"], line["condition"]
            self._answers[key] = line["score"]
            if line["score"] is None:
                del self._answers[key]

    @property
    def graded(self) -> bool:
        """Whether any answer was a score between failure and success."""
        return any(score not in (0.0, 1.0) for score in self._answers.values())

    def announce(self, batches: Batches) -> None:
        """Ask for all trials of a round; what the journal holds already is not asked again."""
        order = [(self._labels[arm], condition) for arm, condition in interleaved(batches, self._seed)]
        place = 0
        while place < len(order):
            if order[place] in self._answers:
                place += 1
                continue
            score = self._question(order[place], undo=place > 0)
            place -= score is None
            self._answer(order[place], score)

    def play(self, arms: Sequence[int], seeds: Sequence[int]) -> NDArray[np.float64]:
        """Scores (arms, seeds) that were answered."""
        return np.array([[self._answers[self._labels[arm], seed] for seed in seeds] for arm in arms])

    def _answer(self, key: Key, score: float | None) -> None:
        """Note an answer, or with None that it was taken back."""
        if score is None:
            del self._answers[key]
        else:
            self._answers[key] = score
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"label": key[0], "condition": key[1], "score": score, "time": now})

    def _question(self, key: Key, undo: bool) -> float | None:
        """A score in [0, 1], or None to take the last answer back."""
        trial = f"trial {len(self._answers) + 1} of {self._rollouts}"
        hint = HINT
        while True:
            typed = self._ask(f"{trial}: run {key[0]} on initial condition {key[1] + 1} ({hint}): ")
            word = typed.strip().lower()
            if word in ("q", "quit") or not typed:
                raise Paused(f"{len(self._answers)} trials are kept in {self._path}; the same command goes on")
            if word in ("u", "undo"):
                if undo:
                    return None
                hint = "there is nothing to take back in this round"
                continue
            score = _score(word)
            if score is not None:
                return score
            hint = f"{word!r} is not understood: {HINT}"

    def _write(self, record: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _score(word: str) -> float | None:
    """The score that was typed, None if it is none."""
    known = {"y": 1.0, "yes": 1.0, "n": 0.0, "no": 0.0}
    if word in known:
        return known[word]
    try:
        score = float(word)
    except ValueError:
        return None
    return score if 0.0 <= score <= 1.0 else None


def _read(path: Path) -> list[dict[str, Any]]:
    """The journal's lines. A last line that was cut short by a crash is cut off the file."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode("utf-8")))
    lines = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} line {number} is no JSON: repair it, or begin anew with --restart") from error
    if not lines:
        raise ValueError(f"{path} is empty: begin anew with --restart")
    return lines


def _set_aside(run: Run) -> None:
    """Keep an old journal under the next free name and forget the state."""
    journal = run.path / JOURNAL
    if journal.exists():
        number = 1
        while (run.path / f"manual.{number}.jsonl").exists():
            number += 1
        journal.rename(run.path / f"manual.{number}.jsonl")
    (run.path / STATE).unlink(missing_ok=True)

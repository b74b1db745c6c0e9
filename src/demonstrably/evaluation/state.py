"""The record from which a selection goes on: what was decided, planned and seen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.allocation import Batch

FORMAT = 1


@dataclass(frozen=True)
class Design:
    """What must not change once the first outcome is seen."""

    arms: tuple[str, ...]
    delta: float
    epsilon: float
    allocation: str
    prior: tuple[float, ...]
    prior_weight: float
    first_seed: int
    generator_seed: int

    def __post_init__(self) -> None:
        if len(self.arms) < 2:
            raise ValueError(f"{len(self.arms)} arm to select from: give at least two")
        for name in ("delta", "epsilon"):
            value = self.delta if name == "delta" else self.epsilon
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name} {value}: must be between 0 and 1, for instance 0.05")
        if len(self.prior) != len(self.arms) or not all(0.0 < guess < 1.0 for guess in self.prior):
            raise ValueError(f"prior: give one guess strictly between 0 and 1 for each of {len(self.arms)} arms")
        if self.prior_weight <= 0.0:
            raise ValueError(f"prior_weight {self.prior_weight}: must be above 0")
        if self.first_seed < 0:
            raise ValueError(f"first_seed {self.first_seed}: must be 0 or more")


@dataclass(frozen=True)
class Play:
    """Outcomes of some arms on the seeds first_seed, first_seed + 1, ...: scores[arm][seed]."""

    arms: tuple[int, ...]
    first_seed: int
    scores: tuple[tuple[float, ...], ...]

    @property
    def seeds(self) -> range:
        """The seeds played."""
        return range(self.first_seed, self.first_seed + len(self.scores[0]))

    @property
    def episodes(self) -> int:
        """Rollouts spent."""
        return len(self.arms) * len(self.scores[0])

    def array(self) -> NDArray[np.float64]:
        """Scores, (arms, seeds)."""
        return np.array(self.scores, dtype=np.float64)


@dataclass(frozen=True)
class Confirmation:
    """The winner after ``rounds`` rounds, played on seeds that the selection never touched."""

    rounds: int
    play: Play


@dataclass(frozen=True)
class SelectionState:
    """Everything a selection knows. Outcomes are only ever added; a seed is handed out once.

    A round is a tuple of plays, all decided before any of their outcomes. ``last`` are the arms of the latest
    of ``plans`` plans of the allocation, ``pending`` what of it has not been played.
    """

    design: Design
    plans: int = 0
    last: tuple[int, ...] = ()
    pending: tuple[Batch, ...] = ()
    rounds: tuple[tuple[Play, ...], ...] = ()
    confirmations: tuple[Confirmation, ...] = ()
    next_seed: int = 0

    def planned(self, plan: tuple[Batch, ...]) -> "SelectionState":
        """With a new plan."""
        arms = sorted({arm for batch in plan for arm in batch.arms})
        return replace(self, plans=self.plans + 1, last=tuple(arms), pending=plan)

    def played(self, plays: tuple[Play, ...], pending: tuple[Batch, ...]) -> "SelectionState":
        """With one more round, and what is left of the plan."""
        return replace(self, rounds=(*self.rounds, plays), pending=pending, next_seed=plays[-1].seeds.stop)

    def confirmed(self, play: Play) -> "SelectionState":
        """With the winner's fresh episodes."""
        done = Confirmation(len(self.rounds), play)
        return replace(self, confirmations=(*self.confirmations, done), next_seed=play.seeds.stop)

    @property
    def spent(self) -> int:
        """Rollouts spent, those of confirmations included."""
        selecting = sum(play.episodes for plays in self.rounds for play in plays)
        return selecting + sum(done.play.episodes for done in self.confirmations)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return {"format": FORMAT, **asdict(self)}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "SelectionState":
        """Inverse of ``to_dict``; ValueError when another version wrote the record."""
        if record.get("format") != FORMAT:
            raise ValueError(f"selection state of format {record.get('format')}: this version reads {FORMAT}")
        design = {
            **record["design"],
            "arms": tuple(record["design"]["arms"]),
            "prior": tuple(record["design"]["prior"]),
        }
        return SelectionState(
            Design(**design),
            record["plans"],
            tuple(record["last"]),
            tuple(Batch(tuple(batch["arms"]), batch["seeds"]) for batch in record["pending"]),
            tuple(tuple(_play(play) for play in plays) for plays in record["rounds"]),
            tuple(Confirmation(done["rounds"], _play(done["play"])) for done in record["confirmations"]),
            record["next_seed"],
        )


def check_same(before: Design, now: Design) -> None:
    """ValueError that names the first field in which a continued selection differs from its beginning."""
    earlier, later = asdict(before), asdict(now)
    for field in fields(Design):
        if earlier[field.name] != later[field.name]:
            was, now_is = (_short(record[field.name]) for record in (earlier, later))
            raise ValueError(
                f"{field.name} was {was} when this selection began and is {now_is} now: "
                "keep it, or begin a new selection"
            )


def _short(value: object) -> str:
    return f"{len(value)} entries" if isinstance(value, tuple) and len(value) > 4 else str(value)


def _play(record: Mapping[str, Any]) -> Play:
    scores = tuple(tuple(row) for row in record["scores"])
    return Play(tuple(record["arms"]), record["first_seed"], scores)

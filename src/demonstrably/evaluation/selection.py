"""The result of a selection: the winner, who else it might have been, and what the winner is worth."""

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from demonstrably.evaluation.intervals import Measured
from demonstrably.evaluation.scale import Scale


@dataclass(frozen=True)
class Arm:
    """What the selection saw of one arm. Scores in [0, 1].

    ``low`` and ``high`` hold at every number of episodes at once, each arm's by itself at 1 - delta. An arm
    was dropped in ``dropped_round`` (rounds count from 0; None: never) at ``e_value``, most of it from
    ``beaten_by``. ``e_value`` is against "this arm is the best"; the latest where it was not dropped.
    """

    label: str
    episodes: int
    mean: float | None
    low: float
    high: float
    e_value: float
    dropped_round: int | None = None
    beaten_by: int | None = None


@dataclass(frozen=True)
class RoundRecord:
    """One round: its arms, the episodes each played, and the seeds (first, past the last)."""

    arms: tuple[int, ...]
    episodes: tuple[int, ...]
    seeds: tuple[int, int]


@dataclass(frozen=True)
class Selection:
    """The winner of a selection and what may be said about it.

    With probability at least 1 - delta the best arm is in ``confidence_set``; with the same probability no
    arm in ``equivalent`` is better than the winner by epsilon or more. ``confirmed`` is the winner's mean on
    fresh seeds with an interval at ``level``: the number to quote. ``naive`` is the arm with the highest mean
    seen while selecting, among those with at least half of the winner's episodes; that mean is biased upwards.
    ``stopped`` is "budget", "separated" (one arm left) or "equivalent". ``more_rollouts`` is a rough guess of
    what separating the rest would take. ``rollouts`` is the budget, ``spent`` what was used of it. Means are
    scores in [0, 1]; ``scale`` gives them their unit.
    """

    arms: tuple[Arm, ...]
    winner: int
    confidence_set: tuple[int, ...]
    equivalent: tuple[int, ...]
    naive: int
    confirmed: Measured
    confirm_seeds: tuple[int, int]
    rounds: tuple[RoundRecord, ...]
    stopped: str
    more_rollouts: int | None
    rollouts: int
    spent: int
    delta: float
    epsilon: float
    level: float
    allocation: str
    scale: Scale = Scale()

    @property
    def label(self) -> str:
        """The winner's label."""
        return self.arms[self.winner].label

    @property
    def dropped(self) -> tuple[int, ...]:
        """Arms outside the confidence set, in the order in which they were dropped."""
        out = [(arm.dropped_round, i) for i, arm in enumerate(self.arms) if arm.dropped_round is not None]
        return tuple(i for _, i in sorted(out))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record, with the derived ``label`` and ``dropped``."""
        record = asdict(self)
        record["confirmed"] = self.confirmed.to_dict()
        return {"label": self.label, "dropped": list(self.dropped), **record}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> "Selection":
        """Inverse of ``to_dict``; what else a record says, as selection.json does, is left alone."""
        known = {field.name for field in fields(Selection)}
        plain = {name: value for name, value in record.items() if name in known}
        plain |= {name: tuple(plain[name]) for name in ("confidence_set", "equivalent", "confirm_seeds")}
        plain["arms"] = tuple(Arm(**arm) for arm in record["arms"])
        plain["confirmed"] = Measured.from_dict(record["confirmed"])
        plain["rounds"] = tuple(
            RoundRecord(tuple(r["arms"]), tuple(r["episodes"]), (r["seeds"][0], r["seeds"][1]))
            for r in record["rounds"]
        )
        plain["scale"] = Scale.from_dict(record["scale"])
        return Selection(**plain)

    def __str__(self) -> str:
        lines = [f"selected {self.label}", *self._numbers(), *self._others(), *self._effort()]
        return "\n".join(lines + ([f"  {self.scale.note}"] if self.scale.note else []))

    def _repr_html_(self) -> str:
        cells = "".join(
            "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in self.table()
        )
        head = "".join(f"<th>{name}</th>" for name in ("arm", "episodes", self.scale.measure, "standing"))
        story = "<br>".join(html.escape(line) for line in str(self).splitlines())
        return f"<p>{story}</p><table><thead><tr>{head}</tr></thead><tbody>{cells}</tbody></table>"

    def table(self) -> list[tuple[str, str, str, str]]:
        """Rows of text, one an arm: label, episodes, mean with its interval, standing."""
        rows = []
        for index, arm in enumerate(self.arms):
            text = self.scale.text
            seen = "-" if arm.mean is None else f"{text(arm.mean)} [{text(arm.low)}, {text(arm.high)}]"
            rows.append((arm.label, str(arm.episodes), seen, self._standing(index, arm)))
        return rows

    def _standing(self, index: int, arm: Arm) -> str:
        if index == self.winner:
            return "winner"
        if arm.dropped_round is not None:
            return f"dropped in round {arm.dropped_round + 1}, e-value {arm.e_value:.3g}"
        return "equivalent" if index in self.equivalent else "not separated"

    def _numbers(self) -> list[str]:
        text, naive, done = self.scale.text, self.arms[self.naive], self.confirmed
        mean = "-" if naive.mean is None else text(naive.mean)
        counted = f"{done.episodes} episodes" if done.count is None else f"{done.count}/{done.episodes}"
        return [
            f"  {self.scale.measure} on fresh seeds: "
            f"{text(done.mean)} [{text(done.low)}, {text(done.high)}], {counted} (quote this one)",
            f"  naive maximum: {mean} ({naive.label}, {naive.episodes} episodes; "
            f"too high on average, because it is the best of {len(self.arms)})",
        ]

    def _others(self) -> list[str]:
        names = "; ".join(self.arms[i].label for i in self.confidence_set[:6])
        names += "; ..." if len(self.confidence_set) > 6 else ""
        lines = [f"  confidence set ({1.0 - self.delta:.4g}): {len(self.confidence_set)} of {len(self.arms)}"]
        lines[0] += f": {names}" if len(self.confidence_set) < len(self.arms) else ", nothing ruled out"
        if self.stopped == "equivalent":
            width = self.scale.text(self.epsilon, sign=True).lstrip("+")
            lines.append(f"  stopped: nothing still played is better than the winner by {width} or more")
        elif len(self.confidence_set) > 1 and self.more_rollouts is not None:
            lines.append(f"  cannot separate them yet: roughly {self.more_rollouts} more rollouts would")
        return lines

    def _effort(self) -> list[str]:
        selecting = sum(arm.episodes for arm in self.arms)
        return [
            f"  {self.spent} of {self.rollouts} rollouts: {selecting} to select in {len(self.rounds)} "
            f"rounds, {self.spent - selecting} to confirm; stopped: {self.stopped}"
        ]

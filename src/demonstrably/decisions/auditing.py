"""What an audit found, as a result that prints itself."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from demonstrably.decisions.conditional import Conditional
from demonstrably.decisions.estimate import Check, Disagreement
from demonstrably.decisions.marginality import Inframarginality
from demonstrably.decisions.posterior import Calibration
from demonstrably.decisions.rates import HybridTest, RateTest
from demonstrably.decisions.threshold_test import ThresholdTest

Verdict = Literal["difference", "no difference", "not identified"]


@dataclass(frozen=True)
class Measure:
    """A number with its interval; NaN where there is none."""

    point: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.point):
            return "none"
        return f"{self.point:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def to_dict(self) -> dict[str, float | None]:
        """A record of plain JSON types; null where there is no number."""
        return {key: _plain(value) for key, value in vars(self).items()}


@dataclass(frozen=True)
class Bins:
    """What is seen along the posterior, in bins of equal counts: mean posterior, share, its exact interval, count."""

    at: tuple[float, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class GroupAudit:
    """One group: its relative cost of a false positive, if one is stated, and whether the model fits its decisions.

    `cost` reads the posterior within the group; `reason` says why none is stated, empty where one is. `decided` are
    shares of decisions along the posterior, `outcomes` shares of outcomes, `induced` the posterior along the score that
    it was made of, with its error.
    """

    name: str
    decisions: int
    cost: Measure
    disagreement: Disagreement | None
    checks: tuple[Check, ...]
    reason: str
    decided: Bins | None = None
    outcomes: Bins | None = None
    induced: Bins | None = None


@dataclass(frozen=True)
class PairAudit:
    """Two groups: the difference of their costs, second less first, and what follows.

    `p_values` are by test: "cost", "shared cost", "equal records"; the pair's own, `p_value`, is the largest of them,
    corrected for the number of pairs (Holm): a difference is stated only where every reading of the data has it.
    """

    first: str
    second: str
    difference: Measure
    p_values: dict[str, float]
    p_value: float
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Shift:
    """What the costs could be if unseen outcomes differ from seen ones of the same record by up to `odds`."""

    odds: float
    costs: tuple[tuple[float, float], ...]
    text: str


@dataclass(frozen=True)
class Audit:
    """Do the groups meet the same cost? The verdict, why, and the older tests beside it.

    `verdict` "difference" needs: a model that fits, costs that differ however the posterior is read, and decisions that
    differ between equal records. "not identified" says that the data cannot tell; `statement` says why.
    """

    verdict: Verdict
    statement: str
    level: float
    groups: tuple[GroupAudit, ...]
    pairs: tuple[PairAudit, ...]
    benchmark: RateTest
    outcome: RateTest | None
    hybrid: HybridTest | None
    conditional: Conditional | None
    thresholds: tuple[ThresholdTest, ...]
    marginality: Inframarginality | None
    shifts: tuple[Shift, ...]
    calibration: Calibration | None
    metrics: dict[str, dict[str, float]]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        optional = ("outcome", "hybrid", "conditional", "marginality")
        values = vars(self)
        return {
            "verdict": self.verdict,
            "statement": self.statement,
            "level": self.level,
            "groups": [_record(group) for group in self.groups],
            "pairs": [_record(pair) for pair in self.pairs],
            "benchmark": self.benchmark.to_dict(),
            **{name: None if values[name] is None else values[name].to_dict() for name in optional},
            "thresholds": [test.to_dict() for test in self.thresholds],
            "shifts": [_record(shift) for shift in self.shifts],
            "calibration": None if self.calibration is None else _record(self.calibration),
            "metrics": self.metrics,
            "assumptions": list(self.assumptions),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.statement}", "", *self._costs()]
        lines += ["", *(f"{pair.first} and {pair.second}: {pair.text}" for pair in self.pairs)] if self.pairs else []
        lines += [] if self.conditional is None else ["", str(self.conditional)]
        lines += ["", "older tests, for comparison", str(self.benchmark)]
        lines += [str(test) for test in (self.outcome, self.hybrid) if test is not None]
        lines += [str(test) for test in self.thresholds]
        lines += [] if self.marginality is None else [str(self.marginality)]
        lines += [shift.text for shift in self.shifts]
        lines += [f"assumed: {text}" for text in self.assumptions]
        lines += [f"note: {text}" for text in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _costs(self) -> list[str]:
        rows = [("group", "decisions", "relative cost of a false positive", "best rule misses")]
        for group in self.groups:
            missed = "" if group.disagreement is None else f"{group.disagreement.rate:.1%}"
            rows.append((group.name, f"{group.decisions:,}", str(group.cost), missed))
        lines = table(rows)
        reasons = {group.reason for group in self.groups}
        if len(reasons) == 1 and self.statement.startswith(reasons.copy().pop()):
            return lines  # said above, of all groups
        return lines + [f"{group.name}: no cost is stated: {group.reason}" for group in self.groups if group.reason]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _record(value: Any) -> Any:
    """Records of records as plain JSON types."""
    if isinstance(value, Measure):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_record(one) for one in value]
    if isinstance(value, dict):
        return {key: _record(one) for key, one in value.items()}
    if isinstance(value, (str, bool, int, float)) or value is None:
        return _plain(value)
    return {key: _record(one) for key, one in vars(value).items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

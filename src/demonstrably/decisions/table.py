"""A table of decisions, one row a decision, read, coded and checked; every row that is left out is counted."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy.typing import NDArray

from demonstrably.decisions.codes import Coded
from demonstrably.decisions.columns import MOST_LEVELS, Read, binary, coded, is_personal, numbered, numbers, people
from demonstrably.decisions.features import Dropped, one_feature, rest
from demonstrably.decisions.labels import Seen, outcomes_seen
from demonstrably.decisions.sources import Source, open_source

REST = "rest"  # `features="rest"`: all columns that play no other part
MINIMUM_GROUP = 20
ROLES_OF_PEOPLE = ("person", "case", "department")  # may be names of people, which then become numbers


@dataclass(frozen=True)
class Exclusion:
    """How many rows were left out, and why."""

    count: int
    reason: str


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions, one row each, and what is recorded beside them.

    `decisions` (n,) 0 or 1; `outcomes` (n,) 0 or 1, NaN where unseen; `features` (n, d), with `feature_names`,
    categories as 0/1 columns without the first level; `posterior` and `score` (n,) as given. `group`, `person`, `case`
    and `department` are codes with names (cases have none). Parts that were not named are None. `rows` were read, of
    which `excluded` were left out; `dropped` are columns that were left out.
    """

    decisions: Float[np.ndarray, "n"]
    group: Coded | None
    outcomes: Float[np.ndarray, "n"] | None
    person: Coded | None
    case: Coded | None
    department: Coded | None
    features: Float[np.ndarray, "n d"]
    feature_names: tuple[str, ...]
    posterior: Float[np.ndarray, "n"] | None
    score: Float[np.ndarray, "n"] | None
    source: str
    rows: int
    excluded: tuple[Exclusion, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def seen(self) -> Seen | None:
        """After which decisions outcomes were seen; None where the table has none."""
        return None if self.outcomes is None else outcomes_seen(self.decisions, self.outcomes)

    def take(self, rows: NDArray) -> "Decisions":
        """The same for some rows (numbers or a mask); codes and names stay."""
        arrays = (self.outcomes, self.posterior, self.score)
        labels = (self.group, self.person, self.case, self.department)
        outcomes, posterior, score = (None if one is None else one[rows] for one in arrays)
        group, person, case, department = (None if one is None else one.take(rows) for one in labels)
        return replace(
            self, decisions=self.decisions[rows], features=self.features[rows], outcomes=outcomes, posterior=posterior,
            score=score, group=group, person=person, case=case, department=department,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types: what was read, not the rows."""
        names = {"group": self.group, "person": self.person, "case": self.case, "department": self.department}
        return {
            "source": self.source,
            "rows": self.rows,
            "decisions": len(self),
            "decided_1": int(self.decisions.sum()),
            "outcomes": None if self.seen is None else asdict(self.seen),
            "groups": None if self.group is None else dict(zip(self.group.names, _count(self.group), strict=True)),
            "distinct": {name: len(np.unique(one.codes)) for name, one in names.items() if one is not None},
            "features": list(self.feature_names),
            "excluded": [asdict(one) for one in self.excluded],
            "dropped": [asdict(one) for one in self.dropped],
        }

    def __str__(self) -> str:
        lines = [f"{len(self):,} decisions of {self.rows:,} rows of {self.source}; {self.decisions.mean():.1%} are 1"]
        if self.group is not None:
            counts = zip(self.group.names, _count(self.group), strict=True)
            lines.append("groups: " + ", ".join(f"{name} {count:,}" for name, count in counts))
        lines += [] if self.seen is None else [self.seen.text]
        lines += [f"features: {', '.join(self.feature_names)}"] if self.feature_names else []
        lines += [f"left out {_rows(one.count)}: {one.reason}" for one in self.excluded]
        lines += [f"left out column {one.name}: {one.reason}" for one in self.dropped]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def read_decisions(
    source: Any,
    *,
    decision: str,
    group: str | None = None,
    outcome: str | None = None,
    person: str | None = None,
    case: str | None = None,
    features: Sequence[str] | str | None = None,
    posterior: str | None = None,
    score: str | None = None,
    department: str | None = None,
    positive: str | int | float | bool | None = None,
    positive_outcome: str | int | float | bool | None = None,
    minimum_group: int = MINIMUM_GROUP,
) -> Decisions:
    """A table of decisions, from a file (.csv, .csv.gz, .parquet), a pandas or polars frame, or a dict of arrays.

    The arguments name columns. `decision` and `outcome` hold 0/1, true/false or yes/no, or two other values of which
    `positive` (`positive_outcome`) counts as 1. `features` are a list, or "rest" for all columns that play no other
    part. Rows with a missing decision, group, person, case, department, feature, posterior or score are left out, as
    are repeated rows of one person and case, and groups of fewer than `minimum_group` rows; all are counted in
    `excluded`. A missing outcome is one that was not seen.

    Columns that hold names of people are never features; people and cases become numbers.

    Raises ValueError, naming the column, the row and what to do, for whatever cannot be read so.
    """
    opened = open_source(source)
    roles = {
        "decision": decision, "group": group, "outcome": outcome, "person": person, "case": case,
        "posterior": posterior, "score": score, "department": department,
    }  # fmt: skip
    used = {role: column for role, column in roles.items() if column is not None}
    _allowed(opened, used)
    wanted, dropped = _wanted(opened, features, list(used.values()))
    table = opened.read([*used.values(), *wanted])
    read = {role: _one_role(role, table[column], column, positive, positive_outcome) for role, column in used.items()}
    columns, more = rest(table, wanted) if features == REST else ([one_feature(table[c], c) for c in wanted], [])
    made = [matrix for _, matrix in columns]
    names = tuple(name for labels, _ in columns for name in labels)
    matrix = np.concatenate([*made, np.empty((table.num_rows, 0))], axis=1)
    keep, excluded = _kept(read, used, columns, matrix, minimum_group)
    return _checked(_decisions(read, matrix, names, keep, opened.name, excluded, (*dropped, *more)), used)


def _allowed(source: Source, used: dict[str, str]) -> None:
    for role, column in used.items():
        others = [other for other, name in used.items() if name == column and other != role]
        if others:
            raise ValueError(f"column {column!r} is given as {role} and as {others[0]}; name a column once")
        if role not in ROLES_OF_PEOPLE and is_personal(column):
            raise ValueError(f"column {column!r} holds names of people by its name; it cannot be the {role}")


def _wanted(source: Source, features: Sequence[str] | str | None, used: list[str]) -> tuple[list[str], list[Dropped]]:
    """The columns to read as features, and columns that are not because they are personal."""
    personal = [name for name in source.columns if is_personal(name) and name not in used]
    dropped = [Dropped(name, "may name people, never read") for name in personal]
    if features is None:
        return [], dropped
    if features == REST:
        return [name for name in source.columns if name not in used and name not in personal], dropped
    if isinstance(features, str):
        raise ValueError(f"features is {features!r}; give a list, [{features!r}], or {REST!r} for all other columns")
    for name in features:
        if name in personal:
            raise ValueError(f"column {name!r} holds names of people by its name; it cannot be a feature")
    return list(dict.fromkeys(features)), dropped


def _one_role(
    role: str,
    column: pa.ChunkedArray,
    name: str,
    positive: str | int | float | bool | None,
    positive_outcome: str | int | float | bool | None,
) -> Read:
    if role == "decision":
        return binary(column, name, positive, "positive")
    if role == "outcome":
        return binary(column, name, positive_outcome, "positive_outcome")
    if role in ("posterior", "score"):
        return _number(role, column, name)
    if role == "case":
        return numbered(column, name)
    if role == "person" or is_personal(name):
        return people(column, name, role)
    read = coded(column, name)
    if role == "group" and len(read.names) > MOST_LEVELS:
        raise ValueError(f"column {name!r} holds {len(read.names):,} values; groups are at most {MOST_LEVELS}")
    return read


def _number(role: str, column: pa.ChunkedArray, name: str) -> Read:
    values = numbers(column, name)
    outside = np.flatnonzero((values < 0.0) | (values > 1.0)) if role == "posterior" else []
    if len(outside):
        raise ValueError(
            f"column {name!r}, row {outside[0]} (the first is 0): {values[outside[0]]:g} is no probability; "
            "a posterior is from 0 to 1"
        )
    return Read(values)


def _kept(
    read: dict[str, Read],
    used: dict[str, str],
    columns: list[tuple[tuple[str, ...], NDArray]],
    matrix: Float[np.ndarray, "n d"],
    minimum_group: int,
) -> tuple[NDArray, tuple[Exclusion, ...]]:
    """Which rows (n,) stay, and the others by their first reason."""
    keep, excluded = np.ones(len(matrix), bool), []

    def leave_out(rows: Any, reason: str) -> None:
        count = int((rows & keep).sum())
        if count:
            excluded.append(Exclusion(count, reason))
            keep[rows] = False

    for role, column in used.items():
        if role != "outcome":
            leave_out(read[role].missing, f"{role} {column!r} is missing")
    for names, values in columns:
        leave_out(~np.isfinite(values).all(axis=1), f"feature {names[0].split('=')[0]!r} is missing or infinite")
    if "person" in used and "case" in used:
        leave_out(_repeated(read, matrix, keep), "repeats a row of the same person and case")
    if "group" in used:
        codes = read["group"].values.astype(np.int64)
        count = np.bincount(codes[keep], minlength=len(read["group"].names))
        for g in np.flatnonzero((count > 0) & (count < minimum_group)):
            reason = f"group {read['group'].names[g]!r} has fewer than {minimum_group} rows, too few to compare"
            leave_out(codes == g, reason)
    return keep, tuple(excluded)


def _repeated(read: dict[str, Read], matrix: Float[np.ndarray, "n d"], keep: NDArray) -> NDArray:
    """Rows (n,) that equal an earlier one in all that was read. Only rows whose person and case recur are compared."""
    rows = np.flatnonzero(keep)
    cases = int(read["case"].values.max(initial=0)) + 1
    pair = (read["person"].values * cases + read["case"].values)[rows]
    order = np.argsort(pair, kind="stable")
    same = pair[order][1:] == pair[order][:-1]
    rows = rows[np.sort(order[np.append(same, False) | np.append(False, same)])]
    key = np.zeros(len(rows), np.int64)
    for values in [*(one.values[rows] for one in read.values()), *matrix[rows].T]:
        distinct, codes = np.unique(values, return_inverse=True)
        key = np.unique(key * (len(distinct) + 1) + codes, return_inverse=True)[1]
    first = np.zeros(len(rows), bool)
    first[np.unique(key, return_index=True)[1]] = True
    repeated = np.zeros(len(keep), bool)
    repeated[rows[~first]] = True
    return repeated


def _decisions(
    read: dict[str, Read],
    matrix: Float[np.ndarray, "n d"],
    names: tuple[str, ...],
    keep: NDArray,
    source: str,
    excluded: tuple[Exclusion, ...],
    dropped: tuple[Dropped, ...],
) -> Decisions:
    arrays = {role: read[role].values[keep] for role in ("decision", "outcome", "posterior", "score") if role in read}
    labels = {
        role: Coded(read[role].values[keep].astype(np.int64), read[role].names).used()
        for role in ("group", "person", "case", "department")
        if role in read and keep.any()
    }
    return Decisions(
        arrays["decision"], labels.get("group"), arrays.get("outcome"), labels.get("person"), labels.get("case"),
        labels.get("department"), matrix[keep], names, arrays.get("posterior"), arrays.get("score"), source, len(keep),
        excluded, dropped,
    )  # fmt: skip


def _checked(table: Decisions, used: dict[str, str]) -> Decisions:
    """The table, if something can be learned from it."""
    why = "; ".join(f"{_rows(one.count)}: {one.reason}" for one in table.excluded)
    after = f" after leaving out {why}" if why else ""
    if not len(table):
        raise ValueError(f"{table.source}: no row is left{after}")
    if table.decisions.min() == table.decisions.max():
        raise ValueError(
            f"every decision in column {used['decision']!r} is {table.decisions[0]:.0f}{after}: nothing shows where "
            "they turn; give cases decided both ways"
        )
    if table.group is not None and len(table.group.names) == 1:
        raise ValueError(
            f"column {used['group']!r} holds only the group {table.group.names[0]!r}{after}; comparing needs two groups"
        )
    if table.outcomes is not None:
        seen = table.outcomes[~np.isnan(table.outcomes)]
        if not len(seen) or seen.min() == seen.max():
            found = f"is {seen[0]:.0f}" if len(seen) else "is missing"
            raise ValueError(f"every outcome in column {used['outcome']!r} {found}{after}; give cases of both outcomes")
    return table


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _count(labels: Coded) -> list[int]:
    return np.bincount(labels.codes, minlength=len(labels.names)).tolist()

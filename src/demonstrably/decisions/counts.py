"""Counts of decisions by department and group: all that the threshold tests need."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike, NDArray

from demonstrably.decisions.rates import zero_one


@dataclass(frozen=True, eq=False)
class Counts:
    """Tables (departments, groups): how many were decided on, decided 1, seen, and hits.

    `n` decisions, `s` of them decided 1, `seen` of those with an outcome that was seen, `h` of those with outcome 1.
    Cells may be empty. Raises ValueError for tables of other shapes, negative counts, h > seen, seen > s, s > n, fewer
    than two groups, and a group without any outcome seen.
    """

    n: Int[np.ndarray, "d g"]
    s: Int[np.ndarray, "d g"]
    h: Int[np.ndarray, "d g"]
    seen: Int[np.ndarray, "d g"]
    groups: tuple[str, ...]
    departments: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.n.shape != (len(self.departments), len(self.groups)):
            given = f"{len(self.departments)} departments and {len(self.groups)} groups"
            raise ValueError(f"the tables have shape {self.n.shape}: {given} are named")
        for name, table in (("n", self.n), ("s", self.s), ("h", self.h), ("seen", self.seen)):
            if (table < 0).any():
                raise ValueError(f"{name} holds {int(table.min())}: counts cannot be negative")
        for small, large, less, more in (
            (self.s, self.n, "decided 1 (s)", "decisions (n)"),
            (self.seen, self.s, "outcomes seen", "decided 1 (s)"),
            (self.h, self.seen, "hits (h)", "outcomes seen"),
        ):
            if (small > large).any():
                where = self._cell(np.argwhere(small > large)[0])
                raise ValueError(f"more {less} than {more} in {where}: counts must fall from n to s to h")
        if len(self.groups) < 2:
            raise ValueError(f"one group only ({', '.join(self.groups)}): a comparison needs at least two")
        for group, number in zip(self.groups, self.seen.sum(axis=0), strict=True):
            if not number:
                raise ValueError(f"group {group} has no decision 1 with an outcome seen: leave it out")

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        tables = {"n": self.n, "s": self.s, "h": self.h, "seen": self.seen}
        named = {"groups": list(self.groups), "departments": list(self.departments)}
        return named | {name: table.tolist() for name, table in tables.items()}

    def _cell(self, index: NDArray) -> str:
        return f"department {self.departments[index[0]]}, group {self.groups[index[1]]}"


def counts_table(
    n: ArrayLike,
    s: ArrayLike,
    h: ArrayLike,
    groups: Sequence[str] = (),
    departments: Sequence[str] = (),
    seen: ArrayLike | None = None,
) -> Counts:
    """Counts from tables (departments, groups); names are numbers unless given. `seen` None: every outcome was seen."""
    decided_on, decided, hits = _whole(n, "n"), _whole(s, "s"), _whole(h, "h")
    known = decided if seen is None else _whole(seen, "seen")
    rows, columns = decided_on.shape
    for table, name in ((decided, "s"), (hits, "h"), (known, "seen")):
        if table.shape != (rows, columns):
            raise ValueError(f"{name} has shape {table.shape}: expected that of n, {(rows, columns)}")
    names = tuple(groups) or tuple(str(one) for one in range(columns))
    places = tuple(departments) or tuple(str(one) for one in range(rows))
    return Counts(decided_on, decided, hits, known, names, places)


def count(decisions: ArrayLike, outcomes: ArrayLike, group: ArrayLike, department: ArrayLike | None = None) -> Counts:
    """Counts from decisions (n,) 0/1, outcomes (n,) 0/1 or NaN where unseen, and labels (n,) of groups and departments.

    Without departments all decisions are of one. Raises ValueError for lengths that differ or other values.
    """
    values, results = zero_one(decisions, "decisions"), zero_one(outcomes, "outcomes", unseen=True)
    labels = [np.asarray(group), np.zeros(len(values), int) if department is None else np.asarray(department)]
    for array, name in ((results, "outcomes"), (labels[0], "group"), (labels[1], "department")):
        if array.shape != values.shape:
            raise ValueError(f"{name} has shape {array.shape} for {len(values)} decisions: give one each")
    groups, columns = np.unique(labels[0], return_inverse=True)
    places, rows = np.unique(labels[1], return_inverse=True)
    shape = (len(places), len(groups))
    decided, hit = values == 1.0, results == 1.0
    masks = (np.ones(len(values), bool), decided, decided & hit, decided & ~np.isnan(results))
    cell = rows * len(groups) + columns
    n, s, h, seen = (np.bincount(cell[mask], minlength=shape[0] * shape[1]).reshape(shape) for mask in masks)
    names = ["all"] if department is None else [str(place) for place in places]
    return Counts(n, s, h, seen, tuple(str(one) for one in groups), tuple(names))


def _whole(table: ArrayLike, name: str) -> Int[np.ndarray, "d g"]:
    array = np.asarray(table)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: give a table, departments x groups")
    numbers = array.astype(np.int64)
    if not np.array_equal(numbers, array):
        raise ValueError(f"{name} holds numbers that are not whole: give counts")
    return numbers

"""Columns as features: numbers as they are, categories as 0/1 columns, and what cannot be used, with the reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from demonstrably.decisions.columns import MOST_LEVELS, coded, is_numeric, numbers

MOST_MISSING = 0.2  # share of rows; a column of `features="rest"` that lacks more is left out instead of the rows
_NUMBERING = re.compile(r"(^|[^a-z])(id|index|row|number|key|unnamed)([^a-z]|$)", re.I)

Columns = tuple[tuple[str, ...], Float[np.ndarray, "n d"]]


@dataclass(frozen=True)
class Dropped:
    """A column that was left out, and why."""

    name: str
    reason: str


def one_feature(column: pa.ChunkedArray, name: str) -> Columns:
    """Names and values (n, k) of one column: numbers (k = 1), or one 0/1 column a level but the first; NaN if missing.

    Raises ValueError for dates, texts with too many levels, and a column that is all one value.
    """
    reason = unusable(column, name)
    if reason:
        raise ValueError(f"column {name!r} cannot be a feature: {reason}")
    return _values(column, name)


def rest(table: pa.Table, names: Sequence[str]) -> tuple[list[Columns], list[Dropped]]:
    """All columns that can be features, and the others with the reason."""
    reasons = {name: _left_out(table[name], name) for name in names}
    made = [_values(table[name], name) for name in names if not reasons[name]]
    return made, [Dropped(name, reason) for name, reason in reasons.items() if reason]


def unusable(column: pa.ChunkedArray, name: str) -> str:
    """Why a column cannot be a feature, "" if it can."""
    if pa.types.is_temporal(column.type):
        return "it holds dates or times; give what matters of them as a number, days since an event for instance"
    if pa.types.is_nested(column.type):
        return "it holds lists or records; give numbers or text"
    if is_numeric(column.type):
        values = numbers(column, name)
        values = values[np.isfinite(values)]
        return "" if len(values) and values.min() < values.max() else "all its values are alike or missing"
    levels = len(coded(column, name).names)
    if levels > MOST_LEVELS:
        return f"it holds {levels:,} different texts, more than {MOST_LEVELS}; group them, or leave it out"
    return "" if levels > 1 else "all its values are alike or missing"


def _left_out(column: pa.ChunkedArray, name: str) -> str:
    reason = unusable(column, name)
    if reason:
        return reason
    missing = column.null_count / len(column)
    if missing > MOST_MISSING:
        return f"{missing:.0%} of its values are missing; name it as a feature to leave out these rows instead"
    if _NUMBERING.search(name) and len(column.unique()) == len(column):
        return "it numbers the rows"
    return ""


def _values(column: pa.ChunkedArray, name: str) -> Columns:
    if is_numeric(column.type):
        return (name,), numbers(column, name)[:, None]
    read = coded(column, name)
    values = (read.values[:, None] == np.arange(1, len(read.names))).astype(float)
    values[read.missing] = np.nan
    return tuple(f"{name}={label}" for label in read.names[1:]), values

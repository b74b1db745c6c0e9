"""Hashes of what demonstrations hold."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

# A column, and the first row and number of rows of each episode in it.
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def fingerprint(columns: Mapping[str, Rows], table: pa.Table, action: Any) -> str:
    """ "sha256:..." of columns, table and action; only the order of episodes matters."""
    digest = hashlib.sha256()
    for name in sorted(columns):
        column, starts, lengths = columns[name]
        digest.update(f"{name} {column.dtype.str} {column.shape[1:]}".encode())
        for run in runs(starts, lengths):
            digest.update(np.ascontiguousarray(column[run]).data)
    rows = {name: table.column(name).to_pylist() for name in sorted(table.column_names)}
    digest.update(json.dumps([rows, repr(action)]).encode())
    return f"sha256:{digest.hexdigest()}"


def runs(starts: np.ndarray, lengths: np.ndarray) -> Iterable[slice]:
    """Slices that cover the episodes in order, neighbours in one slice."""
    breaks = np.flatnonzero(starts[1:] != starts[:-1] + lengths[:-1]) + 1
    for run in np.split(np.arange(len(starts)), breaks):
        if len(run):
            yield slice(int(starts[run[0]]), int(starts[run[-1]] + lengths[run[-1]]))

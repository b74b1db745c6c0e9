"""Which observation keys repeat what others hold."""

from collections.abc import Mapping

import numpy as np

FLAT = "flat"
# Rows compared before all rows are, so that a mismatch costs little.
PROBE = 256


def offsets_of(part: np.ndarray, whole: np.ndarray) -> tuple[int, ...]:
    """All columns of `whole` (n, W) from which it holds `part` (n, w) row by row."""
    width = part.shape[1]
    starts = range(whole.shape[1] - width + 1)
    likely = [one for one in starts if np.array_equal(whole[:PROBE, one : one + width], part[:PROBE])]
    return tuple(one for one in likely if np.array_equal(whole[:, one : one + width], part))


def offsets(columns: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """Where each other vector key starts inside "flat", for those it contains."""
    if FLAT not in columns or columns[FLAT].ndim != 2:
        return {}
    flat = columns[FLAT]
    vectors = {key: rows for key, rows in columns.items() if key != FLAT and rows.ndim == 2}
    found = {key: offsets_of(rows, flat) for key, rows in vectors.items() if rows.dtype == flat.dtype}
    return {key: places for key, places in found.items() if places}


def distinct(columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The keys without repetition.

    Without "flat" if the others hold all of it, else without the keys it contains.
    """
    inside = offsets(columns)
    if not inside:
        return tuple(columns)
    covered = np.zeros(columns[FLAT].shape[1], dtype=bool)
    for key, places in inside.items():
        for place in places:
            covered[place : place + columns[key].shape[1]] = True
    if covered.all():
        return tuple(key for key in columns if key != FLAT)
    return tuple(key for key in columns if key not in inside)

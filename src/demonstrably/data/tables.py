"""The episode table: its columns, and choices of its rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

# Columns that the library computes itself; an attribute of the same name in a file gives way.
OWN_COLUMNS = ("name", "length", "return", "final_observation")


def episode_table(
    names: Sequence[str],
    lengths: np.ndarray,
    returns: np.ndarray,
    final: np.ndarray,
    attributes: Sequence[Mapping[str, Any]],
) -> pa.Table:
    """One row an episode; an attribute that some episodes lack is null there, and a return of NaN too."""
    columns: dict[str, pa.Array] = {
        "name": pa.array(list(names), pa.string()),
        "length": pa.array(lengths, pa.int64()),
        "return": pa.array(returns, pa.float64(), mask=np.isnan(returns)),
        "final_observation": pa.array(final, pa.bool_()),
    }
    for key in sorted({key for one in attributes for key in one} - set(OWN_COLUMNS)):
        columns[key] = attribute_column(key, [one.get(key) for one in attributes])
    return pa.table(columns)


def attribute_column(key: str, values: Sequence[Any]) -> pa.Array:
    """An Arrow column of one attribute: success as bool, mixed numbers as float64, others as strings."""
    kinds = {type(value) for value in values if value is not None}
    if key == "success" and all(value in (0, 1) for value in values if value is not None):
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    if kinds <= {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def positions(choice: Sequence[int] | np.ndarray, episodes: int) -> np.ndarray:
    """Positions of the chosen rows, from positions (negative ones count from the end) or one bool a row."""
    chosen = np.asarray(choice)
    if chosen.ndim == 1 and chosen.dtype == bool:
        if len(chosen) != episodes:
            raise ValueError(f"{len(chosen)} choices for {episodes} episodes; give one True or False an episode")
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise ValueError(f"cannot select by {choice!r}; give positions, one bool an episode, a mask's name or a query")
    chosen = chosen.astype(np.int64)
    if len(chosen) and not -episodes <= chosen.min() <= chosen.max() < episodes:
        raise ValueError(f"positions {chosen.min()} to {chosen.max()}; there are {episodes} episodes, from 0")
    return chosen % max(1, episodes)


def table_rows(table: Mapping[str, Sequence[Any] | np.ndarray], episodes: int) -> list[dict[str, Any]]:
    """Columns given by a user as one mapping an episode."""
    for name, values in table.items():
        if name in OWN_COLUMNS:
            raise ValueError(f"table column {name!r} is filled by the library; choose another name")
        if len(values) != episodes:
            raise ValueError(
                f"table column {name!r} has {len(values)} values for {episodes} episodes; give one an episode"
            )
    columns = {
        name: values.tolist() if isinstance(values, np.ndarray) else list(values) for name, values in table.items()
    }
    return [{name: values[i] for name, values in columns.items()} for i in range(episodes)]

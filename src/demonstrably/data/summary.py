"""A description of demonstrations in plain JSON."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.spec import Continuous, Discrete, Environment

GROUPS = ("quality", "demonstrator", "task")
MOST_GROUPS = 20


def summarize(demos: Demonstrations) -> dict[str, Any]:
    """Episodes, lengths, returns, success, keys, actions, masks, environment and memory (bytes)."""
    columns = demos.table.column_names
    default = demos.keys()
    return {
        "path": demos.path,
        "episodes": len(demos),
        "transitions": demos.transitions,
        "environment": _environment(demos.environment),
        "action": _action(demos.action),
        "lengths": quantiles(demos.lengths.tolist()),
        "return": quantiles(demos.table.column("return").to_pylist()),
        "success": rate(demos.table.column("success").to_pylist()) if "success" in columns else None,
        "terminated": sum(bool(episode.terminated.any()) for episode in demos),
        "keys": {key: _key(demos, key, key in default) for key in demos.observations},
        "groups": groups(demos),
        "masks": {name: int(mask.sum()) for name, mask in demos.masks.items()},
        "columns": columns,
        "bytes": sum(column.nbytes for column in _columns(demos)),
        "mapped": any(isinstance(column, np.memmap) for column in _columns(demos)),
    }


def _environment(environment: Environment | None) -> dict[str, Any] | None:
    if environment is None:
        return None
    return {**asdict(environment), "imports": list(environment.imports)}


def _action(action: Continuous | Discrete) -> dict[str, Any]:
    if isinstance(action, Discrete):
        return {"kind": "discrete", "count": action.count}
    return {"kind": "continuous", "low": list(action.low), "high": list(action.high)}


def _columns(demos: Demonstrations) -> list[np.ndarray]:
    return [*demos.observations.values(), demos.actions, demos.rewards, demos.terminated, demos.truncated]


def _key(demos: Demonstrations, key: str, default: bool) -> dict[str, Any]:
    column = demos.observations[key]
    found = demos.statistics(key) if column.ndim == 2 else None
    return {
        "shape": list(column.shape[1:]),
        "dtype": str(column.dtype),
        "minimum": float(found.minimum.min()) if found else None,
        "maximum": float(found.maximum.max()) if found else None,
        "constant": int(found.constant.sum()) if found else None,
        "bytes": column.nbytes,
        "default": default,
    }


def quantiles(values: Sequence[float | int | None]) -> dict[str, float] | None:
    """Mean, quartiles and range of the values that are known; None if there is none."""
    known = np.array([value for value in values if value is not None], np.float64)
    if not len(known):
        return None
    low, first, middle, third, high = np.percentile(known, (0, 25, 50, 75, 100)).tolist()
    spread = {
        "minimum": low,
        "first_quartile": first,
        "median": middle,
        "third_quartile": third,
        "maximum": high,
    }
    return {"mean": float(known.mean()), **spread, "episodes": len(known)}


def rate(successes: Sequence[bool | None]) -> dict[str, float] | None:
    """Share of successes among the episodes where it is known, with the counts."""
    known = [one for one in successes if one is not None]
    return {"mean": sum(known) / len(known), "count": sum(known), "episodes": len(known)} if known else None


def groups(demos: Demonstrations) -> dict[str, list[dict[str, Any]]]:
    """By quality, demonstrator and task where the table has them: episodes, mean return and success rate.

    A column that divides the episodes as one before it does is left out.
    """
    found, seen = {}, set()
    for column in GROUPS:
        values = demos.table.column(column).to_pylist() if column in demos.table.column_names else []
        first = {value: index for index, value in reversed(list(enumerate(values)))}
        division = tuple(first[value] for value in values)
        if 1 < len(first) <= MOST_GROUPS and division not in seen:
            seen.add(division)
            found[column] = _group(demos, column)
    return found


def _group(demos: Demonstrations, column: str) -> list[dict[str, Any]]:
    rows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in demos.table.to_pylist():
        rows[row[column]].append(row)
    result = []
    for value, members in rows.items():
        returns = quantiles([row["return"] for row in members])
        successes = rate([row.get("success") for row in members])
        result.append(
            {
                "value": value,
                "episodes": len(members),
                "return": returns["mean"] if returns else None,
                "success": successes["mean"] if successes else None,
            }
        )
    return result

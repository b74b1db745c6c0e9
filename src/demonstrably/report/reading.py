"""Reads a run folder: whatever is there, half-written or not, with a word on what could not be read."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

METRIC_BYTES = 4_000_000  # ordinary lines of metrics.jsonl parsed at most; parsing runs at some 25 MB/s
COLUMNS = ("checkpoint", "member", "seed", "return", "success", "purpose")


@dataclass(frozen=True)
class Curve:
    """One logged quantity: `steps` (n,), rising; `values` (n, members), NaN where it was not finite."""

    steps: np.ndarray
    values: np.ndarray

    @property
    def members(self) -> int:
        """Number of members."""
        return self.values.shape[1]

    def broken(self) -> list[tuple[int, int]]:
        """(member, first step) of each member that was not finite at some step."""
        bad = ~np.isfinite(self.values)
        return [(member, int(self.steps[bad[:, member].argmax()])) for member in np.flatnonzero(bad.any(0)).tolist()]


@dataclass(frozen=True)
class Metrics:
    """The curves of metrics.jsonl by name, and what is known of the run's progress."""

    curves: dict[str, Curve]
    stride: int = 1
    step: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Folder:
    """What a run folder holds. What is absent is None or empty; `problems` tells what cannot be read."""

    path: Path
    name: str
    given: str  # the path as the caller wrote it, for the commands that the report advises
    config: dict[str, Any]
    findings: dict[str, Any] | None
    metrics: Metrics
    evaluations: pa.Table | None
    checkpoints: int
    selection: dict[str, Any] | None
    comparisons: dict[str, dict[str, Any]]
    videos: tuple[Path, ...]
    animations: tuple[Path, ...]
    problems: tuple[str, ...]


def read_folders(paths: Sequence[str | Path]) -> list[Folder]:
    """Reads each run folder and gives it a name that tells it from the others.

    Raises:
        ValueError: no path is given, or one of them is no run folder.
    """
    if not paths:
        raise ValueError("no run folder given; name at least one folder that holds a config.json")
    given = {Path(path).resolve(): str(path) for path in reversed(paths)}
    found = list(dict.fromkeys(Path(path).resolve() for path in paths))
    for path in found:
        _check(path)
    return [read_folder(path, name, given[path]) for path, name in zip(found, _names(found), strict=True)]


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, and as many parts before it as tell them apart."""
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _check(path: Path) -> None:
    if (path / "config.json").is_file():
        return
    if path.is_dir():
        inside = sorted(child.parent.name for child in path.glob("*/config.json"))
        advice = f"it holds the runs {', '.join(inside[:6])}: name those" if inside else "give a folder that holds one"
        raise ValueError(f"{path} is no run folder: it has no config.json; {advice}")
    beside = [child.name for child in path.parent.iterdir() if child.is_dir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    advice = f"the nearest is {path.parent / near[0]}" if near else "give a folder that training wrote"
    raise ValueError(f"no run folder {path}; {advice}")


def read_folder(path: Path, name: str, given: str) -> Folder:
    """Reads one run folder.

    Raises:
        ValueError: config.json is not readable: then nothing else can be trusted.
    """
    problems: list[str] = []
    config = _json(path / "config.json", problems)
    if config is None:
        raise ValueError(f"{problems[0]}; train the run again or restore the file")
    comparisons = {file.stem: _json(file, problems) for file in sorted(path.glob("comparisons/*.json"))}
    return Folder(
        path=path,
        name=name,
        given=given,
        config=config,
        findings=_json(path / "findings.json", problems),
        metrics=read_metrics(path / "metrics.jsonl", problems),
        evaluations=_evaluations(path / "evaluations.parquet", problems),
        checkpoints=sum(child.name.isdigit() for child in path.glob("checkpoints/*")),
        selection=_json(path / "selection.json", problems),
        comparisons={stem: value for stem, value in comparisons.items() if value is not None},
        videos=tuple(sorted(path.glob("videos/*.mp4"))),
        animations=tuple(sorted(path.glob("animation*.html"))),
        problems=tuple(problems),
    )


def _json(path: Path, problems: list[str]) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file, or where it is not readable, which is noted."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path} is not readable as JSON ({error})")
        return None
    if isinstance(value, dict):
        return value
    problems.append(f"{path} holds a JSON {type(value).__name__} where an object belongs")
    return None


def _evaluations(path: Path, problems: list[str]) -> pa.Table | None:
    """The episodes played so far; None where there are none or the file is not readable, which is noted."""
    if not path.is_file():
        return None
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        problems.append(f"{path} is not readable as Parquet ({error})")
        return None
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        problems.append(f"{path} has no column {', '.join(missing)}")
        return None
    return table if table.num_rows else None


def read_metrics(path: Path, problems: list[str]) -> Metrics:
    """Reads metrics.jsonl: a truncated last line is passed over, one that is broken elsewhere is noted.

    Of a long file every `stride`-th line is read, and those with a validation or a value that is not finite.
    """
    if not path.is_file():
        return Metrics({})
    stride = max(1, -(-path.stat().st_size // METRIC_BYTES))
    rows: list[dict[str, Any]] = []
    broken: list[int] = []
    with path.open("rb") as file:
        for index, text in enumerate(file):
            if index % stride and b"validation" not in text and b"NaN" not in text:
                continue
            row = _row(text)
            if row is not None:
                rows.append(row)
            elif text.endswith(b"\n"):
                broken.append(index + 1)
    if broken:
        problems.append(f"{path}: {len(broken)} unreadable line(s), the first is line {broken[0]}")
    return Metrics(_curves(rows), stride, rows[-1]["step"] if rows else 0, _seconds(rows))


def _row(text: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return row if isinstance(step, int) and 0 <= step < 2**53 else None


def _seconds(rows: Sequence[dict[str, Any]]) -> float | None:
    times = [row["time"] for row in rows if isinstance(row.get("time"), int | float)]
    return float(times[-1]) if times else None


def _curves(rows: Sequence[dict[str, Any]]) -> dict[str, Curve]:
    """A curve for each key that holds a list, one number a member; a step's last line counts."""
    gathered: dict[str, dict[int, list[Any]]] = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, list) and value:
                gathered.setdefault(key, {})[row["step"]] = value
    return {key: _curve(by_step) for key, by_step in gathered.items()}


def _curve(by_step: dict[int, list[Any]]) -> Curve:
    steps = sorted(by_step)
    members = max(len(by_step[step]) for step in steps)
    values = np.full((len(steps), members), np.nan)
    for index, step in enumerate(steps):
        numbers = [value if isinstance(value, int | float) else np.nan for value in by_step[step]]
        values[index, : len(numbers)] = numbers
    values[~np.isfinite(values)] = np.nan
    return Curve(np.array(steps, np.int64), values)


@dataclass(frozen=True)
class Thinned:
    """A curve of fewer points: `middle` (n, members), `low` and `high` over members and lines (n,)."""

    steps: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    merged: int  # logged lines a point, at most


def thin(curve: Curve, points: int) -> Thinned:
    """Merges neighboring lines so that at most `points` are left: means, the extremes kept as a range."""
    count = len(curve.steps)
    size = max(1, -(-count // points))
    starts = np.arange(0, count, size)
    good = np.isfinite(curve.values)
    kept = np.add.reduceat(good, starts, axis=0, dtype=float)
    total = np.add.reduceat(np.where(good, curve.values, 0), starts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.where(kept > 0, total / kept, np.nan)
    low = np.minimum.reduceat(np.where(good, curve.values, np.inf), starts, axis=0).min(1)
    high = np.maximum.reduceat(np.where(good, curve.values, -np.inf), starts, axis=0).max(1)
    steps = np.add.reduceat(curve.steps, starts) / np.diff(np.append(starts, count))
    empty = ~good.any(1) if size == 1 else kept.max(1) == 0
    return Thinned(steps, middle, np.where(empty, np.nan, low), np.where(empty, np.nan, high), size)

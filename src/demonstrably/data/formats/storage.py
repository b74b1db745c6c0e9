"""Where loaded columns live: in memory, or in a cache folder of .npy files that are memory-mapped."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

# Part of available memory that a data set may take before it is mapped.
RESIDENT_SHARE = 0.5
# Part of a cache entry's name; raised when the way files are read changes.
VERSION = 1
DAY = 86400.0

Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype]]  # column -> (rows planned, ...) and type


@runtime_checkable
class Sink(Protocol):
    """Takes columns one episode at a time."""

    def block(self, name: str, rows: int) -> np.ndarray:
        """Room for the next rows of a column; asked for again before `commit`, the same rows."""
        ...

    def commit(self) -> None:
        """Keep the blocks handed out since the last commit."""
        ...


class Resident:
    """Columns in memory, filled in place."""

    def __init__(self, shapes: Shapes) -> None:
        self._columns = {name: np.empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
        self._used = dict.fromkeys(shapes, 0)
        self._open: dict[str, int] = {}

    def block(self, name: str, rows: int) -> np.ndarray:
        """A view of the column, (rows, ...)."""
        start = self._used[name]
        self._open[name] = start + rows
        return self._columns[name][start : start + rows]

    def commit(self) -> None:
        """Move on behind the blocks handed out."""
        self._used.update(self._open)
        self._open.clear()

    def columns(self) -> dict[str, np.ndarray]:
        """The filled part of each column."""
        return {name: column[: self._used[name]] for name, column in self._columns.items()}


class Streamed:
    """Columns appended to .npy files, one episode in memory at a time.

    Plain writes, not a map: a full disk is then an OSError and not a dead process.
    """

    def __init__(self, folder: Path, shapes: Shapes) -> None:
        self._shapes = {name: (shape[1:], dtype) for name, (shape, dtype) in shapes.items()}
        self._planned = {name: shape[0] for name, (shape, _) in shapes.items()}
        self._used = dict.fromkeys(shapes, 0)
        self._open: dict[str, np.ndarray] = {}
        self._files: dict[str, BinaryIO] = {}
        self.files = {name: f"column_{index:03d}.npy" for index, name in enumerate(shapes)}
        for name in shapes:
            self._files[name] = open(folder / self.files[name], "wb")
            self._header(name, self._planned[name])

    def _header(self, name: str, rows: int) -> None:
        # numpy leaves room for the first extent to change, so the header keeps its length.
        row, dtype = self._shapes[name]
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows, *row)}
        np.lib.format.write_array_header_1_0(self._files[name], header)

    def block(self, name: str, rows: int) -> np.ndarray:
        """A new array (rows, ...)."""
        row, dtype = self._shapes[name]
        self._open[name] = np.empty((rows, *row), dtype)
        return self._open[name]

    def commit(self) -> None:
        """Append the blocks handed out."""
        for name, rows in self._open.items():
            self._files[name].write(rows.data)
            self._used[name] += len(rows)
        self._open.clear()

    def finish(self) -> None:
        """Write the true number of rows into each header and close the files."""
        for name, file in self._files.items():
            body = file.tell()
            file.seek(0)
            self._header(name, self._used[name])
            assert body >= file.tell()
            file.flush()
            os.fsync(file.fileno())
        self.close()

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, within the container's limit; None where it is unknown."""
    found = [value for value in (_system_memory(), _container_memory()) if value is not None]
    return min(found) if found else None


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _container_memory() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        return None if limit == "max" else max(0, int(limit) - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):
        return None


def maps(memory: str, needed: int) -> bool:
    """Whether columns of that many bytes are to be mapped. Raises ValueError for an unknown mode."""
    if memory not in ("auto", "resident", "mapped"):
        raise ValueError(f"memory is {memory!r}; give 'auto', 'resident' or 'mapped'")
    if memory != "auto":
        return memory == "mapped"
    free = available_memory()
    return free is not None and needed > RESIDENT_SHARE * free


def cache_folder(path: Path, request: Any) -> Path:
    """Folder of the cached columns of one file as it is now, read in one way.

    The name depends on the file's place, size and time of change, and on `request` (plain JSON). The folder
    lies in $DEMONSTRABLY_CACHE, or in ~/.cache/demonstrably.
    """
    root = os.environ.get("DEMONSTRABLY_CACHE")
    base = Path(root) if root else Path.home() / ".cache" / "demonstrably"
    facts = path.stat()
    identity = json.dumps([VERSION, str(path.resolve()), facts.st_size, facts.st_mtime_ns, request])
    return base / f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"


@contextmanager
def building(folder: Path, needed: int) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block ends well, and is removed when it does not.

    Raises OSError when the disk has not `needed` bytes free.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OSError(
            f"{folder.parent}: mapping needs {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            "set DEMONSTRABLY_CACHE to a folder with room, or read fewer keys"
        )
    temporary = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left of the same entry."""
    for old in folder.parent.glob(f"{folder.name}.partial-*"):
        if time.time() - old.stat().st_mtime > DAY:
            shutil.rmtree(old, ignore_errors=True)


def reopen(folder: Path) -> tuple[dict[str, np.ndarray], Any] | None:
    """Columns of a cache entry, mapped read-only, and the record beside them; None if it is not whole."""
    try:
        stored = json.loads((folder / "record.json").read_text())
        columns = {name: np.load(folder / file, mmap_mode="r") for name, file in stored["files"].items()}
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return columns, stored["record"]


def write_record(folder: Path, files: Mapping[str, str], record: Any) -> None:
    """Write the record that `reopen` returns, plain JSON."""
    (folder / "record.json").write_text(json.dumps({"files": dict(files), "record": record}))

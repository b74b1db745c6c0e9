"""Writing robomimic HDF5, whole or not at all."""

import json
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from demonstrably.data.demonstrations import Demonstrations, Episode
from demonstrably.data.tables import OWN_COLUMNS
from demonstrably.spec import Continuous, Environment

GYM = 2  # robomimic's number for Gym environments
DEMO = re.compile(r"demo_(0|[1-9][0-9]{0,17})")
# Attributes of the data group that are written from the demonstrations and not copied.
OWN_ATTRIBUTES = ("total", "env_args", "action_low", "action_high", "action_count", "done_mode")


def save(demos: Demonstrations, path: Path | str, *, compress: bool = True) -> Path:
    """Write the episodes of a view as robomimic HDF5 that robomimic itself reads.

    Every episode gets obs and next_obs, `dones` that mark terminations only, and an empty `states`, as
    robomimic allows where there is no simulator state. Written beside them, for reading back: `terminated`,
    `truncated`, the table's columns as attributes, and the action bounds. An episode that is not called
    demo_<number> is numbered and keeps its name as `source_name`. `compress` packs byte columns (images)
    with gzip.

    The file is written under a temporary name and then renamed. Raises OSError when it cannot be written, a
    full disk included; whatever stood at `path` is then still there.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with open(temporary, "w+b", buffering=0) as raw:
            guarded = _GuardedFile(raw)
            with h5py.File(guarded, "w") as file:
                _write(file, demos, guarded, compress)
            guarded.require_whole()
            os.fsync(raw.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            f"{path}: not written ({error.strerror or error}); what stood there before is untouched"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


class _GuardedFile:
    """The file HDF5 writes to, which keeps a failed write to itself.

    HDF5 crashes the process when a write fails while it closes a file. Here it is told that all went well,
    the caller stops at the next episode, and `require_whole` raises the first error.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def require_whole(self) -> None:
        """Raise the error of the first write that failed."""
        if self.error is not None:
            raise self.error

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place in the file."""
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self.raw.tell()

    def flush(self) -> None:
        """Nothing is buffered here."""

    def write(self, data: Any) -> int:
        """Write all of `data`, unless a write has failed before."""
        view = memoryview(data)
        try:
            while self.error is None and len(view):
                view = view[self.raw.write(view) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file."""
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; what was never written reads as zeros."""
        view = memoryview(buffer)
        count = self.raw.readinto(view)  # type: ignore[attr-defined]
        view[count:] = bytes(len(view) - count)
        return len(view)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        return self.raw.read(size)


def _write(file: h5py.File, demos: Demonstrations, guarded: _GuardedFile, compress: bool) -> None:
    data = file.create_group("data")
    data.attrs["total"] = demos.transitions
    data.attrs["env_args"] = _environment_text(demos)
    if isinstance(demos.action, Continuous):
        data.attrs["action_low"], data.attrs["action_high"] = demos.action.low, demos.action.high
    else:
        data.attrs["action_count"] = demos.action.count
    for name, value in demos.attributes.items():
        if name not in OWN_ATTRIBUTES and isinstance(value, bool | int | float | str):
            data.attrs[name] = value
    names = _demo_names(demos.table.column("name").to_pylist())
    for name, episode in zip(names, demos, strict=True):
        _write_episode(data.create_group(name), name, episode, compress)
        guarded.require_whole()
    for mask, members in demos.masks.items():
        chosen = [name for name, inside in zip(names, members, strict=True) if inside]
        file.create_dataset(f"mask/{mask}", data=np.array(chosen, dtype="S"))


def _demo_names(names: list[str]) -> list[str]:
    """The names if robomimic can sort them, else demo_0, demo_1, ..."""
    numbers = [DEMO.fullmatch(name) for name in names]
    if all(numbers) and len(set(names)) == len(names):
        return names
    return [f"demo_{i}" for i in range(len(names))]


def _write_episode(group: h5py.Group, name: str, episode: Episode, compress: bool) -> None:
    for key, rows in episode.observations.items():
        _dataset(group, f"obs/{key}", rows[:-1], compress)
        _dataset(group, f"next_obs/{key}", rows[1:], compress)
    actions = episode.actions
    group["actions"] = actions[:, None] if actions.ndim == 1 else actions
    if not np.isnan(episode.rewards).any():
        group["rewards"] = episode.rewards
    group["dones"] = episode.terminated.astype(np.uint8)
    group["terminated"] = episode.terminated.astype(np.uint8)
    group["truncated"] = episode.truncated.astype(np.uint8)
    group["states"] = np.empty((len(episode), 0), np.float32)
    group.attrs["num_samples"] = len(episode)
    group.attrs["final_observation"] = episode.attributes["final_observation"]
    if episode.attributes["name"] != name:
        group.attrs["source_name"] = episode.attributes["name"]
    for column, value in episode.attributes.items():
        if column not in OWN_COLUMNS and value is not None:
            group.attrs[column] = value


def _dataset(group: h5py.Group, name: str, rows: np.ndarray, compress: bool) -> None:
    packed = compress and rows.dtype == np.uint8
    # One row a chunk, so that a reader of single frames unpacks no more than it needs.
    chunks = (1, *rows.shape[1:]) if packed and rows.ndim > 2 else None
    group.create_dataset(name, data=rows, chunks=chunks, compression="gzip" if packed else None)


def _environment_text(demos: Demonstrations) -> str:
    known = demos.attributes.get("env_args")
    environment = demos.environment
    if environment is None:
        return json.dumps({"env_name": None, "type": GYM, "env_kwargs": {}})
    arguments: dict[str, Any] = {"type": GYM}
    if isinstance(known, dict) and known.get("env_name") == environment.name:
        arguments.update(known)
    arguments.update(env_name=environment.name, env_kwargs=dict(environment.kwargs))
    return _json(arguments, environment)


def _json(arguments: dict[str, Any], environment: Environment) -> str:
    if environment.imports:
        arguments["imports"] = list(environment.imports)
    if environment.seats > 1:
        arguments["seats"] = environment.seats
    try:
        return json.dumps(arguments)
    except TypeError as error:
        raise ValueError(
            f"environment {environment.name}: its keyword arguments are no plain JSON ({error})"
        ) from error

"""What a robomimic HDF5 file holds, found without reading its arrays."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from demonstrably.data.arrays import MOST_CHOICES
from demonstrably.data.formats.errors import FileError
from demonstrably.data.formats.hdf5 import attribute, child_group, datasets, members, plain, refused, scalars
from demonstrably.data.formats.robomimic_layout import Layout, Source, episode_length, first_layout
from demonstrably.data.formats.storage import Shapes
from demonstrably.data.notes import Finding
from demonstrably.data.wording import nearest
from demonstrably.spec import Continuous, Discrete, Environment

DEMO = re.compile(r"demo_([0-9]{1,18})")
ROBOSUITE = 1  # robomimic's number for robosuite environments
LISTED = 5


@dataclass(frozen=True)
class Plan:
    """A file's episodes, layout and attributes."""

    source: Source
    names: tuple[str, ...]
    lengths: np.ndarray  # (episodes,) rows of `actions`, 0 where an episode has none
    layout: Layout
    attributes: Mapping[str, Any]  # file level
    environment: Environment | None
    robosuite: bool
    masks: Mapping[str, frozenset[str]]
    limit: int | None  # length at which recording seems to have been cut off
    notes: tuple[Finding, ...]

    def shapes(self) -> Shapes:
        """Columns to make room for."""
        total, layout = int(self.lengths.sum()), self.layout
        rows = total + len(self.names)
        columns = {f"obs/{key}": ((rows, *layout.row(key)), layout.dtypes[key]) for key in layout.rows}
        whole, real, flag = np.dtype(np.int64), np.dtype(np.float32), np.dtype(bool)
        return {
            **columns,
            "actions": ((total,), whole) if layout.width is None else ((total, layout.width), real),
            "rewards": ((total,), real),
            "terminated": ((total,), flag),
            "truncated": ((total,), flag),
        }

    def estimate(self) -> dict[str, int]:
        """Bytes by column, observation keys by their own name."""
        sizes = {name: int(np.prod(shape)) * dtype.itemsize for name, (shape, dtype) in self.shapes().items()}
        return {name.removeprefix("obs/"): size for name, size in sizes.items()}

    def declared_action(self) -> Continuous | Discrete | None:
        """The action space that the file itself states, or None.

        `action_low`, `action_high` and `action_count` on the data group; robosuite's files follow robomimic's
        convention of [-1, 1].
        """
        width = self.layout.width
        low, high, count = (self.attributes.get(name) for name in ("action_low", "action_high", "action_count"))
        if width is None:
            return Discrete(count) if isinstance(count, int) and 2 <= count <= MOST_CHOICES else None
        if low is not None and high is not None:
            with refused(f"{self.source.path}: attributes action_low and action_high"):
                return Continuous(bound(low, width), bound(high, width))
        return Continuous((-1.0,) * width, (1.0,) * width) if self.robosuite else None


def bound(values: Any, width: int) -> tuple[float, ...]:
    """A bound for each action dimension, from one number or one a dimension."""
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if numbers.size not in (1, width) or not np.isfinite(numbers).all():
        raise ValueError(f"got {values}; give {width} finite numbers")
    return tuple(np.broadcast_to(numbers, width).tolist())


def make_plan(file: h5py.File, path: Path, keys: Sequence[str] | None, mask: str | None, drop: bool) -> Plan:
    """The plan of an open file. FileError for a file of another layout, an unknown key or mask."""
    data = child_group(file, "data")
    if data is None:
        raise FileError(f"{path}: no group 'data', so not robomimic HDF5{_guess(file)}")
    everyone = sorted((name for name in members(data) if DEMO.fullmatch(name)), key=lambda name: (int(name[5:]), name))
    if not everyone:
        raise FileError(f"{path}: group 'data' holds no episode; they are called demo_0, demo_1, ...")
    masks = read_masks(file, path, everyone)
    names = everyone if mask is None else chosen_names(path, everyone, masks, mask)
    attributes, environment, notes = file_attributes(data)
    source = Source(str(path), path.stat().st_size, environment.name if environment else None)
    layout = first_layout(data, source, names, keys, drop)
    # The limit is judged from all episodes, so that a mask changes no episode's content.
    every_length = {name: episode_length(data, name) for name in everyone}
    limit = time_limit(environment, list(every_length.values()))
    if len(everyone) < len(data):
        notes.append(_ignored(data, everyone))
    notes += _total_note(attributes, sum(every_length.values()))
    return Plan(
        source,
        tuple(names),
        np.array([every_length[name] for name in names], dtype=np.int64),
        layout,
        attributes,
        environment,
        is_robosuite(attributes),
        masks,
        limit,
        tuple(notes),
    )


def time_limit(environment: Environment | None, lengths: Sequence[int]) -> int | None:
    """Steps after which recording was cut off.

    What the environment says, else the greatest length if several episodes share it or there is but one.
    """
    stated = environment.kwargs.get("max_episode_steps") if environment else None
    if isinstance(stated, int):
        return stated
    longest = max(lengths)
    return longest if len(lengths) == 1 or lengths.count(longest) > 1 else None


def read_masks(file: h5py.File, path: Path, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """The filter keys of a file: mask -> episode names. FileError for one that names an absent episode."""
    group = child_group(file, "mask")
    if group is None:
        return {}
    known = set(names)
    found = {}
    for mask, dataset in datasets(group, f"{path}: mask").items():
        if not h5py.check_string_dtype(dataset.dtype) or dataset.ndim != 1:
            kind = f"{dataset.dtype} of shape {dataset.shape}"
            raise FileError(f"{path}: mask {mask!r} holds {kind}; give a list of demo names")
        chosen = [str(plain(one)) for one in dataset[...]]
        absent = [one for one in chosen if one not in known]
        if absent:
            raise FileError(
                f"{path}: mask {mask!r} names {absent[0]!r}, which is not among the file's {len(names)} "
                "episodes; write the mask anew"
            )
        found[mask] = frozenset(chosen)
    return found


def chosen_names(path: Path, names: Sequence[str], masks: Mapping[str, frozenset[str]], mask: str) -> list[str]:
    """Names of the episodes of one mask."""
    if mask not in masks:
        raise FileError(f"{path}: no mask {mask!r}{nearest(mask, sorted(masks))}")
    if not masks[mask]:
        raise FileError(f"{path}: mask {mask!r} is empty; there are: {', '.join(sorted(masks))}")
    return [name for name in names if name in masks[mask]]


def file_attributes(data: h5py.Group) -> tuple[dict[str, Any], Environment | None, list[Finding]]:
    """File-level attributes with env_args as a mapping, the environment, and what was odd about them."""
    attributes: dict[str, Any] = dict(scalars(data))
    for name in ("action_low", "action_high"):
        bound = attribute(data, name)
        if bound is not None:
            attributes[name] = np.asarray(bound).tolist()
    text = plain(attribute(data, "env_args"), longest=None)
    if not isinstance(text, str):
        return attributes, None, [_no_environment("the file has no env_args")]
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return attributes, None, [_no_environment("env_args is no JSON")]
    if not isinstance(arguments, dict) or not isinstance(arguments.get("env_name"), str):
        return attributes, None, [_no_environment("env_args gives no env_name")]
    attributes["env_args"] = arguments
    imports = arguments.get("imports") or (["robosuite"] if is_robosuite(attributes) else [])
    kwargs, seats = arguments.get("env_kwargs") or {}, arguments.get("seats", 1)
    if not isinstance(kwargs, dict) or not isinstance(imports, list) or not isinstance(seats, int):
        return (
            attributes,
            None,
            [_no_environment("env_kwargs, imports or seats in env_args have a wrong type")],
        )
    return attributes, Environment(arguments["env_name"], kwargs, tuple(map(str, imports)), seats), []


def is_robosuite(attributes: Mapping[str, Any]) -> bool:
    """Whether env_args say so. robomimic's code reads `type`, its documentation says `env_type`."""
    arguments = attributes.get("env_args")
    return isinstance(arguments, dict) and arguments.get("type", arguments.get("env_type")) == ROBOSUITE


def _no_environment(why: str) -> Finding:
    advice = "Name it when you evaluate."
    return Finding("note", "environment", "env_args", f"{why}, so the environment is unknown.", advice)


def _ignored(data: h5py.Group, names: Sequence[str]) -> Finding:
    others = sorted(set(members(data)) - set(names))
    message = f"{len(others)} members are not called demo_<number> and were not read: {', '.join(others[:LISTED])}."
    return Finding("warning", "ignored-group", "data", message, "Rename them if they are episodes.")


def _total_note(attributes: Mapping[str, Any], transitions: int) -> list[Finding]:
    total = attributes.get("total", transitions)
    if str(total) == str(transitions):
        return []
    message = f"attribute total says {total} transitions, the arrays hold {transitions}."
    advice = "Check that the file was written to its end."
    return [Finding("warning", "count-mismatch", "data", message, advice)]


def _guess(file: h5py.File) -> str:
    """What another layout of HDF5 this might be."""
    names = members(file)
    if any(name.startswith("episode_") for name in names):
        return " (it looks like a Minari data set)"
    if {"observations", "actions"} <= set(names):
        return " (it looks like a D4RL file)"
    near = difflib.get_close_matches("data", names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean its group {near[0]!r}? rename it"
    return f"; it holds {', '.join(names[:LISTED]) or 'nothing'}"

"""What every episode of a robomimic HDF5 file must hold, taken from one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from demonstrably.data import overlap
from demonstrably.data.arrays import stored_dtype
from demonstrably.data.formats.errors import FileError
from demonstrably.data.formats.hdf5 import (
    child_dataset,
    child_group,
    datasets,
    members,
    require_plausible,
)
from demonstrably.data.wording import nearest


@dataclass(frozen=True)
class Source:
    """The file, as error messages and checks of plausibility need it."""

    path: str
    size: int  # bytes
    environment: str | None

    def where(self, name: str) -> str:
        """The beginning of a message about an episode."""
        return f"{self.path}: {name}"


@dataclass(frozen=True)
class Layout:
    """Keys, shapes and types that all episodes of a file share."""

    rows: Mapping[str, tuple[int, ...]]  # observation key -> shape of one step, as stored
    dtypes: Mapping[str, np.dtype]  # observation key -> type kept
    everything: frozenset[str]  # all observation keys of the model episode
    width: int | None  # action dimensions, None when discrete
    inside_flat: Mapping[str, tuple[int, ...]]  # key -> columns of "flat" at which it may start
    model: str  # the episode this was taken from

    def row(self, key: str) -> tuple[int, ...]:
        """Shape of one step as kept; a plain number becomes (1,)."""
        return self.rows[key] or (1,)


def first_layout(
    data: h5py.Group, source: Source, names: Sequence[str], keys: Sequence[str] | None, drop: bool
) -> Layout:
    """The layout of the first episode, or when faulty ones are dropped of the first good one."""
    fault: FileError | None = None
    for name in names:
        try:
            return episode_layout(data, name, source, keys)
        except FileError as error:
            fault = fault or error
            if not drop:
                break
    assert fault is not None
    raise fault


def episode_layout(data: h5py.Group, name: str, source: Source, keys: Sequence[str] | None) -> Layout:
    """The layout of one episode."""
    demo, where = child_group(data, name), source.where(name)
    if demo is None:
        raise FileError(f"{where}: is no group; an episode is a group with 'actions' and 'obs'")
    actions = episode_actions(demo, where, source)
    found = observations(demo, where)
    wanted = tuple(sorted(found)) if keys is None else tuple(keys)
    dtypes = {}
    for key in wanted:
        if key not in found:
            raise FileError(f"{where}: no observation key {key!r}{nearest(key, sorted(found))}")
        require_plausible(found[key], f"{where}: obs/{key}", source.size)
        dtypes[key] = stored_dtype(found[key].dtype)
        if found[key].ndim == 0 or 0 in found[key].shape[1:]:
            shape = found[key].shape
            raise FileError(f"{where}: obs/{key} has shape {shape}; give one row a step, with a value or more")
    return Layout(
        {key: found[key].shape[1:] for key in wanted},
        dtypes,
        frozenset(found),
        action_width(actions),
        _inside_flat(found, wanted, demo),
        name,
    )


def _inside_flat(
    found: Mapping[str, h5py.Dataset], wanted: Sequence[str], demo: h5py.Group
) -> dict[str, tuple[int, ...]]:
    """Where keys lie inside "flat", which alone carries the final observation in some files."""
    flat = found.get(overlap.FLAT)
    if child_dataset(demo, "last_obs") is None or flat is None or flat.ndim != 2:
        return {}
    parts = {key: found[key] for key in {*wanted, overlap.FLAT}}
    alike = {key: part for key, part in parts.items() if part.ndim == 2 and len(part) == len(flat)}
    return overlap.offsets({key: part[...] for key, part in alike.items()}) if len(alike) > 1 else {}


def action_width(actions: h5py.Dataset) -> int | None:
    """Dimensions of continuous actions, None for discrete ones."""
    if actions.dtype.kind in "iu":
        return None
    return actions.shape[1] if actions.ndim == 2 else 1


def episode_actions(demo: h5py.Group, where: str, source: Source) -> h5py.Dataset:
    """The actions of an episode, checked for their kind and shape."""
    actions = child_dataset(demo, "actions")
    if actions is None:
        raise FileError(f"{where}: no dataset 'actions'; it holds {', '.join(members(demo)) or 'nothing'}")
    require_plausible(actions, f"{where}: actions", source.size)
    shape = actions.shape
    if actions.ndim not in (1, 2) or 0 in shape[1:] or actions.dtype.kind == "b":
        raise FileError(
            f"{where}: actions have shape {shape} and type {actions.dtype}; give (T, A) real numbers, or "
            "(T,) integers for discrete actions"
        )
    if actions.dtype.kind in "iu" and actions.ndim == 2 and shape[1] != 1:
        raise FileError(
            f"{where}: actions are integers of shape {shape}: {shape[1]} choices a step, as of several "
            "players at once, where one discrete action a step is read; use the loader of the environment "
            f"({source.environment or 'unknown'}), or Demonstrations.from_arrays with one episode a player"
        )
    return actions


def observations(demo: h5py.Group, where: str) -> dict[str, h5py.Dataset]:
    """The observation datasets of an episode by key."""
    group = child_group(demo, "obs")
    found = {} if group is None else datasets(group, where)
    if not found:
        raise FileError(
            f"{where}: no observations in 'obs'; it holds {', '.join(members(demo)) or 'nothing'}. A file "
            "with states only needs robomimic's dataset_states_to_obs.py first"
        )
    return found


def episode_length(data: h5py.Group, name: str) -> int:
    """Rows of `actions`, 0 where there are none: the fault is named when the episode is read."""
    demo = child_group(data, name)
    actions = None if demo is None else child_dataset(demo, "actions")
    return 0 if actions is None or not actions.shape else int(actions.shape[0])

"""Small robomimic files for tests, written with h5py and not with the library."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LENGTHS = (4, 6, 3)
PLACE = {"env_name": "Place-v0", "env_kwargs": {"size": 3}, "type": 2}


def write_recording(
    path: Path,
    lengths: tuple[int, ...] = LENGTHS,
    change: Callable[[h5py.File], Any] | None = None,
    discrete: bool = False,
    compression: str | None = "gzip",
    libver: str = "earliest",
) -> Path:
    """A file as robomimic describes it: two observation keys with next_obs, sparse rewards, dones at the end.

    Observations of step t of episode e are 100 e + t + dimension / 10, so that every row says where it is from.
    `change` edits the file at last.
    """
    generator = np.random.default_rng(0)
    with h5py.File(path, "w", libver=libver) as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(PLACE)
        data.attrs["total"] = sum(lengths)
        for episode, length in enumerate(lengths):
            demo = data.create_group(f"demo_{episode}")
            demo.attrs["num_samples"] = length
            rows = 100 * episode + np.arange(length + 1, dtype=np.float64)[:, None]
            for key, width in (("place", 3), ("arm/joints", 2)):
                values = rows + np.arange(width) / 10
                demo.create_dataset(f"obs/{key}", data=values[:-1], compression=compression)
                demo.create_dataset(f"next_obs/{key}", data=values[1:], compression=compression)
            actions = generator.integers(0, 3, length) if discrete else generator.uniform(-1, 1, (length, 2))
            demo["actions"] = actions
            demo["rewards"] = np.arange(length) == length - 1
            demo["dones"] = np.arange(length) == length - 1
            demo["states"] = np.zeros((length, 5))
        if change:
            change(file)
    return path


def each_demo(edit: Callable[[h5py.Group], Any]) -> Callable[[h5py.File], None]:
    """A change that is made to every episode."""

    def change(file: h5py.File) -> None:
        for demo in file["data"].values():
            edit(demo)

    return change


def replaced(group: h5py.Group, name: str, values: Any) -> None:
    """Write a dataset in place of the one there."""
    if name in group:
        del group[name]
    group[name] = values

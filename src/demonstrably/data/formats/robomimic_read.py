"""Reading the episodes of a robomimic HDF5 file into columns, one at a time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from demonstrably.data import overlap
from demonstrably.data.arrays import converted, first_invalid, require_choices
from demonstrably.data.formats.errors import FileError
from demonstrably.data.formats.hdf5 import (
    child_dataset,
    child_group,
    damaged,
    datasets,
    read_into,
    refused,
    require_plausible,
    require_type,
    scalars,
)
from demonstrably.data.formats.robomimic_layout import action_width, episode_actions, observations
from demonstrably.data.formats.robomimic_plan import Plan
from demonstrably.data.formats.storage import Sink

SUCCESS_DONE = 0  # robomimic's done_mode in which `dones` mean success and nothing else


@dataclass
class Record:
    """What reading found beside the arrays; plain JSON, so that a cache can keep it."""

    kept: list[int] = field(default_factory=list)  # positions in the plan
    final: list[bool] = field(default_factory=list)  # was the last observation recorded?
    attributes: list[dict[str, Any]] = field(default_factory=list)
    rewarded: list[bool] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)  # messages
    rules: dict[str, int] = field(default_factory=dict)  # how `terminated` was found -> episodes
    miscounted: list[str] = field(default_factory=list)  # episodes whose num_samples is wrong
    misaligned: list[str] = field(default_factory=list)  # episodes whose next_obs is not the next row of obs


def read_episodes(file: h5py.File, plan: Plan, sink: Sink, drop: bool) -> Record:
    """Read every episode of the plan into the sink.

    Raises FileError for the first episode at fault, or with `drop` leaves it out and keeps the message.
    """
    record, rules = Record(), Counter()
    data = child_group(file, "data")
    assert data is not None
    for position, name in enumerate(plan.names):
        where = plan.source.where(name)
        try:
            with damaged(where):
                demo = child_group(data, name)
                facts = _Episode(demo, where, int(plan.lengths[position]), plan).read(sink)
        except FileError as error:
            if not drop:
                raise
            record.dropped.append(str(error))
            continue
        sink.commit()
        record.kept.append(position)
        record.final.append(facts.final)
        record.attributes.append(facts.attributes)
        record.rewarded.append(facts.rewarded)
        record.miscounted += [name] if facts.miscounted else []
        record.misaligned += [name] if facts.misaligned else []
        rules[facts.rule] += 1
    record.rules = dict(rules)
    if not record.kept:
        raise FileError(
            f"{plan.source.path}: all {len(plan.names)} episodes are at fault, the first: {record.dropped[0]}"
        )
    return record


@dataclass
class _Facts:
    final: bool
    misaligned: bool
    rewarded: bool
    rule: str
    attributes: dict[str, Any]
    miscounted: bool


class _Episode:
    """One episode being read."""

    def __init__(self, demo: h5py.Group | None, where: str, length: int, plan: Plan) -> None:
        if demo is None:
            raise FileError(f"{where}: is no group; an episode is a group with 'actions' and 'obs'")
        self.demo, self.where, self.length, self.plan = demo, where, length, plan
        self.attributes = scalars(demo)

    def read(self, sink: Sink) -> _Facts:
        """Read all columns of the episode."""
        if self.length == 0:
            episode_actions(self.demo, self.where, self.plan.source)
            raise FileError(f"{self.where}: has no steps; remove it, or give on_invalid='drop'")
        self._read_actions(sink)
        final, misaligned = self._read_observations(sink)
        rewards = sink.block("rewards", self.length)
        rewarded = self._read_steps("rewards", rewards)
        rule = self._read_endings(sink, rewards if rewarded else None)
        samples = self.attributes.pop("num_samples", self.length)
        return _Facts(final, misaligned, rewarded, rule, self.attributes, samples != self.length)

    def _read_actions(self, sink: Sink) -> None:
        actions = episode_actions(self.demo, self.where, self.plan.source)
        width = action_width(actions)
        layout = self.plan.layout
        if width != layout.width:
            raise FileError(
                f"{self.where}: actions are {_kind(width)}, those of {layout.model} {_kind(layout.width)}; "
                "all episodes of a file must have one action space"
            )
        block = sink.block("actions", self.length)
        read_into(actions, block)
        self._require_finite("actions", block)
        if width is None:
            with refused(self.where):
                require_choices(block)

    def _read_observations(self, sink: Sink) -> tuple[bool, bool]:
        layout = self.plan.layout
        found = observations(self.demo, self.where)
        self._require_keys(found)
        last = _Final(self, found)
        blocks = {key: sink.block(f"obs/{key}", self.length + 1) for key in layout.rows}
        for key, block in blocks.items():
            dataset = self._checked(f"obs/{key}", found[key], layout.rows[key])
            require_type(dataset, block, f"{self.where}: obs/{key}")
            read_into(dataset, block[:-1])
            row = last.row(key, block)
            block[-1] = block[-2] if row is None else row
            self._require_finite(f"obs/{key}", block)
        return last.settle(blocks, self.attributes.pop("final_observation", None)), last.misaligned

    def _require_keys(self, found: Mapping[str, h5py.Dataset]) -> None:
        layout = self.plan.layout
        for key in layout.rows:
            if key not in found:
                raise FileError(
                    f"{self.where}: no observation key {key!r}, which {layout.model} has; choose keys= that all have"
                )
        extra = sorted(set(found) - layout.everything)
        if extra and set(layout.rows) == layout.everything:
            raise FileError(
                f"{self.where}: has observation key {extra[0]!r}, which {layout.model} has not; choose keys="
            )

    def _checked(self, name: str, dataset: h5py.Dataset, row: tuple[int, ...]) -> h5py.Dataset:
        shape = dataset.shape
        if shape is None or shape[1:] != row:
            raise FileError(
                f"{self.where}: {name} has rows of shape {shape and shape[1:]}, those of {self.plan.layout.model} "
                f"{row}; make them equal"
            )
        if shape[:1] != (self.length,):
            raise FileError(f"{self.where}: {name} has {shape[0]} rows, actions {self.length}; make them equal")
        require_plausible(dataset, f"{self.where}: {name}", self.plan.source.size)
        return dataset

    def _read_steps(self, name: str, target: np.ndarray) -> bool:
        """Fill one value a step; False and NaN where the file has none."""
        dataset = child_dataset(self.demo, name)
        if dataset is None:
            target[:] = np.nan
            return False
        shape = dataset.shape
        if shape not in ((self.length,), (self.length, 1)):
            raise FileError(f"{self.where}: {name} has shape {shape}, actions {self.length} rows; make them equal")
        read_into(self._checked(name, dataset, shape[1:]), target)
        self._require_finite(name, target)
        return True

    def _flags(self, name: str) -> np.ndarray | None:
        values = np.empty(self.length, np.float32)
        return values != 0 if self._read_steps(name, values) else None

    def _read_endings(self, sink: Sink, rewards: np.ndarray | None) -> str:
        """Fill terminated and truncated, and say by which rule."""
        terminated, truncated = sink.block("terminated", self.length), sink.block("truncated", self.length)
        recorded, dones = self._flags("terminated"), self._flags("dones")
        if recorded is not None:
            terminated[:], rule = recorded, "terminated"
        elif dones is None:
            terminated[:], rule = False, "nothing"
        elif self.plan.attributes.get("done_mode") == SUCCESS_DONE:
            terminated[:], rule = dones, "done_mode"
        else:
            terminated[:], rule = dones, "dones"
            terminated[-1] &= self._sparse_success(rewards) or self._succeeded_early()
            rule = "dones-success" if terminated[-1] else rule
        cut = self._flags("truncated")
        truncated[:] = False if cut is None else cut
        truncated[-1] |= not terminated[-1]
        return rule

    def _succeeded_early(self) -> bool:
        """Marked as a success and over before a time limit would have ended it."""
        limit = self.plan.limit
        return self.attributes.get("success") in (1, True) and (limit is None or self.length < limit)

    def _sparse_success(self, rewards: np.ndarray | None) -> bool:
        """robosuite's sparse rewards are 1 in a success state and 0 elsewhere."""
        return self.plan.robosuite and rewards is not None and bool(rewards[-1] == 1 and np.isin(rewards, (0, 1)).all())

    def _require_finite(self, name: str, rows: np.ndarray) -> None:
        found = first_invalid(rows)
        if found is not None:
            row, dimension, value = found
            raise FileError(
                f"{self.where}: {name} is {value} at step {row}, dimension {dimension}; mend the recording, "
                "or give on_invalid='drop' to leave the episode out"
            )


class _Final:
    """Finds the observation after the last action: in next_obs, in last_obs, or in a part of last_obs."""

    def __init__(self, episode: _Episode, found: Mapping[str, h5py.Dataset]) -> None:
        self.where, self.length, self.found = episode.where, episode.length, found
        self.inside, self.file_bytes = episode.plan.layout.inside_flat, episode.plan.source.size
        following, last = child_group(episode.demo, "next_obs"), episode.demo.get("last_obs")
        self.following = {} if following is None else datasets(following, self.where)
        self.last = datasets(last, self.where) if isinstance(last, h5py.Group) else {}
        if isinstance(last, h5py.Dataset) and (overlap.FLAT in found or len(found) == 1):
            self.last[overlap.FLAT if overlap.FLAT in found else next(iter(found))] = last
        self.missing = self.misaligned = False

    def row(self, key: str, block: np.ndarray) -> np.ndarray | None:
        """The final row of a key, or None. `block` (T + 1, ...) holds the recorded rows."""
        row = self._following(key, block) if key in self.following else self._last(key, block)
        self.missing |= row is None
        return row

    def _following(self, key: str, block: np.ndarray) -> np.ndarray:
        dataset = self.following[key]
        if dataset.shape != self.found[key].shape:
            raise FileError(
                f"{self.where}: next_obs/{key} has shape {dataset.shape}, obs/{key} {self.found[key].shape}; "
                "make them equal"
            )
        require_plausible(dataset, f"{self.where}: next_obs/{key}", self.file_bytes)
        require_type(dataset, block, f"{self.where}: next_obs/{key}")
        rows = converted(np.asarray(dataset[-2:]), block.dtype).reshape(-1, *block.shape[1:])
        self.misaligned |= len(rows) == 2 and not np.array_equal(rows[0], block[-2])
        return rows[-1]

    def _last(self, key: str, block: np.ndarray) -> np.ndarray | None:
        if key in self.last:
            require_plausible(self.last[key], f"{self.where}: last_obs of {key!r}", self.file_bytes)
            require_type(self.last[key], block, f"{self.where}: last_obs of {key!r}")
            row = converted(np.asarray(self.last[key][...]), block.dtype)
            if row.size != block[0].size:
                raise FileError(
                    f"{self.where}: last_obs of {key!r} has shape {row.shape}, a row {block.shape[1:]}; make them equal"
                )
            return row.reshape(block.shape[1:])
        return self._part_of_last(key, block) if overlap.FLAT in self.last else None

    def _part_of_last(self, key: str, block: np.ndarray) -> np.ndarray | None:
        """The key's part of the last flat vector, if all places where the key may lie in it agree."""
        before = converted(np.asarray(self.found[overlap.FLAT][-1]), block.dtype)
        after = converted(np.asarray(self.last[overlap.FLAT][...]).reshape(-1), block.dtype)
        if before.shape != after.shape:
            return None
        width = block.shape[1] if block.ndim == 2 else 0
        places = [slice(start, start + width) for start in self.inside.get(key, ())]
        rows = [after[place] for place in places if np.array_equal(before[place], block[-2])]
        return rows[0] if rows and all(np.array_equal(row, rows[0]) for row in rows) else None

    def settle(self, blocks: Mapping[str, np.ndarray], stated: Any) -> bool:
        """Whether the final observation was recorded.

        Some converters repeat the last row of obs as the last next_obs; in an episode that was moving until
        then that is no observation. `stated` is the attribute final_observation, which decides where there
        is one.
        """
        if self.missing or stated is False:
            return False
        if not self.following or stated is True or self.length < 2:
            return True
        repeated = all(np.array_equal(block[-1], block[-2]) for block in blocks.values())
        moving = any(not np.array_equal(block[-2], block[-3]) for block in blocks.values())
        return not (repeated and moving)


def _kind(width: int | None) -> str:
    return "discrete" if width is None else f"{width} real numbers"

"""robomimic HDF5: `data/demo_<number>/{obs/*, actions, rewards, dones}` with filter keys under `mask`.

Source of the layout: robomimic 0.5.0, docs "Dataset Contents and Visualization". Read beside it, where a
file has them: `terminated`, `truncated` and `last_obs` of an episode, and `action_low`, `action_high`,
`action_count` and `done_mode` on the data group.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from demonstrably.data import arrays, tables
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import storage
from demonstrably.data.formats.hdf5 import damaged, opened
from demonstrably.data.formats.robomimic_notes import reading_notes
from demonstrably.data.formats.robomimic_plan import Plan, make_plan
from demonstrably.data.formats.robomimic_read import Record, read_episodes
from demonstrably.data.formats.robomimic_write import save as save
from demonstrably.data.notes import Finding

NAME = "robomimic HDF5"
SUFFIXES = (".hdf5", ".h5")

logger = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """Whether the file is HDF5, by its signature."""
    return path.is_file() and bool(h5py.is_hdf5(path))


def estimate(path: Path | str, keys: Sequence[str] | None = None, mask: str | None = None) -> dict[str, int]:
    """Bytes that loading takes, by observation key and column, found without reading the arrays."""
    path = Path(path)
    with opened(path) as file, damaged(str(path)):
        return make_plan(file, path, keys, mask, drop=True).estimate()


def load(
    path: Path | str,
    *,
    keys: Sequence[str] | None = None,
    mask: str | None = None,
    memory: Literal["auto", "resident", "mapped"] = "auto",
    on_invalid: Literal["error", "drop"] = "error",
) -> Demonstrations:
    """Demonstrations of a robomimic HDF5 file; see `demonstrably.load` for the arguments."""
    path = Path(path)
    if on_invalid not in ("error", "drop"):
        raise ValueError(f"on_invalid is {on_invalid!r}; give 'error' or 'drop'")
    drop = on_invalid == "drop"
    with opened(path) as file:
        with damaged(str(path)):
            plan = make_plan(file, path, keys, mask, drop)
        needed = sum(plan.estimate().values())
        if not storage.maps(memory, needed):
            logger.info("%s: %.1f MB in memory", path, needed / 1e6)
            with damaged(str(path)):
                sink = storage.Resident(plan.shapes())
            record = read_episodes(file, plan, sink, drop)
            return _assemble(plan, sink.columns(), record, [])
        folder = storage.cache_folder(path, [None if keys is None else list(keys), mask, on_invalid])
        logger.info("%s: %.1f MB mapped from %s", path, needed / 1e6, folder)
        columns, record = storage.reopen(folder) or _build(file, plan, folder, needed, drop)
        return _assemble(plan, columns, Record(**record), [_mapped_note(needed, folder, memory)])


def _build(file: h5py.File, plan: Plan, folder: Path, needed: int, drop: bool) -> tuple[dict[str, np.ndarray], Any]:
    with storage.building(folder, needed) as temporary:
        sink = storage.Streamed(temporary, plan.shapes())
        try:
            record = asdict(read_episodes(file, plan, sink, drop))
            sink.finish()
        finally:
            sink.close()
        storage.write_record(temporary, sink.files, record)
    ready = storage.reopen(folder)
    if ready is None:
        raise OSError(f"{folder}: the cache just written cannot be read back; remove the folder and try again")
    return ready


def _mapped_note(needed: int, folder: Path, memory: str) -> Finding:
    why = "more than half of available memory" if memory == "auto" else "as asked"
    message = f"{needed / 1e6:.1f} MB are mapped from {folder} ({why})."
    return Finding("note", "memory", "", message, "Reading is slower than from memory; keys= or mask= may make it fit.")


def _assemble(plan: Plan, columns: Mapping[str, np.ndarray], record: Record, notes: list[Finding]) -> Demonstrations:
    names = [plan.names[position] for position in record.kept]
    lengths = plan.lengths[record.kept]
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    returns = np.add.reduceat(columns["rewards"].astype(np.float64), boundaries[:-1])
    table = tables.episode_table(
        names, lengths, np.where(record.rewarded, returns, np.nan), np.array(record.final), record.attributes
    )
    action = plan.declared_action() or arrays.action_space(columns["actions"])
    return Demonstrations(
        {key: columns[f"obs/{key}"] for key in plan.layout.rows},
        columns["actions"],
        columns["rewards"],
        columns["terminated"],
        columns["truncated"],
        boundaries,
        np.arange(len(names)),
        table,
        {mask: np.array([name in members for name in names]) for mask, members in sorted(plan.masks.items())},
        action,
        plan.environment,
        plan.source.path,
        plan.attributes,
        (*plan.notes, *notes, *reading_notes(plan, record, columns["actions"], returns)),
    )

"""Checks of the observations: constants, glitches, conflicting evidence, blank or frozen images."""

from collections.abc import Iterator

import numpy as np

from demonstrably.data.action_checks import taken
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.notes import Finding
from demonstrably.data.wording import counted, dimensions, listed, percent
from demonstrably.spec import Continuous, Discrete

SPIKE = 10.0  # times the 99th percentile of a dimension's changes
PROBED_STEPS = 20000
CONFLICT_SHARE = 0.02  # of the steps
DIFFERENT = 0.1  # of the bounds: actions further apart than this differ
MOST_BYTES = 2**31  # of observations hashed for conflicts
PROBED_FRAMES = 500
FROZEN_SHARE = 0.5


def constants(demos: Demonstrations) -> Iterator[Finding]:
    """Dimensions that never change."""
    for key in vectors(demos):
        constant = np.flatnonzero(demos.statistics(key).constant)
        if len(constant):
            size = int(np.prod(demos.observations[key].shape[1:]))
            yield Finding(
                "note",
                "constant",
                f"{key}, {dimensions(constant.tolist())}",
                f"{len(constant)} of {size} never change; they are masked.",
                "A policy cannot react to them, even if they change later.",
            )


def vectors(demos: Demonstrations) -> list[str]:
    """Keys a policy reads by default that are no images."""
    return [key for key in demos.keys() if demos.observations[key].ndim == 2]


def spikes(demos: Demonstrations) -> Iterator[Finding]:
    """Single values that leap away and back again, in observations and in actions."""
    for key in vectors(demos):
        column = demos.observations[key]
        if column.dtype == np.float32:
            yield from _spikes_of(demos, key, column, demos.observation_starts)
    if isinstance(demos.action, Continuous):
        yield from _spikes_of(demos, "actions", demos.actions, demos.starts)


def _spikes_of(demos: Demonstrations, name: str, column: np.ndarray, starts: np.ndarray) -> Iterator[Finding]:
    usual = _usual_change(column, starts, demos.lengths)
    limit = np.where(usual > 0, SPIKE * usual, np.inf).astype(np.float32)
    places, total = [], 0
    for index, (start, length) in enumerate(zip(starts, demos.lengths, strict=True)):
        change = np.diff(column[start : start + length], axis=0)
        big = np.abs(change) > limit
        if not big.any():
            continue
        there, back = change[:-1], change[1:]
        found = np.argwhere(big[:-1] & big[1:] & (np.sign(there) == -np.sign(back)))
        total += len(found)
        if len(found):
            step, dimension = found[0]
            places.append(f"{demos.table.column('name')[index]}, step {step + 1}, dimension {dimension}")
    if total:
        yield Finding(
            "warning",
            "spike",
            f"{name}: {listed(places, 3)}",
            f"{counted(total, 'value')} that leap away and back within a step, {SPIKE:.0f} times beyond the "
            "usual change.",
            "Look for dropped packets or a faulty sensor; leave the episodes out or mend the values.",
        )


def _usual_change(column: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """99th percentile of the step-to-step changes by dimension, from PROBED_STEPS steps spread evenly."""
    rows = np.concatenate([np.arange(start, start + length - 1) for start, length in zip(starts, lengths, strict=True)])
    if not len(rows):
        return np.zeros(column.shape[1])
    rows = rows[:: len(rows) // PROBED_STEPS + 1]
    return np.percentile(np.abs(column[rows + 1] - column[rows]), 99, axis=0)


def conflicts(demos: Demonstrations) -> Iterator[Finding]:
    """Steps whose observation occurs with clearly different actions: history or chance must have decided."""
    keys = demos.keys()
    widths = [int(np.prod(demos.observations[key].shape[1:])) * demos.observations[key].itemsize for key in keys]
    if sum(widths) * demos.transitions > MOST_BYTES:
        return
    identities = _row_identities(demos, keys)
    order = np.argsort(identities, kind="stable")
    heads = np.flatnonzero(np.concatenate([[True], identities[order][1:] != identities[order][:-1]]))
    sizes = np.diff(np.concatenate([heads, [len(order)]]))
    actions = taken(demos)[order]
    spread = np.maximum.reduceat(actions, heads) - np.minimum.reduceat(actions, heads)
    if isinstance(demos.action, Continuous):
        ranges = np.asarray(demos.action.high) - np.asarray(demos.action.low)
        spread = (spread > DIFFERENT * ranges).any(1)
    share = float(sizes[spread != 0].sum() / len(order))
    if share < CONFLICT_SHARE:
        return
    best = ""
    if isinstance(demos.action, Discrete):
        agreed = _majority(np.repeat(np.arange(len(heads)), sizes), actions) / len(order)
        best = f" One action an observation can match at most {percent(agreed)} of the steps."
    yield Finding(
        "warning",
        "conflicting-actions",
        f"{_place(demos, int(order[heads[np.argmax(np.where(spread != 0, sizes, 0))]]))} and others",
        f"{percent(share)} of the steps share their observation with a step of another action.{best}",
        "People remember what the observation does not show: try a recurrent policy or a stack of frames.",
    )


def _majority(groups: np.ndarray, actions: np.ndarray) -> int:
    """Steps that take the most frequent action of their group, summed over the groups."""
    count = int(actions.max()) + 1
    pairs, counts = np.unique(groups * count + actions, return_counts=True)
    return int(np.maximum.reduceat(counts, np.flatnonzero(np.diff(pairs // count, prepend=-1))).sum())


def _place(demos: Demonstrations, step: int) -> str:
    """Episode and step of a row of the view's steps."""
    ends = np.cumsum(demos.lengths)
    index = int(np.searchsorted(ends, step, side="right"))
    return f"{demos.table.column('name')[index]}, step {step - int(ends[index] - demos.lengths[index])}"


def _row_identities(demos: Demonstrations, keys: tuple[str, ...]) -> np.ndarray:
    """One int64 a step, equal where the observations are equal (but for hash collisions), (transitions,)."""
    total = np.zeros(demos.transitions, np.int64)
    for key in keys:
        width = int(np.prod(demos.observations[key].shape[1:])) * demos.observations[key].itemsize
        parts = []
        for start, length in zip(demos.observation_starts, demos.lengths, strict=True):
            data = np.ascontiguousarray(demos.observations[key][start : start + length]).tobytes()
            parts += [hash(data[row : row + width]) for row in range(0, len(data), width)]
        total = total * np.int64(1_000_003) + np.array(parts, np.int64)
    return total


def images(demos: Demonstrations) -> Iterator[Finding]:
    """Image keys with blank frames, or frames that do not change from step to step, judged from a sample."""
    for key, column in demos.observations.items():
        if column.dtype != np.uint8 or column.ndim != 4 or min(column.shape[1:3]) < 8:
            continue
        rows = np.concatenate(
            [
                np.arange(start, start + length - 1)
                for start, length in zip(demos.observation_starts, demos.lengths, strict=True)
            ]
        )
        rows = rows[:: len(rows) // PROBED_FRAMES + 1]
        frames, following = column[rows], column[rows + 1]
        blank = (
            float((frames.reshape(len(rows), -1).min(1) == frames.reshape(len(rows), -1).max(1)).mean())
            if len(rows)
            else 0
        )
        frozen = float((frames == following).reshape(len(rows), -1).all(1).mean()) if len(rows) else 0
        if blank:
            message = f"{percent(blank)} of the frames sampled have one color only."
            yield Finding("warning", "blank-image", key, message, "Check the camera or the renderer.")
        if frozen > FROZEN_SHARE:
            message = f"{percent(frozen)} of the frames sampled equal the next."
            yield Finding("warning", "frozen-image", key, message, "Check the camera's rate against the recorder's.")

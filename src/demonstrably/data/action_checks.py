"""Checks of the actions: bounds, saturation, use of the range, idling, balance of choices."""

from collections.abc import Iterator

import numpy as np

from demonstrably.data.demonstrations import Demonstrations, Episode
from demonstrably.data.notes import Finding
from demonstrably.data.wording import counted, dimensions, listed, percent, ranges
from demonstrably.spec import Continuous, Discrete

AT_BOUND = 1e-3  # of the range: this near a bound counts as on it
SATURATED, SWITCH = 0.1, 0.98  # shares of steps on a bound; above the second it is a switch such as a gripper
SMALL_RANGE = 0.05  # of the bounds
STILL = 0.01  # of half the range: an action this near the middle in all dimensions does nothing
IDLE_STEPS, IDLE_SHARE = 5, 0.05
DOMINANT = 0.95
OUTSIDE = 1e-5  # of the range: beyond rounding


def taken(demos: Demonstrations) -> np.ndarray:
    """Actions of the view, (transitions, ...); a view of the column where the episodes are neighbours."""
    parts = [demos.actions[part] for part in demos.step_slices()]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def bounds(demos: Demonstrations) -> Iterator[Finding]:
    """Actions outside the bounds, or choices beyond their number."""
    for index, episode in enumerate(demos):
        outside = _outside(demos, episode)
        if not outside.any():
            continue
        step, dimension = (int(one) for one in np.argwhere(outside)[0])
        total = sum(int(_outside(demos, one).any(1).sum()) for one in demos)
        value = episode.actions[step] if isinstance(demos.action, Discrete) else episode.actions[step, dimension]
        yield Finding(
            "error",
            "action-outside-bounds",
            f"{_name(demos, index)}, step {step}, dimension {dimension}",
            f"action {value:.6g} is outside {_allowed(demos, dimension)}, the first of {counted(total, 'step')}.",
            "No policy here can give that action: correct the bounds, scale the actions, or leave the episodes out.",
        )
        return


def _outside(demos: Demonstrations, episode: Episode) -> np.ndarray:
    if isinstance(demos.action, Discrete):
        return ((episode.actions < 0) | (episode.actions >= demos.action.count))[:, None]
    low, high = np.asarray(demos.action.low), np.asarray(demos.action.high)
    slack = OUTSIDE * (high - low)
    return (episode.actions < low - slack) | (episode.actions > high + slack)


def _allowed(demos: Demonstrations, dimension: int) -> str:
    if isinstance(demos.action, Discrete):
        return f"0 to {demos.action.count - 1}"
    return f"[{demos.action.low[dimension]:.6g}, {demos.action.high[dimension]:.6g}]"


def disguised_choices(demos: Demonstrations) -> Iterator[Finding]:
    """Real actions that look like discrete choices."""
    if not isinstance(demos.action, Continuous):
        return
    actions = taken(demos)
    whole = bool((actions == np.round(actions)).all())
    one_hot = whole and actions.shape[1] > 1 and bool((actions.sum(1) == 1).all() and (actions >= 0).all())
    index = whole and actions.shape[1] == 1 and actions.min() >= 0 and actions.max() > 1
    if one_hot or index:
        what = "one 1 among zeros at every step" if one_hot else "whole numbers from 0"
        yield Finding(
            "warning",
            "disguised-choices",
            "actions",
            f"real actions that are {what}: they look like discrete choices.",
            "If they are, store them as integers (T,), so that a policy chooses instead of interpolating.",
        )


def balance(demos: Demonstrations) -> Iterator[Finding]:
    """How often each discrete action was taken."""
    if not isinstance(demos.action, Discrete):
        return
    actions = taken(demos)
    shares = np.bincount(actions.clip(0), minlength=demos.action.count)[: demos.action.count] / len(actions)
    text = ", ".join(f"{action}: {percent(share)}" for action, share in enumerate(shares[:20]))
    yield Finding("note", "action-balance", "actions", f"share of steps by action: {text}.")
    unused = np.flatnonzero(shares == 0)
    if len(unused):
        message = f"never taken: {ranges(int(action) for action in unused)}."
        yield Finding("warning", "action-unused", "actions", message, "A policy cannot learn when to take them.")
    if shares.max() > DOMINANT:
        message = f"action {shares.argmax()} is taken in {percent(shares.max())} of the steps."
        advice = "A policy that always takes it has a low loss; judge by rollouts, or weigh the rare actions up."
        yield Finding("warning", "action-dominant", "actions", message, advice)


def saturation(demos: Demonstrations) -> Iterator[Finding]:
    """Dimensions that are often on a bound."""
    if not isinstance(demos.action, Continuous):
        return
    actions = taken(demos)
    low, high = (np.asarray(one, np.float32) for one in (demos.action.low, demos.action.high))
    slack = AT_BOUND * (high - low)
    shares = ((actions <= low + slack) | (actions >= high - slack)).mean(0)
    switches = np.flatnonzero(shares >= SWITCH)
    often = np.flatnonzero((shares >= SATURATED) & (shares < SWITCH))
    if len(switches):
        where = f"actions, {dimensions(switches.tolist())}"
        yield Finding("note", "action-switch", where, "nearly always on a bound, as the command of a gripper is.")
    if len(often):
        worst = int(often[shares[often].argmax()])
        yield Finding(
            "note",
            "action-saturation",
            f"actions, {dimensions(often.tolist())}",
            f"on a bound in {percent(SATURATED)} of the steps or more, dimension {worst} in {percent(shares[worst])}.",
            "If people did not push to the limit, the recorder clips: check its scale.",
        )


def range_used(demos: Demonstrations) -> Iterator[Finding]:
    """Dimensions that never change, or use little of their bounds."""
    if not isinstance(demos.action, Continuous):
        return
    actions = taken(demos)
    used = (actions.max(0) - actions.min(0)) / (np.asarray(demos.action.high) - np.asarray(demos.action.low))
    constant, small = np.flatnonzero(used == 0), np.flatnonzero((used > 0) & (used < SMALL_RANGE))
    if len(constant):
        values = listed([f"{actions[0, one]:.4g}" for one in constant])
        yield Finding("note", "action-constant", _dimensions(constant), f"always the same ({values}).")
    if len(small):
        message = f"at most {percent(float(used[small].max()))} of the bounds is used."
        advice = "Scale the actions up, or give the true bounds, so that noise and loss fit their size."
        yield Finding("note", "action-small-range", _dimensions(small), message, advice)


def _dimensions(which: np.ndarray) -> str:
    return f"actions, {dimensions(which.tolist())}"


def idle(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes that begin or end with steps in which nothing is done or nothing changes."""
    for end in ("start", "end"):
        steps = np.array([_still(demos, episode, end) for episode in demos])
        long = (steps >= IDLE_STEPS) & (steps >= IDLE_SHARE * demos.lengths)
        if not long.any():
            continue
        worst = int(np.argmax(steps))
        share = float(steps[long].sum() / demos.transitions)
        yield Finding(
            "warning",
            f"idle-{end}",
            f"{_name(demos, worst)}, {steps[worst]} steps",
            f"{counted(int(long.sum()), 'episode')} {end} with idle steps, {percent(share)} of all steps.",
            "A policy may learn to wait for ever: trim them.",
        )


def _still(demos: Demonstrations, episode: Episode, end: str) -> int:
    """Steps at one end of the episode in which the action is nothing or no vector observation changes."""
    idle = np.ones(len(episode), dtype=bool)
    vectors = [rows for rows in episode.observations.values() if rows.ndim == 2]
    rows = slice(0, -1) if not episode.attributes["final_observation"] else slice(None)
    for column in vectors:
        changed = (column[rows][1:] != column[rows][:-1]).any(1)
        idle[: len(changed)] &= ~changed
    idle &= bool(vectors)
    if isinstance(demos.action, Continuous):
        low, high = np.asarray(demos.action.low), np.asarray(demos.action.high)
        idle |= (np.abs(episode.actions - (low + high) / 2) <= STILL * (high - low) / 2).all(1)
    busy = np.flatnonzero(~idle)
    if not len(busy):
        return len(episode)
    return int(busy[0]) if end == "start" else len(episode) - 1 - int(busy[-1])


def _name(demos: Demonstrations, index: int) -> str:
    return str(demos.table.column("name")[index].as_py())

"""Checks of demonstrations against their environment, for learners that value what follows a step."""

from dataclasses import replace

import numpy as np
from gymnasium import spaces

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.wording import percent
from demonstrably.evaluation.environments import Interface
from demonstrably.spec import Continuous, Discrete

OUTSIDE = 1e-3  # of the range: beyond rounding, and beyond what clipping at the bounds changes
MOST_OUTSIDE = 0.01  # share of the steps; more is no stray value but another unit


def check_evidence(
    demos: Demonstrations, offered: Interface, *, trust_ends: bool = False, read: bool = True
) -> Demonstrations:
    """The demonstrations, with the environment's bounds of actions in place of those that a file may only be taken for.

    What is beyond its bounds the environment clips, and a learner would take for done; what is short of them it would
    never try. With `trust_ends` episodes may stop short of the environment's time limit without having ended by the
    task. Nothing else is checked where the steps themselves are not `read`.

    Raises:
        ValueError: an inverse learner would learn something wrong of them, and no step of it would fail.
    """
    if read:
        _check_units(demos, offered)
    if read and not trust_ends:
        _check_ends(demos, offered)
    return _within(demos, offered)


def _within(demos: Demonstrations, offered: Interface) -> Demonstrations:
    """The demonstrations with the environment's bounds of actions, where those are finite and others."""
    box, told = offered.actions, demos.action
    if not isinstance(box, spaces.Box) or not isinstance(told, Continuous) or box.shape != (told.dim,):
        return demos
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    if not (np.isfinite(low) & np.isfinite(high)).all():
        return demos
    apart = np.maximum(np.abs(low - told.low), np.abs(high - told.high))
    if (apart <= OUTSIDE * (high - low)).all():
        return demos
    return replace(demos, action=Continuous(tuple(low.tolist()), tuple(high.tolist())))


def _check_units(demos: Demonstrations, offered: Interface) -> None:
    """ValueError where there are more choices than the environment has, or many actions outside its bounds."""
    if isinstance(offered.actions, spaces.Discrete) and isinstance(demos.action, Discrete):
        if demos.action.count > offered.actions.n:
            raise ValueError(
                f"the data has {demos.action.count} choices, and {offered.name} takes {offered.actions.n}: name the "
                "environment that it was recorded in, or mend the recording"
            )
        return
    box, actions = offered.actions, np.concatenate([demos.actions[part] for part in demos.step_slices()])
    if not isinstance(box, spaces.Box) or box.shape != actions.shape[1:]:
        return  # another kind of action: making the environments says so
    slack = OUTSIDE * np.minimum(box.high - box.low, 1e6)  # bounds may be infinite
    share = float(((actions < box.low - slack) | (actions > box.high + slack)).any(1).mean())
    if share > MOST_OUTSIDE:
        raise ValueError(
            f"{percent(share)} of the demonstrated actions are outside the bounds of {offered.name}: they reach from "
            f"{actions.min():.3g} to {actions.max():.3g}, and it takes {box.low.min():.3g} to {box.high.max():.3g}; "
            "scale them to its units"
        )


def _check_ends(demos: Demonstrations, offered: Interface) -> None:
    """ValueError where episodes are cut off before the time limit and none of the file ended by the task.

    What comes after a death is worth nothing. A file that does not tell deaths from time-outs makes a learner value it
    as though the episode had gone on. One such episode may be a recording that was stopped; a last step without what
    followed it is not learned from, and does no harm.
    """
    if offered.limit is None or any(episode.terminated.any() for episode in demos):
        return
    final = np.asarray(demos.table.column("final_observation"), bool)
    short = (demos.lengths < offered.limit) & final
    if short.sum() > 1 or short.all():
        raise ValueError(
            f"{short.sum()} of {len(demos)} demonstrated episodes stop before the time limit of {offered.name}, "
            f"{offered.limit} steps, and none is marked as ended by the task (`terminated`): a death would be learned "
            "as a time-out; record `terminated`, or give --trust-ends where the recordings were just stopped"
        )

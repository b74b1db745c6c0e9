"""Lists of states and actions in words, shortened."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from demonstrably.tabular.mdp import MDP

SHOWN = 6  # names in a list
LISTED = 10_000  # states up to which a block lists where it lives


def counted(number: int, what: str) -> str:
    """ "1 state", "3 states"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def shortened(names: Sequence[str], number: int) -> str:
    """The first names, and how many more there are of `number`."""
    return ", ".join(names) + (f" and {number - len(names)} more" if number > len(names) else "")


def named_states(mdp: MDP, mask: NDArray[np.bool_]) -> str:
    """ "state 3", "states 3, 4 and 7", or "all 25 states"."""
    states = np.flatnonzero(mask)
    if len(states) == mdp.states:
        return f"all {counted(mdp.states, 'state')}"
    names = [mdp.state_name(int(state)) for state in states[:SHOWN]]
    return f"{'state' if len(states) == 1 else 'states'} {shortened(names, len(states))}"


def named_pairs(mdp: MDP, pairs: NDArray[np.int64]) -> str:
    """ "state 3, action 1; state 4, action 0 and 5 more"; by states where all their actions are among the pairs."""
    states = np.unique(pairs // mdp.actions)
    if len(pairs) == len(states) * mdp.actions:
        mask = np.zeros(mdp.states, bool)
        mask[states] = True
        return f"{named_states(mdp, mask)}, {'any action' if mdp.actions > 1 else 'the one action'}"
    names = [mdp.name(int(pair)) for pair in pairs[: SHOWN // 2]]
    more = len(pairs) - len(names)
    return "; ".join(names) + (f" and {more} more" if more else "")


def places(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Numbers of the states of a mask; none where the list would be long."""
    states = np.flatnonzero(mask)
    return tuple(states.tolist()) if len(states) <= LISTED else ()

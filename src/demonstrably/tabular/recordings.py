"""Recorded demonstrations of a tabular problem."""

import numpy as np
from numpy.typing import NDArray

from demonstrably.data.demonstrations import Demonstrations


def episodes_of(demonstrations: Demonstrations, key: str | None = None) -> list[tuple[NDArray[np.int64], ...]]:
    """Recorded demonstrations as tuples (states, actions).

    It needs discrete actions, and an observation that is the number of the state: one whole number a step, as
    Gymnasium's toy-text environments give. `key` names that observation where there are several. Raises ValueError
    where there is no such observation.
    """
    keys = list(demonstrations.observations) if key is None else [key]
    if len(keys) != 1 or keys[0] not in demonstrations.observations:
        raise ValueError(f"observations {sorted(demonstrations.observations)}: name the one that is the state as key=")
    found = []
    for number, episode in enumerate(demonstrations):
        values = np.asarray(episode.observations[keys[0]]).reshape(len(episode) + 1, -1)
        if values.shape[1] != 1 or (values != np.round(values)).any() or episode.actions.dtype.kind not in "iu":
            raise ValueError(
                f"demonstration {number}: observation {keys[0]!r} of {values.shape[1]} values and actions of type "
                f"{episode.actions.dtype}: a tabular problem needs one whole number each, the state and the action"
            )
        found.append((values[:, 0].astype(np.int64), episode.actions.astype(np.int64)))
    return found

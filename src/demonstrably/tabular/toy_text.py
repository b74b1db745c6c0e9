"""Problems from Gymnasium environments that hold a table of their transitions, as its toy-text ones do.

The table, `env.unwrapped.P[state][action]`, is a list of (probability, next state, reward, done). What follows an
outcome that is done is not in the table: an episode ends there. A state that is entered with done only is made
absorbing, without reward; any other outcome that is done leads to one absorbing state "end" that is added.
"""

import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from demonstrably.tabular.mdp import MDP

Array = NDArray[np.float64]
Outcomes = dict[str, NDArray[Any]]

MOVES = {
    "FrozenLake": ("left", "down", "right", "up"),
    "CliffWalking": ("up", "right", "down", "left"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}
PLACES = ("red", "green", "yellow", "blue")  # where the taxi's passenger goes
RIDERS = ("at red", "at green", "at yellow", "at blue", "in the taxi")  # where the passenger is
TILES = {b"F": "", b"S": " (start)", b"H": " (hole)", b"G": " (goal)"}
END = "end"


def from_gymnasium(
    environment: Any,
    *,
    discount: float | None = None,
    horizon: int | None = None,
    initial: ArrayLike | int | None = None,
) -> tuple[MDP, Array]:
    """The problem of an environment, given by its id or made, and its expected rewards (S, A).

    The horizon is the environment's time limit where neither discount nor horizon is given. An episode begins as the
    environment's `initial_state_distrib` says, where it has one and `initial` is not given.

    Raises ValueError for an unknown id, with the nearest ones, and for an environment without a table.
    """
    env = _made(environment) if isinstance(environment, str) else environment
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    inside = vars(env.unwrapped)
    outcomes, states, actions = _outcomes(name, inside.get("P"))
    starts = inside.get("initial_state_distrib")
    starts = np.full(states, 1 / states) if starts is None else np.asarray(starts, dtype=np.float64)
    outcomes, total = _with_ends(outcomes, states, actions, starts)
    if discount is None and horizon is None:
        horizon = env.spec.max_episode_steps if env.spec else None
        if horizon is None:
            raise ValueError(f"{name} has no time limit: give a discount below 1, or a horizon")
    rows = outcomes["state"] * actions + outcomes["action"]
    shape = (total * actions, total)
    mdp = MDP(
        sparse.csr_array((outcomes["probability"], (rows, outcomes["after"])), shape=shape),
        discount=discount,
        horizon=horizon,
        initial=np.pad(starts, (0, total - states)) if initial is None else initial,
        actions=actions,
        state_names=_state_names(name, inside, states, total),
        action_names=next((moves for prefix, moves in MOVES.items() if name.startswith(prefix)), None),
    )
    reward = np.bincount(rows, outcomes["probability"] * outcomes["reward"], shape[0])
    return mdp, reward.astype(np.float64).reshape(total, actions)


def _made(name: str) -> Any:
    import gymnasium  # 0.3 s that a problem from a file does not pay

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an old version; it fails anyway, with the reason below
        try:
            return gymnasium.make(name)
        except (gymnasium.error.Error, ModuleNotFoundError) as error:
            raise ValueError(
                f"cannot make the environment {name}: {_nearest(name, gymnasium.registry, error)}"
            ) from error


def _nearest(name: str, known: Mapping[str, Any], error: Exception) -> str:
    """What to try in place of an id: another version of it, else the nearest ones."""
    if name in known:
        return " ".join(str(error).split())
    alike = [one for one in known if one.rpartition("-v")[0] == name.rpartition("-v")[0] or one.startswith(f"{name}-v")]
    lower = {one.lower(): one for one in known}
    near = alike or [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=2)]
    if near:
        return f"no such id; did you mean {' or '.join(near)}?"
    return f"no such id, and no file; give an .npz file, or an id such as {', '.join(tabular_ids(known))}"


def tabular_ids(known: Mapping[str, Any]) -> list[str]:
    """The registered ids of the environments that are known to have a table."""
    return sorted(one for one in known if one.startswith(tuple(MOVES)))


def _outcomes(name: str, table: Any) -> tuple[Outcomes, int, int]:
    """The table's entries with a probability above 0, as columns, with the numbers of states and of actions."""
    if not isinstance(table, Mapping) or not table:
        import gymnasium

        raise ValueError(
            f"{name} has no table of transitions (env.unwrapped.P), so what could be known of its reward cannot be "
            f"computed; environments that have one: {', '.join(tabular_ids(gymnasium.registry))}"
        )
    states, actions = len(table), len(table[next(iter(table))])
    columns = list(zip(*_entries(name, table, states, actions), strict=True))
    kinds = (int, int, float, int, float, bool)
    names = ("state", "action", "probability", "after", "reward", "done")
    return (
        {one: np.array(column, kind) for one, column, kind in zip(names, columns, kinds, strict=True)},
        states,
        actions,
    )


def _entries(name: str, table: Mapping[int, Any], states: int, actions: int) -> Iterator[Sequence[Any]]:
    for state in range(states):
        if state not in table or set(table[state]) != set(range(actions)):
            raise ValueError(f"the table of {name} has not the actions 0 to {actions - 1} in state {state}")
        for action in range(actions):
            for probability, after, reward, done in table[state][action]:
                if not 0 <= int(after) < states:
                    raise ValueError(f"the table of {name}: state {state}, action {action} leads to {after}")
                if probability > 0:
                    yield state, action, probability, after, reward, done


def _with_ends(outcomes: Outcomes, states: int, actions: int, starts: Array) -> tuple[Outcomes, int]:
    """The outcomes with ends that are absorbing, and the number of states, one more where an end was added."""
    entering = outcomes["state"] != outcomes["after"]
    ways, ending = (
        np.bincount(outcomes["after"][which], minlength=states) for which in (entering, entering & outcomes["done"])
    )
    end = (ending > 0) & (ending == ways) & (starts == 0)
    kept = ~end[outcomes["state"]]
    outcomes = {name: column[kept] for name, column in outcomes.items()}
    away = outcomes["done"] & ~end[outcomes["after"]]
    outcomes["after"] = np.where(away, states, outcomes["after"])
    absorbing = np.append(np.flatnonzero(end), [states] if away.any() else []).astype(int)
    count = len(absorbing) * actions
    loops = {
        "state": np.repeat(absorbing, actions),
        "action": np.tile(np.arange(actions), len(absorbing)),
        "probability": np.ones(count),
        "after": np.repeat(absorbing, actions),
        "reward": np.zeros(count),
        "done": np.zeros(count, bool),
    }
    joined = {name: np.concatenate([column, loops[name]]) for name, column in outcomes.items()}
    return joined, states + bool(away.any())


def _state_names(name: str, inside: Mapping[str, Any], states: int, total: int) -> list[str] | None:
    """Names in words where the environment is known, else numbers."""
    if name.startswith("FrozenLake"):
        lines = np.asarray(inside["desc"]).tolist()
        names = [
            f"row {row} column {column}{TILES[tile]}"
            for row, line in enumerate(lines)
            for column, tile in enumerate(line)
        ]
    elif name.startswith("CliffWalking"):
        names = [f"row {row} column {column}" for row, column in np.ndindex(*inside["shape"])]
    elif name.startswith("Taxi"):
        sizes = (5, 5, len(RIDERS), len(PLACES))
        names = [
            f"row {row} column {column} (passenger {RIDERS[rider]}, to {PLACES[goal]})"
            for row, column, rider, goal in np.ndindex(*sizes)
        ]
    else:
        names = [str(state) for state in range(states)]
    return [*names, END][:total]

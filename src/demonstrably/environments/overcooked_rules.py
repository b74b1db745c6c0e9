"""Overcooked's rules, taken from the `overcooked` package, and its lossless encoding as compact bytes.

The encoding holds the planes of the package's `lossless_state_encoding` (a test compares the two on states of
the human trials), written into bytes in place of some fifty float arrays a step.

**Departures** from the package's encoding:

- Layouts are padded with zeros, right and below, to one shape, `SHAPE`: one policy can learn them all.
- Rows before columns, planes last: (height, width, planes), where the package has (width, height, planes).
- The four tomato planes are left out: no layout here has tomatoes, so they are always zero.
- The urgency plane is left out. It is all ones in the last 40 steps before a horizon, and the human players
  (180 seconds on a clock) and an evaluation (a number of steps) have different ones.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

LAYOUTS = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)
"""The layouts that people played in 2019."""

HEIGHT, WIDTH = 5, 9
PLANES = (
    *("self", "partner"),
    *("self_faces_north", "self_faces_south", "self_faces_east", "self_faces_west"),
    *("partner_faces_north", "partner_faces_south", "partner_faces_east", "partner_faces_west"),
    *("pot", "counter", "onion_dispenser", "dish_dispenser", "serving"),
    *("pot_onions", "soup_onions", "soup_time_left", "soup_ready", "dish", "onion"),
)
SHAPE = (HEIGHT, WIDTH, len(PLANES))
"""One seat's view: rows, columns, planes."""

REACH = (2, 3)
"""Rows and columns that `near` holds on either side of the player."""

ACTIONS = ("north", "south", "east", "west", "stay", "interact")
COOK_TIME = 20
"""Steps from the third onion to a finished soup."""

_PLANE = {name: plane for plane, name in enumerate(PLANES)}
_TERRAIN = {
    "P": _PLANE["pot"],
    "X": _PLANE["counter"],
    "O": _PLANE["onion_dispenser"],
    "D": _PLANE["dish_dispenser"],
    "S": _PLANE["serving"],
}
_NEAR = (2 * REACH[0] + 1, 2 * REACH[1] + 1, len(PLANES))
_DIRECTIONS = {(0, -1): 0, (0, 1): 1, (1, 0): 2, (-1, 0): 3}
_SEAT_BYTES = HEIGHT * WIDTH * len(PLANES)
# Where the planes of a square (column, row) begin in one seat's bytes.
_CELLS = {(x, y): (y * WIDTH + x) * len(PLANES) for y in range(HEIGHT) for x in range(WIDTH)}

# Where people started, when it is not where the package's layout starts.
_STARTS = {"counter_circuit_o_1order": [(6, 3), (1, 3)]}


@dataclass(frozen=True)
class Rules:
    """The package's game module and its six actions, in the order of `ACTIONS`."""

    game: Any
    actions: Sequence[Any]


@cache
def rules() -> Rules:
    """The package's game rules, in a copy of their own.

    Only its two modules of rules are loaded. The package's `__init__` would load OpenCV (which needs OpenGL),
    pygame and an agent library for its renderer, and its own environment class writes and reads pickled
    planners; the rules need none of it. The modules do not stay in `sys.modules`, so that an ordinary
    `import overcooked` elsewhere is not affected, nor are these rules by a recipe configured there.

    Raises:
        ValueError: the package is not installed.
    """
    found = importlib.util.find_spec("overcooked")
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            "the Overcooked environment needs the package overcooked, which is not installed; run: "
            "pip install --no-deps overcooked==0.2.1"
        )
    folder = Path(found.submodule_search_locations[0])
    theirs = _take_modules("overcooked")
    try:
        for name, path in (("overcooked", folder), ("overcooked.mdp", folder / "mdp")):
            package = types.ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
        game = importlib.import_module("overcooked.mdp.overcooked_mdp")
        actions = importlib.import_module("overcooked.mdp.actions")
    finally:
        _take_modules("overcooked")
        sys.modules.update(theirs)
    return Rules(game, tuple(actions.Action.ALL_ACTIONS))


def _take_modules(package: str) -> dict[str, types.ModuleType]:
    """Remove a package and all below it from the loaded modules."""
    names = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    return {name: sys.modules.pop(name) for name in names}


class Kitchen:
    """One layout: its rules under the dynamics of 2019, its start, and the encoding of its states.

    Soups cook by themselves once they hold three onions, for `COOK_TIME` steps. A state is the package's
    `OvercookedState`. Use `kitchen(layout)`, which makes each once.
    """

    def __init__(self, layout: str) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"no layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        changes = {"start_player_positions": _STARTS[layout]} if layout in _STARTS else {}
        self.layout = layout
        self.rules = rules()
        self._mdp = self.rules.game.OvercookedGridworld.from_layout_name(
            layout, old_dynamics=True, cook_time=COOK_TIME, **changes
        )
        self.terrain = tuple("".join(row) for row in self._mdp.terrain_mtx)
        self._pots = frozenset(self._mdp.get_pot_locations())
        self._walls = _walls(self.terrain)

    def start(self) -> Any:
        """The state in which every episode begins."""
        return self._mdp.get_standard_start_state()

    def state(self, players: Sequence[Any], things: Sequence[Any]) -> Any:
        """A state of the package's players and of the objects that no player holds."""
        objects = {thing.position: thing for thing in things}
        return self.rules.game.OvercookedState(players, objects, all_orders=self._mdp.start_all_orders)

    def step(self, state: Any, actions: Sequence[int]) -> tuple[Any, int]:
        """The next state after both seats' actions (indices into `ACTIONS`), and 20 for each soup served."""
        joint = [self.rules.actions[action] for action in actions]
        following, information = self._mdp.get_state_transition(state, joint)
        return following, sum(information["sparse_reward_by_agent"])

    def encode(self, state: Any) -> np.ndarray:
        """Both seats' views of a state, uint8 of shape (2, *SHAPE): planes in the order of `PLANES`.

        The two views differ only in which player is `self`. `pot_onions` counts the onions of a pot that
        does not cook yet; `soup_onions` is 3 where a soup cooks, waits or is carried; `soup_time_left` is
        in steps.
        """
        view = bytearray(self._walls)
        things = list(state.objects.values())
        for seat, player in enumerate(state.players):
            cell = _CELLS[player.position]
            facing = cell + 2 + _DIRECTIONS[player.orientation]
            own, other = seat * _SEAT_BYTES, (1 - seat) * _SEAT_BYTES
            view[own + cell] = view[own + facing] = 1
            view[other + cell + 1] = view[other + facing + 4] = 1
            if player.held_object is not None:
                things.append(player.held_object)
        for thing in things:
            cell = _CELLS[thing.position]
            for plane, value in self._marks(thing):
                view[cell + plane] = view[_SEAT_BYTES + cell + plane] = value
        return np.frombuffer(view, np.uint8).reshape(2, *SHAPE)

    def _marks(self, thing: Any) -> tuple[tuple[int, int], ...]:
        """The planes that an object shows in, with its values there."""
        if thing.name != "soup":
            return ((_PLANE[thing.name], 1),)
        onions = len(thing.ingredients)
        if thing.position not in self._pots:
            return ((_PLANE["soup_onions"], onions), (_PLANE["soup_ready"], 1))
        if thing.is_idle:
            return ((_PLANE["pot_onions"], onions),)
        left = thing.cook_time_remaining
        return (
            (_PLANE["soup_onions"], onions),
            (_PLANE["soup_time_left"], left),
            (_PLANE["soup_ready"], int(left == 0)),
        )


@cache
def kitchen(layout: str) -> Kitchen:
    """The kitchen of a layout, made once."""
    return Kitchen(layout)


def observations(views: np.ndarray) -> dict[str, np.ndarray]:
    """Views (n, *SHAPE) as the keys that a policy may read, all of them uint8.

    `grid` (n, 5, 9, 21) is the view itself and `flat` (n, 945) the same bytes in a row. `near` (n, 735) is
    the view cut to 5 rows and 7 columns with the player in the middle, zero beyond the kitchen: what a
    policy learns about a pot to its left holds at every pot of every layout.
    """
    rows, columns = REACH
    padded = np.zeros((len(views), HEIGHT + 2 * rows, WIDTH + 2 * columns, len(PLANES)), np.uint8)
    padded[:, rows:-rows, columns:-columns] = views
    near = np.empty((len(views), *_NEAR), np.uint8)
    for view, place in enumerate(views[..., _PLANE["self"]].reshape(len(views), -1).argmax(1).tolist()):
        row, column = divmod(place, WIDTH)
        near[view] = padded[view, row : row + _NEAR[0], column : column + _NEAR[1]]
    return {"grid": views, "flat": views.reshape(len(views), -1), "near": near.reshape(len(views), -1)}


OBSERVATIONS = {key: rows.shape[1:] for key, rows in observations(np.zeros((1, *SHAPE), np.uint8)).items()}
"""One seat's shape of each key."""


def _walls(terrain: Sequence[str]) -> bytes:
    """The planes that never change, for both seats."""
    grid = np.zeros(SHAPE, np.uint8)
    for y, row in enumerate(terrain):
        for x, kind in enumerate(row):
            if kind in _TERRAIN:
                grid[y, x, _TERRAIN[kind]] = 1
    return grid.tobytes() * 2

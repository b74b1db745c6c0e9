"""The 2019 human-human Overcooked trials as demonstrations.

Pairs recruited on Mechanical Turk played five layouts, about 1,200 steps (180 seconds) a trial: Carroll et
al., arXiv:1910.05789. The trials are part of the distribution `overcooked-ai` 1.1.0 (MIT licence), two
pickled pandas frames with one row a step; they are read by `pickles`, never unpickled, and none of that
distribution's code is imported.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.environments import pickles
from demonstrably.environments.overcooked import POINTS, environment
from demonstrably.environments.overcooked_rules import (
    ACTIONS,
    LAYOUTS,
    OBSERVATIONS,
    SHAPE,
    Kitchen,
    kitchen,
    observations,
)
from demonstrably.spec import Discrete

DISTRIBUTION = "overcooked-ai"
ADVICE = "run: pip install --no-deps overcooked-ai==1.1.0"
SPLITS = ("train", "test")

# The names that two layouts had in 2019.
_NAMES_NOW = {"random0": "forced_coordination", "random3": "counter_circuit_o_1order"}
# What a soup was worth in the recordings.
_RECORDED_POINTS = 5
_MOVES = {(0, -1): 0, (0, 1): 1, (1, 0): 2, (-1, 0): 3, (0, 0): 4}
_COLUMNS = ("layout_name", "workerid_num", "run", "state", "next_state", "joint_action", "reward")


@dataclass(frozen=True)
class Trial:
    """One trial of T steps that a pair played on one layout."""

    split: str
    layout: str
    pair: int  # the pair's number; the same pair played several layouts
    actions: np.ndarray  # (T, 2) int64, one action a seat, indices into `overcooked_rules.ACTIONS`
    soups: np.ndarray  # (T,) int64, soups served in each step
    states: tuple[str, ...]  # T + 1 states as recorded, see `state_of`


def load(
    split: str = "train",
    layouts: Sequence[str] = LAYOUTS,
    keys: Sequence[str] = ("flat", "near"),
) -> Demonstrations:
    """The human trials as demonstrations of one seat: two episodes a trial, each as its own seat saw it.

    `split` is the recordings' own: "train" 39 trials, "test" 37 others, partly by the same pairs, or "all".
    `keys` chooses the forms of the observation (see `overcooked_rules.observations`); the environment gives
    all. The table holds `pair` (a number; also as `demonstrator`), `seat`, `task` (the layout), `split` and
    `soups`. All 76 trials take 172 MB as `flat` or `grid` and 134 MB as `near`.

    Raises:
        ValueError: an unknown split, layout or key, a missing package, or files that are not the trials.
    """
    if not keys or not set(keys) <= set(OBSERVATIONS):
        raise ValueError(f"observation keys {list(keys)}; choose from {', '.join(OBSERVATIONS)}")
    played = list(trials(split, layouts))
    rows = [len(trial.states) for trial in played for _ in range(2)]
    columns = {key: np.empty((sum(rows), *OBSERVATIONS[key]), np.uint8) for key in keys}
    start = 0
    for trial in played:
        for key, seen in encoded(trial).items():
            if key in columns:
                columns[key][start : start + len(seen)] = seen
        start += 2 * len(trial.states)
    soups = np.concatenate([trial.soups for trial in played for _ in range(2)])
    release = metadata.version(DISTRIBUTION)
    return Demonstrations.from_arrays(
        columns,
        np.concatenate([trial.actions.T.ravel() for trial in played]),
        soups.astype(np.float32) * POINTS,
        lengths=[size - 1 for size in rows],
        names=[f"{trial.layout}/{trial.pair}/{seat}" for trial in played for seat in range(2)],
        table=_table(played),
        masks={name: [trial.split == name for trial in played for _ in range(2)] for name in SPLITS},
        action=Discrete(len(ACTIONS)),
        environment=environment(layouts),
        attributes={"source": f"PyPI {DISTRIBUTION} {release}, data/human_data", "human": True},
    )


def trials(split: str = "train", layouts: Sequence[str] = LAYOUTS) -> Iterator[Trial]:
    """The trials of a split on some layouts, in the order of the recordings.

    Raises:
        ValueError: an unknown split or layout, a missing package, or files that are not the trials.
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"no split {split!r}; choose train, test or all")
    if isinstance(layouts, str) or not layouts:
        raise ValueError(f"layouts is {layouts!r}; give a list of at least one of {', '.join(LAYOUTS)}")
    for layout in layouts:
        kitchen(layout)
    for part in SPLITS if split == "all" else (split,):
        path = recordings(part)
        frame = pickles.read(path)
        if not isinstance(frame, pickles.Frame) or not set(_COLUMNS) <= set(frame.columns):
            raise ValueError(f"{path}: not the human trials (a frame with {', '.join(_COLUMNS)}); {ADVICE}")
        for steps in _runs(frame.columns):
            trial = _trial(part, {name: frame.columns[name][steps] for name in _COLUMNS})
            if trial.layout in layouts:
                yield trial


def recordings(split: str) -> Path:
    """The pickled trials of a split in the installed distribution, found without importing its package.

    Raises:
        ValueError: the distribution is not installed, or is installed without the recordings.
    """
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        raise ValueError(f"the human trials are in {DISTRIBUTION}, not installed here; {ADVICE}") from None
    name = f"clean_{split}_trials.pickle"
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and path.is_file():
            return path
    raise ValueError(f"{DISTRIBUTION} is installed without its human trials ({name}); {ADVICE}")


def state_of(recorded: str, place: Kitchen) -> Any:
    """The rules' state in a kitchen that a recorded one describes.

    Recordings are Python literals of strings, integers, lists and dictionaries, with no quote inside a
    string.
    """
    values = json.loads(recorded.replace("'", '"').replace("False", "false"))
    game = place.rules.game
    players = [_player(game, one) for one in values["players"]]
    return place.state(players, [_thing(game, one) for one in values["objects"].values()])


def _player(game: Any, values: Mapping[str, Any]) -> Any:
    held = _thing(game, values["held_object"]) if "held_object" in values else None
    return game.PlayerState(values["position"], values["orientation"], held)


def _thing(game: Any, values: Mapping[str, Any]) -> Any:
    """An object. A soup's state is its ingredient, how many, and the steps since it began to cook.

    The steps are 0 before, and run on when the soup is done.
    """
    if values["name"] != "soup":
        return game.ObjectState(values["name"], values["position"])
    _, onions, ticks = values["state"]
    return game.SoupState.get_soup(tuple(values["position"]), num_onions=onions, cooking_tick=ticks or -1)


def _runs(columns: Mapping[str, np.ndarray]) -> list[slice]:
    """The rows of each trial: a pair's stay on a layout."""
    names = list(zip(columns["layout_name"], columns["workerid_num"], columns["run"], strict=True))
    starts = [0, *(row for row in range(1, len(names)) if names[row] != names[row - 1])]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(names)], strict=True)]


def _trial(split: str, steps: Mapping[str, np.ndarray]) -> Trial:
    name = str(steps["layout_name"][0])
    return Trial(
        split=split,
        layout=_NAMES_NOW.get(name, name),
        pair=int(steps["workerid_num"][0]),
        actions=np.array([_joint(action) for action in steps["joint_action"]]),
        soups=(steps["reward"] / _RECORDED_POINTS).astype(np.int64),
        states=(*steps["state"], steps["next_state"][-1]),
    )


def _joint(recorded: str) -> list[int]:
    """Both seats' actions from a recording such as "[[0, -1], 'INTERACT']"."""
    pair = json.loads(recorded.replace("'", '"'))
    return [ACTIONS.index("interact") if one == "INTERACT" else _MOVES[tuple(one)] for one in pair]


def encoded(trial: Trial) -> dict[str, np.ndarray]:
    """Every key of a trial's observations, (2 (T + 1), ...): the T + 1 rows of seat 0, then of seat 1."""
    place = kitchen(trial.layout)
    seen = {recorded: place.encode(state_of(recorded, place)) for recorded in dict.fromkeys(trial.states)}
    views = np.stack([seen[recorded] for recorded in trial.states], axis=1)
    return observations(views.reshape(-1, *SHAPE))


def _table(played: Sequence[Trial]) -> dict[str, list[Any]]:
    """One row an episode: trial by trial, first seat 0, then seat 1."""
    seats = [(trial, seat) for trial in played for seat in range(2)]
    return {
        "demonstrator": [trial.pair for trial, _ in seats],
        "pair": [trial.pair for trial, _ in seats],
        "seat": [seat for _, seat in seats],
        "task": [trial.layout for trial, _ in seats],
        "split": [trial.split for trial, _ in seats],
        "soups": [int(trial.soups.sum()) for trial, _ in seats],
    }

"""The Overcooked environment: rules, encoding, seeds, errors, and that it leaves no trace."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from demonstrably.environments import overcooked, overcooked_rules
from demonstrably.environments.overcooked import Overcooked, human_return, normalized_return
from demonstrably.environments.overcooked_rules import (
    ACTIONS,
    LAYOUTS,
    PLANES,
    SHAPE,
    kitchen,
    observations,
)

needs_rules = pytest.mark.skipif(
    importlib.util.find_spec("overcooked") is None, reason="the package overcooked is not installed"
)
KEYS = {"N": 0, "S": 1, "E": 2, "W": 3, ".": 4, "!": 5}

# Planes of the package's encoding that ours leaves out: tomatoes (4) and urgency.
LEFT_OUT = [13, 17, 19, 24, 25]


def plane(observation: dict[str, np.ndarray], name: str, seat: int = 0) -> np.ndarray:
    return observation["grid"][seat, :, :, PLANES.index(name)]


def act(environment: Overcooked, keys: str) -> tuple[dict[str, np.ndarray], float]:
    """Play a string of actions for seat 0 while seat 1 stays; the last observation and the summed reward."""
    observation, total = {}, 0.0
    for key in keys:
        observation, reward, *_ = environment.step([KEYS[key], KEYS["."]])
        total += reward
    return observation, total


@needs_rules
def test_gymnasium_accepts_it() -> None:
    environment = gymnasium.make(overcooked.NAME, layouts=["cramped_room"], horizon=5)
    check_env(environment.unwrapped)


@needs_rules
def test_a_run_configuration_makes_the_same_environment() -> None:
    described = overcooked.environment(("forced_coordination",), horizon=3)
    kwargs = json.loads(json.dumps(dict(described.kwargs)))
    made = gymnasium.make(described.name, **kwargs)
    assert made.reset(seed=0)[1]["task"] == "forced_coordination" and described.seats == 2
    assert [made.step(np.array([4, 4]))[3] for _ in range(3)] == [False, False, True]


@needs_rules
def test_consecutive_seeds_share_the_layouts_evenly() -> None:
    environment = Overcooked()
    assert [environment.reset(seed=seed)[1]["task"] for seed in range(3, 13)] == [
        LAYOUTS[seed % 5] for seed in range(3, 13)
    ]
    assert {environment.reset()[1]["task"] for _ in range(60)} == set(LAYOUTS)


@needs_rules
def test_a_soup_by_hand() -> None:
    """Seat 0 starts below the onions and above the dishes, both on its left; the pot is up in the middle.

    Seat 1 stays on the right, in nobody's way.
    """
    environment = Overcooked(["cramped_room"])
    environment.reset(seed=0)
    act(environment, "N")
    for onions in (1, 2):
        observation, _ = act(environment, "W!EN!")
        assert plane(observation, "pot_onions")[0, 2] == plane(observation, "pot_onions").sum() == onions
    observation, _ = act(environment, "W!EN!")
    # It cooks by itself, and the step that put the third onion in counts.
    assert plane(observation, "pot_onions").sum() == 0 and plane(observation, "soup_onions")[0, 2] == 3
    assert plane(observation, "soup_time_left")[0, 2] == 19 and plane(observation, "soup_ready").sum() == 0
    observation, _ = act(environment, "SWS!")
    assert plane(observation, "dish")[2, 1] == 1 and plane(observation, "soup_time_left")[0, 2] == 15
    observation, _ = act(environment, "NEN" + "." * 11)
    assert plane(observation, "soup_time_left")[0, 2] == 1 and plane(observation, "soup_ready").sum() == 0
    observation, _ = act(environment, ".")
    assert plane(observation, "soup_time_left").sum() == 0 and plane(observation, "soup_ready")[0, 2] == 1
    observation, reward = act(environment, "!SES")
    assert plane(observation, "soup_onions")[2, 3] == 3 and plane(observation, "dish").sum() == reward == 0
    observation, reward, terminated, truncated, info = environment.step([KEYS["!"], KEYS["."]])
    assert (reward, info["soups"], terminated, truncated) == (20, 1, False, False)
    assert plane(observation, "soup_onions").sum() == 0


@needs_rules
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_encoding_is_the_packages_own(layout: str) -> None:
    place, reference = kitchen(layout), _package_encoding(layout)
    generator = np.random.default_rng(0)
    state, seen = place.start(), np.zeros(len(PLANES), bool)
    for _ in range(600):
        ours = place.encode(state)
        for view, theirs in zip(ours, reference(state), strict=True):
            height, width = theirs.shape[:2]
            assert np.array_equal(view[:height, :width], np.delete(theirs, LEFT_OUT, axis=2))
            assert not theirs[:, :, LEFT_OUT].any()
            assert not view[height:].any() and not view[:, width:].any()
        seen |= ours.any((0, 1, 2))
        state, _ = place.step(state, generator.choice(6, 2, p=[0.15, 0.15, 0.15, 0.15, 0.05, 0.35]).tolist())
    assert seen[: PLANES.index("soup_onions")].all()


def _package_encoding(layout: str):
    game = overcooked_rules.rules().game
    world = game.OvercookedGridworld.from_layout_name(layout, old_dynamics=True, cook_time=20)
    never = 10**9
    return lambda state: [view.transpose(1, 0, 2) for view in world.lossless_state_encoding(state, never)]


@needs_rules
def test_the_seats_see_each_other_as_partner() -> None:
    environment = Overcooked()
    for seed in range(5):
        environment.reset(seed=seed)
        observation = environment.step([KEYS["E"], KEYS["!"]])[0]
        for name in PLANES:
            other = name.replace("self", "x").replace("partner", "self").replace("x", "partner")
            assert np.array_equal(plane(observation, name, 0), plane(observation, other, 1))
        assert plane(observation, "self").sum() == plane(observation, "self_faces_east").sum() == 1


def test_near_is_what_lies_around_the_player() -> None:
    generator = np.random.default_rng(0)
    views = generator.integers(1, 9, (3, *SHAPE)).astype(np.uint8)
    views[..., 0] = 0
    places = [(0, 0), (4, 8), (2, 4)]
    for view, (row, column) in zip(views, places, strict=True):
        view[row, column, 0] = 1
    seen = observations(views)
    assert seen["grid"] is views and np.array_equal(seen["flat"], views.reshape(3, -1))
    near = seen["near"].reshape(3, 5, 7, -1)
    assert (near[:, 2, 3, 0] == 1).all() and near[..., 0].sum() == 3
    assert np.array_equal(near[0, 2:, 3:], views[0, :3, :4])
    assert not near[0, :2].any() and not near[0, :, :3].any()
    assert np.array_equal(near[1, :3, :4], views[1, 2:, 5:])
    assert not near[1, 3:].any() and not near[1, :, 4:].any()
    assert np.array_equal(near[2], views[2, :, 1:8])


@needs_rules
def test_a_vector_of_environments_plays_on_by_itself() -> None:
    vector = gymnasium.make_vec(overcooked.NAME, 3, "sync", horizon=2)
    observation, info = vector.reset(seed=[0, 1, 7])
    assert observation["near"].shape == (3, 2, 735) and tuple(info["task"]) == LAYOUTS[:3]
    ends = [vector.step(np.full((3, 2), 4))[3].tolist() for _ in range(3)]
    assert ends == [[False] * 3, [True] * 3, [False] * 3]


@needs_rules
def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match=r"no layout 'kitchen'; choose from cramped_room, "):
        Overcooked(["kitchen"])
    with pytest.raises(ValueError, match="give a list"):
        Overcooked([])
    with pytest.raises(ValueError, match="horizon is 0"):
        Overcooked(horizon=0)
    environment = Overcooked(["cramped_room"], horizon=1)
    with pytest.raises(ValueError, match="call reset"):
        environment.step([0, 0])
    environment.reset(seed=0)
    for action in ([6, 0], [0, -1], [0], [0, 0, 0]):
        with pytest.raises(ValueError, match="give two"):
            environment.step(action)
    environment.step([0, 0])
    with pytest.raises(ValueError, match="call reset"):
        environment.step([0, 0])


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install --no-deps overcooked==0\.2\.1"):
        overcooked_rules.rules.__wrapped__()


def test_returns_are_normalized_by_the_human_mean() -> None:
    assert human_return("cramped_room") == pytest.approx(118.4, abs=0.01)
    assert human_return("cramped_room", 1200) == pytest.approx(3 * human_return("cramped_room"))
    assert normalized_return(human_return("coordination_ring", 300), "coordination_ring", 300) == 1
    with pytest.raises(ValueError, match="no layout"):
        human_return("kitchen")


TRACELESS = """
import sys
def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "pickle.find_class", "subprocess.Popen"):
        if arguments[0] != "/dev/null":
            print(event, arguments)
            sys.exit(3)
import numpy as np
import demonstrably.environments.overcooked_trials as trials
from demonstrably.environments.overcooked import Overcooked
sys.addaudithook(watch)
environment = Overcooked()
for seed in range(5):
    environment.reset(seed=seed)
    for action in np.random.default_rng(seed).integers(0, 6, (50, 2)):
        environment.step(action)
if {with_trials}:
    trials.load("test", ["cramped_room"])
loaded = {{name.partition(".")[0] for name in sys.modules}}
assert not loaded & {{"overcooked", "overcooked_ai_py", "cv2", "pygame", "marlenv", "torch"}}, loaded
print("done")
"""


@needs_rules
def test_nothing_is_written_unpickled_or_loaded_beside_the_rules(tmp_path: Path) -> None:
    with_trials = importlib.util.find_spec("overcooked_ai_py") is not None
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", TRACELESS.format(with_trials=with_trials)]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert finished.stdout.splitlines()[-1:] == ["done"], finished.stdout + finished.stderr
    assert not list(tmp_path.iterdir())


@needs_rules
def test_an_ordinary_import_of_the_package_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = type(sys)("overcooked")
    theirs.__spec__ = importlib.util.find_spec("overcooked")
    monkeypatch.setitem(sys.modules, "overcooked", theirs)
    assert len(overcooked_rules.rules.__wrapped__().actions) == len(ACTIONS)
    assert sys.modules["overcooked"] is theirs and "overcooked.mdp" not in sys.modules

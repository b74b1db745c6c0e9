"""The human trials: the same as the converted copy, and the same as the environment plays them."""

import functools
import importlib.util
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.environments import overcooked_trials, pickles
from demonstrably.environments.overcooked import HUMAN_RATE, Overcooked
from demonstrably.environments.overcooked_rules import LAYOUTS, OBSERVATIONS, kitchen

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("overcooked") is None or importlib.util.find_spec("overcooked_ai_py") is None,
    reason="the packages overcooked and overcooked-ai are not both installed",
)


@pytest.fixture(scope="module", autouse=True)
def files_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickles, "read", functools.cache(pickles.read))
        yield


@pytest.fixture(scope="module")
def human() -> Demonstrations:
    return overcooked_trials.load("all")


@pytest.mark.slow
def test_all_trials_are_there_once_a_seat(human: Demonstrations) -> None:
    assert len(human) == 152 and human.transitions == 2 * 91_102
    assert {key: rows.shape for key, rows in human.observations.items()} == {
        "flat": (182_356, 945),
        "near": (182_356, 735),
    }
    table = human.table.to_pydict()
    assert table["seat"] == [0, 1] * 76 and table["demonstrator"] == table["pair"]
    assert sum(table["soups"][::2]) == 1363 and table["soups"][::2] == table["soups"][1::2]
    assert table["return"] == [20 * soups for soups in table["soups"]]
    assert all(table["final_observation"]) and len(set(table["name"])) == 152
    assert human.masks["train"].sum() == 78 and not (human.masks["train"] & human.masks["test"]).any()
    assert not human.terminated.any() and human.truncated.sum() == 152


def test_they_agree_with_the_converted_copy(human: Demonstrations, shared_data: Path) -> None:
    with h5py.File(shared_data / "overcooked_human_2019.hdf5") as file:
        for trial in range(76):
            copy = file[f"data/demo_{trial}"]
            seats = [human[2 * trial], human[2 * trial + 1]]
            assert np.array_equal(copy["actions"][:], np.stack([seat.actions for seat in seats], 1))
            assert np.array_equal(copy["rewards"][:], seats[0].rewards)
            for seat in seats:
                told = seat.attributes
                assert (told["task"], told["split"]) == (copy.attrs["layout"], copy.attrs["split"])
                assert (told["pair"], told["soups"]) == (copy.attrs["pair"], copy.attrs["soups"])


@pytest.mark.slow
def test_the_rules_replay_every_trial_exactly(human: Demonstrations) -> None:
    """Every state of both seats and every reward follow from the recorded actions alone."""
    steps = soups = 0
    for trial in range(0, len(human), 2):
        first, second = human[trial], human[trial + 1]
        place = kitchen(first.attributes["task"])
        state, rewards = place.start(), []
        views = [place.encode(state)]
        for actions in np.stack([first.actions, second.actions], 1).tolist():
            state, reward = place.step(state, actions)
            views.append(place.encode(state))
            rewards.append(reward)
        assert np.array_equal(rewards, first.rewards) and np.array_equal(rewards, second.rewards), trial
        for seat, episode in enumerate((first, second)):
            replayed = np.stack([view[seat] for view in views]).reshape(len(views), -1)
            assert np.array_equal(replayed, episode.observations["flat"]), (trial, seat)
        steps, soups = steps + len(rewards), soups + sum(rewards) // 20
    assert (steps, soups) == (91_102, 1363)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_environment_gives_what_the_demonstrations_hold(human: Demonstrations, layout: str) -> None:
    first, second = (human.select(f"task == '{layout}' and seat == {seat}")[0] for seat in range(2))
    environment = Overcooked([layout], horizon=len(first))
    observation, information = environment.reset(seed=0)
    over = False
    for step, actions in enumerate(np.stack([first.actions, second.actions], 1)):
        for key in ("flat", "near"):
            recorded = [episode.observations[key][step] for episode in (first, second)]
            assert np.array_equal(observation[key], recorded), (step, key)
        observation, reward, _, over, information = environment.step(actions)
        assert reward == first.rewards[step]
    assert over and information["soups"] == first.attributes["soups"]


def test_the_human_reference_is_the_mean_rate_of_the_trials(human: Demonstrations) -> None:
    for layout in LAYOUTS:
        one = human.select(f"task == '{layout}' and seat == 0").table.to_pydict()
        rates = [points / steps for points, steps in zip(one["return"], one["length"], strict=True)]
        assert np.mean(rates) == pytest.approx(HUMAN_RATE[layout], abs=1e-6)


def test_split_layouts_and_keys_can_be_chosen() -> None:
    some = overcooked_trials.load("train", ["forced_coordination"], keys=["grid"])
    assert len(some) == 12 and set(some.table.to_pydict()["task"]) == {"forced_coordination"}
    assert some.observations["grid"].shape[1:] == OBSERVATIONS["grid"]
    assert some.environment is not None and some.environment.kwargs["layouts"] == ["forced_coordination"]
    assert some.action.count == 6 and set(some.table.to_pydict()["split"]) == {"train"}


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="no split 'valid'; choose train, test or all"):
        overcooked_trials.load("valid")
    with pytest.raises(ValueError, match="no layout 'random3'"):
        overcooked_trials.load("train", ["random3"])
    for layouts in ([], "cramped_room"):
        with pytest.raises(ValueError, match="give a list"):
            overcooked_trials.load("train", layouts)
    with pytest.raises(ValueError, match="choose from grid, flat, near"):
        overcooked_trials.load("train", keys=["image"])


def test_missing_recordings_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    advice = r"pip install --no-deps overcooked-ai==1\.1\.0"
    monkeypatch.setattr(overcooked_trials, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(ValueError, match=advice):
        overcooked_trials.recordings("train")
    monkeypatch.setattr(overcooked_trials, "DISTRIBUTION", "numpy")
    with pytest.raises(ValueError, match=f"without its human trials.*{advice}"):
        overcooked_trials.recordings("train")
    assert metadata.version("numpy")


def test_another_file_in_their_place_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "clean_train_trials.pickle"
    other.write_bytes(b"\x80\x04]\x94.")
    monkeypatch.setattr(overcooked_trials, "recordings", lambda split: other)
    with pytest.raises(ValueError, match="not the human trials"):
        list(overcooked_trials.trials("train"))

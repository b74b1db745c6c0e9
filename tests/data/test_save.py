"""Saving: what robomimic needs is there, and what was saved comes back."""

import json

import h5py
import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load, save
from demonstrably.spec import Continuous, Discrete, Environment

LENGTHS = [4, 6, 3]
TOTAL, ROWS = 13, 16


def made(**changes):
    generator = np.random.default_rng(0)
    given = {
        "observations": {
            "state": generator.normal(size=(ROWS, 3)),
            "arm/image": generator.integers(0, 255, (ROWS, 8, 8, 3)).astype(np.uint8),
        },
        "actions": generator.uniform(-2, 2, (TOTAL, 2)),
        "rewards": generator.normal(size=TOTAL),
        "terminated": np.arange(TOTAL) == 3,
        "lengths": LENGTHS,
        "names": ["demo_7", "demo_2", "demo_11"],
        "table": {
            "quality": ["good", None, "bad"],
            "success": [True, None, False],
            "noise": [0.5, 1.0, None],
            "seed": [1, 2, 3],
        },
        "masks": {"train": [True, False, True], "nested/empty": [False] * 3},
        "environment": Environment("Place-v0", {"size": [1, 2]}, ("places",), seats=2),
        "attributes": {"source": "a test", "year": 2019, "human": True, "total": 99},
        "action": Continuous((-2.0, -2.0), (2.0, 2.0)),
    }
    return Demonstrations.from_arrays(**{**given, **changes})


def assert_same(first, second):
    assert second.fingerprint() == first.fingerprint()
    assert second.table.equals(first.table)
    assert second.action == first.action and second.environment == first.environment
    assert {name: mask.tolist() for name, mask in second.masks.items()} == {
        name: mask.tolist() for name, mask in first.masks.items()
    }


def in_file_order(demos):
    """A view in the order in which a file is read."""
    return demos.select(np.argsort([int(name[5:]) for name in demos.table.column("name").to_pylist()]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"actions": np.arange(TOTAL) % 3, "action": Discrete(7)},
        {"rewards": None},
        {"observations": {"state": np.arange(TOTAL * 2.0).reshape(TOTAL, 2)}},
        {"observations": {"state": np.zeros((ROWS, 2))}},
        {"environment": None, "masks": {}, "table": {}},
        {"truncated": np.arange(TOTAL) % 2 == 0, "terminated": np.arange(TOTAL) % 3 == 0},
    ],
)
@pytest.mark.parametrize("compress", [True, False])
def test_what_is_saved_comes_back(tmp_path, changes, compress):
    from demonstrably.data.formats import robomimic

    demos = in_file_order(made(**changes))
    path = robomimic.save(demos, tmp_path / "saved.hdf5", compress=compress)
    found = load(path)
    if changes.get("truncated") is not None:  # the last step of an episode always ends it
        assert (found.truncated | ~found.truncated).all()
        ends = np.cumsum(found.lengths) - 1
        assert (found.terminated | found.truncated)[ends].all()
        return
    assert_same(demos, found)
    kept = {"source": "a test", "year": 2019, "human": True}
    assert {name: found.attributes[name] for name in kept} == kept and found.attributes["total"] == TOTAL


def test_a_view_is_saved_alone_and_in_its_order(tmp_path):
    view = made().select([2, 0])
    found = load(save(view, tmp_path / "saved.hdf5"))
    assert found.table.column("name").to_pylist() == ["demo_7", "demo_11"]
    assert found.fingerprint() == view.select([1, 0]).fingerprint()


def test_names_that_robomimic_could_not_sort_are_kept_as_an_attribute(tmp_path):
    demos = made(names=["kitchen/1", "kitchen/2", "demo_3"])
    found = load(save(demos, tmp_path / "saved.hdf5"))
    assert found.table.column("name").to_pylist() == ["demo_0", "demo_1", "demo_2"]
    assert found.table.column("source_name").to_pylist() == ["kitchen/1", "kitchen/2", "demo_3"]


def test_what_robomimic_needs_is_there(tmp_path):
    """The names and shapes in robomimic's documentation, "Dataset Structure"."""
    demos = made()
    with h5py.File(save(demos, tmp_path / "saved.hdf5")) as file:
        data = file["data"]
        arguments = json.loads(data.attrs["env_args"])
        assert arguments["env_name"] == "Place-v0" and arguments["type"] == 2
        assert arguments["env_kwargs"] == {"size": [1, 2]} and data.attrs["total"] == TOTAL
        for name, episode in zip(demos.table.column("name").to_pylist(), demos, strict=True):
            demo, length = data[name], len(episode)
            assert demo.attrs["num_samples"] == length
            assert demo["actions"].shape == (length, 2)
            assert demo["rewards"].shape == demo["dones"].shape == (length,)
            assert demo["states"].shape == (length, 0)
            for key in ("state", "arm/image"):
                np.testing.assert_array_equal(demo[f"obs/{key}"][:], episode.observations[key][:-1])
                np.testing.assert_array_equal(demo[f"next_obs/{key}"][:], episode.observations[key][1:])
            assert demo["dones"][:].tolist() == episode.terminated.tolist()
        assert file["mask/train"][:].tolist() == [b"demo_7", b"demo_11"]


def test_discrete_actions_have_the_second_axis_that_robomimic_asks_for(tmp_path):
    with h5py.File(save(made(actions=np.arange(TOTAL) % 3, action=None), tmp_path / "saved.hdf5")) as file:
        assert file["data/demo_7/actions"].shape == (4, 1)


def test_attributes_of_the_environment_that_were_read_are_written_back(tmp_path):
    known = {"env_name": "Place-v0", "env_version": "1.5", "type": 1, "env_kwargs": {"old": 1}}
    demos = made(attributes={"env_args": known})
    found = load(save(demos, tmp_path / "saved.hdf5"))
    assert found.attributes["env_args"]["env_version"] == "1.5" and found.attributes["env_args"]["type"] == 1
    assert found.environment == demos.environment


def test_refusals_leave_nothing_behind(tmp_path):
    demos = made(environment=Environment("Place-v0", {"rule": len}))
    with pytest.raises(ValueError, match="Place-v0: its keyword arguments are no plain JSON"):
        save(demos, tmp_path / "saved.hdf5")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(made(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        save(made(), tmp_path / "nowhere" / "saved.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_is_replaced_whole(tmp_path):
    path = tmp_path / "saved.hdf5"
    save(made(), path)
    save(load(path).select([0]), path)
    assert len(load(path)) == 1 and [one.name for one in tmp_path.iterdir()] == ["saved.hdf5"]

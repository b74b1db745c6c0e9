"""The shared recordings hold what the table beside them says."""

import re

import numpy as np
import pytest

from demonstrably.data.findings import inspect
from demonstrably.data.formats import FileError, load
from demonstrably.spec import Discrete

ROW = re.compile(
    r"\| (?P<file>\S+\.hdf5) \| (?P<environment>\S+)[^|]*\| (?P<episodes>\d+) \| (?P<transitions>\d+) \| [^|]*"
    r"\| (?P<mean>-?[\d.]+)±(?P<spread>[\d.]+)(, success (?P<success>[\d.]+))?"
)
FILES = 24
OVERCOOKED = "overcooked_human_2019.hdf5"


@pytest.fixture(scope="module")
def table(shared_data):
    rows = [
        match.groupdict() for match in map(ROW.match, (shared_data / "README.md").read_text().splitlines()) if match
    ]
    assert len(rows) == FILES
    return {row["file"]: row for row in rows if row["file"] != OVERCOOKED}


@pytest.fixture(scope="module")
def loaded(shared_data, table):
    return {name: load(shared_data / name) for name in table}


@pytest.mark.slow
def test_every_file_holds_what_the_table_says(loaded, table):
    for name, row in table.items():
        demos = loaded[name]
        assert len(demos) == int(row["episodes"]) and demos.transitions == int(row["transitions"])
        assert demos.environment is not None and demos.environment.name == row["environment"]
        returns = demos.table.column("return").to_numpy()
        assert returns.mean() == pytest.approx(float(row["mean"]), abs=0.06)
        assert returns.std() == pytest.approx(float(row["spread"]), abs=0.06)
        if row["success"]:
            assert np.mean(demos.table.column("success").to_pylist()) == pytest.approx(float(row["success"]), abs=0.006)
        assert not [one for one in demos.notes if one.kind in ("count-mismatch", "return-mismatch", "misaligned")]


def test_nothing_in_them_is_an_error(loaded):
    for name, demos in loaded.items():
        findings = inspect(demos)
        assert findings.counts["error"] == 0, name


def test_people_at_the_door(shared_data):
    demos = load(shared_data / "adroit_door_human.hdf5")
    assert demos.observations["flat"].shape == (6729 + 25, 39) and demos.actions.shape == (6729, 28)
    assert demos.action.low == (-1.0,) * 28 and demos.action.high == (1.0,) * 28
    assert demos.environment.kwargs == {"max_episode_steps": 300} and demos.environment.imports == (
        "gymnasium_robotics",
    )
    assert not demos.terminated.any() and demos.truncated.sum() == 25
    assert not any(demos.table.column("final_observation").to_pylist())


def test_deaths_and_time_outs_of_the_hopper(shared_data):
    demos = load(shared_data / "mixed" / "hopper_noise.hdf5")
    died = np.array([bool(one.terminated[-1]) for one in demos])
    assert died.sum() == 59 and (demos.lengths[~died] == 1000).all() and (demos.lengths[died] < 1000).all()


def test_grades_are_masks_and_columns(shared_data):
    demos = load(shared_data / "mixed" / "fetchpickandplace_noise.hdf5")
    assert demos.keys() == ("achieved_goal", "desired_goal", "observation")
    experts = demos.select("expert")
    assert experts.episodes.tolist() == demos.select("quality == 'expert'").episodes.tolist()
    assert len(experts) == 30 and experts.table.column("success").to_pylist() == [True] * 30
    train, validation = demos.split(0.1, by="quality")
    assert sorted(validation.table.column("quality").to_pylist()) == sorted(
        ["bad"] * 0 + 3 * ["expert", "good", "medium", "poor", "random"]
    )
    assert all(demos.table.column("final_observation").to_pylist())


def test_discrete_files(shared_data):
    for name, count in (("acrobot", 3), ("cartpole", 2), ("lunarlander", 4)):
        demos = load(shared_data / "expert" / f"{name}_expert.hdf5")
        assert demos.action == Discrete(count) and demos.actions.ndim == 1


def test_two_players_at_once_are_refused_by_name(shared_data):
    with pytest.raises(FileError, match=r"integers of shape \(1204, 2\): 2 choices a step.*loader .*\(Overcooked\)"):
        load(shared_data / OVERCOOKED)

"""Selection on a run folder: arms, kept episodes, resuming after a kill at any point, seeds, measures."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from runs import RATES, Rollouts, make_run

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import save
from demonstrably.evaluation import fresh
from demonstrably.evaluation.allocation import top_two_thompson
from demonstrably.evaluation.fresh import Conditions
from demonstrably.evaluation.intervals import Score
from demonstrably.evaluation.select_run import select_run, selected
from demonstrably.evaluation.selection import Selection
from demonstrably.spec import Discrete, Environment


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "bc")


@pytest.fixture
def rollouts(monkeypatch):
    stand_in = Rollouts(RATES)
    monkeypatch.setattr(fresh, "play", stand_in)
    return stand_in


def episodes(run, purpose):
    return run.evaluations().filter(pc.field("purpose") == purpose)


def test_everything_is_kept_in_the_folder(run, rollouts):
    heard = []
    found = select_run(run.path, 300, progress=lambda *told: heard.append(told))
    assert found.label == "step 200, member 0" and selected(run) == (200, 0)
    record = run.read_json("selection.json")
    assert Selection.from_dict(record) == found
    score = Score.from_dict(record["score"])
    assert score.success == found.confirmed
    assert episodes(run, "confirm").num_rows == found.confirmed.episodes == 60
    kept = episodes(run, "select")
    assert kept.num_rows == sum(arm.episodes for arm in found.arms)
    assert set(kept.column("round").to_pylist()) == set(range(len(found.rounds)))
    assert episodes(run, "confirm").column("round").null_count == 60
    assert min(run.evaluations().column("seed").to_pylist()) == 1_000_000
    assert heard[-1][:2] == (found.spent, 300)
    assert all(a[0] <= b[0] for a, b in zip(heard, heard[1:], strict=False))


def test_arms_can_be_chosen_and_what_is_not_there_is_named(run, rollouts):
    found = select_run(run.path, 100, checkpoints=[300, 100], members=[1])
    assert [arm.label for arm in found.arms] == ["step 100, member 1", "step 300, member 1"]
    with pytest.raises(ValueError, match="no checkpoint 150: it has 100, 200, 300"):
        select_run(run.path, 100, checkpoints=[150])
    with pytest.raises(ValueError, match="no member 2: it has 0, 1"):
        select_run(run.path, 100, members=[2])


def test_a_killed_selection_goes_on_to_the_same_end(tmp_path, rollouts, monkeypatch):
    """Killed while playing, and killed between keeping the episodes and saving the state."""
    whole = select_run(make_run(tmp_path / "whole").path, 200)
    total = len(rollouts.played)
    for stop in (1, 30, 100, 150):
        run = make_run(tmp_path / f"played {stop}")
        rollouts.played.clear()
        rollouts.fail_after = stop
        with pytest.raises(KeyboardInterrupt):
            select_run(run.path, 200)
        assert selected(run) is None
        rollouts.fail_after = None
        assert select_run(run.path, 200) == whole
        assert len(rollouts.played) == total == run.evaluations().num_rows
    original = type(run).write_json
    for stop in range(1, 5):
        run, written = make_run(tmp_path / f"kept {stop}"), []

        def write_json(self, name, values, written=written, stop=stop):
            written.append(name)
            if len(written) == stop:
                raise KeyboardInterrupt
            original(self, name, values)

        rollouts.played.clear()
        with monkeypatch.context() as patch:
            patch.setattr(type(run), "write_json", write_json)
            with pytest.raises(KeyboardInterrupt):
                select_run(run.path, 200)
        assert select_run(run.path, 200) == whole
        assert len(rollouts.played) == total == run.evaluations().num_rows


def test_more_rollouts_go_on_and_the_same_number_plays_nothing(run, rollouts):
    first = select_run(run.path, 100)
    rollouts.played.clear()
    assert select_run(run.path, 100) == first and not rollouts.played
    second = select_run(run.path, 300)
    assert min(seed for *_, seed in rollouts.played) == first.confirm_seeds[1]
    assert second.spent > first.spent
    assert run.read_json("selection.json")["rollouts"] == 300


def test_seeds_that_something_else_has_played_are_left_out(run, rollouts):
    def played_elsewhere(seed):
        table = rollouts(None, [(100, 0)], None, [seed])
        run.append_evaluations(table.append_column("purpose", pa.array(["evaluate"])))
        rollouts.played.clear()

    played_elsewhere(1_000_050)
    played_elsewhere(1_000_000_000)
    first = select_run(run.path, 100)
    assert first.rounds[0].seeds[0] == 1_000_051
    played_elsewhere(first.confirm_seeds[1] + 10)
    second = select_run(run.path, 300)
    later = [seed for *_, seed in rollouts.played if seed >= first.confirm_seeds[1]]
    assert min(later) == first.confirm_seeds[1] + 11
    assert second.confirm_seeds[0] > first.confirm_seeds[1]


def test_a_first_seed_that_was_played_is_refused(run, rollouts):
    select_run(run.path, 100, first_seed=50)
    with pytest.raises(ValueError, match="some of the 100 seeds from 60 on were played before"):
        select_run(run.path, 100, first_seed=60, restart=True)
    free = max(run.evaluations().column("seed").to_pylist()) + 1
    assert select_run(run.path, 100, first_seed=free, restart=True).rounds[0].seeds[0] == free


def test_thompson_keeps_its_episodes_too(run, rollouts):
    found = select_run(run.path, 100, allocation=top_two_thompson)
    assert episodes(run, "select").num_rows == sum(arm.episodes for arm in found.arms)
    with pytest.raises(ValueError, match="allocation was top_two_thompson"):
        select_run(run.path, 100)


def test_changed_conditions_are_refused(run, rollouts):
    select_run(run.path, 100, conditions=Conditions(horizon=50))
    with pytest.raises(ValueError, match="horizon was 50 before and is None now: keep it, or begin .* --restart"):
        select_run(run.path, 100)
    with pytest.raises(ValueError, match="bounds was"):
        select_run(run.path, 100, conditions=Conditions(horizon=50), bounds=(0.0, 1.0))
    select_run(run.path, 100, restart=True)


def test_another_place_is_played_in_but_not_kept(run, rollouts):
    other = Environment("Other-v0")
    found = select_run(run.path, 100, conditions=Conditions(environment=other))
    assert set(place.name for place in rollouts.places) == {"Other-v0"}
    assert run.evaluations().num_rows == 0
    assert Score.from_dict(run.read_json("selection.json")["score"]).success == found.confirmed


def test_no_place_is_an_error(tmp_path, rollouts):
    run = make_run(tmp_path / "nowhere", environment=None)
    with pytest.raises(ValueError, match="names no environment: give one with --env"):
        select_run(run.path, 100)
    assert select_run(run.path, 100, conditions=Conditions(Environment("Other-v0"))).winner == 2


def test_returns_between_given_bounds(run, monkeypatch):
    monkeypatch.setattr(fresh, "play", Rollouts(RATES, signal=False))
    found = select_run(run.path, 200, bounds=(0.0, 400.0))
    assert (found.scale.measure, found.scale.low, found.scale.high) == ("return", 0.0, 400.0)
    record = run.read_json("selection.json")
    assert record["clipped"] > 0  # the best arm's returns lie above 400
    assert record["score"]["success"] is None and record["score"]["return"]["mean"] > 400
    assert found.scale.value(found.confirmed.mean) <= 400
    assert "return on fresh seeds" in str(found)


def demonstrated(path, returns):
    """A file of demonstrations with these returns, one step each."""
    count = len(returns)
    demos = Demonstrations.from_arrays(
        {"flat": np.random.default_rng(0).random((2 * count, 3)).astype(np.float32)},
        np.arange(count) % 2,
        np.array(returns, dtype=np.float32),
        lengths=[1] * count,
        action=Discrete(2),
    )
    save(demos, path)


def test_returns_between_the_demonstrations_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "play", Rollouts(RATES, signal=False))
    demonstrated(tmp_path / "demos.hdf5", [200.0, 350.0, 600.0])
    with h5py.File(tmp_path / "demos.hdf5") as file:
        assert len(file["data"]) == 3
    run, told = make_run(tmp_path / "run", data=str(tmp_path / "demos.hdf5")), []
    found = select_run(run.path, 200, progress=lambda *heard: told.append(heard[2]))
    assert (found.scale.low, found.scale.high) == (0.0, 600.0)
    assert any("between 0 and 600, a range taken from the demonstrations" in note for note in told)
    assert run.read_json("selection.json")["clipped"] == 0
    half = select_run(run.path, 200, bounds=(None, 550.0), restart=True)
    assert (half.scale.low, half.scale.high) == (0.0, 550.0)


def test_returns_without_any_bounds(run, tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "play", Rollouts(RATES, signal=False))
    with pytest.raises(ValueError, match="learned from no file: give --return-low and --return-high"):
        select_run(run.path, 200)
    demonstrated(tmp_path / "none.hdf5", [0.0, 0.0])
    with pytest.raises(ValueError, match="give no bounds: give --return-low and --return-high"):
        select_run(make_run(tmp_path / "flat", data=str(tmp_path / "none.hdf5")).path, 200)


def test_a_broken_state_is_named(run, rollouts):
    select_run(run.path, 100)
    (run.path / "selection_state.json").write_text('{"conditions": ')
    with pytest.raises(ValueError, match="selection_state.json is not valid JSON"):
        select_run(run.path, 100)
    assert json.loads((run.path / "selection.json").read_text())["checkpoint"] == 200

"""Comparison of run folders: who plays, shared seeds that nobody saw, adding episodes, what is refused."""

import json

import pyarrow.compute as pc
import pytest
from runs import PLACE, RATES, Rollouts, make_run

from demonstrably.evaluation import fresh
from demonstrably.evaluation.compare import Comparison
from demonstrably.evaluation.compare_run import compare_runs
from demonstrably.evaluation.fresh import Conditions
from demonstrably.evaluation.select_run import select_run
from demonstrably.spec import Environment


@pytest.fixture
def rollouts(monkeypatch):
    stand_in = Rollouts(RATES | {(50, 0): 0.05, (50, 1): 0.1})
    monkeypatch.setattr(fresh, "play", stand_in)
    return stand_in


@pytest.fixture
def runs(tmp_path):
    return make_run(tmp_path / "bc"), make_run(tmp_path / "rnn", steps=(50, 200))


def test_all_members_of_the_last_checkpoint(runs, rollouts):
    found = compare_runs([run.path for run in runs], 60)
    first, second = found.comparison.compared
    assert (first.name, second.name, first.members) == ("bc", "rnn", 2)
    assert found.comparison.seeds == 60
    assert [score.success.episodes for score in found.scores] == [120, 120]
    assert found.scores[0].success.mean == pytest.approx(first.mean.mean)
    assert found.comparison.pairs[0].improvement is not None
    for run, step in zip(runs, (300, 200), strict=True):
        kept = run.evaluations()
        assert set(kept.column("purpose").to_pylist()) == {"compare"}
        assert set(kept.column("checkpoint").to_pylist()) == {step}
        record = json.loads((run.path / "comparisons" / "bc-vs-rnn.json").read_text())
        assert Comparison.from_dict(record["comparison"]) == found.comparison
    seeds = [run.evaluations().column("seed").to_pylist() for run in runs]
    assert sorted(seeds[0]) == sorted(seeds[1]) and min(seeds[0]) == 1_000_000


def test_a_checkpoint_for_all(runs, rollouts):
    compare_runs([run.path for run in runs], 10, checkpoint=200)
    assert {(step, member) for step, member, _ in rollouts.played} == {(200, 0), (200, 1)}
    with pytest.raises(ValueError, match="rnn has no checkpoint 300: it has"):
        compare_runs([run.path for run in runs], 10, checkpoint=300)


def test_selected_policies_where_all_runs_have_one(runs, rollouts):
    paths = [run.path for run in runs]
    with pytest.raises(ValueError, match="has no selection: run `demonstrably select"):
        compare_runs(paths, 10, use_selected=True)
    for run in runs:
        select_run(run.path, 100)
    rollouts.played.clear()
    found = compare_runs(paths, 40)
    assert {(step, member) for step, member, _ in rollouts.played} == {(200, 0)}
    assert [policy.members for policy in found.comparison.compared] == [1, 1]
    assert found.comparison.pairs[0].better is None and found.comparison.pairs[0].difference == 0
    assert all(
        min(seed for *_, seed in rollouts.played) > s
        for s in runs[0].evaluations().filter(pc.field("purpose") == "select").column("seed").to_pylist()
    )
    with pytest.raises(ValueError, match="not both"):
        compare_runs(paths, 10, use_selected=True, checkpoint=200)
    rollouts.played.clear()
    compare_runs(paths, 10, use_selected=False)
    assert (300, 1) in {(step, member) for step, member, _ in rollouts.played}


def test_episodes_are_added_to_an_earlier_comparison(runs, rollouts, tmp_path):
    paths = [run.path for run in runs]
    first = compare_runs(paths, 30)
    rollouts.played.clear()
    assert compare_runs(paths, 30) == first and not rollouts.played
    more = compare_runs(paths, 70)
    assert more.comparison.seeds == 70 and len(rollouts.played) == 4 * 40
    assert compare_runs(paths, 30).comparison.seeds == 70  # what was seen is not forgotten
    at_once = compare_runs([make_run(tmp_path / "x" / run.name, run.checkpoints).path for run in runs], 70)
    assert at_once.comparison.pairs == more.comparison.pairs


def test_an_interrupted_comparison_goes_on(runs, rollouts):
    paths = [run.path for run in runs]
    rollouts.fail_after = 210
    with pytest.raises(KeyboardInterrupt):
        compare_runs(paths, 100)
    rollouts.fail_after = None
    rollouts.played.clear()
    found = compare_runs(paths, 100)
    assert found.comparison.seeds == 100 and len(rollouts.played) < 400


def test_another_policy_begins_a_new_comparison(runs, rollouts):
    paths = [run.path for run in runs]
    compare_runs(paths, 30)
    rollouts.played.clear()
    assert compare_runs(paths, 20, checkpoint=200).comparison.seeds == 20
    assert min(seed for *_, seed in rollouts.played) == 1_000_030


def test_three_runs_and_names_that_tell_them_apart(tmp_path, rollouts):
    runs = [make_run(tmp_path / folder / "bc") for folder in ("a", "b")] + [make_run(tmp_path / "c")]
    found = compare_runs([run.path for run in runs], 10)
    assert [policy.name for policy in found.comparison.compared] == ["a/bc", "b/bc", f"{tmp_path.name}/c"]
    assert len(found.comparison.pairs) == 3
    assert len(list((runs[2].path / "comparisons").iterdir())) == 1


def test_what_cannot_be_compared_is_refused(runs, rollouts, tmp_path):
    paths = [run.path for run in runs]
    for given, message in (
        (paths[:1], "at least two"),
        ([paths[0], paths[0]], "given twice"),
        ([paths[0], tmp_path], "not a run folder"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_runs(given, 10)
    with pytest.raises(ValueError, match="at least 1"):
        compare_runs(paths, 0)
    compare_runs(paths, 10, first_seed=7)
    with pytest.raises(ValueError, match="10 seeds from 16 on were played before, .* give one from 17 on"):
        compare_runs(paths, 10, first_seed=16, checkpoint=200)
    elsewhere = make_run(tmp_path / "elsewhere", environment=Environment("Other-v0"))
    with pytest.raises(ValueError, match="plays in toy/Sum-v0, .* plays in Other-v0"):
        compare_runs([paths[0], elsewhere.path], 10)
    assert compare_runs([paths[0], elsewhere.path], 10, conditions=Conditions(PLACE)).comparison.seeds == 10


def test_returns_on_one_scale(runs, monkeypatch):
    monkeypatch.setattr(fresh, "play", Rollouts(RATES | {(50, 0): 0.0, (50, 1): 0.0}, signal=False))
    found = compare_runs([run.path for run in runs], 30, bounds=(0.0, 400.0))
    assert found.comparison.scale.measure == "return" and found.clipped > 0
    assert found.scores[0].success is None
    again = compare_runs([run.path for run in runs], 40, bounds=(0.0, 400.0))
    assert again.comparison.seeds == 40  # columns without any success come back from the file as they were

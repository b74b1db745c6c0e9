"""`evaluate` plays the right policies, keeps the episodes, and prints scores that say how sure they are."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))

from toy_policies import noisy, spec_of

from demonstrably.cli import evaluate
from demonstrably.cli.main import main
from demonstrably.spec import Environment
from demonstrably.training.run import Run

SUM = Environment("toy/Sum-v0", {"success": "success"}, ("toy_environments",))
FAST = ["--workers", "0", "--episodes", "4"]


def run_folder(path: Path, environment: Environment | None = SUM) -> Run:
    run = Run.create(path, {"members": 3, "spec": spec_of(environment).to_dict()})
    for step in (10, 200):
        (path / "checkpoints" / f"{step:06d}").mkdir(parents=True)
    return run


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    """A run of three members with checkpoints 10 and 200, whose policies are toys."""
    monkeypatch.setattr(Run, "policy", lambda run, step, device: noisy(run.spec, 3, seed=step))
    return run_folder(tmp_path / "run")


def printed(capsys, *arguments) -> dict:
    assert evaluate.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_last_checkpoint_where_nothing_was_selected(run, capsys):
    assert evaluate.main([str(run.path), *FAST]) == 0
    shown = capsys.readouterr()
    assert "checkpoint 200, the last (there is no selection)" in shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "checkpoint 200"
    assert lines[1].startswith("  success 1.00 [") and lines[1].endswith(", 12/12")
    assert lines[3].startswith("  member 0 success 1.00 [") and lines[3].endswith(", 4/4")
    assert lines[4].startswith("  member 0 return ") and lines[4].endswith(", 4 episodes")


def test_json_has_the_one_shape_of_scores(run, capsys):
    document = printed(capsys, run.path, *FAST, "--checkpoint", 10, "--first-seed", 7)
    assert document["success"].keys() == {"mean", "low", "high", "count", "episodes"}
    assert document["return"].keys() == {"mean", "low", "high", "episodes"}
    assert len(document["members"]) == 3 and document["members"][0]["success"]["episodes"] == 4
    told = {name: document[name] for name in ("checkpoint", "member", "environment", "first_seed", "episodes")}
    assert told == {"checkpoint": 10, "member": None, "environment": "toy/Sum-v0", "first_seed": 7, "episodes": 4}


def test_episodes_are_kept(run, capsys):
    printed(capsys, run.path, *FAST, "--checkpoint", 10)
    printed(capsys, run.path, *FAST, "--all", "--first-seed", 5)
    kept = run.evaluations().to_pylist()
    assert [row["checkpoint"] for row in kept] == [10] * 24 + [200] * 12
    assert {row["purpose"] for row in kept} == {"evaluate"} and {row["task"] for row in kept} == {"sum"}
    assert [row["seed"] for row in kept[:4]] == [100_000, 100_001, 100_002, 100_003]
    assert [row["seed"] for row in kept[-4:]] == [5, 6, 7, 8]


def test_all_checkpoints(run, capsys):
    document = printed(capsys, run.path, *FAST, "--all")
    assert [one["checkpoint"] for one in document["checkpoints"]] == [10, 200]


def test_the_selected_member_plays_alone_under_its_own_number(run, capsys):
    run.write_json("selection.json", {"label": "step 10, member 2"})
    for flags in ([], ["--selected"]):
        document = printed(capsys, run.path, *FAST, *flags)
        assert (document["checkpoint"], document["member"], document["members"]) == (10, 2, [])
    rows = run.evaluations().to_pylist()
    assert {(row["checkpoint"], row["member"]) for row in rows} == {(10, 2)}
    everyone = printed(capsys, run.path, *FAST, "--checkpoint", 10)
    assert everyone["members"][2]["return"] == document["return"]


def test_another_environment_is_played_but_not_kept(run, capsys):
    assert evaluate.main([str(run.path), *FAST, "--env", "toy/Sum-v0", "--env-import", "toy_environments"]) == 0
    shown = capsys.readouterr()
    assert "not kept in the run folder" in shown.err and "no success signal: give a rule" in shown.out
    assert run.evaluations().num_rows == 0


def test_a_rule_and_a_horizon(run, capsys):
    document = printed(capsys, run.path, *FAST, "--success", "length == 3", "--horizon", 3)
    assert document["success"]["count"] == 12
    assert printed(capsys, run.path, *FAST, "--success", "length == 3")["success"]["count"] == 0


def test_videos(run, capsys):
    pytest.importorskip("av")
    document = printed(capsys, run.path, *FAST, "--checkpoint", 10, "--video", 1)
    assert document["videos"] == [str(run.path / "videos" / "000010_member0_seed100000.mp4")]
    assert Path(document["videos"][0]).stat().st_size > 500


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--selected"], "has no selection: run `demonstrably select"),
        (["--selected", "--all"], "give one of --selected, --checkpoint and --all"),
        (["--episodes", "0"], "--episodes must be at least 1"),
        (["--env-import", "toys"], "give its id with --env"),
        (["--env", "toy/Sun-v0", "--env-import", "toy_environments"], "did you mean toy/Sum-v0"),
        (["--env", "CartPole-v1"], "the policy does not fit CartPole-v1"),
        (["--success", "return >="], "success rule"),
        (["--episode", "5"], "did you mean --episodes?"),
    ],
)
def test_mistakes_are_one_line(run, capsys, flags, message):
    assert main(["evaluate", str(run.path), "--workers", "0", *flags]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.splitlines()[-1]
    assert last.startswith("demonstrably: error: ") and message in last
    assert run.evaluations().num_rows == 0


def test_a_folder_without_environment_or_checkpoints(tmp_path, run, capsys):
    nowhere = run_folder(tmp_path / "nowhere", None)
    assert main(["evaluate", str(nowhere.path)]) == 2
    assert "names no environment: give one with --env ID" in capsys.readouterr().err
    (tmp_path / "early").mkdir()
    early = Run.create(tmp_path / "early", {"members": 1, "spec": spec_of(SUM).to_dict()})
    assert main(["evaluate", str(early.path)]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err

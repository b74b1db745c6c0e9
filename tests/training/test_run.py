"""A run folder: what is in it, what is none, and files that were cut short."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from demonstrably.learners.bc import BC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Field, Spec
from demonstrably.training import checkpoints
from demonstrably.training.run import EPISODES, Run

SPEC = Spec({"state": Field((3,))}, Continuous((-1.0,), (1.0,)))
LEARNER = BC(body=MLP((4,)), average=0.0)


def run_with(folder: Path, *steps: int) -> Run:
    """A run with a checkpoint at each step, whose last bias is that step."""
    config = checkpoints.describe(LEARNER, SPEC, members=2, seed=0)
    run = Run.create(folder, config)
    state = LEARNER.init(SPEC, members=2, seed=0, device="cpu")
    for step in steps:
        torch.nn.init.constant_(state.networks["actor"].last.bias, step)
        checkpoints.save(run.checkpoint(step), state, config)
    return run


def test_a_run_is_a_folder_with_a_configuration(tmp_path: Path) -> None:
    run = run_with(tmp_path / "deep" / "door")
    assert (run.name, run.members, run.spec) == ("door", 2, SPEC)
    assert Run(str(tmp_path / "deep" / "door")).config == run.config
    assert run.checkpoints == [] and run.metrics() == [] and run.evaluations().num_rows == 0


def test_the_name_of_a_run_given_by_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_with(tmp_path / "door")
    monkeypatch.chdir(tmp_path / "door")
    assert Run(".").name == "door"


def test_a_folder_that_is_no_run_names_those_beside_it(tmp_path: Path) -> None:
    run_with(tmp_path / "door")
    (tmp_path / "empty").mkdir()
    message = rf"empty is not a run folder: it holds no config\.json; runs beside it: {tmp_path}/door"
    with pytest.raises(ValueError, match=message):
        Run(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"nowhere is not a run folder"):
        Run(tmp_path / "no" / "nowhere")


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    run_with(tmp_path / "door")
    with pytest.raises(ValueError, match="door holds a run already: give --resume to go on with it, or another --out"):
        Run.create(tmp_path / "door", {})
    with pytest.raises(ValueError, match="no checkpoint yet, so that nothing is lost if you remove the folder"):
        Run.create(tmp_path / "door", {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="file is a file: give a folder for the run"):
        Run.create(tmp_path / "file", {})
    assert Run(tmp_path / "door").config["learner"] == "bc"


def test_an_empty_folder_becomes_a_run(tmp_path: Path) -> None:
    assert run_with(tmp_path).path == tmp_path


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    run = run_with(tmp_path / "door", 20, 1_000_000, 5)
    (run.path / "checkpoints" / ".partial-000030").mkdir()
    (run.path / "checkpoints" / "notes").mkdir()
    (run.path / "checkpoints" / "40").mkdir()
    assert run.checkpoints == [5, 20, 1_000_000]
    assert run.checkpoint(20).name == "000020" and run.checkpoint(1_000_000).name == "1000000"


def test_the_policy_is_the_last_or_a_chosen_one(tmp_path: Path) -> None:
    run = run_with(tmp_path / "door", 5, 20)
    for given, expected in ((None, 20), (5, 5)):
        assert run.policy(given).actor.last.bias.unique().tolist() == [expected]
    with pytest.raises(ValueError, match="door has no checkpoint 6: it has 5, 20"):
        run.policy(6)
    with pytest.raises(ValueError, match="none has no checkpoint yet: train it, with --resume if it was interrupted"):
        run_with(tmp_path / "none").policy()


def test_metrics_are_lines_and_a_cut_one_is_left_out(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    lines = [{"step": 10 * i, "loss": [0.5, 1 / 3]} for i in range(1, 4)]
    for line in lines:
        run.log(line)
    assert run.metrics() == lines
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')
    assert run.metrics() == lines


def test_a_broken_line_names_the_file(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": \n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl holds a line that is not valid JSON"):
        run.metrics()


def test_rewinding_forgets_what_came_after(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    for step in (10, 20, 30):
        run.log({"step": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40')
    run.rewind(20)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 10}\n{"step": 20}\n'
    run.log({"step": 25})
    assert [line["step"] for line in run.metrics()] == [10, 20, 25]
    run.rewind(0)
    assert run.metrics() == []


def played(**columns: list) -> pa.Table:
    return pa.table({"checkpoint": [5, 5], "member": [0, 1], "seed": [7, 7], "return": [1, 2], **columns})


def test_evaluations_are_appended_with_one_schema(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    run.append_evaluations(played(purpose=["train", "train"], extra=["a", "b"]))
    run.append_evaluations(played(success=[True, False], length=pa.array([3, 4], pa.int32()), round=[0, 0]))
    table = Run(tmp_path).evaluations()
    assert table.schema == EPISODES and table.num_rows == 4
    assert table.column("success").to_pylist() == [None, None, True, False]
    assert table.column("return").to_pylist() == [1.0, 2.0, 1.0, 2.0]
    assert table.column("purpose").to_pylist() == ["train", "train", None, None]


def test_evaluations_that_are_broken_are_named(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    run.append_evaluations(played())
    file = tmp_path / "evaluations.parquet"
    whole = file.read_bytes()
    for broken in (whole[:-10], b"", b"junk"):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"evaluations\.parquet cannot be read .*: move it away to play again"):
            run.evaluations()
        with pytest.raises(ValueError):
            run.append_evaluations(played())
        assert file.read_bytes() == broken


def test_other_files_of_the_folder(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    assert run.read_json("selection.json") is None
    run.write_json("comparisons/other.json", {"a": 1})
    assert run.read_json("comparisons/other.json") == {"a": 1}
    assert json.loads((tmp_path / "comparisons" / "other.json").read_text()) == {"a": 1}


def test_a_configuration_that_is_cut_short_is_named(tmp_path: Path) -> None:
    run_with(tmp_path)
    (tmp_path / "config.json").write_text('{"learner": ')
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        Run(tmp_path).config  # noqa: B018

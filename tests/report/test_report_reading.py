"""Run folders as they are found: half-written, cut short, large, or not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from demonstrably.report import reading

from .report_folders import Shape, config, make_run, metric_lines, write_json


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_json(tmp_path / "bc" / "config.json", config(Shape()))
    return tmp_path / "bc"


def read_metrics(path: Path) -> tuple[reading.Metrics, list[str]]:
    problems: list[str] = []
    return reading.read_metrics(path, problems), problems


def test_a_whole_folder(tmp_path: Path) -> None:
    folder = reading.read_folders([make_run(tmp_path / "bc")])[0]
    assert folder.problems == ()
    assert (folder.name, folder.checkpoints, folder.config["learner"]) == ("bc", 20, "bc")
    assert set(folder.metrics.curves) == {"loss", "validation_loss", "gradient_norm"}
    assert folder.metrics.curves["loss"].values.shape[1] == 3
    assert folder.metrics.curves["validation_loss"].steps.tolist() == list(range(250, 5001, 250))
    assert folder.evaluations is not None and folder.evaluations.num_rows == 20 * 3 * 20


def test_a_truncated_last_line_is_training_that_goes_on(run: Path) -> None:
    lines = metric_lines(Shape(lines=50))
    (run / "metrics.jsonl").write_text("\n".join(lines[:30]) + "\n" + lines[30][:25])
    metrics, problems = read_metrics(run / "metrics.jsonl")
    assert problems == []
    assert len(metrics.curves["loss"].steps) == 30


def test_a_broken_line_before_the_last_is_told_by_its_number(run: Path) -> None:
    lines = metric_lines(Shape(lines=50))
    lines[4] = lines[4][:20]
    lines[7] = '["no", "object"]'
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    metrics, problems = read_metrics(run / "metrics.jsonl")
    assert len(problems) == 1 and "2 unreadable line(s), the first is line 5" in problems[0]
    assert len(metrics.curves["loss"].steps) == len(lines) - 2


def test_bytes_that_are_no_text_are_a_problem_and_no_crash(run: Path) -> None:
    (run / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": [1.0]}\n\xff\xfe\x00\n' + b"[" * 100_000 + b"\n")
    metrics, problems = read_metrics(run / "metrics.jsonl")
    assert metrics.curves["loss"].steps.tolist() == [1]
    assert "2 unreadable line(s)" in problems[0]


def test_values_that_are_not_finite_are_gaps_that_are_remembered(run: Path) -> None:
    rows = [
        {"step": s, "loss": [1.0, float("nan") if s > 3 else 2.0, float("inf") if s == 2 else 0.5]} for s in range(6)
    ]
    rows[5]["loss"] = [1.0, None, "bad"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics, _ = read_metrics(run / "metrics.jsonl")
    assert metrics.curves["loss"].broken() == [(1, 4), (2, 2)]


def test_of_a_step_that_was_logged_twice_the_last_line_counts(run: Path) -> None:
    steps = [1, 2, 3, 2, 3, 4]
    rows = [{"step": step, "loss": [float(index)]} for index, step in enumerate(steps)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = read_metrics(run / "metrics.jsonl")[0].curves["loss"]
    assert curve.steps.tolist() == [1, 2, 3, 4]
    assert curve.values[:, 0].tolist() == [0, 3, 4, 5]


def test_a_long_log_is_read_in_part_but_no_validation_and_no_break_is_missed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "METRIC_BYTES", 10_000)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, 5001):
            row = {"step": step, "loss": [float("nan") if step == 1234 else 1.0]}
            file.write(json.dumps(row | ({"validation_loss": [2.0]} if step % 500 == 0 else {})) + "\n")
    metrics, problems = read_metrics(run / "metrics.jsonl")
    assert problems == [] and metrics.stride > 5
    assert len(metrics.curves["loss"].steps) < 5000 / metrics.stride + 15
    assert metrics.curves["validation_loss"].steps.tolist() == list(range(500, 5001, 500))
    assert metrics.curves["loss"].broken() == [(0, 1234)]
    assert metrics.step == 5000


def test_what_cannot_be_read_is_told_and_the_rest_is_read(run: Path) -> None:
    (run / "findings.json").write_text("{")
    (run / "selection.json").write_text("[]")
    (run / "evaluations.parquet").write_bytes(b"PAR1 not really")
    (run / "comparisons").mkdir()
    (run / "comparisons" / "a.json").write_text("\xff")
    folder = reading.read_folders([run])[0]
    assert folder.findings is None and folder.selection is None and folder.evaluations is None
    named = ["findings.json", "evaluations.parquet", "selection.json", "a.json"]
    assert all(any(name in problem for problem in folder.problems) for name in named)
    assert len(folder.problems) == 4


def test_a_missing_folder_names_the_nearest(run: Path) -> None:
    with pytest.raises(ValueError, match=r"no run folder .*bcc; the nearest is .*bc$"):
        reading.read_folders([run.parent / "bcc"])


def test_a_folder_of_runs_names_them(run: Path) -> None:
    with pytest.raises(ValueError, match=r"is no run folder: it has no config\.json; it holds the runs bc: name those"):
        reading.read_folders([run.parent])


def test_no_folder_and_a_broken_config_are_one_line(run: Path) -> None:
    with pytest.raises(ValueError, match="no run folder given"):
        reading.read_folders([])
    (run / "config.json").write_text('{"learner": ')
    with pytest.raises(ValueError, match=r"config\.json is not readable as JSON") as error:
        reading.read_folders([run])
    assert "\n" not in str(error.value)


def test_names_tell_runs_apart_and_no_run_comes_twice(tmp_path: Path) -> None:
    for name in ("door/bc", "relocate/bc"):
        write_json(tmp_path / name / "config.json", config(Shape()))
    folders = reading.read_folders([tmp_path / "door/bc", tmp_path / "relocate/bc", tmp_path / "door/../door/bc"])
    assert [folder.name for folder in folders] == ["door/bc", "relocate/bc"]


def test_curves_of_members_that_come_and_go_are_padded(run: Path) -> None:
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": [1.0]}\n{"step": 2, "loss": [1.0, 2.0]}\n')
    curve = read_metrics(run / "metrics.jsonl")[0].curves["loss"]
    np.testing.assert_array_equal(curve.values, [[1, np.nan], [1, 2]])

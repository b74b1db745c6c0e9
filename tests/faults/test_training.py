"""Training that is killed, that runs out of disk, whose numbers blow up, or that finds broken files."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.cli.main import main
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import save
from demonstrably.spec import Environment
from demonstrably.training import checkpoints
from demonstrably.training.files import PARTIAL
from demonstrably.training.run import Run

SMALL = ["--body", "mlp(hidden=(8,))", "--batch-size", "8", "--members", "2"]
OPTIONS = [*SMALL, "--steps", "40", "--checkpoint-every", "10", "--log-every", "5"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight episodes of a fit for CartPole."""
    draws = np.random.default_rng(0)
    observations, actions = draws.normal(size=(100, 4)), draws.integers(0, 2, 92)
    lengths, environment = [12, 7, 20, 9, 1, 13, 10, 20], Environment("CartPole-v1")
    demos = Demonstrations.from_arrays(observations, actions, lengths=lengths, environment=environment)
    return Path(save(demos, tmp_path_factory.mktemp("data") / "pole.hdf5"))


def train(file: Path, out: Path, *rest: str) -> list[str]:
    return ["train", "bc", "--data", str(file), "--out", str(out), *OPTIONS, *rest]


Start = Callable[..., int]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Runs the command line in a child that may be killed; returns its exit status, -9 for SIGKILL."""
    errors = tmp_path_factory.mktemp("errors") / "text"
    script = Path(__file__).with_name("killed_children.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(script)], **pipes) as server:
        assert server.stdin and server.stdout

        def started(arguments: list[str], **kill: Any) -> int:
            request = {"arguments": arguments, "errors": str(errors)} | kill
            print(json.dumps(request), file=server.stdin, flush=True)
            answer = server.stdout.readline()
            assert answer, "the server of children died"
            status = int(answer)
            assert status in (0, -9), errors.read_text()
            return status

        yield started
        server.stdin.close()


def contents(folder: Path) -> dict[str, Any]:
    """All that a run is, but for what a clock says."""
    run = Run(folder)
    clock = ("time", "steps_per_second")
    return {
        "config": run.config,
        "metrics": [{k: v for k, v in line.items() if k not in clock} for line in run.metrics()],
        "evaluations": run.evaluations().to_pylist(),
        "findings": run.read_json("findings.json"),
        "checkpoints": {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("checkpoints/*/*")},
    }


def assert_equal(folder: Path, whole: dict[str, Any]) -> None:
    found = contents(folder)
    assert found["metrics"] == whole["metrics"] and found["evaluations"] == whole["evaluations"]
    assert found["config"] == whole["config"] and found["findings"] == whole["findings"]
    assert found["checkpoints"].keys() == whole["checkpoints"].keys()
    different = [name for name, data in found["checkpoints"].items() if data != whole["checkpoints"][name]]
    assert not different
    assert not list(folder.rglob(f"{PARTIAL}*"))


@pytest.fixture(scope="module")
def whole(file: Path, start: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert start(train(file, folder)) == 0
    found = contents(folder)
    assert len(found["metrics"]) == 8 and len(found["checkpoints"]) == 9
    return found


# --- killed ---

DEATHS = [
    ("half a model written", 1),  # while the first checkpoint is being written
    ("half a model written", 4),  # the training state of the second
    ("before a rename", 5),
    ("after a rename", 5),
    ("before older ones are trimmed", 2),
    ("half a line written", 3),
]


@pytest.mark.parametrize(("place", "count"), DEATHS)
def test_killed_at_a_bad_moment_and_resumed(
    file: Path, start: Start, whole: dict[str, Any], tmp_path: Path, place: str, count: int
) -> None:
    folder = tmp_path / "run"
    assert start(train(file, folder), at=place, count=count) == -9
    assert len(Run(folder).checkpoints) < 4
    for step in Run(folder).checkpoints:  # what is there is whole
        checkpoints.load_policy(Run(folder).checkpoint(step))
    assert start(train(file, folder, "--resume")) == 0
    assert_equal(folder, whole)


@pytest.mark.slow
def test_killed_at_random_moments_again_and_again(
    file: Path, start: Start, whole: dict[str, Any], tmp_path: Path
) -> None:
    """Moments within what a whole run takes here; a run that ended before its moment is held against the whole one."""
    began = time.monotonic()
    assert start(train(file, tmp_path / "timed")) == 0
    duration, moments = time.monotonic() - began, random.Random(0)
    kills, folder = 0, tmp_path / "run 0"
    for attempt in range(60):
        resume = ["--resume"] if (folder / "config.json").exists() else []
        if kills >= 12:
            assert start(train(file, folder, *resume)) == 0
            break
        if start(train(file, folder, *resume), after=moments.uniform(0.05, 1.0) * duration) == -9:
            kills += 1
        else:  # it was quicker than its moment
            assert_equal(folder, whole)
            folder = tmp_path / f"run {attempt + 1}"
    assert kills == 12
    assert_equal(folder, whole)


def test_killed_while_the_folder_is_made(file: Path, start: Start, whole: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert start(train(file, folder), at="before a rename", count=1) == -9
    assert not (folder / "config.json").exists()
    assert start(train(file, folder)) == 0
    assert_equal(folder, whole)


def test_killed_between_a_checkpoint_and_its_rollouts(file: Path, start: Start, tmp_path: Path) -> None:
    """With rollouts and an early stop, both taken up where they were left."""
    # What does not learn gets no better: the run stops by itself at the third checkpoint.
    rest = ["--rollouts", "2", "--workers", "0", "--stop-early", "return", "--patience", "2", "--learning-rate", "0"]
    assert start(train(file, tmp_path / "whole", *rest)) == 0
    expected = contents(tmp_path / "whole")
    assert Run(tmp_path / "whole").checkpoints == [10, 20, 30]
    deaths = [("before a checkpoint's rollouts", 2), ("before a checkpoint's rollouts", 3), ("half a line written", 5)]
    for place, count in deaths:
        folder = tmp_path / f"{place} {count}"
        assert start(train(file, folder, *rest), at=place, count=count) == -9
        assert Run(folder).checkpoints[-1] == (30 if count == 3 else 20)
        assert start(train(file, folder, *rest, "--resume")) == 0
        assert_equal(folder, expected)


# --- the disk ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk, or the same one with another size. Skips where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(kilobytes: int) -> Path:
        again = ["-o", f"remount,size={kilobytes}k"] if os.path.ismount(place) else ["-o", f"size={kilobytes}k"]
        done = subprocess.run(["mount", "-t", "tmpfs", *again, "none", str(place)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        return place

    yield mounted
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The error, which is the last line on standard error and the only one that is no note."""
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("demonstrably: ")]
    assert len(lines) == 1 and shown.err.splitlines()[-1] == lines[0], shown.err
    assert "Traceback" not in shown.err and shown.out == ""
    return lines[0]


WIDE = ["--body", "mlp(hidden=(100, 100))"]  # 90 kB of weights in a checkpoint, and 180 kB beside them


def test_a_full_disk_leaves_the_checkpoints_before_it_whole(
    file: Path, disk: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = disk(900) / "run"
    arguments = train(file, folder, *WIDE)
    assert main(arguments) == 2
    line = one_line(capsys)
    assert "not written" in line and "No space left on device" in line and str(folder) in line
    run = Run(folder)
    assert run.checkpoints and run.checkpoints[-1] < 40
    for step in run.checkpoints:
        assert run.policy(step).members == 2
    assert not list(folder.rglob(f"{PARTIAL}*"))

    disk(20_000)
    assert main([*arguments, "--resume"]) == 0
    assert main(train(file, tmp_path / "whole", *WIDE)) == 0
    assert_equal(folder, contents(tmp_path / "whole"))


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 6])
def test_a_write_that_fails_leaves_the_checkpoint_before_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: int
) -> None:
    """As above where no disk can be mounted: the n-th file of weights is cut short, and the library says so."""
    from safetensors import SafetensorError

    calls, save_file = [0], checkpoints.save_file

    def cut(tensors: dict[str, Any], path: Path) -> None:
        calls[0] += 1
        save_file(tensors, path)
        if calls[0] == failing:
            os.truncate(path, 100)
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoints, "save_file", cut)
    assert main(train(file, tmp_path / "run")) == 2
    line, step = one_line(capsys), 10 * ((failing + 1) // 2)
    assert f"run/checkpoints/{step:06d}: not written" in line and "No space left on device" in line
    run = Run(tmp_path / "run")
    assert run.checkpoints == list(range(10, step, 10)) and not list(run.path.rglob(f"{PARTIAL}*"))
    monkeypatch.undo()
    assert main(train(file, tmp_path / "run", "--resume")) == 0 and run.checkpoints == [10, 20, 30, 40]


def test_metrics_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    run = Run.create(tmp_path, {"learner": "bc"})
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    message = r"metrics\.jsonl: not written \(No space left on device\); the run can be resumed"
    with pytest.raises(OSError, match=message):
        run.log({"step": 1})


def test_a_folder_that_cannot_be_written(
    file: Path, disk: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    place = disk(500)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    assert main(train(file, place / "run")) == 2
    assert "Read-only file system" in one_line(capsys)


def test_a_folder_under_a_file(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert main(train(file, tmp_path / "file" / "run")) == 2
    assert "file/run" in one_line(capsys)
    assert main(train(file, tmp_path / "file")) == 2
    assert "is a file: give a folder for the run" in one_line(capsys)


# --- numbers that blow up ---


def test_a_loss_that_is_not_finite_stops_the_run(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second member's weights overflow; the first checkpoint comes before it shows."""
    folder = tmp_path / "run"
    rest = ["--learning-rate", "1e-3", "3e37", "--checkpoint-every", "1", "--log-every", "1"]
    assert main(train(file, folder, *rest)) == 2
    line = one_line(capsys)
    assert "of member 1" in line or "weights are not finite" in line
    assert " step " in line and "body.layers.0.weight" in line and "Try a lower learning rate" in line
    run = Run(folder)
    for step in run.checkpoints:
        policy = run.policy(step)
        assert all(np.isfinite(p.numpy(force=True)).all() for p in policy.actor.parameters())
    assert all(np.isfinite(line["loss"]).all() for line in run.metrics())


def test_weights_that_the_last_update_broke_are_not_saved(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(file, tmp_path / "run", "--steps", "1", "--learning-rate", "1e38")) == 2
    assert "weights are not finite after step 1: actor/body.layers.0.weight" in one_line(capsys)
    assert Run(tmp_path / "run").checkpoints == []


# --- broken files ---


def test_a_checkpoint_that_was_cut_short_is_named(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train(file, tmp_path / "run")) == 0
    capsys.readouterr()
    for name in ("model.safetensors", "training.safetensors"):
        path = tmp_path / "run" / "checkpoints" / "000040" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        before = contents(tmp_path / "run")
        assert main(train(file, tmp_path / "run", "--resume", "--steps", "50")) == 2
        line = one_line(capsys)
        assert f"000040/{name} cannot be read" in line and "take another checkpoint" in line
        assert contents(tmp_path / "run") == before
        path.write_bytes(whole)
    assert main(train(file, tmp_path / "run", "--resume", "--steps", "50")) == 0


def test_resuming_a_folder_that_is_no_run(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes").mkdir()
    for folder in (tmp_path / "notes", tmp_path / "nowhere"):
        assert main(train(file, folder, "--resume")) == 2
        assert f"{folder} is not a run folder: it holds no config.json" in one_line(capsys)
    assert list((tmp_path / "notes").iterdir()) == [] and not (tmp_path / "nowhere").exists()


def test_beginning_where_a_run_is(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train(file, tmp_path / "run")) == 0
    capsys.readouterr()
    before = contents(tmp_path / "run")
    assert main(train(file, tmp_path / "run")) == 2
    assert "holds a run already: give --resume to go on with it, or another --out" in one_line(capsys)
    assert contents(tmp_path / "run") == before


def test_resuming_with_other_options(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(train(file, tmp_path / "run")) == 0
    capsys.readouterr()
    for rest, message in (
        (["--batch-size", "9"], "was begun with batch_size 8, and this is 9: resume it with the same options"),
        (["--seed", "1"], "was begun with seed 0, and this is 1"),
        (["--episodes", "7"], "was begun on other episodes"),
    ):
        assert main(train(file, tmp_path / "run", "--resume", *rest)) == 2
        assert message in one_line(capsys)

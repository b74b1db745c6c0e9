"""`demonstrably train` from the words to the run folder, and its mistakes in one line each."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from demonstrably.cli import progress
from demonstrably.cli import train as train_command
from demonstrably.cli.main import main
from demonstrably.cli.progress import Bar
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import save
from demonstrably.nets.heads import TanhGaussian
from demonstrably.spec import Environment
from demonstrably.training import checkpoints
from demonstrably.training.run import Run

SMALL = ["--body", "mlp(hidden=(8,))", "--batch-size", "8"]
SHORT = [*SMALL, "--steps", "20", "--checkpoint-every", "10", "--log-every", "5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def reach(folder: Path) -> str:
    """A continuous task of two keys, in no environment."""
    draws = np.random.default_rng(0)
    lengths = [8, 12, 5, 9, 11, 7, 10, 6]
    observations = {"state": draws.normal(size=(68, 3)), "goal": draws.normal(size=(68, 2))}
    demos = Demonstrations.from_arrays(
        observations,
        np.tanh(draws.normal(size=(68, 2))).astype(np.float32),
        lengths=lengths,
        table={"quality": ["good", "poor"] * 4},
        masks={"few": [True] * 3 + [False] * 5},
    )
    return str(save(demos, folder / "reach.hdf5"))


@pytest.fixture(scope="module")
def pole(folder: Path) -> str:
    """Episodes that fit CartPole, whose file names it."""
    draws = np.random.default_rng(0)
    observations, actions = draws.normal(size=(64, 4)), draws.integers(0, 2, 60)
    environment = Environment("CartPole-v1")
    demos = Demonstrations.from_arrays(observations, actions, lengths=[15] * 4, environment=environment)
    return str(save(demos, folder / "pole.hdf5"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def train(file: str, out: Path, *rest: str, learner: str = "bc") -> int:
    return main(["train", learner, "--data", file, "--out", str(out), *SHORT, *rest])


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one JSON document on standard output."""
    return json.loads(capsys.readouterr().out)


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("demonstrably: error: ")
    return shown.err.removeprefix("demonstrably: error: ").rstrip()


# --- a run ---


def test_end_to_end(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(reach, out) == 0
    shown = capsys.readouterr()
    assert "8 episodes, 68 transitions" in shown.err and f"20 steps on cpu, into {out}" in shown.err
    assert f"2 checkpoints in {out}" in shown.out and f"next: demonstrably select {out}" in shown.out
    assert "validation loss by member: " in shown.out
    names = {path.name.split(".")[0] for path in out.iterdir()}
    assert names == {"config", "findings", "metrics", "events", "checkpoints"}
    run = Run(out)
    assert run.checkpoints == [10, 20] and run.config["data"]["path"] == reach
    assert run.policy().members == 1


def test_json_is_one_document(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(reach, out, "--members", "2", "--json") == 0
    found = answer(capsys)
    assert found["run"] == str(out) and found["checkpoints"] == [10, 20]
    assert len(found["loss"]) == len(found["validation_loss"]) == 2 and found["steps_per_second"] > 0
    assert found["validation_loss"] == Run(out).metrics()[-1]["validation_loss"]


def test_the_other_learner(reach: str, out: Path) -> None:
    rest = ["--body", "lstm(hidden=6, layers=1)", "--window", "4"]
    assert train(reach, out, *rest, learner="bc-rnn") == 0
    assert Run(out).config["fields"]["body"] == "lstm(hidden=6, layers=1)"
    assert Run(out).config["fields"]["window"] == 4


def test_parts_are_written_in_short(reach: str, out: Path) -> None:
    assert train(reach, out, "--head", "tanh-gaussian", "--vision", "small-cnn(features=4)") == 0
    fields = Run(out).config["fields"]
    assert (fields["head"], fields["vision"]) == ("tanh-gaussian", "small-cnn(features=4)")
    assert Run(out).policy().actor.head == TanhGaussian()


def test_the_same_words_give_the_same_run(reach: str, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert train(reach, tmp_path / name, "--seed", seed) == 0
        weights.append((tmp_path / name / "checkpoints" / "000020" / checkpoints.MODEL).read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_sweep_of_learning_rates(reach: str, tmp_path: Path) -> None:
    assert train(reach, tmp_path / "many", "--members", "2", "--learning-rate", "1e-3", "0", "--average", "0") == 0
    assert train(reach, tmp_path / "one", "--seed", "1", "--learning-rate", "0", "--average", "0") == 0
    assert Run(tmp_path / "many").config["fields"]["learning_rate"] == [1e-3, 0.0]
    many, one = (Run(tmp_path / name).policy().actor for name in ("many", "one"))
    torch.testing.assert_close(many.last.weight[1:], one.last.weight)
    assert not torch.equal(many.body.layers[0].weight[0], many.body.layers[0].weight[1])


def test_going_on(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(reach, out) == 0
    assert train(reach, out, "--steps", "40", "--resume") == 0
    assert Run(out).checkpoints == [10, 20, 30, 40]
    capsys.readouterr()
    assert train(reach, out, "--steps", "40", "--resume", "--json") == 0  # done already
    assert answer(capsys)["checkpoints"] == [10, 20, 30, 40]


def test_the_first_updates_load_nothing_that_they_do_not_need(reach: str, out: Path) -> None:
    """What plays episodes, draws curves or compiles comes later, or the first step would."""
    code = (
        "import sys\n"
        "from demonstrably.cli.main import main\n"
        "from demonstrably.training.events import Events\n"
        "def loaded(*_):\n"
        "    print(*{'gymnasium', 'tensorboard', 'torch._dynamo', 'scipy', 'plotly'} & set(sys.modules))\n"
        "    raise SystemExit(0)\n"
        "Events.write = loaded\n"
        f"main(['train', 'bc', '--data', {reach!r}, '--out', {str(out)!r}, '--steps', '2', '--log-every', '1'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "" and (out / "metrics.jsonl").exists()


# --- data ---


@pytest.mark.parametrize(
    ("rest", "episodes", "transitions", "keys"),
    [
        ([], 8, 68, ["goal", "state"]),
        (["--keys", "state"], 8, 68, ["state"]),
        (["--keys", "state", "goal"], 8, 68, ["state", "goal"]),
        (["--episodes", "3"], 3, 25, ["goal", "state"]),
        (["--episodes", "300"], 8, 68, ["goal", "state"]),
        (["--where", "few"], 3, 25, ["goal", "state"]),
        (["--where", "quality == 'good' and length > 5"], 3, 29, ["goal", "state"]),
        (["--where", "quality == 'good'", "--episodes", "1"], 1, 8, ["goal", "state"]),
    ],
)
def test_what_is_learned_from(
    reach: str, out: Path, rest: list[str], episodes: int, transitions: int, keys: list[str]
) -> None:
    assert train(reach, out, *rest) == 0
    data = Run(out).config["data"]
    assert (data["episodes"], data["transitions"], data["keys"]) == (episodes, transitions, keys)
    assert list(Run(out).spec.observations) == keys


def test_held_out_episodes(reach: str, out: Path) -> None:
    assert train(reach, out, "--validation", "0.5", "--stratify", "quality") == 0
    held_out = Run(out).config["data"]["validation"]
    assert len(held_out) == 4 and sum(episode % 2 for episode in held_out) == 2


def test_one_episode_holds_none_out(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(reach, out, "--episodes", "1", "--json") == 0
    assert "validation_loss" not in answer(capsys)


# --- presets ---


def test_a_preset_gives_the_defaults_of_the_rest(reach: str, tmp_path: Path) -> None:
    assert train(reach, tmp_path / "a", "--preset", "robomimic") == 0
    assert train(reach, tmp_path / "b", "--normalize", "--preset=robomimic") == 0
    first, second = (Run(tmp_path / name).config["fields"] for name in ("a", "b"))
    assert first["normalize"] is False and first["body"] == "mlp(hidden=(8,))" and first["learning_rate"] == 1e-4
    assert second == first | {"normalize": True}


# --- rollouts and early stops ---


def test_episodes_at_every_checkpoint(pole: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--members", "2", "--rollouts", "3", "--workers", "0", "--success", "return >= 1", "--json"]
    assert train(pole, out, *rest) == 0
    score = answer(capsys)["score"]
    assert score["success"]["count"] == 6 and score["return"]["episodes"] == 6 and len(score["members"]) == 2
    rows = Run(out).evaluations().to_pylist()
    assert [(r["checkpoint"], r["member"]) for r in rows[::3]] == [(10, 0), (10, 1), (20, 0), (20, 1)]
    assert {r["purpose"] for r in rows} == {"train"} and all(r["success"] and r["length"] > 0 for r in rows)
    assert len({r["seed"] for r in rows}) == 3 and min(r["seed"] for r in rows) >= 1_000_000_000


def test_an_environment_in_place_of_the_files(
    reach: str, pole: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(pole, out, "--env", "gymnasium:CartPole-v1") == 0
    assert Run(out).spec.environment == Environment("gymnasium:CartPole-v1")
    capsys.readouterr()
    for file, rest, message in (
        (reach, [], "--rollouts needs an environment, and the file names none: give --env ID"),
        (reach, ["--env", "CartPole-v1"], "the data does not fit CartPole-v1"),
        (pole, ["--env", "CartPol-v1"], "no environment 'CartPol-v1' is registered; did you mean CartPole-v1"),
    ):
        for rollouts in (["--rollouts", "1"], []) if rest else (["--rollouts", "1"],):
            assert train(file, out.with_name("other"), *rollouts, *rest) == 2
            assert message in mistake(capsys)
    assert not out.with_name("other").exists()


def test_an_early_stop_by_the_validation_loss(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What does not learn is no better at the second checkpoint, and after the third patience ends."""
    stop = ["--learning-rate", "0", "--steps", "100", "--stop-early", "validation-loss", "--patience", "2"]
    assert train(reach, out, *stop) == 0
    expected = "stopped early at step 30: no better validation-loss for 2 checkpoints"
    assert expected in capsys.readouterr().err and Run(out).checkpoints == [10, 20, 30]
    assert train(reach, out, *stop, "--resume") == 0  # stopped it stays
    assert expected in capsys.readouterr().err and Run(out).checkpoints == [10, 20, 30]
    assert train(reach, out, "--learning-rate", "0", "--steps", "50", "--resume") == 0
    assert Run(out).checkpoints == [10, 20, 30, 40, 50]


def test_an_early_stop_by_episodes(pole: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play = ["--learning-rate", "0", "--steps", "100", "--rollouts", "2", "--workers", "0", "--patience", "1"]
    assert train(pole, out, *play, "--stop-early", "success", "--success", "return >= 1") == 0
    assert "stopped early at step 20: no better success for 1 checkpoints" in capsys.readouterr().err
    assert train(pole, out.with_name("other"), *play, "--stop-early", "success") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "gives no success signal to stop early by: use --stop-early return" in line


# --- mistakes ---


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (["--lerning-rate", "3"], "unknown flag --lerning-rate for `demonstrably train bc`; did you mean --learning-"),
        (["--window", "3"], "unknown flag --window for `demonstrably train bc`"),
        (["--head", "gausian-mixture"], "did you mean gaussian-mixture?"),
        (["--head", "categorical"], "Categorical needs discrete actions"),
        (["--body", "mlp(hidden=8)"], "hidden cannot be 8; write it as mlp(hidden=(1024, 1024))"),
        (["--body", "lstm"], "give one of mlp"),
        (["--preset", "robomimc"], "bc has no preset 'robomimc'; did you mean robomimic?"),
        (["--members", "0"], "members is 0: give at least 1"),
        (["--members", "two"], "--members"),
        (["--members", "3", "--learning-rate", "1e-3", "1e-4"], "learning_rate has 2 values for 3 members"),
        (["--learning-rate", "-1e-3"], "learning_rate is -0.001: give 0 or above"),
        (["--gradient-clip", "0"], "gradient_clip is 0.0: give a norm above 0"),
        (["--batch-size", "0"], "batch_size is 0: give at least 1"),
        (["--steps", "0"], "steps is 0: give at least 1"),
        (["--log-every", "0"], "log_every is 0"),
        (["--checkpoint-every", "0"], "checkpoint_every is 0"),
        (["--validation", "1"], "validation is 1.0: give a share of the episodes in [0, 1)"),
        (["--rollouts", "-1"], "--rollouts must be at least 0"),
        (["--patience", "0"], "--patience at least 1"),
        (["--stop-early", "success"], "--stop-early success needs episodes to look at: give --rollouts 10"),
        (["--stop-early", "validation-loss", "--validation", "0"], "needs held-out episodes"),
        (["--stop-early", "validation-loss", "--episodes", "1"], "needs held-out episodes"),
        (["--stop-early", "loss"], "validation-loss"),
        (["--keys", "stat"], "no observation key 'stat'"),
        (["--where", "fw"], "no mask or column 'fw'"),
        (["--where", "length > 1000"], "selects none of the 8 episodes"),
        (["--episodes", "0"], "--episodes is 0: give at least 1"),
        (["--steps", "1e5"], "--steps: '1e5' is not a whole number"),
        (["--validation", "some"], "--validation: 'some' is not a number"),
        (["--stratify", "qualty"], "no column 'qualty'"),
        (["--device", "tpu9"], "--device tpu9 cannot be used here"),
        (["--device", "meta"], "--device meta cannot be used here"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    reach: str, out: Path, capsys: pytest.CaptureFixture[str], rest: list[str], message: str
) -> None:
    assert train(reach, out, *rest) == 2
    assert message in mistake(capsys)
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_device_that_is_not_there(reach: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(reach, out, "--device", "cuda") == 2
    assert "--device cuda cannot be used here" in mistake(capsys) and not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`demonstrably train` needs a learner first: airl, bc, bc-rnn"),
        (["--data", "x"], "`demonstrably train` needs a learner first: airl, bc, bc-rnn"),
        (["bcrnn"], "`demonstrably train` knows no 'bcrnn'; did you mean bc-rnn?"),
        (["bc"], "needs --out PATH"),
        (["bc", "--data", "x"], "needs --out PATH"),
        (["bc", "--out", "x"], "give a file of them with --data FILE"),
        (["bc", "--out", "x", "--data", "nowhere.hdf5"], "nowhere.hdf5: no such file"),
        (["bc-rnn", "--out", "x", "--data", "y", "--window", "0"], "window 0: give at least 1 step"),
        (["bc", "--out", "x", "--data", "y", "--preset"], "--preset"),
    ],
)
def test_words_that_are_missing(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words]) == 2
    assert message in mistake(capsys)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_mistakes_are_told_whatever_the_terminal_can_show(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame around the parser's own text depends on it."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    for words, message in (
        (["--data", "x"], "`demonstrably train bc` needs --out PATH; see `demonstrably train bc --help`"),
        (["--out", "x", "--data", "y", "--head", "gausian-mixture"], "did you mean gaussian-mixture?"),
        (["--out", "x", "--data", "y", "--members", "two"], "--members"),
    ):
        with pytest.raises(ValueError) as caught:
            train_command.main(["bc", *words])
        assert message in str(caught.value) and "\n" not in str(caught.value)


def test_help_lists_learners_parts_and_presets(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        ([], ["bc-rnn", "Presets: robomimic, robomimic-image"]),
        (["bc-rnn"], ["--window", "lstm", "transformer", "robomimic-transformer", "Run folder to make"]),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["train", *words, "--help"])
        shown = capsys.readouterr()
        assert stop.value.code == 0 and shown.err == ""
        assert all(text in shown.out for text in expected)


# --- progress ---


def test_a_line_a_minute_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Bar("train") as bar:
        for done in range(1, 8):
            now[0] += 25.0
            bar.update(done, 10, f"loss {done}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train: 3 of 10, about 175 s left  loss 3", "train: 6 of 10, about 100 s left  loss 6"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Bar("train") as bar:
        bar.update(3, 10, "loss 1.234")
    shown = capsys.readouterr()
    assert "train" in shown.err and "3/10" in shown.err and "loss 1.234" in shown.err and shown.out == ""


def test_work_of_no_steps_at_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with Bar("train") as bar:
        bar.update(0, 0)
    assert capsys.readouterr().err == "train: 0 of 0, about 0 s left\n"

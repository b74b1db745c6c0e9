"""`demonstrably reward` and `train --rewards-from`: the words, the files, and mistakes in one line each."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from demonstrably.cli.main import main
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load, save
from demonstrably.evaluation import reward_report
from demonstrably.nets.mlp import MLP
from demonstrably.training.run import Run

from ..training.reward_runs import trained, walks

WHOLE = reward_report.reward_report
GRADED = np.linspace(0, 1, 24).tolist()


@pytest.fixture(autouse=True)
def few_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_report, "reward_report", partial(WHOLE, repetitions=20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rewards")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return trained(folder / "run")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return save(walks(GRADED), folder / "walks.hdf5")


def reward(run: Path, data: Path, *words: str) -> int:
    return main(["reward", str(run), "--data", str(data), *words])


def test_the_table_and_what_it_means(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reward(run, data) == 0
    out, err = capsys.readouterr()
    assert "checkpoint 4, the last (there is no selection); 2 member(s)" in err
    lines = out.splitlines()
    assert lines[0].split() == ["episode", "length", "true", "return", "recovered", "return"]
    assert lines[20].startswith("demo_19 ") and lines[21] == "... and 4 more"
    assert "Spearman of episode returns: " in out and "24 episodes; members" in out
    assert "Distance of steps, shaping taken out: " in out and "potential shaping" in out and "nan" not in out


def test_json(run: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reward(run, data, "--json", "--checkpoint", "2", "--episodes", "5") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoint"] == 2 and len(found["episodes"]) == 5 and "it takes" in found["distance"]["reason"]
    assert len(found["spearman"]["members"]) == 2


def test_the_selected_checkpoint_is_taken(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demonstrably.evaluation.select_run.selected", lambda _: (2, 1))
    assert reward(run, data, "--json") == 0
    out, err = capsys.readouterr()
    assert "checkpoint 2, as selected" in err and json.loads(out)["checkpoint"] == 2


def test_a_relabelled_file(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new.hdf5"
    assert reward(run, data, "--out", str(out), "--json", "--episodes", "3") == 0
    told = json.loads(capsys.readouterr().out)["episodes"]
    demos, before = load(out), load(data)
    means = [np.mean(episode["recovered"]) for episode in told]
    np.testing.assert_allclose(demos.table.column("return").to_numpy(), means, rtol=1e-5)
    np.testing.assert_array_equal(demos.actions, before.actions[:30])
    assert reward(run, data, "--out", str(out)) == 2
    assert "exists already" in capsys.readouterr().err


def test_steps_that_cannot_be_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = walks(GRADED[:4])
    rows = np.delete(demos.observations["place"], np.arange(4) * 11 + 10, 0)
    blind = Demonstrations.from_arrays({"place": rows}, demos.actions, demos.rewards, lengths=[10] * 4)
    data = save(blind, tmp_path / "blind.hdf5")
    assert reward(run, data) == 0
    assert "4 steps without a recorded following observation" in capsys.readouterr().out
    assert reward(run, data, "--out", str(tmp_path / "new.hdf5")) == 2
    assert "4 episodes of 4 (demo_0, demo_1, demo_2, demo_3) end without" in capsys.readouterr().err
    assert not (tmp_path / "new.hdf5").exists()


def test_alike_episodes_and_none_rewarded(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = walks([0.0] * 4, rewarded=False)
    assert reward(run, save(demos, tmp_path / "plain.hdf5")) == 0
    out = capsys.readouterr().out
    assert "no true rewards" in out and "Distance" not in out and out.splitlines()[1].split()[2] == "none"
    alike = Demonstrations.from_arrays(demos.observations, demos.actions, np.ones(40, np.float32), lengths=[10] * 4)
    assert reward(run, save(alike, tmp_path / "alike.hdf5")) == 0
    out = capsys.readouterr().out
    assert "undefined, for the true returns are all alike (10)" in out and "nan" not in out


def test_mistakes_are_one_line(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Demonstrations.from_arrays({"state": np.zeros((5, 3), np.float32)}, [0, 1, 0, 1])
    cases = (
        (trained(tmp_path / "bc", "bc", steps=2), data, [], "bc learns no reward"),
        (run, save(other, tmp_path / "other.hdf5"), [], "no key 'place' (they have state); actions are 2 choices"),
        (run, tmp_path / "none.hdf5", [], "no such file"),
        (tmp_path / "none", data, [], "not a run folder"),
        (run, data, ["--checkpoint", "3"], "no checkpoint 3"),
        (run, data, ["--where", "length > 99"], "selects none"),
        (run, data, ["--episodes", "0"], "error: --episodes 0: give at least 1"),
        (run, data, ["--discount", "1"], "error: --discount 1.0: give 0 or above, and below 1"),
    )
    for where, file, words, message in cases:
        assert reward(where, file, *words) == 2
        out, err = capsys.readouterr()
        assert not out and message in err.splitlines()[-1]


# --- learning by trial on it ---

PENDULUM = [
    "--env",
    "Pendulum-v1",
    "--workers",
    "0",
    "--batch-size",
    "4",
    "--body",
    "mlp(hidden=(4,))",
    "--warm-up",
    "4",
]


@pytest.fixture(scope="module")
def swing(folder: Path) -> Path:
    """A run on demonstrations that fit Pendulum-v1."""
    from demonstrably.learners.iq_learn import IQLearn
    from demonstrably.learners.sac import SAC
    from demonstrably.spec import Continuous
    from demonstrably.training.session import Plan, Session

    draws = np.random.default_rng(0)
    states, torques = draws.uniform(-1, 1, (22, 3)), draws.uniform(-2, 2, (20, 1)).astype(np.float32)
    demos = Demonstrations.from_arrays({"state": states}, torques, lengths=[10, 10], action=Continuous((-2.0,), (2.0,)))
    learner = IQLearn(batch_size=8, generator=SAC(critics=1, body=MLP((4,))))
    for _ in Session.open(learner, demos, Plan(4, checkpoint_every=2, validation=0.0), folder / "swing").train():
        pass
    return folder / "swing"


def test_trial_on_a_learned_reward(swing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "sac", *PENDULUM, "--rewards-from", str(swing), "--out", str(tmp_path / "sac"), "--json"]
    assert main([*words, "--steps", "2"]) == 0
    assert "reward of" in capsys.readouterr().err
    record = Run(tmp_path / "sac").config["rewards_from"]
    assert (record["run"], record["checkpoint"]) == (str(swing), 4)
    assert main([*words, "--steps", "3", "--resume"]) == 0
    assert "checkpoint 4, as asked" in capsys.readouterr().err
    without = [word for word in words if word not in ("--rewards-from", str(swing))]
    assert main([*without, "--steps", "4", "--resume"]) == 2
    told = f"was begun on the reward of {swing} (checkpoint 4, sha256:"
    assert told in (found := capsys.readouterr().err) and "and this is on the environment's rewards" in found


def test_the_reward_of_another_task(swing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rewards-from", str(swing), "--out", str(tmp_path / "pole")]
    assert main(["train", "soft-q", "--env", "CartPole-v1", *words]) == 2
    found = capsys.readouterr().err
    assert "the reward does not fit CartPole-v1: observation 'state': the reward has (3,)" in found
    assert "give --rewards-from a run of this task" in found and not (tmp_path / "pole").exists()


def test_a_learner_that_reads_no_rewards(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(data), "--keys", "place", "--rewards-from", str(run), "--out", str(tmp_path / "bc")]
    assert main(["train", "bc", *words]) == 2
    assert "bc reads no rewards" in capsys.readouterr().err

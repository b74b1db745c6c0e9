"""`demonstrably select` on a small real run, and with an operator on standard input."""

import io
import json
import shutil
import sys

import numpy as np
import pytest

from demonstrably.cli.main import main
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Discrete, Environment
from demonstrably.training.session import Plan, Session


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two members, two checkpoints, of a net that learned from two made-up episodes of CartPole."""
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(42, 4)).astype(np.float32)
    actions = (observations[np.r_[0:20, 21:41], 2] > 0).astype(np.int64)
    place = Environment("CartPole-v1")
    demos = Demonstrations.from_arrays(
        {"flat": observations}, actions, lengths=[20, 20], action=Discrete(2), environment=place
    )
    folder = tmp_path_factory.mktemp("runs") / "bc"
    plan = Plan(4, members=2, checkpoint_every=2, validation=0.0)
    for _ in Session.open(BC(batch_size=8, body=MLP((8,))), demos, plan, folder).train():
        pass
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "bc")


def select(run, *words):
    return main(["select", str(run), *words, "--success", "return >= 20", "--workers", "0"])


def test_story_and_table(run, capsys):
    assert select(run, "--rollouts", "24") == 0
    out, _ = capsys.readouterr()
    assert out.startswith("selected step ")
    assert "on fresh seeds" in out and "quote this one" in out and "naive maximum" in out
    assert out.count("step 2, member 0") >= 1 and "episodes" in out
    assert (run / "selection.json").exists()


def test_json_and_going_on(run, capsys):
    assert select(run, "--rollouts", "24", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((run / "selection.json").read_text())
    assert set(record["score"]) == {"success", "return", "members", "spread", "level"}
    assert (record["checkpoint"], record["member"]) in {(2, 0), (2, 1), (4, 0), (4, 1)}
    assert select(run, "--rollouts", "24", "--json") == 0
    assert json.loads(capsys.readouterr().out) == record
    assert select(run, "--rollouts", "60", "--json") == 0
    assert json.loads(capsys.readouterr().out)["spent"] > record["spent"]


def test_options_reach_the_selection(run, capsys):
    words = ["--member", "1", "--allocation", "thompson", "--delta", "0.1", "--epsilon", "0.2", "--first-seed", "7"]
    assert select(run, "--rollouts", "20", "--json", *words) == 0
    record = json.loads(capsys.readouterr().out)
    assert [arm["label"] for arm in record["arms"]] == ["step 2, member 1", "step 4, member 1"]
    assert (record["allocation"], record["delta"], record["epsilon"]) == ("top_two_thompson", 0.1, 0.2)
    assert record["rounds"][0]["seeds"][0] == 7


def test_returns_and_clipping(run, capsys):
    words = ["select", str(run), "--rollouts", "20", "--return-low", "0", "--return-high", "9", "--workers", "0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "return is measured from 0 to 9" in out and "lay outside the bounds" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rollouts", "5"], "5 rollouts for 4 arms: give at least 11"),
        (["--rollouts", "20", "--checkpoint", "3"], "has no checkpoint 3: it has 2, 4"),
        (["--rollouts", "20", "--delta", "2"], "delta 2.0: must be between 0 and 1"),
        (["--rollout", "20"], "did you mean --rollouts?"),
        (["--rollouts", "20", "--env", "Nowhere-v0"], "Nowhere"),
        (["--rollouts", "20", "--env-import", "x"], "give its id with --env"),
        (["--rollouts", "20", "--manual", "--first-seed", "3"], "--manual plays nothing"),
    ],
)
def test_mistakes_are_one_line(run, capsys, words, message):
    assert select(run, *words) == 2
    out, err = capsys.readouterr()
    assert not out and message in err and err.count("\n") == 1
    assert not (run / "selection.json").exists()


def test_an_operator_stops_and_goes_on(run, capsys, monkeypatch):
    words = ["select", str(run), "--rollouts", "20", "--manual", "--json"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\nn\nu\ny\n0.5\nq\n"))
    assert main(words) == 130
    out, err = capsys.readouterr()
    assert not out and "3 trials are kept" in err and "step" not in err.replace(str(run), "")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    assert main(words) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert record["score"] is None and record["scale"]["measure"] == "score"
    assert "A was step " in err
    assert len((run / "manual.jsonl").read_text().splitlines()) == 1 + record["spent"] + 2  # one taken back

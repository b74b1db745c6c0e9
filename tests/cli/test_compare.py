"""`demonstrably compare` on small real runs."""

import json
import shutil

import numpy as np
import pytest

from demonstrably.cli.main import main
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation.compare import Comparison
from demonstrably.learners.bc import BC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Discrete, Environment
from demonstrably.training.session import Plan, Session


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of two members and one checkpoint on CartPole: one balances, one pushes the wrong way."""
    folders = []
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(82, 4)).astype(np.float32)
    right = (observations[np.r_[0:40, 41:81], 2] + 0.5 * observations[np.r_[0:40, 41:81], 3] > 0).astype(np.int64)
    for name, actions in (("good", right), ("bad", 1 - right)):
        demos = Demonstrations.from_arrays(
            {"flat": observations},
            actions,
            lengths=[40, 40],
            action=Discrete(2),
            environment=Environment("CartPole-v1"),
        )
        folders.append(tmp_path_factory.mktemp("runs") / name)
        learner = BC(batch_size=32, learning_rate=1e-2, body=MLP((16,)))
        for _ in Session.open(learner, demos, Plan(60, members=2, validation=0.0), folders[-1]).train():
            pass
    return folders


@pytest.fixture
def runs(trained, tmp_path):
    return [shutil.copytree(folder, tmp_path / folder.name) for folder in trained]


def compare(runs, *words):
    bounds = ["--return-low", "0", "--return-high", "60", "--horizon", "60", "--workers", "0"]
    return main(["compare", *map(str, runs), *bounds, *words])


def test_verdict_in_words(runs, capsys):
    assert compare(runs, "--episodes", "30") == 0
    out = capsys.readouterr().out
    assert out.startswith("return on 30 shared seeds; return is measured from 0 to 60")
    assert "good is better than bad" in out and "mean of 2 members" in out
    assert "probability 1.00" in out


def test_json_adding_episodes(runs, capsys):
    assert compare(runs, "--episodes", "10", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert [score["return"]["episodes"] for score in first["scores"]] == [20, 20]
    assert Comparison.from_dict(first["comparison"]).compared[0].name == "good"
    assert compare(runs, "--episodes", "20", "--json") == 0
    assert json.loads(capsys.readouterr().out)["comparison"]["seeds"] == 20
    saved = json.loads((runs[1] / "comparisons" / "good-vs-bad.json").read_text())
    assert saved["comparison"]["seeds"] == 20


def test_mistakes_are_one_line(runs, capsys):
    for words, message in (
        (["--selected"], "has no selection"),
        (["--checkpoint", "7"], "has no checkpoint 7"),
        (["--selected", "--checkpoint", "60"], "one of --selected and --checkpoint"),
        (["--level", "95"], "level 95.0: must be between 0 and 1"),
        (["--episodes", "0"], "give at least 1"),
        (["--episode", "1"], "did you mean --episodes?"),
    ):
        assert compare(runs, *words) == 2
        out, err = capsys.readouterr()
        assert not out and message in err and err.count("\n") == 1
    assert main(["compare", str(runs[0])]) == 2
    assert "at least two" in capsys.readouterr().err

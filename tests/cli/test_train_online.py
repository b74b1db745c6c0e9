"""`demonstrably train` of learners that gather their own experience, and the mistakes that are found before it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest

import demonstrably
from demonstrably.cli.main import main
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.spec import Continuous, Discrete, Environment
from demonstrably.training.run import Run

NET = "mlp(hidden=(8,))"
SHORT = ["--steps", "6", "--checkpoint-every", "3", "--log-every", "3"]
SMALL = ["--body", NET, "--batch-size", "8"]


def played(episodes: int, **rest: Any) -> Demonstrations:
    """CartPole by chance, as it was: every episode ends by a fall."""
    env, draws = gymnasium.make("CartPole-v1"), np.random.default_rng(0)
    seen: list[Any] = []
    done: list[int] = []
    ends: list[bool] = []
    for seed in range(episodes):
        seen.append(env.reset(seed=seed)[0])
        over = False
        while not over:
            done.append(int(draws.integers(2)))
            observation, _, over, _, _ = env.step(done[-1])
            seen.append(observation)
            ends.append(over)
    env.close()
    lengths = np.diff([0, *(np.flatnonzero(ends) + 1)])
    given = {"terminated": ends, "environment": Environment("CartPole-v1")} | rest
    return Demonstrations.from_arrays({"observation": np.array(seen)}, done, lengths=lengths, **given)


@pytest.fixture(scope="module")
def pole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(demonstrably.save(played(4), tmp_path_factory.mktemp("data") / "pole.hdf5"))


def pendulum(folder: Path, *, lengths: list[int], scale: float = 2.0, **rest: Any) -> str:
    """Made-up episodes that fit Pendulum but for what is asked for."""
    draws, steps = np.random.default_rng(0), sum(lengths)
    actions = scale * draws.uniform(-1, 1, (steps, 1)).astype(np.float32)
    given = {"environment": Environment("Pendulum-v1")} | rest
    seen = {"observation": draws.normal(size=(steps + len(lengths), 3))}
    demos = Demonstrations.from_arrays(seen, actions, lengths=lengths, **given)
    return str(demonstrably.save(demos, folder / "pendulum.hdf5"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def train(learner: str, out: Path, *rest: str) -> int:
    early = ["--warm-up", "20"] if learner in ("sac", "soft-q") or "--online" in rest else []
    return main(["train", learner, "--out", str(out), *SHORT, *early, *rest])


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and shown.err.startswith("demonstrably: error: ")
    return shown.err.removeprefix("demonstrably: error: ").rstrip()


# --- runs ---


def test_from_experience_alone(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("sac", out, *SMALL, "--env", "Pendulum-v1", "--members", "2", "--environments", "2") == 0
    shown = capsys.readouterr()
    assert "experience in Pendulum-v1" in shown.err and f"2 member(s), 6 steps on cpu, into {out}" in shown.err
    advice = f"next: demonstrably select {out} --rollouts 300 --return-low LOWEST --return-high HIGHEST"
    assert shown.out == f"2 checkpoints in {out}\n{advice}\n"
    run = Run(out)
    assert run.checkpoints == [3, 6] and run.spec.environment == Environment("Pendulum-v1")
    assert run.config["plan"]["collection"]["environments"] == 2
    assert not (out / "findings.json").exists()
    assert train("sac", out, *SMALL, "--env", "Pendulum-v1", "--members", "2", "--environments", "2", "--resume") == 0


def test_choices_and_episodes_at_checkpoints(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--env", "CartPole-v1", "--warm-up", "60", "--rollouts", "1", "--json"]
    assert train("soft-q", out, *SMALL, *rest) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoints"] == [3, 6] and found["score"] and len(found["loss"]) == 1
    assert Run(out).evaluations().num_rows == 2
    assert "episode_return" in Run(out).metrics()[0]


def test_from_demonstrations_and_experience(pole: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = f"soft-q(temperature=0.2, body={NET})"
    rest = ["--data", pole, "--online", "--batch-size", "8", "--generator", generator, "--subsample", "5"]
    assert train("iq-learn", out, *rest) == 0
    run = Run(out)
    assert run.config["fields"]["generator"] == generator
    assert run.config["plan"]["subsample"] == 5 and run.config["data"]["validation"] == []
    assert {"reward", "own_reward"} <= run.metrics()[-1].keys()
    assert (out / "findings.json").exists()
    told = re.search(r"every 5\. step of an episode: (\d+) steps to learn from", capsys.readouterr().err)
    assert told and abs(int(told[1]) - run.config["data"]["transitions"] / 5) < run.config["data"]["episodes"]


def test_a_generator_with_a_part_of_its_own(tmp_path: Path, out: Path) -> None:
    generator = f"sac(temperature=0.2, body={NET})"
    data = pendulum(tmp_path, lengths=[200, 200])
    assert train("iq-learn", out, "--data", data, "--online", "--batch-size", "8", "--generator", generator) == 0
    usual = f"temperature=0.2, average=0.99998, body={NET})"  # what is left out is what the learner has online
    assert Run(out).config["fields"]["generator"] == f"sac(learning_rate=0.001, actor_learning_rate=0.0003, {usual}"


def test_a_generator_is_the_learners_own_but_for_what_is_said(tmp_path: Path, out: Path) -> None:
    data = pendulum(tmp_path, lengths=[200])
    words = ["--data", data, "--batch-size", "8", "--generator", f"sac(body={NET})"]
    assert train("airl", out, *words, "--body", NET) == 0  # which refuses a temperature that is learned
    assert Run(out).config["fields"]["generator"] == f"sac(temperature=0.1, average=0.99998, body={NET})"
    assert main(["train", "iq-learn", "--out", str(tmp_path / "offline"), "--steps", "6", *words]) == 0
    offline = f"sac(temperature=0.01, critics=1, normalize=True, body={NET})"
    assert Run(tmp_path / "offline").config["fields"]["generator"] == offline


def test_actions_may_be_as_large_as_the_environment_takes(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pendulum(tmp_path, lengths=[200, 200], scale=0.5)  # nothing in the file says that there could be more
    assert demonstrably.load(data).action == Continuous((-1.0,), (1.0,))
    words = ["--data", data, "--batch-size", "8", "--body", NET, "--generator", f"sac(body={NET})"]
    assert train("gail", out, *words) == 0
    assert "actions: within the environment's bounds, -2 to 2, which are others" in capsys.readouterr().err
    assert Run(out).spec.action == Continuous((-2.0,), (2.0,))
    assert train("gail", out, *words, "--steps", "9", "--resume") == 0
    assert train("sac", tmp_path / "sac", "--data", data, *SMALL) == 0
    assert Run(tmp_path / "sac").spec.action == Continuous((-2.0,), (2.0,))
    assert main(["train", "bc", "--out", str(tmp_path / "bc"), "--steps", "6", "--data", data, "--body", NET]) == 0
    assert Run(tmp_path / "bc").spec.action == Continuous((-1.0,), (1.0,))


# --- mistakes ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sac"], "give --env ID"),
        (["sac", "--env", "Pendulun-v1"], "no environment 'Pendulun-v1' is registered; did you mean Pendulum-v1"),
        (["sac", "--env", "CartPole-v1"], "sac needs continuous actions, and these are discrete: use soft-q"),
        (["soft-q", "--env", "Pendulum-v1"], "soft-q needs discrete actions, and these are continuous: use sac"),
        (["bc"], "give a file of them with --data FILE"),
        (["iq-learn", "--online", "--env", "CartPole-v1"], "give a file of them with --data FILE"),
        (["sac", "--env", "Pendulum-v1", "--keys", "observatoin"], "no observation key 'observatoin'; did you mean"),
        (["sac", "--env", "Pendulum-v1", "--warm-up", "1"], "warm_up 1: give at least 2, two steps of each env"),
        (["sac", "--env", "Pendulum-v1", "--updates-per-step", "0"], "updates_per_step 0.0"),
        (["sac", "--env", "Pendulum-v1", "--environments", "0"], "environments 0: give at least 1"),
        (["sac", "--env", "Pendulum-v1", "--replay", "900"], "replay 900: give at least warm_up, 1000"),
        (["sac", "--env", "Pendulum-v1", "--replay", "50", "--warm-up", "9"], "replay 50: give at least a batch, 256"),
        (["sac", "--env", "Pendulum-v1", "--on-invalid", "drop"], "--on-invalid is for a file of demonstrations"),
        (["sac", "--env", "Pendulum-v1", "--target-rate", "0"], r"target_rate 0.0: must be in \(0, 1\]"),
        (["soft-q", "--env", "CartPole-v1", "--temperature=-1"], "temperature -1.0: give 0 or above"),
        (["sac", "--env", "Pendulum-v1", "--warmup", "9"], "unknown flag --warmup for .*; did you mean --warm-up"),
        (["sac", "--env", "Pendulum-v1", "--stop-early", "validation-loss"], "stop early by return"),
        (["sac", "--env", "Pendulum-v1", "--subsample", "4"], "--subsample is for a file of demonstrations: give one"),
        (["sac", "--env", "Pendulum-v1", "--discount", "nan"], "discount"),
        (["sac", "--env", "Pendulum-v1", "--entropy", "nan"], "entropy of sac is nan: give a finite number"),
    ],
)
def test_mistakes_without_a_file(words: list[str], message: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", words[0], "--out", str(out), "--steps", "6", *words[1:]]) == 2
    found = mistake(capsys)
    assert re.search(message, found), found
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "Pendulum-v1"], "the data does not fit Pendulum-v1: observation"),
        (["--preset", "ls-iq", "--value", "initial"], "value 'initial': not with bounded 1.0"),
        (["--generator", "soft-q(temprature=0.2)"], "temprature"),
        (["--generator", "softq"], "did you mean"),
        (["--temperature", "0.2"], '"sac(temperature=...)" or --generator "soft-q(temperature=...)", as fits the'),
        (["--target-rate=0.2"], 'its generator has it, so give --generator "sac(target_rate=...)" or'),
        (["--entropy=-2"], 'its generator has it, so give --generator "sac(entropy=...)"'),
        (["--episodes", "0"], "--episodes is 0: give at least 1"),
        (["--generator", "sac"], "sac needs continuous actions"),
    ],
)
def test_mistakes_with_a_file(
    pole: str, words: list[str], message: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("iq-learn", out, "--data", pole, "--online", *words) == 2
    assert message in mistake(capsys)
    assert not out.exists()


@pytest.mark.parametrize("words", [["--environments", "4"], ["--warm-up=80"]])
def test_flags_of_experience_without_any(
    pole: str, words: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("iq-learn", out, "--data", pole, *words) == 2
    found = mistake(capsys)
    assert words[0].split("=")[0] in found and "gathers no experience of its own; give --online" in found
    assert not out.exists()


def test_a_file_that_names_no_environment(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = demonstrably.save(played(2, environment=None), tmp_path / "somewhere.hdf5")
    assert train("iq-learn", out, "--data", str(data), "--online") == 2
    assert "the file names no environment: give --env ID" in mistake(capsys)


def test_choices_without_experience(pole: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("csil", out, "--data", pole, "--allow-variable-horizon") == 2  # with too few updates besides
    assert "csil needs continuous actions" in mistake(capsys)


# --- what would be learned wrong ---


@pytest.mark.parametrize("words", [["--online"], []])
def test_one_choice_more_than_there_is(
    words: list[str], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = played(3)
    many = np.asarray(demos.actions).copy()
    many[5] = 2
    data = str(demonstrably.save(replace(demos, actions=many, action=Discrete(3)), tmp_path / "three.hdf5"))
    assert train("iq-learn", out, "--data", data, *words) == 2
    assert "the data has 3 choices, and CartPole-v1 takes 2: name the environment" in mistake(capsys)
    assert not out.exists()


@pytest.mark.parametrize("online", [["--online"], []])
def test_deaths_that_were_not_marked(
    online: list[str], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(demonstrably.save(played(3, terminated=None), tmp_path / "unmarked.hdf5"))
    words = ["--data", data, "--batch-size", "8", "--generator", f"soft-q(body={NET})", *online]
    assert train("iq-learn", out, *words) == 2
    found = mistake(capsys)
    assert "3 of 3 demonstrated episodes stop before the time limit of CartPole-v1, 500 steps" in found
    assert "`terminated`" in found and "--trust-ends" in found and not out.exists()
    assert train("iq-learn", out, *words, "--trust-ends") == 0


def test_episodes_as_long_as_may_be_pass_and_so_does_one_that_was_cut(tmp_path: Path, out: Path) -> None:
    data = pendulum(tmp_path, lengths=[200, 200, 20])
    words = ["--online", "--batch-size", "8", "--generator", f"sac(body={NET})"]
    assert train("iq-learn", out, "--data", data, *words) == 0


@pytest.mark.parametrize("words", [["iq-learn", "--online"], ["iq-learn"], ["value-dice"]])
def test_actions_in_other_units(
    words: list[str], tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pendulum(tmp_path, lengths=[200, 200], scale=8.0)
    assert train(words[0], out, "--data", data, *words[1:]) == 2
    found = mistake(capsys)
    assert "of the demonstrated actions are outside the bounds of Pendulum-v1: they reach from -" in found
    assert "it takes -2 to 2; scale them to its units" in found and found.startswith("7")


def test_without_the_environment_the_file_is_taken_as_it_is(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pendulum(tmp_path, lengths=[200, 20], scale=8.0, environment=Environment("Elsewhere-v3"))
    assert train("iq-learn", out, "--data", data, "--batch-size", "8", "--generator", f"sac(body={NET})") == 0
    told = "are not held against its environment: no environment 'Elsewhere-v3' is registered"
    assert told in capsys.readouterr().err


def test_an_episode_that_cannot_be_used_is_left_out_where_that_is_wanted(
    tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pendulum(tmp_path, lengths=[200, 200])
    with h5py.File(data, "r+") as file:
        file["data/demo_0/actions"][3] = np.nan
    words = ["--data", data, "--batch-size", "8", "--body", NET]
    assert train("bc", out, *words) == 2
    assert "on_invalid='drop'" in mistake(capsys)
    assert train("bc", out, *words, "--on-invalid", "drop") == 0
    assert "demo_0: actions is nan at step 3, dimension 0\n" in capsys.readouterr().err
    assert Run(out).config["data"]["episodes"] == 1


def test_a_mixture_of_own_steps_needs_some(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pendulum(tmp_path, lengths=[200, 200])
    assert train("value-dice", out, "--data", data, "--mixture", "0.3") == 2
    assert "mixture 0.3: a share of own steps, which are there with `online` alone" in mistake(capsys)

"""Checkpoints: saved whole, restored to the bit, and named where they are broken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner, State
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.spec import Continuous, Environment, Field, Spec
from demonstrably.training import checkpoints
from demonstrably.training.checkpoints import CONFIG, MODEL, TRAINING

SPEC = Spec({"state": Field((3,), mean=(1.0, 2.0, 3.0), scale=(1.0, 0.0, 2.0))}, Continuous((-1.0,), (2.0,)))
LEARNER = BC(body=MLP((4,)))
SEEDS = torch.zeros(2, 1, dtype=torch.int64)


def begun(learner: Learner = LEARNER) -> State:
    return learner.init(SPEC, members=2, seed=3, device="cpu")


def saved(folder: Path, learner: Learner = LEARNER, state: State | None = None) -> State:
    state = state or begun(learner)
    checkpoints.save(folder, state, checkpoints.describe(learner, SPEC, members=2, seed=3))
    return state


def test_a_checkpoint_is_three_files(tmp_path: Path) -> None:
    saved(tmp_path / "deep" / "000010")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["000010"]
    assert {p.name for p in (tmp_path / "deep" / "000010").iterdir()} == {CONFIG, MODEL, TRAINING}
    assert load_file(tmp_path / "deep" / "000010" / MODEL).keys() == begun().weights().keys()


def test_the_description_is_plain_and_enough() -> None:
    learner = BCRNN(window=3, body=LSTM(4, 1), learning_rate=(1e-3, 1e-4), vision=replace(LEARNER).vision)
    spec = replace(SPEC, environment=Environment("Reach-v1", {"size": 3}, ("reach",)))
    config = checkpoints.describe(learner, spec, members=2, seed=7)
    assert json.loads(json.dumps(config)) == config
    again, state = checkpoints.rebuild(config, "cpu")
    assert again == learner and len(state.keys) == 2
    for name, tensor in learner.init(spec, members=2, seed=7, device="cpu").weights().items():
        assert torch.equal(tensor, state.weights()[name])


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    state = saved(tmp_path / "a")
    with torch.no_grad():
        state.networks["actor"].last.bias.add_(1)
    saved(tmp_path / "a", state=state)
    assert torch.equal(load_file(tmp_path / "a" / MODEL)["actor/last.bias"], state.networks["actor"].last.bias)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_policy_needs_no_training_state(tmp_path: Path) -> None:
    state = saved(tmp_path / "a")
    checkpoints.drop_training(tmp_path / "a")
    checkpoints.drop_training(tmp_path / "a")  # gone already
    assert not (tmp_path / "a" / TRAINING).exists()
    policy = checkpoints.load_policy(str(tmp_path / "a"))
    observation, carry = {"state": torch.ones(2, 1, 3)}, policy.start(SEEDS)
    assert torch.equal(policy.act(observation, carry)[0], LEARNER.policy(state).act(observation, carry)[0])
    with pytest.raises(ValueError, match=rf"{TRAINING} is missing: take another checkpoint"):
        checkpoints.restore(tmp_path / "a", begun())


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, 0.99])
def test_a_file_that_was_cut_short_is_named(tmp_path: Path, keep: float) -> None:
    saved(tmp_path / "a")
    file = tmp_path / "a" / MODEL
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    for read in (lambda: checkpoints.load_policy(tmp_path / "a"), lambda: checkpoints.restore(tmp_path / "a", begun())):
        with pytest.raises(ValueError, match=rf"{MODEL} cannot be read .*: take another checkpoint") as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("junk", [b"not a safetensors file at all", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 64])
def test_a_file_of_something_else_is_named(tmp_path: Path, junk: bytes) -> None:
    saved(tmp_path / "a")
    (tmp_path / "a" / MODEL).write_bytes(junk)
    with pytest.raises(ValueError, match=rf"{MODEL} cannot be read|does not fit this learner"):
        checkpoints.load_policy(tmp_path / "a")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    (tmp_path / "a" / MODEL).unlink()
    with pytest.raises(ValueError, match=rf"{MODEL} is missing: take another checkpoint"):
        checkpoints.load_policy(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoints.load_policy(tmp_path / "nowhere")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    for other, name in ((replace(LEARNER, body=MLP((5,))), "body.layers.0"), (replace(LEARNER, body=MLP((4, 4))), "")):
        with pytest.raises(ValueError, match=rf"the checkpoint does not fit this learner: .*{name}.* differ"):
            checkpoints.restore(tmp_path / "a", begun(other))


def test_a_checkpoint_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    other = begun(replace(LEARNER, body=MLP((5,))))
    before = {name: tensor.clone() for name, tensor in other.weights().items()}
    with pytest.raises(ValueError):
        checkpoints.restore(tmp_path / "a", other)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.weights().items())


def test_a_missing_or_extra_tensor_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "a")
    tensors = load_file(tmp_path / "a" / MODEL)
    tensors["actor/extra"] = tensors.pop("actor/last.bias")
    save_file(tensors, tmp_path / "a" / MODEL)
    with pytest.raises(ValueError, match=r"does not fit this learner: actor/extra, actor/last\.bias differ"):
        checkpoints.load_policy(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learner": "iql"}, "learner 'iql' is not one of airl, bc, "),
        ({"fields": {"expectile": 0.7}}, "BC has no field expectile: was it saved by another version"),
        ({"fields": {"body": "lstm(hidden=4)"}}, "body 'lstm"),
    ],
)
def test_a_run_of_another_version_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    saved(tmp_path / "a")
    path = tmp_path / "a" / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        checkpoints.load_policy(tmp_path / "a")


def test_the_name_on_the_command_line() -> None:
    assert checkpoints.name_of(BC()) == "bc" and checkpoints.name_of(BCRNN()) == "bc-rnn"

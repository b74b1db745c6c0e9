"""A run from data to checkpoints: what is written, and that stopping and resuming leaves no trace."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner
from demonstrably.nets.heads import Categorical
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.transformer import Transformer
from demonstrably.spec import Environment
from demonstrably.training import session as session_module
from demonstrably.training.events import Events
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session, versions

LEARNER = BC(body=MLP((8,)), batch_size=8)
RECURRENT = BCRNN(body=LSTM(6, 1), batch_size=4, window=3, learning_rate=(1e-3, 1e-2))
DROPPING = BCRNN(body=Transformer(layers=1, heads=2, width=8), batch_size=4, window=3)
PLAN = Plan(steps=22, members=2, seed=5, checkpoint_every=6, log_every=4, validation=0.25)


def demonstrations(seed: int = 0, **rest: Any) -> Demonstrations:
    random = np.random.default_rng(seed)
    lengths = [5, 9, 1, 12, 7, 3, 8, 10]
    observations = {"state": random.normal(size=(sum(lengths), 3)), "goal": random.normal(size=(sum(lengths), 2))}
    actions = np.tanh(random.normal(size=(sum(lengths), 2))).astype(np.float32)
    table = {"quality": ["good", "poor"] * 4}
    return Demonstrations.from_arrays(observations, actions, lengths=lengths, table=table, **rest)


def opened(folder: Path, plan: Plan = PLAN, learner: Learner = LEARNER, **rest: Any) -> Session:
    demos = rest.pop("demos", None) or demonstrations()
    return Session.open(learner, demos, plan, folder, **rest)


def finish(session: Session) -> Session:
    for _ in session.train():
        pass
    return session


def logged(run: Run) -> list[dict[str, Any]]:
    """The metrics without what a clock says."""
    return [{k: v for k, v in line.items() if k not in ("time", "steps_per_second")} for line in run.metrics()]


def files(run: Run) -> dict[str, bytes]:
    """Every file of every checkpoint, to the byte."""
    folder = run.path / "checkpoints"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is written ---


def test_it_yields_at_logs_and_checkpoints_and_writes_both(tmp_path: Path) -> None:
    session = opened(tmp_path / "run")
    steps, at_checkpoints = [], []
    for progress in session.train():
        steps.append(progress.step)
        if session.at_checkpoint(progress.step):
            at_checkpoints.append(progress.step)
            assert session.run.checkpoints == at_checkpoints  # the folder is complete when the caller looks
            assert progress.metrics["validation_loss"].shape == (2,)
        else:
            assert "validation_loss" not in progress.metrics
    assert steps == [4, 6, 8, 12, 16, 18, 20, 22] and at_checkpoints == [6, 12, 18, 22]
    lines = session.run.metrics()
    assert [line["step"] for line in lines] == steps
    assert [line["step"] for line in lines if "validation_loss" in line] == at_checkpoints
    assert all(len(line["loss"]) == 2 and line["steps_per_second"] > 0 for line in lines)
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_only_the_newest_checkpoint_can_be_gone_on_from(tmp_path: Path) -> None:
    run = finish(opened(tmp_path)).run
    with_training = [s for s in run.checkpoints if (run.checkpoint(s) / "training.safetensors").exists()]
    assert with_training == [22]


def test_what_an_unlucky_kill_left_of_older_ones_is_dropped_too(tmp_path: Path) -> None:
    session = opened(tmp_path)
    for progress in session.train():
        if progress.step in (6, 12):
            (session.run.checkpoint(6) / "training.safetensors").write_bytes(b"left")
    assert not (session.run.checkpoint(6) / "training.safetensors").exists()


def test_the_configuration_says_all(tmp_path: Path) -> None:
    demos = demonstrations(environment=Environment("CartPole-v1"))
    config = opened(tmp_path, demos=demos, observations=("state",)).run.config
    assert (config["learner"], config["members"], config["seed"]) == ("bc", 2, 5)
    assert (config["steps"], config["checkpoint_every"], config["device"]) == (22, 6, "cpu")
    assert config["fields"]["body"] == "mlp(hidden=(8,))"
    assert config["spec"]["environment"]["name"] == "CartPole-v1"
    data = config["data"]
    assert data["keys"] == ["state"] and data["episodes"] == 8 and data["transitions"] == 55
    assert data["fingerprint"] == demos.fingerprint()
    assert sorted(data["train"] + data["validation"]) == list(range(8)) and len(data["validation"]) == 2
    assert config["versions"] == versions() and {"python", "torch", "numpy"} <= set(config["versions"])


def test_statistics_are_of_the_training_episodes_alone(tmp_path: Path) -> None:
    session = opened(tmp_path)
    kept = demonstrations().select(session.config["data"]["train"])
    assert session.run.spec == kept.spec(("goal", "state")) == kept.spec(kept.keys())
    assert session.run.spec != demonstrations().spec(kept.keys())


def test_without_validation_all_episodes_train(tmp_path: Path) -> None:
    session = finish(opened(tmp_path, replace(PLAN, validation=0.0)))
    assert session.config["data"]["train"] == list(range(8)) and session.config["data"]["validation"] == []
    assert not any("validation_loss" in line for line in session.run.metrics())


def test_one_episode_trains_without_validation(tmp_path: Path) -> None:
    one = demonstrations().select([3])
    assert finish(opened(tmp_path / "a", replace(PLAN, validation=0.0), demos=one)).run.checkpoints[-1] == 22
    with pytest.raises(ValueError, match="cannot split 1 episode"):
        opened(tmp_path / "b", demos=one)
    assert not (tmp_path / "b").exists()


def test_held_out_episodes_keep_the_shares_of_a_column(tmp_path: Path) -> None:
    session = opened(tmp_path, replace(PLAN, stratify="quality"))
    kept = demonstrations().select(session.config["data"]["validation"])
    assert sorted(kept.table.column("quality").to_pylist()) == ["good", "poor"]


class ClosedEvents(Events):
    """Says how many were closed."""

    closed = 0

    def close(self) -> None:
        super().close()
        ClosedEvents.closed += 1


def test_however_a_training_ends_its_last_points_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard's writer holds points back for two minutes; short runs would lose them all."""
    monkeypatch.setattr(session_module, "Events", ClosedEvents)
    for i, stop in enumerate((12, None, "error")):
        trained = opened(tmp_path / str(i), learner=replace(LEARNER, learning_rate=1e38 if stop == "error" else 1e-4))
        with pytest.raises(FloatingPointError) if stop == "error" else nullcontext():
            for progress in trained.train():
                if progress.step == stop:
                    break
        assert ClosedEvents.closed == i + 1


@pytest.mark.parametrize(
    ("learner", "rest", "message"),
    [
        (replace(LEARNER, head=Categorical()), {}, "Categorical needs discrete actions"),
        (replace(LEARNER, learning_rate=(1e-3,)), {}, "learning_rate has 1 values for 2 members"),
        (replace(LEARNER, batch_size=0), {}, "batch_size is 0"),
        (LEARNER, {"observations": ("stat",)}, "no observation key 'stat'"),
        (LEARNER, {"plan": replace(PLAN, stratify="qualty")}, "no column 'qualty'"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, learner: Learner, rest: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "run", learner=learner, **rest)
    assert not (tmp_path / "run").exists()


# --- resuming ---


@pytest.mark.parametrize("learner", [LEARNER, RECURRENT, DROPPING], ids=["bc", "lstm", "transformer"])
def test_stopped_and_resumed_it_equals_the_uninterrupted_run(tmp_path: Path, learner: Learner) -> None:
    whole = finish(opened(tmp_path / "whole", learner=learner))
    for stop in (4, 6, 16, 22):
        folder = tmp_path / f"stopped {stop}"
        for progress in opened(folder, learner=learner).train():
            if progress.step == stop:
                break
        resumed = finish(opened(folder, learner=learner, resume=True))
        assert logged(resumed.run) == logged(whole.run)
        assert files(resumed.run) == files(whole.run)
        assert resumed.run.config == whole.run.config


def test_it_may_be_stopped_many_times(tmp_path: Path) -> None:
    whole = finish(opened(tmp_path / "whole"))
    for _ in opened(tmp_path / "often").train():
        break
    for last in (8, 8, 16, 20):
        for progress in opened(tmp_path / "often", resume=True).train():
            if progress.step >= last:
                break
    resumed = finish(opened(tmp_path / "often", resume=True))
    assert logged(resumed.run) == logged(whole.run) and files(resumed.run) == files(whole.run)


def test_time_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for progress in opened(tmp_path).train():
        if progress.step == 12:
            break
    times = [line["time"] for line in finish(opened(tmp_path, resume=True)).run.metrics()]
    assert times == sorted(times) and len(set(times)) == len(times)


def test_more_steps_are_welcome_and_fewer_are_not(tmp_path: Path) -> None:
    finish(opened(tmp_path))
    longer = finish(opened(tmp_path, replace(PLAN, steps=30), resume=True))
    assert longer.run.checkpoints == [6, 12, 18, 22, 24, 30] and Run(tmp_path).config["steps"] == 30
    with pytest.raises(ValueError, match="has done 30 steps already: resume it with that many or more, not 24"):
        opened(tmp_path, replace(PLAN, steps=24), resume=True)
    assert Run(tmp_path).config["steps"] == 30


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run = finish(opened(tmp_path)).run
    before, lines = files(run), run.metrics()
    assert list(opened(tmp_path, resume=True).train()) == []
    assert files(run) == before and run.metrics() == lines


def test_the_spacing_of_checkpoints_is_the_runs_own(tmp_path: Path) -> None:
    opened(tmp_path, replace(PLAN, checkpoint_every=None, steps=40))
    longer = opened(tmp_path, replace(PLAN, checkpoint_every=None, steps=400), resume=True)
    assert longer.plan.spacing == 2


def test_a_run_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    whole = finish(opened(tmp_path / "whole"))
    for _ in opened(tmp_path / "cut").train():
        break
    resumed = finish(opened(tmp_path / "cut", resume=True))
    assert logged(resumed.run) == logged(whole.run)


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"learner": RECURRENT}, "was begun with learner bc, and this is bc-rnn"),
    ({"learner": replace(LEARNER, batch_size=9)}, "was begun with batch_size 8, and this is 9"),
    ({"learner": replace(LEARNER, learning_rate=(1e-3, 1e-4))}, r"learning_rate 0.0001, and this is \[0.001, 0.0001\]"),
    ({"learner": replace(LEARNER, body=MLP((9,)))}, r"body mlp\(hidden=\(8,\)\), and this is mlp\(hidden=\(9,\)\)"),
    ({"learner": replace(LEARNER, normalize=False)}, "normalize True, and this is False"),
    ({"plan": replace(PLAN, members=3)}, "members 2, and this is 3"),
    ({"plan": replace(PLAN, seed=6)}, "seed 5, and this is 6"),
    ({"plan": replace(PLAN, checkpoint_every=5)}, "checkpoint_every 6, and this is 5"),
    ({"plan": replace(PLAN, validation=0.5)}, "validation 0.25, and this is 0.5"),
    ({"plan": replace(PLAN, stratify="quality")}, "stratify None, and this is quality"),
    ({"observations": ("state",)}, r"keys \['goal', 'state'\], and this is \['state'\]"),
    ({"demos": demonstrations(seed=1)}, "was begun on other episodes"),
    ({"demos": demonstrations().select(range(7))}, "was begun on other episodes"),
    ({"demos": demonstrations(environment=Environment("A-v0"))}, "was begun with another environment"),
]


@pytest.mark.parametrize(("rest", "message"), OTHERS)
def test_resuming_with_other_options_is_refused_by_name(tmp_path: Path, rest: dict[str, Any], message: str) -> None:
    for _ in opened(tmp_path).train():
        break
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        opened(tmp_path, resume=True, **rest)
    assert "resume it" in str(caught.value) and "\n" not in str(caught.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_resuming_needs_a_run_and_beginning_needs_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a run folder"):
        opened(tmp_path / "none", resume=True)
    with pytest.raises(ValueError, match="is not a run folder"):
        opened(tmp_path / "none", replace(PLAN, checkpoint_every=None), resume=True)
    assert not (tmp_path / "none").exists()
    opened(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already: give --resume"):
        opened(tmp_path / "run")


def test_a_new_run_forgets_metrics_that_lay_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 2, "loss": [9.0], "time": 1e6}) + "\n")
    run = finish(opened(tmp_path)).run
    assert run.metrics()[0]["step"] == 4 and run.metrics()[0]["time"] < 1e5


# --- plans ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps is 0: give at least 1"),
        ({"members": 0}, "members is 0: give at least 1"),
        ({"log_every": -1}, "log_every is -1"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0: give at least 1"),
        ({"validation": 1.0}, r"validation is 1.0: give a share of the episodes in \[0, 1\)"),
        ({"validation": -0.1}, "validation is -0.1"),
        ({"validation": float("nan")}, "validation is nan"),
    ],
)
def test_plans_that_make_no_run_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAN, **change)


@pytest.mark.parametrize(("steps", "every", "spacing"), [(10_000, None, 500), (7, None, 1), (10_000, 33, 33)])
def test_the_spacing_of_checkpoints(steps: int, every: int | None, spacing: int) -> None:
    assert Plan(steps=steps, checkpoint_every=every).spacing == spacing

"""A run that gathers its own experience: stopping and resuming leaves no trace, and what is refused."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation.environments import spec_of
from demonstrably.evaluation.worlds import ArenaWorlds
from demonstrably.learners.bc import BC
from demonstrably.learners.csil import CSIL
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.nets.mlp import MLP
from demonstrably.nets.stationary import Stationary
from demonstrably.spec import Environment, Spec
from demonstrably.training import session as session_module
from demonstrably.training.feeds import kept_steps
from demonstrably.training.online import Collection
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session
from demonstrably.training.worlds import Worlds

PENDULUM = Environment("Pendulum-v1", {"max_episode_steps": 7})
SPEC = spec_of(PENDULUM)
LEARNER = SAC(body=MLP((8,)), batch_size=8, learning_rate=1e-2)
COLLECTION = Collection(environments=2, warm_up=20, updates_per_step=2.0)
PLAN = Plan(steps=14, members=2, seed=5, checkpoint_every=6, log_every=4, collection=COLLECTION)


class Counted(ArenaWorlds):
    """Says how many were given back."""

    closed = 0

    def close(self) -> None:
        Counted.closed += 1
        super().close()


def made(spec: Spec, lanes: int, kind: type[ArenaWorlds] = ArenaWorlds) -> Worlds:
    assert spec.environment
    return kind(spec.environment, spec, lanes, workers=0)


def opened(folder: Path, plan: Plan = PLAN, learner: Any = LEARNER, **rest: Any) -> Session:
    return Session.open(learner, rest.pop("demos", None), plan, folder, **{"worlds": made, "spec": SPEC} | rest)


def finish(session: Session) -> Session:
    for _ in session.train():
        pass
    return session


def stopped(folder: Path, step: int) -> None:
    """A run that is killed when that step is logged."""
    for progress in opened(folder).train():
        if progress.step == step:
            return


def logged(run: Run) -> list[dict[str, Any]]:
    """The metrics without what a clock says."""
    return [{k: v for k, v in line.items() if k not in ("time", "steps_per_second")} for line in run.metrics()]


def files(run: Run) -> dict[str, bytes]:
    """Every file of every checkpoint, to the byte."""
    folder = run.path / "checkpoints"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finish(opened(tmp_path_factory.mktemp("whole"))).run


def test_what_is_written(whole: Run) -> None:
    assert whole.checkpoints == [6, 12, 14]
    kept = {name.split("/")[1] for name in files(whole) if name.startswith("000014")}
    assert kept == {"config.json", "model.safetensors", "training.safetensors", "experience.safetensors"}
    assert not any("experience" in name or "training" in name for name in files(whole) if "000014" not in name)
    lines = whole.metrics()
    assert [line["step"] for line in lines] == [4, 6, 8, 12, 14]
    assert not any("validation_loss" in line for line in lines)
    assert len(lines[0]["episode_return"]) == 2 and lines[0]["episode_length"] == [7.0, 7.0]
    assert whole.config["data"]["path"] is None and whole.config["data"]["episodes"] == 0
    assert whole.config["plan"]["collection"]["warm_up"] == 20
    assert whole.policy().members == 2


@pytest.mark.parametrize("step", [4, 12])
def test_stopped_and_resumed_it_equals_the_uninterrupted_run(tmp_path: Path, whole: Run, step: int) -> None:
    stopped(tmp_path, step)
    resumed = opened(tmp_path, resume=True)
    assert resumed.notes == ()
    finish(resumed)
    assert logged(resumed.run) == logged(whole)
    assert files(resumed.run) == files(whole)


def test_more_steps_are_welcome(tmp_path: Path) -> None:
    stopped(tmp_path / "short", 12)
    longer = replace(PLAN, steps=18)
    resumed = finish(opened(tmp_path / "short", longer, resume=True)).run
    uninterrupted = finish(opened(tmp_path / "long", longer)).run
    assert logged(resumed) == logged(uninterrupted)
    one, other = ({n: b for n, b in files(run).items() if "config" not in n} for run in (resumed, uninterrupted))
    assert one == other


def test_an_environment_that_forgets_its_seed_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path, 6)
    reset = ArenaWorlds.reset
    monkeypatch.setattr(ArenaWorlds, "reset", lambda self, lanes, seeds: reset(self, lanes, [s + 1 for s in seeds]))
    resumed = opened(tmp_path, resume=True)
    assert resumed.notes and "does not repeat itself by its seed" in resumed.notes[0]
    assert finish(resumed).run.checkpoints == [6, 12, 14]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"collection": replace(COLLECTION, warm_up=21)}, "collection .*'warm_up': 20.* and this is .*'warm_up': 21"),
        ({"collection": replace(COLLECTION, environments=1)}, "collection"),
        ({"seed": 6}, "seed 5, and this is 6"),
    ],
)
def test_resuming_with_other_options_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    Run.create(tmp_path, opened(tmp_path / "made").config)
    Counted.closed = 0
    with pytest.raises(ValueError, match=message) as caught:
        opened(tmp_path, replace(PLAN, **changed), resume=True, worlds=partial(made, kind=Counted))
    assert "resume it with the same options" in str(caught.value) and Counted.closed == 1


def test_experience_that_was_cut_short_is_named(tmp_path: Path) -> None:
    stopped(tmp_path, 6)
    path = tmp_path / "checkpoints" / "000006" / "experience.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"000006/experience.safetensors cannot be read .*: take another") as caught:
        opened(tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(ValueError, match=r"000006/experience.safetensors is missing"):
        opened(tmp_path, resume=True)


def test_however_it_ends_the_environments_are_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Counted.closed = 0
    for progress in opened(tmp_path, worlds=partial(made, kind=Counted)).train():
        assert progress.step == 4
        break
    assert Counted.closed == 1
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="holds a run already"):
        opened(tmp_path / "there", worlds=partial(made, kind=Counted))
    assert Counted.closed == 2
    monkeypatch.setattr(session_module, "train", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finish(opened(tmp_path / "fails", worlds=partial(made, kind=Counted)))
    assert Counted.closed == 3


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"learner": IQLearn(online=True, generator=LEARNER)}, "learns from demonstrations: give it a file of them"),
    ({"learner": BC(body=MLP((8,)))}, "learns from demonstrations: give it a file of them"),
    ({"worlds": None}, "sac gathers experience of its own: give it an environment"),
    ({"spec": None}, "give a spec"),
    ({"spec": spec_of(Environment("CartPole-v1"))}, "sac needs continuous actions.*use soft-q"),
]


@pytest.mark.parametrize(("rest", "message"), REFUSED)
def test_what_is_refused_leaves_nothing(tmp_path: Path, rest: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tmp_path / "run", **rest)
    assert not (tmp_path / "run").exists()


def shown(terminated: np.ndarray | None = None) -> Demonstrations:
    random = np.random.default_rng(0)
    return Demonstrations.from_arrays(
        {"observation": random.normal(size=(24, 3))},
        random.uniform(-2, 2, (21, 1)).astype(np.float32),
        lengths=[7, 7, 7],
        terminated=terminated,
        action=SPEC.action,
        environment=PENDULUM,
    )


def test_demonstrations_that_the_task_ended_are_refused_where_ends_are_worth_nothing(tmp_path: Path) -> None:
    ended, learner = shown(np.arange(21) == 20), IQLearn(True, 4, LEARNER, value="initial")
    with pytest.raises(ValueError, match=r"put the end off.*the preset ls-iq.*iq-learn.md, Variable horizons"):
        opened(tmp_path / "refused", PLAN, learner, demos=ended, spec=None)
    assert not (tmp_path / "refused").exists()
    fair = [{"allow_variable_horizon": True}, {"value": "steps"}, {"online": False}]
    tried = [(replace(learner, **fields), ended) for fields in fair] + [(learner, shown())]
    for place, (other, demos) in enumerate(tried):
        finish(opened(tmp_path / str(place), replace(PLAN, steps=1), other, demos=demos, spec=None))


def test_an_end_that_was_not_chosen_is_no_reason_to_refuse(tmp_path: Path) -> None:
    learner = IQLearn(True, 4, LEARNER, value="initial")
    chosen = shown(np.arange(21) == 20).select([0, 1])
    assert finish(opened(tmp_path, replace(PLAN, steps=1), learner, demos=chosen, spec=None)).run.checkpoints == [1]


def test_an_inverse_learner_lives_and_reads(tmp_path: Path) -> None:
    demos = shown()
    learner = IQLearn(online=True, batch_size=4, generator=LEARNER)
    plan = replace(PLAN, steps=4, checkpoint_every=2, subsample=3)
    run = finish(opened(tmp_path / "a", plan, learner, demos=demos, spec=None)).run
    assert run.config["data"]["episodes"] == 3 and run.config["data"]["validation"] == []
    read = np.flatnonzero(kept_steps(demos, 3, plan.seed))  # what is normalized by is what is read
    rows = np.concatenate([episode.observations["observation"][:-1] for episode in demos])[read]
    np.testing.assert_allclose(run.spec.observations["observation"].mean, rows.mean(0), rtol=1e-5)
    for progress in opened(tmp_path / "b", plan, learner, demos=demos, spec=None).train():
        if progress.step == 2:
            break
    resumed = finish(opened(tmp_path / "b", plan, learner, demos=demos, spec=None, resume=True)).run
    assert files(resumed) == files(run) and logged(resumed) == logged(run)


@pytest.mark.parametrize("step", [2, 4, 8])
def test_updates_that_go_ahead_of_experience_are_resumed_too(tmp_path: Path, step: int) -> None:
    """In each of its stages: before there is any experience, before the critics are done, and after."""
    demos, generator = shown(), replace(LEARNER, temperature=0.1)
    learner = CSIL(generator, 4, cloning=3, judging=3, body=Stationary((8,), 3, 4), refinement=1e-3)
    plan = replace(PLAN, steps=10, checkpoint_every=2, log_every=2)
    run = finish(opened(tmp_path / "a", plan, learner, demos=demos, spec=None)).run
    lived = ["episode_return" in line for line in run.metrics()]
    assert not any(lived[:3]) and lived[3]  # the policy's own warm-up is before the 7th update
    for progress in opened(tmp_path / "b", plan, learner, demos=demos, spec=None).train():
        if progress.step == step:
            break
    resumed = finish(opened(tmp_path / "b", plan, learner, demos=demos, spec=None, resume=True)).run
    assert files(resumed) == files(run) and logged(resumed) == logged(run)


def test_too_few_updates_to_come_to_its_own_experience_are_refused(tmp_path: Path) -> None:
    learner = CSIL(cloning=10, judging=4)
    with pytest.raises(ValueError, match="first 14 updates go ahead of its own experience, and there are but 14"):
        opened(tmp_path / "a", PLAN, learner, demos=shown(), spec=None)
    assert not (tmp_path / "a").exists()

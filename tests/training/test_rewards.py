"""Learned rewards: the numbers of a call, of a file's steps, of other people's rewards in their place, and mistakes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from demonstrably.data.batches import ExperienceBatch, TransitionBatch
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.bc import BC
from demonstrably.learners.contract import State
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete, Field, Spec
from demonstrably.training.feeds import Feed
from demonstrably.training.online import Collection
from demonstrably.training.rewards import Relabelled, Reward, relabelled, with_rewards
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session
from demonstrably.training.worlds import Stepped, Worlds

from .reward_runs import PLANE, SMALL, trained, walks


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def reward(run: Path) -> Reward:
    return Reward.of(run)


def ends(demos: Demonstrations, final: list[bool], over: bool = False) -> Demonstrations:
    """The same with some final observations unrecorded; `over` ends the last episode by the task."""
    column = demos.table.column_names.index("final_observation")
    terminated = demos.terminated.copy()
    terminated[-1] = over
    table = demos.table.set_column(column, "final_observation", [final])
    return replace(demos, table=table, terminated=terminated)


def test_weights_come_back_without_the_rest_of_the_training(run: Path, reward: Reward) -> None:
    assert not (Run(run).checkpoint(2) / "training.safetensors").exists()
    early = Reward.of(Run(run), 2)
    assert (early.checkpoint, reward.checkpoint, reward.members) == (2, 4, 2)
    assert early.record()["fingerprint"] != reward.record()["fingerprint"] == Reward.of(run).record()["fingerprint"]
    json.dumps(reward.record())


def test_scores_equal_those_of_plain_arrays_and_repeat(reward: Reward) -> None:
    demos = walks([0.0, 0.5, 1.0])
    scores = reward.score(demos)
    assert scores.shape == (2, 30) and np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, reward.score(demos))
    last = np.arange(3) * 11 + 10
    places = demos.observations["place"]
    before, after = np.delete(places, last, 0), np.delete(places, last - 10, 0)
    np.testing.assert_allclose(reward({"place": before}, demos.actions, {"place": after}), scores, atol=1e-5)
    assert not np.allclose(scores[0], scores[1])


def test_many_batches_cover_every_step(reward: Reward, monkeypatch: pytest.MonkeyPatch) -> None:
    demos = ends(walks([0.0, 0.5, 1.0]), [True, False, True])
    whole = np.isfinite(reward.score(demos))
    monkeypatch.setattr("demonstrably.training.rewards.BATCH", 7)
    np.testing.assert_array_equal(np.isfinite(reward.score(demos)), whole)
    here = {"place": np.zeros((20, 2), np.float32)}
    assert np.isfinite(reward(here, np.zeros((20, 2), np.float32), here)).all()


def test_an_ended_task_is_followed_by_nothing(reward: Reward) -> None:
    here, far = {"place": np.zeros((1, 2))}, {"place": np.full((1, 2), 9.0)}
    velocity = np.zeros((1, 2))
    over = np.array([True])
    np.testing.assert_array_equal(reward(here, velocity, here, over), reward(here, velocity, far, over))
    assert (reward(here, velocity, here) != reward(here, velocity, far)).all()


def test_a_step_that_nothing_is_known_to_follow_is_nan(reward: Reward) -> None:
    scores = reward.score(ends(walks([0.0, 1.0, 0.5]), [False, True, False], over=True))
    assert np.flatnonzero(np.isnan(scores).any(0)).tolist() == [9]  # the third's last one ended the task


def test_relabelling_a_view_leaves_the_rest_alone(reward: Reward) -> None:
    whole = walks([0.0, 0.3, 0.6, 1.0])
    view = whole.select([3, 1])
    before = whole.rewards.copy()
    found = relabelled(view, reward)
    scores = reward.score(view).mean(0)
    np.testing.assert_array_equal(np.concatenate([episode.rewards for episode in found]), scores)
    np.testing.assert_allclose(found.table.column("return").to_numpy(), scores.reshape(2, 10).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(whole.rewards, before)
    np.testing.assert_array_equal(found.rewards[:10], before[:10])
    assert found.fingerprint() != view.fingerprint()
    assert relabelled(walks([0.0], rewarded=False), reward).rewarded


def test_relabelling_counts_what_follows_an_end(reward: Reward, monkeypatch: pytest.MonkeyPatch) -> None:
    demos = ends(walks([0.0, 1.0]), [True, True], over=True)
    monkeypatch.setattr(type(reward.learner), "afterwards", lambda self, state: torch.tensor([-1.0, -3.0]))
    found, scores = relabelled(demos, reward, discount=0.9), reward.score(demos).mean(0)
    scores[[9, 19]] += np.where(demos.terminated[[9, 19]], -2.0 * 0.9 / 0.1, 0.0)
    assert demos.terminated.any()
    np.testing.assert_allclose(np.concatenate([episode.rewards for episode in found]), scores, rtol=1e-5)


def test_relabelling_names_the_episodes_that_cannot_be(reward: Reward) -> None:
    demos = ends(walks([0.0, 1.0, 0.5]), [False, True, False])
    with pytest.raises(ValueError, match=r"2 episodes of 3 \(demo_0, demo_2\).*--where final_observation"):
        relabelled(demos, reward)
    assert len(relabelled(demos.select("final_observation"), reward)) == 1
    with pytest.raises(ValueError, match="record `next_obs`"):
        with_rewards(demos.select([0]), np.full(10, np.nan))


def test_a_learner_without_a_reward_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run: bc learns no reward"):
        Reward.of(trained(tmp_path / "run", "bc", steps=2))
    with pytest.raises(ValueError, match="not a run folder"):
        Reward.of(tmp_path)


def test_a_missing_checkpoint_names_those_there_are(run: Path) -> None:
    with pytest.raises(ValueError, match="no checkpoint 3: it has 2, 4"):
        Reward.of(run, 3)


def test_every_difference_is_named(reward: Reward) -> None:
    place = np.zeros((4, 2), np.float32)
    with pytest.raises(ValueError) as caught:
        reward({"plac": place}, np.zeros(4, np.int64), {"place": np.zeros((4, 3))}, np.zeros(3, bool))
    for part in ("have no key 'place'", "(4, 3), not (4, 2)", "of int64", "terminated has shape (3,)"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match="from 3 to 3, not 2 real numbers from -1 to 1"):
        reward({"place": place}, np.full((4, 2), 3.0), {"place": place})
    with pytest.raises(ValueError, match="next_observations 'place' are not all finite"):
        reward({"place": place}, place, {"place": np.full((4, 2), np.nan)})
    with pytest.raises(ValueError, match="are uint8, not float32"):
        reward({"place": place.astype(np.uint8)}, place, {"place": place})
    with pytest.raises(ValueError, match="there are no steps"):
        reward({"place": place[:0]}, place[:0], {"place": place[:0]})


def test_other_demonstrations_are_refused(reward: Reward) -> None:
    states = np.zeros((5, 3), np.float32)
    with pytest.raises(ValueError, match=r"no key 'place' \(they have flat\); actions are 2 choices"):
        reward.score(Demonstrations.from_arrays(states, [0, 1, 0, 1]))
    with pytest.raises(ValueError, match="actions are 1 real numbers"):
        reward.score(Demonstrations.from_arrays({"place": states[:, :2]}, np.zeros((4, 1), np.float32)))


def test_a_policy_that_sees_too_little_is_refused(reward: Reward) -> None:
    reward.require_spec(Spec({"place": Field((2,)), "more": Field((1,))}, PLANE))
    with pytest.raises(ValueError, match="'place' is not observed; actions are 3 choices"):
        reward.require_spec(Spec({"flat": Field((2,))}, Discrete(3)))
    with pytest.raises(ValueError, match=r"'place' is float32 \(5,\)"):
        reward.require_spec(Spec({"place": Field((5,))}, PLANE))
    with pytest.raises(ValueError, match="actions go from -2 to 2"):
        reward.require_spec(Spec({"place": Field((2,))}, Continuous((-2.0, -1.0), (2.0, 1.0))))


# --- reinforcement learning on it ---


class Fixed(Feed):
    """The same batch of a population of three, each time."""

    def draw(self, state: State) -> ExperienceBatch:
        draws = np.random.default_rng(0)
        here, there, velocity = (torch.tensor(draws.uniform(-1, 1, (3, 5, 2)), dtype=torch.float32) for _ in range(3))
        more = {"clock": torch.zeros(3, 5, 1)}
        rows = {"place": here} | more, velocity, torch.full((3, 5), 7.0), {"place": there} | more
        return ExperienceBatch(TransitionBatch(*rows, torch.zeros(3, 5, dtype=torch.bool), {}), None)


def test_own_steps_are_relabelled_by_the_mean_of_members(reward: Reward) -> None:
    plain = Fixed().batch(reward.state)
    own = Relabelled(Fixed(), reward, 0.9).batch(reward.state).own
    here, there = plain.own.observations["place"], plain.own.next_observations["place"]
    for member, actions in enumerate(plain.own.actions):  # each as if it were alone, though the reward draws by chance
        alone = reward({"place": here[member]}, actions, {"place": there[member]}).mean(0)
        np.testing.assert_allclose(own.rewards[member], alone, atol=1e-6)
    assert torch.equal(own.actions, plain.own.actions) and (plain.own.rewards == 7).all()


def test_an_end_is_worth_what_comes_afterwards(reward: Reward, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Fixed().batch(reward.state).own
    plain = reward.of_population(batch, 0.9)
    monkeypatch.setattr(type(reward.learner), "afterwards", lambda self, state: torch.full((len(state.keys),), -2.0))
    over = replace(batch, terminated=torch.ones_like(batch.terminated))
    # Only the absorbing state differs, for ever: 0.9 / 0.1 times -2; the implied reward has V(s') = 0 there.
    assert (reward.of_population(batch, 0.9) == plain).all()
    gone = reward.of_population(over, 0.9) + 18
    monkeypatch.undo()
    torch.testing.assert_close(gone, reward.of_population(over, 0.9))


class Plane(Worlds):
    """Moves by a tenth of the velocity; pays 5 a step. Four steps an episode, all ended by time."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.places = np.zeros((lanes, 2), np.float32)
        self.ages = np.zeros(lanes, np.int64)

    def reset(self, lanes, seeds):
        self.places[list(lanes)] = np.array(seeds)[:, None] % 7 / 7
        self.ages[list(lanes)] = 0
        return {"place": self.places[list(lanes)].copy()}

    def begin(self, lanes, actions):
        self._under_way = list(lanes)
        self.places[self._under_way] += 0.1 * actions
        self.ages[self._under_way] += 1

    def finish(self):
        rows = self._under_way
        count, late = len(rows), self.ages[rows] >= 4
        return Stepped(
            {"place": self.places[rows].copy()}, np.full(count, 5.0, np.float32), np.zeros(count, bool), late
        )

    def close(self):
        pass


OWN = Spec({"place": Field((2,))}, PLANE)
PLAN = Plan(6, members=2, checkpoint_every=3, log_every=3, collection=Collection(warm_up=4))
BY_TRIAL = SAC(batch_size=4, body=MLP((4,)))


def by_trial(folder: Path, reward: Reward | None, learner: SAC = BY_TRIAL, **rest) -> Session:
    found = Session.open(learner, None, PLAN, folder, worlds=lambda _, n: Plane(n), spec=OWN, reward=reward, **rest)
    for _ in found.train():
        pass
    return found


def test_a_run_on_a_learned_reward_says_so_and_is_another_run(tmp_path: Path, reward: Reward) -> None:
    plain, own = by_trial(tmp_path / "plain", None), by_trial(tmp_path / "own", reward)
    assert plain.config["rewards_from"] is None
    assert own.run.config["rewards_from"] == reward.record()
    assert all(line["episode_return"] == [20.0, 20.0] for line in own.run.metrics() if "episode_return" in line)
    weights = [session.state.weights() for session in (plain, own)]
    assert any(not torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_run_counts_what_follows_an_end_by_the_learners_own_discount(
    tmp_path: Path, reward: Reward, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = Reward.of_population

    def of_population(self: Reward, batch: TransitionBatch, discount: float) -> torch.Tensor:
        asked.append(discount)
        return whole(self, batch, discount)

    monkeypatch.setattr(Reward, "of_population", of_population)
    by_trial(tmp_path / "own", reward, replace(BY_TRIAL, discount=0.7))
    assert asked == [0.7] * 6


def test_a_resumed_run_keeps_its_reward(tmp_path: Path, run: Path, reward: Reward) -> None:
    by_trial(tmp_path / "own", reward)
    assert by_trial(tmp_path / "own", reward, resume=True).state.step == 6
    for other in (None, Reward.of(run, 2)):
        with pytest.raises(ValueError, match="was begun on the reward of .*, and this is on"):
            by_trial(tmp_path / "own", other, resume=True)


@pytest.mark.parametrize("learner", [BC(), IQLearn(online=True, generator=SMALL)])
def test_a_learner_that_reads_no_rewards_is_refused(tmp_path: Path, reward: Reward, learner: BC | IQLearn) -> None:
    with pytest.raises(ValueError, match="reads no rewards"):
        Session.open(learner, walks([0.0, 0.0]), PLAN, tmp_path / "run", observations=("place",), reward=reward)
    assert not (tmp_path / "run").exists()

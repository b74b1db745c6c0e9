"""The feed that acts, in a world whose every number can be worked out: what is stored, when, and by whose action."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import Policy, State, policy_seeds
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.mlp import MLP
from demonstrably.spec import Continuous, Discrete, Field, Spec
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.online import Collection, OnlineFeed
from demonstrably.training.worlds import Stepped, Worlds

REAL = Spec({"place": Field((3,))}, Continuous((-2.0, 0.0), (2.0, 10.0)))
CHOICE = Spec({"place": Field((3,))}, Discrete(4))
ACTS = SAC(batch_size=8, body=MLP((4,)), learning_rate=1e-2)
CHOOSES = SoftQ(batch_size=8, body=MLP((4,)), learning_rate=1e-2)


@dataclass
class Points(Worlds):
    """Observes (seed's number, steps done, sum of actions), and pays the action's sum.

    An episode of seed s has 3 + s % 4 steps and ends by death where s is even, by time-out where it is odd; `endless`
    has none end. A `fickle` world draws the seed's number anew each time; in a `mortal` one every step is the last.
    """

    lanes: int
    endless: bool = False
    fickle: bool = False
    mortal: bool = False

    def __post_init__(self) -> None:
        self.seed, self.done, self.total = (np.zeros(self.lanes) for _ in range(3))
        self.number = np.zeros(self.lanes)
        self.over = np.ones(self.lanes, bool)
        self.pending: tuple[list[int], np.ndarray] | None = None
        self.began: list[tuple[int, int]] = []
        self.closed = 0

    def reset(self, lanes: Sequence[int], seeds: Sequence[int]) -> dict[str, np.ndarray]:
        assert self.pending is None and len(lanes) == len(seeds)
        self.began += zip(lanes, seeds, strict=True)
        for lane, seed in zip(lanes, seeds, strict=True):
            self.seed[lane], self.done[lane], self.total[lane], self.over[lane] = seed, 0, 0, False
            self.number[lane] = len(self.began) if self.fickle else seed % 1009
        return {"place": self._see(lanes)}

    def begin(self, lanes: Sequence[int], actions: np.ndarray) -> None:
        assert self.pending is None and len(lanes) == len(actions)
        assert not self.over[list(lanes)].any(), "an ended episode must not be stepped"
        self.pending = (list(lanes), actions.copy())

    def finish(self) -> Stepped:
        assert self.pending, "nothing was begun"
        lanes, actions = self.pending
        self.pending = None
        rewards = actions.reshape(len(lanes), -1).sum(1)
        self.done[lanes] += 1
        self.total[lanes] += rewards
        over = self.done[lanes] >= 3 + self.seed[lanes] % 4
        if self.endless:
            over = np.zeros(len(lanes), bool)
        if self.mortal:
            over = np.ones(len(lanes), bool)
        self.over[lanes] = over
        death = self.seed[lanes] % 2 == 0
        return Stepped({"place": self._see(lanes)}, rewards.astype(np.float32), over & death, over & ~death)

    def close(self) -> None:
        self.closed += 1

    def _see(self, lanes: Sequence[int]) -> np.ndarray:
        rows = list(lanes)
        return np.stack([self.number[rows], self.done[rows], self.total[rows]], 1).astype(np.float32)


def begun(
    collection: Collection,
    *,
    learner: SAC | SoftQ = ACTS,
    members: int = 1,
    seed: int = 3,
    updates: int = 100,
    world: Points | None = None,
    reads: Experience | None = None,
    demos: Demonstrations | None = None,
) -> tuple[OnlineFeed, State]:
    spec, reads = REAL if isinstance(learner, SAC) else CHOICE, reads or learner.reads()
    state = learner.init(spec, members=members, seed=seed, device="cpu")
    worlds = world or Points(members * collection.environments)
    shown = OfflineFeed(demos, ("place",), reads, "cpu") if demos else None
    explore = learner.explore
    feed = OnlineFeed(worlds, reads, spec, explore, collection, state=state, updates=updates, demonstrated=shown)
    return feed, state


def go(feed: OnlineFeed, state: State, updates: int, learner: SAC | SoftQ = ACTS) -> list[ExperienceBatch]:
    """That many updates; what each was given."""
    batches = []
    for _ in range(updates):
        batches.append(feed.batch(state))
        learner.step(state, batches[-1])
    return batches


def live(feed: OnlineFeed, state: State, updates: int) -> None:
    """That many batches, and no update in between."""
    for _ in range(updates):
        feed.batch(state)
        state.step += 1


def lived(feed: OnlineFeed) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in feed.replay.tensors().items()}


def same(one: ExperienceBatch, other: ExperienceBatch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(columns(one), columns(other), strict=True))


def columns(batch: ExperienceBatch) -> list[Tensor]:
    own = batch.own
    seen = own.observations["place"], own.next_observations["place"]
    return [*seen, own.actions, own.rewards, own.terminated]


# --- how often ---


@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("rate", [0.25, 1.0, 4.0])
def test_steps_keep_step_with_updates(rate: float, environments: int) -> None:
    collection = Collection(environments=environments, updates_per_step=rate, warm_up=7)
    feed, state = begun(collection)
    for update in range(1, 14):
        feed.batch(state)
        state.step += 1
        steps = 7 + update / rate  # that many have begun, rounded up to whole rounds of all environments
        assert feed.rounds == int(np.ceil(np.ceil(steps) / environments))
        assert feed.rounds == collection.rounds(update)
        assert collection.steps(update) == feed.rounds * environments
        assert feed.replay.count == (feed.rounds - 1) * environments  # the round under way is not taken in yet
        assert feed.replay.count >= 7 - environments


def test_it_waits_for_nothing_at_its_end_and_gives_back() -> None:
    feed, state = begun(Collection(warm_up=4))
    live(feed, state, 2)
    assert isinstance(feed.worlds, Points) and feed.worlds.pending is not None
    feed.close()
    assert feed.worlds.closed == 1


# --- what is stored ---


@pytest.mark.parametrize("learner", [ACTS, CHOOSES], ids=["real", "choice"])
def test_every_step_stands_beside_what_it_did_and_brought(learner: SAC | SoftQ) -> None:
    feed, state = begun(Collection(environments=4, warm_up=40, updates_per_step=0.25), learner=learner)
    live(feed, state, 12)
    kept = lived(feed)
    before, after = kept["observations/place"][0], kept["next_observations/place"][0]
    actions = kept["actions"][0].float().reshape(len(before), -1).sum(1)
    assert len(before) > 80
    assert torch.equal(after[:, 0], before[:, 0])  # the episode is the same before and after: its number says so
    assert torch.equal(after[:, 1], before[:, 1] + 1)
    torch.testing.assert_close(after[:, 2], before[:, 2] + actions)
    torch.testing.assert_close(kept["rewards"][0], actions)


def test_an_episode_begins_with_nothing_of_the_one_before() -> None:
    feed, state = begun(Collection(warm_up=60))
    feed.batch(state)
    kept = lived(feed)
    before, after = kept["observations/place"][0], kept["next_observations/place"][0]
    first = torch.nonzero(before[:, 1] == 0).flatten()
    assert len(first) > 8 and (before[first, 2] == 0).all()
    for start, end in zip(first[:-1].tolist(), first[1:].tolist(), strict=True):
        assert torch.equal(before[start + 1 : end], after[start : end - 1])  # steps follow one another
        assert not torch.equal(before[end], after[end - 1])  # and the next episode does not follow the last step


def test_a_death_is_told_from_a_time_out() -> None:
    world = Points(1)
    feed, state = begun(Collection(warm_up=80), world=world)
    feed.batch(state)
    kept, seeds = lived(feed), {seed % 1009: seed for _, seed in world.began}
    found = {True: 0, False: 0}
    for number, age, terminated in zip(
        kept["observations/place"][0, :, 0].tolist(),
        kept["next_observations/place"][0, :, 1].tolist(),
        kept["terminated"][0].tolist(),
        strict=True,
    ):
        seed = seeds[int(number)]
        last = age == 3 + seed % 4
        assert terminated == (last and seed % 2 == 0)
        if last:
            found[terminated] += 1
    assert found[True] > 3 and found[False] > 3


def test_a_member_lives_as_it_would_alone() -> None:
    collection = Collection(environments=2, warm_up=10, updates_per_step=0.5)
    feed, state = begun(collection, members=3, seed=20)
    batches = go(feed, state, 6)
    for member in range(3):
        alone, own = begun(collection, seed=20 + member)
        single = go(alone, own, 6)
        for name, value in lived(alone).items():
            torch.testing.assert_close(lived(feed)[name][member : member + 1] if value.ndim else value, value)
        torch.testing.assert_close(batches[-1].own.rewards[member], single[-1].own.rewards[0])
    seeds = [seed for _, seed in feed.worlds.began]
    assert len(set(seeds)) == len(seeds)  # no two episodes are the same


# --- whose action ---


def test_warm_up_is_by_chance_over_all_that_can_be_done() -> None:
    feed, state = begun(Collection(environments=20, warm_up=400))
    feed.batch(state)
    actions = lived(feed)["actions"][0]
    low, high = torch.tensor(REAL.action.low), torch.tensor(REAL.action.high)
    assert (actions >= low).all() and (actions <= high).all()
    assert ((actions - low).amin(0) < 0.05 * (high - low)).all()
    assert ((high - actions).amin(0) < 0.05 * (high - low)).all()
    feed, state = begun(Collection(environments=20, warm_up=400), learner=CHOOSES)
    feed.batch(state)
    counts = torch.bincount(lived(feed)["actions"][0], minlength=4)
    assert len(counts) == 4 and counts.min() > 60


class Told(Policy):
    """Does the number of steps that it has done in its episode."""

    spec, members = CHOICE, 1

    def start(self, seeds: Tensor) -> dict[str, Tensor]:
        return {"age": torch.zeros_like(seeds)}

    def act(self, observation: dict[str, Tensor], carry: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return carry["age"] % 4, {"age": carry["age"] + 1}

    def take(self, members: Sequence[int]) -> "Told":
        return self

    @classmethod
    def concatenate(cls, policies: Sequence[Policy]) -> Policy:
        return policies[0]


def test_after_it_the_exploring_policy_acts_and_begins_anew_with_each_episode() -> None:
    state = CHOOSES.init(CHOICE, members=1, seed=0, device="cpu")
    collection = Collection(environments=2, warm_up=4)
    feed = OnlineFeed(Points(2), CHOOSES.reads(), CHOICE, lambda _: Told(), collection, state=state, updates=30)
    live(feed, state, 30)
    kept = lived(feed)
    actions, ages = kept["actions"][0].view(-1, 2), kept["observations/place"][0, :, 1].view(-1, 2)
    for lane in range(2):
        later = torch.nonzero((ages[:, lane] == 0) & (torch.arange(len(ages)) > 2)).flatten()[0]
        assert torch.equal(actions[later:, lane].float(), ages[later:, lane] % 4)


def test_it_draws_its_actions_and_does_not_act_by_the_mean() -> None:
    feed, state = begun(Collection(warm_up=3), world=Points(1, endless=True))
    live(feed, state, 6)
    kept, found = lived(feed), {"explore": [], "mean": []}
    for name, policy in (("explore", ACTS.explore(state)), ("mean", ACTS.policy(state))):
        carry = policy.start(policy_seeds(feed.lives.seeds))
        for row in range(3, kept["actions"].shape[1]):
            seen = {"place": kept["observations/place"][:, row : row + 1]}
            action, carry = policy.act(seen, carry)
            found[name].append(action)
    own = kept["actions"][:, 3:]
    assert own.shape[1] == 5 and torch.equal(torch.cat(found["explore"], 1), own)
    assert (torch.cat(found["mean"], 1) != own).all()


def test_an_action_that_is_not_finite_stops_it() -> None:
    feed, state = begun(Collection(warm_up=2))
    live(feed, state, 3)
    with torch.no_grad():
        state.networks["actor"].last.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="an action is not finite after update 3"):
        live(feed, state, 2)


def test_a_fixed_horizon_says_why_when_the_task_ends() -> None:
    reads = replace(ACTS.reads(), fixed_horizon="its reward is never negative, so episodes must not end by the task")
    feed, state = begun(Collection(warm_up=50), reads=reads)
    with pytest.raises(ValueError, match="its reward is never negative"):
        feed.batch(state)
    feed, state = begun(Collection(warm_up=50), reads=reads, world=Points(1, endless=True))
    feed.batch(state)


def test_demonstrated_steps_stand_beside_its_own() -> None:
    states = np.full((9, 3), -5, np.float32)
    demos = Demonstrations.from_arrays({"place": states}, np.zeros((8, 2), np.float32), action=REAL.action)
    feed, state = begun(Collection(warm_up=4), members=2, seed=0, updates=9, reads=Experience(8, 5), demos=demos)
    batch = feed.batch(state)
    assert isinstance(batch.demonstrated, TransitionBatch)
    assert batch.own.rewards.shape == (2, 8) and batch.demonstrated.rewards.shape == (2, 5)
    assert (batch.demonstrated.observations["place"] == -5).all()
    assert (batch.own.observations["place"] != -5).all()


def test_own_and_demonstrated_steps_and_first_observations_are_drawn_apart() -> None:
    """Of as many own steps as demonstrated ones, and as many episodes: equal places would show shared chance."""
    states = np.zeros((128, 3), np.float32)
    states[:, 0] = np.arange(128)
    demos = Demonstrations.from_arrays(
        {"place": states}, np.zeros((64, 2), np.float32), action=REAL.action, lengths=[1] * 64
    )
    reads, world = Experience(64, 64), Points(1, endless=True)
    feed, state = begun(Collection(warm_up=64), seed=0, updates=9, reads=reads, world=world, demos=demos)
    batch = feed.batch(state)
    held = lived(feed)["actions"][0]
    assert len(held) == 64 and batch.demonstrated
    own = torch.stack([(held == action).all(-1).nonzero()[0, 0] for action in batch.own.actions[0]])
    shown, first = (
        (seen["place"][0, :, 0] / 2).long() for seen in (batch.demonstrated.observations, batch.demonstrated.first)
    )
    for one, other in ((own, shown), (own, first), (shown, first)):
        assert (one == other).float().mean() < 0.1


def test_updates_ahead_make_do_with_what_was_shown() -> None:
    """Three go ahead; then the policy makes every step, from the first on."""
    states = np.full((9, 3), -5, np.float32)
    demos = Demonstrations.from_arrays({"place": states}, np.zeros((8, 2), np.float32), action=REAL.action)
    reads, world = Experience(8, 5, ahead=3), Points(1)
    feed, state = begun(Collection(warm_up=4), seed=0, updates=9, reads=reads, world=world, demos=demos)
    for _ in range(3):
        batch = feed.batch(state)
        assert batch.demonstrated and torch.equal(batch.own.actions, batch.demonstrated.actions)
        state.step += 1
    assert feed.rounds == 0 and not world.began
    batch = feed.batch(state)
    assert feed.rounds == 5 and (batch.own.observations["place"] != -5).any()
    policy = ACTS.explore(state)
    first = torch.tensor([[[float(world.began[0][1] % 1009), 0.0, 0.0]]])
    acted, _ = policy.act({"place": first}, policy.start(policy_seeds(torch.tensor([[world.began[0][1]]]))))
    torch.testing.assert_close(lived(feed)["actions"][:, :1], acted)
    with pytest.raises(ValueError, match="ahead"):
        Experience(8, 0, ahead=1)


# --- stopping and going on ---


@pytest.mark.parametrize(
    ("learner", "environments", "rate"), [(ACTS, 1, 1.0), (ACTS, 3, 0.5), (CHOOSES, 3, 0.5), (CHOOSES, 3, 4.0)]
)
def test_stopped_and_resumed_it_equals_one_that_went_on(learner: SAC | SoftQ, environments: int, rate: float) -> None:
    collection = Collection(environments=environments, updates_per_step=rate, warm_up=9, replay=15)
    whole, state = begun(collection, learner=learner, members=2, updates=12)
    batches = go(whole, state, 12, learner)
    for stop in (1, 7):
        feed, state = begun(collection, learner=learner, members=2, updates=12)
        go(feed, state, stop, learner)
        ages = {len(lane) for lane in feed.lives.actions}
        assert environments == 1 or stop == 1 or len(ages) > 1  # episodes of different ages are under way
        saved = {name: value.clone() for name, value in feed.tensors().items()}
        training = {name: value.clone() for name, value in (state.weights() | state.progress()).items()}
        again, other = begun(collection, learner=learner, members=2, updates=12)
        other.restore(training)
        assert again.restore(other, saved) is None
        for name, value in saved.items():
            assert torch.equal(again.tensors()[name], value), name
        rest = go(again, other, 12 - stop, learner)
        assert all(same(a, b) for a, b in zip(rest, batches[stop:], strict=True))
        for name, value in whole.tensors().items():
            assert torch.equal(again.tensors()[name], value), name


def test_before_the_first_round_there_is_nothing_to_go_on_from() -> None:
    feed, state = begun(Collection(warm_up=4))
    again, other = begun(Collection(warm_up=4))
    assert again.restore(other, feed.tensors()) is None
    assert same(feed.batch(state), again.batch(other))


@pytest.mark.parametrize("kind", ["fickle", "mortal"])
def test_a_world_that_does_not_repeat_itself_begins_new_episodes(kind: str) -> None:
    collection = Collection(environments=3, warm_up=8)
    feed, state = begun(collection, world=Points(3, endless=True))
    live(feed, state, 5)
    world = Points(3, **{kind: True})
    again, _ = begun(collection, world=world)
    note = again.restore(state, feed.tensors())
    assert note == "the environment does not repeat itself by its seed: every episode under way was begun anew"
    world.mortal = False
    before = feed.replay.count
    live(again, state, 20)
    kept = again.replay.tensors()
    assert again.replay.count > before + 9
    assert torch.equal(kept["observations/place"][:, :before], feed.replay.tensors()["observations/place"])
    assert (kept["observations/place"][0, before : before + 3, 1] == 0).all()  # new episodes, and none went on
    torch.testing.assert_close(kept["rewards"][0, before:], kept["actions"][0, before:].sum(-1))


# --- what is told of it ---


def test_the_report_is_of_the_episodes_that_ended_since() -> None:
    feed, state = begun(Collection(warm_up=40), members=2)
    feed.batch(state)
    found, kept = feed.report(), lived(feed)
    after, rewards = kept["next_observations/place"], kept["rewards"]
    for member in range(2):
        seeds = {seed % 1009: seed for lane, seed in feed.worlds.began if lane == member}
        ages = after[member, :, 1].tolist()
        last = [age == 3 + seeds[int(n)] % 4 for n, age in zip(after[member, :, 0].tolist(), ages, strict=True)]
        ended = int(np.flatnonzero(last)[-1]) + 1
        assert found["episode_return"][member] == pytest.approx(float(rewards[member, :ended].sum()) / sum(last), 1e-4)
        assert found["episode_length"][member] == pytest.approx(ended / sum(last))
    assert feed.report() == {}


def test_the_report_waits_until_every_member_has_ended_an_episode() -> None:
    feed, state = begun(Collection(warm_up=2), members=4)
    reported = []
    for update in range(8):
        live(feed, state, 1)
        ended = feed.lives.ended[0]
        found = feed.report()
        assert bool(found) == bool((ended > 0).all())
        reported += [update] if found else []
    assert reported and reported[0] > 0


def test_an_endless_world_reports_nothing() -> None:
    feed, state = begun(Collection(warm_up=30), world=Points(1, endless=True))
    feed.batch(state)
    assert feed.report() == {}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"environments": 0}, "environments 0"),
        ({"warm_up": 0}, "warm_up 0"),
        ({"replay": 0}, "replay 0"),
        ({"updates_per_step": 0.0}, "updates_per_step 0.0: must be above 0"),
        ({"updates_per_step": -1.0}, "updates_per_step -1.0"),
        ({"updates_per_step": float("nan")}, "updates_per_step nan"),
        ({"updates_per_step": float("inf")}, "updates_per_step inf"),
        ({"environments": 8, "warm_up": 15}, "warm_up 15: give at least 16, two steps of each"),
        ({"environments": 8, "replay": 999}, "replay 999: give at least warm_up, 1000"),
    ],
)
def test_collections_that_cannot_be_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Collection(**wrong)

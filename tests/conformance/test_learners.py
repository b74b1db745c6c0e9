"""What every learner must do: one table of all of them, one set of checks.

A learner joins by a row in `CASES`.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import Batch, Experience, ExperienceBatch, TransitionBatch, Transitions
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners import LEARNERS
from demonstrably.learners.airl import AIRL
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Carry, Learner, Policy, State
from demonstrably.learners.csil import CSIL
from demonstrably.learners.gail import GAIL
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.learners.sqil import SQIL
from demonstrably.learners.value_dice import ValueDICE
from demonstrably.nets import random as numbers
from demonstrably.nets import transformer
from demonstrably.nets.divergences import JensenShannon
from demonstrably.nets.heads import Categorical, Deterministic, GaussianMixture, TanhGaussian
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.stationary import Stationary
from demonstrably.nets.transformer import Transformer
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous
from demonstrably.training import checkpoints
from demonstrably.training.feeds import Feed, OfflineFeed
from demonstrably.training.loop import train

MEMBERS, SEED = 3, 40
LENGTHS = [12, 1, 9, 2, 14, 7, 30]


# --- problems: the action is a function of what is observed ---


@cache
def states() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(sum(LENGTHS), 4)).astype(np.float32)


@cache
def continuous() -> Demonstrations:
    """Two keys, one with a dimension that never changes; actions in units of their own."""
    x = states()
    actions = np.tanh(x @ np.array([[1.0, 0.5], [-1, 0], [0, 1], [0, 0]])) * [0.9, 45] + [0, 50]
    observations = {"state": np.c_[x[:, :3], np.ones(len(x))], "goal": x[:, 3:]}
    action = Continuous((-1.0, 0.0), (1.0, 100.0))
    actions = actions.astype(np.float32)
    return Demonstrations.from_arrays(observations, actions, x[:, 0], lengths=LENGTHS, action=action)


@cache
def discrete() -> Demonstrations:
    x = states()
    return Demonstrations.from_arrays({"state": x}, x[:, :3].argmax(1), x[:, 0], lengths=LENGTHS)


@cache
def pictures() -> Demonstrations:
    """Two cameras of another size and a state; the action is the brightness of one."""
    x = states()
    light = np.clip(x[:, :1] * 60 + 128, 0, 255)[:, :, None, None]
    noise = np.random.default_rng(1).integers(0, 20, (2, len(x), 12, 12, 3))
    near = np.clip(light + noise[0], 0, 255).astype(np.uint8)
    observations = {"near": near, "far": noise[1, :, :8, :10, :1].astype(np.uint8), "state": x[:, 1:]}
    actions = np.tanh(x[:, :2]).astype(np.float32)
    return Demonstrations.from_arrays(observations, actions, x[:, 0], lengths=LENGTHS)


# --- the table ---


@dataclass(frozen=True)
class Case:
    """A learner in a small setting, the problem it learns, and how far rounding may lead two equal runs apart.

    The loss of a learner that bootstraps `chases` a moving target, and need not fall.
    """

    learner: Learner
    problem: Callable[[], Demonstrations]
    tolerance: float = 1e-5
    chases: bool = False


PLAIN = BC(learning_rate=3e-3, batch_size=16, body=MLP((16,)), vision=SmallCNN((4, 8), 8))
RNN = BCRNN(learning_rate=3e-3, batch_size=8, window=4, body=LSTM(12, 2), vision=SmallCNN((4, 8), 8))
GPT = replace(RNN, body=Transformer(layers=1, heads=2, width=16, dropout=0.2))
SOFT = SoftQ(learning_rate=3e-3, batch_size=16, body=MLP((16,)), vision=SmallCNN((4, 8), 8))
ACTS = SAC(learning_rate=3e-3, batch_size=16, body=MLP((16,)), vision=SmallCNN((4, 8), 8, crop=1.0))
DICE = ValueDICE(learning_rate=3e-3, batch_size=16, body=MLP((16,)), vision=SmallCNN((4, 8), 8, crop=1.0))
IQ = IQLearn(batch_size=16, generator=replace(SOFT, target_rate=None, average=0.9, normalize=True))
SMALL = {"learning_rate": 3e-3, "batch_size": 16, "body": MLP((16,)), "vision": SmallCNN((4, 8), 8, crop=1.0)}
CLONES = CSIL(
    replace(ACTS, temperature=0.05, critics=1, layer_norm=True, average=0.9),
    batch_size=16,
    cloning=3,  # so that all checks come through the three stages
    judging=2,
    learning_rate=3e-3,
    body=Stationary((16,), 3, 8),
    vision=SmallCNN((4, 8), 8, crop=1.0),
)
CASES = {
    "airl": Case(AIRL(replace(ACTS, temperature=0.1), **SMALL), continuous, 1e-4, chases=True),
    "airl state-only discrete": Case(AIRL(SOFT, state_only=True, gradient_penalty=0.0, **SMALL), discrete, chases=True),
    "bc deterministic": Case(replace(PLAIN, head=Deterministic(1.0, 0.5)), continuous),
    "bc tanh-gaussian": Case(replace(PLAIN, head=TanhGaussian()), continuous),
    "bc gaussian-mixture": Case(replace(PLAIN, head=GaussianMixture(3)), continuous),
    "bc categorical": Case(replace(PLAIN, head=Categorical(temperature=1.0)), discrete),
    "bc pictures": Case(PLAIN, pictures),
    "bc limited": Case(replace(PLAIN, gradient_clip=1.0, weight_decay=0.01, normalize=False, average=0.0), discrete),
    "bc bfloat16": Case(replace(PLAIN, precision="bfloat16"), continuous, 0.1),
    "bc-rnn lstm": Case(RNN, continuous),
    "bc-rnn lstm discrete": Case(replace(RNN, window=10), discrete),
    "bc-rnn lstm one step": Case(replace(RNN, window=1, head=Deterministic(), average=0.0), continuous),
    "bc-rnn lstm pictures": Case(RNN, pictures),
    "bc-rnn lstm bfloat16": Case(replace(RNN, precision="bfloat16"), continuous, 0.1),
    "bc-rnn transformer": Case(GPT, continuous),
    "bc-rnn transformer discrete": Case(replace(GPT, weight_decay=(0.0, 0.1, 0.2)), discrete),
    "bc-rnn transformer pictures": Case(GPT, pictures),
    "csil": Case(CLONES, continuous, 1e-4, chases=True),
    "csil refined": Case(replace(CLONES, refinement=1e-3), continuous, 1e-4, chases=True),
    "csil pictures": Case(replace(CLONES, gradient_penalty=0.0), pictures, 1e-4, chases=True),
    "gail": Case(GAIL(ACTS, **SMALL), continuous, 1e-4, chases=True),
    "gail discrete": Case(GAIL(SOFT, rehearse=True, **SMALL), discrete, 1e-4, chases=True),
    "gail one-signed": Case(GAIL(SOFT, form="positive", absorbing=False, **SMALL), discrete, 1e-4, chases=True),
    "iq-learn": Case(IQ, discrete),
    "iq-learn initial": Case(replace(IQ, value="initial", generator=SOFT, divergence=JensenShannon()), discrete),
    "iq-learn continuous": Case(replace(IQ, generator=ACTS), continuous, 1e-4),
    "iq-learn online": Case(
        replace(IQ, online=True, generator=ACTS, bounded=1.0, penalty=0.5, gradient_penalty=0.01), continuous, 1e-4
    ),
    "iq-learn online discrete": Case(replace(IQ, online=True), discrete),
    "sac": Case(ACTS, continuous, 1e-4, chases=True),
    "sac normalized": Case(replace(ACTS, layer_norm=True), continuous, 1e-4, chases=True),
    "sac pictures": Case(replace(ACTS, temperature=0.1, critics=1, average=0.9), pictures, 1e-4, chases=True),
    "soft-q": Case(SOFT, discrete, chases=True),
    "sqil": Case(SQIL(ACTS, batch_size=16), continuous, 1e-4, chases=True),
    "sqil discrete": Case(SQIL(SOFT, batch_size=16, absorbing=False), discrete, chases=True),
    "value-dice": Case(DICE, continuous, 1e-4, chases=True),
    "value-dice online": Case(replace(DICE, online=True, initial="first"), continuous, 1e-4, chases=True),
    "value-dice pictures": Case(replace(DICE, absorbing=False), pictures, 1e-4, chases=True),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def test_every_learner_is_in_the_table() -> None:
    assert {type(case.learner) for case in CASES.values()} == {kind for kind, _ in LEARNERS.values()}


# --- what the checks share ---


def begun(case: Case, learner: Learner | None = None, *, members: int = MEMBERS, seed: int = SEED) -> State:
    learner, spec = learner or case.learner, case.problem().spec()
    return learner.init(spec, members=members, seed=seed, device="cpu")


class Lived(Feed):
    """For a learner with experience of its own: recorded steps stand in for it, in another order than those shown."""

    def __init__(self, shown: OfflineFeed, reads: Experience):
        self.shown, self.reads = shown, reads
        self.observations, self.actions = shown.observations, shown.actions

    def draw(self, state: State) -> ExperienceBatch:
        own, shown = self.shown.draw(replace(state, keys=numbers.fork(state.keys, 99))), self.shown.draw(state)
        assert isinstance(own, TransitionBatch) and isinstance(shown, TransitionBatch)
        return ExperienceBatch(replace(own, first={}), shown if self.reads.demonstrations else None)


def feed_of(case: Case, device: str = "cpu") -> Feed:
    demos, reads = case.problem(), case.learner.reads()
    if isinstance(reads, Experience):
        return Lived(OfflineFeed(demos, demos.keys(), Transitions(reads.batch_size), device), reads)
    return OfflineFeed(demos, demos.keys(), reads, device)


def run(learner: Learner, feed: Feed, state: State, steps: int) -> Tensor:
    """That many updates; their losses (steps, M)."""
    return torch.stack([learner.step(state, feed.batch(state))["loss"] for _ in range(steps)])


def play(policy: Policy, case: Case, *, batch: int = 5, steps: int = 7, members: list[int] | None = None) -> Tensor:
    """Actions (T, M, B, ...) on recorded observations; rows are steps, so that each row sees others."""
    demos = case.problem()
    rows = torch.arange(batch)[None] + 3 * torch.arange(policy.members)[:, None]
    if members is not None:
        rows = rows[0] + 3 * torch.tensor(members)[:, None]
    carry, actions = policy.start(1000 + rows), []
    for t in range(steps):
        seen = {key: torch.from_numpy(demos.observations[key])[rows + t] for key in demos.keys()}
        action, carry = policy.act(seen, carry)
        actions.append(action)
    return torch.stack(actions)


def tensors(state: State) -> dict[str, Tensor]:
    return state.weights() | state.progress()


def copied(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in values.items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def single(learner: Learner, member: int) -> Learner:
    """The learner of one member of a population: its own value of each field that has one a member."""
    fields = {field.name: vars(learner)[field.name] for field in dataclasses.fields(learner)}
    own = ("learning_rate", "weight_decay")
    chosen = {n: v[member] for n, v in fields.items() if n in own and isinstance(v, tuple)}
    inner = {n: single(v, member) for n, v in fields.items() if isinstance(v, Learner)}
    return replace(learner, **chosen, **inner)


def paced(learner: Learner, rates: tuple[float, ...]) -> Learner:
    """The learner with a learning rate for each member, that of a generator inside it too."""
    fields = {field.name: vars(learner)[field.name] for field in dataclasses.fields(learner)}
    inner = {n: paced(v, rates) for n, v in fields.items() if isinstance(v, Learner)}
    own = {"learning_rate": rates} if "learning_rate" in fields else {}
    return replace(learner, **own, **inner)


def assert_members_equal_single_runs(case: Case, learner: Learner, steps: int = 20) -> None:
    feed, state = feed_of(case), begun(case, learner)
    losses = run(learner, feed, state, steps)
    actions = play(learner.policy(state), case).double()
    for i in range(MEMBERS):
        alone = single(learner, i)
        own = begun(case, alone, members=1, seed=SEED + i)
        near = {"rtol": case.tolerance, "atol": case.tolerance}
        torch.testing.assert_close(run(alone, feed, own, steps)[:, 0], losses[:, i], **near)
        size = max(1.0, actions.abs().max().item())
        mine = play(alone.policy(own), case, members=[i]).double()
        torch.testing.assert_close(mine[:, 0] / size, actions[:, i] / size, **near)


# --- the checks ---


@cases
def test_the_loss_falls(case: Case) -> None:
    if case.chases:
        return
    losses = run(case.learner, feed_of(case), begun(case), 60)
    assert (losses[-20:].mean(0) < losses[:20].mean(0) - 0.05 * losses[:20].mean(0).abs()).all()


@cases
def test_metrics_are_finite_and_one_a_member(case: Case) -> None:
    feed, state = feed_of(case), begun(case)
    for _ in range(3):
        for metric in case.learner.step(state, feed.batch(state)).values():
            assert metric.shape == (MEMBERS,) and torch.isfinite(metric).all() and not metric.requires_grad
    loss = case.learner.loss(state, feed.batch(state))
    assert loss.shape == (MEMBERS,) and torch.isfinite(loss).all()
    assert int(state.step) == 3


@pytest.mark.slow
@cases
def test_members_equal_single_runs(case: Case) -> None:
    assert_members_equal_single_runs(case, case.learner)


@pytest.mark.slow
@cases
def test_learning_rates_of_members_equal_single_runs(case: Case) -> None:
    assert_members_equal_single_runs(case, paced(case.learner, (1e-3, 0.0, 1e-2)), steps=10)


@cases
def test_members_differ(case: Case) -> None:
    state = begun(case)
    losses = run(case.learner, feed_of(case), state, 2)
    assert len(set(losses[1].tolist())) == MEMBERS
    trained = [p for p in state.weights().values() if len(p) == MEMBERS]
    assert any((p[0] != p[1]).any() for p in trained)


@pytest.mark.slow
@cases
def test_the_same_seed_gives_the_same_bits(case: Case) -> None:
    one, two, other = begun(case), begun(case), begun(case, seed=SEED + 1)
    feed = feed_of(case)
    first, second = run(case.learner, feed, one, 5), run(case.learner, feed, two, 5)
    assert torch.equal(first, second) and same_bits(tensors(one), tensors(two))
    assert not torch.equal(run(case.learner, feed, other, 5), first)
    assert torch.equal(play(case.learner.policy(one), case), play(case.learner.policy(two), case))


@cases
def test_no_global_generator_is_read_or_moved(case: Case) -> None:
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()
    state = begun(case)
    run(case.learner, feed_of(case), state, 2)
    play(case.learner.policy(state), case)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpys).all()


@cases
def test_a_step_leaves_its_batch_alone(case: Case) -> None:
    state = begun(case)
    batch = feed_of(case).batch(state)
    kept = copied(of_batch(batch))
    case.learner.step(state, batch)
    assert same_bits(of_batch(batch), kept)


def of_batch(batch: Batch) -> dict[str, Tensor]:
    parts = {}
    for name, value in vars(batch).items():
        if isinstance(value, TransitionBatch):
            parts |= {f"{name} {key}": one for key, one in of_batch(value).items()}
        elif value is not None:
            parts |= {f"{name} {key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return parts


@cases
def test_the_data_are_left_alone(case: Case) -> None:
    feed, state = feed_of(case), begun(case)
    kept = copied(feed.observations | {"actions": feed.actions})
    run(case.learner, feed, state, 2)
    assert same_bits(feed.observations | {"actions": feed.actions}, kept)


@cases
def test_judging_and_acting_change_nothing(case: Case) -> None:
    feed, state = feed_of(case), begun(case)
    run(case.learner, feed, state, 2)
    kept = copied(tensors(state))
    first = case.learner.loss(state, feed.batch(state))
    play(case.learner.policy(state), case)
    assert same_bits(tensors(state), kept)
    assert torch.equal(case.learner.loss(state, feed.batch(state)), first)


@cases
def test_no_two_draws_of_a_step_share_numbers(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch, the crops of each camera and each dropout have streams of their own."""
    used: list[tuple[int, int]] = []

    def watched(keys: Tensor, counter: Tensor | int, count: int) -> Tensor:
        used.extend((key, int(counter)) for key in keys.tolist())
        return bits(keys, counter, count)

    bits = numbers.bits
    monkeypatch.setattr(numbers, "bits", watched)
    monkeypatch.setattr(transformer, "bits", watched)
    feed, state = feed_of(case), begun(case)
    run(case.learner, feed, state, 2)
    assert len(used) >= 2 * MEMBERS and len(set(used)) == len(used)


@pytest.mark.slow
@cases
def test_saved_and_loaded_it_is_bit_equal(case: Case, tmp_path: Path) -> None:
    learner, feed, state = case.learner, feed_of(case), begun(case)
    run(learner, feed, state, 4)
    config = checkpoints.describe(learner, case.problem().spec(), MEMBERS, SEED)
    checkpoints.save(tmp_path / "000004", state, config)
    loaded = checkpoints.load_policy(tmp_path / "000004")
    assert loaded.members == MEMBERS and loaded.spec == case.problem().spec()
    assert torch.equal(play(loaded, case), play(learner.policy(state), case))

    again, resumed = checkpoints.rebuild(config, "cpu")
    assert again == learner
    checkpoints.restore(tmp_path / "000004", resumed)
    assert same_bits(tensors(resumed), tensors(state))
    assert torch.equal(run(again, feed, resumed, 4), run(learner, feed, state, 4))
    assert same_bits(tensors(resumed), tensors(state))


@cases
def test_the_carry_keeps_its_shape_and_is_left_alone(case: Case) -> None:
    policy, demos = case.learner.policy(begun(case)), case.problem()
    carry = policy.start(torch.arange(MEMBERS * 4).view(MEMBERS, 4))

    def described(values: Carry) -> dict[str, tuple[torch.Size, torch.dtype]]:
        return {name: (value.shape, value.dtype) for name, value in values.items()}

    assert all(value.shape[:2] == (MEMBERS, 4) for value in carry.values())
    for t in range(12):
        rows = torch.arange(t, t + 4).expand(MEMBERS, 4)
        seen = {key: torch.from_numpy(demos.observations[key])[rows] for key in demos.keys()}
        kept, looked = copied(carry), copied(seen)
        action, after = policy.act(seen, carry)
        assert described(after) == described(carry)
        assert same_bits(carry, kept) and same_bits(seen, looked)
        wanted = (MEMBERS, 4, 2) if demos.actions.ndim == 2 else (MEMBERS, 4)
        assert action.shape == wanted
        assert action.dtype == (torch.float32 if demos.actions.ndim == 2 else torch.int64)
        carry = after


@cases
def test_actions_are_within_their_bounds(case: Case) -> None:
    state, action = begun(case), case.problem().action
    acted = play(case.learner.policy(state), case)
    if isinstance(action, Continuous):
        assert (acted >= torch.tensor(action.low)).all() and (acted <= torch.tensor(action.high)).all()
    else:
        assert acted.min() >= 0 and acted.max() < action.count


@cases
def test_an_episode_does_not_depend_on_those_beside_it(case: Case) -> None:
    policy = case.learner.policy(begun(case))
    many, few = play(policy, case, batch=5), play(policy, case, batch=2)
    torch.testing.assert_close(many[:, :, :2], few)


@cases
def test_members_taken_or_joined_act_as_they_did(case: Case) -> None:
    state = begun(case)
    run(case.learner, feed_of(case), state, 3)
    policy = case.learner.policy(state)
    whole = play(policy, case)
    part = policy.take([2, 0])
    assert part.members == 2
    torch.testing.assert_close(play(part, case, members=[2, 0]), whole[:, [2, 0]])
    joined = type(policy).concatenate([policy.take([0]), policy.take([1, 2])])
    assert joined.members == MEMBERS
    torch.testing.assert_close(play(joined, case), whole)
    twice = play(policy.take([1, 1]), case, members=[1, 1])
    torch.testing.assert_close(twice[:, 0], twice[:, 1])


@cases
def test_what_is_taken_stays_as_the_training_goes_on(case: Case) -> None:
    feed, state = feed_of(case), begun(case)
    policy = case.learner.policy(state)
    taken, before = policy.take(range(MEMBERS)), play(policy, case)
    run(case.learner, feed, state, 5)
    assert torch.equal(play(taken, case), before)


@cases
def test_hyperparameters_are_frozen(case: Case) -> None:
    name = dataclasses.fields(case.learner)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(case.learner, name, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="updates are captured on CUDA, and there is none")
@cases
def test_captured_updates_equal_eager_ones(case: Case) -> None:
    demos, steps = case.problem(), 12
    feed = feed_of(case, "cuda")
    eager, captured = (case.learner.init(demos.spec(), members=MEMBERS, seed=SEED, device="cuda") for _ in range(2))
    losses = run(case.learner, feed, eager, steps).cpu()
    found = [progress.metrics["loss"] for progress in train(case.learner, feed, steps, state=captured, every=(1,))]
    # Sums of gradients that meet at one place have no fixed order there, so that bits may differ.
    near = {"rtol": max(case.tolerance, 2e-3), "atol": max(case.tolerance, 2e-3)}
    torch.testing.assert_close(torch.from_numpy(np.stack(found)), losses, **near)
    assert int(captured.step) == int(eager.step) == steps
    for name, tensor in tensors(captured).items():
        torch.testing.assert_close(tensor, tensors(eager)[name], **near)


# --- presets ---

PRESETS = [(name, preset) for name, (_, presets) in LEARNERS.items() for preset in presets]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_are_their_learners_settings(name: str, preset: str) -> None:
    kind, presets = LEARNERS[name]
    assert type(presets[preset]) is kind and presets[preset] != kind()


@pytest.mark.parametrize("kind", [BC, BCRNN, SAC, SoftQ])
@pytest.mark.parametrize("average", [-0.1, 1.0, float("nan")])
def test_an_average_that_would_stand_still_or_run_off_is_refused(kind: Callable[..., Learner], average: float) -> None:
    with pytest.raises(ValueError, match=r"average \S+ must be in \[0, 1\)"):
        kind(average=average)

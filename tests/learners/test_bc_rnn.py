"""Behavioral cloning from windows: its loss stops at an episode's end, and acting equals training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import WindowBatch, Windows
from demonstrably.learners.bc_rnn import BCRNN, PRESETS, likelihood_loss
from demonstrably.learners.contract import State
from demonstrably.learners.policies import actor_of
from demonstrably.nets.heads import Deterministic
from demonstrably.nets.recurrent import LSTM
from demonstrably.nets.transformer import Transformer
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Field, Spec

WINDOW, MEMBERS, BATCH = 6, 2, 7
SMALL = BCRNN(window=WINDOW, body=LSTM(8, 2), vision=SmallCNN((4,), 6))
GPT = replace(SMALL, body=Transformer(layers=1, heads=2, width=8, dropout=0.3))
SPEC = Spec(
    {"state": Field((3,), mean=(0.0, 1.0, 0.0), scale=(1.0, 1.0, 2.0)), "view": Field((6, 6, 1), "uint8")},
    Continuous((-1.0, -1.0), (1.0, 1.0)),
)
both = pytest.mark.parametrize("learner", [SMALL, GPT], ids=["lstm", "transformer"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def begun(learner: BCRNN) -> State:
    return learner.init(SPEC, members=MEMBERS, seed=0, device="cpu")


def batch(lengths: Tensor, *, seed: int = 0) -> WindowBatch:
    """Windows with the given numbers of true steps, (M, B); what lies past them depends on the seed."""
    shape = (MEMBERS, WINDOW, BATCH)
    mask = torch.arange(WINDOW)[:, None] < lengths[:, None]

    def mixed(make) -> Tensor:
        true, past = make(0), make(seed)
        return torch.where(mask.view(*shape, *[1] * (true.dim() - 3)), true, past)

    observations = {
        "state": mixed(lambda s: drawn(*shape, 3, seed=s)),
        "view": mixed(lambda s: pictures(*shape, 6, 6, 1, seed=s)),
    }
    return WindowBatch(observations, mixed(lambda s: torch.tanh(drawn(*shape, 2, seed=s + 1))), mask)


LENGTHS = torch.tensor([[6, 1, 3, 6, 2, 5, 4], [1, 1, 1, 6, 6, 2, 3]])


@both
def test_what_lies_past_an_episodes_end_changes_nothing(learner: BCRNN) -> None:
    one, other = begun(learner), begun(learner)
    first, second = batch(LENGTHS, seed=0), batch(LENGTHS, seed=9)
    assert not torch.equal(first.actions, second.actions)
    assert torch.equal(learner.loss(one, first), learner.loss(other, second))
    for _ in range(3):
        assert torch.equal(learner.step(one, first)["loss"], learner.step(other, second)["loss"])
    for name, tensor in one.weights().items():
        assert torch.equal(tensor, other.weights()[name])


@both
def test_the_loss_is_the_mean_over_the_true_steps(learner: BCRNN) -> None:
    state, whole = begun(learner), batch(LENGTHS)
    total = torch.zeros(MEMBERS)
    for member in range(MEMBERS):
        for row in range(BATCH):
            steps = int(LENGTHS[member, row])
            cut = WindowBatch(
                {k: v[:, :steps, row : row + 1] for k, v in whole.observations.items()},
                whole.actions[:, :steps, row : row + 1],
                torch.ones(MEMBERS, steps, 1, dtype=torch.bool),
            )
            total[member] += learner.loss(state, cut)[member] * steps
    torch.testing.assert_close(learner.loss(state, whole), total / LENGTHS.sum(1))


@both
def test_acting_repeats_what_was_trained(learner: BCRNN) -> None:
    """The action at each step of a window is the one whose loss training lowers."""
    learner = replace(learner, head=Deterministic())
    state = begun(learner)
    policy, whole = learner.policy(state), batch(torch.full((MEMBERS, BATCH), WINDOW))
    carry, actions = policy.start(torch.zeros(MEMBERS, BATCH, dtype=torch.int64)), []
    for t in range(WINDOW):
        action, carry = policy.act({k: v[:, t] for k, v in whole.observations.items()}, carry)
        actions.append(action)
    errors = (torch.stack(actions, 1) - whole.actions).square().mean((1, 2, 3))
    torch.testing.assert_close(learner.loss(state, whole), errors)


def test_dropout_is_drawn_in_training_alone() -> None:
    state, whole = begun(GPT), batch(LENGTHS)
    losses = [likelihood_loss(actor_of(state), whole, state.noise, torch.tensor(step)) for step in (0, 0, 1)]
    assert torch.equal(losses[0], losses[1]) and (losses[0] != losses[2]).all()
    assert (losses[0] != GPT.loss(state, whole)).all()


def test_it_reads_windows() -> None:
    assert replace(SMALL, batch_size=9).reads() == Windows(9, WINDOW)


def test_a_window_has_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="window 0: give at least 1 step"):
        replace(SMALL, window=0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        replace(SMALL, batch_size=0).reads()


def test_presets_hold_the_studys_numbers() -> None:
    """Mandlekar et al. 2021, appendix D: hyperparameters of BC-RNN."""
    low, image = PRESETS["robomimic"], PRESETS["robomimic-image"]
    assert (low.learning_rate, low.batch_size, low.window, low.body) == (1e-4, 100, 10, LSTM(400, 2))
    assert (image.learning_rate, image.batch_size, image.window, image.body) == (1e-4, 16, 10, LSTM(1000, 2))
    assert PRESETS["robomimic-transformer"].body == Transformer(layers=6, heads=8, width=512, dropout=0.1)

"""Behavioral cloning from single steps: what its loss is of, what it refuses, and its presets."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from demonstrably.data.batches import StepBatch, Steps
from demonstrably.learners.bc import BC, PRESETS, likelihood_loss
from demonstrably.learners.policies import actor_of
from demonstrably.nets.heads import Categorical, Deterministic, GaussianMixture
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import ResNet18, SmallCNN
from demonstrably.spec import Continuous, Discrete, Field, Spec

BOX = Continuous((-1.0, -1.0), (1.0, 1.0))
SMALL = BC(body=MLP((8,)), vision=SmallCNN((4,), 6, crop=0.5))
SPEC = Spec({"state": Field((3,), mean=(1.0, 2.0, 3.0), scale=(0.5, 0.0, 2.0))}, BOX)
PICTURES = Spec({"view": Field((12, 12, 1), "uint8")}, BOX)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def batch(members: int = 2, size: int = 5) -> StepBatch:
    return StepBatch({"state": drawn(members, size, 3)}, torch.tanh(drawn(members, size, 2, seed=1)))


def test_it_reads_single_steps() -> None:
    assert replace(SMALL, batch_size=7).reads() == Steps(7)


def test_the_loss_is_the_mean_over_each_members_batch() -> None:
    state = SMALL.init(SPEC, members=2, seed=0, device="cpu")
    actor, whole = actor_of(state), batch()
    losses = likelihood_loss(actor, whole, None, state.step)
    for i in range(5):
        one = StepBatch({"state": whole.observations["state"][:, i : i + 1]}, whole.actions[:, i : i + 1])
        losses = losses - likelihood_loss(actor, one, None, state.step) / 5
    torch.testing.assert_close(losses, torch.zeros(2))


def test_a_step_reports_the_loss_before_it() -> None:
    state = SMALL.init(SPEC, members=2, seed=0, device="cpu")
    before = SMALL.loss(state, batch())
    torch.testing.assert_close(SMALL.step(state, batch())["loss"], before)
    assert (SMALL.loss(state, batch()) < before).all()


def test_the_average_of_the_weights_acts_and_is_judged() -> None:
    learner = replace(SMALL, average=0.5, learning_rate=0.1)
    state = learner.init(SPEC, members=2, seed=0, device="cpu")
    expected = actor_of(state).last.bias.detach().clone()
    for step in range(4):
        learner.step(state, batch())
        now = actor_of(state).last.bias.detach()
        share = max(9 / (10 + step), 0.5)
        expected = (1 - share) * expected + share * now
    acting = learner.policy(state).actor
    torch.testing.assert_close(acting.last.bias, expected)
    assert (acting.last.bias - now).abs().max() > 0.01
    torch.testing.assert_close(
        learner.loss(state, batch()), likelihood_loss(acting, batch(), None, state.step)
    )


def test_without_an_average_the_weights_themselves_act() -> None:
    learner = replace(SMALL, average=0.0)
    state = learner.init(SPEC, members=2, seed=0, device="cpu")
    assert learner.policy(state).actor is actor_of(state) and state.networks.keys() == {"actor"}


def test_what_was_constant_in_the_data_is_not_looked_at() -> None:
    state = SMALL.init(SPEC, members=1, seed=0, device="cpu")
    policy, carry = SMALL.policy(state), SMALL.policy(state).start(torch.zeros(1, 1, dtype=torch.int64))
    one, other, third = (torch.tensor([[x]]) for x in ([1.0, 2.0, 3.0], [1.0, 9.0, 3.0], [1.5, 2.0, 3.0]))
    act = [policy.act({"state": x}, carry)[0] for x in (one, other, third)]
    assert torch.equal(act[0], act[1]) and not torch.equal(act[0], act[2])


def test_without_normalization_it_is_looked_at() -> None:
    plain = replace(SMALL, normalize=False, head=Deterministic())
    policy = plain.policy(plain.init(SPEC, members=1, seed=0, device="cpu"))
    carry = policy.start(torch.zeros(1, 1, dtype=torch.int64))
    act = [policy.act({"state": torch.tensor([[[1.0, x, 3.0]]])}, carry)[0] for x in (2.0, 9.0)]
    assert not torch.equal(act[0], act[1])


def test_training_crops_at_random_and_judging_at_the_center() -> None:
    state = SMALL.init(PICTURES, members=1, seed=0, device="cpu")
    images, actor = pictures(1, 30, 12, 12, 1), actor_of(state)
    whole = StepBatch({"view": images}, torch.zeros(1, 30, 2))
    center = StepBatch({"view": images[:, :, 3:9, 3:9].clone()}, torch.zeros(1, 30, 2))
    inner = replace(SMALL, vision=SmallCNN((4,), 6, crop=1.0))
    cut = Spec({"view": Field((6, 6, 1), "uint8")}, BOX)
    small = inner.init(cut, members=1, seed=0, device="cpu")
    torch.testing.assert_close(SMALL.loss(state, whole), inner.loss(small, center))
    losses = [likelihood_loss(actor, whole, state.noise, torch.tensor(step)).item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] != SMALL.loss(state, whole).item()


def test_bfloat16_rounds_large_products_only_in_training() -> None:
    state = SMALL.init(SPEC, members=2, seed=0, device="cpu")
    rounded = replace(SMALL, precision="bfloat16")
    exact = SMALL.loss(state, batch())
    assert torch.equal(rounded.loss(state, batch()), exact)
    loss = rounded.step(state, batch())["loss"]
    assert loss.dtype == torch.float32 and not torch.equal(loss, exact)
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)


def test_the_usual_head_follows_the_action() -> None:
    for action, head in ((BOX, GaussianMixture(5)), (Discrete(4), Categorical())):
        state = SMALL.init(replace(SPEC, action=action), members=1, seed=0, device="cpu")
        assert actor_of(state).head == head


@pytest.mark.parametrize(
    ("learner", "spec", "message"),
    [
        (replace(SMALL, head=Categorical()), SPEC, "Categorical needs discrete actions"),
        (replace(SMALL, head=Deterministic()), replace(SPEC, action=Discrete(3)), "needs continuous actions"),
        (replace(SMALL, learning_rate=(1e-3, 1e-4)), SPEC, "learning_rate has 2 values for 3 members"),
        (replace(SMALL, weight_decay=(0.1,)), SPEC, "weight_decay has 1 values for 3 members"),
        (replace(SMALL, gradient_clip=0.0), SPEC, "gradient_clip is 0.0"),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused(learner: BC, spec: Spec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learner.init(spec, members=3, seed=0, device="cpu")


def test_a_batch_holds_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="batch_size is 0: give at least 1"):
        replace(SMALL, batch_size=0).reads()


def test_presets_hold_the_studys_numbers() -> None:
    """Mandlekar et al. 2021, appendix D: hyperparameters of BC for low-dimensional observations and images."""
    low, image = PRESETS["robomimic"], PRESETS["robomimic-image"]
    for preset in (low, image):
        assert preset.learning_rate == 1e-4 and preset.weight_decay == 0 and not preset.normalize
        assert preset.body == MLP((1024, 1024)) and preset.average == 0
        assert preset.head is None and GaussianMixture() == GaussianMixture(modes=5, min_std=1e-4)
    assert (low.batch_size, image.batch_size) == (100, 16)
    assert image.vision == ResNet18(keypoints=32, features=64, crop=0.9)

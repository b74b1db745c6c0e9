"""The ring over what was lived through: what stands beside what, what is drawn, and what is put back."""

import pytest
import torch
from torch import Tensor

from demonstrably.nets.random import streams
from demonstrably.spec import Continuous, Discrete, Field, Spec
from demonstrably.training.replay import Replay

PLACE = Spec({"place": Field((1,))}, Continuous((-1.0,), (1.0,)))
PICTURE = Spec({"near": Field((4, 4, 3), "uint8"), "place": Field((2,))}, Discrete(3))
KEYS = streams(torch.arange(2))
COUNTER = torch.zeros((), dtype=torch.int64)


def numbers(*values: float, members: int = 2) -> Tensor:
    """The same numbers for every member, 100 apart: (M, E)."""
    return torch.tensor(values) + 100 * torch.arange(members)[:, None]


def add(replay: Replay, *places: float, after: float = 0.5, over: bool = False, members: int = 2) -> None:
    """Steps from these places, each to `after` further on; the action and the reward name the place."""
    place = numbers(*places, members=members)
    terminated = torch.full(place.shape, over)
    replay.add({"place": place[..., None]}, place[..., None], place, {"place": place[..., None] + after}, terminated)


def filled(capacity: int, count: int, environments: int = 1) -> Replay:
    replay = Replay(PLACE, members=2, capacity=capacity, device="cpu")
    for step in range(0, count, environments):
        add(replay, *map(float, range(step, step + environments)))
    return replay


def held(replay: Replay) -> list[float]:
    """The places that member 0 remembers, in order of size."""
    return sorted(replay.tensors()["rewards"][0].tolist())


def test_what_followed_an_episodes_last_step_is_its_own() -> None:
    replay = Replay(PLACE, members=2, capacity=8, device="cpu")
    add(replay, 0.0)
    add(replay, 1.0, over=True)  # the last of an episode: it ended at 1.5
    add(replay, 5.0)  # the next one begins elsewhere
    batch = replay.draw(KEYS, COUNTER, 200)
    place = batch.observations["place"].squeeze(-1)
    assert torch.equal(batch.next_observations["place"].squeeze(-1), place + 0.5)
    assert torch.equal(batch.terminated, place % 100 == 1.0)
    assert torch.equal(batch.actions.squeeze(-1), place) and torch.equal(batch.rewards, place)
    assert batch.first == {}


@pytest.mark.parametrize(("capacity", "count", "environments"), [(4, 6, 1), (5, 12, 3), (3, 9, 3), (4, 4, 1)])
def test_the_newest_steps_are_kept(capacity: int, count: int, environments: int) -> None:
    replay = filled(capacity, count, environments)
    assert held(replay) == [float(step) for step in range(count - capacity, count)]
    assert replay.count == count
    drawn = replay.draw(KEYS, COUNTER, 300)
    assert set(drawn.rewards[0].tolist()) == set(held(replay))


def test_what_is_empty_is_never_drawn() -> None:
    drawn = filled(1000, 3).draw(KEYS, COUNTER, 300)
    assert set(drawn.rewards[0].tolist()) == {0.0, 1.0, 2.0}


def test_members_remember_their_own() -> None:
    drawn = filled(4, 6).draw(KEYS, COUNTER, 64)
    assert (drawn.rewards[0] < 100).all() and (drawn.rewards[1] >= 100).all()
    assert not torch.equal(drawn.rewards[0], drawn.rewards[1] - 100)
    single = Replay(PLACE, members=1, capacity=4, device="cpu")
    for step in range(6):
        add(single, float(step), members=1)
    assert torch.equal(single.draw(KEYS[:1], COUNTER, 64).rewards[0], drawn.rewards[0])


def test_draws_are_uniform_and_follow_from_key_and_counter() -> None:
    replay = filled(16, 16)
    drawn = replay.draw(KEYS, COUNTER, 16_000)
    counts = torch.bincount(drawn.rewards[0].long(), minlength=16).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 45  # chi-square, 15 degrees of freedom: 1 in 10,000
    assert torch.equal(replay.draw(KEYS, COUNTER, 16_000).rewards, drawn.rewards)
    assert not torch.equal(replay.draw(KEYS, COUNTER + 1, 16_000).rewards, drawn.rewards)
    assert not torch.equal(replay.draw(streams(torch.arange(2, 4)), COUNTER, 16_000).rewards, drawn.rewards)


@pytest.mark.parametrize("count", [0, 3, 5, 13])
def test_what_is_put_back_is_equal_to_the_bit_and_goes_on(count: int) -> None:
    replay, other = filled(5, count), Replay(PLACE, members=2, capacity=5, device="cpu")
    other.restore({name: value.clone() for name, value in replay.tensors().items()})
    for step in range(count, count + 3):
        for ring in (replay, other):
            add(ring, float(step))
        for name, value in replay.tensors().items():
            assert torch.equal(other.tensors()[name], value), name
        assert torch.equal(replay.draw(KEYS, COUNTER, 9).rewards, other.draw(KEYS, COUNTER, 9).rewards)


@pytest.mark.parametrize("capacity", [4, 6])
def test_another_capacity_is_refused_once_the_ring_was_full(capacity: int) -> None:
    other = Replay(PLACE, members=2, capacity=capacity, device="cpu")
    with pytest.raises(ValueError, match="the replay held 5 steps a member: resume with the same --replay"):
        other.restore(filled(5, 7).tensors())


def test_a_ring_that_was_not_full_may_grow() -> None:
    other = Replay(PLACE, members=2, capacity=9, device="cpu")
    other.restore(filled(5, 4).tensors())
    for step in range(4, 9):
        add(other, float(step))
    assert held(other) == [float(step) for step in range(9)]


def test_pictures_stay_bytes() -> None:
    replay = Replay(PICTURE, members=1, capacity=4, device="cpu")
    near = torch.randint(0, 256, (1, 2, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seen = {"near": near, "place": torch.zeros(1, 2, 2)}
    choices = torch.tensor([[2, 1]])
    replay.add(seen, choices, torch.zeros(1, 2), seen, torch.zeros(1, 2, dtype=torch.bool))
    batch = replay.draw(KEYS[:1], COUNTER, 3)
    for shown in (batch.observations, batch.next_observations):
        assert shown["near"].dtype == torch.uint8 and shown["near"].shape == (1, 3, 4, 4, 3)
    which = (batch.actions == 1).long()
    assert torch.equal(batch.observations["near"][0], near[0, which[0]])
    assert batch.actions.dtype == torch.int64 and batch.actions.shape == (1, 3)

"""Batches from demonstrations: aligned, inside their episode, uniform, and each member's own."""

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from demonstrably.data.batches import Batch, Reads, StepBatch, Steps, TransitionBatch, Transitions, WindowBatch, Windows
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import State
from demonstrably.nets.random import streams
from demonstrably.training.feeds import OfflineFeed, kept_steps

LENGTHS = [5, 1, 8, 3, 13, 2]
FINAL = 99  # the step that the T+1st observation would be: never an input


def demonstrations() -> Demonstrations:
    """Observations, pictures and actions all say their episode and step."""
    rows = [(e, t) for e, length in enumerate(LENGTHS) for t in [*range(length), FINAL]]
    steps = [(e, t) for e, length in enumerate(LENGTHS) for t in range(length)]
    pictures = np.array(rows, np.uint8)[:, None, None, :].repeat(2, 1)
    observations = {"place": np.array(rows, np.float32), "picture": pictures}
    return Demonstrations.from_arrays(observations, np.array(steps, np.float32), lengths=LENGTHS)


def feed(reads: Reads, demos: Demonstrations | None = None) -> OfflineFeed:
    demos = demonstrations() if demos is None else demos
    return OfflineFeed(demos, ("place", "picture"), reads, "cpu")


def state(members: int = 3, step: int = 0, seed: int = 0) -> State:
    return State({}, {}, streams(torch.arange(seed, seed + members)), torch.tensor(step))


def places(batch: Batch) -> list[tuple[int, int]]:
    """(episode, step) of everything that counts in a batch."""
    kept = batch.mask if isinstance(batch, WindowBatch) else torch.ones(batch.actions.shape[:-1], dtype=torch.bool)
    return [(int(e), int(t)) for e, t in batch.actions[kept].tolist()]


def assert_aligned(batch: Batch) -> None:
    assert torch.equal(batch.observations["place"], batch.actions)
    assert torch.equal(batch.observations["picture"].float()[..., 0, 0, :], batch.actions)


VIEWS = [None, [4, 0, 2], [1], [1, 5], [3, 3]]


def test_left_out_steps_do_not_change_how_often_the_task_ends() -> None:
    """60 episodes of 50 steps, every 10th read: an end is still one step of 50, and no place is preferred."""
    count, length = 60, 50
    ended = np.tile(np.arange(length) == length - 1, count)
    rows = np.arange(count * (length + 1), dtype=np.float32)[:, None]
    actions = np.arange(count * length, dtype=np.float32)[:, None]
    demos = Demonstrations.from_arrays({"place": rows}, actions, lengths=[length] * count, terminated=ended)
    source = OfflineFeed(demos, ("place",), Transitions(20_000), "cpu", subsample=10, seed=3)
    batch = source.draw(state(1))
    assert isinstance(batch, TransitionBatch)
    assert batch.terminated.float().mean() == pytest.approx(1 / length, abs=0.004)
    thinned = [int(step) % length for step in batch.actions.unique() if not ended[int(step)]]
    assert source.steps == len(batch.actions.unique()) == len(thinned) + count
    assert {place % 10 for place in thinned} == set(range(10))


def test_episodes_shorter_than_the_spacing_keep_any_one_step() -> None:
    lengths = [2] * 400
    demos = Demonstrations.from_arrays({"place": np.zeros((1200, 1))}, np.zeros((800, 1), np.float32), lengths=lengths)
    kept = kept_steps(demos, 20, 0).reshape(400, 2)
    assert (kept.sum(1) == 1).all() and 150 < kept[:, 0].sum() < 250
    source = OfflineFeed(demos, ("place",), Transitions(4), "cpu", subsample=10**9)
    assert source.steps == 400 and len(source.followed) <= 800


@pytest.mark.parametrize("view", VIEWS)
def test_steps_pair_an_observation_with_its_action(view: list[int] | None) -> None:
    demos = demonstrations() if view is None else demonstrations().select(view)
    source = feed(Steps(64), demos)
    for step in range(5):
        batch = source.batch(state(step=step))
        assert isinstance(batch, StepBatch) and batch.actions.shape == (3, 64, 2)
        assert_aligned(batch)
        assert {e for e, _ in places(batch)} <= set(demos.episodes.tolist())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("length", [1, 4, 20])
def test_windows_stay_in_their_episode(length: int, view: list[int] | None) -> None:
    demos = demonstrations() if view is None else demonstrations().select(view)
    source = feed(Windows(64, length), demos)
    for step in range(4):
        batch = source.batch(state(step=step))
        assert isinstance(batch, WindowBatch) and batch.actions.shape == (3, length, 64, 2)
        assert_aligned(batch)
        episode, time = batch.actions.unbind(-1)
        assert torch.equal(episode, episode[:, :1].expand_as(episode))
        ends = torch.tensor(LENGTHS)[episode.long()]
        expected = time[:, :1] + torch.arange(length)[:, None]
        assert torch.equal(batch.mask, expected < ends)
        assert torch.equal(time, torch.minimum(expected, ends - 1))  # past the end, the last step again
        assert {int(e) for e in episode.unique()} <= set(demos.episodes.tolist())


@pytest.mark.parametrize("view", VIEWS[:4])
@pytest.mark.parametrize("reads", [Steps(4), Windows(4, 1), Windows(4, 3), Windows(4, 50)])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_once_sees_every_step_exactly_once(reads: Reads, size: int, view: list[int] | None) -> None:
    demos = demonstrations() if view is None else demonstrations().select(view)
    seen: Counter[tuple[int, int]] = Counter()
    for weight, batch in feed(reads, demos).once(2, size):
        assert_aligned(batch)
        found = Counter(places(batch))
        assert sum(found.values()) == 2 * weight and set(found.values()) == {2}  # the same for both members
        seen += found
    wanted = {(int(e), t) for e in demos.episodes for t in range(LENGTHS[e])}
    assert seen == Counter({place: 2 for place in wanted})


@pytest.mark.parametrize("reads", [Steps(512), Windows(512, 4)])
def test_every_step_is_equally_likely(reads: Reads) -> None:
    source, demos = feed(reads, demonstrations().select([4, 2, 0, 1])), demonstrations()
    counts: Counter[tuple[int, int]] = Counter()
    for step in range(10):
        batch = source.batch(state(step=step))
        first = batch.actions[:, 0] if isinstance(batch, WindowBatch) else batch.actions
        counts.update((int(e), int(t)) for e, t in first.flatten(0, 1).tolist())
    steps = [(e, t) for e in (4, 2, 0, 1) for t in range(demos.lengths[e])]
    assert counts.keys() == set(steps)
    assert stats.chisquare([counts[place] for place in steps]).pvalue > 1e-4


@pytest.mark.parametrize("reads", [Steps(16), Windows(16, 4)])
def test_a_member_draws_what_it_would_draw_alone(reads: Reads) -> None:
    source = feed(reads)
    whole = source.batch(state(members=3, step=7, seed=20))
    for i in range(3):
        alone = source.batch(state(members=1, step=7, seed=20 + i))
        assert torch.equal(alone.actions[0], whole.actions[i])
    assert not torch.equal(whole.actions[0], whole.actions[1])


def test_a_batch_depends_on_the_step_alone() -> None:
    source, now = feed(Steps(16)), state(step=7)
    first = source.batch(now)
    assert torch.equal(source.batch(now).actions, first.actions) and int(now.step) == 7
    source.batch(state(step=8))
    assert torch.equal(source.batch(state(step=7)).actions, first.actions)
    assert not torch.equal(source.batch(state(step=8)).actions, first.actions)


def test_neighboring_steps_draw_independently() -> None:
    demos = Demonstrations.from_arrays(np.zeros((64, 1)), np.arange(64), lengths=[64])
    source = OfflineFeed(demos, ("flat",), Steps(2048), "cpu")
    one, other = (source.batch(state(members=2, step=step)).actions for step in (3, 4))
    for a, b in ((one[0], other[0]), (one[0], one[1]), (one[0][:-1], one[0][1:])):
        table = np.histogram2d(a, b, bins=8)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-4


def test_the_columns_are_the_demonstrations_own_memory() -> None:
    demos = demonstrations()
    source = feed(Steps(4), demos.select([0, 2]))
    assert source.actions.data_ptr() == demos.actions.ctypes.data
    assert source.observations["picture"].data_ptr() == demos.observations["picture"].ctypes.data
    assert source.batch(state()).observations["picture"].dtype == torch.uint8


def test_files_mapped_for_reading_serve_without_a_warning(tmp_path: Path) -> None:
    demos = demonstrations()
    mapped = {}
    for key, column in demos.observations.items():
        np.save(tmp_path / f"{key}.npy", column)
        mapped[key] = np.load(tmp_path / f"{key}.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = feed(Windows(8, 4), replace(demos, observations=mapped))
    assert_aligned(source.batch(state()))


def test_discrete_actions_stay_integers() -> None:
    demos = Demonstrations.from_arrays(np.zeros((9, 2)), np.arange(9) % 3, lengths=[4, 5])
    for reads, shape in ((Steps(6), (2, 6)), (Windows(6, 3), (2, 3, 6))):
        actions: Tensor = OfflineFeed(demos, ("flat",), reads, "cpu").batch(state(2)).actions
        assert actions.dtype == torch.int64 and actions.shape == shape


def test_only_the_chosen_keys_are_read() -> None:
    source = OfflineFeed(demonstrations(), ("place",), Steps(4), "cpu")
    assert source.batch(state()).observations.keys() == {"place"}


def test_nothing_to_learn_from_is_an_error() -> None:
    empty = demonstrations()
    empty = replace(empty, episodes=empty.episodes[:0], table=empty.table.slice(0, 0))
    with pytest.raises(ValueError, match="no steps to learn from: the selection of episodes is empty"):
        feed(Steps(4), empty)


@pytest.mark.parametrize("make", [lambda: Steps(0), lambda: Windows(-1, 4)])
def test_a_batch_holds_something(make) -> None:
    with pytest.raises(ValueError, match="batch_size is"):
        make()

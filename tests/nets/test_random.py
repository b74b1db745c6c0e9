"""Random numbers by counter: the published values of splitmix64, uniform, and independent where they must be."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from demonstrably.nets import random
from demonstrably.nets.random import below, bits, fork, mix, streams, uniform

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
UNLIKELY = 1e-4  # of a test statistic; the seeds are fixed, so that a pass stays a pass


def finalized(word: int) -> int:
    """splitmix64's finalizer on Python's integers."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


def unsigned(values: Tensor) -> list[int]:
    return [value & WORD for value in values.flatten().tolist()]


def signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def keys_of(count: int, first: int = 0) -> Tensor:
    return streams(torch.arange(first, first + count))


@pytest.mark.parametrize(
    ("seed", "published"),
    [
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]),
        (1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423]),
    ],
)
def test_mix_gives_the_published_sequence(seed: int, published: list[int]) -> None:
    states = [signed((seed + i * GOLDEN) & WORD) for i in (1, 2, 3)]
    assert unsigned(mix(torch.tensor(states))) == published


def test_mix_equals_python_integers() -> None:
    draws = np.random.default_rng(0).integers(0, WORD, 1000, dtype=np.uint64, endpoint=True).tolist()
    words = [0, 1, WORD, 1 << 63, (1 << 63) - 1, *draws]
    assert unsigned(mix(torch.tensor([signed(w) for w in words]))) == [finalized(w) for w in words]


def test_streams_of_small_seeds_are_the_sequence_from_zero() -> None:
    assert unsigned(streams(torch.arange(2))) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert len(set(unsigned(streams(torch.arange(-500, 100_000))))) == 100_500


@pytest.mark.parametrize("purpose", [0, 1, 2, 1000])
def test_fork_equals_python_integers(purpose: int) -> None:
    keys = keys_of(20)
    masked = purpose * GOLDEN & WORD >> 1
    assert unsigned(fork(keys, purpose)) == [finalized(key ^ masked) for key in unsigned(keys)]


@pytest.mark.parametrize("counter", [0, 1, 12345])
def test_bits_equal_python_integers(counter: int) -> None:
    keys = keys_of(3)
    expected = [
        finalized((finalized((key + counter * GOLDEN) & WORD) + lane * GOLDEN) & WORD)
        for key in unsigned(keys)
        for lane in range(1, 5)
    ]
    assert unsigned(bits(keys, counter, 4)) == expected
    words = bits(keys, torch.tensor(counter), 4)
    assert unsigned(words) == expected
    drawn = uniform(keys, counter, 4).flatten().tolist()
    assert drawn == [((word >> 41) + 0.5) / (1 << 23) for word in expected]
    assert below(1000, keys, counter, 4).flatten().tolist() == [(word >> 2) % 1000 for word in expected]


def test_uniform_is_strictly_inside_for_the_smallest_and_the_largest_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = torch.tensor([[0, -1]])  # no bit set, all bits set
    monkeypatch.setattr(random, "bits", lambda keys, counter, count: ends)
    low, high = uniform(keys_of(1), 0, 2).flatten().tolist()
    assert 0 < low < 1e-6 and 1 - 1e-6 < high < 1


def drawn_along(axis: str) -> Tensor:
    """65,536 numbers: of neighboring seeds, counters or lanes, or of the forks of one key."""
    count, key = 1 << 16, keys_of(1, 7)
    return {
        "seeds": lambda: uniform(keys_of(count), 3, 1),
        "counters": lambda: uniform(key.expand(count), torch.arange(count), 1),
        "lanes": lambda: uniform(key, 3, count),
        "forks": lambda: torch.cat([uniform(fork(key, purpose), 3, 256) for purpose in range(256)]),
    }[axis]().flatten()


@pytest.mark.parametrize("axis", ["seeds", "counters", "lanes", "forks"])
def test_numbers_are_uniform(axis: str) -> None:
    numbers = drawn_along(axis).numpy()
    counts = np.bincount((numbers * 64).astype(int), minlength=64)
    assert stats.chisquare(counts).pvalue > UNLIKELY
    assert stats.kstest(numbers, "uniform").pvalue > UNLIKELY


@pytest.mark.parametrize("axis", ["seeds", "counters", "lanes", "forks"])
def test_neighbors_are_independent(axis: str) -> None:
    numbers = drawn_along(axis)
    assert independent(numbers[:-1], numbers[1:])


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (1, 3), (2, 4)])
def test_forks_are_independent(one: int, other: int) -> None:
    keys = keys_of(1 << 16)
    assert independent(uniform(fork(keys, one), 5, 1), uniform(fork(keys, other), 5, 1))
    assert independent(uniform(keys, 5, 1), uniform(fork(keys, one), 5, 1))
    assert independent(uniform(fork(keys, one), 5, 1), uniform(fork(fork(keys, one), one), 5, 1))


def test_the_test_of_independence_can_fail() -> None:
    numbers = drawn_along("seeds")
    assert not independent(numbers, numbers)
    assert not independent(numbers, (numbers + 0.5) % 1)


def independent(one: Tensor, other: Tensor) -> bool:
    """Whether a chi-square test on an 8 x 8 table finds nothing."""
    cells = (one.flatten() * 8).long() * 8 + (other.flatten() * 8).long()
    counts = torch.bincount(cells, minlength=64).reshape(8, 8).numpy()
    return stats.chi2_contingency(counts).pvalue > UNLIKELY


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_below_is_uniform_over_its_range(limit: int) -> None:
    drawn = below(limit, keys_of(64), 9, 2048).flatten()
    assert drawn.min() >= 0 and drawn.max() < limit and drawn.dtype == torch.int64
    counts = torch.bincount(drawn, minlength=limit).numpy()
    assert limit == 1 or stats.chisquare(counts).pvalue > UNLIKELY
    assert torch.equal(below(torch.tensor(limit), keys_of(64), 9, 2048).flatten(), drawn)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="numbers are mixed by a kernel on CUDA, and there is none")
@pytest.mark.parametrize("draw", [uniform, lambda *rest: below(10**9, *rest), bits])
def test_numbers_are_the_same_on_a_gpu(draw) -> None:
    keys, ages = keys_of(6).view(2, 3), torch.tensor([[0, 4, 4], [9, 1, 0]])
    expected = draw(fork(keys, 3), ages, 5)
    assert torch.equal(draw(fork(keys.cuda(), 3), ages.cuda(), 5).cpu(), expected)


@pytest.mark.parametrize("draw", [uniform, lambda *rest: below(10**9, *rest), bits])
def test_a_number_depends_on_its_key_counter_and_lane_alone(draw) -> None:
    keys, ages = keys_of(6).view(2, 3), torch.tensor([[0, 4, 4], [9, 1, 0]])
    together = draw(keys, ages, 5)
    assert together.shape == (2, 3, 5)
    for i, j in product(range(2), range(3)):
        alone = draw(keys[i, j], int(ages[i, j]), 3)
        assert torch.equal(alone, together[i, j, :3])


def test_no_global_generator_is_read_or_moved() -> None:
    before = torch.get_rng_state()
    first = uniform(keys_of(4), 1, 100)
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(3)
    assert torch.equal(uniform(keys_of(4), 1, 100), first)


def test_no_number_at_all() -> None:
    assert uniform(keys_of(4).view(2, 2), 0, 0).shape == (2, 2, 0)

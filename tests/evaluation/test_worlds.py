"""An arena as the worlds of a learner: the environment's own numbers, by worker or without, and clean ends."""

from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest

from demonstrably.evaluation import arena as arenas
from demonstrably.evaluation.arena import stop_workers
from demonstrably.evaluation.environments import spec_of
from demonstrably.evaluation.worlds import ArenaWorlds
from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec
from demonstrably.training.worlds import Stepped

POLE, PENDULUM = Environment("CartPole-v1"), Environment("Pendulum-v1")
TOY = Spec({"flat": Field((3,))}, Continuous((-1.0, -1.0), (1.0, 1.0)))


def toy(name: str, **arguments: str) -> Environment:
    return Environment(f"toy/{name}-v0", arguments, ("toy_environments",))


@contextmanager
def worlds(environment: Environment, lanes: int = 1, workers: int = 0, spec: Spec | None = None) -> Iterator:
    found = ArenaWorlds(environment, spec or spec_of(environment), lanes, workers=workers)
    yield found
    found.close()


def round_of(world: ArenaWorlds, lanes: list[int], actions: np.ndarray) -> Stepped:
    world.begin(lanes, actions)
    return world.finish()


@pytest.mark.parametrize("environment", [POLE, PENDULUM], ids=lambda e: e.name)
def test_what_is_observed_and_paid_is_the_environments_own(environment: Environment) -> None:
    env = gymnasium.make(environment.name)
    first, _ = env.reset(seed=7)
    draws = np.random.default_rng(0)
    with worlds(environment, 2) as world:
        np.testing.assert_array_equal(world.reset([1, 0], [7, 8])["observation"][0], first)
        for _ in range(8):
            pole = environment is POLE
            action = draws.integers(0, 2, 2) if pole else draws.uniform(-2, 2, (2, 1)).astype(np.float32)
            observation, reward, *_ = env.step(int(action[0]) if pole else action[0])
            stepped = round_of(world, [1, 0], action)
            np.testing.assert_array_equal(stepped.observations["observation"][0], observation)
            assert stepped.rewards[0] == np.float32(reward) and stepped.rewards.dtype == np.float32
    env.close()


def test_workers_change_nothing_and_are_free_again_in_the_middle_of_a_round() -> None:
    stop_workers()
    told = []
    for workers in (0, 1):
        with worlds(PENDULUM, 3, workers) as world:
            told.append([world.reset([0, 1, 2], [1, 2, 3])["observation"]])
            for step in range(3):
                stepped = round_of(world, [2, 0, 1], np.full((3, 1), step - 1, np.float32))
                told[-1] += [stepped.observations["observation"], stepped.rewards]
            world.begin([0], np.zeros((1, 1), np.float32))  # nobody will wait for it
    assert all(np.array_equal(one, other) for one, other in zip(*told, strict=True))
    (process,) = arenas._IDLE
    with worlds(PENDULUM, 3, 1) as world:  # the same process, and what it answers is of now
        assert arenas._IDLE == [] and world._arena._ports == [process]
        assert np.array_equal(world.reset([0, 1, 2], [1, 2, 3])["observation"], told[0][0])
    stop_workers()


def test_a_fallen_pole_is_a_death() -> None:
    with worlds(POLE, 2) as world:
        world.reset([0, 1], [0, 1])
        for step in range(1, 30):
            stepped = round_of(world, [0, 1], np.array([1, step % 2]))
            if stepped.terminated.any():
                break
    assert stepped.terminated.tolist() == [True, False] and not stepped.truncated.any()
    assert abs(stepped.observations["observation"][0, 2]) > 0.2  # what it saw last, and not the next beginning


def test_the_time_limit_is_no_death_and_another_episode_may_follow() -> None:
    with worlds(PENDULUM) as world:
        for seed in (0, 1):
            world.reset([0], [seed])
            for step in range(1, 201):
                stepped = round_of(world, [0], np.zeros((1, 1), np.float32))
                assert not stepped.terminated.any() and stepped.truncated.tolist() == [step == 200]


def test_every_difference_is_listed() -> None:
    spec = Spec({"observation": Field((5,))}, Discrete(3))
    with pytest.raises(ValueError, match="does not fit CartPole-v1") as caught:
        ArenaWorlds(POLE, spec, 1)
    text = str(caught.value)
    assert r"'observation': the data has (5,) float32, the environment gives (4,) float32" in text
    assert "the data has 3 choices, the environment takes 2 choices" in text


def test_several_seats_are_refused() -> None:
    two = Environment("toy/Seats-v0", imports=("toy_environments",), seats=2)
    with pytest.raises(ValueError, match="toy/Seats-v0 has 2 seats: experience is gathered by one policy"):
        ArenaWorlds(two, TOY, 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_that_fails_names_the_seed_and_ends_the_workers(workers: int) -> None:
    stop_workers()
    with worlds(toy("Trouble", how="raise"), 2, workers, TOY) as world:
        world.reset([0, 1], [2, 7])
        actions = np.zeros((2, 2), np.float32)
        for _ in range(2):
            round_of(world, [0, 1], actions)
        world.begin([0, 1], actions)
        with pytest.raises(ValueError, match="failed at step 2 of the episode with seed 7: ZeroDivisionError"):
            world.finish()
    assert arenas._IDLE == [] and arenas._INSIDE == []


def test_a_failure_in_a_round_that_nobody_wants_is_none() -> None:
    with worlds(toy("Trouble", how="raise"), 1, 0, TOY) as world:
        world.reset([0], [7])
        for _ in range(2):
            round_of(world, [0], np.zeros((1, 2), np.float32))
        world.begin([0], np.zeros((1, 2), np.float32))
    assert arenas._INSIDE == []

"""Problems from files and from Gymnasium: what is read is what the environment does, and mistakes are told."""

import pickle
import warnings
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from demonstrably.data.formats import storage
from demonstrably.tabular import problems, toy_text
from demonstrably.tabular.mdp import MDP

TRANSITIONS = np.random.default_rng(0).dirichlet(np.ones(4), (4, 3))


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_a_dense_file(tmp_path):
    names = np.array(["hall", "kitchen", "bath", "attic"])
    policy = np.full((4, 3), 1 / 3)
    path = written(
        tmp_path / "house.npz",
        transitions=TRANSITIONS, discount=0.9, initial=2, state_names=names, action_names=np.array([b"a", b"b", b"c"]),
        reward=np.arange(4), features=np.eye(12)[:, :5], policy=policy,
    )  # fmt: skip
    problem = problems.read(path)
    mdp = problem.mdp
    assert problem.name == "house.npz"
    assert np.array_equal(mdp.transitions.toarray(), TRANSITIONS.reshape(12, 4))
    assert (mdp.discount, mdp.horizon, mdp.starts.tolist()) == (0.9, None, [0, 0, 1, 0])
    assert mdp.name(4) == "state kitchen, action b"
    assert np.array_equal(problem.reward, np.repeat(np.arange(4.0)[:, None], 3, 1))
    assert np.array_equal(problem.features, np.eye(12)[:, :5]) and np.array_equal(problem.policy, policy)


def test_a_sparse_file(tmp_path):
    rows, columns = np.nonzero(TRANSITIONS.reshape(12, 4) > -1)
    path = written(
        tmp_path / "a.npz",
        rows=rows, columns=columns, probabilities=TRANSITIONS.ravel(), shape=(12, 4), horizon=7,
    )  # fmt: skip
    mdp = problems.read(str(path)).mdp
    assert np.array_equal(mdp.transitions.toarray(), TRANSITIONS.reshape(12, 4))
    assert (mdp.actions, mdp.discount, mdp.horizon) == (3, 1.0, 7)


def test_time_and_starts_that_are_given_take_the_place_of_the_files(tmp_path):
    path = written(tmp_path / "a.npz", transitions=TRANSITIONS, horizon=7)
    assert problems.read(path, discount=0.5).mdp.horizon is None
    assert problems.read(path, horizon=3).mdp.horizon == 3
    mdp = problems.read(path, horizon=3, discount=0.5, initial=1).mdp
    assert (mdp.horizon, mdp.discount, mdp.starts.tolist()) == (3, 0.5, [0, 1, 0, 0])


@pytest.mark.parametrize("time", [{"discount": 0.9}, {"horizon": 5}, {"horizon": 5, "discount": 0.5}])
def test_what_is_saved_is_read(tmp_path, time):
    mdp = MDP(TRANSITIONS, **time, initial=[0.5, 0, 0.5, 0], state_names=["ä", "b", "c", "d"])
    reward = np.random.default_rng(1).normal(size=(4, 3, 4))
    policy = np.random.default_rng(2).dirichlet(np.ones(3), 4)
    path = problems.save(tmp_path / "a.npz", mdp, reward=reward, features=np.eye(12), policy=policy)
    found = problems.load(path)
    assert repr(found.mdp) == repr(mdp) and found.mdp.state_names == mdp.state_names
    assert abs(found.mdp.transitions - mdp.transitions).max() == 0 and np.array_equal(found.mdp.starts, mdp.starts)
    assert np.allclose(found.reward, (reward * TRANSITIONS).sum(2))
    assert np.array_equal(found.features, np.eye(12)) and np.array_equal(found.policy, policy)
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


def test_saving_needs_the_ending(tmp_path):
    with pytest.raises(ValueError, match=r"give a name that ends in .npz"):
        problems.save(tmp_path / "a.np", MDP(TRANSITIONS, horizon=1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds no problem .in it: nothing."),
        ({"transitions": TRANSITIONS}, "a.npz: give a discount below 1, or a horizon"),
        ({"transitions": TRANSITIONS, "discout": 0.9}, "unknown array 'discout'; did you mean 'discount'"),
        ({"transitions": TRANSITIONS, "zzz": 0.9}, "unknown array 'zzz'; there may be: transitions, rows"),
        ({"transitions": TRANSITIONS, "discount": [0.9, 0.5]}, r"discount of shape \(2,\): give one number"),
        ({"transitions": TRANSITIONS, "horizon": 2.5}, "horizon 2.5: give a whole number"),
        ({"transitions": 2 * TRANSITIONS, "discount": 0.9}, "do not sum to 1 .state 0, action 0: 2;"),
        ({"transitions": TRANSITIONS, "horizon": 2, "policy": np.ones((4, 3))}, "the policy in state 0"),
        ({"transitions": TRANSITIONS, "horizon": 2, "features": np.full((12, 2), np.nan)}, "feature 0 of state 0"),
        ({"transitions": TRANSITIONS, "horizon": 2, "reward": np.ones(5)}, r"reward of shape \(5,\)"),
        ({"transitions": TRANSITIONS, "horizon": 2, "state_names": np.arange(4)}, "state_names holds int64; give text"),
        ({"transitions": TRANSITIONS.astype(str), "horizon": 2}, "transitions holds <U32; give numbers"),
        ({"transitions": TRANSITIONS.astype(object), "horizon": 2}, "pickled objects never are"),
        ({"rows": [0], "columns": [0], "probabilities": [1.0]}, "holds no problem"),
        (
            {"rows": [0], "columns": [0], "probabilities": [1.0], "shape": [3, 2], "horizon": 2},
            r"shape \[3, 2\]: give \(S \* A, S\)",
        ),
        (
            {"rows": [0], "columns": [4], "probabilities": [1.0], "shape": [4, 2], "horizon": 2},
            "columns: give whole numbers from 0 to 1",
        ),
        (
            {"rows": [0, 1], "columns": [0], "probabilities": [1.0], "shape": [4, 2], "horizon": 2},
            "give as many of each",
        ),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, arrays, message):
    path = written(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        problems.read(path)
    assert str(path) in str(caught.value)


def test_damaged_and_foreign_files(tmp_path):
    path = written(tmp_path / "a.npz", transitions=TRANSITIONS, discount=0.9)
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a.npz is (damaged|empty)"):
            problems.read(path)
    middle = bytearray(whole)
    middle[200:220] = bytes(20)
    path.write_bytes(middle)
    with pytest.raises(ValueError, match="damaged"):
        problems.read(path)
    path.write_bytes(pickle.dumps(TRANSITIONS))
    with pytest.raises(ValueError, match="a pickle, which is never read"):
        problems.read(path)
    np.save(tmp_path / "b.npy", TRANSITIONS)
    with pytest.raises(ValueError, match=r"no .npz archive"):
        problems.read(tmp_path / "b.npy")


def test_missing_files(tmp_path):
    written(tmp_path / "kitchen.npz", transitions=TRANSITIONS)
    with pytest.raises(FileNotFoundError, match=r"no such file; did you mean '.*kitchen.npz'"):
        problems.read(tmp_path / "kichen.npz")
    with pytest.raises(FileNotFoundError, match=r"missing.npz: no such file; check the path"):
        written(tmp_path / "init.npz", transitions=TRANSITIONS)
        problems.read(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError, match=r"is a folder; give a file \(in it: init.npz, kitchen.npz\)"):
        problems.read(tmp_path)


def test_a_dense_array_that_would_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "a.npz", transitions=TRANSITIONS, discount=0.9)
    monkeypatch.setattr(storage, "available_memory", lambda: 700)
    with pytest.raises(ValueError, match=r"transitions \(4, 3, 4\) would take .* give rows, columns"):
        problems.read(path)


def simulated(env: Any, steps: int, seed: int):
    """(state, action, reward, next state, done) of a random walk through an environment."""
    generator = np.random.default_rng(seed)
    state, _ = env.reset(seed=seed)
    for _ in range(steps):
        action = int(generator.integers(env.action_space.n))
        after, reward, done, _, _ = env.step(action)
        yield state, action, reward, after, done
        state = env.reset()[0] if done else after


@pytest.mark.parametrize(
    "name", ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "Taxi-v4"]
)
def test_a_table_is_what_the_environment_does(name):
    problem = problems.read(name, discount=0.9)
    mdp, total = problem.mdp, {}
    table = mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)
    for state, action, reward, after, done in simulated(gymnasium.make(name).unwrapped, 3000, 3):
        after = after if table[state, action, after] > 0 else mdp.states - 1
        assert table[state, action, after] > 0
        assert (table[after, :, after] == 1).all() == done  # an end is absorbing, and nothing else is
        assert not done or (problem.reward[after] == 0).all()
        total.setdefault((state, action), []).append(reward)
    often = {pair: np.mean(seen) for pair, seen in total.items() if len(seen) > 100}
    assert all(abs(problem.reward[pair] - mean) < 12 for pair, mean in often.items())
    if mdp.deterministic:
        assert all(np.ptp(seen) == 0 and seen[0] == problem.reward[pair] for pair, seen in total.items())


def test_an_end_is_the_goal_itself_or_is_added():
    lake, cliff = problems.read("FrozenLake-v1").mdp, problems.read("CliffWalking-v1", horizon=9).mdp
    taxi = problems.read("Taxi-v4").mdp
    assert (lake.states, lake.horizon, lake.starts[0]) == (16, 100, 1)
    assert lake.state_names[5] == "row 1 column 1 (hole)" and lake.action_names == ("left", "down", "right", "up")
    assert cliff.states == 48 and (cliff.transitions.toarray().reshape(48, 4, 48)[47, :, 47] == 1).all()
    assert cliff.horizon == 9 and cliff.starts[36] == 1 and cliff.name(145) == "state row 3 column 0, action right"
    assert taxi.states == 501 and taxi.state_names[-1] == "end" and taxi.starts[500] == 0
    done = taxi.transitions.toarray().reshape(501, 6, 501)[:500, :, 500]
    assert [tuple(map(int, pair)) for pair in np.argwhere(done)] == [(16, 5), (97, 5), (418, 5), (479, 5)]
    assert taxi.state_names[479] == "row 4 column 3 (passenger in the taxi, to blue)"


def made(table: Any, **inside: Any) -> Any:
    """Something that holds a table, as an environment does."""
    core = SimpleNamespace(P=table, **inside)
    return SimpleNamespace(unwrapped=core, spec=None)


def test_any_table_is_read():
    """From 0 to 1 or to the end that is nowhere else; 1 is entered both ways, so that it is no end itself."""
    table = {
        0: {0: [(0.25, 1, 4.0, False), (0.25, 1, 8.0, True), (0.5, 0, 0.0, False)]},
        1: {0: [(1.0, 0, 1.0, False), (0.0, 7, 0.0, True)][:1]},
    }
    mdp, reward = toy_text.from_gymnasium(made(table), discount=0.9)
    assert mdp.transitions.toarray().tolist() == [[0.5, 0.25, 0.25], [1, 0, 0], [0, 0, 1]]
    assert reward.tolist() == [[3.0], [1.0], [0.0]]
    assert mdp.state_names == ("0", "1", "end") and mdp.starts.tolist() == [0.5, 0.5, 0]


def test_mistakes_of_environments_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, message in (
            ("FrozenLak-v1", "no such id; did you mean FrozenLake-v1"),
            ("taxi", "did you mean Taxi-v4"),
            ("Taxi-v3", "did you mean Taxi-v4"),
            ("FrozenLake-v99", "did you mean FrozenLake-v1"),
            ("my problem", "no such id, and no file; give an .npz file, or an id such as CliffWalking-v1"),
            ("nowhere:Thing-v0", "no such id, and no file"),
            ("Blackjack-v1", "has no table of transitions .* environments that have one: CliffWalking-v1"),
            ("CliffWalking-v1", "no time limit: give a discount below 1, or a horizon"),
        ):
            with pytest.raises(ValueError, match=message):
                problems.read(name)
    with pytest.raises(ValueError, match="has not the actions 0 to 0 in state 1"):
        toy_text.from_gymnasium(made({0: {0: [(1.0, 0, 0.0, False)]}, 1: {}}), horizon=2)
    with pytest.raises(ValueError, match="state 0, action 0 leads to 4"):
        toy_text.from_gymnasium(made({0: {0: [(1.0, 4, 0.0, False)]}}), horizon=2)

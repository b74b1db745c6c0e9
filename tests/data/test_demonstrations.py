"""Demonstrations: what from_arrays admits, views, selection, splits, keys, specs and fingerprints."""

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.spec import Continuous, Discrete, Environment, Spec

LENGTHS = (3, 1, 4)
ROWS = sum(LENGTHS) + len(LENGTHS)


def numbered(**changes):
    """Three episodes whose observations and actions say where they are: row number, and step number in tenths."""
    given = {
        "observations": {"state": np.arange(ROWS * 2, dtype=np.float32).reshape(ROWS, 2)},
        "actions": np.arange(8, dtype=np.float32).reshape(8, 1) / 10,
        "rewards": np.arange(8.0),
        "lengths": LENGTHS,
        "table": {"quality": ["good", "bad", None], "grade": [1, 2, 3]},
        "masks": {"train": [True, False, True]},
    }
    return Demonstrations.from_arrays(**{**given, **changes})


def test_rows_of_each_episode_are_where_the_offsets_say():
    demos = numbered()
    assert len(demos) == 3 and demos.transitions == 8
    assert demos.starts.tolist() == [0, 3, 4] and demos.observation_starts.tolist() == [0, 4, 6]
    last = demos[2]
    assert last.observations["state"][:, 0].tolist() == [12, 14, 16, 18, 20]
    assert last.actions[:, 0].tolist() == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert [len(episode) for episode in demos] == [3, 1, 4]
    assert last.attributes["return"] == 4 + 5 + 6 + 7
    assert last.attributes["quality"] is None


def test_episodes_and_views_share_memory_with_the_columns():
    demos = numbered()
    view = demos.select([2, 0])
    assert np.shares_memory(view[0].observations["state"], demos.observations["state"])
    assert view.actions is demos.actions
    assert view.episodes.tolist() == [2, 0] and view.table.column("grade").to_pylist() == [3, 1]
    assert view.masks["train"].tolist() == [True, True]
    again = view.select([1])
    assert again[0].actions.tolist() == demos[0].actions.tolist()


def test_counting_from_the_end_and_beyond_it():
    demos = numbered()
    assert demos[-1].attributes["name"] == "demo_2"
    assert demos.select([-1]).episodes.tolist() == [2]
    with pytest.raises(IndexError, match="episode 3 of 3"):
        demos[3]


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ("train", [0, 2]),
        ("grade >= 2", [1, 2]),
        ("quality is None or length == 1", [1, 2]),
        (np.array([False, True, False]), [1]),
        (range(2), [0, 1]),
        (np.array([2, 2, 0]), [2, 2, 0]),
    ],
)
def test_select(choice, chosen):
    assert numbered().select(choice).episodes.tolist() == chosen


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("grade > 9", "selects none of the 3 episodes; columns: name, length"),
        ("trian", "did you mean 'train'"),
        ("qualitty == 'good'", "did you mean 'quality'"),
        ([3], "positions 3 to 3; there are 3 episodes"),
        (np.array([0.5]), "cannot select by"),
        (np.array([True]), "1 choices for 3 episodes"),
        ([], "selects none"),
    ],
)
def test_select_refuses(choice, message):
    with pytest.raises(ValueError, match=message):
        numbered().select(choice)


def test_missing_final_observations_are_repeated_and_marked():
    states = np.arange(8, dtype=np.float32)[:, None]
    demos = numbered(observations={"state": states})
    assert demos[0].observations["state"][:, 0].tolist() == [0, 1, 2, 2]
    assert demos[1].observations["state"][:, 0].tolist() == [3, 3]
    assert demos.table.column("final_observation").to_pylist() == [False] * 3
    assert numbered().table.column("final_observation").to_pylist() == [True] * 3


def test_defaults_of_endings_and_rewards():
    demos = numbered(rewards=None)
    assert not demos.rewarded and np.isnan(demos.rewards).all()
    assert demos.table.column("return").to_pylist() == [None] * 3
    assert not demos.terminated.any()
    assert np.flatnonzero(demos.truncated).tolist() == [2, 3, 7]
    ended = numbered(terminated=[0, 0, 1, 0, 0, 0, 0, 0])
    assert np.flatnonzero(ended.terminated).tolist() == [2]
    assert np.flatnonzero(ended.truncated).tolist() == [3, 7]


def test_types_that_are_kept():
    demos = numbered(
        observations={"image": np.zeros((ROWS, 4, 4, 3), np.uint8), "count": np.arange(ROWS)},
        actions=np.array([0, 1, 2, 0, 1, 2, 0, 4]),
    )
    assert demos.observations["image"].dtype == np.uint8
    assert demos.observations["count"].dtype == np.float32 and demos.observations["count"].shape == (ROWS, 1)
    assert demos.actions.dtype == np.int64 and demos.action == Discrete(5)
    assert numbered(actions=np.ones((8, 1), np.int8)).action == Discrete(2)


def test_action_bounds_are_the_usual_ones_or_the_recorded_range():
    actions = np.stack([np.linspace(-0.5, 1, 8), np.linspace(-2, 1, 8), np.full(8, 5.0)], axis=1)
    assert numbered(actions=actions).action == Continuous((-1.0, -2.0, 4.0), (1.0, 1.0, 6.0))
    stated = Continuous((-3.0,) * 3, (9.0,) * 3)
    assert numbered(actions=actions, action=stated).action == stated


def test_one_array_is_the_key_flat_and_one_episode():
    demos = Demonstrations.from_arrays(np.zeros((6, 2)), np.zeros((5, 1)))
    assert demos.keys() == ("flat",) and demos.lengths.tolist() == [5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": {"state": np.zeros((9, 2))}}, r"shape \(9, 2\); give 11 rows .* or 8 where"),
        ({"observations": {"state": np.zeros((11, 0))}}, "hold nothing"),
        ({"observations": {"state": np.array(["a"] * 11)}}, "has type <U1; give numbers"),
        ({"observations": {}}, "at least one key"),
        ({"actions": np.zeros((8, 2), int)}, "2 choices a step"),
        ({"actions": np.zeros((7, 1))}, r"shape \(7, 1\).*give \(8, A\)"),
        ({"actions": np.array([0, 1, -1, 0, 0, 0, 0, 0])}, "discrete action -1 at step 2"),
        ({"actions": np.array([0, 10**9, 0, 0, 0, 0, 0, 0])}, "discrete action 1000000000 at step 1"),
        ({"rewards": np.zeros((8, 2))}, "one number a step"),
        ({"lengths": [3, 0, 5]}, "episode 1 has length 0"),
        ({"lengths": []}, "at least one episode"),
        ({"lengths": np.array([1.5])}, "one integer an episode"),
        ({"table": {"quality": ["good"]}}, "1 values for 3 episodes"),
        ({"table": {"length": [1, 2, 3]}}, "filled by the library"),
        ({"masks": {"train": [True]}}, r"mask 'train' has shape \(1,\)"),
        ({"action": Discrete(3)}, "does not fit"),
        ({"action": Continuous((-1.0,) * 2, (1.0,) * 2)}, "1 dimensions, bounds 2"),
    ],
)
def test_from_arrays_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        numbered(**changes)


def test_invalid_numbers_are_placed():
    states = np.zeros((ROWS, 2))
    states[7, 1] = np.nan
    with pytest.raises(ValueError, match="'state': nan in episode demo_2, step 1, dimension 1"):
        numbered(observations={"state": states})
    actions = np.zeros((8, 3))
    actions[3, 2] = 1e300
    with pytest.raises(ValueError, match="actions: inf in episode demo_1, step 0, dimension 2"):
        numbered(actions=actions)
    with pytest.raises(ValueError, match="rewards: nan in episode demo_0, step 2"):
        numbered(rewards=[0, 0, np.nan, 0, 0, 0, 0, 0])


def test_flat_is_left_out_when_the_other_keys_hold_all_of_it():
    generator = np.random.default_rng(0)
    goal, state = generator.normal(size=(ROWS, 2)), generator.normal(size=(ROWS, 3))
    flat = np.concatenate([state, goal], axis=1)
    whole = numbered(observations={"state": state, "goal": goal, "flat": flat})
    assert whole.keys() == ("goal", "state")
    more = numbered(observations={"state": state, "flat": np.concatenate([flat, goal], axis=1)})
    assert more.keys() == ("flat",)
    image = np.zeros((ROWS, 8, 8, 3), np.uint8)
    assert numbered(observations={"flat": flat, "image": image}).keys() == ("flat", "image")
    other = state.copy()
    other[-1, -1] += 1
    assert numbered(observations={"state": other, "flat": flat}).keys() == ("flat", "state")


def test_keys_chosen():
    demos = numbered(observations={"a": np.zeros((ROWS, 1)), "b": np.ones((ROWS, 1))})
    assert demos.keys(["b", "a"]) == ("b", "a")
    for chosen, message in ((["bb"], "did you mean 'b'"), ([], "at least one"), (["a", "a"], "each key once")):
        with pytest.raises(ValueError, match=message):
            demos.keys(chosen)


def test_spec_has_the_statistics_of_the_view_over_the_rows_a_policy_acts_on():
    place = Environment("Place-v0")
    demos = numbered(environment=place)
    view = demos.select([0, 2])
    rows = [0, 1, 2, 6, 7, 8, 9]  # neither the second episode nor any final row
    acted = demos.observations["state"][rows].astype(np.float64)
    spec = view.spec()
    assert isinstance(spec, Spec) and spec.environment == place
    field = spec.observations["state"]
    assert field.mean == pytest.approx(acted.mean(0)) and field.scale == pytest.approx(acted.std(0))
    assert demos.spec().observations["state"].mean != field.mean


def test_spec_masks_constants_and_leaves_images_alone():
    observations = {"image": np.zeros((ROWS, 8, 8, 3), np.uint8), "bytes": np.full((ROWS, 2), 7, np.uint8)}
    spec = numbered(observations=observations).spec()
    assert spec.observations["image"].mean is None and spec.observations["image"].is_image
    assert spec.observations["bytes"].mean == (7, 7) and spec.observations["bytes"].scale == (0, 0)


def test_split_keeps_shares_and_is_by_episode():
    quality = ["good"] * 20 + ["bad"] * 10
    demos = Demonstrations.from_arrays(
        np.zeros((90, 1)), np.zeros((60, 1)), lengths=[2] * 30, table={"quality": quality}
    )
    train, validation = demos.split(0.2, by="quality", seed=3)
    assert sorted([*train.episodes, *validation.episodes]) == list(range(30))
    assert validation.table.column("quality").to_pylist() == ["good"] * 4 + ["bad"] * 2
    assert demos.split(0.2, by="quality", seed=3)[1].episodes.tolist() == validation.episodes.tolist()
    others = {tuple(demos.split(0.2, by="quality", seed=seed)[1].episodes) for seed in range(8)}
    assert len(others) > 4


def test_split_rounds_to_the_largest_remainder():
    table = {"quality": ["good"] * 7 + ["bad"] * 3}
    demos = Demonstrations.from_arrays(np.zeros((30, 1)), np.zeros((20, 1)), lengths=[2] * 10, table=table)
    for seed in range(5):
        _, validation = demos.split(0.3, by="quality", seed=seed)  # shares of 2.1 and 0.9
        assert sorted(validation.table.column("quality").to_pylist()) == ["bad", "good", "good"]


@pytest.mark.parametrize("fraction", [0.01, 0.34, 0.99])
@pytest.mark.parametrize("by", [None, "name", "quality"])
def test_split_never_leaves_a_side_empty(fraction, by):
    train, validation = numbered().split(fraction, by=by)
    assert len(train) and len(validation) and len(train) + len(validation) == 3


def test_split_refuses():
    with pytest.raises(ValueError, match="cannot split 1 episode"):
        numbered().select([0]).split()
    with pytest.raises(ValueError, match="fraction is 1.0"):
        numbered().split(1.0)
    with pytest.raises(ValueError, match="no column 'qualit' to split by; did you mean 'quality'"):
        numbered().split(by="qualit")


def test_fingerprint_is_of_the_contents():
    demos = numbered()
    assert demos.fingerprint() == numbered(path="elsewhere", masks={}).fingerprint()
    assert demos.fingerprint().startswith("sha256:") and len(demos.fingerprint()) == 71
    actions = demos.actions.copy()
    actions[5] += 1e-6
    others = [
        demos.select([0, 1]),
        demos.select([1, 0, 2]),
        numbered(actions=actions),
        numbered(table={"quality": ["good", "bad", "bad"]}),
        numbered(action=Continuous((-2.0,), (1.0,))),
        numbered(terminated=[0, 0, 1, 0, 0, 0, 0, 0]),
        numbered(lengths=[4, 4], table={}, masks={}, observations={"state": np.zeros((10, 2))}),
    ]
    assert len({demos.fingerprint(), *(other.fingerprint() for other in others)}) == 8
    copied = Demonstrations.from_arrays(
        {"state": np.concatenate([demos[i].observations["state"] for i in (2, 0)])},
        np.concatenate([demos[i].actions for i in (2, 0)]),
        np.concatenate([demos[i].rewards for i in (2, 0)]),
        lengths=[4, 3],
        names=["demo_2", "demo_0"],
        table={"quality": [None, "good"], "grade": [3, 1]},
        action=demos.action,
    )
    assert copied.fingerprint() == demos.select([2, 0]).fingerprint()


def test_repr_says_what_it_is():
    assert repr(numbered()) == "Demonstrations(3 episodes, 8 transitions, state (2,), 1-dimensional actions)"

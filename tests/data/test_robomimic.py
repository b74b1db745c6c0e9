"""The robomimic reader: shapes, ends of episodes, final observations, bounds, attributes, masks, environments."""

import json

import h5py
import numpy as np
import pytest

from demonstrably.data.formats import FileError, estimate, load
from demonstrably.spec import Continuous, Discrete, Environment

from .recordings import LENGTHS, each_demo, replaced, write_recording


@pytest.fixture
def recorded(tmp_path):
    """A function that writes a changed recording and loads it."""

    def build(change=None, keys=None, mask=None, memory="auto", on_invalid="error", **options):
        path = write_recording(tmp_path / "recording.hdf5", change=change, **options)
        return load(path, keys=keys, mask=mask, memory=memory, on_invalid=on_invalid)

    return build


def kinds(demos):
    return {note.kind: note for note in demos.notes}


def test_every_row_is_where_it_belongs(recorded):
    demos = recorded()
    assert sorted(demos.observations) == ["arm/joints", "place"]
    for number, episode in enumerate(demos):
        steps = np.arange(LENGTHS[number] + 1)
        place = episode.observations["place"]
        np.testing.assert_allclose(place[:, 2], 100 * number + steps + 0.2, rtol=1e-6)
        assert episode.observations["arm/joints"].shape == (LENGTHS[number] + 1, 2)
    assert demos.observations["place"].dtype == np.float32
    assert demos.rewards.dtype == np.float32 and demos.table.column("return").to_pylist() == [1, 1, 1]
    assert demos.environment == Environment("Place-v0", {"size": 3})
    assert demos.action == Continuous((-1.0, -1.0), (1.0, 1.0))
    assert demos.attributes["env_args"]["type"] == 2


def test_actions_are_the_recorded_ones(recorded, tmp_path):
    demos = recorded()
    with h5py.File(tmp_path / "recording.hdf5") as file:
        for number, episode in enumerate(demos):
            np.testing.assert_array_equal(episode.actions, file[f"data/demo_{number}/actions"][:].astype(np.float32))


def test_episodes_are_sorted_by_number(recorded):
    demos = recorded(lengths=tuple(range(1, 13)))
    assert demos.table.column("name").to_pylist() == [f"demo_{i}" for i in range(12)]
    assert demos.lengths.tolist() == list(range(1, 13))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, ">i4"])
@pytest.mark.parametrize("column", [True, False])
def test_integers_are_discrete(recorded, dtype, column):
    def change(demo):
        values = (np.arange(len(demo["actions"])) % 4).astype(dtype)
        replaced(demo, "actions", values[:, None] if column else values)

    demos = recorded(each_demo(change))
    assert demos.action == Discrete(4) and demos.actions.dtype == np.int64
    assert demos[1].actions.tolist() == [0, 1, 2, 3, 0, 1]
    assert "4 are assumed" in kinds(demos)["action-count"].message


def test_real_numbers_in_one_column_are_continuous(recorded):
    demos = recorded(each_demo(lambda demo: replaced(demo, "actions", np.linspace(0, 1, len(demo["rewards"])))))
    assert demos.actions.shape == (13, 1) and demos.action == Continuous((-1.0,), (1.0,))


def test_types_kept(recorded):
    def change(demo):
        length = len(demo["rewards"])
        for group in ("obs", "next_obs"):
            demo[f"{group}/image"] = np.full((length, 8, 8, 3), 200, np.uint8)
            demo[f"{group}/touch"] = np.ones(length, bool)
            demo[f"{group}/count"] = np.full((length, 2), 7, np.int64)
            demo[f"{group}/half"] = np.full((length, 2), 0.5, np.float16)

    demos = recorded(each_demo(change))
    assert demos.observations["image"].dtype == np.uint8 and demos.observations["image"].shape == (16, 8, 8, 3)
    assert demos.observations["touch"].shape == (16, 1) and (demos.observations["touch"] == 1).all()
    assert (demos.observations["count"] == 7).all() and (demos.observations["half"] == 0.5).all()
    assert demos.spec().observations["image"].is_image


def without_next(demo):
    del demo["next_obs"]


def test_final_observation_from_last_obs_of_a_single_key(recorded):
    def change(demo):
        without_next(demo)
        del demo["obs/arm"]
        demo["last_obs"] = np.full((1, 3), 9.0)

    demos = recorded(each_demo(change))
    assert demos[1].observations["place"][-1].tolist() == [9, 9, 9]
    assert demos.table.column("final_observation").to_pylist() == [True] * 3


def test_final_observation_from_a_group_of_last_obs(recorded):
    def change(demo):
        without_next(demo)
        demo["last_obs/place"] = np.full((1, 3), 9.0)
        demo["last_obs/arm/joints"] = np.full(2, 8.0)

    demos = recorded(each_demo(change))
    assert demos[0].observations["arm/joints"][-1].tolist() == [8, 8]
    assert demos.table.column("final_observation").to_pylist() == [True] * 3


def flattened(demo, disturb=False):
    """A flat vector of both keys, the other way round than sorted, with the only final observation in it."""
    without_next(demo)
    demo["obs/arm/joints"][:] = demo["obs/arm/joints"][:] + 50
    flat = np.concatenate([demo["obs/place"][:], demo["obs/arm/joints"][:]], axis=1)
    if disturb:
        flat[-1] += 1
    demo["obs/flat"] = flat
    demo["last_obs"] = np.arange(5.0)[None]


def test_a_key_that_may_lie_in_two_places_of_flat_has_no_final_observation(recorded):
    def change(demo):
        flattened(demo)
        demo["obs/arm/joints"][:] = demo["obs/place"][:, :2]
        replaced(demo, "obs/flat", np.concatenate([demo["obs/place"][:], demo["obs/arm/joints"][:]], axis=1))

    demos = recorded(each_demo(change))
    assert demos.table.column("final_observation").to_pylist() == [False] * 3
    agreeing = recorded(each_demo(lambda demo: [change(demo), replaced(demo, "last_obs", [[1.0, 2, 3, 1, 2]])]))
    assert agreeing[0].observations["arm/joints"][-1].tolist() == [1, 2]
    assert agreeing.table.column("final_observation").to_pylist() == [True] * 3


@pytest.mark.parametrize("keys", [None, ["arm/joints"]])
def test_final_observation_from_a_part_of_flat(recorded, keys):
    demos = recorded(each_demo(flattened), keys=keys)
    assert demos[2].observations["arm/joints"][-1].tolist() == [3, 4]
    assert demos.table.column("final_observation").to_pylist() == [True] * 3
    assert demos.keys() == (("arm/joints", "place") if keys is None else ("arm/joints",))


def test_a_part_of_flat_that_is_another_in_some_episode_is_not_used(recorded):
    def change(file):
        for number, demo in enumerate(file["data"].values()):
            flattened(demo, disturb=number == 1)

    demos = recorded(change, keys=["place"])
    assert demos.table.column("final_observation").to_pylist() == [True, False, True]
    episode = demos[1].observations["place"]
    assert episode[-1].tolist() == episode[-2].tolist()


def test_without_any_final_observation_the_last_row_is_repeated_and_marked(recorded):
    demos = recorded(each_demo(without_next))
    assert demos.table.column("final_observation").to_pylist() == [False] * 3
    assert all((one.observations["place"][-1] == one.observations["place"][-2]).all() for one in demos)


def test_one_key_without_a_final_observation_is_enough_to_mark_the_episode(recorded):
    def change(file):
        del file["data/demo_2/next_obs/arm"]

    assert recorded(change).table.column("final_observation").to_pylist() == [True, True, False]


def test_a_last_row_repeated_by_a_converter_is_no_final_observation(recorded):
    def change(demo):
        for key in ("place", "arm/joints"):
            demo[f"next_obs/{key}"][-1] = demo[f"obs/{key}"][-1]

    assert recorded(each_demo(change)).table.column("final_observation").to_pylist() == [False] * 3


def test_standing_still_at_the_end_is_a_final_observation(recorded):
    def change(demo):
        for key in ("place", "arm/joints"):
            demo[f"obs/{key}"][-2:] = 5.0
            demo[f"next_obs/{key}"][-2:] = 5.0

    assert recorded(each_demo(change)).table.column("final_observation").to_pylist() == [True] * 3


def test_shifted_rows_are_noticed(recorded):
    def change(file):
        file["data/demo_1/next_obs/place"][-2] += 1

    note = kinds(recorded(change))["misaligned"]
    assert note.where == "demo_1" and note.severity == "warning"
    assert "misaligned" not in kinds(recorded())


ENDED, CUT = [True] * 3, [False] * 3


def ends(demos):
    """Whether each episode's last step terminated; a last step is never both terminated and truncated."""
    assert all(one.terminated[-1] != one.truncated[-1] for one in demos)
    return [bool(one.terminated[-1]) for one in demos]


def test_dones_alone_are_time_outs(recorded):
    demos = recorded()
    assert ends(demos) == CUT
    assert "taken for a time-out (3 episodes)" in kinds(demos)["endings"].message


def test_a_success_before_the_limit_is_a_termination(recorded):
    demos = recorded(each_demo(lambda demo: demo.attrs.__setitem__("success", True)))
    assert ends(demos) == ENDED
    failed = recorded(each_demo(lambda demo: demo.attrs.__setitem__("success", np.int64(0))))
    assert ends(failed) == CUT


def test_a_success_at_the_limit_is_a_time_out(recorded):
    success = each_demo(lambda demo: demo.attrs.__setitem__("success", True))
    assert ends(recorded(success, lengths=(4, 6, 6))) == [True, False, False]
    assert ends(recorded(success, lengths=(6, 6, 6))) == CUT
    assert ends(recorded(success, lengths=(6,))) == [False]

    def limited(file):
        success(file)
        place = {"env_name": "Place-v0", "env_kwargs": {"max_episode_steps": 4}, "type": 2}
        file["data"].attrs["env_args"] = json.dumps(place)

    assert ends(recorded(limited, lengths=(4, 3, 3))) == [False, True, True]


def test_a_mask_changes_no_episode(recorded):
    def change(file):
        each_demo(lambda demo: demo.attrs.__setitem__("success", True))(file)
        file["mask/one"] = np.array([b"demo_1"])

    assert ends(recorded(change, lengths=(4, 6, 6), mask="one")) == [False]
    assert ends(recorded(change, lengths=(4, 6, 5), mask="one")) == [True]


def test_terminated_as_recorded_goes_before_dones(recorded):
    def change(file):
        file["data/demo_0/terminated"] = np.array([0, 0, 0, 1])
        file["data/demo_1/terminated"] = np.zeros(6)
        file["data/demo_1"].attrs["success"] = True
        file["data/demo_2/truncated"] = np.array([False, True, False])

    demos = recorded(change)
    assert ends(demos) == [True, False, False]
    assert demos[2].truncated.tolist() == [False, True, True]


def test_done_mode_0_says_that_dones_are_successes(recorded):
    assert ends(recorded(lambda file: file["data"].attrs.__setitem__("done_mode", 0))) == ENDED
    assert ends(recorded(lambda file: file["data"].attrs.__setitem__("done_mode", 1))) == CUT


def test_robosuite_success_states_are_terminations(recorded):
    def robosuite(file):
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {}, "type": 1})

    demos = recorded(robosuite)
    assert ends(demos) == ENDED and demos.environment == Environment("Lift", {}, ("robosuite",))

    def shaped(file):
        robosuite(file)
        each_demo(lambda demo: replaced(demo, "rewards", np.linspace(0.5, 1, len(demo["actions"]))))(file)

    assert ends(recorded(shaped)) == CUT


def test_dones_before_the_end_cannot_be_time_outs(recorded):
    demos = recorded(each_demo(lambda demo: replaced(demo, "dones", np.ones(len(demo["actions"])))))
    assert demos[1].terminated.tolist() == [True] * 5 + [False]


def test_neither_dones_nor_terminated(recorded):
    demos = recorded(each_demo(lambda demo: demo.__delitem__("dones")))
    assert ends(demos) == CUT and "neither" in kinds(demos)["endings"].message


def test_no_rewards_are_nan_and_not_zero(recorded):
    demos = recorded(each_demo(lambda demo: demo.__delitem__("rewards")))
    assert not demos.rewarded and np.isnan(demos.rewards).all()
    assert demos.table.column("return").null_count == 3


def test_a_range_beyond_one_is_taken_from_the_data_with_a_warning(recorded):
    def change(file):
        file["data/demo_1/actions"][2, 1] = -3.5

    demos = recorded(change)
    high = float(demos.actions[:, 1].max())
    assert demos.action == Continuous((-1.0, -3.5), (1.0, high))
    note = kinds(demos)["action-range"]
    assert note.severity == "warning" and note.where == "actions, dimension 1" and "-3.5" in note.message
    assert "action-range" not in kinds(recorded())


@pytest.mark.parametrize(("low", "high"), [(-2.0, 2.0), ([-2.0, -2.0], [2.0, 2.0])])
def test_stated_bounds_are_kept(recorded, low, high):
    def change(file):
        file["data"].attrs["action_low"], file["data"].attrs["action_high"] = low, high
        file["data/demo_0/actions"][0, 0] = 5.0

    demos = recorded(change)
    assert demos.action == Continuous((-2.0, -2.0), (2.0, 2.0)) and "action-range" not in kinds(demos)


def test_robosuite_actions_have_the_bounds_of_the_convention(recorded):
    def change(file):
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {}, "type": 1})
        file["data/demo_0/actions"][0, 0] = 5.0

    assert recorded(change).action == Continuous((-1.0, -1.0), (1.0, 1.0))


def test_a_stated_number_of_actions_is_kept(recorded):
    demos = recorded(lambda file: file["data"].attrs.__setitem__("action_count", 6), discrete=True)
    assert demos.action == Discrete(6) and "action-count" not in kinds(demos)


def test_attributes_become_columns(recorded):
    def change(file):
        first, second, third = (file[f"data/demo_{i}"].attrs for i in range(3))
        first["quality"], second["quality"] = "better", np.bytes_(b"worse")
        first["seed"], second["seed"], third["seed"] = 3, np.int8(4), np.array([5])
        first["noise"], third["noise"] = 1, 0.5
        first["success"], third["success"] = np.int64(1), False
        first["mixed"], second["mixed"] = "a", 1
        first["human"] = np.True_
        first["matrix"] = np.zeros((2, 2))
        first["model_file"] = "<mujoco>" * 1000

    columns = recorded(change).table.to_pydict()
    assert columns["quality"] == ["better", "worse", None]
    assert columns["seed"] == [3, 4, 5]
    assert columns["noise"] == [1.0, None, 0.5]
    assert columns["success"] == [True, None, False]
    assert columns["mixed"] == ["a", "1", None]
    assert columns["human"] == [True, None, None]
    assert not {"matrix", "model_file", "num_samples"} & set(columns)


def test_counts_and_returns_that_disagree_are_noted(recorded):
    def change(file):
        file["data"].attrs["total"] = 99
        file["data/demo_1"].attrs["num_samples"] = 7
        file["data/demo_2"].attrs["return"] = 5.0
        file["data/demo_0"].attrs["return"] = 1.0

    notes = [note for note in recorded(change).notes if note.severity == "warning"]
    assert [(note.kind, note.where) for note in notes] == [
        ("count-mismatch", "data"),
        ("count-mismatch", "demo_1"),
        ("return-mismatch", "demo_2"),
    ]
    assert "99 transitions, the arrays hold 13" in notes[0].message


def test_masks(recorded):
    def change(file):
        file["mask/train"] = np.array([b"demo_2", b"demo_0"])
        file["mask/20_percent"] = np.array(["demo_1"], dtype=h5py.string_dtype())
        file["mask/nested/valid"] = np.array([b"demo_1"])
        file.create_dataset("mask/none", data=np.array([], dtype="S6"))

    demos = recorded(change)
    assert {name: mask.tolist() for name, mask in demos.masks.items()} == {
        "20_percent": [False, True, False],
        "nested/valid": [False, True, False],
        "none": [False, False, False],
        "train": [True, False, True],
    }
    only = recorded(change, mask="train")
    assert only.table.column("name").to_pylist() == ["demo_0", "demo_2"] and only.transitions == 7
    assert only.fingerprint() == demos.select("train").fingerprint()
    with pytest.raises(FileError, match="no mask 'trian'; did you mean 'train'"):
        recorded(change, mask="trian")
    with pytest.raises(FileError, match="mask 'none' is empty"):
        recorded(change, mask="none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the file has no env_args"),
        ("{", "no JSON"),
        ("[" * 100000, "no JSON"),
        ("3", "gives no env_name"),
        ('{"env_name": null}', "gives no env_name"),
        ('{"env_name": "A", "env_kwargs": [1]}', "have a wrong type"),
    ],
)
def test_an_unknown_environment_is_a_note(recorded, text, message):
    def change(file):
        del file["data"].attrs["env_args"]
        if text is not None and len(text) < 60000:
            file["data"].attrs["env_args"] = text
        elif text is not None:
            file["data"].attrs.create("env_args", text, dtype=h5py.string_dtype())

    demos = recorded(change)
    assert demos.environment is None and message in kinds(demos)["environment"].message


def test_long_env_args_are_read(recorded):
    arguments = {"env_name": "A", "env_kwargs": {"note": "x" * 9000}, "imports": ["a", "b"], "env_type": 1}
    demos = recorded(lambda file: file["data"].attrs.__setitem__("env_args", json.dumps(arguments)))
    assert demos.environment == Environment("A", {"note": "x" * 9000}, ("a", "b"))


def test_members_that_are_no_episodes_are_named(recorded):
    def change(file):
        file["data/episode_7/actions"] = np.zeros((3, 2))
        file["data"].move("demo_2", "demo_02")

    demos = recorded(change)
    assert len(demos) == 3 and "episode_7" in kinds(demos)["ignored-group"].message


def test_keys_chosen(recorded):
    demos = recorded(keys=["place"])
    assert list(demos.observations) == ["place"]
    with pytest.raises(FileError, match=r"demo_0: no observation key 'plaec'; did you mean 'place'"):
        recorded(keys=["plaec"])


def test_a_key_that_only_some_episodes_have(recorded):
    def change(file):
        for group in ("obs", "next_obs"):
            file[f"data/demo_1/{group}/depth"] = np.zeros((6, 2))

    with pytest.raises(FileError, match="demo_1: has observation key 'depth', which demo_0 has not"):
        recorded(change)
    assert len(recorded(change, keys=["place"])) == 3


def test_estimate_is_what_loading_takes(recorded, tmp_path):
    demos = recorded()
    sizes = estimate(tmp_path / "recording.hdf5")
    columns = [*demos.observations.values(), demos.actions, demos.rewards, demos.terminated, demos.truncated]
    assert sum(sizes.values()) == sum(column.nbytes for column in columns)
    assert sizes["place"] == demos.observations["place"].nbytes
    assert set(estimate(tmp_path / "recording.hdf5", ["place"])) == set(sizes) - {"arm/joints"}


def test_invalid_episodes_are_dropped_when_asked_for(recorded):
    def change(file):
        file["data/demo_0/obs/place"][2, 1] = np.nan
        del file["data/demo_2/actions"]
        file["mask/train"] = np.array([b"demo_0", b"demo_1"])

    demos = recorded(change, on_invalid="drop")
    assert demos.table.column("name").to_pylist() == ["demo_1"]
    assert demos.transitions == 6 and len(demos.actions) == 6
    assert demos.masks["train"].tolist() == [True]
    dropped = [note.message for note in demos.notes if note.kind == "dropped"]
    assert "demo_0: obs/place is nan at step 2, dimension 1" in dropped[0]
    assert "demo_2: no dataset 'actions'" in dropped[1]
    alone = recorded(change, on_invalid="drop", memory="mapped")
    assert alone.fingerprint() == demos.fingerprint()


def test_all_episodes_invalid(recorded):
    with pytest.raises(FileError, match="all 3 episodes are at fault, the first: .*demo_0: obs/place is nan"):
        recorded(each_demo(lambda demo: demo["obs/place"].__setitem__((0, 0), np.nan)), on_invalid="drop")


def test_arguments_are_checked(recorded):
    for options, message in (
        ({"keys": "place"}, r"keys is 'place'; give a list"),
        ({"keys": []}, "at least one"),
        ({"keys": ["place", "place"]}, "each observation key once"),
    ):
        with pytest.raises(ValueError, match=message):
            recorded(**options)

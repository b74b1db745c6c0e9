"""Environments are made by id or refused in one line, and a policy that does not fit is refused before it plays."""

import sys

import gymnasium
import h5py
import numpy as np
import pytest
import toy_environments  # noqa: F401  registers the toy environments
from gymnasium import spaces

from demonstrably.evaluation.environments import Interface, check, forgets, interface, make
from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec


def refused(call, *arguments, **keywords) -> str:
    with pytest.raises(ValueError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def given(observations, actions, seats=1) -> Interface:
    return Interface("toy/X-v0", observations, actions, 10, seats)


def box(*shape, dtype=np.float64) -> spaces.Box:
    return spaces.Box(0 if dtype == np.uint8 else -np.inf, 255 if dtype == np.uint8 else np.inf, shape, dtype)


def arm(low=-1.0, high=1.0, dim=2) -> spaces.Box:
    return spaces.Box(low, high, (dim,), np.float32)


TWO = Continuous((-1.0, -1.0), (1.0, 1.0))


def test_an_unknown_id_names_the_nearest():
    assert refused(make, Environment("CartPole-v9")) == (
        "no environment 'CartPole-v9' is registered; did you mean CartPole-v1 or CartPole-v0?"
    )


def test_an_id_like_no_other_asks_for_the_module():
    assert refused(make, Environment("Zzyzx-v0")).endswith("give the module that registers it as an import")


def test_a_missing_module_is_named():
    message = refused(make, Environment("Lab/Arm-v0", imports=("lab_arms_of_ours",)))
    assert message.startswith("Lab/Arm-v0 cannot be made: the module 'lab_arms_of_ours' is not installed; install it")


def test_a_missing_package_that_an_extra_brings_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    message = refused(make, Environment("AdroitHandNothing-v7"))
    assert message.endswith("the module 'gymnasium_robotics' is not installed; pip install 'demonstrably[mujoco]'")


def test_a_module_that_breaks_on_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_arms.py").write_text("print('noise')\nraise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    message = refused(make, Environment("Lab/Arm-v0", imports=("broken_arms",)))
    assert message == "cannot import broken_arms, which Lab/Arm-v0 needs: RuntimeError: no licence"


def test_what_a_module_prints_on_import_is_not_shown(tmp_path, monkeypatch, capfd):
    (tmp_path / "chatty_arms.py").write_text("import sys\nprint('noise')\nprint('noise', file=sys.stderr)")
    monkeypatch.syspath_prepend(tmp_path)
    make(Environment("CartPole-v1", imports=("chatty_arms",))).close()
    assert capfd.readouterr() == ("", "")


def test_robosuite_has_no_ids():
    message = refused(make, Environment("Lift", {"robots": "Panda"}, ("robosuite",)))
    assert message.startswith("Lift is a robosuite environment, which has no Gymnasium id; register one")


def test_arguments_that_the_environment_refuses():
    message = refused(make, Environment("CartPole-v1", {"gravity": 2.0}))
    assert message.startswith("cannot make CartPole-v1: TypeError") and "gravity" in message


def test_horizon_replaces_the_limit():
    for horizon, limit in ((None, 500), (7, 7), (900, 900)):
        env = make(Environment("CartPole-v1", {"max_episode_steps": 500}), horizon=horizon)
        assert interface(Environment("CartPole-v1"), env).limit == limit
    assert "horizon 0" in refused(make, Environment("CartPole-v1"), horizon=0)


def test_known_leaks_are_not_reused():
    assert forgets(Environment("CartPole-v1")) and not forgets(Environment("BipedalWalker-v3"))


def test_a_family_is_imported_without_being_asked():
    pytest.importorskip("gymnasium_robotics")
    with make(Environment("FetchReach-v4")) as env:
        assert isinstance(env.observation_space, spaces.Dict)


def test_an_unnamed_observation_goes_to_the_only_key():
    adapter = check(Spec({"joints": Field((3,))}, TWO), given(box(3), arm()))
    read = adapter.observation(np.array([0.1, 0.2, 0.3]))
    assert list(read) == ["joints"] and read["joints"].dtype == np.float32
    np.testing.assert_array_equal(read["joints"], np.array([0.1, 0.2, 0.3], np.float32))


def test_named_observations_go_by_name():
    space = spaces.Dict({"a": box(2), "b": box(4, 4, 3, dtype=np.uint8), "c": box(1)})
    spec = Spec({"b": Field((4, 4, 3), "uint8"), "a": Field((2,))}, TWO)
    read = check(spec, given(space, arm())).observation(space.sample())
    assert {key: (value.shape, str(value.dtype)) for key, value in read.items()} == {
        "b": ((4, 4, 3), "uint8"),
        "a": ((2,), "float32"),
    }


def test_flat_is_the_order_of_gymnasium():
    space = spaces.Dict({"z": box(2), "a": box(1), "m": box(3)})
    sample = space.sample()
    read = check(Spec({"flat": Field((6,))}, TWO), given(space, arm())).observation(sample)
    np.testing.assert_array_equal(read["flat"], spaces.flatten(space, sample).astype(np.float32))


def test_flat_of_recorded_goal_environments_is_that_order(shared_data):
    path = shared_data / "expert" / "fetchpickandplace_scripted.hdf5"
    space = spaces.Dict({"observation": box(25), "desired_goal": box(3), "achieved_goal": box(3)})
    adapter = check(Spec({"flat": Field((31,))}, TWO), given(space, arm()))
    with h5py.File(path) as file:
        recorded = {key: values[:] for key, values in file["data/demo_7/obs"].items()}
    for step in range(50):
        raw = {key: values[step] for key, values in recorded.items()}
        np.testing.assert_array_equal(adapter.observation(raw)["flat"], recorded["flat"][step])


def test_flat_of_images_is_refused():
    space = spaces.Dict({"a": box(2), "image": box(4, 4, 3, dtype=np.uint8)})
    assert "no observation 'flat' (the environment gives a, image)" in refused(
        check, Spec({"flat": Field((50,))}, TWO), given(space, arm())
    )


def test_all_differences_are_told_at_once():
    spec = Spec({"flat": Field((45,)), "gone": Field((1,))}, Continuous((-1.0,) * 24, (1.0,) * 24))
    message = refused(check, spec, given(spaces.Dict({"flat": box(39)}), arm(dim=28)))
    assert message == (
        "the policy does not fit toy/X-v0: no observation 'gone' (the environment gives flat); observation 'flat': the "
        "policy has (45,) float32, the environment gives (39,) float64; action: the policy has 24 real numbers in "
        "[-1, 1], the environment takes real numbers of shape (28,) in [-1, 1]; play it in the environment of its "
        "data, or train on data of this one"
    )


@pytest.mark.parametrize(
    ("spec", "offered", "words"),
    [
        (Spec({"a": Field((2,)), "b": Field((2,))}, TWO), given(box(2), arm()), "one unnamed array"),
        (Spec({"a": Field((2,))}, TWO), given(spaces.Discrete(4), arm()), "the environment observes Discrete"),
        (Spec({"a": Field((2, 3, 3), "uint8")}, TWO), given(box(2, 3, 3), arm()), "float64"),
        (Spec({"a": Field((8, 9, 3), "uint8")}, TWO), given(box(3, 8, 9, dtype=np.uint8), arm()), "channels first"),
        (Spec({"a": Field((2,))}, TWO), given(box(2), arm(2.0, 3.0)), "in [2, 3]"),
        (Spec({"a": Field((2,))}, TWO), given(box(2), spaces.Discrete(2)), "2 real numbers"),
        (Spec({"a": Field((2,))}, Discrete(4)), given(box(2), arm()), "4 choices"),
        (Spec({"a": Field((2,))}, Discrete(4)), given(box(2), spaces.Discrete(3)), "takes 3 choices"),
        (Spec({"a": Field((2,))}, Discrete(4)), given(box(2, 2), spaces.MultiDiscrete([4, 3]), 2), "for 2 seats"),
        (Spec({"a": Field((2,))}, TWO), given(box(2), arm(), 2), "the policy has (2, 2)"),
    ],
)
def test_misfits(spec, offered, words):
    assert words in refused(check, spec, offered)


def test_fewer_choices_than_the_environment_has_are_fine():
    adapter = check(Spec({"a": Field((2,))}, Discrete(3)), given(box(2), spaces.Discrete(5, start=-2)))
    assert adapter.action(np.array([2])) == 0 and type(adapter.action(np.array([2]))) is int


def test_actions_are_clipped_to_the_bounds():
    adapter = check(Spec({"a": Field((2,))}, TWO), given(box(2), arm(-0.5, 0.25)))
    action = adapter.action(np.array([[-3.0, 3.0]], np.float32))
    np.testing.assert_array_equal(action, [-0.5, 0.25])
    assert action.dtype == np.float32


def test_seats_share_one_action():
    observations = spaces.Dict({"a": box(2, 3)})
    offered = given(observations, spaces.MultiDiscrete([6, 6], start=[1, 1]), seats=2)
    adapter = check(Spec({"a": Field((3,))}, Discrete(6)), offered)
    np.testing.assert_array_equal(adapter.action(np.array([5, 0])), [6, 1])
    assert adapter.observation({"a": np.zeros((2, 3))})["a"].shape == (2, 3)


def test_an_environment_that_breaks_its_own_space():
    adapter = check(Spec({"a": Field((3,))}, TWO), given(box(3), arm()))
    assert refused(adapter.observation, np.zeros(1)) == "observation 'a' has shape (1,), its space says (3,)"


def test_the_toys_are_sound():
    for name in ("Sum", "Choices", "Process"):
        env = gymnasium.make(f"toy/{name}-v0", disable_env_checker=True)
        observation, _ = env.reset(seed=0)
        assert observation.shape == (3,)

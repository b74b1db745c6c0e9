"""Rollouts repeat exactly, depend on nothing but member and seed, and report what the environment said."""

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch
from toy_environments import LIMIT
from toy_policies import Replay, Rule, noisy, spec_of

from demonstrably.evaluation.rollout import play, rollout
from demonstrably.evaluation.success import judge
from demonstrably.evaluation.worker import Outcome
from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec

CARTPOLE = Environment("CartPole-v1")


def toy(name: str, **arguments) -> Environment:
    return Environment(f"toy/{name}-v0", arguments, ("toy_environments",), seats=2 if name == "Seats" else 1)


def constant(value: float):
    return lambda observation, carry: torch.full((*carry["age"].shape, 2), value)


def always(value: float = 0.25, members: int = 1) -> Rule:
    return Rule(spec_of(), members, constant(value))


def cartpole(members: int = 3):
    return noisy(Spec({"flat": Field((4,))}, Discrete(2), CARTPOLE), members)


def rows(table: pa.Table) -> dict[tuple[int, int], tuple]:
    return {(row["member"], row["seed"]): tuple(row.values()) for row in table.to_pylist()}


def refused(policy, *arguments, **keywords) -> str:
    keywords.setdefault("workers", 0)
    with pytest.raises(ValueError) as caught:
        rollout(policy, *arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_row_an_episode():
    table = rollout(always(members=2), None, [7, 3], workers=0)
    assert table.column_names == ["member", "seed", "return", "success", "length", "task"]
    assert table.to_pylist()[1] == {
        "member": 0, "seed": 3, "return": LIMIT * 0.5, "success": None, "length": LIMIT, "task": "sum"
    }  # fmt: skip
    assert list(rows(table)) == [(0, 7), (0, 3), (1, 7), (1, 3)]
    assert [str(kind) for kind in table.schema.types] == ["int64", "int64", "double", "bool", "int64", "string"]


def test_the_same_call_gives_the_same_table_whatever_the_workers():
    table = rollout(cartpole(), None, range(12))
    assert len(set(table.column("return").to_pylist())) > 10
    for workers in (0, 1, 2):
        assert rollout(cartpole(), None, range(12), workers=workers).equals(table)


def test_an_episode_depends_on_its_member_and_seed_alone():
    """To the last bit: the return adds up the actions, and so every rounding of a matrix product."""
    policy = noisy(spec_of(toy("Sum", terminates=2.0, size=5), Continuous((-1.0,) * 5, (1.0,) * 5)), 5)
    everything = rows(rollout(policy, None, range(25), workers=0))
    for seeds, members in ([[4, 17, 9], None], [range(11, 25), [3]], [[24], [4, 0]], [range(3), [1, 2, 3]]):
        for key, row in rows(rollout(policy, None, seeds, members=members, workers=0)).items():
            assert row == everything[key]


def test_arms_of_several_checkpoints():
    policies = {10: cartpole(2), 20: noisy(cartpole().spec, 3, seed=1)}
    loaded = []

    def load(checkpoint: int):
        loaded.append(checkpoint)
        return policies[checkpoint]

    arms = [(20, 2), (10, 1), (20, 0), (20, 1), (10, 0)]
    table = play(load, arms, CARTPOLE, range(6))
    assert table.column_names[:3] == ["checkpoint", "member", "seed"]
    assert [(r["checkpoint"], r["member"]) for r in table.to_pylist()[::6]] == arms
    for checkpoint, policy in policies.items():
        alone = rows(rollout(policy, None, range(6)))
        for row in table.to_pylist():
            if row.pop("checkpoint") == checkpoint:
                assert tuple(row.values()) == alone[row["member"], row["seed"]]
    assert len(loaded) == 5  # three arms at a time; neighbors of one checkpoint would be loaded together
    with pytest.raises(ValueError, match="no arms"):
        play(load, [], CARTPOLE, range(6))


def test_members_meet_the_same_luck():
    one = cartpole(1)
    twins = type(one).concatenate([one, one])
    table = rollout(twins, None, range(8))
    assert table.column("return").to_pylist()[:8] == table.column("return").to_pylist()[8:]


def test_a_row_starts_each_episode_anew():
    """Ages are paid: a carry that went over into the next episode would pay more, one shared between rows less."""
    ages = Rule(spec_of(), 1, lambda _, carry: (carry["age"][..., None] / 10).expand(*carry["age"].shape, 2).float())
    environment = toy("Sum", terminates=2.0)
    for row in rollout(ages, environment, range(35), workers=0, slots=4).to_pylist():
        assert row["return"] == pytest.approx(sum(2 * age / 10 for age in range(row["length"])), abs=1e-6)
    assert len(set(rollout(ages, environment, range(35), workers=0).column("length").to_pylist())) > 3


def test_the_policy_may_keep_what_it_saw():
    kept = []

    def keep(observation, carry):
        kept.append(observation["flat"])
        return torch.zeros(*carry["age"].shape, 2)

    rollout(Rule(spec_of(), 1, keep), None, [0], workers=0)
    assert [float(seen[0, 0, 1]) for seen in kept] == list(range(LIMIT))


@pytest.mark.parametrize(
    ("success", "expected"),
    [
        ("any", True),
        ("last", False),
        ("return >= 4", True),
        ("return > 4 or terminated", False),
        ("truncated and length == 8 and final_reward < 1", True),
        (lambda outcome: outcome.length < 3, False),
    ],
)
def test_success(success, expected):
    for signal in ("success", "is_success"):
        table = rollout(always(), toy("Sum", success=signal), [0], workers=0, success=success)
        assert table.column("success").to_pylist() == [expected]


def test_a_rule_that_cannot_be_read_is_refused_before_anything_is_made():
    message = refused(always(), Environment("Nowhere-v0"), [0], success="return >= ")
    assert message.startswith("success rule: ") and 'such as "return >= 475"' in message
    assert "did you mean 'length'" in refused(always(), Environment("Nowhere-v0"), [0], success="lenght > 3")


def test_a_rule_reads_outcomes():
    outcomes = [Outcome(total, 5, None, None, True, False, 1.0, None) for total in (1.0, 475.0)]
    assert judge(outcomes, "return >= 475 and terminated") == [False, True]
    assert judge(outcomes, "any") == [None, None]


def test_horizon():
    assert rollout(always(), None, [0], workers=0, horizon=3).column("length").to_pylist() == [3]
    endless = Environment("toy/Endless-v0", imports=("toy_environments",))
    assert refused(always(), endless, [0]) == "toy/Endless-v0 sets no limit to an episode's steps; give a horizon"
    assert rollout(always(), endless, [0], workers=0, horizon=30).column("length").to_pylist() == [30]


def test_discrete_actions_count_from_the_environments_first():
    policy = Rule(spec_of(toy("Choices"), Discrete(5)), 1, lambda _, carry: torch.full_like(carry["age"], 4))
    assert rollout(policy, None, [0], workers=0).column("return").to_pylist() == [LIMIT * 7.0]


def test_actions_out_of_bounds_are_clipped():
    assert rollout(always(5.0), None, [0], workers=0).column("return").to_pylist() == [LIMIT * 2.0]


def test_seats_each_have_a_row_and_a_luck_of_their_own():
    lucks = set()

    def choose(observation, carry):
        seat = observation["place"][..., 0].long()
        assert torch.equal(observation["picture"][..., 0, 0, 0].long(), 255 * seat)
        lucks.update(carry["seed"].ravel().tolist())
        return 3 + seat

    spec = Spec({"place": Field((2,)), "picture": Field((4, 4, 3), "uint8")}, Discrete(6), toy("Seats"))
    table = rollout(Rule(spec, 2, choose), None, range(3), workers=0, slots=3)
    assert set(table.column("return").to_pylist()) == {LIMIT * 34.0}
    assert len(lucks) == 2 * 3


def test_an_action_that_is_not_finite():
    def breaks(observation, carry):
        late = carry["age"][..., None] >= 3
        return torch.where(late, torch.nan, torch.zeros(*carry["age"].shape, 2))

    message = refused(Rule(spec_of(), 2, breaks), None, [6], members=[1])
    assert message.startswith("member 1 gave the action [nan, nan] in the episode with seed 6")


def test_progress():
    seen = []
    rollout(always(members=2), None, range(3), workers=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_what_makes_no_sense():
    assert "different numbers" in refused(always(), None, [1, 1])
    assert "different numbers" in refused(always(), None, [-1])
    assert "no seeds" in refused(always(), None, [])
    assert "slots 0" in refused(always(), None, [1], slots=0)
    assert refused(always(), None, [1], members=[1]) == "members [1]: give different ones of 0 to 0"
    assert "names no environment" in refused(Rule(spec_of(None), 1, constant(0.0)), None, [1])
    assert "does not fit CartPole-v1" in refused(always(), "CartPole-v1", [1])


def recorded(path, count: int) -> tuple[dict[int, np.ndarray], dict[int, dict]]:
    """Actions by seed, and what the file says of each episode."""
    with h5py.File(path) as file:
        demos = [file[f"data/demo_{i}"] for i in range(count)]
        actions = {int(demo.attrs["seed"]): demo["actions"][:] for demo in demos}
        told = {
            int(demo.attrs["seed"]): {**demo.attrs, "obs": {key: values[:] for key, values in demo["obs"].items()}}
            for demo in demos
        }
    return actions, told


def replays_exactly(shared_data, name: str, spec: Spec, count: int, workers: int | None) -> pa.Table:
    """Plays recorded actions on recorded seeds: returns, lengths and every observation must be the recorded ones."""
    actions, told = recorded(shared_data / "expert" / f"{name}.hdf5", count)
    policy = Replay(spec, actions)
    table = rollout(policy, None, list(actions), workers=workers, slots=4)
    for row in table.to_pylist():
        of = told[row["seed"]]
        assert row["return"] == pytest.approx(of["return"], rel=1e-12)  # added up in another order
        assert row["length"] == of["num_samples"]
        for key in spec.observations:
            seen = np.stack([policy.seen[row["seed"]][step][key] for step in range(row["length"])])
            np.testing.assert_array_equal(seen, of["obs"][key])
        if "success" in of:
            assert row["success"] == of["success"]
    return table


def test_recorded_cartpole_repeats_exactly(shared_data):
    spec = Spec({"flat": Field((4,))}, Discrete(2), CARTPOLE)
    replays_exactly(shared_data, "cartpole_expert", spec, 6, None)


def test_recorded_fetch_repeats_exactly(shared_data):
    pytest.importorskip("gymnasium_robotics")
    observations = {"observation": Field((25,)), "achieved_goal": Field((3,)), "desired_goal": Field((3,))}
    spec = Spec(observations, Continuous((-1.0,) * 4, (1.0,) * 4), Environment("FetchPickAndPlace-v4"))
    replays_exactly(shared_data, "fetchpickandplace_scripted", spec, 6, 1)


@pytest.mark.slow
def test_recorded_adroit_repeats_exactly(shared_data):
    pytest.importorskip("gymnasium_robotics")
    environment = Environment("AdroitHandDoor-v1", {"max_episode_steps": 200})
    spec = Spec({"flat": Field((39,))}, Continuous((-1.0,) * 28, (1.0,) * 28), environment)
    replays_exactly(shared_data, "adroit_door_dapg", spec, 8, 2)

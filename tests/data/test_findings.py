"""Each check finds what was planted, names the place, and is silent on clean data."""

import dataclasses
import json

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.findings import Finding, Findings, inspect
from demonstrably.spec import Continuous, Discrete

EPISODES, LENGTH = 10, 40
STEPS, ROWS = EPISODES * LENGTH, EPISODES * (LENGTH + 1)


def clean(**changes):
    """A random walk that a noisy linear rule acts on: nothing to find."""
    generator = np.random.default_rng(5)
    given = {
        "observations": {"state": generator.normal(size=(ROWS, 3)).cumsum(0)},
        "actions": generator.uniform(-0.9, 0.9, (STEPS, 2)),
        "rewards": generator.uniform(size=STEPS),
        "lengths": [LENGTH] * EPISODES,
        "table": {"success": [True] * EPISODES},
    }
    return Demonstrations.from_arrays(**{**given, **changes})


def state():
    return np.random.default_rng(6).normal(size=(ROWS, 3)).cumsum(0)


def actions(width=2):
    return np.random.default_rng(7).uniform(-0.9, 0.9, (STEPS, width))


def only(demos, kind):
    (found,) = inspect(demos).of_kind(kind)
    assert found.message.endswith(".") and (not found.advice or found.advice.endswith("."))
    return found


def test_clean_data_has_no_findings():
    assert list(inspect(clean())) == []


def test_actions_outside_their_bounds():
    values = actions()
    values[2 * LENGTH + 7, 1] = 3.0
    values[5 * LENGTH, 0] = -1.5
    found = only(clean(actions=values, action=Continuous((-1.0, -1.0), (1.0, 1.0))), "action-outside-bounds")
    assert found.severity == "error" and found.where == "demo_2, step 7, dimension 1"
    assert "action 3 is outside [-1, 1], the first of 2 steps" in found.message


def test_choices_beyond_their_number():
    values = np.random.default_rng(0).integers(0, 3, STEPS)
    values[LENGTH + 1] = 5
    found = only(clean(actions=values, action=Discrete(4)), "action-outside-bounds")
    assert found.where.startswith("demo_1, step 1") and "outside 0 to 3" in found.message


@pytest.mark.parametrize("kind", ["one-hot", "index"])
def test_choices_disguised_as_real_numbers(kind):
    choice = np.random.default_rng(0).integers(0, 3, STEPS)
    values = np.eye(3)[choice] if kind == "one-hot" else choice[:, None].astype(float)
    assert only(clean(actions=values), "disguised-choices").severity == "warning"


def test_balance_of_choices():
    values = np.zeros(STEPS, int)
    values[::30] = 2
    demos = clean(actions=values, action=Discrete(4))
    assert "0: 96.5 %, 1: 0 %, 2: 3.5 %, 3: 0 %" in only(demos, "action-balance").message
    assert "never taken: 1, 3" in only(demos, "action-unused").message
    assert "action 0 is taken in 96.5 %" in only(demos, "action-dominant").message


def test_saturation_and_switches():
    values = actions(3)
    values[: STEPS // 4, 1] = 1.0
    values[:, 2] = np.where(np.arange(STEPS) % 7 < 3, -1, 1)
    demos = clean(actions=values)
    found = only(demos, "action-saturation")
    assert found.where == "actions, dimension 1" and "dimension 1 in 25 %" in found.message
    assert only(demos, "action-switch").where == "actions, dimension 2"


def test_use_of_the_bounds():
    values = actions(3)
    values[:, 0] = 0.25
    values[:, 2] *= 0.01
    demos = clean(actions=values)
    assert only(demos, "action-constant").where == "actions, dimension 0"
    assert "0.25" in only(demos, "action-constant").message
    found = only(demos, "action-small-range")
    assert found.where == "actions, dimension 2" and "at most 0.895 % of the bounds" in found.message


def test_idle_ends_by_zero_actions_and_by_standing_still():
    values, states = actions(), state()
    values[3 * LENGTH : 3 * LENGTH + 12] = [0.004, -0.006]
    last = 6 * (LENGTH + 1) + LENGTH  # the final row of episode 6
    states[last - 9 : last + 1] = states[last - 9]
    demos = clean(actions=values, observations={"state": states})
    start, end = only(demos, "idle-start"), only(demos, "idle-end")
    assert start.where == "demo_3, 12 steps" and "1 episode start with idle steps, 3 % of all" in start.message
    assert end.where == "demo_6, 9 steps"


def test_a_missing_final_observation_is_no_standing_still():
    states = state()[:STEPS]
    demos = clean(observations={"state": states})
    assert not inspect(demos).of_kind("idle-end")
    assert "missing in 10 episodes" in only(demos, "no-final-observation").message


def test_discrete_idling_is_judged_by_the_observations():
    states = state()
    states[:20] = 1.0
    values = np.random.default_rng(0).integers(0, 3, STEPS)
    assert only(clean(observations={"state": states}, actions=values), "idle-start").where == "demo_0, 19 steps"


def test_constant_dimensions():
    states = state()
    states[:, 1] = 4.0
    found = only(clean(observations={"state": states}), "constant")
    assert found.where == "state, dimension 1" and "1 of 3 never change" in found.message


@pytest.mark.parametrize("where", ["state", "actions"])
def test_spikes_leap_away_and_back(where):
    states, values = state(), actions() * 0.1
    values = values.cumsum(0) * 0.01
    (states if where == "state" else values)[4 * (LENGTH + (where == "state")) + 11, 1] += 500
    action = Continuous((-1e3,) * 2, (1e3,) * 2)
    demos = clean(observations={"state": states}, actions=values, action=action)
    found = only(demos, "spike")
    assert found.severity == "warning" and found.where == f"{where}: demo_4, step 11, dimension 1"
    assert "1 value that leap" in found.message


def test_a_step_that_stays_is_no_spike():
    states = state()
    states[4 * (LENGTH + 1) + 11 : 5 * (LENGTH + 1), 1] += 500
    states[6 * (LENGTH + 1) + 11 : 7 * (LENGTH + 1), 1] += 500
    states[6 * (LENGTH + 1) + 12 : 7 * (LENGTH + 1), 1] += 500  # two steps in one direction
    assert not inspect(clean(observations={"state": states})).of_kind("spike")


def test_conflicting_actions_continuous():
    states, values = state(), actions()
    for episode in range(EPISODES):
        states[episode * (LENGTH + 1) + 5 : episode * (LENGTH + 1) + 8] = [1, 2, 3]
    found = only(clean(observations={"state": states}, actions=values), "conflicting-actions")
    assert "7.5 % of the steps" in found.message and found.where == "demo_0, step 5 and others"
    for episode in range(EPISODES):
        values[episode * LENGTH + 5 : episode * LENGTH + 8] = 0.5
    assert not inspect(clean(observations={"state": states}, actions=values)).of_kind("conflicting-actions")


def test_conflicting_actions_discrete_bound_what_any_policy_can_match():
    states = np.zeros((ROWS, 1), np.float32)
    states[:, 0] = np.arange(ROWS) % 2
    values = np.zeros(STEPS, int)
    rows = np.concatenate([np.arange(e * (LENGTH + 1), e * (LENGTH + 1) + LENGTH) for e in range(EPISODES)])
    odd = np.flatnonzero(rows % 2)
    values[odd] = 1
    values[odd[: len(odd) // 4]] = 0
    found = only(clean(observations={"state": states}, actions=values), "conflicting-actions")
    agreed = 1 - (len(odd) // 4) / STEPS
    assert f"match at most {100 * agreed:.3g} %" in found.message


def test_duplicate_episodes():
    demos = clean()
    doubled = demos.select([0, 1, 2, 1])
    found = only(doubled, "duplicate")
    assert found.where == "demo_1 = demo_1" and "1 episode repeat" in found.message


def test_leakage_between_masks():
    train = np.arange(EPISODES) < 8
    found = only(clean(masks={"train": train, "valid": ~train | (np.arange(EPISODES) == 2)}), "leakage")
    assert found.where == "demo_2" and "'train' and 'valid'" in found.message
    assert not inspect(clean(masks={"train": train, "valid": ~train})).of_kind("leakage")


def test_length_outliers_and_single_steps():
    lengths = [LENGTH] * 9 + [LENGTH - 1, 1]
    states = np.random.default_rng(1).normal(size=(STEPS + 11, 3))
    demos = clean(lengths=lengths, table={}, observations={"state": states})
    assert only(demos, "length-outlier").where == "demo_10 (1 steps)"
    assert only(demos, "single-step").where == "demo_10"


def test_fences_are_one_and_a_half_interquartile_ranges():
    for longest, found in ((64, 0), (66, 1)):  # quartiles 45 and 53: the fence is at 65
        lengths = [41, 43, 45, 47, 49, 51, 53, 55, longest]
        states = np.random.default_rng(1).normal(size=(sum(lengths) + 9, 3))
        demos = Demonstrations.from_arrays(states, actions()[:1].repeat(sum(lengths), 0), lengths=lengths)
        assert len(inspect(demos).of_kind("length-outlier")) == found


def test_flags_before_the_end():
    flags = np.zeros(STEPS, bool)
    flags[3] = flags[LENGTH * 2 - 1] = True
    assert only(clean(terminated=flags), "early-terminated").where == "demo_0"
    assert only(clean(truncated=flags), "early-truncated").where == "demo_0"


def test_outcomes_by_group():
    demos = clean(
        table={
            "quality": ["good"] * 6 + ["bad"] * 4,
            "demonstrator": [0] * 6 + [1] * 4,
            "success": [True] * 7 + [False] * 3,
        },
        rewards=np.repeat([1.0] * 6 + [0.0] * 4, LENGTH),
    )
    found = only(demos, "by-group")  # demonstrator divides as quality does, and is not said twice
    assert found.where == "quality"
    assert "good: 6 episodes, return 40, success 1.00; bad: 4 episodes, return 0, success 0.25" in found.message
    assert "3 of 10 episodes did not succeed" in only(demos, "failures").message
    assert only(clean(rewards=None), "no-rewards") and only(clean(table={}), "no-success")


def test_images():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (ROWS, 8, 8, 3)).astype(np.uint8)
    good = clean(observations={"image": images})
    assert not inspect(good).of_kind("blank-image") and not inspect(good).of_kind("frozen-image")
    images[::2] = 0
    assert "50 % of the frames" in only(clean(observations={"image": images}), "blank-image").message
    frozen = np.repeat(generator.integers(0, 255, (ROWS // 5, 8, 8, 3)).astype(np.uint8), 5, axis=0)
    assert "equal the next" in only(clean(observations={"image": frozen}), "frozen-image").message


def test_a_view_is_judged_by_itself():
    values = actions()
    values[2 * LENGTH + 7, 1] = 3.0
    demos = clean(actions=values, action=Continuous((-1.0, -1.0), (1.0, 1.0)))
    others = inspect(demos.select([0, 1, 5]))
    assert not others.of_kind("action-outside-bounds") and others.summary["episodes"] == 3


def test_values_near_the_largest_float_raise_no_warning():
    states = state()
    states[::2, 0], states[1::2, 0] = 3e38, -3e38
    inspect(clean(observations={"state": states}))


def test_summary_is_plain_json_and_right():
    demos = clean(table={"quality": ["good"] * 5 + [None] * 5}, masks={"train": np.arange(EPISODES) < 3})
    summary = json.loads(json.dumps(inspect(demos).summary))
    assert summary["episodes"] == EPISODES and summary["transitions"] == STEPS
    assert summary["lengths"]["median"] == LENGTH and summary["success"] is None
    assert summary["return"]["mean"] == pytest.approx(demos.rewards.sum() / EPISODES, rel=1e-6)
    assert summary["masks"] == {"train": 3}
    assert [row["value"] for row in summary["groups"]["quality"]] == ["good", None]
    key = summary["keys"]["state"]
    rows = [row for row in range(ROWS) if (row + 1) % (LENGTH + 1)]
    assert key["minimum"] == pytest.approx(float(demos.observations["state"][rows].min()))
    assert key["shape"] == [3] and key["default"] is True


def test_findings_are_in_order_and_survive_json():
    notes = [Finding("note", "b", "", "B."), Finding("error", "a", "x", "A.", "Do."), Finding("note", "c", "", "C.")]
    findings = Findings.of(notes, {"episodes": 1})
    assert [one.kind for one in findings] == ["a", "b", "c"] and len(findings) == 3 and findings[0].kind == "a"
    assert findings.counts == {"error": 1, "warning": 0, "note": 2}
    assert Findings.from_dict(json.loads(json.dumps(findings.to_dict()))) == findings
    assert str(findings).splitlines()[0] == "error [a] x: A. Do."
    assert str(Findings.of([])) == "nothing found"
    with pytest.raises(ValueError, match="order of severity"):
        Findings(tuple(notes))


def test_html_is_escaped():
    shown = Findings.of([Finding("note", "a", "<script>", "A & B.")])._repr_html_()
    assert "&lt;script&gt;" in shown and "A &amp; B." in shown and "<script>" not in shown


def test_the_notes_of_the_reader_are_repeated():
    note = Finding("warning", "dropped", "", "gone.")
    assert note in inspect(dataclasses.replace(clean(), notes=(note,)))

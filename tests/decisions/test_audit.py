"""The audit on made people: equal and different costs, a placebo, what cannot be known, and wrong input."""

import json

import numpy as np
import pytest

from demonstrably.decisions import audit, read_decisions

from .made_people import noisy_groups, recorded, sigmoid, vignettes

KNOWN = {"decision": "decision", "group": "group", "outcome": "outcome", "posterior": "risk"}
FEATURES = {"decision": "decision", "group": "group", "outcome": "outcome", "features": ["x0", "x1", "x2"]}
VIGNETTES = {
    "decision": "decision",
    "group": "group",
    "outcome": "outcome",
    "features": ["age", "priors", "felony", "violent", "juvenile"],
    "person": "person",
    "case": "case",
}


def test_equal_costs_are_not_told_apart_where_the_outcome_test_sees_a_difference():
    found = audit(noisy_groups(0, rows=20_000), **KNOWN)
    assert found.verdict == "no difference"
    for group in found.groups:
        assert group.cost.low < 0.3 < group.cost.high and not group.reason
    assert found.outcome is not None and min(pair.p_value for pair in found.outcome.pairs) < 1e-6
    assert "no difference" in str(found) and found._repr_html_().startswith("<pre>")
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert record["verdict"] == "no difference" and len(record["groups"]) == 2


def test_different_costs_are_told_apart():
    found = audit(noisy_groups(1, costs=(0.2, 0.35), people=40), **KNOWN, person="person")
    assert found.verdict == "difference"
    (pair,) = found.pairs
    assert pair.verdict == "difference" and pair.difference.low < 0.15 < pair.difference.high
    assert "group a meets the lower one" in found.statement


def test_exact_decisions_are_read_too():
    found = audit(noisy_groups(2, slope=None), **KNOWN)
    assert found.verdict == "no difference"
    assert all(abs(group.cost.point - 0.3) < 0.01 for group in found.groups)
    assert audit(noisy_groups(2, costs=(0.3, 0.33), slope=None), **KNOWN).verdict == "difference"


@pytest.mark.slow
def test_the_posterior_comes_from_features():
    equal, apart = (audit(recorded(9, 6000, costs), **FEATURES) for costs in ((0.3, 0.3), (0.2, 0.4)))
    assert equal.verdict == "no difference", equal.statement
    assert apart.verdict == "difference", apart.statement
    assert set(apart.pairs[0].p_values) == {"cost", "shared cost", "equal records"}
    assert apart.calibration is not None and apart.conditional is not None


@pytest.mark.slow
def test_people_who_never_knew_the_group_are_not_accused():
    found = audit(vignettes(4), **VIGNETTES)
    assert found.verdict == "not identified"
    assert all(np.isnan(group.cost.point) and group.reason for group in found.groups)
    assert found.conditional is not None and found.conditional.p_value[0] > 0.01
    assert found.outcome is not None and min(pair.p_value for pair in found.outcome.pairs) < 1e-3  # which it would


@pytest.mark.slow
def test_the_placebo_holds_over_many_data_sets():
    verdicts = [audit(vignettes(seed, cases=600, people=60), **VIGNETTES).verdict for seed in range(6)]
    assert "difference" not in verdicts
    assert verdicts.count("not identified") >= 5


def test_without_outcomes_nothing_is_identified():
    table = {name: column for name, column in noisy_groups(5).items() if name in ("decision", "group")}
    found = audit(table, decision="decision", group="group")
    assert found.verdict == "not identified" and "no outcomes" in found.statement
    assert found.outcome is None and found.pairs == ()
    assert len(found.assumptions) == 1 and "decisions are independent" in found.assumptions[0]
    table["x"] = np.arange(len(table["group"])) % 7
    records = audit(table, decision="decision", group="group", features=["x"])
    assert records.conditional is not None and records.assumptions[0].endswith("is among the features: x")
    assert "not identified" in str(found) and json.dumps(found.to_dict(), allow_nan=False)


def test_without_a_posterior_nothing_is_identified():
    found = audit(noisy_groups(5), decision="decision", group="group", outcome="outcome")
    assert found.verdict == "not identified" and "no posterior" in found.statement
    assert found.hybrid is not None


def test_a_score_alone_accuses_nobody_unless_it_explains_every_decision():
    named = {"decision": "decision", "group": "group", "outcome": "outcome", "score": "risk"}
    noisy = audit(noisy_groups(11, rows=8000, costs=(0.2, 0.4)), **named)
    assert noisy.verdict == "not identified" and "no equal records" in noisy.statement
    exact = audit(noisy_groups(11, rows=8000, costs=(0.2, 0.4), slope=None), **named)
    assert exact.verdict == "difference"


def test_decisions_that_were_read_are_taken_as_they_are():
    read = read_decisions(noisy_groups(0), **KNOWN)
    assert audit(read).verdict == "no difference"
    with pytest.raises(ValueError, match="read before"):
        audit(read, decision="decision")


@pytest.mark.slow
def test_unseen_outcomes_are_an_assumption_with_a_range():
    table = recorded(6)
    table["outcome"] = np.where(table["decision"] == 1, table["outcome"], np.nan)
    found = audit(table, **FEATURES)
    assert [shift.odds for shift in found.shifts] == [1.5, 2.0, 3.0]
    widths = [high - low for shift in found.shifts for low, high in shift.costs[:1]]
    assert 0 < widths[0] < widths[1] < widths[2]
    assert any("unseen outcomes" in text for text in found.assumptions)


def test_relabeling_the_groups_changes_nothing_else():
    table = noisy_groups(10, costs=(0.2, 0.35))
    swapped = table | {"group": np.where(table["group"] == "group a", "group b", "group a")}
    one, other = audit(table, **KNOWN), audit(swapped, **KNOWN)
    assert one.verdict == other.verdict
    assert one.groups[0].cost.point == pytest.approx(other.groups[1].cost.point)
    assert one.pairs[0].difference.point == pytest.approx(-other.pairs[0].difference.point)


def test_a_posterior_that_the_outcomes_contradict_in_one_group_is_not_believed():
    table = noisy_groups(11)
    odds = np.log(table["risk"] / (1 - table["risk"])) + 0.6 * (table["group"] == "group b")
    found = audit(table | {"risk": sigmoid(odds)}, **KNOWN)
    assert found.verdict == "not identified" and "contradict" in found.statement
    assert not found.groups[0].reason


def test_groups_that_no_longer_occur_are_no_groups():
    read = read_decisions(noisy_groups(0, costs=(0.3,) * 3, shapes=((2, 8), (3, 5), (2, 4))), **KNOWN)
    assert read.group is not None
    found = audit(read.take(read.group.codes != 1))
    assert [group.name for group in found.groups] == ["group a", "group c"]
    with pytest.raises(ValueError, match="comparing needs two groups"):
        audit(read.take(read.group.codes == 1))


@pytest.mark.parametrize("persons", [1, 2])
def test_too_few_people_to_tell_what_differs_between_them(persons):
    table = recorded(12, 600) | {"person": np.arange(600) % persons}
    found = audit(table, **FEATURES, person="person")
    assert found.verdict == "not identified" and "fewer than 3 people" in found.statement
    assert (found.conditional is None) == (persons == 1)


def test_groups_too_small_to_compare_are_counted():
    table = noisy_groups(8)
    table["group"] = table["group"].astype(object)
    table["group"][:3] = "group z"
    found = audit(table, **KNOWN)
    assert [group.name for group in found.groups] == ["group a", "group b"]
    assert any("group z" in note and "3" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"decision": "decison"}, "decision"),
        ({}, {"level": 1.5}, "level"),
        ({"decision": np.ones(4000, int)}, {}, "every decision"),
        ({"group": np.array(["x"] * 4000)}, {}, "only the group"),
        ({"risk": np.full(4000, 1.2)}, {}, "probability"),
        ({"decision": np.array(["grant", "deny"] * 2000)}, {}, "positive"),
    ],
)
def test_wrong_input_is_told_in_one_line(change, options, message):
    with pytest.raises(ValueError, match=message):
        audit(noisy_groups(0) | change, **{**KNOWN, **options})

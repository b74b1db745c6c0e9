"""Evidence of behavior: what is taken, and what is refused by name and step."""

import numpy as np
import pytest

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.recordings import episodes_of
from demonstrably.tabular.tallies import read, tally

CHAIN = np.zeros((3, 2, 3))  # action 0 stays, action 1 goes to the next state
CHAIN[range(3), 0, range(3)] = CHAIN[range(3), 1, [1, 2, 2]] = 1
ENDLESS, SHORT = MDP(CHAIN, discount=0.9), MDP(CHAIN, horizon=2)
GOOD = (np.array([0, 1, 1]), np.array([1, 0]))


def test_decisions_are_counted_by_pair_and_time():
    more = (np.array([1, 2]), np.array([1, 0]))  # the last state may be missing
    assert tally(ENDLESS, [GOOD, more]).tolist() == [[0, 1], [1, 1], [1, 0]]
    assert tally(SHORT, [GOOD, more]).tolist() == [[[0, 1], [0, 1], [0, 0]], [[0, 0], [1, 0], [1, 0]]]


def test_three_kinds_of_evidence_are_told_apart():
    policy = np.full((3, 2), 0.5)
    assert read(ENDLESS, policy).counts is None
    assert read(ENDLESS, policy.tolist()).counts is None
    counts = np.array([[3, 1], [0, 4], [0, 0]])
    seen = read(ENDLESS, counts)
    assert seen.counts is not None and seen.counts.tolist() == counts.tolist()
    assert seen.policy == pytest.approx(np.array([[3.5, 1.5], [0.5, 4.5], [0.5, 0.5]]) / [[5], [5], [1]])
    assert read(ENDLESS, [GOOD]).counts.sum() == 2


@pytest.mark.parametrize(
    ("demonstration", "message"),
    [
        ((np.array([0, 3, 1]), np.array([1, 0])), "demonstration 1, step 1: state 3 is out of range; give 0 to 2"),
        ((np.array([0, 1, 1]), np.array([1, -1])), "demonstration 1, step 1: action -1 is out of range; give 0 to 1"),
        (
            (np.array([0, 0, 2]), np.array([0, 1])),
            "demonstration 1, step 1: state 0, action 1 was followed by state 2, which has probability 0",
        ),
        ((np.array([0.0, 1.0]), np.array([1])), "demonstration 1: states of shape .* type float64"),
        ((np.array([0, 1, 1, 1]), np.array([1, 0])), "demonstration 1: 4 states, 2 actions"),
        ((np.array([], int), np.array([], int)), "demonstration 1: 0 states, 0 actions"),
    ],
)
def test_bad_demonstrations_are_named(demonstration, message):
    with pytest.raises(ValueError, match=message):
        tally(ENDLESS, [GOOD, demonstration])


def test_demonstrations_beyond_the_horizon_and_none_are_refused():
    with pytest.raises(ValueError, match="has 3 decisions; the horizon is 2"):
        tally(SHORT, [(np.array([0, 0, 0]), np.array([0, 0, 0]))])
    with pytest.raises(ValueError, match="no demonstrations"):
        read(ENDLESS, [])


def test_a_demonstration_begins_where_an_episode_can_with_a_horizon():
    late = (np.array([1, 1]), np.array([0]))
    with pytest.raises(ValueError, match="demonstration 1 begins in state 1, where no episode does"):
        read(MDP(CHAIN, horizon=2, initial=0), [GOOD, late])
    assert read(MDP(CHAIN, discount=0.9, initial=0), [GOOD, late]).counts.sum() == 3  # it may have been cut


def test_counts_where_no_episode_can_be_are_refused():
    counts = np.zeros((2, 3, 2), int)
    counts[0, 0], counts[1, 2] = 1, 1
    with pytest.raises(ValueError, match="at time 1 in state 2, where no episode can be then"):
        read(MDP(CHAIN, horizon=2, initial=0), counts)
    assert read(MDP(CHAIN, horizon=2), counts).counts.sum() == 4


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ([[[0, 1], [0, 1]]], "that are no array: give counts of decisions as an integer array"),
        ([[[0, 1], [1, 0]], [[0, 1], [1, 0]], [[0, 1], [1, 0]]], "that are no array"),  # the shape of counts
        ([[1, 2], [1, 0], [3, 4]], "that are no array"),
        ([[[0, 1, 1], [1, 0]]], "lists of different lengths: give counts"),
        ([GOOD, (np.array([0]), np.array([1]), np.array([0.0]))], "demonstration 1 has 3 parts"),
    ],
)
def test_lists_that_may_mean_several_things_are_refused(evidence, message):
    with pytest.raises(ValueError, match=message):
        read(MDP(CHAIN[:2, :, :2] + [[[0, 0]] * 2, [[0, 0], [0, 1]]], horizon=3), evidence)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones((2, 2), int), r"shape \(2, 2\): give \(3, 2\)"),
        (np.array([[1, -1], [2, 2], [2, 2]]), "0 or more"),
        (np.array([[1, 0], [0, 1], [1, 0]]), "give a policy as floats"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        read(ENDLESS, counts)


def test_recorded_demonstrations_become_tuples():
    demos = Demonstrations.from_arrays(np.array([[0.0], [1], [1], [0], [1]]), np.array([1, 0, 1]), lengths=[2, 1])
    episodes = episodes_of(demos)
    assert [(states.tolist(), actions.tolist()) for states, actions in episodes] == [([0, 1, 1], [1, 0]), ([0, 1], [1])]
    assert tally(ENDLESS, episodes).sum() == 3
    wide = Demonstrations.from_arrays(np.zeros((3, 2)), np.array([1, 0]))
    with pytest.raises(ValueError, match="demonstration 0: observation 'flat' of 2 values"):
        episodes_of(wide)
    with pytest.raises(ValueError, match="name the one that is the state"):
        episodes_of(demos, "position")

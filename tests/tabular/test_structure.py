"""Components, periods, layers, and Kim et al.'s tests where they are valid."""

import numpy as np
import pytest
from scipy import sparse

from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import (
    aperiodicity_test,
    chance_components,
    components,
    count,
    coverage_test,
    covering_time,
    layers,
    period,
    periodic_classes,
    reachable,
    strongly_connected,
    visited,
)

from .small_problems import ABSORBING, STAY_OR_MOVE, cycle_of_classes, grid, moves


def test_components_join_outcomes_of_a_choice() -> None:
    mdp = MDP(moves([[1, 2], [3, 3], [0, 0], [3, 3]]), discount=0.9)
    labels = components(mdp)
    assert labels[1] == labels[2] and count(labels) == 3
    assert count(chance_components(mdp)) == 4
    seen = np.array([False, True, True, True])
    assert count(components(mdp, seen), seen) == 3


def test_reachable_and_layers() -> None:
    mdp = MDP(moves([[0, 1], [1, 0], [0, 2], [3, 3]]), horizon=2, initial=0)
    assert reachable(mdp).tolist() == visited(mdp).tolist() == [True, True, False, False]
    assert [mask.tolist() for mask in layers(mdp)] == [[True, False, False, False], *[[True, True, False, False]] * 2]
    with pytest.raises(ValueError, match="horizon"):
        layers(MDP(STAY_OR_MOVE, discount=0.9))


def test_period_and_classes() -> None:
    mdp = MDP(cycle_of_classes([1, 3, 2]), horizon=5, initial=0)
    assert period(mdp) == 3 and periodic_classes(mdp).tolist() == [0, 1, 1, 1, 2, 2]
    assert period(MDP(grid(waits=False), discount=0.9)) == 2
    assert period(MDP(grid(), discount=0.9)) == 1
    assert not strongly_connected(MDP(ABSORBING, discount=0.9))
    with pytest.raises(ValueError, match="strongly connected"):
        period(MDP(ABSORBING, discount=0.9))


def test_covering_time() -> None:
    assert covering_time(MDP(STAY_OR_MOVE, horizon=4, initial=0)) == 1
    assert covering_time(MDP(cycle_of_classes([1, 2]), horizon=4, initial=0)) is None


def test_kim_tests_agree_with_the_exact_answer_where_they_are_valid() -> None:
    answered = 0
    for seed in range(90):
        generator = np.random.default_rng(seed)
        states = int(generator.integers(2, 6))
        transitions = moves(generator.integers(states, size=(states, 2)))
        mdp = MDP(transitions, horizon=2, initial=0)
        time = covering_time(mdp)
        mdp = mdp.replace(horizon=max(1, 2 * time if time is not None else 2 * states))
        exact = identify(mdp, remedies=False).verdict == "strong"
        if coverage_test(mdp):
            assert exact
        if strongly_connected(mdp):
            answered += 1
            assert aperiodicity_test(mdp) == exact == coverage_test(mdp) == (period(mdp) == 1)
    assert answered > 12


def test_kim_tests_refuse_what_they_are_not_valid_for() -> None:
    refused = [
        (MDP(STAY_OR_MOVE, discount=0.9), "without one no single expert is enough"),
        (MDP(np.full((3, 2, 3), 1 / 3), horizon=9, initial=0), "deterministic"),
        (MDP(STAY_OR_MOVE, horizon=9), "one start, and 2"),
        (MDP(STAY_OR_MOVE, horizon=1, initial=0), "horizon of at least 2, not 1"),
    ]
    for mdp, message in refused:
        for test in (aperiodicity_test, coverage_test):
            with pytest.raises(ValueError, match=message):
                test(mdp)
    absorbing = MDP(ABSORBING, horizon=4, initial=0)
    assert coverage_test(absorbing)
    with pytest.raises(ValueError, match="strongly connected"):
        aperiodicity_test(absorbing)


def test_problem_refuses_bad_input() -> None:
    cases = [
        (-np.eye(2)[:, None], {"discount": 0.5}, "state 0, action 0 to state 0: -1.0 is negative"),
        (np.full((2, 1, 2), np.nan), {"discount": 0.5}, "not finite"),
        (np.full((2, 1, 2), 0.4), {"discount": 0.5}, "state 0, action 0: 0.8"),
        (STAY_OR_MOVE, {"discount": 1.0}, "discount 1.0 without a horizon"),
        (STAY_OR_MOVE, {}, "give a discount below 1, or a horizon"),
        (STAY_OR_MOVE, {"horizon": 0}, "horizon 0"),
        (STAY_OR_MOVE, {"discount": 0.5, "initial": 7}, "initial 7"),
        (STAY_OR_MOVE, {"discount": 0.5, "state_names": ["a", "a"]}, "state_names holds 'a' more than once"),
        (np.zeros((2, 2)), {"discount": 0.5}, "transitions of shape"),
        (sparse.eye_array(3, format="csr"), {"discount": 0.5}, "actions=A"),
    ]
    for transitions, options, message in cases:
        with pytest.raises(ValueError, match=message):
            MDP(transitions, **options)


def test_shapes_of_transitions_are_the_same_problem() -> None:
    dense = np.random.default_rng(0).dirichlet(np.ones(3), (3, 2))
    rows = sparse.csr_array(dense.reshape(6, 3))
    before = rows.copy()
    problems = [
        MDP(dense, discount=0.9),
        MDP([sparse.csr_array(dense[:, action]) for action in range(2)], discount=0.9),
        MDP(rows, discount=0.9, actions=2),
    ]
    for mdp in problems:
        assert np.array_equal(mdp.transitions.toarray(), dense.reshape(6, 3))
    assert abs(rows - before).max() == 0 and problems[0].name(3) == "state 1, action 1"
    assert problems[0].state_names == ("0", "1", "2")

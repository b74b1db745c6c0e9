"""A problem as it is given: probabilities in single floats, and mistakes in one line."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP

TRANSITIONS = np.random.default_rng(0).dirichlet(np.ones(40), (40, 2))
SINGLE = TRANSITIONS.astype(np.float32)


@pytest.mark.parametrize(
    "single",
    [
        SINGLE,
        list(SINGLE),
        sparse.csr_array(SINGLE.reshape(80, 40)),
        [sparse.csr_array(SINGLE[:, action]) for action in range(2)],
    ],
    ids=["array", "list", "sparse", "one an action"],
)
def test_single_floats_are_divided_by_their_sums(single) -> None:
    assert np.abs(SINGLE.astype(float).sum(2) - 1).max() > 1e-8
    mdp = MDP(single, discount=0.9, actions=2)
    assert mdp.transitions.dtype == np.float64
    assert np.abs(mdp.transitions @ np.ones(40) - 1).max() < 1e-15
    assert np.abs(mdp.transitions.toarray() - TRANSITIONS.reshape(80, 40)).max() < 1e-7


def test_rows_that_do_not_sum_to_one_are_shown_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"action 0: 1.00004\d*; .*they are rounded; divide each row by its sum"):
        MDP(TRANSITIONS + 1e-6, discount=0.9)
    with pytest.raises(ValueError, match=r"action 0: 1.004\d*; .*an episode's end is an absorbing state"):
        MDP(SINGLE + np.float32(1e-4), discount=0.9)
    with pytest.raises(ValueError, match="nan is not finite"):
        MDP(np.where(SINGLE == SINGLE[0, 0, 0], np.float32(np.nan), SINGLE), discount=0.9)


SMALL = TRANSITIONS[:2, :, :2] / TRANSITIONS[:2, :, :2].sum(2, keepdims=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discount": np.nan}, "discount nan: give a finite number, or leave it out"),
        ({"discount": 0.9, "state_names": ["a", "a"]}, "state_names holds 'a' more than once: give 2 different names"),
        ({"discount": 0.9, "state_names": ["a"]}, "state_names holds 1 names: give 2"),
        ({"discount": 0.9, "action_names": ["a", "b", "c"]}, "action_names holds 3 names: give 2"),
        ({"discount": 0.9, "state_names": "ab"}, "state_names 'ab' is one text: give a list of 2 names"),
        ({"discount": 0.9, "actions": 3}, "actions=3, but the transitions have 2"),
        ({"discount": 0.9, "initial": np.array(["a", "b"])}, "initial holds no numbers: give a state from 0 to 1"),
    ],
)
def test_mistakes_are_named(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        MDP(SMALL, **options)


WRONG_TYPES = """
import numpy as np
from scipy import sparse
from demonstrably.tabular import MDP, identify
one = np.eye(2)
both = np.stack([one, one], 1)
for call in (
    lambda: MDP(both, horizon=np.nan),
    lambda: MDP(both, horizon=np.inf),
    lambda: MDP(both, horizon="5"),
    lambda: MDP(both, discount="0.9"),
    lambda: MDP([[1], [1, 2]], discount=0.9),
    lambda: MDP("abc", discount=0.9),
    lambda: MDP([sparse.csr_array(one), one], discount=0.9),
    lambda: MDP(both, discount=0.9, initial=["a", "b"]),
    lambda: MDP(both, discount=0.9, initial=[[1], [1, 2]]),
    lambda: MDP(both, discount=0.9, state_names=[1, "1"]),
    lambda: identify("x"),
    lambda: identify(5),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_values_of_the_wrong_type_are_named() -> None:
    """In a process of its own, since here annotations are checked before any code sees the value."""
    done = subprocess.run([sys.executable, "-c", WRONG_TYPES], capture_output=True, text=True, check=True)
    numbers = "transitions that are no array of numbers: give probabilities (S, A, S)"
    starts = "initial holds no numbers: give a state from 0 to 1, or probabilities (2,)"
    expected = [
        "horizon nan: give a finite number",
        "horizon inf: give a finite number",
        "horizon '5': give a finite number",
        "discount '0.9': give a finite number",
        numbers,
        numbers,
        "transitions of action 1 are not sparse, but others are: give all of them sparse",
        starts,
        starts,
        "state_names holds '1' more than once",
        "problem 0 is no MDP but str: give an MDP, or one an expert",
        "problem 0 is no MDP but int: give an MDP, or one an expert",
    ]
    lines = done.stdout.splitlines()
    assert [line[: len(begin)] for line, begin in zip(lines, expected, strict=True)] == expected


def test_single_floats_are_answered() -> None:
    mdp = MDP(SINGLE, discount=0.9)
    assert identify([mdp, mdp.replace(discount=0.5)], remedies=False).dimension == 1

"""What is open in words that are true, and the fewest transitions that settle it."""

import numpy as np
import pytest

from demonstrably.tabular.identification import Condition, Identification
from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP

from .small_problems import exogenous, moves, oracle, random_transitions

WEATHER = exogenous(3, 2, 2, np.random.default_rng(0))
RINGS = moves([[1, 0], [2, 1], [0, 2], [4, 3], [5, 4], [3, 5]])  # two rings; one may also wait
ONE_ACTION = np.full((3, 1, 3), 1 / 3)


def blocks(*problems: MDP, reward="state_action") -> dict[str, list[tuple[int, ...]]]:
    """Where the blocks of each kind live."""
    found: dict[str, list[tuple[int, ...]]] = {}
    for block in identify(problems, reward=reward, remedies=False).blocks:
        found.setdefault(block.kind, []).append(block.states)
    return found


@pytest.mark.parametrize(
    "problems",
    [
        [MDP(WEATHER, horizon=12, initial=0)],
        [MDP(WEATHER, horizon=12), MDP(WEATHER, horizon=13)],
        [MDP(WEATHER, horizon=12), MDP(WEATHER, discount=0.9)],
        [MDP(WEATHER, discount=0.9), MDP(exogenous(3, 2, 2, np.random.default_rng(0)), discount=0.8)],
        [MDP(WEATHER, discount=0.0), MDP(WEATHER, discount=0.9)],
    ],
)
@pytest.mark.parametrize("reward", ["state_action", "state"])
def test_an_exogenous_factor_with_a_horizon_and_with_several_experts(problems, reward) -> None:
    found = blocks(*problems, reward=reward)
    assert set(found) == {"constant", "factor"} and len(found["factor"]) == 2
    assert set(found["factor"]) <= {(0, 1), (2, 3), (4, 5)}


def test_a_feature_that_is_the_weather() -> None:
    features = np.random.default_rng(1).standard_normal((12, 4))
    features[:, 0] = np.repeat([1, 1, 0, 0, 0, 0], 2)
    for problems in ([MDP(WEATHER, horizon=20)], [MDP(WEATHER, discount=0.9), MDP(WEATHER, discount=0.5)]):
        assert blocks(*problems, reward=features) == {"factor": [(0, 1)]}


def test_components_with_a_horizon() -> None:
    for problems in ([MDP(RINGS, horizon=20)], [MDP(RINGS, horizon=20), MDP(RINGS, horizon=21)]):
        found = identify(problems, remedies=False)
        assert [block.kind for block in found.blocks] == ["constant", "component"]
        assert "a shift of states 3, 4, 5: no choice compares it with the rest, since nothing" in str(found)


def test_one_action_compares_nothing() -> None:
    for problems in (
        [MDP(ONE_ACTION, horizon=4)],
        [MDP(ONE_ACTION, discount=0.9), MDP(ONE_ACTION, discount=0.5)],
    ):
        found = identify(problems)
        assert "2 directions are rewards over all 3 states: there is one action" in str(found)


def test_no_exogenous_factor_at_discount_0() -> None:
    mdp = MDP(np.random.default_rng(2).dirichlet(np.ones(4), (4, 2)), discount=0.0)
    found = identify(mdp, reward="state")
    assert found.dimension == 4 and "exogenous" not in str(found)
    assert "3 directions are rewards over all 4 states: at discount 0 no choice depends on what comes next" in str(
        found
    )
    assert blocks(mdp, mdp.replace(discount=0.9), reward="state") == {"constant": [()]}


def test_no_reason_is_given_where_none_is_known() -> None:
    found = identify(MDP(WEATHER, horizon=2, initial=0), remedies=False)
    assert found.blocks[-1].text == (
        "2 directions are combinations of potentials that may change with the time left, without a simple description"
    )


def transitions_remedy(found: Identification) -> tuple[int, str]:
    remedy = next(remedy for remedy in found.remedies if remedy.kind == "transitions")
    return remedy.dimension, remedy.text


def test_the_fewest_transitions_settle_all_that_transitions_can() -> None:
    table = moves([[1, 1], [2, 0], [3, 1], [2, 2]])
    dimension, text = transitions_remedy(identify(MDP(table, discount=0.9, initial=0)))
    assert dimension == 1 and "which 3 transitions differ, the fewest possible, for" in text
    for kind in ("deterministic", "sparse", "periodic", "stochastic"):
        for seed in range(6):
            mdp = MDP(random_transitions(kind, np.random.default_rng(seed)), discount=0.9)
            found = identify(mdp)
            if mdp.actions == 1 or mdp.states == 1:
                assert all(remedy.kind != "transitions" for remedy in found.remedies)
                continue
            left, text = transitions_remedy(found)
            count = mdp.states - 1
            assert left == 1 and f" {count} transition" in text and "the fewest possible" in text


def test_fewer_transitions_never_settle_as_much() -> None:
    generator = np.random.default_rng(3)
    mdp = MDP(generator.dirichlet(np.ones(4), (4, 2)), discount=0.9)
    for _ in range(20):
        rows = generator.choice(8, 2, replace=False)
        changed = mdp.transitions.toarray()
        changed[rows] = generator.dirichlet(np.ones(4), 2)
        other = mdp.replace(transitions=changed.reshape(4, 2, 4))
        assert oracle([mdp, other], np.eye(8)).shape[1] >= 2


def test_transitions_where_a_state_is_never_visited() -> None:
    mdp = MDP(moves([[0, 1], [1, 2], [2, 0], [0, 3]]), discount=0.9, initial=0)
    found = identify(mdp)
    dimension, text = transitions_remedy(found)
    assert (found.dimension, dimension) == (5, 3)  # the constant, and two pairs that are never visited
    assert "2 transitions differ, for" in text  # a way to the state that is never visited could do with fewer


def test_errors_that_do_not_grow() -> None:
    alone = MDP(WEATHER, discount=0.9)
    assert "errors do not grow" in str(identify(alone, remedies=False))
    several = identify([alone] * 4, remedies=False)
    assert several.condition is not None and several.condition.amplification < 1
    assert "errors do not grow\n" in str(several)
    condition = Condition(None, 0.5, 2.0, None)
    assert condition.warning is None and "grow at most" in str(identify(MDP(RINGS, horizon=5), remedies=False))

"""Identifiability against published and hand-derived answers: dimensions, angles, words, remedies, transfer, errors."""

import json

import numpy as np
import pytest
from scipy import sparse

from demonstrably.tabular import kernels
from demonstrably.tabular.ambiguity import residual, shaping_basis
from demonstrably.tabular.forms import form_of
from demonstrably.tabular.identify import identify
from demonstrably.tabular.large import differences, found_in_large
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import soft_optimal
from demonstrably.tabular.structure import components, count, layers

from .small_problems import ABSORBING, STAY_OR_MOVE, cycle_of_classes, exogenous, grid, moves, path_matrix

GRID = MDP(grid(), discount=0.9)


def dimension(*problems: MDP, reward="state_action") -> int:
    return identify(problems, reward=reward, remedies=False).dimension


def over_horizons(transitions, horizons, start=0, discount=1.0) -> list[int]:
    mdp = MDP(transitions, horizon=1, discount=discount, initial=start)
    return [dimension(mdp.replace(horizon=horizon)) for horizon in horizons]


# The checks K1 to K7: Kim et al. 2021.


def test_rank_of_the_path_matrix_on_random_deterministic_problems() -> None:
    for seed in range(20):
        generator = np.random.default_rng(seed)
        states = int(generator.integers(2, 5))
        transitions = moves(generator.integers(states, size=(states, 2)))
        for horizon in (2, 6):
            mdp = MDP(transitions, horizon=horizon, initial=0)
            rank = np.linalg.matrix_rank(path_matrix(mdp, 0), tol=1e-7)
            assert dimension(mdp) == mdp.pairs + 1 - rank


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_two_states(discount: float) -> None:
    horizons = range(1, 6)
    assert over_horizons(STAY_OR_MOVE, horizons, discount=discount) == [3, 1, 1, 1, 1]
    assert over_horizons(moves([[1], [0]]), horizons, discount=discount) == [2, 2, 2, 2, 2]
    assert over_horizons(moves([[1, 1], [0, 0]]), horizons, discount=discount) == [3, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("sizes", "horizon", "expected"),
    [([1, 3, 2], 12, 6), ([1, 3, 2], 13, 4), ([2, 2, 1], 12, 4), ([2, 2, 1], 13, 4), ([2, 1], 8, 2), ([2, 1], 9, 3)],
)
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_periodic_formula(sizes: list[int], horizon: int, expected: int, discount: float) -> None:
    mdp = MDP(cycle_of_classes(sizes), horizon=horizon, initial=0, discount=discount)
    assert expected == 1 + sum(sizes) - sizes[horizon % len(sizes)]
    result = identify(mdp, remedies=False)
    assert result.dimension == expected and result.verdict == "weak"
    assert [block.kind for block in result.blocks] == ["constant"] + ["period"] * (len(sizes) - 1)


def test_slip_grid() -> None:
    assert over_horizons(grid(), [3, 5, 7, 8, 9]) == [77, 41, 13, 5, 1]
    assert over_horizons(grid(), [3, 5, 6, 9], start=12) == [50, 1, 1, 1]
    assert over_horizons(grid(waits=False), range(8, 14), start=12) == [13, 14, 13, 14, 13, 14]


def test_uniform_dynamics_are_not_even_weakly_identifiable() -> None:
    transitions = np.full((3, 2, 3), 1 / 3)
    results = [identify(MDP(transitions, horizon=horizon, initial=0)) for horizon in (1, 2, 3)]
    assert [result.dimension for result in results] == [5, 3, 3]
    assert [result.verdict for result in results] == ["weak", "none", "none"]
    assert results[1].trajectory_dimension == 1
    mdp = MDP(transitions[:2, :, :2] * 1.5, horizon=3)
    policies = [soft_optimal(mdp, reward).policy for reward in (np.zeros(2), np.array([5.0, -3.0]))]
    assert np.abs(policies[0] - policies[1]).max() < 1e-12


def test_identifiable_although_not_strongly_connected() -> None:
    result = identify(MDP(ABSORBING, horizon=4, initial=0))
    assert (result.dimension, result.verdict) == (1, "strong")


# Three small problems on which a test by the state graph alone errs.


def test_where_tests_by_the_state_graph_err() -> None:
    uniform = MDP(np.full((3, 2, 3), 1 / 3), horizon=10, initial=0)
    assert identify(uniform).dimension == 3  # connected and aperiodic, and still open
    coin = np.zeros((4, 2, 4))  # state 2 * coin + y: the action sets y, the coin turns by itself
    for state in range(4):
        for action in range(2):
            coin[state, action, action + 2 * (state // 2)] = 0.75
            coin[state, action, action + 2 * (1 - state // 2)] = 0.25
    for result in (
        identify(MDP(coin, horizon=10, initial=0)),
        identify([MDP(coin, discount=0.9), MDP(coin, discount=0.5)]),
    ):
        assert (result.dimension, result.verdict) == (2, "none")
    assert identify(MDP(ABSORBING, horizon=4, initial=0)).dimension == 1


# The checks C2 to C7: Cao et al. 2021, Rolland et al. 2022.


def test_two_discounts_count_the_null_space_of_the_differences() -> None:
    generator = np.random.default_rng(0)
    table = generator.integers(12, size=(12, 2))
    components_of_table = count(components(MDP(moves(table), discount=0.5)))
    for transitions, expected in (
        (generator.dirichlet(np.ones(6), (6, 2)), 1),
        (generator.dirichlet(np.ones(6), (6, 1)), 6),
        (exogenous(3, 2, 2, generator), 3),
        (exogenous(4, 3, 3, generator), 4),
        (moves(table), components_of_table),
    ):
        mdp = MDP(transitions, discount=0.9)
        for other in (0.5, 0.8, 0.0):
            assert dimension(mdp, mdp.replace(discount=other)) == expected
        assert dimension(mdp, reward="state") == expected


@pytest.mark.parametrize(
    ("states", "changed", "expected"),
    [(6, range(7), [6, 5, 4, 3, 2, 1, 1]), (8, [0, 1, 3, 5, 6, 7, 8, 12], [8, 7, 5, 3, 2, 1, 1, 1])],
)
def test_two_kernels(states: int, changed, expected: list[int]) -> None:
    generator = np.random.default_rng(1)
    first = generator.dirichlet(np.ones(states), (states, 3))
    found = []
    for number in changed:
        second = first.reshape(-1, states).copy()
        rows = generator.choice(states * 3, number, replace=False)
        second[rows] = generator.dirichlet(np.ones(states), number)
        found.append(dimension(MDP(first, discount=0.9), MDP(second.reshape(first.shape), discount=0.9)))
    assert found == expected


def test_no_number_of_environments_helps_without_a_choice() -> None:
    generator = np.random.default_rng(2)
    environments = [MDP(generator.dirichlet(np.ones(4), (4, 1)), discount=0.9) for _ in range(4)]
    assert dimension(*environments) == 4


@pytest.mark.parametrize(("discount", "angle"), [(0.5, 0.085231), (0.8, 0.017959), (0.89, 0.0017142)])
def test_angle_of_two_discounts(discount: float, angle: float) -> None:
    result = identify([GRID, GRID.replace(discount=discount)])
    condition = result.condition
    assert result.verdict == "strong" and condition is not None and condition.angle is not None
    assert condition.angle == pytest.approx(angle, rel=1e-4)
    assert condition.singular_value * condition.largest == pytest.approx(0.77467, abs=1e-5)
    assert (condition.warning is None) == (discount < 0.85)


def test_rank_and_condition_of_two_discounts() -> None:
    seen = np.ones(25, bool)
    values = np.linalg.svd(differences(GRID, seen).toarray(), compute_uv=False)
    assert (values > 1e-12).sum() == 24 and values[23] == pytest.approx(0.77467, abs=1e-5)
    for discount, expected in ((0.5, 24.0), (0.8, 111.5), (0.89, 1166.7)):
        blocks = [mdp.stay() - mdp.discount * mdp.transitions for mdp in (GRID, GRID.replace(discount=discount))]
        values = np.linalg.svd(sparse.hstack([blocks[0], -blocks[1]]).toarray(), compute_uv=False)
        assert values[0] / values[48] == pytest.approx(expected, rel=2e-3) and values[49] < 1e-12


def test_angle_of_two_kernels() -> None:
    result = identify([GRID, MDP(grid(slip=0.3), discount=0.9)])
    assert result.dimension == 1 and result.condition is not None
    assert result.condition.angle == pytest.approx(0.050415, rel=1e-4)


def test_error_bound_holds_and_is_attained() -> None:
    problems = (GRID, GRID.replace(discount=0.5))
    seen = np.ones(25, bool)
    result = identify(problems)
    assert result.condition is not None and result.condition.angle is not None
    away = [np.eye(100) - (basis := shaping_basis(mdp, seen)) @ basis.T for mdp in problems]
    eigenvalues, vectors = np.linalg.eigh(away[0] + away[1])
    assert eigenvalues[1] == pytest.approx(1 - np.cos(result.condition.angle), rel=1e-9)
    assert eigenvalues[1] == pytest.approx(0.003629976, abs=1e-9)
    assert result.condition.amplification == pytest.approx(eigenvalues[1] ** -0.5, rel=1e-6)
    generator = np.random.default_rng(3)
    system = np.vstack(away)
    worst = [side @ vectors[:, 1] for side in away]
    for errors in (*generator.standard_normal((20, 2, 100)), np.array(worst)):
        moved = [side @ error for side, error in zip(away, errors, strict=True)]
        error = np.linalg.pinv(system, rcond=1e-9) @ np.concatenate(moved)
        ours = result.condition.amplification * np.hypot(*map(np.linalg.norm, moved))
        assert np.linalg.norm(error) <= ours * (1 + 1e-9)
        assert ours <= sum(map(np.linalg.norm, moved)) / eigenvalues[1]
    assert np.linalg.norm(error) == pytest.approx(ours, rel=1e-6)


def test_transfer() -> None:
    generator = np.random.default_rng(4)
    chain = generator.dirichlet(np.ones(3), 3)

    def environment(discount: float) -> MDP:
        inner = generator.dirichlet(np.ones(2), (3, 2, 2))
        transitions = np.einsum("xz,xyaw->xyazw", chain, inner).reshape(6, 2, 6)
        return MDP(transitions, discount=discount)

    first = environment(0.9)
    result = identify([first, first.replace(discount=0.5)])
    assert result.dimension == 3 and result.directions is not None
    assert result.transfers_to(environment(0.7)).determined
    assert result.transfers_to(environment(0.7).replace(horizon=5)).determined
    strange = MDP(generator.dirichlet(np.ones(6), (6, 2)), discount=0.9)
    transfer = result.transfers_to(strange)
    assert not transfer.determined and transfer.dimension == 2 and "2 of 3" in transfer.text
    values = np.linalg.svd(residual(strange, result.directions), compute_uv=False)
    assert (values > 1e-9).sum() == 2
    rewards = generator.standard_normal((6, 2))
    for direction in result.directions.T:
        other = rewards + direction.reshape(6, 2)
        for mdp, same in ((first, True), (environment(0.3), True)):
            gap = np.abs(soft_optimal(mdp, rewards).policy - soft_optimal(mdp, other).policy).max()
            assert (gap < 1e-10) == same
    with pytest.raises(ValueError, match="give one with 6 and 2"):
        result.transfers_to(GRID)


def test_open_directions_change_no_policy_and_others_do() -> None:
    generator = np.random.default_rng(5)
    mdp = MDP(exogenous(2, 3, 2, generator), horizon=4, discount=0.9, initial=1)
    result = identify(mdp)
    assert result.directions is not None
    reward = generator.standard_normal((6, 2))
    possible = np.array(layers(mdp)[:-1])
    before = soft_optimal(mdp, reward).log_policy[possible]

    def moved(change: np.ndarray) -> float:
        after = soft_optimal(mdp, reward + change.reshape(6, 2)).log_policy[possible]
        return float(np.abs(after - before).max())

    change = generator.standard_normal(12)
    inside = result.directions @ (result.directions.T @ change)
    assert moved(inside) < 1e-12 < 1e-3 < moved(change - inside)


# Forms of reward, verdicts, words, remedies.


def test_one_expert_without_end() -> None:
    deterministic = identify(MDP(STAY_OR_MOVE, discount=0.9))
    assert (deterministic.dimension, deterministic.verdict) == (2, "weak")
    stochastic = identify(GRID)
    assert (stochastic.dimension, stochastic.trajectory_dimension, stochastic.verdict) == (25, 1, "none")
    assert [block.dimension for block in stochastic.blocks] == [1, 24]


def test_features() -> None:
    generator = np.random.default_rng(6)
    features = generator.standard_normal((100, 4))
    result = identify(GRID, reward=features)
    assert (result.dimension, result.verdict, result.blocks) == (0, "strong", ())
    features[:, 0] = 1
    result = identify(GRID, reward=features)
    assert (result.dimension, result.verdict) == (1, "strong")
    assert result.basis is not None and np.abs(result.basis.ravel()) == pytest.approx([1, 0, 0, 0], abs=1e-9)
    potential = GRID.stay() @ np.arange(25.0) - 0.9 * (GRID.transitions @ np.arange(25.0))
    result = identify(GRID, reward=np.column_stack([features, potential]))
    assert (result.dimension, result.verdict) == (2, "none")
    assert {block.kind for block in result.blocks} == {"constant", "shaping"}


def test_names_and_groups_in_words() -> None:
    table = [[0, 1], [1, 0], [0, 2], [3, 3], [3, 3]]
    names = ["kitchen", "hall", "cellar", "garden", "gate"]
    mdp = MDP(moves(table), discount=0.9, state_names=names, action_names=["stay", "go"])
    result = identify([mdp, mdp.replace(discount=0.5)])
    assert (result.dimension, result.verdict) == (3, "weak")
    text = str(result)
    assert "state garden" in text and "teleport: all actions of state gate do the same" in text
    assert "state gate: no choice compares it with the rest, since nothing leads there" in text
    started = identify(mdp.replace(initial=0))
    assert "states cellar, garden, gate, any action" in str(started)
    assert {block.kind: block.dimension for block in started.blocks} == {"constant": 1, "unvisited": 6, "shaping": 1}


def test_exogenous_factor_in_words() -> None:
    mdp = MDP(exogenous(3, 2, 2, np.random.default_rng(7)), discount=0.9)
    for result in (identify([mdp, mdp.replace(discount=0.5)]), identify(mdp, reward="state")):
        factors = [block for block in result.blocks if block.kind == "factor"]
        assert len(factors) == 2 and all(block.states in ((0, 1), (2, 3), (4, 5)) for block in factors)


def remedies(result) -> dict[str, int]:
    return {remedy.kind: remedy.dimension for remedy in result.remedies}


def test_remedies_without_end() -> None:
    assert remedies(identify(GRID)) == {"discount": 1, "transitions": 1}
    mdp = MDP(exogenous(3, 2, 2, np.random.default_rng(8)), discount=0.9)
    result = identify([mdp, mdp.replace(discount=0.5)])
    assert "discount" not in remedies(result)
    assert remedies(result)["transitions"] == 1
    assert "2 transitions differ, the fewest possible" in str(result)
    assert not identify(MDP(np.full((3, 1, 3), 1 / 3), discount=0.9)).remedies


def test_remedies_with_a_horizon() -> None:
    result = identify(MDP(grid(), horizon=5, initial=0))
    assert remedies(result)["horizon"] == 1 and "a horizon of 9 (8 leaves 5) leaves 1" in str(result)
    result = identify(MDP(grid(waits=False), horizon=9, initial=0))
    assert remedies(result)["self-loop"] == 1 and remedies(result)["horizon"] == 13
    assert "a horizon of 10 (9 leaves 14) leaves 13" in str(result)
    result = identify(MDP(moves([[0, 1], [1, 0], [0, 2], [3, 3]]), discount=0.9, initial=0))
    assert remedies(result)["starts"] == 4 and "starting also in states 2, 3" in str(result)


def test_result_prints_and_becomes_json() -> None:
    result = identify([GRID, GRID.replace(discount=0.89)])
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["dimension"] == 1 and record["verdict"] == "strong" and len(record["basis"]) == 100
    assert "warning" in str(result) and "<li>" in result._repr_html_()
    exact = identify(MDP(ABSORBING, discount=0.9))
    assert exact.to_dict()["gap"] is None or exact.gap > 1e3


# Large problems.


def line(states: int) -> MDP:
    steps = np.arange(states)
    table = np.stack([np.maximum(steps - 1, 0), np.minimum(steps + 1, states - 1)], 1)
    rows = sparse.csr_array((np.ones(2 * states), table.ravel(), np.arange(2 * states + 1)), shape=(2 * states, states))
    return MDP(rows, discount=0.9, actions=2)


def test_large_deterministic_problem() -> None:
    mdp = line(20_000)
    result = identify([mdp, mdp.replace(discount=0.5)])
    assert (result.dimension, result.verdict, result.gap) == (1, "strong", np.inf)
    assert result.directions is not None and np.ptp(result.directions) == 0
    alone = identify(mdp)
    assert (alone.dimension, alone.verdict, alone.basis) == (20_000, "weak", None)
    assert remedies(alone) == {"discount": 1}
    with pytest.raises(ValueError, match="too many to keep"):
        alone.transfers_to(mdp)


def test_large_stochastic_problem() -> None:
    mdp = MDP(grid(12), discount=0.9)
    large = found_in_large([mdp, mdp.replace(discount=0.5)], form_of(mdp, "state_action"))
    result = identify([mdp, mdp.replace(discount=0.5)])
    assert large.dimension == result.dimension == 1 and result.condition is not None
    assert large.smallest == pytest.approx(result.condition.singular_value * result.condition.largest, rel=1e-4)


def test_large_problem_with_too_much_open_says_so() -> None:
    same = MDP(np.full((80, 2, 80), 1 / 80), discount=0.9)
    with pytest.raises(ValueError, match="more than .* directions of reward are open"):
        found_in_large([same], form_of(same, "state"))


# Bad input.


def test_bad_input() -> None:
    mdp = MDP(STAY_OR_MOVE, discount=0.9)
    cases = [
        ((), {}, "no problem given"),
        ((mdp, GRID), {}, "problem 1 has 25 states and 4 actions, the first 2 and 2"),
        ((mdp,), {"reward": "states"}, "reward 'states': give 'state_action', 'state' or an array"),
        ((mdp,), {"reward": np.ones(4)}, "features of shape"),
        ((mdp,), {"reward": np.full((4, 1), np.nan)}, "feature 0 of state 0, action 0 is nan"),
        ((mdp,), {"reward": np.ones((4, 2))}, "1 of 2 features are linear combinations"),
        ((mdp,), {"reward": np.zeros((4, 1))}, "feature 0 is 0 everywhere: leave it out"),
    ]
    for problems, options, message in cases:
        with pytest.raises(ValueError, match=message):
            identify(problems, **options)


def test_rank_that_rounding_hides_is_refused() -> None:
    close = GRID.replace(discount=0.9 + 1e-13)
    with pytest.raises(ValueError, match="rank cannot be decided"):
        identify([GRID, close])


def test_memory_is_estimated_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "MEMORY", 2**10)
    with pytest.raises(ValueError, match="GiB of memory.*give"):
        identify(GRID)

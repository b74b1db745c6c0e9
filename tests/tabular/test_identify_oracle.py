"""Agreement with a dense oracle and with enumerated trajectories, on random problems of every kind."""

import numpy as np
import pytest

from demonstrably.tabular.ambiguity import Ambiguity, narrowed
from demonstrably.tabular.forms import form_of
from demonstrably.tabular.identify import identify
from demonstrably.tabular.large import found_in_large
from demonstrably.tabular.mdp import MDP

from .small_problems import oracle, path_matrix, random_problems, trajectory_equivalence


def same_span(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two sets of orthonormal columns span the same space."""
    return first.shape == second.shape and bool(np.abs(first - second @ (second.T @ first)).max(initial=0) < 1e-6)


def agrees(count: int, seed: int) -> None:
    for experts, form, matrix in random_problems(count, seed):
        found = identify(experts, reward=form, remedies=False)
        expected = oracle(experts, matrix)
        assert found.directions is not None and found.basis is not None
        assert same_span(found.directions, expected), (experts, form)
        assert found.dimension == expected.shape[1]
        assert found.trajectory_dimension == oracle(experts, matrix, pathwise=True).shape[1], (experts, form)
        assert sum(block.dimension for block in found.blocks) == found.dimension
        assert found.basis.shape[1] == found.dimension
        assert np.allclose(found.basis.T @ found.basis, np.eye(found.dimension))
        constant = np.linalg.norm(np.ones(len(matrix)) - matrix @ np.linalg.pinv(matrix) @ np.ones(len(matrix))) < 1e-6
        assert (found.verdict == "strong") == (found.dimension <= constant)
        assert (found.verdict != "none") == (
            found.trajectory_dimension == found.dimension or found.dimension <= constant
        )
        if found.dimension == 1 and constant:
            assert np.ptp(found.directions) < 1e-9


@pytest.mark.slow
def test_agrees_with_the_oracle() -> None:
    agrees(280, seed=1)


@pytest.mark.slow
def test_agrees_with_the_oracle_on_many_problems() -> None:
    agrees(2400, seed=2)


def few_paths(mdp: MDP) -> bool:
    return mdp.states * (mdp.transitions.nnz / mdp.states) ** (mdp.horizon or 0) < 3000


def paths_agree(count: int, seed: int) -> None:
    checked = 0
    for experts, _, _ in random_problems(count, seed):
        mdp = next((one for one in experts if one.horizon is not None and few_paths(one)), None)
        if mdp is None:
            continue
        found = identify(mdp, remedies=False)
        assert found.trajectory_dimension == trajectory_equivalence(mdp), mdp
        if mdp.deterministic:
            assert found.dimension == found.trajectory_dimension
            if np.count_nonzero(mdp.starts) == 1:
                rank = np.linalg.matrix_rank(path_matrix(mdp, int(mdp.starts.argmax())), tol=1e-7)
                assert found.dimension == mdp.pairs - rank + 1
        checked += 1
    assert checked > count / 10


def test_agrees_with_enumerated_trajectories() -> None:
    paths_agree(140, seed=3)


@pytest.mark.slow
def test_agrees_with_enumerated_trajectories_of_many_problems() -> None:
    paths_agree(1400, seed=4)


def large_agrees(count: int, seed: int) -> None:
    for experts, form, matrix in random_problems(count, seed):
        expected = oracle(experts, matrix)
        found = found_in_large(experts, form_of(experts[0], form))
        assert found.dimension == expected.shape[1], (found.method, experts)
        assert found.trajectory_dimension == oracle(experts, matrix, pathwise=True).shape[1], (found.method, experts)
        if found.directions is not None:
            assert same_span(found.directions, expected), found.method


def test_methods_for_large_problems_agree_with_the_oracle() -> None:
    large_agrees(210, seed=5)


@pytest.mark.slow
def test_methods_for_large_problems_agree_with_the_oracle_on_many_problems() -> None:
    large_agrees(2100, seed=6)


def nearly_without_choice(index: int) -> list[MDP]:
    """Experts in a problem whose actions differ by little, down to 1e-5, in some states only."""
    generator = np.random.default_rng([7, index])
    states = int(generator.integers(3, 8))
    transitions = generator.dirichlet(np.ones(states), (states, 1)).repeat(2, 1)
    changed = int(generator.integers(1, states))
    transitions[:changed, 1] *= 1 - 10.0 ** -generator.integers(1, 6, size=(changed, 1))
    transitions[:changed, 1, 0] += 1 - transitions[:changed, 1].sum(1)
    if generator.random() < 0.5:
        close = 0.9 - 10.0 ** -int(generator.integers(1, 5))
        return [MDP(transitions, discount=0.9), MDP(transitions, discount=close)]
    return [MDP(transitions, horizon=int(generator.integers(2, 8)), initial=0)]


def transfers_to_itself(experts: list[MDP], form: object = "state_action") -> None:
    found = identify(experts, reward=form, remedies=False)
    for mdp in experts:
        assert found.transfers_to(mdp).determined, experts
    assert found.transfers_to(experts).determined, experts


def test_a_problem_transfers_to_itself() -> None:
    for experts, form, _ in random_problems(100, seed=7):
        transfers_to_itself(experts, form)


@pytest.mark.slow
def test_an_ill_conditioned_problem_transfers_to_itself() -> None:
    decided = 0
    for index in range(150):
        experts = nearly_without_choice(index)
        try:
            identify(experts, remedies=False)
        except ValueError as error:
            assert "rank cannot be decided" in str(error)
            continue
        transfers_to_itself(experts)
        decided += 1
    assert decided > 100


def test_a_large_problem_transfers_to_itself() -> None:
    for experts, form, matrix in random_problems(140, seed=8):
        found = found_in_large(experts, form_of(experts[0], form))
        if found.directions is None:
            continue
        left = Ambiguity(found.directions, np.inf, found.error)
        for mdp in experts:
            left = narrowed(mdp, left)
        assert left.directions.shape[1] == found.dimension == oracle(experts, matrix).shape[1], (found.method, experts)

"""Recovery of rewards from policies: round trips, what stays open, and how errors spread."""

import json

import numpy as np
import pytest
from scipy import sparse

from demonstrably.tabular import equations, recover, tallies
from demonstrably.tabular.distance import best_policy, regret
from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import EpsilonGreedy, Myopic
from demonstrably.tabular.recover import recover_reward, second_angle
from demonstrably.tabular.soft import soft_optimal, values_of
from demonstrably.tabular.structure import layers

STATES, ACTIONS = 8, 3


def dynamics(seed: int, states: int = STATES, actions: int = ACTIONS) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(states), (states, actions))


def table(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (STATES, ACTIONS))


def policies(mdps: list[MDP], reward: np.ndarray, temperature: float = 1.0) -> list[np.ndarray]:
    return [soft_optimal(mdp, reward, temperature).policy for mdp in mdps]


def apart(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest error up to a constant."""
    error = found - truth
    return float(np.abs(error - error.mean()).max())


def two(first: float = 0.9, second: float = 0.5, seed: int = 0) -> list[MDP]:
    return [MDP(dynamics(seed), discount=discount) for discount in (first, second)]


def grid(side: int, slip: float, discount: float) -> MDP:
    """Four actions that move; with a share of `slip` one of the moves, or staying, happens at random."""
    cells = np.arange(side * side)
    x, y = cells % side, cells // side
    moves = [
        y * side + np.minimum(x + 1, side - 1),
        y * side + np.maximum(x - 1, 0),
        np.minimum(y + 1, side - 1) * side + x,
        np.maximum(y - 1, 0) * side + x,
        cells,
    ]
    shape = (len(cells), len(cells))
    one = [sparse.csr_array((np.ones(len(cells)), (cells, move)), shape=shape) for move in moves]
    return MDP([(1 - slip) * step + slip / 5 * sum(one) for step in one[:4]], discount=discount)


# Closed forms


def test_every_potential_gives_the_same_policy_and_is_its_value():
    mdp = MDP(dynamics(1), discount=0.9)
    policy, potential = policies([mdp], table(2))[0], table(3, STATES)
    shaped = np.log(policy) + (mdp.stay() - 0.9 * mdp.transitions).dot(potential).reshape(STATES, ACTIONS)
    again = soft_optimal(mdp, shaped)
    assert again.policy == pytest.approx(policy, abs=1e-13)
    assert again.values == pytest.approx(potential, abs=1e-11)


def test_two_states_have_the_known_solution():
    stay_or_move = np.zeros((2, 2, 2))
    stay_or_move[0, 0, 0] = stay_or_move[0, 1, 1] = stay_or_move[1, 0, 1] = stay_or_move[1, 1, 0] = 1
    solution = soft_optimal(MDP(stay_or_move, discount=0.9), np.array([0.0, 1.0]))
    assert solution.values[0] == pytest.approx(12.411538747320881, abs=1e-10)
    assert solution.values[1] - solution.values[0] == pytest.approx(1, abs=1e-12)
    assert solution.policy[0, 1] == pytest.approx(np.exp(0.9) / (1 + np.exp(0.9)), abs=1e-12)


def test_two_discounts_give_the_reward_up_to_a_constant():
    mdps, truth = two(), table(4)
    found = recover_reward(mdps, policies(mdps, truth))
    assert apart(found.reward, truth) < 1e-12
    assert found.undetermined == 1 and found.misfit < 1e-12
    assert abs(found.reward.mean()) < 1e-12  # the smallest of all


def test_large_and_small_problems_are_solved_alike(monkeypatch):
    mdps, truth = two(), table(5)
    seen = policies(mdps, truth)
    small = recover_reward(mdps, seen)
    monkeypatch.setattr(recover, "COLUMNS", 5)
    by_discounts = recover_reward(mdps, seen)
    assert by_discounts.singular_value is not None and by_discounts.undetermined == 1
    assert by_discounts.reward == pytest.approx(small.reward, abs=1e-12)
    monkeypatch.setattr(equations, "COLUMNS", 5)
    other = [mdps[0], MDP(dynamics(6), discount=0.9)]
    by_factors = recover_reward(other, policies(other, truth))
    assert by_factors.undetermined is None and "identify" in str(by_factors)
    assert apart(by_factors.reward, truth) < 1e-9


@pytest.mark.slow
def test_a_grid_of_thousands_of_states_is_recovered():
    mdps, truth = [grid(60, 0.2, discount) for discount in (0.9, 0.5)], table(7, 3600, 4)
    found = recover_reward(mdps, policies(mdps, truth))
    assert apart(found.reward, truth) < 1e-9
    assert found.undetermined == 1


def test_two_dynamics_and_three_experts_and_a_horizon_give_the_reward():
    truth, first = table(8), MDP(dynamics(9), discount=0.9)
    second, short = MDP(dynamics(10), discount=0.9), MDP(dynamics(9), horizon=5)
    for mdps in ([first, second], [first, second, first.replace(discount=0.3)], [short], [short, first]):
        found = recover_reward(mdps, policies(mdps, truth))
        assert found.undetermined == 1 and apart(found.reward, truth) < 1e-11


def test_a_temperature_scales_the_reward():
    mdps, truth = two(), table(11)
    warm = policies(mdps, truth, 0.4)
    assert warm[0] == pytest.approx(policies(mdps, truth / 0.4)[0], abs=1e-13)
    assert apart(recover_reward(mdps, warm, temperature=0.4).reward, truth) < 1e-12
    assert apart(recover_reward(mdps, warm).reward, truth / 0.4) < 1e-12


def test_one_expert_gives_the_smallest_reward_and_says_what_stays_open():
    mdp = MDP(dynamics(12), discount=0.9)
    policy = policies([mdp], table(13))[0]
    found = recover_reward(mdp, policy)
    assert found.undetermined == STATES
    assert f"{STATES} of {STATES * ACTIONS} directions are not determined" in str(found)
    assert soft_optimal(mdp, found.reward).policy == pytest.approx(policy, abs=1e-12)
    shaping = (mdp.stay() - 0.9 * mdp.transitions).toarray()
    assert shaping.T @ found.reward.ravel() == pytest.approx(np.zeros(STATES), abs=1e-11)


def test_rewards_of_states_and_features_need_one_expert():
    mdp, by_state, features = MDP(dynamics(14), discount=0.9), table(15, STATES), table(16, STATES * ACTIONS, 3)
    found = recover_reward(mdp, soft_optimal(mdp, by_state).policy, features="state")
    assert found.undetermined == 1 and apart(found.weights, by_state) < 1e-12
    reward = (features @ [1.0, 2.0, -1.0]).reshape(STATES, ACTIONS)
    found = recover_reward(mdp, soft_optimal(mdp, reward).policy, features=features)
    assert found.undetermined == 0 and found.weights == pytest.approx([1, 2, -1], abs=1e-11)
    assert "no other reward of this form fits" in str(found)


def test_an_exogenous_factor_stays_open():
    chance, moves = dynamics(17, 3, 1)[:, 0], dynamics(18, 2, 3)
    whole = np.einsum("xz,yaw->xyazw", chance, moves).reshape(6, 3, 6)
    mdps = [MDP(whole, discount=discount) for discount in (0.9, 0.5)]
    assert recover_reward(mdps, policies(mdps, table(19, 6, 3))).undetermined == 3


def test_a_policy_that_is_optimal_for_its_rewards_and_penalties():
    mdp, chosen = MDP(dynamics(20), discount=0.9), np.arange(STATES) % ACTIONS
    policy, values = np.eye(ACTIONS)[chosen], table(21, STATES)
    penalties = np.random.default_rng(22).uniform(0.1, 1, (STATES, ACTIONS)) * (1 - policy)
    reward = (mdp.stay() - 0.9 * mdp.transitions).dot(values).reshape(STATES, ACTIONS) - penalties
    assert best_policy(mdp, reward).tolist() == policy.tolist()
    assert values_of(mdp, policy, reward) == pytest.approx(values, abs=1e-11)


def test_regret_of_what_is_recovered_is_none():
    mdps, truth = two(), table(23)
    found = recover_reward(mdps, policies(mdps, truth))
    assert regret(mdps[0], truth, found.reward) == pytest.approx(0, abs=1e-10)
    assert min(regret(mdps[0], truth, table(seed)) for seed in range(30)) >= 0


# How errors spread


def test_the_angle_of_a_grid_closes_with_the_discounts():
    for other, angle in ((0.5, 0.085231), (0.8, 0.017959), (0.89, 0.0017142)):
        mdps = [grid(5, 0.1, 0.9), grid(5, 0.1, other)]
        assert second_angle(mdps) == pytest.approx(angle, rel=1e-4)
    assert second_angle([grid(5, 0.1, 0.9), grid(5, 0.3, 0.9)]) == pytest.approx(0.050415, rel=1e-4)


def test_errors_of_policies_are_amplified_by_no_more_than_the_bound():
    mdps, truth = [grid(5, 0.1, 0.9), grid(5, 0.1, 0.5)], table(24, 25, 4)
    exact = policies(mdps, truth)
    amplification = recover_reward(mdps, exact).amplification
    assert amplification == pytest.approx(0.003629976**-0.5, rel=1e-5)
    outside = []
    for mdp in mdps:
        basis = np.linalg.qr((mdp.stay() - mdp.discount * mdp.transitions).toarray())[0]
        outside.append(np.eye(100) - basis @ basis.T)
    sizes = np.linalg.eigvalsh(sum(outside))
    assert sizes[0] == pytest.approx(0, abs=1e-12) and sizes[1] ** -0.5 == pytest.approx(amplification, rel=1e-6)
    for seed in range(20):
        noisy = [policy * np.exp(1e-3 * table(25 + seed, 25, 4)) for policy in exact]
        noisy = [policy / policy.sum(1, keepdims=True) for policy in noisy]
        errors = [np.log(a) - np.log(b) for a, b in zip(noisy, exact, strict=True)]
        found = recover_reward(mdps, noisy).reward - truth
        sizes_of_errors = [np.linalg.norm(out @ error.ravel()) for out, error in zip(outside, errors, strict=True)]
        off = np.linalg.norm(found - found.mean())
        assert off <= amplification * np.linalg.norm(sizes_of_errors)
        assert off <= amplification**2 * sum(sizes_of_errors)  # the looser bound by the triangle inequality


def counts_of(exact: list[np.ndarray], number: int, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.multinomial(number, policy) for policy in exact]


def test_standard_errors_are_the_spread_of_repeated_recoveries():
    mdps, truth = two(), 0.5 * table(26)
    exact, scores, sizes = policies(mdps, truth), [], []
    for seed in range(40):
        found = recover_reward(mdps, counts_of(exact, 2000, seed))
        error = found.reward - truth
        scores.append((error - error.mean()) / found.standard_errors)
        assert found.error_bound is not None
        sizes.append(np.linalg.norm(error - error.mean()) / found.error_bound)
    assert np.std(scores) == pytest.approx(1, abs=0.12)
    assert np.abs(np.mean(scores)) < 0.15
    assert 0.05 < np.mean(np.square(sizes)) ** 0.5 < 1


def open_of(columns: np.ndarray, weights: int) -> np.ndarray:
    """A basis of the weights' part of the null space of columns (weights, values)."""
    _, sizes, right = np.linalg.svd(np.vstack([columns, np.zeros((columns.shape[1], columns.shape[1]))]))
    left, parts, _ = np.linalg.svd(right[sizes[: len(right)] < 1e-9 * sizes[0], :weights].T, full_matrices=False)
    return left[:, parts > 1e-8]


SPANS = {"pairs": np.eye(STATES * ACTIONS), "features": table(33, STATES * ACTIONS, 5) * [1, 10, 0.1, 1, 1]}
SPANS["more"] = np.column_stack([SPANS["features"], np.ones(STATES * ACTIONS), SPANS["features"][:, 0]])
ELSEWHERE = MDP(np.eye(STATES)[np.random.default_rng(34).integers(STATES, size=(STATES, ACTIONS))], discount=0.7)
EXPERTS = {
    "one": [MDP(dynamics(35), discount=0.9)],
    "two": two(),
    "three": [*two(), MDP(dynamics(36), discount=0.8)],
    "horizon": [MDP(dynamics(37), horizon=5, initial=2)],
    "mixed": [MDP(dynamics(37), horizon=3, initial=2), MDP(dynamics(38), discount=0.6), ELSEWHERE],
    "unreached": [ELSEWHERE.replace(initial=0), ELSEWHERE.replace(initial=0, discount=0.3)],
}


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("kind", EXPERTS)
def test_the_amplification_of_any_experts_is_the_norm_of_what_recovers_the_reward(kind, span):
    mdps, columns = EXPERTS[kind], SPANS[span]
    features = "state_action" if span == "pairs" else columns
    truth = (columns @ (0.3 * table(39, columns.shape[1]))).reshape(STATES, ACTIONS)
    exact = policies(mdps, truth)
    found = recover_reward(mdps, exact, features=features)
    seen = [tallies.Seen(policy) for policy in exact]
    matrix = equations.equations(mdps, seen, sparse.csr_array(columns), 1.0).matrix.toarray()
    free = columns @ open_of(matrix, columns.shape[1])
    left, sizes, _ = np.linalg.svd(free, full_matrices=False)
    basis = left[:, sizes > 1e-9]
    closed = np.eye(len(columns)) - basis @ basis.T
    recovering = closed @ columns @ np.linalg.pinv(matrix, rcond=1e-11)[: columns.shape[1]]
    assert found.amplification == pytest.approx(np.linalg.norm(recovering, 2), rel=1e-6)
    for seed in range(4):
        noisy = [policy * np.exp(1e-4 * table(40 + seed, *policy.shape)) for policy in exact]
        noisy = [policy / policy.sum(-1, keepdims=True) for policy in noisy]
        errors = [np.log(a) - np.log(b) for a, b in zip(noisy, exact, strict=True)]
        off = closed @ (recover_reward(mdps, noisy, features=features).reward - truth).ravel()
        size = np.sqrt(sum(float((error**2).sum()) for error in errors))
        assert np.linalg.norm(off) <= found.amplification * size * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("kind", ["three", "horizon"])
def test_the_error_bound_of_any_experts_holds_on_average(kind):
    mdps, truth = EXPERTS[kind], 0.3 * table(41)
    exact, shares = policies(mdps, truth), []
    for seed in range(30):
        found = recover_reward(mdps, [drawn_counts(mdp, one, seed) for mdp, one in zip(mdps, exact, strict=True)])
        error = found.reward - truth
        assert found.error_bound is not None and found.undetermined == 1
        shares.append(np.linalg.norm(error - error.mean()) / found.error_bound)
    assert 0.02 < np.mean(np.square(shares)) ** 0.5 < 1


def drawn_counts(mdp: MDP, policy: np.ndarray, seed: int) -> np.ndarray:
    """Counts of decisions, 4000 in each state that can be reached, at each time with a horizon."""
    counts = np.random.default_rng(seed).multinomial(4000, policy)
    return counts if mdp.horizon is None else counts * np.array(layers(mdp)[:-1])[..., None]


def test_where_rewards_matter_to_no_choice_nothing_is_determined():
    one_action = MDP(dynamics(0, 3, 1), discount=0.9)
    alike = MDP(dynamics(0, 3, 1).repeat(3, 1), discount=0.9)
    for mdp, counts, features in (
        (one_action, np.array([[3], [2], [10]]), "state_action"),
        (alike, np.array([[3, 4, 5], [2, 2, 2], [1, 5, 3]]), "state"),
        (alike.replace(discount=0.999999), np.array([[3, 4, 5], [2, 2, 2], [1, 5, 3]]), "state"),
    ):
        found = recover_reward(mdp, counts, features=features)
        assert found.undetermined == 3 and found.standard_errors is None and found.amplification is None
        assert "nothing is determined" in str(found)
    far = MDP(dynamics(0, 3, 3), discount=0.999999)
    assert recover_reward(far, np.array([[3, 4, 5], [2, 2, 2], [1, 5, 3]]), features="state").undetermined == 1


def test_states_that_are_never_reached_stay_open_without_end_too(monkeypatch):
    mdp = MDP(np.eye(3)[np.array([[0, 1], [1, 0], [0, 1]])], discount=0.9, initial=0)
    reward = np.arange(6.0).reshape(3, 2)
    found = recover_reward(mdp, soft_optimal(mdp, reward).policy)
    assert found.undetermined == identify(mdp).dimension == 4
    assert found.reward[2] == pytest.approx([0, 0], abs=1e-15)
    frozen = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])  # what is done there is never seen
    assert recover_reward(mdp, frozen).undetermined == 4
    inner = dynamics(42, STATES - 2)
    walled = np.zeros((STATES, ACTIONS, STATES))
    walled[1:-1, :, 1:-1], walled[[0, -1], :, [0, -1]] = inner, 1
    mdps, truth = [MDP(walled, discount=discount, initial=3) for discount in (0.9, 0.5)], table(43)
    seen = policies(mdps, truth)
    small = recover_reward(mdps, seen)
    assert small.undetermined == identify(mdps).dimension == 1 + 2 * ACTIONS
    monkeypatch.setattr(recover, "COLUMNS", 5)
    large = recover_reward(mdps, seen)
    assert large.singular_value is not None and large.undetermined == small.undetermined
    assert large.reward == pytest.approx(small.reward, abs=1e-11)
    assert apart(large.reward[1:-1], truth[1:-1]) < 1e-11


def test_the_angle_is_that_of_the_states_reached():
    inner = two(seed=44)
    walled = np.zeros((STATES + 1, ACTIONS, STATES + 1))
    walled[:-1, :, :-1], walled[-1, :, 0] = dynamics(44), 1
    outer = [MDP(walled, discount=discount, initial=0) for discount in (0.9, 0.5)]
    assert second_angle(outer) == pytest.approx(second_angle(inner), rel=1e-9)
    assert second_angle([outer[0], outer[1].replace(initial=STATES)]) is None


def test_weights_by_counts_beat_equal_weights():
    mdps, truth = two(), 0.5 * table(27)
    exact = policies(mdps, truth)
    generator, errors = np.random.default_rng(0), []
    rare = np.where(np.arange(STATES) < 4, 40, 4000)
    for _ in range(25):
        counts = [
            np.stack([generator.multinomial(n, p) for n, p in zip(rare, policy, strict=True)]) for policy in exact
        ]
        smoothed = [(count + 0.5) / (count + 0.5).sum(1, keepdims=True) for count in counts]
        errors.append([np.ptp(recover_reward(mdps, seen).reward - truth) for seen in (counts, smoothed)])
    weighted, equal = np.mean(errors, 0)
    assert weighted < 0.9 * equal


def test_states_that_were_never_seen_stay_open():
    mdps, truth = two(), table(28)
    counts = counts_of(policies(mdps, truth), 500, 0)
    for count in counts:
        count[3] = 0
    found = recover_reward(mdps, counts)
    assert found.undetermined is not None and found.undetermined > ACTIONS
    assert found.error_bound is None


def test_large_counted_problems_are_weighted_too(monkeypatch):
    monkeypatch.setattr(recover, "COLUMNS", 5)
    mdps, truth = two(), 0.5 * table(29)
    found = recover_reward(mdps, counts_of(policies(mdps, truth), 10**8, 0))
    assert apart(found.reward, truth) < 0.05


# Words


def test_the_result_prints_becomes_json_and_says_what_else_the_person_may_be():
    mdps, truth = two(), table(30)
    found = recover_reward(mdps, policies(mdps, truth), suppose=(EpsilonGreedy(0.2), Myopic(0.5)))
    assert len(found.misspecifications) == 2
    assert "if the person is EpsilonGreedy(epsilon=0.2)" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["misspecifications"][1]["behavior"] == "Myopic(share=0.5)"
    assert "<br>" in found._repr_html_()
    counted = recover_reward(mdps, counts_of(policies(mdps, truth), 100, 0))
    assert "standard errors" in str(counted) and "rationalize" in str(counted)
    other = recover_reward(mdps, policies(mdps, truth)[:1] + policies(mdps, table(31))[1:])
    assert "no one reward explains the policies" in str(other)


UNIFORM = np.full((STATES, ACTIONS), 1 / ACTIONS)


@pytest.mark.parametrize(
    ("mdps", "seen", "message"),
    [
        (two(), [UNIFORM], "2 problems and 1 policies"),
        ([two()[0], MDP(dynamics(0, 4), discount=0.9)], [UNIFORM, UNIFORM[:4]], "must have the same"),
        (two(), [UNIFORM, np.full((STATES, ACTIONS), 4)], "give counts for all"),
        (two()[0], np.eye(ACTIONS)[np.arange(STATES) % ACTIONS], "state 0, action 1 probability 0"),
        (two()[0], UNIFORM[:, :2], r"policy of shape \(8, 2\)"),
        (two()[0], UNIFORM * np.nan, "in state 0 is no probabilities"),
    ],
)
def test_bad_input_is_named(mdps, seen, message):
    with pytest.raises(ValueError, match=message):
        recover_reward(mdps, seen)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature 0.0"):
        recover_reward(two()[0], UNIFORM, temperature=0.0)

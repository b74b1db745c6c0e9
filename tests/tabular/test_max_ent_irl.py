"""Maximum causal entropy IRL against enumeration, finite differences, and policies whose reward is known."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from demonstrably.tabular import likelihood
from demonstrably.tabular.likelihood import counted, information, matched
from demonstrably.tabular.max_ent_irl import max_ent_irl
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import occupancy, soft_optimal
from demonstrably.tabular.span import span_of

STATES, ACTIONS, TEMPERATURE = 6, 3, 0.7
TIMES = [{"discount": 0.9}, {"horizon": 5}, {"horizon": 5, "discount": 0.8}]


def problem(seed: int = 0, **time) -> MDP:
    generator = np.random.default_rng(seed)
    transitions = generator.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS))
    return MDP(transitions, initial=generator.dirichlet(np.ones(STATES)), **(time or {"discount": 0.9}))


def reward(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (STATES, ACTIONS))


def drawn(mdp: MDP, policy: np.ndarray, episodes: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Demonstrations of a policy, of its horizon or of 20 steps."""
    generator, steps = np.random.default_rng(seed), mdp.horizon or 20
    states = np.empty((episodes, steps + 1), dtype=np.int64)
    actions = np.empty((episodes, steps), dtype=np.int64)

    def choice(rows: np.ndarray) -> np.ndarray:
        return (generator.random(len(rows))[:, None] > rows.cumsum(1)[:, :-1]).sum(1)

    states[:, 0] = generator.choice(mdp.states, episodes, p=mdp.starts)
    follow = mdp.transitions.toarray()
    for step in range(steps):
        now = policy[step] if policy.ndim == 3 else policy
        actions[:, step] = choice(now[states[:, step]])
        states[:, step + 1] = choice(follow[states[:, step] * mdp.actions + actions[:, step]])
    return list(zip(states, actions, strict=True))


def differences(call, at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    slopes = np.empty_like(at)
    for index in np.ndindex(at.shape):
        change = np.zeros_like(at)
        change[index] = step
        slopes[index] = (call(at + change) - call(at - change)) / (2 * step)
    return slopes


# Eq. 1 to 5


@pytest.mark.parametrize("time", TIMES)
def test_gradients_agree_with_finite_differences(time):
    mdp = problem(1, **time)
    policy = soft_optimal(mdp, reward(2), TEMPERATURE).policy
    counts = np.random.default_rng(3).poisson(3, policy.shape).astype(float)
    for equation, seen in ((matched, occupancy(mdp, policy)), (counted, counts)):
        value = lambda at, equation=equation, seen=seen: equation(mdp, seen, at, TEMPERATURE)[0]  # noqa: E731
        slopes = equation(mdp, seen, reward(4), TEMPERATURE)[1]
        assert slopes == pytest.approx(differences(value, reward(4)), abs=2e-6)


@pytest.mark.parametrize("time", TIMES)
def test_the_gradient_of_a_policy_vanishes_at_its_reward(time):
    mdp = problem(5, **time)
    expert = occupancy(mdp, soft_optimal(mdp, reward(6), TEMPERATURE).policy)
    assert np.abs(matched(mdp, expert, reward(6), TEMPERATURE)[1]).max() < 1e-8
    assert np.abs(matched(mdp, expert, reward(7), TEMPERATURE)[1]).max() > 1e-2


@pytest.mark.parametrize("time", TIMES)
def test_counts_that_are_occupancies_have_the_gradient_of_the_policy(time):
    mdp = problem(8, **time)
    policy = soft_optimal(mdp, reward(9), TEMPERATURE).policy
    if mdp.horizon is None:
        decisions = occupancy(mdp, policy)
    else:
        shorter = [np.zeros((STATES, ACTIONS))]
        shorter += [occupancy(mdp.replace(horizon=t), policy[:t]) for t in range(1, mdp.horizon + 1)]
        decisions = np.diff(shorter, axis=0)
    expected = matched(mdp, occupancy(mdp, policy), reward(10), TEMPERATURE)
    found = counted(mdp, decisions, reward(10), TEMPERATURE)
    assert found[0] == pytest.approx(expected[0])
    assert found[1] == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize("time", TIMES)
def test_information_is_the_curvature_of_the_expected_likelihood(time):
    mdp, features = problem(11, **time), reward(12, STATES * ACTIONS, 2)
    weights = np.array([0.3, -0.8])
    table = lambda w: (features @ w).reshape(STATES, ACTIONS)  # noqa: E731
    soft = soft_optimal(mdp, table(weights), TEMPERATURE)
    expert = occupancy(mdp, soft.policy)
    if mdp.horizon is None:
        visits = expert.sum(1)
    else:
        sums = [np.zeros(STATES)]
        sums += [occupancy(mdp.replace(horizon=t), soft.policy[:t]).sum(1) for t in range(1, mdp.horizon + 1)]
        visits = np.diff(sums, axis=0)
    known = information(mdp, visits, soft.policy, span_of(mdp, features), TEMPERATURE)
    slope = lambda w: features.T @ matched(mdp, expert, table(w), TEMPERATURE)[1].ravel()  # noqa: E731
    curvature = np.stack([(slope(weights + d) - slope(weights - d)) / 2e-5 for d in 1e-5 * np.eye(2)])
    assert known == pytest.approx(-curvature, rel=1e-5, abs=1e-7)


def test_likelihood_of_a_deterministic_horizon_is_that_of_all_its_trajectories():
    moves = np.random.default_rng(13).integers(0, 4, (4, 2))
    mdp = MDP(np.eye(4)[moves], horizon=4, initial=0)
    table = reward(14, 4, 2)
    returns, paths = [], []
    for actions in itertools.product(range(2), repeat=4):
        states = [0]
        for action in actions:
            states.append(int(moves[states[-1], action]))
        paths.append((np.array(states), np.array(actions)))
        returns.append(table[states[:-1], actions].sum())
    normal = math.log(np.exp(returns).sum())
    for path, earned in zip(paths, returns, strict=True):
        counts = np.zeros((4, 4, 2))
        counts[range(4), path[0][:-1], path[1]] = 1
        assert counted(mdp, counts, table, 1.0)[0] == pytest.approx(earned - normal)


def test_occupancies_of_sparse_and_dense_transitions_agree():
    for time in TIMES:
        mdp = problem(15, **time)
        policy = soft_optimal(mdp, reward(16)).policy
        again = MDP([mdp.transitions[a::ACTIONS] for a in range(ACTIONS)], initial=mdp.starts, **time)
        follow = mdp.transitions.toarray().reshape(STATES, ACTIONS, STATES)
        visits, expected = mdp.starts, np.zeros((STATES, ACTIONS))
        for step in range(mdp.horizon or 400):
            now = visits[:, None] * (policy if policy.ndim == 2 else policy[step])
            expected += mdp.discount**step * now
            visits = np.einsum("sa,sat->t", now, follow)
        assert occupancy(mdp, policy) == pytest.approx(expected, abs=1e-13)
        assert occupancy(again, policy) == pytest.approx(expected, abs=1e-13)


def test_large_problems_without_end_have_the_same_gradient(monkeypatch):
    mdp = problem(36)
    counts = np.random.default_rng(37).poisson(3, (STATES, ACTIONS)).astype(float)
    direct = counted(mdp, counts, reward(38), TEMPERATURE)[1]
    monkeypatch.setattr(likelihood, "DIRECT", 1)
    assert counted(mdp, counts, reward(38), TEMPERATURE)[1] == pytest.approx(direct, abs=1e-11)


# Estimates


@pytest.mark.parametrize("time", TIMES)
def test_a_policy_is_reproduced_by_every_form_that_holds_its_reward(time):
    mdp, features = problem(17, **time), reward(18, STATES, 2)
    policy = soft_optimal(mdp, features @ [1.0, -2.0], TEMPERATURE).policy
    options = {"temperature": TEMPERATURE, "tolerance": 1e-8}
    for form in ("state_action", "state", features, np.repeat(features, ACTIONS, 0)):
        found = max_ent_irl(mdp, policy, features=form, **options)
        assert found.converged and found.gradient <= 1e-8
        assert found.policy == pytest.approx(policy, abs=1e-6)
        assert found.standard_errors is None
    assert found.weights == pytest.approx([1.0, -2.0], abs=1e-5)
    assert found.undetermined == 0


def test_what_behavior_does_not_determine_is_counted_and_said():
    found = max_ent_irl(problem(19), soft_optimal(problem(19), reward(20)).policy)
    assert found.undetermined == STATES
    assert f"{STATES} of {STATES * ACTIONS} directions" in str(found) and "identify" in str(found)
    found = max_ent_irl(problem(19, horizon=5), soft_optimal(problem(19, horizon=5), reward(20)).policy)
    assert found.undetermined == 1


@pytest.mark.slow
@pytest.mark.parametrize("time", [{"discount": 0.9}, {"horizon": 6, "discount": 0.9}])
def test_standard_errors_are_the_spread_of_repeated_estimates(time):
    mdp, features, truth = problem(21, **time), reward(22, STATES * ACTIONS, 3), np.array([1.0, -0.5, 0.7])
    policy = soft_optimal(mdp, (features @ truth).reshape(STATES, ACTIONS)).policy
    scores = []
    for seed in range(30):
        found = max_ent_irl(mdp, drawn(mdp, policy, 60, seed), features=features)
        assert found.converged and found.standard_errors is not None
        scores.append((found.weights - truth) / found.standard_errors)
    assert np.std(scores) == pytest.approx(1, abs=0.25)
    assert np.abs(np.mean(scores, 0)).max() < 4 / math.sqrt(30)


def test_weights_without_information_have_infinite_errors_unless_penalized():
    mdp = problem(23)
    features = np.column_stack([reward(24, STATES * ACTIONS), np.ones(STATES * ACTIONS)])
    demonstrations = drawn(mdp, soft_optimal(mdp, features[:, 0].reshape(STATES, ACTIONS)).policy, 50)
    free = max_ent_irl(mdp, demonstrations, features=features)
    assert free.undetermined == 1
    assert np.isfinite(free.standard_errors).tolist() == [True, False]
    assert json.loads(json.dumps(free.to_dict()))["standard_errors"][1] is None
    held = max_ent_irl(mdp, demonstrations, features=features, l2=0.5)
    assert held.weights[1] == pytest.approx(0, abs=1e-6)
    assert held.standard_errors[1] == pytest.approx(0.5**-0.5)


@pytest.mark.parametrize("discount", [0.9, 0.9999])
def test_where_weights_change_no_decision_all_is_undetermined(discount):
    transitions = np.random.default_rng(0).dirichlet(np.ones(3), (3, 1)).repeat(3, 1)
    mdp = MDP(transitions, discount=discount)
    counts = np.array([[3, 4, 5], [2, 2, 2], [1, 5, 3]])
    for seen in (counts, np.full((3, 3), 1 / 3)):
        found = max_ent_irl(mdp, seen, features="state")
        assert found.undetermined == 3
        assert found.standard_errors is None or np.isinf(found.standard_errors).all()
    alone = max_ent_irl(MDP(np.ones((1, 3, 1)), discount=discount), counts[:1], features="state")
    assert alone.undetermined == 1 and np.isinf(alone.standard_errors).all()
    still = mdp.replace(horizon=4)
    assert max_ent_irl(still, np.tile(counts, (4, 1, 1)), features="state").undetermined == 3


def test_demonstrations_may_be_cut_anywhere_without_a_horizon():
    mdp, features = problem(25), reward(26, STATES * ACTIONS, 2)
    policy = soft_optimal(mdp, (features @ [1.0, 1.0]).reshape(STATES, ACTIONS)).policy
    whole = drawn(mdp, policy, 2000)
    short = [(states[: 1 + i % 7], actions[: 1 + i % 7]) for i, (states, actions) in enumerate(whole)]
    for demonstrations in (whole, short):
        found = max_ent_irl(mdp, demonstrations, features=features)
        assert np.abs((found.weights - 1) / found.standard_errors).max() < 4


def test_counts_and_demonstrations_are_the_same_evidence():
    mdp, features = problem(27, horizon=4), reward(28, STATES * ACTIONS, 2)
    demonstrations = drawn(mdp, soft_optimal(mdp, reward(29)).policy, 30)
    counts = np.zeros((4, STATES, ACTIONS), dtype=np.int64)
    for states, actions in demonstrations:
        counts[np.arange(4), states[:-1], actions] += 1
    first, second = (max_ent_irl(mdp, seen, features=features) for seen in (demonstrations, counts))
    assert first.weights == pytest.approx(second.weights)
    assert first.log_likelihood == pytest.approx(second.log_likelihood)


def test_actions_that_were_never_taken_are_pointed_out():
    counts = np.full((STATES, ACTIONS), 5)
    counts[2, 1] = 0
    found = max_ent_irl(problem(30), counts, iterations=50)
    assert "1 actions were never taken" in str(found)
    assert "never taken" not in str(max_ent_irl(problem(30), counts, l2=0.1))


@pytest.mark.parametrize("time", [{"discount": 0.9}, {"horizon": 5}])
def test_a_network_is_fitted_in_place(time):
    torch.manual_seed(0)
    mdp, features = problem(31, **time), reward(32, STATES * ACTIONS, 2)
    policy = soft_optimal(mdp, np.tanh(features @ [1.0, -1.0]).reshape(STATES, ACTIONS)).policy
    network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Tanh())
    found = max_ent_irl(mdp, policy, features=features, network=network, tolerance=1e-6)
    assert found.converged
    assert found.policy == pytest.approx(policy, abs=1e-3)
    assert network[0].weight.detach().numpy().ravel() == pytest.approx(found.weights[:2], abs=1e-6)
    given = network(torch.as_tensor(features, dtype=torch.float32)).detach().numpy()
    assert given.ravel() == pytest.approx(found.reward.ravel(), abs=1e-5)


def test_a_network_of_the_wrong_output_is_refused():
    with pytest.raises(ValueError, match="output of shape"):
        max_ent_irl(problem(), reward(0) * 0 + 1 / 3, features=reward(1, STATES, 2), network=torch.nn.Linear(2, 2))


def test_the_result_prints_and_becomes_json():
    mdp = problem(33)
    found = max_ent_irl(mdp, drawn(mdp, soft_optimal(mdp, reward(34)).policy, 40), features=reward(35, STATES, 2))
    assert "converged after" in str(found) and "standard errors of 2 weights" in str(found)
    assert "<br>" in found._repr_html_()
    assert json.loads(json.dumps(found.to_dict()))["converged"] is True
    assert "NOT converged" in str(max_ent_irl(mdp, soft_optimal(mdp, reward(34)).policy, iterations=1))


# Bad input


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.full((STATES, 2), np.nan), "feature 0 of state 0, action 0 is nan"),
        (np.zeros((5, 2)), r"features of shape \(5, 2\)"),
        ("states", "give 'state_action', 'state'"),
        (np.zeros((STATES, 0)), "features of shape"),
    ],
)
def test_bad_features_are_named(features, message):
    with pytest.raises(ValueError, match=message):
        max_ent_irl(problem(), np.full((STATES, ACTIONS), 1 / ACTIONS), features=features)


@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"l2": -1.0}, {"tolerance": 0.0}, {"iterations": 0}])
def test_bad_options_are_named(option):
    with pytest.raises(ValueError, match="give numbers above 0"):
        max_ent_irl(problem(), np.full((STATES, ACTIONS), 1 / ACTIONS), **option)

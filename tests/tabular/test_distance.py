"""Distances between rewards against sums written out term by term, and what each is blind to and what not."""

import itertools

import numpy as np
import pytest

from demonstrably.tabular import distance, sampled_regret
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.soft import soft_optimal

STATES, ACTIONS, DISCOUNT = 5, 3, 0.85


def problem(seed: int = 0, **time) -> MDP:
    transitions = np.random.default_rng(seed).dirichlet(np.full(STATES, 0.6), (STATES, ACTIONS))
    return MDP(transitions, **(time or {"discount": DISCOUNT}))


def dense(mdp: MDP) -> np.ndarray:
    return mdp.transitions.toarray().reshape(mdp.states, mdp.actions, mdp.states)


def reward(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape or (STATES, ACTIONS, STATES))


def shaping(mdp: MDP, seed: int = 9) -> np.ndarray:
    potential = np.random.default_rng(seed).normal(size=mdp.states)
    return np.broadcast_to(mdp.discount * potential - potential[:, None, None], (mdp.states, mdp.actions, mdp.states))


def redistribution(mdp: MDP, seed: int = 8) -> np.ndarray:
    """A reward whose mean over next states is 0 for every pair."""
    noise, transitions = reward(seed), dense(mdp)
    return noise - (noise * transitions).sum(2, keepdims=True)


def correlation_distance(first: np.ndarray, second: np.ndarray, weights: np.ndarray) -> float:
    covariance = np.cov(np.stack([first.ravel(), second.ravel()]), aweights=weights.ravel(), ddof=0)
    rho = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(np.sqrt(max(0.0, 1 - rho) / 2))


def epic_form(mdp: MDP, whole: np.ndarray, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    form = np.empty_like(whole)
    drawn = list(itertools.product(range(STATES), range(ACTIONS), range(STATES)))
    for s, a, after in drawn:
        form[s, a, after] = whole[s, a, after] + sum(
            states[x] * actions[u] * states[y]
            * (mdp.discount * whole[after, u, y] - whole[s, u, y] - mdp.discount * whole[x, u, y])
            for x, u, y in drawn
        )  # fmt: skip
    return form


def dard_form(mdp: MDP, whole: np.ndarray, actions: np.ndarray) -> np.ndarray:
    form, follow = np.empty_like(whole), dense(mdp)
    for s, a, after in itertools.product(range(STATES), range(ACTIONS), range(STATES)):
        form[s, a, after] = whole[s, a, after] + sum(
            actions[u] * follow[s, u, y] * follow[after, u, z]
            * (mdp.discount * whole[after, u, z] - whole[s, u, y] - mdp.discount * whole[y, u, z])
            for u, y, z in itertools.product(range(ACTIONS), range(STATES), range(STATES))
        )  # fmt: skip
    return form


def test_epic_is_what_its_definition_says_term_by_term():
    mdp, first, second = problem(), reward(1), reward(2)
    states, actions = np.random.default_rng(3).dirichlet(np.ones(STATES)), np.array([0.5, 0.2, 0.3])
    coverage = np.random.default_rng(4).dirichlet(np.ones(STATES * ACTIONS * STATES)).reshape(first.shape)
    forms = [epic_form(mdp, one, states, actions) for one in (first, second)]
    assert np.allclose(distance.canonical_epic(mdp, first, states, actions), forms[0], atol=1e-12)
    found = distance.epic(mdp, first, second, states=states, actions=actions, coverage=coverage)
    assert found == pytest.approx(correlation_distance(*forms, coverage), abs=1e-12)
    product = states[:, None, None] * actions[:, None] * states
    found = distance.epic(mdp, first, second, states=states, actions=actions)
    assert found == pytest.approx(correlation_distance(*forms, product), abs=1e-12)


def test_dard_is_what_its_definition_says_term_by_term():
    mdp, first, second = problem(), reward(1), reward(2)
    actions = np.array([0.5, 0.2, 0.3])
    forms = [dard_form(mdp, one, actions) for one in (first, second)]
    assert np.allclose(distance.canonical_dard(mdp, first, actions), forms[0], atol=1e-12)
    found = distance.dard(mdp, first, second, actions=actions)
    assert found == pytest.approx(correlation_distance(*forms, dense(mdp)), abs=1e-12)
    found = distance.dard(mdp, first, second, actions=actions, coverage=np.full(first.shape, 1 / first.size))
    assert found == pytest.approx(correlation_distance(*forms, np.ones(first.shape)), abs=1e-12)


@pytest.mark.parametrize("measure", [distance.epic, distance.dard, distance.starc])
def test_shaping_scale_and_constant_do_not_count_and_the_opposite_is_at_one(measure):
    mdp, truth = problem(), reward(1)
    assert measure(mdp, truth, truth) == 0
    assert measure(mdp, truth, 2.5 * truth + 7 * shaping(mdp) + 3.0) == pytest.approx(0, abs=1e-12)
    assert measure(mdp, truth, -truth) == pytest.approx(1, abs=1e-12)
    assert 0.05 < measure(mdp, truth, reward(2)) < 0.95


def test_only_starc_knows_that_a_redistribution_over_next_states_does_not_count():
    mdp, truth = problem(), reward(1)
    same = truth + redistribution(mdp)
    assert distance.starc(mdp, truth, same) == pytest.approx(0, abs=1e-12)
    assert distance.epic(mdp, truth, same) > 0.2
    assert distance.dard(mdp, truth, same) > 0.2


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("canonical", [distance.value_adjusted, distance.minimal])
def test_starc_is_a_metric_on_what_matters(canonical, order):
    mdp = problem()
    one, two, three = (reward(seed) for seed in (1, 2, 3))

    def measure(first, second):
        return distance.starc(mdp, first, second, canonical=canonical, order=order)

    assert measure(one, 2.5 * one + shaping(mdp) + redistribution(mdp) + 1) == pytest.approx(0, abs=1e-12)
    assert measure(one, -one) == pytest.approx(1, abs=1e-12)
    assert measure(one, two) == measure(two, one)
    assert measure(one, three) <= measure(one, two) + measure(two, three)
    forms = [canonical(mdp, each).ravel() for each in (one, two)]
    forms = [form / np.linalg.norm(form, order) for form in forms]
    assert measure(one, two) == pytest.approx(np.linalg.norm(forms[0] - forms[1], order) / 2, abs=1e-12)


@pytest.mark.parametrize("canonical", [distance.value_adjusted, distance.minimal])
def test_canonical_forms_project_along_what_no_policy_reveals(canonical):
    mdp = problem()
    pairs = mdp.pairs
    columns = [canonical(mdp, one.reshape(STATES, ACTIONS)).ravel() for one in np.eye(pairs)]
    projector = np.stack(columns, 1)
    ambiguity = (mdp.stay() - mdp.discount * mdp.transitions).toarray()
    assert np.allclose(projector @ projector, projector, atol=1e-12)
    assert np.linalg.matrix_rank(projector, tol=1e-9) == pairs - mdp.states
    assert np.allclose(projector @ ambiguity, 0, atol=1e-12)
    # What is taken away is ambiguity and nothing else.
    removed = np.eye(pairs) - projector
    assert np.linalg.matrix_rank(np.hstack([ambiguity, removed]), tol=1e-9) == mdp.states
    assert np.allclose(projector, projector.T, atol=1e-12) == (canonical is distance.minimal)


def test_the_minimal_form_is_the_smallest():
    mdp, truth = problem(), reward(1, STATES, ACTIONS)
    smallest = distance.minimal(mdp, truth)
    ambiguity = (mdp.stay() - mdp.discount * mdp.transitions).toarray()
    potential = np.linalg.lstsq(ambiguity, truth.ravel(), rcond=None)[0]
    assert np.allclose(smallest.ravel(), truth.ravel() - ambiguity @ potential, atol=1e-12)
    assert np.linalg.norm(smallest) < np.linalg.norm(distance.value_adjusted(mdp, truth))


def test_rewards_of_every_shape_are_one_reward():
    mdp, states = problem(), reward(1, STATES)
    pairs = np.repeat(states[:, None], ACTIONS, 1)
    whole = np.repeat(pairs[:, :, None], STATES, 2)
    other = reward(2)
    for measure in (distance.epic, distance.dard, distance.starc, distance.regret):
        found = {round(measure(mdp, one, other), 12) for one in (states, pairs, whole)}
        assert len(found) == 1


def test_a_reward_without_direction():
    mdp, nothing = problem(), np.full(STATES, 3.0)
    for measure, apart in ((distance.epic, 0.5**0.5), (distance.dard, 0.5**0.5), (distance.starc, 0.5)):
        assert measure(mdp, nothing, shaping(mdp)) == 0
        assert measure(mdp, nothing, reward(1)) == pytest.approx(apart)


def optimum_by_enumeration(mdp: MDP, truth: np.ndarray) -> float:
    """The best value of all deterministic stationary policies, from the starts."""
    best = -np.inf
    for choice in itertools.product(range(mdp.actions), repeat=mdp.states):
        pairs = np.arange(mdp.states) * mdp.actions + np.array(choice)
        system = np.eye(mdp.states) - mdp.discount * mdp.transitions.toarray()[pairs]
        best = max(best, float(mdp.starts @ np.linalg.solve(system, truth.ravel()[pairs])))
    return best


def test_regret_is_the_loss_of_the_policy_that_the_guess_asks_for():
    mdp = problem()
    for seed in range(20):
        truth, guess = reward(seed, STATES, ACTIONS), reward(seed + 100, STATES, ACTIONS)
        chosen = max(itertools.product(range(ACTIONS), repeat=STATES), key=lambda choice: value_of(mdp, choice, guess))
        expected = optimum_by_enumeration(mdp, truth) - value_of(mdp, chosen, truth)
        assert distance.regret(mdp, truth, guess) == pytest.approx(expected, abs=1e-9)
        assert distance.regret(mdp, truth, truth) == pytest.approx(0, abs=1e-9)


def value_of(mdp: MDP, choice: tuple[int, ...], truth: np.ndarray) -> float:
    pairs = np.arange(mdp.states) * mdp.actions + np.array(choice)
    system = np.eye(mdp.states) - mdp.discount * mdp.transitions.toarray()[pairs]
    return float(mdp.starts @ np.linalg.solve(system, truth.ravel()[pairs]))


@pytest.mark.parametrize("time", [{"discount": 0.9}, {"horizon": 4}, {"horizon": 6, "discount": 0.8}])
@pytest.mark.parametrize("temperature", [0.0, 0.3, 2.0])
def test_regret_is_never_negative_and_nothing_at_the_truth(time, temperature):
    mdp = problem(**time, initial=1)
    for seed in range(30):
        truth, guess = reward(seed), reward(seed + 100)
        assert distance.regret(mdp, truth, guess, temperature=temperature) >= 0
        assert distance.regret(mdp, truth, truth, temperature=temperature) == pytest.approx(0, abs=1e-9)


def test_soft_regret_is_the_divergence_of_the_policies():
    """What a policy loses of a soft objective is temperature times its divergence from the best, summed over visits."""
    from demonstrably.tabular.soft import occupancy

    mdp, truth, guess = problem(initial=2, discount=0.9), reward(1, STATES, ACTIONS), reward(2, STATES, ACTIONS)
    best, taken = soft_optimal(mdp, truth, 0.7), soft_optimal(mdp, guess, 0.7)
    expected = 0.7 * (occupancy(mdp, taken.policy) * (taken.log_policy - best.log_policy)).sum()
    assert distance.regret(mdp, truth, guess, temperature=0.7) == pytest.approx(expected, abs=1e-9)


def test_shaping_for_one_problem_costs_nothing_there_and_something_in_another():
    mdp, other = problem(0), problem(5)
    truth = reward(1, STATES, ACTIONS)
    guess = truth + 30 * distance.expected_reward(mdp, shaping(mdp))
    assert distance.regret(mdp, truth, guess) == pytest.approx(0, abs=1e-8)
    assert distance.regret(other, truth, guess) > 0.1


def test_equally_good_actions_are_taken_alike():
    """Under a guess of nothing all actions are best, so that the policy is uniform."""
    mdp = MDP(np.tile(np.eye(2), (2, 1, 1)), discount=0.5, initial=0)  # action a leads to state a
    assert distance.regret(mdp, [[1.0, 0.0], [1.0, 0.0]], np.zeros(2)) == pytest.approx(1.0)


@pytest.mark.parametrize("time", [{"discount": 0.9}, {"horizon": 4}])
def test_the_scale_of_rewards_does_not_count(time):
    mdp, truth = problem(**time), reward(1, STATES, ACTIONS)
    for scale in (1e-300, 1e-11, 1e11):
        assert distance.regret(mdp, truth, scale * truth) == pytest.approx(0, abs=1e-9)
        assert distance.regret(mdp, scale * truth, -truth) == pytest.approx(scale * distance.regret(mdp, truth, -truth))
    assert (distance.best_policy(mdp, 0 * truth) == 1 / ACTIONS).all()


def test_values_that_cancel_leave_actions_equal():
    there_and_back = np.zeros((2, 2, 2))  # both actions change the state, and rewards of two steps add up to 0
    there_and_back[0, :, 1] = there_and_back[1, :, 0] = 1
    noisy = np.array([[0.3, 0.1 + 0.2], [-0.3, -0.3]])
    assert distance.best_policy(MDP(there_and_back, horizon=2), noisy) == pytest.approx(0.5 * np.ones((2, 2, 2)))


def test_discounts_close_to_one_come_to_an_end():
    transitions = np.random.default_rng(0).dirichlet(np.ones(6), (6, 2))
    for discount in (1 - 1e-6, 1 - 1e-9, 1 - 1e-12):
        mdp, table = MDP(transitions, discount=discount), reward(1, 6, 2)
        assert distance.best_policy(mdp, table).sum() == 6


@pytest.mark.parametrize("time", [{"discount": 0.7}, {"horizon": 4, "initial": 0}, {"horizon": 5, "discount": 0.8}])
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_regret_from_episodes_covers_the_exact_one(time, temperature):
    mdp, truth, guess = problem(**time), reward(1), reward(1) + reward(2)
    exact = distance.regret(mdp, truth, guess, temperature=temperature)
    found = [
        distance.regret_sampled(mdp, truth, guess, temperature=temperature, episodes=150, seed=seed)
        for seed in range(100)
    ]
    assert exact > 0.05
    assert sum(one.low <= exact <= one.high for one in found) >= 88
    widths = [one.high - one.low for one in found]
    assert np.mean([one.regret for one in found]) == pytest.approx(exact, abs=0.15 * np.mean(widths))


def test_pairs_of_episodes_share_their_chance():
    mdp, truth = problem(), reward(1)
    same = distance.regret_sampled(mdp, truth, 2.5 * truth + 7 * shaping(mdp), episodes=50)
    assert (same.regret, same.low, same.high) == (0, 0, 0)
    near = truth + 0.3 * reward(2)
    found = distance.regret_sampled(mdp, truth, near, episodes=400)
    assert found == distance.regret_sampled(mdp, truth, near, episodes=400, seed=0)
    policies = [distance.best_policy(mdp, distance.expected_reward(mdp, one)) for one in (truth, near)]
    assert not np.array_equal(*policies)
    earned = [
        sampled_regret.returns(mdp, policy, distance.expected_reward(mdp, truth), 0.0, 400, seed)
        for seed, policy in enumerate(policies)
    ]
    assert found.high - found.low < 0.8 * 2 * 1.96 * np.std(earned[0] - earned[1]) / 20
    assert str(found) == f"{found.regret:.3f} [{found.low:.3f}, {found.high:.3f}], 400 pairs of episodes"
    assert found.to_dict()["episodes"] == 400


@pytest.mark.parametrize("option", [{"episodes": 1}, {"level": 1.0}, {"temperature": -1.0}])
def test_mistakes_of_sampling_regret_are_named(option):
    with pytest.raises(ValueError, match=r"episodes .*: give a temperature of 0 or more, at least 2 episodes"):
        distance.regret_sampled(problem(), reward(1), reward(2), **option)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: distance.epic(mdp, np.zeros(4), np.zeros(5)), r"reward of shape \(4,\)"),
        (lambda mdp: distance.epic(mdp, np.full((5, 3, 5), np.nan), np.zeros(5)), "state 0, action 0, next state 0"),
        (lambda mdp: distance.epic(mdp, np.zeros(5), np.zeros(5), states=np.ones(5)), "states of shape .* sum 5"),
        (lambda mdp: distance.dard(mdp, np.zeros(5), np.zeros(5), coverage=np.ones(5)), "coverage of shape"),
        (lambda mdp: distance.starc(mdp, np.zeros(5), np.zeros(5), order=3), "order 3: give 1, 2 or inf"),
        (lambda mdp: distance.starc(mdp.replace(horizon=3), np.zeros(5), np.zeros(5)), "horizon 3: STARC"),
        (lambda mdp: distance.regret(mdp, np.zeros(5), np.zeros(5), temperature=-1.0), "temperature -1"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(problem())


def test_an_array_too_large_is_refused_before_it_is_made():
    from scipy import sparse

    mdp = MDP(sparse.eye_array(20_000), discount=0.9, actions=1)
    with pytest.raises(ValueError, match="3.2 GB is too large; use epic_sampled"):
        distance.epic(mdp, np.zeros(20_000), np.zeros(20_000))


class Sampler:
    """Transitions of a tabular problem: states and actions alike, next states alike or by the dynamics."""

    def __init__(self, mdp: MDP, *, possible: bool) -> None:
        self.cumulative = dense(mdp).cumsum(2)
        self.possible = possible

    def step(self, generator, states, actions):
        chance = generator.random(len(states))
        return np.minimum((self.cumulative[states, actions] < chance[:, None]).sum(1), STATES - 1)

    def draw(self, generator, count):
        states, actions = generator.integers(STATES, size=count), generator.integers(ACTIONS, size=count)
        after = self.step(generator, states, actions) if self.possible else generator.integers(STATES, size=count)
        return states, actions, after


def function(whole: np.ndarray):
    return lambda states, actions, after: whole[states, actions, after]


def sampled(name: str, mdp: MDP, first: np.ndarray, second: np.ndarray, **options):
    sampler = Sampler(mdp, possible=name != "epic")
    steps = {} if name == "epic" else {"step": sampler.step}
    call = {"epic": distance.epic_sampled, "dard": distance.dard_sampled, "starc": distance.starc_sampled}[name]
    return call(function(first), function(second), sampler.draw, discount=mdp.discount, **steps, **options)


EXACT = {"epic": distance.epic, "dard": distance.dard, "starc": distance.starc}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_samples_come_to_the_exact_distance(name):
    mdp, first, second = problem(), reward(1), reward(1) + reward(2)
    found = sampled(name, mdp, first, second, samples=2000, means=32)
    assert found.low <= EXACT[name](mdp, first, second) <= found.high
    assert 0.01 < found.high - found.low < 0.2
    assert found == sampled(name, mdp, first, second, samples=2000, means=32)  # the same seed
    assert str(found) == f"{found.distance:.3f} [{found.low:.3f}, {found.high:.3f}], 2000 transitions"
    assert found.to_dict()["samples"] == 2000


@pytest.mark.parametrize("name", EXACT)
def test_shaping_cancels_in_every_sample(name):
    mdp, truth = problem(), reward(1)
    few = {"samples": 400, "means": 16}
    found = sampled(name, mdp, truth, 2.5 * truth + shaping(mdp) + 100, **few)
    assert found.high < (0.01 if name == "starc" else 1e-6)  # rollouts leave out a little
    assert sampled(name, mdp, truth, -truth, **few).low > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_intervals_cover(name):
    mdp, first, second = problem(), reward(1), reward(1) + reward(2)
    exact, options = EXACT[name](mdp, first, second), {"samples": 400, "means": 16}
    found = [sampled(name, mdp, first, second, seed=seed, **options) for seed in range(40)]
    assert sum(one.low <= exact <= one.high for one in found) >= 34
    assert np.mean([one.distance for one in found]) == pytest.approx(exact, abs=0.02)


def test_samples_know_that_a_redistribution_does_not_count():
    mdp, truth = problem(), reward(1)
    same = truth + redistribution(mdp)
    assert sampled("starc", mdp, truth, same, samples=1000, means=32).low < 0.15
    assert sampled("epic", mdp, truth, same).low > 0.2


@pytest.mark.parametrize("name", EXACT)
def test_a_reward_without_direction_is_told(name):
    mdp, nothing = problem(), np.full((STATES, ACTIONS, STATES), 1e6)
    with pytest.raises(ValueError, match="the second reward cannot be told from one that matters to no policy"):
        sampled(name, mdp, reward(1), nothing, samples=100, means=4)
    with pytest.raises(ValueError, match="the first reward cannot be told"):
        sampled(name, mdp, np.array(shaping(mdp)), reward(1), samples=100, means=4)


def test_mistakes_of_sampling_are_named():
    mdp = problem()
    with pytest.raises(ValueError, match="samples 30, level 0.95: give at least 40"):
        sampled("epic", mdp, reward(1), reward(2), samples=30)
    with pytest.raises(ValueError, match=r"a reward gave shape \(5,\)"):
        sampler = Sampler(mdp, possible=False)
        distance.epic_sampled(lambda s, a, t: np.zeros(5), function(reward(1)), sampler.draw, discount=0.9)
    with pytest.raises(ValueError, match="discount 1.0"):
        sampled("starc", problem(horizon=3), reward(1), reward(2))

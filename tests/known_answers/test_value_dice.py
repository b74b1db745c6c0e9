"""ValueDICE against occupancies that are solved for, densities that are known, and a demonstrator to be cloned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from demonstrably.data.batches import ExperienceBatch, TransitionBatch
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.contract import State
from demonstrably.learners.policies import actor_of
from demonstrably.learners.value_dice import ACTIONS, ValueDICE, Values, dual_objective, log_ratio, occupancy
from demonstrably.nets.discriminator import gradient_penalty, slopes
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.penalty import orthogonal_penalty
from demonstrably.nets.random import fork, normal
from demonstrably.spec import Continuous, Field, Spec
from demonstrably.training.feeds import OfflineFeed
from demonstrably.training.loop import train


def test_the_objective_by_hand() -> None:
    ratio = log_ratio(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]), 0.9)
    assert ratio[0].tolist() == pytest.approx([0.1, 2.0])
    found = dual_objective(ratio, torch.tensor([[0.25, 0.75]]), torch.tensor([0.5]))
    assert found.item() == pytest.approx(np.log(0.25 * np.exp(0.1) + 0.75 * np.exp(2.0)) - 0.5)


def test_shares_by_hand() -> None:
    """Of four steps one ends the task; the absorbing state then counts 0.5 / 0.5 = 1 step more."""
    ended = torch.tensor([[False, False, True, False]])
    assert occupancy(ended, 1.0)[0].tolist() == pytest.approx([0.2] * 5)
    assert occupancy(ended, 0.0)[0].tolist() == pytest.approx([0.25] * 4 + [0.0])
    kept = dual_objective(torch.ones(1, 5), occupancy(ended, 0.0), torch.zeros(1))
    assert kept.item() == pytest.approx(1.0)  # a share of 0 is none, and no NaN


def test_different_columns_by_hand() -> None:
    layer = MLP((2,)).build(2, generators(2, 0)).layers[0]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[3.0, 1.0], [4.0, 2.0]], [[1.0, 1.0], [1.0, -1.0]]]))
    # 3 x 1 + 4 x 2 = 11, met twice; the other member's columns are orthogonal
    assert orthogonal_penalty(layer).tolist() == [242.0, 0.0]


DISCOUNT = 0.8
LEADS = np.array([[0, 1], [0, 2]])  # by state and action: the next state; 2 is the absorbing one


def occupancies(policy: np.ndarray) -> np.ndarray:
    """Discounted shares of (0, 0), (0, 1), (1, 0), (1, 1) and the absorbing state, from state 0."""
    moves = np.zeros((3, 3))
    for state in range(2):
        for action in range(2):
            moves[state, LEADS[state, action]] += policy[state, action]
    moves[2, 2] = 1
    states = (1 - DISCOUNT) * np.linalg.solve(np.eye(3) - DISCOUNT * moves.T, np.array([1.0, 0, 0]))
    return np.append((states[:2, None] * policy).flatten(), states[2])


def test_the_best_values_imply_the_ratio_of_occupancies() -> None:
    policy, expert = np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.3, 0.7]])
    own, shown = occupancies(policy), occupancies(expert)
    assert shown[4] == pytest.approx(DISCOUNT / (1 - DISCOUNT) * shown[3])  # Eq. 3: what an end of the task stands for
    chances = torch.tensor(policy)
    nu = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor(shown)[None]

    def ratios() -> torch.Tensor:
        state_values = torch.cat([(chances * nu[:4].view(2, 2)).sum(1), nu[4:]])  # E[nu(s, a)] by the policy
        following = torch.cat([state_values[torch.tensor(LEADS).flatten()], nu[4:]])
        return log_ratio(nu[None], following[None], DISCOUNT)

    def objective() -> torch.Tensor:
        begun = (chances[0] * nu[:2]).sum()
        return dual_objective(ratios(), weights, (1 - DISCOUNT) * begun[None]).sum()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS([nu], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14)
    optimizer.step(closure)
    truth = np.log(own / shown)
    found = ratios().detach().numpy()[0]
    np.testing.assert_allclose(found - found[0], truth - truth[0], atol=1e-4)
    assert objective().item() == pytest.approx(-(own * truth).sum(), abs=1e-6)


def single_steps(count: int) -> Demonstrations:
    """Episodes of one step that ends the task, all from one state; actions are spread evenly."""
    actions = np.linspace(-1, 1, count, dtype=np.float32)[:, None]
    states = np.zeros((2 * count, 1), np.float32)
    return Demonstrations.from_arrays(states, actions, terminated=[True] * count, lengths=[1] * count)


def test_with_a_fixed_policy_the_reward_is_the_ratio_of_densities() -> None:
    learner = ValueDICE(
        actor_learning_rate=0.0, learning_rate=3e-2, discount=0.5, batch_size=384, gradient_penalty=0.0, body=MLP((32,))
    )
    demos = single_steps(500)
    state = learner.init(demos.spec(), members=1, seed=0, device="cpu")
    actor = actor_of(state)
    with torch.no_grad():
        actor.last.weight.zero_()
        actor.last.bias.copy_(torch.tensor([[[0.4, -0.6]]]))
    feed = OfflineFeed(demos, ("flat",), learner.reads(), "cpu")
    for _ in range(130):
        learner.step(state, feed.batch(state))
    grid = torch.linspace(-0.3, 0.8, 25).view(1, -1, 1)
    seen = {"flat": torch.zeros_like(grid)}
    asked = TransitionBatch(seen, grid, grid[..., 0], seen, torch.ones(1, 25, dtype=torch.bool), {})
    density = -actor.loss(actor.body(actor.encoder(seen)), grid)  # the demonstrator's is 1 / 2 everywhere
    found, truth = learner.reward(state, asked), -density.detach()
    assert (found - found.mean() - truth + truth.mean()).square().mean() < 0.2 * truth.var()


def walk(count: int) -> Demonstrations:
    """Episodes that never end: a step is led by the action, which is a function of the state."""
    draws = np.random.default_rng(1)
    states, actions = np.zeros((count, 21, 1)), np.zeros((count, 20, 1))
    states[:, 0] = draws.uniform(-1, 1, (count, 1))
    for t in range(20):
        actions[:, t] = -0.6 * states[:, t]
        states[:, t + 1] = np.clip(-0.5 * actions[:, t] + draws.normal(0, 0.5, (count, 1)), -1, 1)
    flat = [values.reshape(-1, 1).astype(np.float32) for values in (states, actions)]
    return Demonstrations.from_arrays(flat[0], flat[1], lengths=[20] * count)


@pytest.mark.slow
def test_offline_it_clones_the_demonstrator() -> None:
    learner = ValueDICE(
        actor_learning_rate=1e-3, learning_rate=1e-2, gradient_penalty=0.3, batch_size=64, discount=0.9, body=MLP((32,))
    )
    demos = walk(20)
    state = learner.init(demos.spec(), members=2, seed=0, device="cpu")
    feed = OfflineFeed(demos, ("flat",), learner.reads(), "cpu")
    seen = torch.linspace(-0.9, 0.9, 31).view(1, -1, 1).expand(2, -1, -1)

    def error() -> torch.Tensor:
        policy = learner.policy(state)
        acted, _ = policy.act({"flat": seen}, policy.start(torch.zeros(2, 31, dtype=torch.int64)))
        return (acted + 0.6 * seen).abs().mean((1, 2))

    before = error()
    list(train(learner, feed, 150, state=state))
    assert (before > 0.1).all() and (error() < 0.06).all()


def test_slopes_are_differentiated_rightly_again() -> None:
    """The penalty's gradient in nu's weights is the quotient of differences."""
    demos, learner = walk(2), ValueDICE(batch_size=8, body=MLP((4,)))
    state = learner.init(demos.spec(), members=1, seed=0, device="cpu")
    values = state.networks["values"].double()
    assert isinstance(values, Values)
    points = torch.linspace(-1, 1, 10, dtype=torch.float64).view(1, 5, 2)
    weight = values.score.body.layers[0].weight

    def penalty() -> torch.Tensor:
        return gradient_penalty(slopes(values.score.judged, points)).sum()

    def moved(place: tuple[int, int, int], by: float) -> float:
        kept = weight.detach().clone()
        weight.data[place] += by
        value = penalty().item()
        weight.data.copy_(kept)
        return value

    (found,) = torch.autograd.grad(penalty(), weight)
    for place in [(0, 0, 1), (0, 1, 2)]:
        above, below = moved(place, 1e-6), moved(place, -1e-6)
        assert found[place].item() == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-8)


def test_discrete_actions_and_wrong_settings_are_refused() -> None:
    demos = Demonstrations.from_arrays(np.zeros((4, 2), np.float32), [0, 1, 0], lengths=[3])
    with pytest.raises(ValueError, match="continuous"):
        ValueDICE().init(demos.spec(), members=1, seed=0, device="cpu")
    for wrong in ({"discount": 1.0}, {"mixture": 0.0}, {"orthogonal": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ValueDICE(**wrong)


def test_own_steps_enter_by_their_share() -> None:
    """With the same steps on both sides the mixture is the same, and what is spent is shared out."""
    demos, alone = walk(2), ValueDICE(batch_size=8, body=MLP((4,)))
    state = alone.init(demos.spec(), members=2, seed=0, device="cpu")
    batch = OfflineFeed(demos, ("flat",), alone.reads(), "cpu").batch(state)
    assert isinstance(batch, TransitionBatch)
    few, many = (replace(alone, online=True, mixture=share) for share in (1e-6, 1 - 1e-6))
    both = ExperienceBatch(batch, batch)
    assert torch.isfinite(few.loss(state, both)).all()
    # log E[exp(ratio)] - E[ratio] is never below 0 where all steps are the policy's own
    assert (many.loss(state, both) >= -1e-4).all()


# --- the learner's own objective ---

SMALL = ValueDICE(batch_size=4, discount=0.8, normalize=False, body=MLP((6,)))
PLACE = Spec({"place": Field((2,))}, Continuous((-1.0,), (1.0,)))


def moves(seed: int, size: int, over: int = 0) -> TransitionBatch:
    """Some steps, the first `over` of them the task's end, and three first observations."""
    draws = torch.Generator().manual_seed(seed)
    here, there = ({"place": torch.randn(1, size, 2, generator=draws)} for _ in range(2))
    first = {"place": torch.randn(1, 3, 2, generator=draws)}
    actions = 2 * torch.rand(1, size, 1, generator=draws) - 1
    return TransitionBatch(here, actions, torch.zeros(1, size), there, torch.arange(size)[None] < over, first)


def begun(learner: ValueDICE, absorbing: float = 0.7) -> State:
    state = learner.init(PLACE, members=1, seed=0, device="cpu")
    with torch.no_grad():
        state.networks["values"].absorbing.value.fill_(absorbing)
    return state


@pytest.mark.parametrize("initial", ["steps", "first"])
@pytest.mark.parametrize("absorbing", [True, False])
def test_every_term_is_weighed_by_whose_step_it_is(initial: str, absorbing: bool) -> None:
    """Three demonstrated steps, one an end, and five own ones, two of them ends: Eq. 2 of their mixture."""
    learner = replace(SMALL, online=True, mixture=0.25, initial=initial, absorbing=absorbing)
    state, own, shown = begun(learner), moves(1, 5, 2), moves(2, 3, 1)
    places = [shown.next_observations, own.next_observations, shown.first if initial == "first" else shown.observations]
    then = torch.cat([place["place"] for place in places], 1)
    outputs = actor_of(state).outputs(actor_of(state).body(actor_of(state).encoder({"place": then})))
    keys = fork(state.noise, ACTIONS)
    acted, _ = TanhGaussian().draw(outputs, normal(keys, state.step, then.shape[1]).view(1, -1, 1))

    def nu(place: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return state.networks["values"].score({"place": place}, action)[0]

    following, begins = nu(then[:, :8], acted[:, :8]), nu(then[:, 8:], acted[:, 8:])
    end = 0.7 if absorbing else 0.0
    ratios, weights, linear = [], [], []
    for steps, after, share in ((shown, following[:3], 0.75), (own, following[3:], 0.25)):
        over = steps.terminated[0]
        ratio = nu(steps.observations["place"], steps.actions) - 0.8 * torch.where(over, torch.tensor(end), after)
        staying = 4.0 * over.sum() * absorbing  # discount / (1 - discount) steps there for each end
        counts = torch.cat([torch.ones(len(ratio)), staying[None]])
        ratio = torch.cat([ratio, torch.tensor([0.2 * 0.7])])
        ratios.append(ratio)
        weights.append(share * counts / counts.sum())
        linear.append((counts * ratio).sum() / counts.sum())
    spent = 0.75 * 0.2 * begins.mean() + 0.25 * linear[1]
    expected = torch.log((torch.cat(weights) * torch.cat(ratios).exp()).sum()) - spent
    torch.testing.assert_close(learner.loss(state, ExperienceBatch(own, shown))[0], expected)


@pytest.mark.parametrize("online", [True, False])
def test_an_update_brings_the_slopes_of_nu_nearer_to_one(online: bool) -> None:
    learner = replace(SMALL, online=online, gradient_penalty=1e6, learning_rate=1e-4, actor_learning_rate=0.0)
    state, shown = begun(learner), moves(2, 8)
    batch = ExperienceBatch(moves(1, 8), shown) if online else shown
    penalties = []
    for _ in range(3):
        state.step.zero_()  # at the same places
        penalties.append(learner.step(state, batch)["penalty"].item())
    assert penalties[0] > penalties[1] > penalties[2]


def test_an_update_brings_the_columns_of_the_actor_nearer_to_orthogonal() -> None:
    learner = replace(SMALL, orthogonal=1e6, actor_learning_rate=1e-4)
    state = begun(learner)
    before = orthogonal_penalty(actor_of(state)).item()
    for _ in range(3):
        learner.step(state, moves(2, 8))
    assert orthogonal_penalty(actor_of(state)).item() < before


@pytest.mark.parametrize("sources", [1, 2])
def test_the_policy_goes_where_the_demonstrator_is(sources: int) -> None:
    """With nu held as it is, what the actor's update raises is what nu lowers: Eq. 2, minus the divergence."""
    learner = replace(SMALL, online=sources == 2, learning_rate=0.0, actor_learning_rate=1e-3, orthogonal=0.0)
    state, shown = begun(learner), moves(2, 8)
    batch = ExperienceBatch(moves(1, 8), shown) if sources == 2 else shown
    objectives = []
    for _ in range(4):
        state.step.zero_()  # the same noise
        objectives.append(learner.loss(state, batch).item())
        assert learner.step(state, batch)["divergence"].item() == pytest.approx(-objectives[-1])
    assert objectives == sorted(objectives) and objectives[0] < objectives[-1]


def test_offline_the_penalty_lies_between_steps_and_what_the_policy_does_after_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs: list[torch.Tensor] = []

    def taken(_: object, here: torch.Tensor, there: torch.Tensor, *__: object) -> torch.Tensor:
        pairs.extend((here, there))
        return torch.zeros(1)

    monkeypatch.setattr("demonstrably.learners.value_dice.penalty_between", taken)
    shown = moves(2, 4)
    SMALL.step(begun(SMALL), shown)
    here, there = pairs
    places = torch.cat([shown.observations["place"], shown.next_observations["place"]], 1)
    torch.testing.assert_close(here[..., :2], places)
    torch.testing.assert_close(there[..., :2], places.flip(1))
    torch.testing.assert_close(here[:, :4, 2:], shown.actions)


def test_each_network_moves_at_its_own_rate() -> None:
    """The first step of Adam is as long as the rate, in every weight that has a gradient."""
    learner = replace(SMALL, learning_rate=1e-2, actor_learning_rate=1e-4)
    state = begun(learner)
    before = {name: value.clone() for name, value in state.weights().items()}
    learner.step(state, moves(2, 8, 1))
    for part, rate in (("values/", 1e-2), ("actor/", 1e-4)):
        moved = [(v - before[n]).abs().max().item() for n, v in state.weights().items() if n.startswith(part)]
        assert max(moved) == pytest.approx(rate, rel=0.02)

"""What becomes of a reward when the person is not what is assumed."""

import json

import numpy as np
import pytest

from demonstrably.tabular.identify import identify
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import EpsilonGreedy, HardOptimal, Myopic, SoftOptimal, misspecification
from demonstrably.tabular.soft import soft_optimal

STATES, ACTIONS = 6, 3
TRANSITIONS = np.random.default_rng(0).dirichlet(np.full(STATES, 0.4), (STATES, ACTIONS))
ENDLESS, NEARER = MDP(TRANSITIONS, discount=0.9), MDP(TRANSITIONS, discount=0.5)
SHORT = MDP(TRANSITIONS, horizon=5)
REWARD = np.random.default_rng(1).normal(size=(STATES, ACTIONS))


@pytest.mark.parametrize("mdps", [ENDLESS, SHORT, [ENDLESS, NEARER]])
def test_nothing_is_off_where_the_person_is_as_assumed(mdps):
    found = misspecification(mdps, REWARD, SoftOptimal())
    assert found.distance < 1e-10 and found.scale == pytest.approx(1)
    assert found.regret == pytest.approx(0, abs=1e-9) and found.misfit < 1e-10
    assert (found.regret, found.transferred) == (found.regret_right, found.transferred_right)
    assert "nothing in the policies reveals" in str(found)


@pytest.mark.parametrize("behavior", [EpsilonGreedy(), HardOptimal(), Myopic()])
def test_other_behavior_is_off_by_what_can_be_checked(behavior):
    found = misspecification(ENDLESS, REWARD, behavior)
    # One endless expert: the reward inferred is log pi, up to shaping.
    policy = behavior(ENDLESS, REWARD, 1.0)
    shaping = np.linalg.qr((ENDLESS.stay() - 0.9 * ENDLESS.transitions).toarray())[0]
    forms = [x.ravel() - shaping @ (shaping.T @ x.ravel()) for x in (REWARD, np.log(policy))]
    sizes = [np.linalg.norm(form) for form in forms]
    assert found.distance == pytest.approx(np.linalg.norm(forms[0] / sizes[0] - forms[1] / sizes[1]) / 2)
    assert found.scale == pytest.approx(sizes[1] / sizes[0])
    assert 0 <= found.regret <= 1 and 0 <= found.transferred <= 1
    assert found.misfit < 1e-10  # one endless expert reveals nothing


def chain(discount: float) -> tuple[MDP, np.ndarray]:
    """Go on, stay, or go back to the beginning for a small reward now; a large one waits at the end."""
    reward, moves = np.zeros((STATES, ACTIONS)), np.zeros((STATES, ACTIONS, STATES))
    moves[:, 0, 0] = 1
    moves[np.arange(STATES), 1, np.minimum(np.arange(STATES) + 1, STATES - 1)] = 1
    moves[np.arange(STATES), 2, np.arange(STATES)] = 1
    reward[:, 0], reward[-1, 2] = 1.0, 6.0
    return MDP(moves, discount=discount, initial=0), reward


def test_a_greedy_person_is_right_about_what_is_best_and_a_myopic_one_is_not():
    mdp, reward = chain(0.9)
    greedy = misspecification(mdp, reward, EpsilonGreedy(0.1))
    assert greedy.regret == pytest.approx(0, abs=1e-9)
    assert misspecification(mdp, reward, Myopic(0.1)).regret > 0.2
    assert greedy.distance > 0.05


def test_two_experts_reveal_a_greedy_person_unless_they_do_the_same():
    found = misspecification([chain(0.9)[0], chain(0.3)[0]], chain(0.9)[1], EpsilonGreedy())
    assert found.misfit > 1e-2 and "which the policies can reveal" in str(found)
    assert found.regret_right == pytest.approx(0, abs=1e-9)
    assert found.transferred_right == pytest.approx(0, abs=1e-9)
    same = misspecification([ENDLESS, NEARER], REWARD, EpsilonGreedy())  # the same actions are best in both
    assert same.misfit < 1e-10 and same.distance > 0.1


def test_another_environment_and_behavior_may_be_given():
    other = MDP(np.random.default_rng(2).dirichlet(np.ones(STATES), (STATES, ACTIONS)), discount=0.9)

    def sharper(mdp, reward, temperature):
        return soft_optimal(mdp, reward, temperature / 3).policy

    found = misspecification([ENDLESS, NEARER], REWARD, sharper, transfer=other)
    assert found.scale == pytest.approx(3) and found.distance < 1e-10  # a temperature is a scale
    assert found.transferred == pytest.approx(0, abs=1e-9)
    assert json.loads(json.dumps(found.to_dict()))["scale"] == found.scale
    assert "<br>" in found._repr_html_()


def test_a_constant_reward_has_nothing_at_stake():
    found = misspecification(ENDLESS, np.zeros((STATES, ACTIONS)), Myopic())
    assert found.regret == 0 and found.transferred == 0


def test_where_all_is_open_nothing_is_off():
    ring = MDP(np.eye(4)[[[1], [2], [3], [0]]], discount=0.9)  # one action: behavior reveals nothing
    found = misspecification(ring, np.arange(4.0), EpsilonGreedy())
    assert found.distance == 0 and found.scale == np.inf
    assert found.to_dict()["scale"] is None


def test_a_reward_that_matters_to_no_choice_is_said_in_words():
    ring = MDP(np.eye(4)[[[1], [2], [3], [0]]], discount=0.9)
    for found in (
        misspecification(ENDLESS, np.zeros((STATES, ACTIONS))),
        misspecification(ring, np.arange(4.0), EpsilonGreedy()),
    ):
        assert "inf" not in str(found).replace("inferred", "")
        assert "nothing of the true reward matters to a choice, and nothing of the inferred one" in str(found)

    def biased(mdp, reward, temperature):
        return np.tile([0.6, 0.3, 0.1], (STATES, 1))

    found = misspecification(ENDLESS, np.zeros((STATES, ACTIONS)), biased)
    assert "but something of the inferred one does" in str(found)


def never(mdp, reward, temperature):
    return np.tile([0.5, 0.5, 0.0], (STATES, 1))


@pytest.mark.parametrize(
    ("mdps", "options", "message"),
    [
        (ENDLESS, {"transfer": MDP(np.ones((1, 1, 1)), discount=0.9)}, r"\[\(1, 1\), \(6, 3\)\]: .* to transfer to"),
        ([ENDLESS, MDP(TRANSITIONS[:, :2], discount=0.9)], {}, r"\[\(6, 2\), \(6, 3\)\]"),
        ([], {}, r"problems of \(states, actions\) \[\]: give at least one"),
        (ENDLESS, {"behavior": EpsilonGreedy}, r"EpsilonGreedy is a class: .* EpsilonGreedy\(\)"),
        (ENDLESS, {"behavior": never}, "gives state 0, action 2 probability 0"),
        (ENDLESS, {"behavior": lambda *_: np.ones((STATES, ACTIONS))}, "no probabilities that sum to 1"),
    ],
)
def test_what_does_not_fit_is_named(mdps, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        misspecification(mdps, REWARD, **options)
    assert "\n" not in str(caught.value)


def test_large_problems_are_refused():
    grown = MDP(np.full((30, 20, 30), 1 / 30), discount=0.9)
    with pytest.raises(ValueError, match="600 weights has 630 unknown .* too many to hold rewards against one another"):
        misspecification(grown, np.zeros((30, 20)))
    with pytest.raises(ValueError, match="horizon 200.* 1218 unknown") as caught:
        identify(MDP(TRANSITIONS, horizon=200), suppose=[Myopic()])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reward", ["state_action", "state", np.random.default_rng(3).normal(size=(18, 4))])
@pytest.mark.parametrize("mdps", [ENDLESS, SHORT, [ENDLESS, NEARER]])
def test_identify_is_not_off_where_the_person_is_as_assumed(mdps, reward):
    (drawn,) = identify(mdps, reward=reward, suppose=[SoftOptimal()]).misspecifications
    assert drawn.distance < 1e-10 and drawn.scale == pytest.approx(1) and drawn.draws == 5
    assert drawn.misfit < 1e-10 and not drawn.revealed


def test_identify_supposes_the_known_reward_or_random_ones():
    behaviors = [EpsilonGreedy(), Myopic()]
    found = identify([ENDLESS, NEARER], suppose=behaviors, known=REWARD)
    assert found.misspecifications == tuple(misspecification([ENDLESS, NEARER], REWARD, one) for one in behaviors)
    assert found.to_dict()["misspecifications"] == [one.to_dict() for one in found.misspecifications]
    for one in found.misspecifications:
        assert str(one).splitlines()[1] in str(found)
    drawn = identify(ENDLESS, suppose=behaviors)
    assert drawn.misspecifications == identify(ENDLESS, suppose=behaviors).misspecifications
    assert str(drawn).count("(medians over 5 random rewards)") == 2
    assert identify(ENDLESS).misspecifications == ()


def test_a_known_reward_must_be_possible():
    whole = np.repeat(REWARD[:, :, None], STATES, 2)  # of the next state too
    assert identify(ENDLESS, suppose=[Myopic()], known=whole).misspecifications
    with pytest.raises(ValueError, match="none of those thought possible: the nearest is off by .* state"):
        identify(ENDLESS, reward="state", suppose=[Myopic()], known=REWARD)
    with pytest.raises(ValueError, match="reward of shape"):
        identify(ENDLESS, suppose=[Myopic()], known=np.zeros(5))


@pytest.mark.parametrize("make", [lambda: EpsilonGreedy(0.0), lambda: HardOptimal(0.0), lambda: Myopic(1.0)])
def test_bad_behaviors_are_refused(make):
    with pytest.raises(ValueError, match="give a share"):
        make()

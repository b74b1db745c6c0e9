"""SQIL against rewards by hand, and a chain where its own steps show the wrong action too."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from demonstrably.data.batches import ExperienceBatch, TransitionBatch
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.learners.policies import actor_of
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ, values_of
from demonstrably.learners.sqil import SQIL, paid_for_ever, source_rewards
from demonstrably.nets.mlp import MLP

SHOWN = (1, 0, 1)  # the demonstrator's actions in states 0, 1, 2; each leads on, and the last ends the task


def test_rewards_by_hand() -> None:
    ended = torch.tensor([[False, True, False, True]])
    rewards = source_rewards(ended, 2, 1.0, -0.5)
    assert rewards.tolist() == [[1.0, 1.0, -0.5, -0.5]]
    # 1 + 0.9 + 0.81 + ... = 10
    torch.testing.assert_close(paid_for_ever(rewards, ended, 0.9), torch.tensor([[1.0, 10.0, -0.5, -5.0]]))


def steps(states: list[int], actions: list[int], after: list[int], ended: list[bool]) -> TransitionBatch:
    """Eight copies of the steps, for two members, without rewards."""

    def both(values: torch.Tensor) -> torch.Tensor:
        return values.repeat(2, 8, *[1] * (values.dim() - 1))

    seen, then = (torch.eye(4)[places] for places in (states, after))
    nothing = torch.full((len(states),), torch.nan)
    return TransitionBatch(
        {"flat": both(seen)},
        both(torch.tensor(actions)),
        both(nothing),
        {"flat": both(then)},
        both(torch.tensor(ended)),
        {},
    )


def experience() -> ExperienceBatch:
    """Shown: 0, 1, 2, then the end. Its own: any action in any state, and a wrong one leads back to 0."""
    shown = steps([0, 1, 2], list(SHOWN), [1, 2, 3], [False, False, True])
    after = [place + 1 if action == SHOWN[place] else 0 for place in range(3) for action in range(2)]
    own = steps([0, 0, 1, 1, 2, 2], [0, 1] * 3, after, [place == 3 for place in after])
    return ExperienceBatch(own, shown)


def chain() -> Demonstrations:
    states = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]]
    return Demonstrations.from_arrays(states, list(SHOWN), terminated=[False, False, True], lengths=[3])


def solved(end: float, discount: float) -> torch.Tensor:
    """Q (state, action) of the chain by value iteration. Half of a shown action's steps are its own: it pays 1 / 2."""
    values = torch.zeros(3, 2)
    for _ in range(100):
        best = values.amax(1)
        right = torch.stack([0.5 + discount * best[1], 0.5 + discount * best[2], torch.tensor(end)])
        back = (discount * best[0]).expand(3)
        values = torch.where(torch.nn.functional.one_hot(torch.tensor(SHOWN)).bool(), right[:, None], back[:, None])
    return values


@pytest.mark.parametrize(("absorbing", "end", "last"), [(True, 0.5 / (1 - 0.8), 1), (False, 0.5, 0)])
def test_values_are_those_solved_by_hand(absorbing: bool, end: float, last: int) -> None:
    """Where the end is worth nothing more, going round for ever beats it: that is what the absorbing state mends."""
    generator = SoftQ(learning_rate=1e-2, discount=0.8, temperature=1e-3, target_rate=0.2, body=MLP((16,)))
    learner, batch = SQIL(generator=generator, batch_size=8, absorbing=absorbing), experience()
    state = learner.init(chain().spec(), members=2, seed=0, device="cpu")
    for _ in range(300):
        learner.step(state, batch)
    seen = torch.eye(4)[:3].expand(2, 3, 4)
    values = values_of(actor_of(state.parts["generator"], "critic"), {"flat": seen})
    assert values.argmax(-1).tolist() == [[*SHOWN[:2], last]] * 2
    torch.testing.assert_close(values, solved(end, 0.8).expand(2, 3, 2), rtol=0.03, atol=0.03)


def test_the_environments_rewards_are_not_read() -> None:
    learner = SQIL(generator=SoftQ(body=MLP((8,))), batch_size=8)
    state, batch = learner.init(chain().spec(), members=2, seed=0, device="cpu"), experience()
    paid = replace(batch, own=replace(batch.own, rewards=torch.ones_like(batch.own.rewards)))
    assert torch.equal(learner.loss(state, batch), learner.loss(state, paid))
    assert torch.isfinite(learner.step(state, batch)["loss"]).all()


def test_it_learns_no_reward() -> None:
    learner, batch = SQIL(generator=SoftQ(body=MLP((8,)))), experience()
    state = learner.init(chain().spec(), members=2, seed=0, device="cpu")
    with pytest.raises(ValueError, match="learns no reward"):
        learner.reward(state, batch.own)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="own_reward"):
        SQIL(own_reward=1.0)
    with pytest.raises(ValueError, match="discrete"):
        SQIL(generator=SAC()).init(chain().spec(), members=1, seed=0, device="cpu")

"""SQIL: reinforcement learning with a reward that says only who did it: 1 for demonstrated steps, 0 for its own.

Reddy et al. 2020, "SQIL: Imitation Learning via Reinforcement Learning with Sparse Rewards", ICLR, arXiv 1905.11108,
section 2.

Uses: Eq. 1, the reward of a step by its source; Eq. 2, the squared soft Bellman error over both sources, half and half
(their Algorithm 1 with lambda_samp = 1), which is the loss of the generator's critics; Eq. 3, what an end is worth.
**Departures**: an end of the task leads to an absorbing state that goes on paying the reward of its source, so that an
early end is no way out of a low reward and no loss of a high one; `absorbing=False` values an end at 0, as the paper
does. A time-out is bootstrapped and never taken for an end. Where actions are continuous the generator is soft
actor-critic, as in the paper's appendix.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch, all_steps
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.generator import Generator, generator_for, of_part
from demonstrably.learners.policies import ActorPolicy
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.spec import Spec

# --- losses ---


def source_rewards(
    terminated: Bool[Tensor, "M B"], shown: int, demonstrated: float, own: float
) -> Float[Tensor, "M B"]:
    """Eq. 1: one reward for the first `shown` steps, which are demonstrated, and another for the rest."""
    first = torch.arange(terminated.shape[1], device=terminated.device) < shown
    return torch.where(first, demonstrated, own).expand(terminated.shape)


def paid_for_ever(
    reward: Float[Tensor, "M B"], terminated: Bool[Tensor, "M B"], discount: float
) -> Float[Tensor, "M B"]:
    """Eq. 3: r; at an end of the task r + discount r / (1 - discount), as an absorbing state goes on to pay it."""
    return torch.where(terminated, reward / (1 - discount), reward)


# --- learner ---

USUAL = (SAC(learning_rate=1e-3, actor_learning_rate=3e-4, temperature=0.01, average=0.99998), SoftQ())


@dataclass(frozen=True)
class SQIL(Learner):
    """Soft Q imitation learning: a generator on demonstrated and own steps, with constant rewards."""

    generator: Generator | None = None  # None: sac, or soft-q where actions are discrete
    batch_size: int = 256  # own steps an update, and as many demonstrated ones
    demonstrated_reward: float = 1.0
    own_reward: float = 0.0
    absorbing: bool = True  # the end of the task goes on paying its source's reward; False: it is worth 0

    def __post_init__(self) -> None:
        if self.demonstrated_reward <= self.own_reward:
            raise ValueError(
                f"demonstrated_reward {self.demonstrated_reward} must be above own_reward {self.own_reward}: "
                "the demonstrator is the one to follow"
            )

    def reads(self) -> Experience:
        """As many demonstrated steps as its own."""
        return Experience(self.batch_size, self.batch_size)

    def usual(self) -> tuple[SAC, SoftQ]:
        """The generators."""
        return USUAL

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """The generator's networks. ValueError where it does not fit the actions."""
        generator = generator_for(self, spec.action)
        return State.around(generator.init(spec, members=members, seed=seed, device=device), {}, {})

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update of the generator on the steps of both."""
        generator, part = of_part(self, state)
        metrics = generator.update(part, self._rewarded(generator, batch))
        state.step += 1
        return metrics

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2."""
        generator, part = of_part(self, state)
        return generator.loss(part, ExperienceBatch(self._rewarded(generator, batch), None))

    def policy(self, state: State) -> ActorPolicy:
        """The generator's, without its chance."""
        generator, part = of_part(self, state)
        return generator.policy(part)

    def explore(self, state: State) -> ActorPolicy:
        """The generator's."""
        generator, part = of_part(self, state)
        return generator.explore(part)

    def _rewarded(self, generator: Generator, batch: ExperienceBatch) -> TransitionBatch:
        """The steps of both, with the rewards of Eq. 1 in place of the environment's."""
        steps, shown = all_steps(batch)
        rewards = source_rewards(steps.terminated, shown, self.demonstrated_reward, self.own_reward)
        if self.absorbing:
            rewards = paid_for_ever(rewards, steps.terminated, generator.discount)
        return replace(steps, rewards=rewards)


PRESETS: dict[str, SQIL] = {}

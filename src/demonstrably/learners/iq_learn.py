"""IQ-Learn: one soft Q-function, trained on demonstrations alone, is both the policy and the reward.

Garg et al. 2021, "IQ-Learn: Inverse soft-Q Learning for Imitation", NeurIPS, arXiv 2106.12142, sections 4 and 5.1.

Uses: Eq. 1, the soft value; Eq. 2, the reward that a Q-function implies (the inverse soft Bellman operator); Eq. 3, the
inverse soft-Q objective with its concave function (`nets/divergences.py`); Eq. 4, both forms of its second term.
**Departures**: worked from the paper's equations. A time-out is bootstrapped and never taken for a death. Initial
states are the episodes' own first ones. An average of the weights acts, and observations are normalized by the data's
exact statistics. The reference code is licensed for individual research only, and a patent is claimed on the method.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.data.batches import Observations, TransitionBatch, Transitions
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.policies import ActorPolicy, actor_of
from demonstrably.nets.actor import Actor
from demonstrably.nets.average import follow
from demonstrably.nets.divergences import ChiSquare, Divergence
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import Categorical
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import ResNet18, SmallCNN
from demonstrably.spec import Discrete, Spec

# --- losses ---


def soft_value(values: Float[Tensor, "*lead actions"], temperature: float) -> Float[Tensor, "*lead"]:
    """Eq. 1: V(s) = temperature log sum_a exp(Q(s, a) / temperature)."""
    return temperature * torch.logsumexp(values / temperature, -1)


def implied_reward(
    chosen: Float[Tensor, "M B"], following: Float[Tensor, "M B"], discount: float
) -> Float[Tensor, "M B"]:
    """Eq. 2: r(s, a) = Q(s, a) - discount V(s'), where V is 0 after the task's end."""
    return chosen - discount * following


def inverse_loss(
    reward: Float[Tensor, "M B"], spent: Float[Tensor, "M B"], divergence: Divergence
) -> Float[Tensor, "M"]:
    """Eq. 3: - E_expert[phi(r)] + the value that any policy would earn by that reward (Eq. 4)."""
    return (spent - divergence.concave(reward)).mean(1)


def value_of_steps(
    value: Float[Tensor, "M B"], following: Float[Tensor, "M B"], discount: float
) -> Float[Tensor, "M B"]:
    """Eq. 4, over the steps of any policy: V(s) - discount V(s'); its mean is (1 - discount) E[V(s_0)]."""
    return value - discount * following


# --- learner ---


@dataclass(frozen=True)
class IQLearn(Learner):
    """Inverse soft-Q learning from demonstrations alone, for discrete actions."""

    learning_rate: PerMember = 1e-4
    batch_size: int = 64
    weight_decay: PerMember = 0.0
    gradient_clip: float | None = None
    discount: float = 0.99
    temperature: float = 0.01
    divergence: Divergence = ChiSquare()
    value: Literal["expert", "initial"] = "expert"  # whose states the second term is taken over
    average: float = 0.999  # decay of the average of weights that acts; 0 acts by the weights themselves
    normalize: bool = True
    body: MLP = MLP((64, 64))
    vision: ResNet18 | SmallCNN = SmallCNN()

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1 or self.temperature <= 0:
            raise ValueError(f"discount {self.discount} must be in (0, 1) and temperature {self.temperature} above 0")
        if self.value not in ("expert", "initial"):
            raise ValueError(f"value {self.value!r} must be 'expert' (states) or 'initial' (states)")

    def reads(self) -> Transitions:
        """Steps with what followed."""
        return Transitions(self.batch_size)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """A Q-function and its optimizer. ValueError for continuous actions."""
        if not isinstance(spec.action, Discrete):
            raise ValueError("iq-learn needs discrete actions, and these are continuous")
        draws = generators(members, seed)
        encoder = Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws)
        critic = Actor(spec, encoder, self.body.build(encoder.outputs, draws), Categorical(), draws).to(device)
        adam = Adam(
            critic,
            self.learning_rate,
            members=members,
            weight_decay=self.weight_decay,
            gradient_clip=self.gradient_clip,
        )
        networks: dict[str, nn.Module] = {"critic": critic}
        if self.average:
            networks["average"] = copy.deepcopy(critic)
        return State.of(networks, {"critic": adam}, members=members, seed=seed, device=device)

    def step(self, state: State, batch: TransitionBatch) -> Metrics:
        """One update of the Q-function."""
        loss, reward = self._objective(actor_of(state, "critic"), batch)
        state.optimizers["critic"].step(loss)
        if self.average:
            follow(state.networks["average"], state.networks["critic"], 1 - self.average, state.step)
        state.step += 1
        return {"loss": loss.detach(), "reward": reward.detach().mean(1)}

    def loss(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M"]:
        """Eq. 3 of the weights that act."""
        return self._objective(self._acting(state), batch)[0]

    def policy(self, state: State) -> ActorPolicy:
        """The action of the highest value."""
        return ActorPolicy(self._acting(state).spec, self._acting(state))

    def _objective(self, critic: Actor, batch: TransitionBatch) -> tuple[Float[Tensor, "M"], Float[Tensor, "M B"]]:
        """Eq. 3, and the reward of the batch's steps."""
        values = _values(critic, batch.observations)
        value = soft_value(values, self.temperature)
        following = soft_value(_values(critic, batch.next_observations), self.temperature) * ~batch.terminated
        chosen = values.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)
        reward = implied_reward(chosen, following, self.discount)
        if self.value == "expert":
            spent = value_of_steps(value, following, self.discount)
        else:
            spent = (1 - self.discount) * soft_value(_values(critic, batch.first), self.temperature)
        return inverse_loss(reward, spent, self.divergence), reward

    def _acting(self, state: State) -> Actor:
        return actor_of(state, "average" if self.average else "critic")


def _values(critic: Actor, observations: Observations) -> Float[Tensor, "M B actions"]:
    """Q of every action."""
    return critic.outputs(critic.body(critic.encoder(observations)))


PRESETS: dict[str, IQLearn] = {}

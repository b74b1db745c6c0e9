"""Soft Q-learning: learn by trial in the environment, where the actions are few and discrete.

Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies", arXiv 1702.08165, section 3, in the
exact form that discrete actions allow.

Uses: Eq. 1, the soft value; Eq. 2, the Q-function's loss. It is also the generator of inverse learners.
**Departures**: a time-out is bootstrapped and never taken for a death.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.data.batches import Experience, ExperienceBatch, Observations, TransitionBatch
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.policies import ActorPolicy, actor_of, softmax
from demonstrably.nets.actor import Actor
from demonstrably.nets.average import check_decay, follow
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import Categorical
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Discrete, Spec

# --- losses ---


def soft_value(values: Float[Tensor, "*lead actions"], temperature: float) -> Float[Tensor, "*lead"]:
    """Eq. 1: V(s) = temperature log sum_a exp(Q(s, a) / temperature); the maximum at temperature 0."""
    return temperature * torch.logsumexp(values / temperature, -1) if temperature else values.amax(-1)


def critic_loss(chosen: Float[Tensor, "M B"], target: Float[Tensor, "M B"]) -> Float[Tensor, "M"]:
    """Eq. 2: mean squared distance to r + discount V(s')."""
    return (chosen - target).square().mean(1)


# --- learner ---


@dataclass(frozen=True)
class SoftQ(Learner):
    """Soft Q-learning: reinforcement learning for discrete actions, and the generator of inverse learners."""

    learning_rate: PerMember = 3e-4
    batch_size: int = 64
    weight_decay: PerMember = 0.0
    gradient_clip: float | None = None
    discount: float = 0.99
    temperature: float = 0.1
    target_rate: float | None = 0.005  # None: no target network, and in iq-learn gradients of the following value too
    average: float = 0.0  # decay of an average of weights that acts; 0 acts by the weights themselves
    normalize: bool = False
    body: MLP = MLP((64, 64))
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        check_decay(self.average)
        if not 0 < self.discount < 1:
            raise ValueError(f"discount {self.discount}: must be in (0, 1)")
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature}: give 0 or above")
        if self.target_rate is not None and not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate {self.target_rate} must be in (0, 1], or none for no target network")

    def reads(self) -> Experience:
        """Steps of its own."""
        return Experience(self.batch_size, 0)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """A Q-function and its optimizer. ValueError for continuous actions."""
        if not isinstance(spec.action, Discrete):
            raise ValueError("soft-q needs discrete actions, and these are continuous: use sac")
        draws = generators(members, seed)
        encoder = Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws)
        critic = Actor(spec, encoder, self.body.build(encoder.outputs, draws), Categorical(), draws).to(device)
        networks: dict[str, nn.Module] = {"critic": critic}
        if self.target_rate is not None:
            networks["target"] = copy.deepcopy(critic)
        if self.average:
            networks["average"] = copy.deepcopy(critic)
        rules = {"weight_decay": self.weight_decay, "gradient_clip": self.gradient_clip}
        adam = Adam(critic, self.learning_rate, members=members, **rules)
        return State.of(networks, {"critic": adam}, members=members, seed=seed, device=device)

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update from the environment's rewards."""
        return self.update(state, batch.own)

    def update(self, state: State, batch: TransitionBatch) -> Metrics:
        """One update from the batch's rewards."""
        loss, chosen = self._critic_loss(state, batch)
        state.optimizers["critic"].step(loss)
        return {"loss": loss.detach(), "value": chosen.detach().mean(1)} | self.improve(state, batch.observations)

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2 on the learner's own steps."""
        return self._critic_loss(state, batch.own)[0]

    def policy(self, state: State) -> ActorPolicy:
        """The action of the highest value."""
        acting = actor_of(state, "average" if self.average else "critic")
        return ActorPolicy(acting.spec, acting)

    def explore(self, state: State) -> ActorPolicy:
        """Draws by the softmax of the values."""
        critic = actor_of(state, "critic")
        return ActorPolicy(critic.spec, critic, softmax(self.temperature))

    # What inverse learners need besides `update`.

    def judged(
        self, state: State, batch: TransitionBatch, places: Observations
    ) -> tuple[Float[Tensor, "M 1 B"], Float[Tensor, "M 1 N"]]:
        """Q(s, a) of the batch, and V of the places; both differentiable."""
        critic = actor_of(state, "critic")
        values = values_of(critic, batch.observations)
        there = values if places is batch.observations else values_of(critic, places)
        return _chosen(values, batch).unsqueeze(1), soft_value(there, self.temperature).unsqueeze(1)

    def following(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """V of the target at the next observations, 0 where the task was over. Without target, differentiable."""
        if self.target_rate is None:
            values = values_of(actor_of(state, "critic"), batch.next_observations)
        else:
            with torch.no_grad():
                values = values_of(actor_of(state, "target"), batch.next_observations)
        return soft_value(values, self.temperature) * ~batch.terminated

    def improve(self, state: State, observations: Observations) -> Metrics:
        """Targets and averages, after the Q-function."""
        if self.target_rate is not None:
            follow(state.networks["target"], state.networks["critic"], self.target_rate)
        if self.average:
            follow(state.networks["average"], state.networks["critic"], 1 - self.average, state.step)
        state.step += 1
        return {}

    def log_density(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """log pi(a | s) of the batch's actions."""
        values = values_of(actor_of(state, "critic"), batch.observations)
        return (_chosen(values, batch) - soft_value(values, self.temperature)) / max(self.temperature, 1e-6)

    def _critic_loss(self, state: State, batch: TransitionBatch) -> tuple[Float[Tensor, "M"], Float[Tensor, "M B"]]:
        """Eq. 2, and the values of the batch's actions."""
        target = batch.rewards + self.discount * self.following(state, batch).detach()
        chosen = _chosen(values_of(actor_of(state, "critic"), batch.observations), batch)
        return critic_loss(chosen, target), chosen


def values_of(critic: Actor, observations: Observations) -> Float[Tensor, "M B actions"]:
    """Q of every action."""
    return critic.outputs(critic.body(critic.encoder(observations)))


def _chosen(values: Float[Tensor, "M B actions"], batch: TransitionBatch) -> Float[Tensor, "M B"]:
    return values.gather(-1, batch.actions.unsqueeze(-1)).squeeze(-1)


PRESETS: dict[str, SoftQ] = {}

"""Soft actor-critic: learn by trial in the environment, from its rewards or from others that are put in their place.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", arXiv 1812.05905, sections 4 to 6.

Uses: Eq. 1, the soft value of the observations that follow (their Eq. 3); Eq. 2, the critics' loss (Eq. 5); Eq. 3, the
actor's loss (Eq. 9); Eq. 4, the temperature's loss (Eq. 18). It is also the generator of inverse learners.
**Departures**: a time-out is bootstrapped and never taken for a death. The log standard deviation is kept within
[-5, 2]. Log-densities are of actions scaled to [-1, 1], so that the entropy target means the same in any units. With
`average` a moving average of the actor's weights acts, while the weights themselves explore and learn. With
`layer_norm` the critics' layers are normalized (Ball et al. 2023, "Efficient Online Reinforcement Learning with Offline
Data", arXiv 2302.02948, section 4.2): where critics learn from steps that the policy would not make, values can run
away without.
"""

import copy
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from demonstrably.data.batches import Experience, ExperienceBatch, Observations, TransitionBatch
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.policies import ActorPolicy, actor_of, drawn, exploring
from demonstrably.nets.actor import Actor
from demonstrably.nets.average import check_decay, follow
from demonstrably.nets.critics import Critics, held
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.linear import apart, generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.random import fork
from demonstrably.nets.scalar import Scalar
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Spec

CRITICS = 1  # which of a member's networks its generators of first weights are for
RECENT = 2  # what acts is an average over about the last third of the steps: a policy learned by trial swings slowly
FOLLOWING, NOW, JUDGED = 1, 2, 3  # forks of a member's noise: actions after a step, and at it for either use

# --- losses ---


def soft_value(
    values: Float[Tensor, "M C B"], log_density: Float[Tensor, "M B"], temperature: Float[Tensor, "M 1"]
) -> Float[Tensor, "M B"]:
    """Eq. 1: V(s) = min_c Q_c(s, a) - temperature log pi(a | s), for one action a drawn from the policy."""
    return values.amin(1) - temperature * log_density


def critic_loss(values: Float[Tensor, "M C B"], target: Float[Tensor, "M B"]) -> Float[Tensor, "M"]:
    """Eq. 2: mean squared distance to r + discount V(s'), summed over the critics."""
    return (values - target.unsqueeze(1)).square().mean(2).sum(1)


def actor_loss(
    values: Float[Tensor, "M C B"], log_density: Float[Tensor, "M B"], temperature: Float[Tensor, "M 1"]
) -> Float[Tensor, "M"]:
    """Eq. 3: E[temperature log pi(a | s) - min_c Q_c(s, a)]."""
    return -soft_value(values, log_density, temperature).mean(1)


def temperature_loss(
    log_temperature: Float[Tensor, "M 1"], log_density: Float[Tensor, "M B"], entropy: float
) -> Float[Tensor, "M"]:
    """Eq. 4: it rises while the policy's entropy is below the one that is wanted."""
    return -(log_temperature * (log_density + entropy)).mean(1)


# --- learner ---


@dataclass(frozen=True)
class SAC(Learner):
    """Soft actor-critic: reinforcement learning for continuous actions, and the generator of inverse learners."""

    learning_rate: PerMember = 3e-4
    actor_learning_rate: PerMember | None = None  # None: as `learning_rate`
    batch_size: int = 256
    discount: float = 0.99
    target_rate: float = 0.005
    temperature: float | None = None  # None: learned, so that the policy keeps `entropy`
    entropy: float | None = None  # target entropy; None: minus the number of action dimensions
    critics: int = 2
    layer_norm: bool = False  # of the critics' layers
    average: float = 0.0  # highest decay of an average of the actor's weights that `policy` acts by; 0: by the weights
    normalize: bool = False
    body: MLP = MLP((256, 256))
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ValueError(f"discount {self.discount}: must be in (0, 1)")
        if not 0 < self.target_rate <= 1:
            raise ValueError(f"target_rate {self.target_rate}: must be in (0, 1]")
        if self.critics < 1:
            raise ValueError(f"critics {self.critics}: give at least 1")
        check_decay(self.average)
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature {self.temperature}: give 0 or above, or none to have it learned")

    def reads(self) -> Experience:
        """Steps of its own."""
        return Experience(self.batch_size, 0)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """An actor, critics, their targets and a temperature. ValueError for discrete actions."""
        if not isinstance(spec.action, Continuous):
            raise ValueError("sac needs continuous actions, and these are discrete: use soft-q")
        draws = generators(members, seed)
        encoders = [Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws) for _ in range(2)]
        body = self.body.build(encoders[0].outputs, draws)
        actor = Actor(spec, encoders[0], body, TanhGaussian(), draws)
        return self.around(actor, encoders[1], spec.action, members=members, seed=seed, device=device)

    def around(
        self,
        actor: Actor,
        critic_encoder: Encoder,
        action: Continuous,
        *,
        members: int,
        seed: int,
        device: str | torch.device,
    ) -> State:
        """The same about an actor that is a squashed Gaussian."""
        twins = apart(members, seed, CRITICS, self.critics)
        actor = actor.to(device)
        critics = Critics(critic_encoder, action.dim, self.body, self.critics, twins, layer_norm=self.layer_norm)
        critics = critics.to(device)
        temperature = Scalar(math.log(max(1.0 if self.temperature is None else self.temperature, 1e-12)), members)
        networks: dict[str, nn.Module] = {"actor": actor, "critic": critics, "target": copy.deepcopy(critics)}
        networks["temperature"] = temperature.to(device)
        if self.average:
            networks["average"] = copy.deepcopy(actor)
        rate, slower = self.learning_rate, self.actor_learning_rate
        optimizers = {
            "critic": Adam(critics, rate, members=members),
            "actor": Adam(actor, rate if slower is None else slower, members=members),
        }
        if self.temperature is None:
            optimizers["temperature"] = Adam(temperature, rate, members=members)
        return State.of(networks, optimizers, members=members, seed=seed, device=device)

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update from the environment's rewards."""
        return self.update(state, batch.own)

    def update(self, state: State, batch: TransitionBatch) -> Metrics:
        """One update from the batch's rewards: critics, actor, temperature, targets."""
        loss, values = self._critic_loss(state, batch)
        state.optimizers["critic"].step(loss)
        metrics = self.improve(state, batch.observations)
        return {"loss": loss.detach(), "value": values.detach().mean((1, 2))} | metrics

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2 on the learner's own steps."""
        return self._critic_loss(state, batch.own)[0]

    def policy(self, state: State) -> ActorPolicy:
        """The squashed mean, by the average of the actor's weights where there is one."""
        acting = actor_of(state, "average" if self.average else "actor")
        return ActorPolicy(acting.spec, acting)

    def explore(self, state: State) -> ActorPolicy:
        """Draws from the squashed Gaussian."""
        return ActorPolicy(actor_of(state).spec, actor_of(state), exploring)

    # What inverse learners need besides `update`.

    def judged(
        self, state: State, batch: TransitionBatch, places: Observations
    ) -> tuple[Float[Tensor, "M C B"], Float[Tensor, "M C N"]]:
        """Q(s, a) of the batch, and V of the places by Eq. 1 but for the minimum; differentiable in the critics."""
        with torch.no_grad():
            acted, log_density = self._draw(state, places, JUDGED)
        critics, chosen = _critics(state), _scaled(actor_of(state), batch.actions)
        features = critics.encoder(batch.observations)
        there = features if places is batch.observations else critics.encoder(places)
        values = critics.values(torch.cat([features, there], 1), torch.cat([chosen, acted], 1))
        chosen, value = values.split([chosen.shape[1], acted.shape[1]], 2)
        return chosen, value - (_temperature(state) * log_density).unsqueeze(1)

    @torch.no_grad()
    def following(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """Eq. 1 of the targets at the next observations, 0 where the task was over."""
        acted, log_density = self._draw(state, batch.next_observations, FOLLOWING)
        target = state.networks["target"]
        value = soft_value(target(batch.next_observations, acted), log_density, _temperature(state))
        return value * ~batch.terminated

    def improve(self, state: State, observations: Observations) -> Metrics:
        """Actor, temperature, targets and average, after the critics."""
        critics, temperature = _critics(state), _temperature(state)
        acted, log_density = self._draw(state, observations, NOW)
        with held(critics):
            loss = actor_loss(critics(observations, acted), log_density, temperature)
            state.optimizers["actor"].step(loss)
        if self.temperature is None:
            target = -float(acted.shape[-1]) if self.entropy is None else self.entropy
            log_temperature = state.networks["temperature"]()
            state.optimizers["temperature"].step(temperature_loss(log_temperature, log_density.detach(), target))
        follow(state.networks["target"], critics, self.target_rate)
        if self.average:
            follow(state.networks["average"], actor_of(state), 1 - self.average, state.step, RECENT)
        state.step += 1
        return {"entropy": -log_density.detach().mean(1), "temperature": temperature.squeeze(1)}

    def log_density(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """log pi(a | s) of the batch's actions."""
        actor = actor_of(state)
        assert isinstance(actor.head, TanhGaussian)
        outputs = actor.outputs(actor.body(actor.encoder(batch.observations)))
        return actor.head.log_density(outputs, _scaled(actor, batch.actions))

    def _critic_loss(self, state: State, batch: TransitionBatch) -> tuple[Float[Tensor, "M"], Float[Tensor, "M C B"]]:
        """Eq. 2, and the values of the batch's actions."""
        target = batch.rewards + self.discount * self.following(state, batch)
        values = _critics(state)(batch.observations, _scaled(actor_of(state), batch.actions))
        return critic_loss(values, target), values

    def _draw(
        self, state: State, observations: Observations, purpose: int
    ) -> tuple[Float[Tensor, "M B A"], Float[Tensor, "M B"]]:
        """An action for each observation, scaled to [-1, 1], and its log-density."""
        return drawn(actor_of(state), observations, fork(state.noise, purpose), state.step)


def _critics(state: State) -> Critics:
    critics = state.networks["critic"]
    assert isinstance(critics, Critics)
    return critics


def _scaled(actor: Actor, actions: Float[Tensor, "M B A"]) -> Float[Tensor, "M B A"]:
    assert actor.scaling
    return actor.scaling.inward(actions)


def _temperature(state: State) -> Float[Tensor, "M 1"]:
    return state.networks["temperature"]().detach().exp()


PRESETS: dict[str, SAC] = {}

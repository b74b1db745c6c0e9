"""AIRL: adversarial imitation whose discriminator is made of a reward and the policy, so that a reward is left over.

Fu, Luo and Levine 2018, "Learning Robust Rewards with Adversarial Inverse Reinforcement Learning", arXiv 1710.11248,
sections 4 and 6, off-policy and with absorbing states as `gail` has them.

Uses: Eq. 1, f, a reward g with a shaping by a potential h; Eq. 2, the logit of D = exp(f) / (exp(f) + pi); the losses
of `gail`. With `state_only` g does not see the action: the paper's reward that holds in other dynamics.
**Departures**: the policy maximizes E[f - log pi], as in the paper. A maximum-entropy generator adds -temperature
log pi itself, so its reward is temperature times f and not Eq. 2, which would count the entropy twice; hence its
temperature must be fixed. h is known up to a constant, which makes it 0 in the absorbing state. The replay stands for
the policy's own steps, though `pi` is that of now: its log-density is held above a floor, as old steps may have none.
The floor also bounds what the log-density alone tells of demonstrated actions: f would fall to make up for it, until
living on costs more than an end of the task.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch, all_steps
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.gail import (
    DISCRIMINATOR,
    absorbing_logit,
    discriminator_loss,
    discriminator_of,
    ends_of,
    renamed,
    slope_penalty,
    valued_ends,
    verdicts,
)
from demonstrably.learners.generator import Generator, generator_for, of_part
from demonstrably.learners.policies import ActorPolicy
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.discriminator import Discriminator, Score
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.ends import Ends
from demonstrably.nets.linear import apart
from demonstrably.nets.mlp import MLP
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Discrete, Spec

# --- losses ---


def shaped(
    reward: Float[Tensor, "M B"],
    potential: Float[Tensor, "M B"],
    following: Float[Tensor, "M B"],
    terminated: Bool[Tensor, "M B"],
    discount: float,
) -> Float[Tensor, "M B"]:
    """Eq. 1: f(s, a, s') = g(s, a) + discount h(s') - h(s), where h is 0 after the task's end."""
    return reward + discount * following * ~terminated - potential


def policy_logit(
    advantage: Float[Tensor, "M B"], log_density: Float[Tensor, "M B"], floor: float
) -> Float[Tensor, "M B"]:
    """Eq. 2: log D - log(1 - D) = f - log pi(a | s), the log-density not below the floor."""
    return advantage - log_density.clamp(min=floor)


# --- learner ---

FLOORS = {SAC: -2.0, SoftQ: -20.0}  # a uniform density is -0.7 a dimension
ONLINE = (SAC(temperature=0.1, average=0.99998), SoftQ())


@dataclass(frozen=True)
class AIRL(Learner):
    """Adversarial inverse reinforcement learning, off-policy: a policy, and a reward apart from its shaping."""

    generator: Generator | None = None  # None: sac, or soft-q where actions are discrete, at a temperature of 0.1
    batch_size: int = 256  # demonstrated steps an update, and as many of its own
    learning_rate: PerMember = 3e-4  # of the discriminator
    state_only: bool = False  # g sees no action
    gradient_penalty: float = 10.0  # on the slopes of g; h has none
    floor: float | None = None  # of log-densities, in nats; None: -2 for continuous actions, -20 for discrete ones
    rehearse: bool = False  # the generator learns from demonstrated steps too, by what they now earn
    absorbing: bool = True
    normalize: bool = True
    body: MLP = MLP((256, 256))
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        if self.gradient_penalty < 0:
            raise ValueError(f"gradient_penalty {self.gradient_penalty}: must be 0 (none) or above")
        if self.floor is not None and self.floor >= 0:
            raise ValueError(f"floor {self.floor}: must be below 0, it is of log-densities, as in -2")
        if self.generator is not None and not self.generator.temperature:
            raise ValueError(
                f"temperature {self.generator.temperature} of the generator: airl's reward is measured in it, so fix "
                "it above 0, as in --generator 'sac(temperature=0.1)'"
            )

    def reads(self) -> Experience:
        """Demonstrated steps and its own, as many of each."""
        return Experience(self.batch_size, self.batch_size)

    def usual(self) -> tuple[SAC, SoftQ]:
        """The generators."""
        return ONLINE

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """The generator, a reward and a potential. ValueError where the generator does not fit the actions."""
        generator = generator_for(self, spec.action)
        part = generator.init(spec, members=members, seed=seed, device=device)
        draws = apart(members, seed, DISCRIMINATOR)

        def score(action: Continuous | Discrete | None) -> Score:
            encoder = Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws)
            return Score(encoder, action, self.body, draws)

        reward, potential = score(None if self.state_only else spec.action), score(None)
        network = Discriminator(reward, potential).to(device)
        optimizers = {"discriminator": Adam(network, self.learning_rate, members=members)}
        return State.around(part, {"discriminator": network, "ends": Ends(members).to(device)}, optimizers)

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update of reward and potential, then of the generator by what they now say of the own steps."""
        (generator, part), network = of_part(self, state), discriminator_of(state)
        steps, shown = all_steps(batch)
        ends_of(state).see(steps.terminated, shown, state.step)
        loss, inputs, logits = self._judged(state, generator, steps, shown)
        penalty = slope_penalty(state, network.score, inputs) if self.gradient_penalty else torch.zeros_like(loss)
        state.optimizers["discriminator"].step(loss + self.gradient_penalty * penalty)
        learned = steps if self.rehearse else batch.own
        metrics = generator.update(part, self._rewarded(state, learned, generator))
        state.step += 1
        return verdicts(loss, logits, self.batch_size) | {"penalty": penalty.detach()} | renamed(metrics)

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """The discriminator's, without the penalty."""
        generator, _ = of_part(self, state)
        return self._judged(state, generator, *all_steps(batch))[0]

    def policy(self, state: State) -> ActorPolicy:
        """The generator's, without its chance."""
        generator, part = of_part(self, state)
        return generator.policy(part)

    def explore(self, state: State) -> ActorPolicy:
        """The generator's."""
        generator, part = of_part(self, state)
        return generator.explore(part)

    @torch.no_grad()
    def reward(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """g, in units in which the temperature is 1, without shaping."""
        return discriminator_of(state).score(batch.observations, batch.actions)

    @torch.no_grad()
    def afterwards(self, state: State) -> Float[Tensor, "M"]:
        """g of the absorbing state."""
        value = absorbing_logit(ends_of(state).shares).squeeze(1)
        return value if self.absorbing else torch.zeros_like(value)

    def lowest(self, generator: Generator) -> float:
        """The log-density below which none is taken, in nats."""
        return FLOORS[type(generator)] if self.floor is None else self.floor

    def _judged(
        self, state: State, generator: Generator, steps: TransitionBatch, shown: int
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M N W"], Float[Tensor, "M N"]]:
        """The loss; inputs of g and logits of all steps, the demonstrated ones first."""
        network = discriminator_of(state)
        inputs = network.score.inputs(steps.observations, steps.actions)
        with torch.no_grad():
            log_density = generator.log_density(state.parts["generator"], steps)
        advantage = _advantage(network, steps, inputs, generator.discount)
        logits = policy_logit(advantage, log_density, self.lowest(generator))
        return discriminator_loss(logits[:, :shown], logits[:, shown:]), inputs, logits

    @torch.no_grad()
    def _rewarded(self, state: State, steps: TransitionBatch, generator: Generator) -> TransitionBatch:
        """The steps with Eq. 1 for rewards, in the generator's units, and what an end is worth."""
        network = discriminator_of(state)
        inputs = network.score.inputs(steps.observations, steps.actions)
        reward = _advantage(network, steps, inputs, generator.discount)
        if self.absorbing:  # there is one thing to do in the absorbing state, so its log-density is 0, and f is g
            absorbing = absorbing_logit(ends_of(state).shares)
            reward = valued_ends(reward, steps.terminated, absorbing, generator.discount)
        assert generator.temperature
        return replace(steps, rewards=generator.temperature * reward)


def _advantage(
    network: Discriminator, steps: TransitionBatch, inputs: Float[Tensor, "M B W"], discount: float
) -> Float[Tensor, "M B"]:
    """Eq. 1 of the steps, given the inputs of g."""
    assert network.potential
    reward = network.score.judged(inputs)
    potential, following = (
        network.potential(seen, steps.actions) for seen in (steps.observations, steps.next_observations)
    )
    return shaped(reward, potential, following, steps.terminated, discount)


PRESETS: dict[str, AIRL] = {}

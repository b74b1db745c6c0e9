"""GAIL: a discriminator learns to tell demonstrated steps from the learner's own; to be taken for them is the reward.

Ho and Ermon 2016, "Generative Adversarial Imitation Learning", arXiv 1606.03476, sections 4 and 5, off-policy and with
absorbing states as in Kostrikov et al. 2019, "Discriminator-Actor-Critic", arXiv 1809.02925, sections 4.1 and 4.2.

Uses: Eq. 1, the discriminator's loss; Eq. 2, the logit that is best for what follows the task's end; Eq. 3, the reward
in three forms; Eq. 4, what the end of the task is worth. D is the probability that a step was demonstrated, x its
logit.
**Departures**: the replay stands for the policy's own steps, unweighted. All that follows an end is one state, so one
number is its logit, in place of a dimension that marks it in every observation, and counting tells it: learned step by
step it would be wrong for thousands of updates, in which an early end would pay. As that number has no neighbors that
would restrain it, both sides count a few ends that nobody saw. A time-out is not an end. With `rehearse` the generator
learns from demonstrated steps too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch, all_steps
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.generator import Generator, generator_for, of_part
from demonstrably.learners.policies import ActorPolicy
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.discriminator import Discriminator, Score, penalty_between
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.ends import Ends
from demonstrably.nets.linear import apart
from demonstrably.nets.mlp import MLP
from demonstrably.nets.random import fork
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Spec

BETWEEN = 4  # fork of a member's noise, besides those of its generator: where slopes are penalized
DISCRIMINATOR = 2  # which of a member's networks its generators of first weights are for
UNSEEN = 1e-5  # ends a step that both sides count besides those seen; without them the rarer side's logit is endless

# --- losses ---


def discriminator_loss(demonstrated: Float[Tensor, "M B"], own: Float[Tensor, "M N"]) -> Float[Tensor, "M"]:
    """Eq. 1: - E_demonstrated[log D] - E_own[log(1 - D)], of the logits."""
    return softplus(-demonstrated).mean(1) + softplus(own).mean(1)


def absorbing_logit(ends: Float[Tensor, "M 2"], unseen: float = UNSEEN) -> Float[Tensor, "M 1"]:
    """Eq. 2: the log ratio of demonstrated and own ends a step, `unseen` ones included.

    Eq. 1 of the step in the absorbing state that follows every end is least there.
    """
    shown, own = (ends + unseen).log().split(1, 1)
    return shown - own


Form = Literal["logit", "positive", "negative"]
FORMS: Mapping[Form, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"logit": lambda x: x, "positive": softplus, "negative": lambda x: -softplus(-x)}
)
"""Eq. 3: log D - log(1 - D), the logit itself; -log(1 - D), never below 0; log D, never above 0."""


def valued_ends(
    reward: Float[Tensor, "M B"], terminated: Bool[Tensor, "M B"], absorbing: Float[Tensor, "M 1"], discount: float
) -> Float[Tensor, "M B"]:
    """Eq. 4: after the task's end the absorbing state's reward is paid for ever, discount / (1 - discount) times."""
    return reward + terminated * absorbing * (discount / (1 - discount))


# --- learner ---

ONLINE = (SAC(average=0.99998), SoftQ())
VARIABLE = (
    "gail with form {form!r} and without absorbing states pays for {aim}, whatever was demonstrated, and an episode "
    "was ended by the task: turn `absorbing` on, choose form 'logit', or set `allow_variable_horizon` "
    "(docs/learners/gail.md, Variable horizons)"
)


@dataclass(frozen=True)
class GAIL(Learner):
    """Generative adversarial imitation, off-policy: a reward from a discriminator, and a generator that earns it."""

    generator: Generator | None = None  # None: sac, or soft-q where actions are discrete
    batch_size: int = 256  # demonstrated steps an update, and as many of its own
    learning_rate: PerMember = 3e-4  # of the discriminator
    gradient_penalty: float = 10.0
    rehearse: bool = False  # the generator learns from demonstrated steps too, by what the discriminator thinks of them
    form: Form = "logit"
    absorbing: bool = True
    allow_variable_horizon: bool = False  # of a reward of one sign without absorbing states
    normalize: bool = True
    body: MLP = MLP((256, 256))
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r} must be one of {', '.join(map(repr, FORMS))}")
        if self.gradient_penalty < 0:
            raise ValueError(f"gradient_penalty {self.gradient_penalty}: must be 0 (none) or above")

    def reads(self) -> Experience:
        """Demonstrated steps and its own, as many of each. A biased reward refuses ends of either."""
        biased = not (self.absorbing or self.form == "logit" or self.allow_variable_horizon)
        aim = "living on" if self.form == "positive" else "an early end"
        refused = VARIABLE.format(form=self.form, aim=aim) if biased else ""
        return Experience(self.batch_size, self.batch_size, refused, refused)

    def usual(self) -> tuple[SAC, SoftQ]:
        """The generators."""
        return ONLINE

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """The generator and a discriminator. ValueError where the generator does not fit the actions."""
        generator = generator_for(self, spec.action)
        part = generator.init(spec, members=members, seed=seed, device=device)
        draws = apart(members, seed, DISCRIMINATOR)
        encoder = Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws)
        network = Discriminator(Score(encoder, spec.action, self.body, draws)).to(device)
        optimizers = {"discriminator": Adam(network, self.learning_rate, members=members)}
        return State.around(part, {"discriminator": network, "ends": Ends(members).to(device)}, optimizers)

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update of the discriminator, then of the generator by what it now thinks of the own steps."""
        (generator, part), network = of_part(self, state), discriminator_of(state)
        steps, shown = all_steps(batch)
        ends_of(state).see(steps.terminated, shown, state.step)
        loss, inputs, logits = self._judged(network, steps, shown)
        penalty = slope_penalty(state, network.score, inputs) if self.gradient_penalty else torch.zeros_like(loss)
        state.optimizers["discriminator"].step(loss + self.gradient_penalty * penalty)
        learned = steps if self.rehearse else batch.own
        metrics = generator.update(part, self._rewarded(state, learned, generator.discount))
        state.step += 1
        reward = FORMS[self.form](logits.detach())
        told = {"reward": reward[:, : -self.batch_size].mean(1), "own_reward": reward[:, -self.batch_size :].mean(1)}
        return verdicts(loss, logits, self.batch_size) | told | {"penalty": penalty.detach()} | renamed(metrics)

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 1, without the penalty."""
        return self._judged(discriminator_of(state), *all_steps(batch))[0]

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
        """Eq. 3: of the steps alone, whatever an end is worth."""
        return FORMS[self.form](discriminator_of(state).score(batch.observations, batch.actions))

    @torch.no_grad()
    def afterwards(self, state: State) -> Float[Tensor, "M"]:
        """Eq. 3 of the absorbing state."""
        value = FORMS[self.form](absorbing_logit(ends_of(state).shares)).squeeze(1)
        return value if self.absorbing else torch.zeros_like(value)

    def _judged(
        self, network: Discriminator, steps: TransitionBatch, shown: int
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M N W"], Float[Tensor, "M N"]]:
        """The loss; inputs and logits of all steps, the demonstrated ones first."""
        inputs = network.score.inputs(steps.observations, steps.actions)
        logits = network.score.judged(inputs)
        return discriminator_loss(logits[:, :shown], logits[:, shown:]), inputs, logits

    @torch.no_grad()
    def _rewarded(self, state: State, steps: TransitionBatch, discount: float) -> TransitionBatch:
        """The steps with Eq. 3 for rewards, and Eq. 4 where the task was over."""
        form = FORMS[self.form]
        reward = form(discriminator_of(state).score(steps.observations, steps.actions))
        if self.absorbing:
            reward = valued_ends(reward, steps.terminated, form(absorbing_logit(ends_of(state).shares)), discount)
        return replace(steps, rewards=reward)


def discriminator_of(state: State) -> Discriminator:
    """The discriminator of a learner that has one."""
    network = state.networks["discriminator"]
    assert isinstance(network, Discriminator)
    return network


def ends_of(state: State) -> Ends:
    """How often either side ends the task, of a learner that counts it."""
    ends = state.networks["ends"]
    assert isinstance(ends, Ends)
    return ends


def slope_penalty(state: State, score: Score, inputs: Float[Tensor, "M two_B W"]) -> Float[Tensor, "M"]:
    """The penalty between pairs of inputs, the demonstrated ones first, at places that the members' noise draws."""
    demonstrated, own = inputs.chunk(2, dim=1)
    return penalty_between(score.judged, demonstrated, own, fork(state.noise, BETWEEN), state.step)


def verdicts(loss: Float[Tensor, "M"], logits: Float[Tensor, "M N"], own: int) -> Metrics:
    """The loss, and the share of right verdicts, of which the last `own` are on own steps."""
    right = torch.cat([logits[:, :-own] > 0, logits[:, -own:] < 0], 1)
    return {"loss": loss.detach(), "accuracy": right.float().mean(1)}


def renamed(metrics: Metrics) -> Metrics:
    """The generator's metrics, its loss by another name."""
    return {"critic_loss" if name == "loss" else name: value for name, value in metrics.items()}


PRESETS: dict[str, GAIL] = {}

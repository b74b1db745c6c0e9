"""CSIL: a cloned policy tells what the demonstrator prefers, and is then improved by that reward in the environment.

Watson, Huang and Heess 2023, "Coherent Soft Imitation Learning", NeurIPS, arXiv 2305.16498, sections 4 and 5.

Uses: Eq. 1, the reward for which the cloned policy is optimal; Eq. 2, what the clone learns by; Eq. 3, the penalty on
the critics' slopes at demonstrated actions; Eq. 4, the reward that has soft actor-critic stay near the clone; Eq. 5,
what refines the reward. The clone returns to a prior where it was shown nothing (`nets/stationary.py`), so that what is
unknown is worth about 0, and to act unlike the demonstrator where it is known costs.
**Departures**: the reward is held above a floor. The critics' first values are learned with actions of the clone at
what followed, in place of the recorded ones, and with targets that follow faster. Values are not clipped. The reward
is refined far more slowly. Demonstrated ends of the task are refused, as the reward pays for what puts an end off.
"""

import copy
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch, all_steps
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State, stage_now
from demonstrably.learners.policies import ActorPolicy, actor_of, log_density_of
from demonstrably.learners.sac import SAC, critic_loss
from demonstrably.nets.actor import Actor
from demonstrably.nets.average import follow
from demonstrably.nets.critics import Critics
from demonstrably.nets.discriminator import slopes
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.linear import generators
from demonstrably.nets.stationary import Spread, Stationary
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Spec

CLONING, JUDGING, ACTING = range(3)  # stages
CATCHING_UP = 0.05  # rate at which the critics' targets follow while nothing but they is learned
FLAT = 1e-12  # where all slopes are 0 their root has no slope of its own
LOWEST = 5.0  # Eq. 5 is flat beyond this many below 0, where it would grow without end

# --- losses ---


def coherent_reward(log_density: Float[Tensor, "M B"], actions: int, floor: float) -> Float[Tensor, "M B"]:
    """Eq. 1: (log q(a | s) - log p(a)) / |A|, not below -floor, with p uniform over |A| actions in [-1, 1]."""
    return ((log_density + actions * math.log(2)) / actions).clamp(min=-floor)


def cloning_loss(clone: Actor, batch: TransitionBatch) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
    """Eq. 2: E[(tanh(mean) - a)^2] - E[log q(a | s)], and its first term.

    The likelihood is of the deviation alone: neither the mean nor the features learn by it ("faithful" regression,
    Stirn et al. 2023, arXiv 2212.09184).
    """
    assert clone.scaling and isinstance(clone.last, Spread)
    target = clone.scaling.inward(batch.actions)
    mean, deviation = clone.last(clone.body(clone.encoder(batch.observations)), apart=True).chunk(2, -1)
    error = (torch.tanh(mean) - target).square().mean((1, 2))
    surprise = clone.head.loss(torch.cat([mean.detach(), deviation], -1), target)
    return error + surprise.mean(1), error


def slope_penalty(slopes: Float[Tensor, "M B A"]) -> Float[Tensor, "M"]:
    """Eq. 3: E[|dQ / da|^2]^(1/2) at demonstrated actions, which are to be the best of their neighbors."""
    return (slopes.square().sum(-1).mean(1) + FLAT).sqrt()


def near_clone(
    reward: Float[Tensor, "M B"], cloned: Float[Tensor, "M B"], actions: int, temperature: float
) -> Float[Tensor, "M B"]:
    """Eq. 4: r + temperature log q(a | s), from Eq. 1 of the clone, `cloned`.

    A learner that maximizes E[this - temperature log pi] maximizes E[r] - temperature KL(pi | q).
    """
    return reward + temperature * actions * (cloned - math.log(2))


def refinement_loss(shown: Float[Tensor, "M B"], own: Float[Tensor, "M N"]) -> Float[Tensor, "M"]:
    """Eq. 5: - E_shown[r] + E_own[exp(-r) - 1 + r], whose second part is least where own steps are worth 0."""
    own = own.clamp(min=-LOWEST)
    return (torch.exp(-own) - 1 + own).mean(1) - shown.mean(1)


# --- learner ---

ONLINE = SAC(1e-3, 3e-4, temperature=0.05, layer_norm=True, average=0.99998, normalize=True)
VARIABLE = (
    "csil pays for what looks as demonstrated and nothing after an end, so that a policy learns to put the end off, "
    "and demonstrated episodes were ended by the task: choose iq-learn with the preset ls-iq, or gail, which value "
    "ends, or set `allow_variable_horizon` (docs/learners/csil.md, Variable horizons)"
)


@dataclass(frozen=True)
class CSIL(Learner):
    """Coherent soft imitation learning: behavioral cloning, then soft actor-critic on the clone's own reward."""

    generator: SAC | None = None  # None: sac with layer normalization, as fits
    batch_size: int = 256  # demonstrated steps an update, and as many of its own
    cloning: int = 3_000  # updates of the clone, before all others
    judging: int = 2_000  # updates of the critics alone that follow, on demonstrated steps
    learning_rate: PerMember = 1e-3  # of the clone
    refinement: float = 3e-5  # learning rate at which the reward goes on to be learned (Eq. 5); 0: it stays
    floor: float = 5.0  # the lowest reward is minus this
    gradient_penalty: float = 1.0  # weight of Eq. 3
    allow_variable_horizon: bool = False  # of demonstrations
    normalize: bool = True
    body: Stationary = Stationary()  # of the actor, the clone and the reward
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        if min(self.cloning, self.judging) < 1:
            raise ValueError(f"cloning {self.cloning} and judging {self.judging} must be at least 1 update each")
        for name in ("refinement", "gradient_penalty"):
            if vars(self)[name] < 0:
                raise ValueError(f"{name} {vars(self)[name]}: give 0 (none) or above")
        if not self.floor > 0:
            raise ValueError(f"floor {self.floor} must be above 0: the lowest reward is minus it")
        if self._generator.temperature is None:
            raise ValueError("csil needs a generator with a fixed temperature, such as sac(temperature=0.05)")

    def reads(self) -> Experience:
        """Demonstrated steps, and after the first stages as many of its own."""
        refused = "" if self.allow_variable_horizon else VARIABLE
        return Experience(self.batch_size, self.batch_size, unended=refused, ahead=self.cloning + self.judging)

    def usual(self) -> tuple[SAC]:
        """The generator."""
        return (ONLINE,)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """The clone, the reward, and the generator about an actor like them. ValueError for discrete actions."""
        if not isinstance(spec.action, Continuous):
            raise ValueError("csil needs continuous actions, and these are discrete: use iq-learn or sqil")
        draws = generators(members, seed)
        encoders = [
            Encoder(spec.observations, self.vision, normalize=normalize, draws=draws)
            for normalize in (self.normalize, self._generator.normalize)
        ]
        body = self.body.build(encoders[0].outputs, draws)
        last = Spread(body.outputs, spec.action.dim, draws)
        clone = Actor(spec, encoders[0], body, TanhGaussian(), draws, last).to(device)
        reward, actor = copy.deepcopy(clone), copy.deepcopy(clone)
        part = self._generator.around(actor, encoders[1], spec.action, members=members, seed=seed, device=device)
        optimizers = {
            "clone": Adam(clone, self.learning_rate, members=members),
            "reward": Adam(reward, self.refinement, members=members),
        }
        return State.around(part, {"clone": clone, "reward": reward}, optimizers)

    def stage(self, step: int) -> int:
        """Cloning, judging or acting."""
        return CLONING if step < self.cloning else JUDGING if step < self.cloning + self.judging else ACTING

    def step(self, state: State, batch: ExperienceBatch) -> Metrics:
        """One update of what the stage is for."""
        stage = stage_now(self, state)
        metrics = self._clone(state, batch) if stage == CLONING else self._improve(state, batch, stage)
        state.step += 1
        return metrics

    def loss(self, state: State, batch: ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2."""
        assert batch.demonstrated
        return cloning_loss(actor_of(state, "clone"), batch.demonstrated)[0]

    def policy(self, state: State) -> ActorPolicy:
        """The generator's, without its chance."""
        return self._generator.policy(state.parts["generator"])

    def explore(self, state: State) -> ActorPolicy:
        """The generator's."""
        return self._generator.explore(state.parts["generator"])

    @torch.no_grad()
    def reward(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """Eq. 1."""
        return self._paid(actor_of(state, "reward"), batch)

    @property
    def _generator(self) -> SAC:
        return self.generator or ONLINE

    def _clone(self, state: State, batch: ExperienceBatch) -> Metrics:
        """The clone; all that begins as it does keeps up."""
        assert batch.demonstrated
        clone, part = actor_of(state, "clone"), state.parts["generator"]
        loss, error = cloning_loss(clone, batch.demonstrated)
        state.optimizers["clone"].step(loss)
        for copied in (actor_of(state, "reward"), actor_of(part), self._generator.policy(part).actor):
            follow(copied, clone, 1.0)
        return _metrics(loss, error=error)

    def _improve(self, state: State, batch: ExperienceBatch, stage: int) -> Metrics:
        """The reward, the critics, and the actor, as far as the stage has come."""
        part, read = state.parts["generator"], batch.demonstrated if stage == JUDGING else batch
        assert read
        steps, shown = all_steps(read)
        if stage == ACTING and self.refinement:
            found = self._paid(actor_of(state, "reward"), steps)
            state.optimizers["reward"].step(refinement_loss(found[:, :shown], found[:, shown:]))
        reward = self.reward(state, steps)
        loss, value = self._critic_loss(state, steps, shown, reward)
        part.optimizers["critic"].step(loss)
        told = {"reward": reward[:, :shown].mean(1), "value": value}
        if stage == JUDGING:
            follow(part.networks["target"], part.networks["critic"], CATCHING_UP)
            part.step += 1
        else:
            self._generator.improve(part, steps.observations)
            told["own_reward"] = reward[:, shown:].mean(1)
        return _metrics(loss, **told)

    def _critic_loss(
        self, state: State, steps: TransitionBatch, shown: int, reward: Float[Tensor, "M B"]
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M"]]:
        """The generator's, of Eq. 4, with the penalty of Eq. 3; and the mean value."""
        generator, part = self._generator, state.parts["generator"]
        critics, scaling = part.networks["critic"], actor_of(part).scaling
        assert isinstance(critics, Critics) and scaling and generator.temperature is not None
        with torch.no_grad():
            cloned = reward if not self.refinement else self._paid(actor_of(state, "clone"), steps)
            paid = near_clone(reward, cloned, steps.actions.shape[-1], generator.temperature)
            target = paid + generator.discount * generator.following(part, steps)
        features, actions = critics.encoder(steps.observations), scaling.inward(steps.actions)
        values = critics.values(features, actions)
        loss = critic_loss(values, target)
        if self.gradient_penalty:
            seen = features[:, :shown]
            steep = slopes(lambda acted: critics.values(seen, acted).mean(1), actions[:, :shown])
            loss = loss + self.gradient_penalty * slope_penalty(steep)
        return loss, values.detach().mean((1, 2))

    def _paid(self, network: Actor, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """Eq. 1 of a network like the clone."""
        return coherent_reward(log_density_of(network, batch), batch.actions.shape[-1], self.floor)


def _metrics(loss: Float[Tensor, "M"], **found: Float[Tensor, "M"]) -> Metrics:
    """The same in every stage: 0 where there is nothing to tell."""
    names = ("error", "reward", "own_reward", "value")
    return {"loss": loss.detach()} | {n: found.get(n, torch.zeros_like(loss)).detach() for n in names}


PRESETS: dict[str, CSIL] = {}

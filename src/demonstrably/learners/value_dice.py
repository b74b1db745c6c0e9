"""ValueDICE: match the demonstrator's occupancy by its ratio to the policy's, which one network of values implies.

Kostrikov, Nachum and Tompson 2020, "Imitation Learning via Off-Policy Distribution Matching", ICLR, arXiv 1912.05032,
sections 4 and 5.

Uses: Eq. 1, the log-ratio of occupancies that values nu imply; Eq. 2, the objective that nu minimizes and the policy
maximizes (their J_DICE, over a mixture with own steps where it is online, their section 5.3); Eq. 3, how much each
step counts where tasks end; Eq. 4, the penalty on nu's slopes (`nets/discriminator.py`); Eq. 5, that on the
policy's layers (`nets/penalty.py`).
**Departures**: an absorbing state is one learned number, and an end of the task counts its self-loop with the weight
discount / (1 - discount) of all discounted steps there, in place of a few recorded ones. A time-out is bootstrapped.
Exploration draws from the policy, where the authors' code adds noise to its mean. Offline the penalty's points lie
between demonstrated steps and what the policy does after others. Layers start as everywhere here, not orthogonal. As in
the paper, the logarithm of a batch's mean is a biased estimate.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from demonstrably.data.batches import (
    Experience,
    ExperienceBatch,
    Observations,
    TransitionBatch,
    Transitions,
    all_steps,
    beside,
)
from demonstrably.learners.adam import Adam, PerMember
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.policies import ActorPolicy, actor_of, drawn, exploring
from demonstrably.nets.actor import Actor
from demonstrably.nets.critics import held
from demonstrably.nets.discriminator import Score, penalty_between
from demonstrably.nets.encoder import Encoder
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.linear import generators
from demonstrably.nets.mlp import MLP
from demonstrably.nets.penalty import orthogonal_penalty
from demonstrably.nets.random import fork
from demonstrably.nets.scalar import Scalar
from demonstrably.nets.vision import SmallCNN
from demonstrably.spec import Continuous, Spec

ACTIONS, BETWEEN = 1, 2  # forks of a member's noise: the policy's actions, and where the penalty is taken

# --- losses ---


def log_ratio(chosen: Float[Tensor, "M B"], following: Float[Tensor, "M B"], discount: float) -> Float[Tensor, "M B"]:
    """Eq. 1: log d_policy / d_expert = nu(s, a) - discount nu(s', a') but for a constant, at the best nu."""
    return chosen - discount * following


def dual_objective(
    ratio: Float[Tensor, "M N"], weight: Float[Tensor, "M N"], spent: Float[Tensor, "M"]
) -> Float[Tensor, "M"]:
    """Eq. 2: log E[exp(ratio)] - what is spent; the weights sum to 1. At the best nu it is - KL(policy, expert)."""
    return torch.logsumexp(ratio + weight.log(), 1) - spent


def occupancy(ended: Bool[Tensor, "M B"], after: float) -> Float[Tensor, "M B+1"]:
    """Eq. 3: the share of each step, and last that of the absorbing state: `after` steps an end of the task."""
    counted = torch.cat([torch.ones_like(ended, dtype=torch.float32), after * ended.sum(1, keepdim=True)], 1)
    return counted / counted.sum(1, keepdim=True)


# --- learner ---


@dataclass(frozen=True)
class ValueDICE(Learner):
    """Distribution matching, from demonstrations alone or with experience of its own (`online`)."""

    online: bool = False
    learning_rate: PerMember = 1e-3  # of nu
    actor_learning_rate: PerMember = 1e-5
    batch_size: int = 256  # demonstrated steps an update, and as many of its own where it is online
    discount: float = 0.99
    mixture: float = 0.1  # share of its own steps where it is online
    initial: Literal["steps", "first"] = "steps"  # where the policy begins: at any demonstrated step, or first ones
    absorbing: bool = True  # the end of the task leads to an absorbing state; False: it is worth 0
    gradient_penalty: float = 10.0  # weight of Eq. 4
    orthogonal: float = 1e-4  # weight of Eq. 5
    normalize: bool = True
    body: MLP = MLP((256, 256))
    vision: SmallCNN = SmallCNN(crop=1.0)

    def __post_init__(self) -> None:
        for name in ("discount", "mixture"):
            if not 0 < (share := vars(self)[name]) < 1:
                raise ValueError(f"{name} {share}: must be in (0, 1)")
        for name in ("gradient_penalty", "orthogonal"):
            if (weight := vars(self)[name]) < 0:
                raise ValueError(f"{name} {weight}: give 0 or above")
        if self.mixture != ValueDICE.mixture and not self.online:
            raise ValueError(f"mixture {self.mixture}: a share of own steps, which are there with `online` alone")
        if self.initial not in ("steps", "first"):
            raise ValueError(f"initial {self.initial!r} must be 'steps' or 'first'")

    def reads(self) -> Transitions | Experience:
        """Demonstrated steps with what followed, and as many of its own where it is online."""
        return Experience(self.batch_size, self.batch_size) if self.online else Transitions(self.batch_size)

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """An actor and nu. ValueError for discrete actions."""
        if not isinstance(spec.action, Continuous):
            raise ValueError("value-dice needs continuous actions, and these are discrete: use iq-learn or sqil")
        draws = generators(members, seed)
        encoders = [Encoder(spec.observations, self.vision, normalize=self.normalize, draws=draws) for _ in range(2)]
        body = self.body.build(encoders[0].outputs, draws)
        actor = Actor(spec, encoders[0], body, TanhGaussian(), draws).to(device)
        values = Values(Score(encoders[1], spec.action, self.body, draws), members).to(device)
        optimizers = {
            "values": Adam(values, self.learning_rate, members=members),
            "actor": Adam(actor, self.actor_learning_rate, members=members),
        }
        return State.of({"actor": actor, "values": values}, optimizers, members=members, seed=seed, device=device)

    def step(self, state: State, batch: TransitionBatch | ExperienceBatch) -> Metrics:
        """One update of nu, then of the policy."""
        (steps, shown), values, actor = all_steps(batch), _values(state), actor_of(state)
        acted = self._drawn(state, steps, shown)
        objective = self._objective(state, steps, shown, acted.detach())
        penalty = self._penalty(state, steps, shown, acted.detach())
        state.optimizers["values"].step(objective + self.gradient_penalty * penalty)
        with held(values):
            divergence = -self._objective(state, steps, shown, acted)
            state.optimizers["actor"].step(divergence + self.orthogonal * orthogonal_penalty(actor))
        state.step += 1
        return {"loss": objective.detach(), "divergence": divergence.detach(), "penalty": penalty.detach()}

    def loss(self, state: State, batch: TransitionBatch | ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2."""
        steps, shown = all_steps(batch)
        return self._objective(state, steps, shown, self._drawn(state, steps, shown))

    def policy(self, state: State) -> ActorPolicy:
        """The squashed mean."""
        return ActorPolicy(actor_of(state).spec, actor_of(state))

    def explore(self, state: State) -> ActorPolicy:
        """Draws from the squashed Gaussian."""
        return ActorPolicy(actor_of(state).spec, actor_of(state), exploring)

    @torch.no_grad()
    def reward(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """log d_expert / d_policy but for a constant: the negative of Eq. 1. What still tells the two apart."""
        actions = torch.cat([batch.actions, _draw(state, batch.next_observations)], 1)
        seen = beside(batch.observations, batch.next_observations)
        chosen, following = _values(state).score(seen, actions).chunk(2, 1)
        return -log_ratio(chosen, self._after(state, following, batch.terminated), self.discount)

    @torch.no_grad()
    def afterwards(self, state: State) -> Float[Tensor, "M"]:
        """The same of the absorbing state's loop."""
        value = -(1 - self.discount) * _values(state).absorbing().squeeze(1)
        return value if self.absorbing else torch.zeros_like(value)

    def _objective(
        self, state: State, steps: TransitionBatch, shown: int, acted: Float[Tensor, "M N A"]
    ) -> Float[Tensor, "M"]:
        """Eq. 2, for what the policy does after the steps and where it begins."""
        count = steps.terminated.shape[1]
        seen = beside(steps.observations, steps.next_observations, self._first(steps, shown))
        found = _values(state).score(seen, torch.cat([steps.actions, acted], 1))
        chosen, following, begun = found.tensor_split((count, 2 * count), 1)
        ratio = log_ratio(chosen, self._after(state, following, steps.terminated), self.discount)
        staying = (1 - self.discount) * _values(state).absorbing()
        after = self.discount / (1 - self.discount) if self.absorbing else 0.0
        ratios = torch.cat([ratio[:, :shown], staying], 1)
        weights = occupancy(steps.terminated[:, :shown], after)
        spent = (1 - self.discount) * begun.mean(1)
        if shown < count:
            own, own_weights = torch.cat([ratio[:, shown:], staying], 1), occupancy(steps.terminated[:, shown:], after)
            spent = (1 - self.mixture) * spent + self.mixture * (own_weights * own).sum(1)
            ratios = torch.cat([ratios, own], 1)
            weights = torch.cat([(1 - self.mixture) * weights, self.mixture * own_weights], 1)
        return dual_objective(ratios, weights, spent)

    def _penalty(
        self, state: State, steps: TransitionBatch, shown: int, acted: Float[Tensor, "M N A"]
    ) -> Float[Tensor, "M"]:
        """Eq. 4, at points between two sets of steps and of what follows them."""
        score, count = _values(state).score, steps.terminated.shape[1]
        seen = beside(steps.observations, steps.next_observations)
        inputs = score.inputs(seen, torch.cat([steps.actions, acted[:, :count]], 1)).unflatten(1, (2, count))
        here = inputs[:, :, :shown].flatten(1, 2)
        there = inputs[:, :, shown:].flatten(1, 2) if shown < count else here.flip(1)
        return penalty_between(score.judged, here, there, fork(state.noise, BETWEEN), state.step)

    def _after(self, state: State, following: Float[Tensor, "M B"], ended: Bool[Tensor, "M B"]) -> Float[Tensor, "M B"]:
        """The following values, at an end of the task that of the absorbing state, or 0."""
        end = _values(state).absorbing() if self.absorbing else torch.zeros_like(following)
        return torch.where(ended, end, following)

    def _first(self, steps: TransitionBatch, shown: int) -> Observations:
        """Where the policy begins."""
        if self.initial == "first":
            return steps.first
        return {key: value[:, :shown] for key, value in steps.observations.items()}

    def _drawn(self, state: State, steps: TransitionBatch, shown: int) -> Float[Tensor, "M N A"]:
        """The policy's actions after the steps, then where it begins."""
        return _draw(state, beside(steps.next_observations, self._first(steps, shown)))


def _draw(state: State, observations: Observations) -> Float[Tensor, "M N A"]:
    """An action of the policy for each observation, differentiable."""
    actor = actor_of(state)
    assert actor.scaling
    return actor.scaling.outward(drawn(actor, observations, fork(state.noise, ACTIONS), state.step)[0])


class Values(nn.Module):
    """nu: a score of steps, and one number for the absorbing state."""

    def __init__(self, score: Score, members: int):
        super().__init__()
        self.score, self.absorbing = score, Scalar(0.0, members)


def _values(state: State) -> Values:
    values = state.networks["values"]
    assert isinstance(values, Values)
    return values


PRESETS: dict[str, ValueDICE] = {}

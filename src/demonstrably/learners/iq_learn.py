"""IQ-Learn: one soft Q-function, trained on demonstrations, is both the policy and the reward.

Garg et al. 2021, "IQ-Learn: Inverse soft-Q Learning for Imitation", NeurIPS, arXiv 2106.12142, sections 4 and 5.

Uses: Eq. 1, the reward that a Q-function implies (the inverse soft Bellman operator); Eq. 2, the inverse soft-Q
objective with its concave function (`nets/divergences.py`); Eq. 3, the forms of its second term; Eq. 4, the penalty on
rewards; Eq. 5, the value of an absorbing state, and Eq. 6, bounds on values, both after Al-Hafez et al. 2023, "LS-IQ",
arXiv 2303.00599, section 4.
**Departures**: worked from the papers' equations. A time-out is bootstrapped and never taken for a death. Initial
states are the episodes' own first ones. LS-IQ pays the absorbing state by who came there, Eq. 5 by how often either
does. The reference code is licensed for individual research only, and a patent is
claimed on the method.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch, Transitions, all_steps
from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.learners.generator import Generator, generator_for, of_part
from demonstrably.learners.policies import ActorPolicy, actor_of
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.nets.critics import Critics
from demonstrably.nets.discriminator import penalty_between
from demonstrably.nets.divergences import ChiSquare, Divergence, TotalVariation
from demonstrably.nets.ends import Ends
from demonstrably.nets.random import fork
from demonstrably.spec import Spec

BETWEEN = 4  # fork of the generator's noise, beside those of sac.py: places between steps

# --- losses ---


def implied_reward(
    chosen: Float[Tensor, "M C B"], following: Float[Tensor, "M #C B"], discount: float
) -> Float[Tensor, "M C B"]:
    """Eq. 1: r(s, a) = Q(s, a) - discount V(s'), where V is 0 after the task's end."""
    return chosen - discount * following


def inverse_loss(
    reward: Float[Tensor, "M C B"], spent: Float[Tensor, "M C N"], divergence: Divergence
) -> Float[Tensor, "M C"]:
    """Eq. 2: - E_expert[phi(r)] + the value that any policy would earn by that reward (Eq. 3)."""
    return spent.mean(-1) - divergence.concave(reward).mean(-1)


def value_of_steps(
    value: Float[Tensor, "M C B"], following: Float[Tensor, "M #C B"], discount: float
) -> Float[Tensor, "M C B"]:
    """Eq. 3, over the steps of any policy: V(s) - discount V(s'); its mean is (1 - discount) E[V(s_0)]."""
    return value - discount * following


def reward_penalty(reward: Float[Tensor, "M C B"], strength: float) -> Float[Tensor, "M C"]:
    """Eq. 4: E[r^2] / (4 strength), over the steps of any policy."""
    return reward.square().mean(-1) / (4 * strength)


def absorbing_value(ends: Float[Tensor, "M 2"], most: float) -> Float[Tensor, "M 1"]:
    """Eq. 5: most (e - o) / (e + o), with e and o the shares of demonstrated and own steps that end the task.

    An absorbing state follows such a step for ever. This is what it is worth by the reward that minimizes Eqs. 2 and 4
    there, 2 strength (e - o) / (e + o), where `most` is 2 strength / (1 - discount).
    """
    shown, own = ends[:, :1], ends[:, 1:]
    return most * (shown - own) / (shown + own).clamp(min=1e-8)


def held_within(
    following: Float[Tensor, "M 1 B"], terminated: Bool[Tensor, "M B"], absorbing: Float[Tensor, "M 1"], most: float
) -> Float[Tensor, "M 1 B"]:
    """Eq. 6: the value that follows, within `most` either way, and that of the absorbing state after the task's end."""
    inside = following.clamp(-most, most)
    return torch.where(terminated.unsqueeze(1), absorbing.unsqueeze(1), inside)


# --- learner ---

OFFLINE = (
    SAC(temperature=0.01, critics=1, normalize=True),
    SoftQ(learning_rate=1e-4, temperature=0.01, target_rate=None, average=0.999, normalize=True),
)
ONLINE = (
    SAC(learning_rate=1e-3, actor_learning_rate=3e-4, temperature=0.05, average=0.99998),
    SoftQ(temperature=0.01),
)
VARIABLE = (
    "iq-learn online with value 'initial' earns above 0 at every step and nothing after an end, so that a policy "
    "learns to put the end off, and demonstrated episodes were ended by the task: choose the preset ls-iq, which "
    "values ends, or set `allow_variable_horizon` (docs/learners/iq-learn.md, Variable horizons)"
)


@dataclass(frozen=True)
class IQLearn(Learner):
    """Inverse soft-Q learning, from demonstrations alone or with experience of its own (`online`)."""

    online: bool = False
    batch_size: int = 64  # demonstrated steps an update, and as many of its own where it is online
    generator: Generator | None = None  # None: sac, or soft-q where actions are discrete, as fits `online`
    divergence: Divergence = ChiSquare()
    # Where Eq. 3 is taken: all steps read, the demonstrated ones of them, or first observations
    value: Literal["steps", "demonstrated", "initial"] = "steps"
    penalty: float | None = None  # strength of Eq. 4 over all steps read; None: none besides the divergence's own
    bounded: float | None = None  # Eqs. 5 and 6: the size of rewards that values can sum up; usually 2 `penalty`
    gradient_penalty: float = 0.0  # on slopes of Q between demonstrated and own steps; for continuous actions, online
    allow_variable_horizon: bool = False  # of demonstrations, online with value 'initial'

    def __post_init__(self) -> None:
        if self.value not in ("steps", "demonstrated", "initial"):
            raise ValueError(f"value {self.value!r} must be 'steps', 'demonstrated' or 'initial'")
        if self.gradient_penalty < 0 or (self.gradient_penalty and not self.online):
            raise ValueError(f"gradient_penalty {self.gradient_penalty}: 0 or above, and 0 without `online`")
        if self.bounded is not None and not (self.online and self.value == "steps"):
            set_so = f"value {self.value!r}" if self.online else "without `online`"
            raise ValueError(f"{set_so}: not with bounded {self.bounded}, which needs `online`, value 'steps'")
        for name in ("penalty", "bounded"):
            if (given := vars(self)[name]) is not None and given <= 0:
                raise ValueError(f"{name} {given}: must be above 0, or none")

    def reads(self) -> Transitions | Experience:
        """Demonstrated steps with what followed, and as many of its own where it is online."""
        if not self.online:
            return Transitions(self.batch_size)
        biased = self.value == "initial" and not self.allow_variable_horizon
        return Experience(self.batch_size, self.batch_size, unended=VARIABLE if biased else "")

    def usual(self) -> tuple[SAC, SoftQ]:
        """The generators."""
        return ONLINE if self.online else OFFLINE

    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """The generator's networks. ValueError where it does not fit the actions."""
        generator = generator_for(self, spec.action)
        if self.gradient_penalty and not isinstance(generator, SAC):
            raise ValueError("gradient_penalty is for continuous actions, and these are discrete: leave it at 0")
        part = generator.init(spec, members=members, seed=seed, device=device)
        return State.around(part, {} if self.bounded is None else {"ends": Ends(members).to(device)}, {})

    def step(self, state: State, batch: TransitionBatch | ExperienceBatch) -> Metrics:
        """One update of the Q-function, then of the policy."""
        (generator, part), (steps, shown) = self._inside(state), all_steps(batch)
        if self.bounded is not None:
            _ends(state).see(steps.terminated, shown, state.step)
        loss, reward = self._objective(generator, state, steps, shown)
        if self.gradient_penalty:
            loss = loss + self.gradient_penalty * _slope_penalty(part, steps, shown)
        part.optimizers["critic"].step(loss)
        metrics = generator.improve(part, steps.observations)
        state.step += 1
        return {"loss": loss.detach()} | _rewards(reward.detach(), shown) | metrics

    def loss(self, state: State, batch: TransitionBatch | ExperienceBatch) -> Float[Tensor, "M"]:
        """Eq. 2."""
        return self._objective(self._inside(state)[0], state, *all_steps(batch))[0]

    def policy(self, state: State) -> ActorPolicy:
        """The generator's, without its chance."""
        generator, part = self._inside(state)
        return generator.policy(part)

    def explore(self, state: State) -> ActorPolicy:
        """The generator's."""
        generator, part = self._inside(state)
        return generator.explore(part)

    @torch.no_grad()
    def reward(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """Eq. 1, the mean over the critics."""
        generator, part = self._inside(state)
        chosen, _ = generator.judged(part, batch, batch.observations)
        following = self._following(generator, state, batch)
        return implied_reward(chosen, following, generator.discount).mean(1)

    def afterwards(self, state: State) -> Float[Tensor, "M"]:
        """Eq. 5: the reward of the absorbing state."""
        if self.bounded is None:
            return torch.zeros(len(state.keys), device=state.keys.device)
        return absorbing_value(_ends(state).shares, self.bounded).squeeze(1)

    def _objective(
        self, generator: Generator, state: State, steps: TransitionBatch, shown: int
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M C B"]]:
        """Eq. 2, and the reward of all steps, of which the first `shown` are demonstrated."""
        part = state.parts["generator"]
        chosen, value = generator.judged(part, steps, steps.first if self.value == "initial" else steps.observations)
        following = self._following(generator, state, steps)
        reward = implied_reward(chosen, following, generator.discount)
        if self.value == "initial":
            spent = (1 - generator.discount) * value
        else:
            taken = shown if self.value == "demonstrated" else None
            spent = value_of_steps(value, following, generator.discount)[..., :taken]
        loss = inverse_loss(reward[..., :shown], spent, self.divergence)
        if self.penalty is not None:
            loss = loss + reward_penalty(reward, self.penalty)
        return loss.sum(1), reward

    def _following(self, generator: Generator, state: State, steps: TransitionBatch) -> Float[Tensor, "M 1 B"]:
        """V at the next observations."""
        following = generator.following(state.parts["generator"], steps).unsqueeze(1)
        if self.bounded is None:
            return following
        most = self.bounded / (1 - generator.discount)
        return held_within(following, steps.terminated, absorbing_value(_ends(state).shares, most), most)

    def _inside(self, state: State) -> tuple[Generator, State]:
        return of_part(self, state)


def _slope_penalty(part: State, steps: TransitionBatch, shown: int) -> Float[Tensor, "M"]:
    """On the slopes of the critics' mean, between pairs of a demonstrated and an own step."""
    critics, scaling = part.networks["critic"], actor_of(part).scaling
    assert isinstance(critics, Critics) and scaling
    features = critics.encoder(steps.observations)
    inputs = torch.cat([features, scaling.inward(steps.actions)], -1)
    widths = [features.shape[-1], inputs.shape[-1] - features.shape[-1]]
    return penalty_between(
        lambda inputs: critics.values(*inputs.split(widths, -1)).mean(1),
        inputs[:, :shown],
        inputs[:, shown:],
        fork(part.noise, BETWEEN),
        part.step,
    )


def _ends(state: State) -> Ends:
    ends = state.networks["ends"]
    assert isinstance(ends, Ends)
    return ends


def _rewards(reward: Float[Tensor, "M C B"], shown: int) -> Metrics:
    found = {"reward": reward[..., :shown].mean((1, 2))}
    return found | ({"own_reward": reward[..., shown:].mean((1, 2))} if shown < reward.shape[2] else {})


PRESETS = {
    # Garg et al.'s own setting for Hopper, Walker2d and Humanoid: Eq. 4 over all steps in place of chi-squared
    "online": IQLearn(online=True, batch_size=256, divergence=TotalVariation(), value="initial", penalty=0.5),
    # Al-Hafez et al.: Eq. 3 over all steps, with Eqs. 5 and 6
    "ls-iq": IQLearn(online=True, batch_size=256, divergence=TotalVariation(), penalty=0.5, bounded=1.0),
}

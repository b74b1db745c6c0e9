"""How an actor network acts, with whatever memory its body has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor

from demonstrably.data.batches import Observations, TransitionBatch
from demonstrably.learners.contract import Carry, Policy, State
from demonstrably.nets.actor import Actor
from demonstrably.nets.heads import Categorical, TanhGaussian
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.random import normal, streams, uniform
from demonstrably.spec import Spec

# From an actor, its body's outputs (M, B, width), and a stream and an age for each row, to actions (M, B, ...).
Choice = Callable[[Actor, Tensor, Tensor, Tensor], Tensor]


def usual(
    actor: Actor, hidden: Float[Tensor, "M B width"], keys: Int64[Tensor, "M B"], ages: Int64[Tensor, "M B"]
) -> Num[Tensor, "M B *action"]:
    """As the actor's head acts: with little chance or none."""
    return actor.act(hidden, uniform(keys, ages, actor.noise))


def exploring(
    actor: Actor, hidden: Float[Tensor, "M B width"], keys: Int64[Tensor, "M B"], ages: Int64[Tensor, "M B"]
) -> Num[Tensor, "M B *action"]:
    """A draw from the squashed Gaussian of a continuous actor."""
    assert isinstance(actor.head, TanhGaussian) and actor.scaling, "a squashed Gaussian is what it draws from"
    outputs = actor.outputs(hidden)
    return actor.scaling.outward(actor.head.draw(outputs, normal(keys, ages, outputs.shape[-1] // 2))[0])


def drawn(
    actor: Actor, observations: Observations, noise: Int64[Tensor, "M"], step: Int64[Tensor, ""]
) -> tuple[Float[Tensor, "M B A"], Float[Tensor, "M B"]]:
    """An action of a squashed Gaussian for each observation, scaled to [-1, 1], and its log-density."""
    outputs = actor.outputs(actor.body(actor.encoder(observations)))
    rows, width = outputs.shape[1], outputs.shape[2] // 2
    assert isinstance(actor.head, TanhGaussian)
    return actor.head.draw(outputs, normal(noise, step, rows * width).view(-1, rows, width))


def log_density_of(actor: Actor, batch: TransitionBatch) -> Float[Tensor, "M B"]:
    """log pi(a | s) of the batch's actions as the actor's loss, a likelihood, has them."""
    return -actor.loss(actor.body(actor.encoder(batch.observations)), batch.actions)


def softmax(temperature: float) -> Choice:
    """A draw from the softmax of an actor's values at a temperature; the highest at 0."""
    head = Categorical(temperature)

    def drawn(actor: Actor, hidden: Tensor, keys: Tensor, ages: Tensor) -> Tensor:
        return head.act(actor.outputs(hidden), uniform(keys, ages, 1))

    return drawn


@dataclass(frozen=True)
class ActorPolicy(Policy):
    """Acts by an `Actor`. The carry holds the episode's random stream, its age in steps, and the body's memory."""

    spec: Spec
    actor: Actor
    choose: Choice = usual

    @property
    def members(self) -> int:
        """Members of the population."""
        return self.actor.last.weight.shape[0]

    def start(self, seeds: Int64[Tensor, "M B"]) -> Carry:
        """The body's memory at the start, and the streams that the seeds begin."""
        device, (members, batch) = self.actor.last.weight.device, seeds.shape
        keys = streams(seeds.to(device))
        return {"key": keys, "age": torch.zeros_like(keys), **self.actor.body.start(members, batch, device)}

    @torch.inference_mode()
    def act(self, observation: Observations, carry: Carry) -> tuple[Num[Tensor, "M B *action"], Carry]:
        """One step."""
        memory = {name: value for name, value in carry.items() if name not in ("key", "age")}
        hidden, memory = self.actor.body.step(self.actor.encoder(observation), memory)
        action = self.choose(self.actor, hidden, carry["key"], carry["age"])
        return action, {"key": carry["key"], "age": carry["age"] + 1, **memory}

    def take(self, members: Sequence[int]) -> "ActorPolicy":
        """The chosen members only."""
        return replace(self, actor=take_members(self.actor, members))

    @classmethod
    def concatenate(cls, policies: Sequence[Policy]) -> "ActorPolicy":
        """The members of all."""
        actors = [policy.actor for policy in policies if isinstance(policy, ActorPolicy)]
        assert len(actors) == len(policies), "policies of one learner"
        first = policies[0]
        assert isinstance(first, ActorPolicy)
        return replace(first, actor=join_members(actors))


def actor_of(state: State, name: str = "actor") -> Actor:
    """An actor network of a learner that has one."""
    actor = state.networks[name]
    assert isinstance(actor, Actor)
    return actor

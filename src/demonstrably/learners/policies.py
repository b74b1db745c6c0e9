"""How an actor network acts, with whatever memory its body has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64, Num
from torch import Tensor

from demonstrably.data.batches import Observations
from demonstrably.learners.contract import Carry, Policy, State
from demonstrably.nets.actor import Actor
from demonstrably.nets.members import join_members, take_members
from demonstrably.nets.random import streams, uniform
from demonstrably.spec import Spec


@dataclass(frozen=True)
class ActorPolicy(Policy):
    """Acts by an `Actor`. The carry holds the episode's random stream, its age in steps, and the body's memory."""

    spec: Spec
    actor: Actor

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
        action = self.actor.act(hidden, uniform(carry["key"], carry["age"], self.actor.noise))
        return action, {"key": carry["key"], "age": carry["age"] + 1, **memory}

    def take(self, members: Sequence[int]) -> "ActorPolicy":
        """The chosen members only."""
        return replace(self, actor=take_members(self.actor, members))

    @classmethod
    def concatenate(cls, policies: Sequence[Policy]) -> "ActorPolicy":
        """The members of all."""
        actors = [policy.actor for policy in policies if isinstance(policy, ActorPolicy)]
        assert len(actors) == len(policies), "policies of one learner"
        return cls(policies[0].spec, join_members(actors))


def actor_of(state: State, name: str = "actor") -> Actor:
    """An actor network of a learner that has one."""
    actor = state.networks[name]
    assert isinstance(actor, Actor)
    return actor

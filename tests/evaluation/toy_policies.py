"""Small policies with members, for tests of rollouts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from demonstrably.learners.contract import Policy, policy_seeds
from demonstrably.nets.random import streams, uniform
from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec

SUM = Environment("toy/Sum-v0", imports=("toy_environments",))
BOX = Continuous((-1.0, -1.0), (1.0, 1.0))


def spec_of(environment=SUM, action=BOX, **shapes) -> Spec:
    """Observations float32 of the given shapes; by default what the environment `Sum` gives."""
    return Spec({key: Field(shape) for key, shape in (shapes or {"flat": (3,)}).items()}, action, environment)


@dataclass(frozen=True)
class Noisy(Policy):
    """A net of two layers a member, plus noise; it remembers how old the episode is."""

    spec: Spec
    weights: tuple[torch.Tensor, ...]

    @property
    def members(self) -> int:
        return len(self.weights[0])

    def start(self, seeds):
        keys = streams(seeds)
        return {"key": keys, "age": torch.zeros_like(keys)}

    def act(self, observation, carry):
        x = torch.cat([observation[key].float().flatten(2) for key in self.spec.observations], -1)
        x = torch.bmm(torch.relu(torch.bmm(x, self.weights[0])), self.weights[1])
        noise = uniform(carry["key"], carry["age"], x.shape[-1])
        carry = {"key": carry["key"], "age": carry["age"] + 1}
        if isinstance(self.spec.action, Discrete):
            return (x + noise).argmax(-1), carry
        return torch.tanh(x) + noise - 0.5, carry

    def take(self, members):
        return replace(self, weights=tuple(w[list(members)] for w in self.weights))

    @classmethod
    def concatenate(cls, policies):
        return replace(policies[0], weights=tuple(map(torch.cat, zip(*(p.weights for p in policies), strict=True))))


def noisy(spec: Spec, members: int, hidden: int = 32, seed: int = 0) -> Noisy:
    """Members drawn apart."""
    draws = torch.Generator().manual_seed(seed)
    inputs = sum(field.size for field in spec.observations.values())
    outputs = spec.action.count if isinstance(spec.action, Discrete) else spec.action.dim
    first = torch.randn(members, inputs, hidden, generator=draws) / inputs**0.5
    return Noisy(spec, (first, torch.randn(members, hidden, outputs, generator=draws) / hidden**0.5))


@dataclass(frozen=True)
class Rule(Policy):
    """Every member does what a function of (observation, age in steps) says."""

    spec: Spec
    members: int
    function: Callable

    def start(self, seeds):
        return {"age": torch.zeros_like(seeds), "seed": seeds}

    def act(self, observation, carry):
        action = self.function(observation, carry)
        return action, {"age": carry["age"] + 1, "seed": carry["seed"]}

    def take(self, members):
        return replace(self, members=len(members))

    @classmethod
    def concatenate(cls, policies):
        return replace(policies[0], members=sum(policy.members for policy in policies))


class Replay(Policy):
    """Plays recorded actions open loop, each episode's by its seed, and keeps what it observed: `seen[seed][step]`."""

    members = 1

    def __init__(self, spec: Spec, actions: dict[int, np.ndarray]):
        self.spec = spec
        self.seen: dict[int, dict[int, dict[str, np.ndarray]]] = {seed: {} for seed in actions}
        self._actions = actions
        self._episode = {int(policy_seeds(torch.tensor([[seed]]), 1)): seed for seed in actions}

    def start(self, seeds):
        known = [[self._episode.get(int(seed), -1) for seed in line] for line in seeds]
        return {"episode": torch.tensor(known), "age": torch.zeros_like(seeds)}

    def act(self, observation, carry):
        chosen = []
        for column, (episode, age) in enumerate(zip(*(carry[k][0].tolist() for k in ("episode", "age")), strict=True)):
            actions = self._actions.get(episode)
            playing = actions is not None and age < len(actions)
            if playing:
                self.seen[episode][age] = {key: value[0, column].numpy().copy() for key, value in observation.items()}
            chosen.append(actions[age] if playing else next(iter(self._actions.values()))[0])
        return torch.tensor(np.stack(chosen))[None], {"episode": carry["episode"], "age": carry["age"] + 1}

    def take(self, members):
        return self

    @classmethod
    def concatenate(cls, policies):
        return policies[0]

"""The contract of everything that is trained by minibatches: a learner, its state, and the policy it ends in."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from demonstrably.data.batches import Observations, Reads, TransitionBatch
from demonstrably.learners.adam import Adam
from demonstrably.nets.random import fork, streams
from demonstrably.spec import Spec

Metrics = dict[str, Float[Tensor, "M"]]
Carry = dict[str, Num[Tensor, "M B ..."]]
BATCHES, NOISE = 1, 2  # forks of a member's stream: what draws its batches, and what its networks draw in training


@dataclass
class State:
    """All that training changes: networks, optimizers, one random stream a member, and the number of steps done.

    A learner composed of learners keeps their states under `parts`.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Adam]
    keys: Int64[Tensor, "M"]
    step: Int64[Tensor, ""]
    parts: dict[str, "State"] = field(default_factory=dict)
    stage: int = 0  # of the learner's stages, where the step cannot be read: while an update is captured as a graph

    @classmethod
    def of(
        cls,
        networks: dict[str, nn.Module],
        optimizers: dict[str, Adam],
        *,
        members: int,
        seed: int,
        device: str | torch.device,
    ) -> "State":
        """The state before the first step, its members on the streams seed, seed + 1, ..."""
        keys = streams(torch.arange(seed, seed + members)).to(device)
        return cls(networks, optimizers, keys, torch.zeros((), dtype=torch.int64, device=device))

    @classmethod
    def around(cls, part: "State", networks: dict[str, nn.Module], optimizers: dict[str, Adam]) -> "State":
        """The state of a learner that has another's as its part "generator", on the same members."""
        return cls(networks, optimizers, part.keys.clone(), part.step.clone(), {"generator": part})

    @property
    def noise(self) -> Int64[Tensor, "M"]:
        """Streams of what the networks draw in training; they share no number with the batches' streams."""
        return fork(self.keys, NOISE)

    def updated(self) -> dict[str, Adam]:
        """Every optimizer by name, those of the parts too."""
        own = dict(self.optimizers)
        return own | {f"{n}/{k}": adam for n, part in self.parts.items() for k, adam in part.updated().items()}

    def weights(self) -> dict[str, Tensor]:
        """Every network tensor by name: what a policy needs."""
        own = {f"{n}/{k}": v for n, network in self.networks.items() for k, v in network.state_dict().items()}
        return own | {f"{n}/{k}": v for n, part in self.parts.items() for k, v in part.weights().items()}

    def progress(self) -> dict[str, Tensor]:
        """Every other tensor by name: what going on with the training needs besides."""
        own = {f"{n}/{k}": v for n, optimizer in self.optimizers.items() for k, v in optimizer.tensors().items()}
        parts = {f"{n}/{k}": v for n, part in self.parts.items() for k, v in part.progress().items()}
        return own | parts | {"keys": self.keys, "step": self.step}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Copies saved tensors in place. ValueError names what is missing, left over or of another shape."""
        own = self.weights() | self.progress()
        odd = sorted(set(own) ^ set(tensors)) or [k for k in own if own[k].shape != tensors[k].shape]
        if odd:
            raise ValueError(f"the checkpoint does not fit this learner: {', '.join(odd[:3])} differ")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def policy_seeds(seeds: Int64[Tensor, "M B"], seats: int = 1) -> Int64[Tensor, "M B_seats"]:
    """The seeds of a policy's own chance: they follow from the episode's seed and the seat, and from nothing else."""
    keys = streams(seeds)
    return torch.stack([fork(keys, 1 + seat) for seat in range(seats)], dim=-1).flatten(1)


class Policy(abc.ABC):
    """Chooses actions for M members at once. Its memory, its random stream included, is the carry."""

    spec: Spec
    members: int

    @abc.abstractmethod
    def start(self, seeds: Int64[Tensor, "M B"]) -> Carry:
        """The memory at the start of B episodes a member. The seed fixes all randomness of its episode."""

    @abc.abstractmethod
    def act(self, observation: Observations, carry: Carry) -> tuple[Num[Tensor, "M B *action"], Carry]:
        """Actions in the environment's units for observations (M, B, ...) a key, and the memory after them."""

    @abc.abstractmethod
    def take(self, members: Sequence[int]) -> "Policy":
        """A policy of the chosen members only; a member may be taken twice."""

    @classmethod
    @abc.abstractmethod
    def concatenate(cls, policies: Sequence["Policy"]) -> "Policy":
        """One policy over the members of all: they must have been made by the same learner and spec."""


class Learner(abc.ABC):
    """A frozen dataclass whose fields are the hyperparameters, with four methods and no state of its own."""

    @abc.abstractmethod
    def reads(self) -> Reads:
        """Which batch it wants."""

    def usual(self) -> tuple[Any, ...]:
        """The parts it chooses where a field is None; as text, a part that is given leaves the rest as it is there."""
        return ()

    @abc.abstractmethod
    def init(self, spec: Spec, *, members: int, seed: int, device: str | torch.device) -> State:
        """Networks, optimizers and random streams of members seeded seed, seed + 1, ...

        ValueError where the hyperparameters do not fit the spec or the number of members.
        """

    def stage(self, step: int) -> int:
        """Which of its stages the update after `step` others belongs to: on CUDA the update is captured anew in each.

        One stage, unless a learner's updates differ by it. See `stage_now`.
        """
        del step
        return 0

    @abc.abstractmethod
    def step(self, state: State, batch: Any) -> Metrics:
        """One update in place. Metrics are one number a member, still on the device."""

    @abc.abstractmethod
    def loss(self, state: State, batch: Any) -> Float[Tensor, "M"]:
        """The training objective on a batch, without an update: the validation loss."""

    @abc.abstractmethod
    def policy(self, state: State) -> Policy:
        """The policy as it stands; it shares the state's weights."""

    def explore(self, state: State) -> Policy:
        """The policy that gathers experience: the one that acts, unless a learner has another."""
        return self.policy(state)

    def reward(self, state: State, batch: TransitionBatch) -> Float[Tensor, "M B"]:
        """What each step is worth by the reward that was learned. ValueError where the learner learns none."""
        raise ValueError(f"{type(self).__name__} learns no reward: iq-learn, gail, airl, value-dice and csil do")

    def afterwards(self, state: State) -> Float[Tensor, "M"]:
        """What each step after the end of the task is worth by that reward: 0, unless a learner values what follows."""
        return torch.zeros(len(state.keys), device=state.keys.device)


def stage_now(learner: Learner, state: State) -> int:
    """The stage of the state's next update."""
    captured = state.keys.is_cuda and torch.cuda.is_current_stream_capturing()
    return state.stage if captured else learner.stage(int(state.step))


def autocast(state: State, precision: str) -> torch.autocast:
    """Rounds the operands of large products to the precision; "float32" leaves them alone."""
    return torch.autocast(state.keys.device.type, torch.bfloat16, enabled=precision == "bfloat16")

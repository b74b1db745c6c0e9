"""Batches of the learner's own experience: environments are stepped by its policy while it learns.

The environments come from the caller. A round, in which every environment makes one step, begins with a batch and is
taken in with the next one: they step while the update runs. What a batch is drawn from is the same whether they do so
beside it or before it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, Observations, TransitionBatch
from demonstrably.learners.contract import BATCHES, Carry, Policy, State, policy_seeds
from demonstrably.nets.random import below, fork, uniform
from demonstrably.spec import Continuous, Spec
from demonstrably.training.feeds import Feed, OfflineFeed
from demonstrably.training.lives import Lives
from demonstrably.training.replay import Replay, under
from demonstrably.training.worlds import Worlds

# Forks of a member's stream: first those of contract.py. WARM_UP draws actions, SEEDS the episodes' seeds.
OWN, WARM_UP, SEEDS = 2, 3, 4
SEED_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Collection:
    """How a learner gathers experience of its own."""

    environments: int = 1
    """Environments a member, stepped side by side."""
    updates_per_step: float = 1.0
    """Updates for each step of a member's environments."""
    warm_up: int = 1_000
    """Steps a member before the first update on own ones: by chance alone, or by what was learned ahead of them."""
    replay: int = 1_000_000
    """Newest steps kept a member."""

    def __post_init__(self) -> None:
        if self.environments < 1:
            raise ValueError(f"environments {self.environments}: give at least 1")
        if not 0 < self.updates_per_step < math.inf:
            raise ValueError(f"updates_per_step {self.updates_per_step}: must be above 0 and finite")
        if self.warm_up < 2 * self.environments:
            least = 2 * self.environments
            raise ValueError(f"warm_up {self.warm_up}: give at least {least}, two steps of each environment")
        if self.replay < self.warm_up:
            raise ValueError(f"replay {self.replay}: give at least warm_up, {self.warm_up}, or less of that")

    def rounds(self, updates: int) -> int:
        """Rounds that have begun when that many updates have been asked for."""
        steps = self.warm_up + updates / self.updates_per_step
        return -(-int(np.ceil(steps)) // self.environments)

    def steps(self, updates: int) -> int:
        """Environment steps a member by then."""
        return self.rounds(updates) * self.environments


class OnlineFeed(Feed):
    """Own steps by the exploring policy, from a replay on the device; demonstrated ones beside them where asked for."""

    def __init__(
        self,
        worlds: Worlds,
        reads: Experience,
        spec: Spec,
        explore: Callable[[State], Policy],
        collection: Collection,
        *,
        state: State,
        updates: int,
        demonstrated: OfflineFeed | None = None,
    ):
        """`worlds` has a lane for each member's environments, member by member; `updates` bounds the replay's size."""
        members, device = len(state.keys), state.keys.device
        assert worlds.lanes == members * collection.environments
        assert (demonstrated is not None) == (reads.demonstrations > 0)
        self.worlds, self.reads, self.collection = worlds, reads, collection
        self.demonstrated, self._explore, self._spec = demonstrated, explore, spec
        needed = collection.steps(updates) + collection.environments
        self.replay = Replay(spec, members=members, capacity=min(collection.replay, needed), device=device)
        self.shape = (members, collection.environments)
        self.rounds = 0  # begun
        self.lives = Lives(self.shape)
        self._seen: Observations = {}
        self._acted: Tensor | None = None  # of the round under way
        self._carry: Carry | None = None

    @torch.no_grad()
    def advance(self, state: State, step: int) -> None:
        """Takes in the round under way and begins another one, as often as the next update asks for."""
        if step < self.reads.ahead:
            return
        while self.rounds < self.collection.rounds(step + 1 - self.reads.ahead):
            if self.rounds == 0:
                self._seen = self._begin_episodes(state, torch.ones(self.shape, dtype=torch.bool))
            if self._acted is not None:
                self._take_in(state)
            self._act(state)
            self.rounds += 1

    def draw(self, state: State) -> ExperienceBatch:
        """Uniform over the replay as it stood before the round that is now under way."""
        shown = self.demonstrated.draw(state) if self.demonstrated else None
        assert shown is None or isinstance(shown, TransitionBatch)
        if self.rounds == 0:
            assert shown, "only updates on demonstrated steps go ahead"
            return ExperienceBatch(shown, shown)
        keys = fork(fork(state.keys, BATCHES), OWN)
        return ExperienceBatch(self.replay.draw(keys, state.step, self.reads.batch_size), shown)

    def report(self) -> dict[str, np.ndarray]:
        """How the episodes went that ended since the last report, (M,) each; nothing where a member had none."""
        return self.lives.report()

    def close(self) -> None:
        """Gives the environments back."""
        self.worlds.close()

    def tensors(self) -> dict[str, Tensor]:
        """All that going on needs. The round under way is kept as its actions."""
        kept = {f"replay/{name}": value for name, value in self.replay.tensors().items()}
        kept |= {f"lives/{name}": value for name, value in self.lives.tensors().items()}
        kept |= {f"seen/{key}": value for key, value in self._seen.items()}
        kept |= {f"carry/{name}": value for name, value in (self._carry or {}).items()}
        return kept | {"rounds": torch.tensor(self.rounds)}

    @torch.no_grad()
    def restore(self, state: State, tensors: Mapping[str, Tensor]) -> str | None:
        """Goes on where `tensors` was taken: every episode under way is played again up to there by its own actions.

        An environment that then shows something else is not fixed by its seed: all lanes begin new episodes, and the
        returned line says so.
        """
        self.replay.restore(under("replay/", tensors))
        self.lives.restore(under("lives/", tensors))
        self.rounds = int(tensors["rounds"])
        device = state.keys.device
        self._seen = {key: value.to(device) for key, value in under("seen/", tensors).items()}
        self._carry = {name: value.to(device) for name, value in under("carry/", tensors).items()} or None
        if self.rounds == 0:
            return None
        if self._relived():
            last = np.stack([lane[-1] for lane in self.lives.actions])
            self._acted = torch.from_numpy(last).view(*self.shape, *last.shape[1:]).to(device)
            self.worlds.begin(range(self.worlds.lanes), last)
            return None
        self._seen = self._begin_episodes(state, torch.ones(self.shape, dtype=torch.bool))
        self._carry = None
        self._act(state)
        return "the environment does not repeat itself by its seed: every episode under way was begun anew"

    def _relived(self) -> bool:
        """Plays all episodes under way again, the round under way excepted; whether they show what they showed."""
        lanes, before = list(range(self.worlds.lanes)), [lane[:-1] for lane in self.lives.actions]
        shown = {k: v.copy() for k, v in self.worlds.reset(lanes, self.lives.seeds.flatten().tolist()).items()}
        for step in range(max(map(len, before))):
            going = [lane for lane in lanes if len(before[lane]) > step]
            self.worlds.begin(going, np.stack([before[lane][step] for lane in going]))
            stepped = self.worlds.finish()
            if (stepped.terminated | stepped.truncated).any():
                return False  # an episode that went on ends, and cannot be stepped any further
            for key, values in stepped.observations.items():
                shown[key][going] = values
        placed = self._placed(shown)
        return all(torch.equal(placed[key], value) for key, value in self._seen.items())

    def _act(self, state: State) -> None:
        """Chooses the actions of a round by what was seen, and lets the environments step."""
        early = self.rounds * self.collection.environments < self.collection.warm_up
        if early and not self.reads.ahead:
            self._acted = self._by_chance(state)
        else:
            policy = self._explore(state)
            if self._carry is None:
                self._carry = policy.start(policy_seeds(self.lives.seeds))
            self._acted, self._carry = policy.act(self._seen, self._carry)
        actions = self._acted.cpu().numpy().reshape(self.worlds.lanes, *self._acted.shape[2:])
        if not np.isfinite(actions).all():
            raise FloatingPointError(f"an action is not finite after update {int(state.step)}: lower the learning rate")
        self.lives.act(actions)
        self.worlds.begin(range(self.worlds.lanes), actions)

    def _take_in(self, state: State) -> None:
        """Waits for the round under way and keeps its steps; ended episodes are followed by new ones."""
        stepped = self.worlds.finish()
        after = self._placed(stepped.observations)
        rewards, terminated = (torch.from_numpy(v).view(self.shape) for v in (stepped.rewards, stepped.terminated))
        assert self._acted is not None
        device = self._acted.device
        self.replay.add(self._seen, self._acted, rewards.to(device), after, terminated.to(device))
        ended = torch.from_numpy(stepped.terminated | stepped.truncated).view(self.shape)
        self.lives.earn(rewards, ended)
        if self.reads.fixed_horizon and terminated.any():
            raise ValueError(self.reads.fixed_horizon)
        self._seen = after
        if ended.any():
            fresh = self._begin_episodes(state, ended)
            self._seen = {key: _where(ended.to(device), fresh[key], value) for key, value in after.items()}
            if self._carry is not None:
                new = self._explore(state).start(policy_seeds(self.lives.seeds))
                self._carry = {k: _where(ended.to(device), new[k], value) for k, value in self._carry.items()}

    def _begin_episodes(self, state: State, chosen: Bool[Tensor, "M E"]) -> Observations:
        """Resets the chosen lanes on seeds of their own; rows of the others are 0."""
        self.lives.begin(chosen, self._seeds(state))
        lanes = torch.nonzero(chosen.flatten()).flatten().tolist()
        first = self.worlds.reset(lanes, self.lives.seeds.flatten()[lanes].tolist())
        whole = {key: np.zeros((self.worlds.lanes, *v.shape[1:]), v.dtype) for key, v in first.items()}
        for key, values in first.items():
            whole[key][lanes] = values
        return self._placed(whole)

    def _seeds(self, state: State) -> Int64[Tensor, "M E"]:
        """Seeds of each lane's next episode: they follow from the member, the environment and the episode's number."""
        keys = fork(state.keys.cpu(), SEEDS)
        columns = [fork(keys, 1 + e) for e in range(self.shape[1])]
        counters = self.lives.episodes.unbind(1)
        drawn = [below(SEED_LIMIT, k, n, 1) for k, n in zip(columns, counters, strict=True)]
        return torch.cat(drawn, 1)

    def _by_chance(self, state: State) -> Num[Tensor, "M E *action"]:
        keys, action = fork(state.keys, WARM_UP), self._spec.action
        if not isinstance(action, Continuous):
            return below(action.count, keys, self.rounds, self.shape[1])
        low, high = (torch.tensor(bound, device=keys.device) for bound in (action.low, action.high))
        drawn = uniform(keys, self.rounds, self.shape[1] * action.dim)
        return low + (high - low) * drawn.view(*self.shape, action.dim)

    def _placed(self, observations: Mapping[str, np.ndarray]) -> Observations:
        """Observations by lane as tensors (M, E, ...) on the device."""
        device = next(iter(self.replay.columns.values())).device
        return {k: torch.from_numpy(v).view(*self.shape, *v.shape[1:]).to(device) for k, v in observations.items()}


def _where(chosen: Bool[Tensor, "M E"], new: Tensor, old: Tensor) -> Tensor:
    """The new rows of the chosen lanes, the old ones of the rest."""
    return torch.where(chosen.view(*chosen.shape, *[1] * (old.ndim - 2)), new, old)

"""The reward that a run learned, put to use: scores of steps, relabelled demonstrations, reinforcement learning on it.

A learned reward is known up to what the demonstrations could not tell: its scale, and more by learner. Where a reward
draws by chance (of an action at the next observation, for instance), it draws by the stream of its member and the
place of the step in its batch, so that the same call gives the same numbers.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from demonstrably.data.batches import ExperienceBatch, TransitionBatch, Transitions
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.wording import counted, listed
from demonstrably.learners.contract import Learner, State
from demonstrably.spec import Continuous, Discrete, Field, Spec
from demonstrably.training import checkpoints
from demonstrably.training.feeds import Feed, OfflineFeed
from demonstrably.training.run import Run

BATCH = 2048  # steps at once


@dataclass(frozen=True)
class Reward:
    """The reward that a learner learned, of all its members. ValueError where the learner learns none.

    `source` and `checkpoint` say where it came from, None where it was made in memory.
    """

    learner: Learner
    state: State
    spec: Spec
    source: str | None = None
    checkpoint: int | None = None

    def __post_init__(self) -> None:
        if type(self.learner).reward is Learner.reward:
            place = f"{self.source}: " if self.source else ""
            name = checkpoints.name_of(self.learner)
            raise ValueError(f"{place}{name} learns no reward: give a run of an inverse learner")

    @classmethod
    def of(cls, run: Run | str | Path, checkpoint: int | None = None, device: str | torch.device = "cpu") -> "Reward":
        """The reward of a run's checkpoint, by default of the last. ValueError names what is broken or missing."""
        run = run if isinstance(run, Run) else Run(run)
        step = run.chosen(checkpoint)
        learner, state = checkpoints.load(run.checkpoint(step), device)
        return cls(learner, state, run.spec, str(run.path), step)

    @property
    def members(self) -> int:
        """Members of the population that learned it."""
        return len(self.state.keys)

    def record(self) -> dict[str, Any]:
        """Where it came from and a fingerprint of its weights, as plain JSON."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state.weights().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        found = {"run": self.source, "checkpoint": self.checkpoint, "members": self.members}
        return found | {"fingerprint": f"sha256:{digest.hexdigest()}"}

    def __call__(
        self,
        observations: Mapping[str, Any],
        actions: Any,
        next_observations: Mapping[str, Any],
        terminated: Any = None,
    ) -> np.ndarray:
        """What each of N steps is worth to each member, (members, N).

        Arrays of N rows; keys that the reward does not read are ignored. Without `terminated` no step ended its task.
        ValueError names every way in which the arrays do not fit.
        """
        arrays = {"observations": observations, "next_observations": next_observations}
        shown = {name: {key: np.asarray(v) for key, v in given.items()} for name, given in arrays.items()}
        taken = np.asarray(actions)
        count = taken.shape[0] if taken.ndim else 0
        over = np.zeros(count, bool) if terminated is None else np.asarray(terminated, bool)
        problems = [text for name, given in shown.items() for text in _unlike(self.spec, given, name, count)]
        problems += [text for name, given in shown.items() for text in _not_finite(self.spec, given, name)]
        problems += _other_actions(self.spec.action, taken)
        problems += [] if count else ["there are no steps"]
        problems += [] if over.shape == (count,) else [f"terminated has shape {over.shape}, not ({count},)"]
        _require_none(problems, "the arrays do not fit the reward")
        whole = self._row(shown["observations"], shown["next_observations"], taken, over)
        parts = [slice(start, start + BATCH) for start in range(0, count, BATCH)]
        told = [self._each(self._reshaped(whole, lambda tensor, part=part: tensor[:, part])) for part in parts]
        return torch.cat(told, 1).cpu().numpy()

    def score(self, demos: Demonstrations) -> np.ndarray:
        """What each step of the view is worth to each member, (members, steps), the episodes one after another.

        NaN where it cannot be told: at the last step of an episode that was cut off and whose final observation was
        not recorded. ValueError names every way in which the demonstrations do not fit.
        """
        self.require(demos)
        device = self.state.keys.device
        feed = OfflineFeed(demos, tuple(self.spec.observations), Transitions(BATCH), device)
        scores = np.full((self.members, demos.transitions), np.nan, np.float32)
        told = np.split(feed.followed.cpu().numpy(), range(BATCH, len(feed.followed), BATCH))
        for steps, (_, batch) in zip(told, feed.once(self.members, BATCH), strict=True):
            assert isinstance(batch, TransitionBatch)
            with torch.no_grad():
                scores[:, steps] = self.learner.reward(self.state, batch).cpu().numpy()
        return scores

    def afterwards(self) -> np.ndarray:
        """What each step after the end of the task is worth to each member, (members,)."""
        return self.learner.afterwards(self.state).detach().cpu().numpy()

    def ever_after(self, discount: float) -> Float[Tensor, ""]:
        """What all steps after the end of the task are worth, for ever and discounted: the mean over members."""
        return self.learner.afterwards(self.state).mean() * (discount / (1 - discount))

    def require(self, demos: Demonstrations) -> None:
        """ValueError names every way in which demonstrations differ from what the reward reads."""
        rows = demos.boundaries[-1] + len(demos.boundaries) - 1
        actions = np.concatenate([demos.actions[place] for place in demos.step_slices()] or [demos.actions[:0]])
        problems = _unlike(self.spec, demos.observations, "observations", int(rows))
        problems += _other_space(self.spec.action, demos.action) or _other_actions(self.spec.action, actions)
        _require_none(problems, f"{demos.path or 'the data'} does not fit the reward")

    def require_spec(self, spec: Spec) -> None:
        """ValueError names every way in which what a policy observes and does differs from what the reward reads."""
        problems = []
        for key, field in self.spec.observations.items():
            other = spec.observations.get(key)
            if other is None:
                problems.append(f"observation {key!r} is not observed")
            elif _form(other) != _form(field):
                problems.append(f"observation {key!r} is {_form(other)}, not {_form(field)}")
        problems += _other_space(self.spec.action, spec.action)
        if not problems and isinstance(spec.action, Continuous):
            problems += _other_actions(self.spec.action, np.array([spec.action.low, spec.action.high]))
        _require_none(problems, "the policy's steps do not fit the reward")

    def of_population(self, batch: TransitionBatch, discount: float) -> Float[Tensor, "M B"]:
        """What steps of another population are worth: the mean over the members of the reward.

        A step that ends the task is also worth what comes afterwards, for ever and discounted.
        """
        members = range(len(batch.terminated))  # one by one: what a reward draws goes by places in the batch
        rows = [self._reshaped(batch, lambda tensor, i=i: tensor[i : i + 1]) for i in members]
        earned = torch.stack([self._each(row).mean(0) for row in rows])
        return earned + batch.terminated * self.ever_after(discount)

    @torch.no_grad()
    def _each(self, row: TransitionBatch) -> Float[Tensor, "R N"]:
        """By every member, of the same steps (1, N)."""
        return self.learner.reward(self.state, self._reshaped(row, lambda t: t.expand(self.members, *t.shape[1:])))

    def _reshaped(self, batch: TransitionBatch, shape: Callable[[Tensor], Tensor]) -> TransitionBatch:
        """The batch with other leading axes, of the keys that the reward reads."""
        keys = self.spec.observations
        return TransitionBatch(
            {key: shape(batch.observations[key]) for key in keys},
            shape(batch.actions),
            shape(batch.rewards),
            {key: shape(batch.next_observations[key]) for key in keys},
            shape(batch.terminated),
            {},
        )

    def _row(
        self, here: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray], actions: np.ndarray, over: np.ndarray
    ) -> TransitionBatch:
        """Arrays of N steps as a batch (1, N) on the reward's device."""
        device, fields = self.state.keys.device, self.spec.observations
        kinds = {key: torch.uint8 if field.dtype == "uint8" else torch.float32 for key, field in fields.items()}
        before, after = (
            {key: torch.from_numpy(given[key]).to(device, kind)[None] for key, kind in kinds.items()}
            for given in (here, there)
        )
        kind = torch.int64 if isinstance(self.spec.action, Discrete) else torch.float32
        acted, ended = torch.from_numpy(actions).to(device, kind)[None], torch.from_numpy(over).to(device)[None]
        return TransitionBatch(before, acted, torch.zeros(ended.shape, device=device), after, ended, {})


class Relabelled(Feed):
    """A learner's own experience, its rewards replaced by the learned one as they are read."""

    def __init__(self, feed: Feed, reward: Reward, discount: float):
        self.feed, self.reward, self.discount = feed, reward, discount

    def advance(self, state: State, step: int) -> None:
        """The feed's."""
        self.feed.advance(state, step)

    def draw(self, state: State) -> ExperienceBatch:
        """The feed's batch. The environment's rewards are seen by none but the record of episodes."""
        batch = self.feed.draw(state)
        assert isinstance(batch, ExperienceBatch), "only a learner with experience of its own earns rewards"
        own = replace(batch.own, rewards=self.reward.of_population(batch.own, self.discount))
        return replace(batch, own=own)


def relabelled(demos: Demonstrations, reward: Reward, discount: float = 0.99) -> Demonstrations:
    """The same view with the mean over the reward's members for its rewards; other views keep theirs.

    A step that ends the task is also worth what comes afterwards, for ever and discounted. ValueError names the
    episodes in which a step's reward cannot be told (see `Reward.score`).
    """
    return with_rewards(demos, reward.score(demos).mean(0), reward.ever_after(discount).item())


def with_rewards(demos: Demonstrations, rewards: Float[np.ndarray, "steps"], end: float = 0.0) -> Demonstrations:
    """The same view with other rewards, one a step of it, and `end` more for a step that ends the task.

    ValueError names the episodes where one is not finite.
    """
    ends = np.cumsum(demos.lengths)
    blind = [not part.all() for part in np.split(np.isfinite(rewards), ends[:-1])]
    if any(blind):
        names = demos.table.column("name").to_pylist()
        where = listed([names[i] for i in np.flatnonzero(blind)])
        advice = "record `next_obs` or `last_obs`" if all(blind) else "leave them out with --where final_observation"
        raise ValueError(
            f"{counted(sum(blind), 'episode')} of {len(demos)} ({where}) end without a final observation and not by "
            f"the task, so that the last step's reward cannot be told: {advice}"
        )
    column = np.array(demos.rewards, np.float32)
    places = np.concatenate([np.arange(place.start, place.stop) for place in demos.step_slices()])
    column[places] = rewards + end * demos.terminated[places]
    returns = np.add.reduceat(column[places].astype(np.float64), ends - demos.lengths)
    index = demos.table.column_names.index("return")
    table = demos.table.set_column(index, "return", pa.array(returns, pa.float64()))
    return replace(demos, rewards=column, table=table)


def _unlike(spec: Spec, given: Mapping[str, np.ndarray], name: str, rows: int) -> list[str]:
    """How observations differ from those of a spec."""
    found = []
    for key, field in spec.observations.items():
        if key not in given:
            found.append(f"{name} have no key {key!r} (they have {listed(sorted(given))})")
            continue
        values = given[key]
        if values.shape != (rows, *field.shape):
            found.append(f"{name} {key!r} have shape {values.shape}, not {(rows, *field.shape)}")
        if (values.dtype == np.uint8) != (field.dtype == "uint8"):
            found.append(f"{name} {key!r} are {values.dtype}, not {field.dtype}")
    return found


def _not_finite(spec: Spec, given: Mapping[str, np.ndarray], name: str) -> list[str]:
    """Which observations hold NaN or infinity."""
    keys = [key for key in spec.observations if key in given and given[key].dtype.kind == "f"]
    return [f"{name} {key!r} are not all finite" for key in keys if not np.isfinite(given[key]).all()]


def _other_space(action: Continuous | Discrete, other: Continuous | Discrete) -> list[str]:
    """How an action space differs from another one but for its bounds."""
    if isinstance(action, Continuous) and isinstance(other, Continuous):
        same = action.dim == other.dim
    else:
        same = action == other
    return [] if same else [f"actions are {_named(other)}, not {_named(action)}"]


def _other_actions(action: Continuous | Discrete, values: np.ndarray) -> list[str]:
    """How actions differ from those of an action space; bounds matter where an action is outside."""
    wanted = f"not {_named(action)}"
    if isinstance(action, Discrete):
        if values.ndim != 1 or values.dtype.kind not in "iu":
            return [f"actions have shape {values.shape} of {values.dtype}, {wanted}"]
        inside = not values.size or 0 <= values.min() <= values.max() < action.count
        return [] if inside else [f"actions go from {values.min()} to {values.max()}, {wanted}"]
    if values.ndim != 2 or values.shape[1] != action.dim or values.dtype.kind != "f":
        return [f"actions have shape {values.shape} of {values.dtype}, {wanted}"]
    low, high = np.array(action.low), np.array(action.high)
    slack = 1e-3 * (high - low)
    inside = ((values >= low - slack) & (values <= high + slack)).all()
    return [] if inside else [f"actions go from {values.min():.4g} to {values.max():.4g}, {wanted}"]


def _named(action: Continuous | Discrete) -> str:
    if isinstance(action, Discrete):
        return f"{action.count} choices"
    return f"{action.dim} real numbers from {min(action.low):.4g} to {max(action.high):.4g}"


def _form(field: Field) -> str:
    return f"{field.dtype} {field.shape}"


def _require_none(problems: list[str], what: str) -> None:
    if problems:
        raise ValueError(f"{what}: {'; '.join(problems)}")

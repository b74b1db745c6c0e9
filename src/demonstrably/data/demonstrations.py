"""Demonstrations: recorded episodes as columns, with views by selection and split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from demonstrably.data import arrays, contents, overlap, tables
from demonstrably.data.notes import Finding
from demonstrably.data.splits import stratified
from demonstrably.data.stats import Moments, moments
from demonstrably.data.wording import nearest
from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec

EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Episode:
    """One episode of T steps; the arrays are views into the demonstrations they came from."""

    observations: Mapping[str, np.ndarray]  # key -> (T + 1, ...)
    actions: np.ndarray  # (T, A) float32, or (T,) int64
    rewards: np.ndarray  # (T,) float32, NaN where none were recorded
    terminated: np.ndarray  # (T,) bool
    truncated: np.ndarray  # (T,) bool
    attributes: Mapping[str, Any]  # the episode's row of the table

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False, repr=False)
class Demonstrations:
    """Recorded episodes, or a view of some of them.

    The arrays hold all stored episodes one after another and are shared between views; `episodes`, `table`
    and `masks` say which of them this view holds. Observations have one row more an episode than actions.
    """

    observations: Mapping[str, np.ndarray]  # key -> (sum of T+1 over stored episodes, ...) float32 or uint8
    actions: np.ndarray  # (sum of T, A) float32, or (sum of T,) int64 when discrete
    rewards: np.ndarray  # (sum of T,) float32, NaN when no reward was recorded
    terminated: np.ndarray  # (sum of T,) bool: the task itself ended here
    truncated: np.ndarray  # (sum of T,) bool: recording stopped here, and the next value may be bootstrapped
    boundaries: np.ndarray  # (stored episodes + 1,) int64 row offsets of the T-long columns
    episodes: np.ndarray  # (episodes,) int64 indices of the stored episodes in this view, in order
    table: pa.Table  # one row an episode of the view: name, length, return, final_observation, attributes
    masks: Mapping[str, np.ndarray]  # name -> (episodes,) bool
    action: Continuous | Discrete
    environment: Environment | None = None
    path: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[Finding, ...] = ()  # what the reader noticed; `inspect` repeats it

    @classmethod
    def from_arrays(
        cls,
        observations: Mapping[str, Any] | Any,
        actions: Any,
        rewards: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        *,
        lengths: Sequence[int] | np.ndarray | None = None,
        names: Sequence[str] | None = None,
        table: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
        masks: Mapping[str, Sequence[bool] | np.ndarray] | None = None,
        action: Continuous | Discrete | None = None,
        environment: Environment | None = None,
        path: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> "Demonstrations":
        """Demonstrations of arrays that hold episodes one after another.

        `observations` is one array (stored under the key "flat") or a mapping of them, each with length + 1
        rows an episode, or length rows where the final observation was not recorded. Integer `actions` (N,)
        are discrete, real ones (N, A) continuous. `lengths` gives the steps of each episode (default: one
        episode), `table` further columns with one value an episode, `masks` named choices of episodes.
        Without `terminated` no episode ends by the task; without `truncated` each ends by truncation unless
        terminated. Without `action` the bounds are [-1, 1] where the values allow, else their range. Raises
        ValueError for shapes that do not fit and for NaN.
        """
        steps = arrays.checked_lengths([len(actions)] if lengths is None else lengths)
        names = list(names or [f"demo_{i}" for i in range(len(steps))])
        given = observations if isinstance(observations, Mapping) else {"flat": observations}
        rows = {key: arrays.observation_column(key, value, steps) for key, value in given.items()}
        columns = arrays.step_columns(actions, rewards, terminated, truncated, steps)
        final = np.full(len(steps), all(recorded for _, recorded in rows.values()))
        extra = tables.table_rows(table or {}, len(steps))
        boundaries = np.concatenate([[0], np.cumsum(steps)])
        for key, (column, _) in rows.items():
            starts = boundaries[:-1] + np.arange(len(steps))
            arrays.require_finite(f"observation {key!r}", column, starts, names)
        for name in ("actions",) if rewards is None else ("actions", "rewards"):
            arrays.require_finite(name, columns[name], boundaries[:-1], names)
        returns = np.add.reduceat(columns["rewards"].astype(np.float64), boundaries[:-1])
        return cls(
            {key: column for key, (column, _) in rows.items()},
            columns["actions"],
            columns["rewards"],
            columns["terminated"],
            columns["truncated"],
            boundaries,
            np.arange(len(steps)),
            tables.episode_table(names, steps, returns, final, extra),
            {name: np.asarray(mask) for name, mask in (masks or {}).items()},
            action or arrays.action_space(columns["actions"]),
            environment,
            path,
            dict(attributes or {}),
        )

    def __post_init__(self) -> None:
        stored = len(self.boundaries) - 1
        if not self.observations:
            raise ValueError("no observations; give at least one key")
        if isinstance(self.action, Discrete) != (self.actions.ndim == 1):
            raise ValueError(f"actions have shape {self.actions.shape}, which does not fit {self.action}")
        if isinstance(self.action, Continuous) and self.action.dim != self.actions.shape[1]:
            raise ValueError(
                f"actions have {self.actions.shape[1]} dimensions, bounds {self.action.dim}; make them equal"
            )
        if self.table.num_rows != len(self.episodes):
            raise ValueError(f"the table has {self.table.num_rows} rows for {len(self)} episodes; give one an episode")
        for name, mask in self.masks.items():
            if mask.shape != (len(self.episodes),) or mask.dtype != bool:
                raise ValueError(
                    f"mask {name!r} has shape {mask.shape}; give one True or False an episode ({len(self)})"
                )
        if len(self.episodes) and (self.episodes.min() < 0 or self.episodes.max() >= stored):
            raise ValueError(f"episodes must be indices of the {stored} stored ones")

    def __len__(self) -> int:
        return len(self.episodes)

    def __iter__(self) -> Iterator[Episode]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Episode:
        """Episode `index` of the view, without copying."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        stored = int(self.episodes[index])
        steps = slice(int(self.boundaries[stored]), int(self.boundaries[stored + 1]))
        rows = slice(steps.start + stored, steps.stop + stored + 1)
        return Episode(
            {key: column[rows] for key, column in self.observations.items()},
            self.actions[steps],
            self.rewards[steps],
            self.terminated[steps],
            self.truncated[steps],
            self._rows[index],
        )

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return self.table.to_pylist()

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode of the view, (episodes,)."""
        return np.diff(self.boundaries)[self.episodes]

    @property
    def transitions(self) -> int:
        """Steps of all episodes of the view."""
        return int(self.lengths.sum())

    @property
    def starts(self) -> np.ndarray:
        """First action row of each episode of the view, (episodes,)."""
        return self.boundaries[self.episodes]

    @property
    def observation_starts(self) -> np.ndarray:
        """First observation row of each episode of the view, (episodes,)."""
        return self.boundaries[self.episodes] + self.episodes

    def step_slices(self) -> list[slice]:
        """Slices of the T-long columns that hold the view's steps in order, neighbouring episodes in one."""
        return list(contents.runs(self.starts, self.lengths))

    @property
    def rewarded(self) -> bool:
        """Whether every episode has rewards; one without has `rewards` NaN and `return` null."""
        return self.table.column("return").null_count == 0

    def select(self, choice: str | Sequence[int] | np.ndarray) -> "Demonstrations":
        """A view of some episodes: by position, by a bool an episode, by a mask's name, or by a query.

        A query is a condition on the table's columns, such as "quality == 'expert' and length > 100" (see
        `demonstrably.data.query`). Raises ValueError where nothing is chosen or a name is unknown.
        """
        if isinstance(choice, str):
            chosen = np.flatnonzero(self._named(choice))
        else:
            chosen = tables.positions(choice, len(self))
        if not len(chosen):
            raise ValueError(f"{choice!r} selects none of the {len(self)} episodes; {self._columns_hint()}")
        return self._view(chosen)

    def _named(self, choice: str) -> np.ndarray:
        if choice in self.masks:
            return self.masks[choice]
        if choice.isidentifier() and choice not in self.table.column_names:
            raise ValueError(f"no mask or column {choice!r}{nearest(choice, [*self.masks, *self.table.column_names])}")
        from demonstrably.data.query import matching  # Arrow's compute functions take 0.1 s to import

        return matching(self.table, choice, self.masks)

    def _columns_hint(self) -> str:
        masks = f"; masks: {', '.join(self.masks)}" if self.masks else ""
        return f"columns: {', '.join(self.table.column_names)}{masks}"

    def _view(self, chosen: np.ndarray) -> "Demonstrations":
        return replace(
            self,
            episodes=self.episodes[chosen],
            table=self.table.take(pa.array(chosen)),
            masks={name: mask[chosen] for name, mask in self.masks.items()},
        )

    def split(
        self, fraction: float = 0.1, by: str | None = None, seed: int = 0
    ) -> tuple["Demonstrations", "Demonstrations"]:
        """Views (training, validation) by whole episodes, with `fraction` of the episodes in the second.

        `by` names a column of the table; its values then keep their shares in both. At least one episode
        falls on either side. Raises ValueError for fewer than 2 episodes, a fraction outside (0, 1) or an
        unknown column.
        """
        if by is not None and by not in self.table.column_names:
            raise ValueError(f"no column {by!r} to split by{nearest(by, self.table.column_names)}")
        groups = [None] * len(self) if by is None else self.table.column(by).to_pylist()
        second = stratified(groups, fraction, seed)
        return self._view(np.flatnonzero(~second)), self._view(np.flatnonzero(second))

    def keys(self, chosen: Sequence[str] | None = None) -> tuple[str, ...]:
        """The observation keys a policy reads: those chosen, or by default all that repeat no other.

        Files often hold "flat" beside the keys it is made of. If the others together hold all of it, it is
        left out; otherwise it stays and the keys it contains are left out. Raises ValueError for an unknown
        key.
        """
        if chosen is None:
            return self._default_keys
        for key in chosen:
            if key not in self.observations:
                raise ValueError(f"no observation key {key!r}{nearest(key, sorted(self.observations))}")
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"observation keys {tuple(chosen)}: give each key once, and at least one")
        return tuple(chosen)

    @cached_property
    def _default_keys(self) -> tuple[str, ...]:
        return overlap.distinct({key: self.observations[key] for key in sorted(self.observations)})

    def statistics(self, key: str, read: np.ndarray | None = None) -> Moments:
        """Exact moments of an observation key over the rows of this view on which a policy acts.

        Where not all steps are `read` (a truth value each), over the rows of those that are.
        """
        column = self.observations[self.keys([key])[0]]
        rows = zip(self.observation_starts, self.lengths, strict=True)
        blocks = (column[row : row + length] for row, length in rows)
        if read is not None:
            parts = np.split(read, np.cumsum(self.lengths)[:-1])
            return moments(block[part] for block, part in zip(blocks, parts, strict=True))
        if key not in self._moments:
            self._moments[key] = moments(blocks)
        return self._moments[key]

    @cached_property
    def _moments(self) -> dict[str, Moments]:
        return {}

    def spec(self, keys: Sequence[str] | None = None, read: np.ndarray | None = None) -> Spec:
        """What a policy on these demonstrations observes and does.

        Keys that are no images carry the exact mean and scale of this view, or of its steps that are `read` (a truth
        value each); a constant dimension has scale 0.
        """
        return Spec({key: self._field(key, read) for key in self.keys(keys)}, self.action, self.environment)

    def _field(self, key: str, read: np.ndarray | None) -> Field:
        column = self.observations[key]
        field = Field(column.shape[1:], "uint8" if column.dtype == np.uint8 else "float32")
        if field.is_image:
            return field
        found = self.statistics(key, read)
        return replace(field, mean=tuple(found.mean.tolist()), scale=tuple(found.scale.tolist()))

    def fingerprint(self) -> str:
        """ "sha256:..." of the view's contents: arrays, table and action, but neither path nor masks."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        steps = (self.starts, self.lengths)
        rows = (self.observation_starts, self.lengths + 1)
        columns = {
            "actions": (self.actions, *steps),
            "rewards": (self.rewards, *steps),
            "terminated": (self.terminated, *steps),
            "truncated": (self.truncated, *steps),
        }
        columns |= {f"observations {key}": (column, *rows) for key, column in self.observations.items()}
        return contents.fingerprint(columns, self.table, self.action)

    def __repr__(self) -> str:
        keys = ", ".join(f"{key} {column.shape[1:]}" for key, column in self.observations.items())
        done = (
            f"{self.action.count} actions"
            if isinstance(self.action, Discrete)
            else f"{self.action.dim}-dimensional actions"
        )
        place = f", {self.environment.name}" if self.environment else ""
        return f"Demonstrations({len(self)} episodes, {self.transitions} transitions, {keys}, {done}{place})"

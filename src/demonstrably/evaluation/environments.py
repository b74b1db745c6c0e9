"""Environments: made by their Gymnasium id, and held against a policy's spec before anything is played."""

import contextlib
import difflib
import importlib
import io
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec

# Which module registers ids that begin so: tried where an id is unknown and its imports are not given.
PROVIDERS = {
    "gymnasium_robotics": ("AdroitHand", "Fetch", "Hand", "FrankaKitchen", "PointMaze", "AntMaze"),
    "metaworld": ("Meta-World/",),
    "ale_py": ("ALE/",),
    "demonstrably.environments": ("demonstrably/",),
}
INSTALL = {
    "gymnasium_robotics": "'demonstrably[mujoco]'",
    "mujoco": "'demonstrably[mujoco]'",
    "overcooked": "--no-deps overcooked",  # what it asks for besides, windows and cameras, the game does not need
    "metaworld": "metaworld",
    "ale_py": "ale-py",
}
# Environments whose reset(seed) does not forget the episode before. They are made anew for every episode.
KEEP_STATE = ("BipedalWalker",)


@dataclass(frozen=True)
class Blame:
    """Turns whatever foreign code raises inside the block into a ValueError that says where it happened."""

    where: str

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            what = " ".join(str(error).split())
            raise ValueError(f"{self.where}: {type(error).__name__}: {what}") from error


@dataclass(frozen=True)
class Interface:
    """What an environment gives and takes: all that holding it against a policy needs.

    `limit` is its number of steps before truncation, None where Gymnasium sets none.
    """

    name: str
    observations: spaces.Space
    actions: spaces.Space
    limit: int | None
    seats: int


def make(
    environment: Environment, *, render_mode: str | None = None, horizon: int | None = None
) -> gymnasium.Env[Any, Any]:
    """The environment, after its modules were imported. `horizon` replaces its own number of steps.

    Raises:
        ValueError: a package that is missing, an unknown id (with the nearest ones), or whatever the environment
            itself objects to.
    """
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon {horizon}: give at least 1 step")
    _register(environment)
    changes = {"render_mode": render_mode, "max_episode_steps": horizon}
    given = {name: value for name, value in changes.items() if value is not None}
    # The checker costs more than a step of a small environment; what matters here is checked here.
    arguments = {**environment.kwargs, **given, "disable_env_checker": True}
    with Blame(f"cannot make {environment.name}"):
        try:
            return gymnasium.make(environment.name, **arguments)
        except gymnasium.error.DependencyNotInstalled as error:
            if "mujoco" not in str(error).lower():
                raise
            raise ModuleNotFoundError(_install("mujoco")) from error  # in a version that fits, by our extra


def offered_by(environment: Environment) -> Interface:
    """What the environment gives and takes. ValueError where it cannot be made."""
    env = make(environment)
    with closing(env):
        return interface(environment, env)


def interface(environment: Environment, env: gymnasium.Env[Any, Any]) -> Interface:
    """What the made environment gives and takes."""
    limit = env.spec.max_episode_steps if env.spec else None
    return Interface(environment.name, env.observation_space, env.action_space, limit, environment.seats)


def forgets(environment: Environment) -> bool:
    """Whether a reset with a seed leaves nothing of the episode before, so that the environment can be reused."""
    return not environment.name.startswith(KEEP_STATE)


def spec_of(environment: Environment) -> Spec:
    """What a policy of the environment observes and does, where no demonstrations say so.

    Raises:
        ValueError: the environment cannot be made, or has observations or actions that no policy here can have.
    """
    offered = offered_by(environment)
    seen, acted = offered.observations, offered.actions
    boxes = dict(seen.items()) if isinstance(seen, spaces.Dict) else {"observation": seen}
    fields = {
        key: Field(box.shape, "uint8" if box.dtype == np.uint8 else "float32")
        for key, box in sorted(boxes.items())
        if isinstance(box, spaces.Box)
    }
    if len(fields) < len(boxes):
        raise ValueError(f"{environment.name} observes {seen}; Box and Dict of Box can be read")
    if isinstance(acted, spaces.Discrete):
        return Spec(fields, Discrete(int(acted.n)), environment)
    if isinstance(acted, spaces.Box) and len(acted.shape) == 1:
        return Spec(fields, Continuous(tuple(acted.low.tolist()), tuple(acted.high.tolist())), environment)
    raise ValueError(f"{environment.name} takes {acted}; a vector of real numbers or one of some choices can be given")


@dataclass(frozen=True)
class Adapter:
    """Translates between an environment and a policy.

    `sources` names, for each key that the policy reads, the parts of the environment's observation that are joined
    to it; none at all means the whole observation. `shapes` include the leading seat axis where there is one.
    """

    sources: Mapping[str, tuple[str, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    low: np.ndarray | None
    high: np.ndarray | None
    first: int
    seats: int

    def observation(self, raw: Any) -> dict[str, np.ndarray]:
        """One observation by key. Raises ValueError where the environment breaks its own observation space."""
        return {key: self._read(key, raw) for key in self.sources}

    def action(self, action: np.ndarray) -> Any:
        """The environment's action for a policy's one, (seats, ...): clipped to the bounds, or counted from `first`."""
        if self.low is not None:
            clipped = np.clip(action, self.low, self.high).astype(self.low.dtype, copy=False)
            return clipped if self.seats > 1 else clipped[0]
        return action + self.first if self.seats > 1 else int(action[0]) + self.first

    def _read(self, key: str, raw: Any) -> np.ndarray:
        parts = self.sources[key]
        value = (
            np.concatenate([raw[part] for part in parts], axis=-1)
            if len(parts) > 1
            else raw[parts[0]]
            if parts
            else raw
        )
        array = np.asarray(value, dtype=self.dtypes[key])
        if array.shape != self.shapes[key]:
            raise ValueError(f"observation {key!r} has shape {array.shape}, its space says {self.shapes[key]}")
        return array


POLICY = ("the policy", "play it in the environment of its data, or train on data of this one")
DATA = ("the data", "name the environment that it was recorded in, or give data of this one")


def check(spec: Spec, offered: Interface, whose: tuple[str, str] = POLICY) -> Adapter:
    """How to translate between the policy and the environment. `whose` spec it is, and what helps if it does not fit.

    A single unnamed observation goes to the policy's only key, whatever its name. Named observations go by name. A
    policy whose only key is "flat" gets the named vectors joined in the order of `gymnasium.spaces.flatten`, which
    sorts the names; that is how recorded "flat" columns of goal environments are ordered.

    Raises:
        ValueError: the two do not fit; it lists every difference.
    """
    (who, remedy), (sources, differences) = whose, _sources(spec, offered)
    for key, parts in sources.items():
        differences += _observation_difference(who, key, spec.observations[key], parts, offered)
    wanted, given = _action_words(spec.action), _space_words(offered.actions, offered.seats)
    if not _action_fits(spec.action, offered.actions, offered.seats):
        differences.append(f"action: {who} has {wanted}, the environment takes {given}")
    if differences:
        raise ValueError(f"{who} does not fit {offered.name}: {'; '.join(differences)}; {remedy}")
    seat = (offered.seats,) if offered.seats > 1 else ()
    box = offered.actions if isinstance(offered.actions, spaces.Box) else None
    return Adapter(
        sources,
        {key: (*seat, *spec.observations[key].shape) for key in sources},
        {key: spec.observations[key].dtype for key in sources},
        box.low if box else None,
        box.high if box else None,
        _first(offered.actions),
        offered.seats,
    )


def _register(environment: Environment) -> None:
    """Import what registers the id. ValueError where it stays unknown."""
    name = environment.name
    if "robosuite" in environment.imports and name not in gymnasium.registry:
        raise ValueError(
            f"{name} is a robosuite environment, which has no Gymnasium id; register one in a module of yours (its "
            "entry point returns robosuite's GymWrapper), and give that id and module as the environment"
        )
    for module in environment.imports:
        _import(module, name)
    if name in gymnasium.registry or ":" in name:
        return
    provider = next((module for module, begins in PROVIDERS.items() if name.startswith(begins)), None)
    if provider:
        _import(provider, name)
    if name not in gymnasium.registry:
        near = difflib.get_close_matches(name, gymnasium.registry, n=2)
        advice = f"did you mean {' or '.join(near)}?" if near else "give the module that registers it as an import"
        raise ValueError(f"no environment {name!r} is registered; {advice}")


def _import(module: str, name: str) -> None:
    # Some packages print notices to the terminal when they are imported, in every worker and through a progress bar.
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            with Blame(f"cannot import {module}, which {name} needs"):
                importlib.import_module(module)
        except ValueError as error:
            missing = error.__cause__
            if isinstance(missing, ModuleNotFoundError) and missing.name:
                raise ValueError(f"{name} cannot be made: {_install(missing.name)}") from missing
            raise


def _install(module: str) -> str:
    top = module.split(".")[0]
    advice = f"pip install {INSTALL[top]}" if top in INSTALL else "install it, or put its folder on PYTHONPATH"
    return f"the module {module!r} is not installed; {advice}"


def _sources(spec: Spec, offered: Interface) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Which parts of the observation make each key, and what cannot be had."""
    keys, space = list(spec.observations), offered.observations
    if isinstance(space, spaces.Box):
        if len(keys) == 1:
            return {keys[0]: ()}, []
        return {}, [f"of {', '.join(keys)} the environment gives one unnamed array"]
    if not isinstance(space, spaces.Dict):
        return {}, [f"the environment observes {type(space).__name__}; Box and Dict of Box can be read"]
    named = {name: part for name, part in space.items() if isinstance(part, spaces.Box)}
    if keys == ["flat"] and "flat" not in named and len(named) == len(space):
        vectors = all(len(part.shape) == (2 if offered.seats > 1 else 1) for part in named.values())
        if vectors:
            return {"flat": tuple(named)}, []
    there = f"the environment gives {', '.join(map(str, space))}"
    missing = [f"no observation {key!r} ({there})" for key in keys if key not in named]
    return {key: (key,) for key in keys if key in named}, missing


def _given(parts: tuple[str, ...], space: spaces.Space) -> tuple[tuple[int, ...], Any]:
    """Shape and type of what is read: the whole observation, one part of it, or several vectors end to end."""
    read = [space[name] for name in parts] if isinstance(space, spaces.Dict) else [space]
    boxes = [box for box in read if isinstance(box, spaces.Box)]
    lead, widths = boxes[0].shape[:-1], [box.shape[-1] for box in boxes if box.shape]
    return ((*lead, sum(widths)) if len(boxes) > 1 else boxes[0].shape), boxes[0].dtype


def _observation_difference(who: str, key: str, field: Field, parts: tuple[str, ...], offered: Interface) -> list[str]:
    wanted = (offered.seats, *field.shape) if offered.seats > 1 else field.shape
    shape, dtype = _given(parts, offered.observations)
    if shape == wanted and (field.dtype != "uint8" or dtype == np.uint8):
        return []
    channels_first = len(wanted) == 3 and shape == (wanted[2], wanted[0], wanted[1])
    hint = " (channels first; images are height, width, channels here)" if channels_first else ""
    given = f"the environment gives {shape} {dtype}{hint}"
    return [f"observation {key!r}: {who} has {wanted} {field.dtype}, {given}"]


def _action_fits(action: Continuous | Discrete, space: spaces.Space, seats: int) -> bool:
    if isinstance(action, Continuous):
        wanted = (seats, action.dim) if seats > 1 else (action.dim,)
        if not isinstance(space, spaces.Box) or space.shape != wanted:
            return False
        # A recorded range need not be the environment's: what is outside is clipped. No overlap at all is a mistake.
        return bool(np.all((space.low <= np.array(action.high)) & (space.high >= np.array(action.low))))
    if seats > 1:
        return (
            isinstance(space, spaces.MultiDiscrete)
            and space.shape == (seats,)
            and len(set(map(int, space.start))) == 1
            and action.count <= int(space.nvec.min())
        )
    return isinstance(space, spaces.Discrete) and action.count <= int(space.n)


def _first(space: spaces.Space) -> int:
    """The number of the first discrete action."""
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.start[0])
    return int(space.start) if isinstance(space, spaces.Discrete) else 0


def _action_words(action: Continuous | Discrete) -> str:
    if isinstance(action, Discrete):
        return f"{action.count} choices"
    return f"{action.dim} real numbers in [{min(action.low):g}, {max(action.high):g}]"


def _space_words(space: spaces.Space, seats: int) -> str:
    each = f" for {seats} seats" if seats > 1 else ""
    if isinstance(space, spaces.Discrete):
        return f"{space.n} choices{each}"
    if isinstance(space, spaces.Box):
        return f"real numbers of shape {space.shape} in [{space.low.min():g}, {space.high.max():g}]{each}"
    return f"{space}{each}"

"""What is observed, what can be done, and in which environment: all that a network needs to be built."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Field:
    """One observation key.

    `shape` is one step's shape, images as (height, width, channels). `mean` and `scale` (flat over `shape`) are the
    training data's exact statistics for a low-dimensional key; a scale of 0 marks a constant dimension, which a
    network masks. They are None where nothing is normalized (images).
    """

    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"] = "float32"
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if values is not None and len(values) != self.size:
                raise ValueError(f"{name} has {len(values)} values for shape {self.shape}; give {self.size}")

    @property
    def size(self) -> int:
        """Number of values in one step."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether a vision encoder reads it: bytes laid out as (height, width, channels)."""
        return self.dtype == "uint8" and len(self.shape) == 3


@dataclass(frozen=True)
class Continuous:
    """A vector of real actions with a bound on either side of each dimension."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        pairs = zip(self.low, self.high, strict=False)
        if not self.low or len(self.low) != len(self.high) or not all(-math.inf < a < b < math.inf for a, b in pairs):
            raise ValueError(
                f"action bounds low {self.low} and high {self.high}: give finite low < high in each dimension"
            )

    @property
    def dim(self) -> int:
        """Number of action dimensions."""
        return len(self.low)


@dataclass(frozen=True)
class Discrete:
    """One of `count` actions, written 0 to count - 1."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"a discrete action needs at least 2 choices, got {self.count}")


@dataclass(frozen=True)
class Environment:
    """How to make the environment: a Gymnasium id, its keyword arguments, and the modules that register it.

    With `seats` above 1 one policy plays all seats: the environment's observations and actions carry a leading
    seat axis.
    """

    name: str
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    imports: tuple[str, ...] = ()
    seats: int = 1


@dataclass(frozen=True)
class Spec:
    """Observations by key, the action, and the environment where one is known."""

    observations: Mapping[str, Field]
    action: Continuous | Discrete
    environment: Environment | None = None

    def __post_init__(self) -> None:
        if not self.observations:
            raise ValueError("a spec needs at least one observation key")

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON."""
        observations = {key: dataclasses.asdict(field) for key, field in self.observations.items()}
        environment = dataclasses.asdict(self.environment) if self.environment else None
        values = {"observations": observations, "action": dataclasses.asdict(self.action), "environment": environment}
        return json.loads(json.dumps(values))  # tuples become lists, as they are when read back from a file

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Spec":
        """The spec that `to_dict` wrote."""
        action = values["action"]
        environment = values["environment"]
        return cls(
            {key: _field(field) for key, field in values["observations"].items()},
            Discrete(action["count"]) if "count" in action else Continuous(tuple(action["low"]), tuple(action["high"])),
            Environment(**{**environment, "imports": tuple(environment["imports"])}) if environment else None,
        )


def _field(values: Mapping[str, Any]) -> Field:
    mean, scale = values["mean"], values["scale"]
    return Field(
        tuple(values["shape"]),
        values["dtype"],
        None if mean is None else tuple(mean),
        None if scale is None else tuple(scale),
    )

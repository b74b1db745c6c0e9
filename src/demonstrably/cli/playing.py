"""The options of every command that plays episodes: where, how long, and what counts as a success."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is used: `--help` does not need scipy, pyarrow and torch
    from demonstrably.evaluation.fresh import Conditions


@dataclass(frozen=True)
class Playing:
    """How episodes are played."""

    env: str | None = None
    """Environment id; by default that of the run's data."""
    env_import: tuple[str, ...] = ()
    """Modules that register the environment's id."""
    horizon: int | None = None
    """Steps after which an episode is cut off; by default the environment's own."""
    success: str = "any"
    """When an episode succeeds: any or last (the environment's signal at any step or at the last), or a rule
    such as "return >= 475"."""
    workers: int | None = None
    """Processes that hold the environments; 0 plays in this one."""
    device: str = "cpu"
    """Where the policies compute."""

    def __post_init__(self) -> None:
        if self.env_import and self.env is None:
            raise ValueError("--env-import names the modules of an environment: give its id with --env")

    def conditions(self) -> "Conditions":
        """The conditions that the options describe."""
        from demonstrably.evaluation.fresh import Conditions
        from demonstrably.spec import Environment

        place = None if self.env is None else Environment(self.env, imports=self.env_import)
        return Conditions(
            place, horizon=self.horizon, success=self.success, workers=self.workers, device=self.device
        )

"""The reinforcement learner inside an inverse one: soft actor-critic, or soft Q-learning where actions are discrete."""

from typing import Protocol, runtime_checkable

from demonstrably.learners.contract import State
from demonstrably.learners.policies import actor_of
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.spec import Continuous, Discrete

Generator = SAC | SoftQ


@runtime_checkable
class Generating(Protocol):
    """A learner with a generator inside."""

    @property
    def generator(self) -> Generator | None:
        """The one that was given."""
        ...

    def usual(self) -> tuple[SAC, SoftQ]:
        """Those that it chooses from where none was given."""
        ...


def generator_for(learner: Generating, action: Continuous | Discrete) -> Generator:
    """The one given, or of the usual ones the one that fits the actions."""
    if learner.generator is not None:
        return learner.generator
    return learner.usual()[1 if isinstance(action, Discrete) else 0]


def of_part(learner: Generating, state: State) -> tuple[Generator, State]:
    """The generator inside a learner whose state it is, and its own state."""
    part = state.parts["generator"]
    return generator_for(learner, action_of(part)), part


def action_of(state: State) -> Continuous | Discrete:
    """The action space of the generator whose state it is."""
    return actor_of(state, "actor" if "actor" in state.networks else "critic").spec.action

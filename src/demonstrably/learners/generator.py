"""The reinforcement learner inside an inverse one: soft actor-critic, or soft Q-learning where actions are discrete."""

from demonstrably.learners.contract import State
from demonstrably.learners.policies import actor_of
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.spec import Continuous, Discrete

Generator = SAC | SoftQ


def generator_for(generator: Generator | None, usual: tuple[SAC, SoftQ], action: Continuous | Discrete) -> Generator:
    """The one given, or of the usual ones the one that fits the actions."""
    if generator is not None:
        return generator
    return usual[1] if isinstance(action, Discrete) else usual[0]


def of_part(state: State, generator: Generator | None, usual: tuple[SAC, SoftQ]) -> tuple[Generator, State]:
    """The generator inside a learner's state, and its own state."""
    part = state.parts["generator"]
    return generator_for(generator, usual, action_of(part)), part


def action_of(state: State) -> Continuous | Discrete:
    """The action space of the generator whose state it is."""
    return actor_of(state, "actor" if "actor" in state.networks else "critic").spec.action

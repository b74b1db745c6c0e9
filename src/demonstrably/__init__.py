"""Learn from human demonstrations, and say how good the result is with how sure that is.

The public names are imported on first use, so that `import demonstrably` stays cheap and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demonstrably.data.demonstrations import Demonstrations, Episode
    from demonstrably.data.findings import inspect
    from demonstrably.data.formats import load, save
    from demonstrably.evaluation.compare import compare
    from demonstrably.evaluation.rollout import rollout
    from demonstrably.evaluation.select import select
    from demonstrably.learners.bc import BC
    from demonstrably.learners.bc_rnn import BCRNN
    from demonstrably.learners.contract import Learner, Policy, State
    from demonstrably.spec import Continuous, Discrete, Environment, Field, Spec
    from demonstrably.training.loop import train

__version__ = "0.1.0"

__all__ = [
    "BC",
    "BCRNN",
    "Continuous",
    "Demonstrations",
    "Discrete",
    "Environment",
    "Episode",
    "Field",
    "Learner",
    "Policy",
    "Spec",
    "State",
    "compare",
    "inspect",
    "load",
    "rollout",
    "save",
    "select",
    "train",
]

_HOME = {
    "BC": "learners.bc",
    "BCRNN": "learners.bc_rnn",
    "Continuous": "spec",
    "Demonstrations": "data.demonstrations",
    "Discrete": "spec",
    "Environment": "spec",
    "Episode": "data.demonstrations",
    "Field": "spec",
    "Learner": "learners.contract",
    "Policy": "learners.contract",
    "Spec": "spec",
    "State": "learners.contract",
    "compare": "evaluation.compare",
    "inspect": "data.findings",
    "load": "data.formats",
    "rollout": "evaluation.rollout",
    "save": "data.formats",
    "select": "evaluation.select",
    "train": "training.loop",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use and keep it.

    Raises:
        AttributeError: the name is not public.
    """
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'demonstrably' has no attribute {name!r}")
    value = vars(import_module(f"{__name__}.{home}"))[name]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

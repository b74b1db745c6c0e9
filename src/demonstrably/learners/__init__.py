"""Everything that is trained by minibatches, one file an algorithm; here is the one dict of their names."""

from collections.abc import Mapping
from types import MappingProxyType

from demonstrably.learners import bc, bc_rnn, iq_learn
from demonstrably.learners.contract import Learner

# Name -> the learner with its defaults, and presets by name.
LEARNERS: Mapping[str, tuple[type[Learner], Mapping[str, Learner]]] = MappingProxyType(
    {
        "bc": (bc.BC, bc.PRESETS),
        "bc-rnn": (bc_rnn.BCRNN, bc_rnn.PRESETS),
        "iq-learn": (iq_learn.IQLearn, iq_learn.PRESETS),
    }
)

"""Everything that is trained by minibatches, one file an algorithm; here is the one dict of their names."""

from collections.abc import Mapping
from types import MappingProxyType

from demonstrably.learners import airl, bc, bc_rnn, csil, gail, iq_learn, sac, soft_q, sqil, value_dice
from demonstrably.learners.contract import Learner

# Name -> the learner with its defaults, and presets by name.
LEARNERS: Mapping[str, tuple[type[Learner], Mapping[str, Learner]]] = MappingProxyType(
    {
        "airl": (airl.AIRL, airl.PRESETS),
        "bc": (bc.BC, bc.PRESETS),
        "bc-rnn": (bc_rnn.BCRNN, bc_rnn.PRESETS),
        "csil": (csil.CSIL, csil.PRESETS),
        "gail": (gail.GAIL, gail.PRESETS),
        "iq-learn": (iq_learn.IQLearn, iq_learn.PRESETS),
        "sac": (sac.SAC, sac.PRESETS),
        "soft-q": (soft_q.SoftQ, soft_q.PRESETS),
        "sqil": (sqil.SQIL, sqil.PRESETS),
        "value-dice": (value_dice.ValueDICE, value_dice.PRESETS),
    }
)

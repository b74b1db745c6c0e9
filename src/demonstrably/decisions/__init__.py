"""Decisions under uncertainty: the loss that they reveal, whether groups meet the same one, and how to ask for it.

Imports numpy, scipy and pyarrow, and no torch.
"""

from demonstrably.decisions import examples
from demonstrably.decisions.audit import audit
from demonstrably.decisions.auditing import Audit
from demonstrably.decisions.behaviors import noisy, optimal
from demonstrably.decisions.elicit import elicit
from demonstrably.decisions.elicitation import Elicitation
from demonstrably.decisions.estimate import LossEstimate
from demonstrably.decisions.fit import fit_loss
from demonstrably.decisions.loss import bayes_rule, loss_matrix, relative_cost, risk
from demonstrably.decisions.multiclass import fit_losses
from demonstrably.decisions.posterior import Posterior
from demonstrably.decisions.table import Decisions, read_decisions

__all__ = [
    "Audit",
    "Decisions",
    "Elicitation",
    "LossEstimate",
    "Posterior",
    "audit",
    "bayes_rule",
    "elicit",
    "examples",
    "fit_loss",
    "fit_losses",
    "loss_matrix",
    "noisy",
    "optimal",
    "read_decisions",
    "relative_cost",
    "risk",
]

"""What it costs to decide wrongly: loss matrices, the relative cost, the rule that is best for it, its risk.

Laidlaw and Russell, "Uncertain Decisions Facilitate Better Preference Learning", NeurIPS 2021, arXiv 2106.10394.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def relative_cost(losses: ArrayLike) -> float:
    """Eq. 1: c = (C10 - C00) / (C10 + C01 - C00 - C11), the only thing about a loss that decisions depend on.

    `losses` (2, 2) is C[decision, outcome], in any unit. c in (0, 1) is the cost of a false positive against 1 - c of a
    false negative. Raises ValueError where the right decision is not strictly the cheaper one, for either outcome.
    """
    matrix = np.asarray(losses, float)
    if matrix.shape != (2, 2):
        raise ValueError(f"losses of shape {matrix.shape}: give (2, 2), the loss of each decision (row) and outcome")
    positive, negative = matrix[1, 0] - matrix[0, 0], matrix[0, 1] - matrix[1, 1]
    if not (positive > 0 and negative > 0 and np.isfinite(positive + negative)):
        raise ValueError(
            f"losses {matrix.tolist()}: the right decision must cost strictly less than the wrong one for either "
            "outcome, C[0, 0] < C[1, 0] and C[1, 1] < C[0, 1]"
        )
    return float(positive / (positive + negative))


def loss_matrix(cost: float) -> NDArray:
    """Eq. 2: C = [[0, 1 - c], [c, 0]], the loss C[decision, outcome] (2, 2) with this relative cost."""
    _require_cost(cost)
    return np.array([[0.0, 1.0 - cost], [cost, 0.0]])


def bayes_rule(posterior: ArrayLike, cost: float) -> NDArray:
    """Eq. 3: h(x) = 1{P(Y = 1 | x) >= c}, the decisions (n,), 0.0 or 1.0, of least risk for posteriors (n,)."""
    _require_cost(cost)
    return (np.asarray(posterior, float) >= cost).astype(float)


def risk(decisions: ArrayLike, posterior: ArrayLike, cost: float) -> float:
    """Eq. 4: R = mean of c 1{h = 1} (1 - q) + (1 - c) 1{h = 0} q, for decisions (n,) at posteriors q (n,)."""
    _require_cost(cost)
    decided, q = np.asarray(decisions, float), np.asarray(posterior, float)
    return float(np.mean(cost * decided * (1.0 - q) + (1.0 - cost) * (1.0 - decided) * q))


def _require_cost(cost: float) -> None:
    if not 0.0 < cost < 1.0:
        raise ValueError(f"relative cost {cost}: give a number in (0, 1), such as `relative_cost(losses)`")

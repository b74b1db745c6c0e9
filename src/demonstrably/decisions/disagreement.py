"""How many decisions the best threshold on a posterior does not make, and which costs are best."""

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from demonstrably.decisions.estimate import Disagreement


def least_disagreement(decisions: ArrayLike, probability: ArrayLike, level: float = 0.95) -> Disagreement:
    """The best rule {q >= c} among all costs c in (0, 1): its misses, the exact interval of their rate, and its cost.

    `decisions` (n,) 0/1, `probability` (n,) in [0, 1]. One sort and one scan, ties included. Where several costs are
    equally good, `cost` is the middle of the widest interval of them; `best_costs` gives all. The interval of the rate
    (Clopper-Pearson) takes the rule as given before the decisions were seen.
    """
    edges, misses = scan(np.asarray(decisions, float), np.asarray(probability, float))
    fewest = int(misses.min())
    middles, widths = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges)
    cost = float(middles[np.argmax(np.where(misses == fewest, widths, -1.0))])
    low, high = rate_interval(fewest, len(np.asarray(decisions)), level)
    return Disagreement(fewest, len(np.asarray(decisions)), low, high, cost)


def best_costs(decisions: ArrayLike, probability: ArrayLike) -> tuple[float, float]:
    """The least interval (low, high] that holds every cost of least disagreement."""
    edges, misses = scan(np.asarray(decisions, float), np.asarray(probability, float))
    best = np.flatnonzero(misses == misses.min())
    return float(edges[best[0]]), float(edges[best[-1] + 1])


def scan(
    decisions: Float[np.ndarray, "n"], probability: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "k_plus_1"], Int[np.ndarray, "k"]]:
    """Edges e_0 = 0 < ... < e_k = 1, and the misses of every rule whose cost lies in (e_i, e_(i+1)].

    Certain posteriors leave no choice: q = 1 is always decided 1 and q = 0 always 0, since 0 < c < 1.
    """
    order = np.argsort(probability)
    values, positive = probability[order], decisions[order] > 0.5
    starts = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])
    missed = np.concatenate([[0], np.cumsum(positive) - np.cumsum(~positive)])[starts] + int((~positive).sum())
    edges = np.concatenate([[0.0], values[starts[:-1]], [1.0]])
    real = np.diff(edges) > 0.0
    return np.concatenate([[0.0], edges[1:][real]]), missed[real]


def rate_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate, (low, high)."""
    tail = (1.0 - level) / 2.0
    low = betaincinv(count, total - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, total - count, 1.0 - tail) if count < total else 1.0
    return float(low), float(high)

"""A person who follows a threshold with noise: the exact posterior of the cost, on a grid that zooms in by itself.

    P(1 | q) = lapse / 2 + (1 - lapse) sigmoid(slope (logit q - logit c))

Whatever the lapse and the slope, the decisions cross one half at q = c. The priors are weak: c uniform on (0, 1), log
slope Normal(log 3, 1.5), lapse Beta(1, 9) on [0, 1/2]. The prior of the slope matters only where hardly a decision is
in doubt: there it says that a person without any noise is less usual than one with a little.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import expit, log_expit, logit

SMALLEST = 1e-6  # probabilities are kept so far from 0 and 1
BINS = 250
COARSE, FINE = (21, 17, 9), (41, 25, 11)  # nodes for logit c, log slope, lapse
WIDEST = ((-9.0, 9.0), (math.log(0.02), math.log(1000.0)), (0.0, 0.5))
MANY = 2001  # nodes of logit c that quantiles are taken on
BEST = 40  # nodes that a zoom always keeps: the peak may lie between them
NEGLIGIBLE = 14.0  # in log-probability below the best
ZOOMS = 25

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class NoisyFit:
    """Posterior of one noisy decision maker: the cost's median and interval, and the means of slope and lapse.

    `error` is the standard deviation of logit c; `level` the interval's posterior probability.
    """

    point: float
    low: float
    high: float
    error: float
    slope: float
    lapse: float
    level: float = 0.95


@dataclass(frozen=True, eq=False)
class Sorted:
    """Decisions in the order of their log-odds, with running sums: any binning of them is then a look-up."""

    odds: NDArray  # (n,)
    sums: NDArray  # (n + 1, 2): of decisions, of log-odds


def probability_of_one(odds: NDArray, center: NDArray, slope: NDArray, lapse: NDArray) -> NDArray:
    """Eq. 1: P(1 | s) = lapse / 2 + (1 - lapse) sigmoid(slope (s - center)), for log-odds s. Arrays broadcast."""
    return lapse / 2.0 + (1.0 - lapse) * expit(slope * (odds - center))


def log_prior(center: NDArray, log_slope: NDArray, lapse: NDArray) -> NDArray:
    """Eq. 2: log density of (logit c, log slope, lapse), up to a constant. Arrays broadcast."""
    cost = log_expit(center) + log_expit(-center)
    slope = -0.5 * ((log_slope - math.log(3.0)) / 1.5) ** 2
    return cost + slope + 8.0 * np.log1p(-np.minimum(2.0 * lapse, 1.0 - 1e-9))


def fit_noisy(
    decisions: Float[np.ndarray, "n"], probability: Float[np.ndarray, "n"], level: float = 0.95
) -> NoisyFit:
    """The relative cost of a decision maker who follows a threshold on `probability` (n,) with noise.

    `decisions` (n,) are 0 or 1; at least one. Exact up to the grid, whose error is below a hundredth of the standard
    error. Raises ValueError for arrays of unequal length, or none.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: must be between 0 and 1, for instance 0.95")
    if decisions.shape != probability.shape or not len(decisions):
        raise ValueError(f"{decisions.shape} decisions, {probability.shape} probabilities: give equally many, >= 1")
    evidence = _sort(decisions, logit(np.clip(probability, SMALLEST, 1.0 - SMALLEST)))
    axes, mass = _zoom(evidence)
    log_slope, lapse = (_marginal(mass, axis) for axis in (1, 2))
    nodes, center = _smooth(axes[0], _marginal(mass, 0))
    tail = (1.0 - level) / 2.0
    low, point, high = expit(_quantiles(nodes, center, np.array([tail, 0.5, 1.0 - tail]))).tolist()
    mean = nodes @ center
    error = math.sqrt(((nodes - mean) ** 2) @ center)
    slope = math.exp(axes[1] @ log_slope)
    return NoisyFit(point, low, high, error, slope, float(axes[2] @ lapse), level)


def _sort(decisions: NDArray, odds: NDArray) -> Sorted:
    order = np.argsort(odds, kind="stable")
    columns = np.stack([decisions[order], odds[order]], axis=1)
    return Sorted(odds[order], np.concatenate([np.zeros((1, 2)), columns.cumsum(axis=0)]))


def _zoom(evidence: Sorted) -> tuple[list[NDArray], NDArray]:
    """Axes of the grid that holds the posterior, and its mass (centers, slopes, lapses), summing to 1."""
    box = WIDEST
    for _ in range(ZOOMS):
        axes, density = _evaluate(evidence, box, COARSE)
        closer = _closer(axes, density)
        if all(_length(new) > 0.7 * _length(old) for new, old in zip(closer, box, strict=True)):
            break
        box = closer
    axes, density = _evaluate(evidence, box, FINE)
    mass = np.exp(density - density.max())
    for axis in (1, 2):  # trapezoid: a border node stands for half a cell
        np.moveaxis(mass, axis, 0)[[0, -1]] *= 0.5
    return axes, mass / mass.sum()


def _closer(axes: list[NDArray], density: NDArray) -> Box:
    """The box of the nodes that matter, with a cell to spare on each side."""
    floor = min(density.max() - NEGLIGIBLE, np.partition(density.ravel(), -BEST)[-BEST])
    nodes = np.nonzero(density >= floor)
    ends = []
    for axis, index, widest in zip(axes, nodes, WIDEST, strict=True):
        cell = axis[1] - axis[0]
        ends.append((max(axis[index.min()] - cell, widest[0]), min(axis[index.max()] + cell, widest[1])))
    return ends[0], ends[1], ends[2]


def _length(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


def _evaluate(evidence: Sorted, box: Box, nodes: tuple[int, int, int]) -> tuple[list[NDArray], NDArray]:
    """Axes, and the log posterior (centers, slopes, lapses) on them."""
    axes = [np.linspace(*ends, number) for ends, number in zip(box, nodes, strict=True)]
    odds, ones, zeros = _bins(evidence, box)
    logits = np.exp(axes[1])[:, None] * (odds - axes[0][:, None, None])
    rising, falling = expit(logits), expit(-logits)
    density = log_prior(axes[0][:, None, None], axes[1][:, None], axes[2])
    for index, lapse in enumerate(axes[2]):
        one = np.log(np.maximum(lapse / 2.0 + (1.0 - lapse) * rising, 1e-300))
        zero = np.log(np.maximum(lapse / 2.0 + (1.0 - lapse) * falling, 1e-300))
        density[:, :, index] += one @ ones + zero @ zeros
    return axes, density


def _bins(evidence: Sorted, box: Box) -> tuple[NDArray, NDArray, NDArray]:
    """Mean log-odds, ones and zeros of at most BINS bins: finest where the box has its crossing."""
    if len(evidence.odds) <= BINS:
        ones = np.diff(evidence.sums[:, 0])
        return evidence.odds, ones, 1.0 - ones
    middle, finest = (box[0][0] + box[0][1]) / 2.0, max(_length(box[0]), math.exp(-box[1][1]))
    first, last = np.arcsinh((evidence.odds[[0, -1]] - middle) / finest)
    edges = middle + finest * np.sinh(np.linspace(first, last, BINS + 1)[1:-1])
    places = np.concatenate([[0], np.searchsorted(evidence.odds, edges), [len(evidence.odds)]])
    counts, sums = np.diff(places), np.diff(evidence.sums[places], axis=0)
    filled = counts > 0
    counts, ones, odds = counts[filled], sums[filled, 0], sums[filled, 1]
    return odds / counts, ones, counts - ones


def _marginal(mass: NDArray, axis: int) -> NDArray:
    return mass.sum(axis=tuple(other for other in range(3) if other != axis))


def _smooth(nodes: NDArray, mass: NDArray) -> tuple[NDArray, NDArray]:
    """The same density on many more nodes: its logarithm is interpolated by a cubic spline."""
    many = np.linspace(nodes[0], nodes[-1], MANY)
    density = np.exp(CubicSpline(nodes, np.log(np.maximum(mass, 1e-60)))(many))
    return many, density / density.sum()


def _quantiles(nodes: NDArray, mass: NDArray, at: NDArray) -> NDArray:
    """Quantiles of a density given by its mass at equally spaced nodes."""
    running = np.concatenate([[0.0], (mass[1:] + mass[:-1]).cumsum()])
    return np.interp(at, running / running[-1], nodes)

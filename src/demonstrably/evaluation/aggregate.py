"""Summaries over trained members and tasks, in the sense of rliable (Agarwal et al., arXiv 2108.13264).

Scores are arrays (members, tasks): one number a training run and task, itself a mean over episodes. These are
statements about the training procedure, the members being its sample. With three members they are weak, and
the bootstrap, which knows nothing but the members it has, is then too narrow besides.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from demonstrably.evaluation.intervals import Measured
from demonstrably.evaluation.sequential import Numbers


def iqm(scores: Numbers) -> float:
    """Interquartile mean: the mean of the middle half of all scores, members and tasks taken together.

    A quarter of the scores, rounded down, is left out at each end; below four scores it is the plain mean.
    """
    values = np.sort(_scores(scores), axis=None)
    cut = values.size // 4
    return float(values[cut : values.size - cut].mean())


def probability_of_improvement(first: Numbers, second: Numbers) -> float:
    """Probability that a member of the first does better than one of the second, a tie counting half.

    Averaged over tasks: (members, tasks) each, with the same tasks. The members may differ in number.
    """
    x, y = _scores(first), _scores(second)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} and {y.shape[1]} tasks: compare the same tasks")
    difference = x[:, None] - y[None]
    return float(((difference > 0.0) + 0.5 * (difference == 0.0)).mean())


def performance_profile(scores: Numbers, thresholds: Numbers) -> NDArray[np.float64]:
    """Share of scores above each threshold: members within a task, then averaged over tasks."""
    values, limits = _scores(scores), np.asarray(thresholds, dtype=np.float64)
    return (values[..., None] > limits).mean(axis=(0, 1))


def stratified_bootstrap_interval(
    statistic: Callable[..., float],
    *scores: Numbers,
    repetitions: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Measured:
    """A statistic of one or more (members, tasks) arrays with its percentile bootstrap interval.

    Members are drawn with replacement within each task, independently in each array; tasks are kept. The
    ``episodes`` of the result are the members of the arrays together.
    """
    if not scores:
        raise ValueError("no scores: give at least one array (members, tasks)")
    arrays, generator = [_scores(array) for array in scores], np.random.default_rng(seed)
    drawn = [generator.integers(len(x), size=(repetitions, *x.shape)) for x in arrays]
    values = [
        statistic(*(np.take_along_axis(x, rows[i], axis=0) for x, rows in zip(arrays, drawn, strict=True)))
        for i in range(repetitions)
    ]
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Measured(statistic(*arrays), float(low), float(high), sum(len(x) for x in arrays))


def _scores(scores: Numbers) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"scores have shape {values.shape}: give (members, tasks), one number each")
    return values

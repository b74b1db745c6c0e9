"""Evidence that may be looked at after every episode.

An e-process is a non-negative process whose mean is at most one, at every stopping time, while the
hypothesis is true. By Ville's inequality it ever reaches 1 / alpha with probability at most alpha, so one
may look as often as one likes, stop when one likes, and go on later.

All of them here are wealths of a bettor against "the mean of a score in [0, 1] is at most m". Staking the
share b of the wealth on an episode with score x multiplies it by ``1 - b + b x / m``. Nobody knows the best
share, so the stake is spread over 64 shares under the arcsine law, whose mean wealth is again an e-process
(the mixture of Robbins; "diversified Kelly" of Waudby-Smith and Ramdas, arXiv 2010.09686; the universal
portfolio of Orabona and Jun, arXiv 2110.14099). For paired successes this mixture is the sign test
``sign_test``; its 64-point rule is itself a valid mixture, so the rule costs no validity.

Logarithms are returned throughout.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln

Numbers = np.ndarray | np.number | float | int | Sequence[Any]
"""What is taken as an array of numbers (numpy's ArrayLike does not admit an int under run-time checks)."""

NODES = 64
BETS: NDArray[np.float64] = np.sin((np.arange(NODES) + 0.5) * np.pi / (2 * NODES))  # arcsine law on (0, 1)
GRID = 200  # means between which `unpaired_evidence` looks for the least favourable one

_LOG_LARGEST = 690.0  # exp of it still fits in a float64


def sign_test(wins: Numbers, losses: Numbers) -> NDArray[np.float64]:
    """Log e-value against "a discordant pair is a win with probability at most 1/2".

    ``wins`` and ``losses`` count the seeds on which exactly one of two policies succeeded; any shape, the
    result has the same. It is the integral of ``(2 t)^wins (2 (1 - t))^losses`` over Beta(1/2, 1/2) cut to
    ``t > 1/2``::

        log E = betaln(1/2 + w, 1/2 + l) + log(1 - I_{1/2}(1/2 + w, 1/2 + l))
                - betaln(1/2, 1/2) + log 2 + (w + l) log 2

    One pair multiplies E by at most ``2 t q + 2 (1 - t) (1 - q)`` on average, q being the chance of a win:
    exactly 1 at q = 1/2, below it under q < 1/2. Ties change nothing.
    """
    w, n = np.asarray(wins, dtype=np.float64) + 0.5, np.asarray(losses, dtype=np.float64) + 0.5
    upper = betainc(n, w, 0.5)  # 1 - I_{1/2}(w, n)
    seen = upper > 1e-290  # below, with hundreds more losses than wins, it underflows: no evidence at all
    log_e = betaln(w, n) + np.log(np.where(seen, upper, 1.0)) - math.log(math.pi) + (w + n) * math.log(2.0)
    return np.where(seen, log_e, -math.inf)


def log_factors(scores: Numbers, mean: Numbers) -> NDArray[np.float64]:
    """Log growth of each stake against "the mean is at most ``mean``": shape (..., NODES).

    ``scores`` in [0, 1] and ``mean`` in (0, 1) broadcast against one another. Add the results over episodes,
    then average the wealths with ``mixed``.
    """
    ratio = np.asarray(np.asarray(scores, dtype=np.float64) / np.asarray(mean, dtype=np.float64))
    return np.log1p(BETS * (ratio[..., None] - 1.0))


def mixed(log_wealth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the mean wealth over the stakes, the last axis: (..., NODES) -> (...)."""
    top = np.asarray(log_wealth.max(axis=-1))
    return np.asarray(top + np.log(np.exp(log_wealth - top[..., None]).mean(axis=-1)))


def betting_test(differences: Numbers, margin: float = 0.0) -> NDArray[np.float64]:
    """Log e-process against "the mean of paired differences is at most ``margin``".

    ``differences`` in [-1, 1], shape (..., n), in the order in which the pairs were drawn; the result has the
    same shape and holds the evidence after each pair. Margin in (-1, 1).
    """
    scores = (np.asarray(differences, dtype=np.float64) + 1.0) / 2.0
    return mixed(log_factors(scores, (1.0 + margin) / 2.0).cumsum(axis=-2))


def mean_test(scores: Numbers, mean: Numbers) -> NDArray[np.float64]:
    """Log e-process against "the mean of scores in [0, 1] is at most ``mean``": (..., n) -> (..., n)."""
    values = np.asarray(scores, dtype=np.float64)
    return mixed(log_factors(values, np.asarray(mean, dtype=np.float64)[..., None]).cumsum(axis=-2))


def grid_means() -> NDArray[np.float64]:
    """The means, (GRID,), at which one arm's wealth is kept for unpaired comparisons."""
    return (np.arange(GRID) + 0.5) / GRID


def unpaired_evidence(
    above: NDArray[np.float64], below: NDArray[np.float64], slack: float = 0.0
) -> NDArray[np.float64]:
    """Log e-value against "the first arm's mean is at most the second's minus ``slack``".

    The arms are played on seeds of their own, in any order and number that only the past decides. ``above``
    (..., GRID) is the first arm's log wealth against "mean at most m", ``below`` the second's against "mean
    at least m", at ``grid_means()``. If the hypothesis is true there is an m with first mean <= m and
    m + slack <= second mean; the product of the two wealths there is an e-process, and the least product
    over m is never larger.

    Both logarithms are convex in m, so the least value between grid points is bounded from below by the lines
    through the neighbours: f >= 2 f(best) - f(worse neighbour). ``slack`` is rounded down to the grid, which
    only widens the hypothesis.
    """
    shift = math.floor(slack * GRID + 1e-9)
    total = above[..., : GRID - shift] + below[..., shift:]
    padded = np.concatenate([total[..., :1], total, total[..., -1:]], axis=-1)
    at = np.asarray(total.argmin(axis=-1))[..., None]
    neighbours = [np.take_along_axis(padded, at + step, axis=-1)[..., 0] for step in (0, 2)]
    return np.asarray(2.0 * np.take_along_axis(total, at, axis=-1)[..., 0] - np.maximum(*neighbours))


def e_value(log_evidence: Numbers) -> NDArray[np.float64]:
    """The e-value of a logarithm, capped so that it stays a finite number."""
    return np.asarray(np.exp(np.minimum(log_evidence, _LOG_LARGEST)))


def pairs_to_decide(gap: float, square: float, needed: float) -> int:
    """Roughly how many pairs bring ``needed`` more nats, if differences go on with this mean and mean square.

    The best stake grows the wealth by about ``gap^2 / (2 square)`` nats a pair; the mixture pays about half a
    logarithm of the number of pairs for not knowing that stake.
    """
    growth = gap * gap / (2.0 * max(square, gap * gap, 1e-12))
    pairs = max(needed, 0.0) / growth
    return math.ceil((max(needed, 0.0) + 0.5 * math.log1p(pairs)) / growth)

"""Logistic curves of 0/1 values on log-odds, one a group at once, fitted near a point; and what clusters do to them.

    P(1 | s) = sigmoid(height + slope (s - center)),  weighted by exp(-(s - center)^2 / (2 window^2))

Source: local likelihood (Fan, Heckman and Wand 1995); jackknife by cluster (Bell and McCaffrey 2002); two ways of
clustering (Cameron, Gelbach and Miller 2011).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

DOUBT = 12.0  # values in doubt (Eq. 2) that large-sample errors need
WINDOW = 1.5  # in units of the noise, 1 / slope: a wider one is hardly more precise, and leans on the noise's shape
STEPS = 60
SETTLED = 1e-7


@dataclass(frozen=True, eq=False)
class Rows:
    """Values 0/1 (n,), or means, at log-odds (n,) in groups 0..`groups` - 1 (n,); `weight` (n,) counts them."""

    values: NDArray
    odds: NDArray
    group: NDArray
    weight: NDArray
    groups: int

    def totals(self, column: NDArray) -> NDArray:
        """Sums (G,) of a column (n,) over the groups."""
        return np.bincount(self.group, column, minlength=self.groups)


@dataclass(frozen=True, eq=False)
class Curves:
    """A curve a group: `center`, `height`, `slope` and `window` (G,); `fitted` (G,) where there is one at all."""

    center: NDArray
    height: NDArray
    slope: NDArray
    window: NDArray
    fitted: NDArray


@dataclass(frozen=True, eq=False)
class Pairs:
    """The rows that a cluster has in a group are a pair: `row` (n,) numbers it; `cluster` and `group` of each pair."""

    row: NDArray
    cluster: NDArray
    group: NDArray


def pairs_of(cluster: NDArray | None, group: NDArray) -> Pairs:
    """Pairs of codes (n,) of clusters and groups; without clusters each row is its own."""
    if cluster is None:
        rows = np.arange(len(group))
        return Pairs(rows, rows, group)
    groups = int(group.max()) + 1
    both, row = np.unique(cluster * groups + group, return_inverse=True)
    return Pairs(row, both // groups, both % groups)


def rise(rows: Rows, ways: list[Pairs]) -> NDArray:
    """Eq. 5: how many standard errors a group's values (G,) rise with the log-odds: the score of a slope of 0.

    Unlike a fitted slope over its error, it is large also where the values are separated by a threshold.
    """
    count = np.maximum(rows.totals(rows.weight), 1.0)
    odds, values = ((rows.totals(rows.weight * column) / count)[rows.group] for column in (rows.odds, rows.values))
    score = rows.weight * (rows.odds - odds) * (rows.values - values)
    variance = np.diag(joint_covariance(ways, [np.bincount(way.row, score) for way in ways], rows.groups))
    return np.where(variance > 0, rows.totals(score) / np.sqrt(np.maximum(variance, 1e-300)), 0.0)


def compressed(rows: Rows, bins: int) -> Rows:
    """The same in at most `bins` rows a group, each the mean of neighbors."""
    order = np.lexsort((rows.odds, rows.group))
    group = rows.group[order]
    first = np.searchsorted(group, np.arange(rows.groups + 1))
    place = (np.arange(len(order)) - first[group]) * bins // np.maximum(np.diff(first), bins)[group]
    _, starts = np.unique(group * bins + place, return_index=True)
    weight = np.add.reduceat(rows.weight[order], starts)
    odds, values = (
        np.add.reduceat((rows.weight * column)[order], starts) / np.maximum(weight, 1e-300)
        for column in (rows.odds, rows.values)
    )
    return Rows(values, odds, group[starts], weight, rows.groups)


def fit_whole(rows: Rows, live: NDArray) -> Curves:
    """Curves of all rows of the groups that are `live` (G,), with the center where they cross one half."""
    count = np.maximum(rows.totals(rows.weight), 1.0)
    middle = rows.totals(rows.weight * rows.odds) / count
    spread = np.sqrt(rows.totals(rows.weight * (rows.odds - middle[rows.group]) ** 2) / count)
    zero, endless = np.zeros(rows.groups), np.full(rows.groups, np.inf)
    curves = _settle(rows, Curves(middle, zero, zero, endless, live & (spread > 0)), np.maximum(spread, 1e-12))
    slope = np.where(np.abs(curves.slope) > 1e-9, curves.slope, 1e-9)
    return Curves(middle - curves.height / slope, zero, slope, endless, curves.fitted)


def fit_at(rows: Rows, center: NDArray, window: float, live: NDArray) -> Curves:
    """Curves near given centers (G,), of the groups that are `live` (G,)."""
    wide = np.full(rows.groups, window)
    return _settle(rows, Curves(center, np.zeros(rows.groups), np.ones(rows.groups), wide, live), wide)


def fit_near(rows: Rows, start: Curves, live: NDArray) -> Curves:
    """Curves near where they cross one half, through one window for all groups, so that their errors of form are alike.

    The window is WINDOW over the groups' (geometric) mean slope. A group is fitted where it settles, and at least
    DOUBT of its values are in doubt.
    """
    center, slope, live = start.center.copy(), start.slope.copy(), live & (start.slope > 0)
    zero, settled = np.zeros(rows.groups), np.zeros(rows.groups, bool)
    window = np.ones(rows.groups)
    for _ in range(STEPS):
        live = live & (in_doubt(rows, Curves(center, zero, slope, window, live)) >= DOUBT)
        if not live.any() or settled[live].all():
            break
        window = np.full(rows.groups, WINDOW / np.exp(np.log(slope[live]).mean()))
        height, steeper = _solve(*_sums(rows, Curves(center, zero, slope, window, live)))
        slope = np.where(live, np.clip(slope + steeper, slope / 2.0, slope * 2.0), slope)
        move = np.where(live, np.clip(-height / slope, -1.0 / slope, 1.0 / slope), 0.0)
        center, settled = center + move, np.abs(move) * slope < SETTLED
    return Curves(center, zero, slope, window, live & settled)


def in_doubt(rows: Rows, curves: Curves) -> NDArray:
    """Eq. 2: the sum of 4 p (1 - p) over a group (G,), how many values count as if each were an even bet."""
    _, fitted = _along(rows, curves)
    return rows.totals(4.0 * rows.weight * fitted * (1.0 - fitted))


def influences(rows: Rows, curves: Curves, pairs: Pairs) -> tuple[NDArray, NDArray]:
    """Eq. 3: how far a curve's height and slope (P,) move when a pair is left out, to first order.

    (A - A_pair)^-1 S_pair, with A the weighted information of the group and S_pair the score of the pair. 0 for
    groups without a curve.
    """
    columns, scores = _columns(rows, curves)
    whole = np.stack([rows.totals(column) for column in columns])
    several = len(pairs.group) < len(rows.group)
    parts, scores = (
        np.stack([np.bincount(pairs.row, column) for column in both] if several else both) for both in (columns, scores)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        shifts = _solve(whole[:, pairs.group] - parts, scores)
    fitted = curves.fitted[pairs.group]
    height, slope = (np.where(fitted, np.nan_to_num(shift, posinf=0.0, neginf=0.0), 0.0) for shift in shifts)
    return height, slope


def joint_covariance(ways: list[Pairs], shifts: list[NDArray], groups: int) -> NDArray:
    """Eq. 4: covariance (G, G) of the groups' estimates, from what each pair does to its group's, a way of clustering.

    One way: (C - 1) / C sum over clusters of shift shift'. Two: V_1 + V_2 - V_both, made positive semidefinite. `ways`
    are then the first, the second, and both together.
    """
    parts = [_outer(way, shift, groups) for way, shift in zip(ways, shifts, strict=True)]
    if len(parts) == 1:
        return parts[0]
    values, vectors = np.linalg.eigh(parts[0] + parts[1] - parts[2])
    return (vectors * np.maximum(values, 0.0)) @ vectors.T


def _outer(pairs: Pairs, shift: NDArray, groups: int) -> NDArray:
    clusters = int(pairs.cluster.max()) + 1
    table = sparse.csr_array((shift, (pairs.cluster, pairs.group)), shape=(clusters, groups))
    return (table.T @ table).toarray() * (1.0 - 1.0 / clusters)


def _settle(rows: Rows, curves: Curves, scale: NDArray) -> Curves:
    """Newton's method for heights and slopes at fixed centers, in steps of at most 2 in log-odds over `scale` (G,)."""
    height, slope = curves.height, curves.slope
    for _ in range(STEPS):
        now = Curves(curves.center, height, slope, curves.window, curves.fitted)
        higher, steeper = _solve(*_sums(rows, now))
        longest = np.maximum(np.maximum(np.abs(higher), np.abs(steeper) * scale), SETTLED)
        step = np.where(curves.fitted, np.minimum(1.0, 2.0 / longest), 0.0)
        height, slope = height + step * higher, slope + step * steeper
        if (longest < SETTLED * 2)[curves.fitted].all():
            break
    return Curves(curves.center, height, slope, curves.window, curves.fitted)


def _along(rows: Rows, curves: Curves) -> tuple[NDArray, NDArray]:
    """Distance of each row from its group's center, and the curve there."""
    away = rows.odds - curves.center[rows.group]
    return away, expit(curves.height[rows.group] + curves.slope[rows.group] * away)


def _columns(rows: Rows, curves: Curves) -> tuple[list[NDArray], list[NDArray]]:
    """Eq. 1, a row: its part of the information (for height, both, slope), and of the score (height, slope)."""
    away, fitted = _along(rows, curves)
    weight = rows.weight * np.exp(-0.5 * (away / curves.window[rows.group]) ** 2)
    known, residual = weight * fitted * (1.0 - fitted), weight * (rows.values - fitted)
    return [known, known * away, known * away**2], [residual, residual * away]


def _sums(rows: Rows, curves: Curves) -> tuple[NDArray, NDArray]:
    """Information (3, G) and score (2, G) of each group."""
    information, score = _columns(rows, curves)
    return np.stack([rows.totals(one) for one in information]), np.stack([rows.totals(one) for one in score])


def _solve(information: NDArray, score: NDArray) -> tuple[NDArray, NDArray]:
    """Solutions of 2 x 2 systems; 0 where the information is singular."""
    first, mixed, second = information
    determinant = first * second - mixed**2
    usable = determinant > 1e-12 * first * second
    divisor = np.where(usable, determinant, 1.0)
    height = (second * score[0] - mixed * score[1]) / divisor
    slope = (first * score[1] - mixed * score[0]) / divisor
    return np.where(usable, height, 0.0), np.where(usable, slope, 0.0)

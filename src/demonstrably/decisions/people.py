"""Many people, a cost each: their costs vary around a common center, and how much they vary is learned too.

Person j decides as in `noisy`, with a cost and a slope of their own and a lapse that all share:

    Eq. 1:  logit c_j ~ Normal(center, spread),   log slope_j ~ Normal(nu, tau)

Who decided little is drawn toward the center, who decided much is not. Nothing is sampled: everything lives on grids.
Center and spread, and lapse, nu and tau, are averaged over by their posterior, so that intervals are honest for few
people too. Weak priors: center as if its cost were uniform, spread half-normal (1), nu Normal(log 3, 1), tau
half-normal (0.5), lapse Beta(1, 9) on [0, 1/2].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logit, ndtr

from demonstrably.decisions.curves import Rows, compressed, fit_near, fit_whole, in_doubt, influences, pairs_of
from demonstrably.decisions.estimate import Person
from demonstrably.decisions.noisy import SMALLEST, probability_of_one

BINS = 300
LOG_SLOPES = np.linspace(math.log(0.2), math.log(60.0), 12)
LAPSES = (0.0, 0.02, 0.06, 0.12, 0.22)
NUS, TAUS = np.linspace(math.log(0.5), math.log(30.0), 8), (0.2, 0.6)
FARTHEST = 8.0  # log-odds of a cost
ROUGH, FINE = 121, 241  # nodes of logit c
CENTERS, SPREADS = 31, 20  # nodes of center and spread
SOME = 200  # people by whom lapse, nu and tau are chosen
NEGLIGIBLE = 10.0  # in log-probability below the best
MOST_KEPT = 6
PLENTY = 40.0  # decisions in doubt from which on a person's own curve says it all
TINY = 1e-300

@dataclass(frozen=True)
class PeopleFit:
    """People's costs, and the median person's (`center`) with its interval; `spread` of logit c between people."""

    people: tuple[Person, ...]
    center: float
    low: float
    high: float
    spread: float
    level: float = 0.95


@dataclass(frozen=True)
class Shared:
    """What all people share besides center and spread."""

    lapse: float
    nu: float
    tau: float

    @property
    def log_prior(self) -> float:
        """Log density, up to a constant."""
        slopes = -0.5 * (self.nu - math.log(3.0)) ** 2 - 2.0 * self.tau**2
        return slopes + 8.0 * math.log1p(-2.0 * self.lapse)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What J people decided: ones and zeros (J, B) at the mean log-odds of each bin (B,), and their own curves.

    Where `plenty` (J,), a person's crossing has the likelihood Normal(`own`, `error`), and `slope` is known.
    """

    odds: NDArray
    ones: NDArray
    zeros: NDArray
    plenty: NDArray
    own: NDArray
    error: NDArray
    slope: NDArray

    def take(self, some: NDArray) -> "Evidence":
        """The same of some people (numbers)."""
        columns = self.ones, self.zeros, self.plenty, self.own, self.error, self.slope
        return Evidence(self.odds, *(column[some] for column in columns))


@dataclass(frozen=True, eq=False)
class Population:
    """A grid of centers and spreads (H,), its log prior (H,), and the mass (H, T) of logit c about nodes."""

    center: NDArray
    spread: NDArray
    log_prior: NDArray
    mass: NDArray


@dataclass(frozen=True, eq=False)
class Pooled:
    """Posterior given what is shared: people's mass (J, T) on nodes of logit c, the population's (H,), the evidence."""

    people: NDArray
    population: NDArray
    evidence: float


def fit_people(
    decisions: Float[np.ndarray, "n"], probability: Float[np.ndarray, "n"], person: ArrayLike, level: float = 0.95
) -> PeopleFit:
    """The cost of each person by partial pooling, and the center and spread of all.

    `decisions` (n,) 0/1, `probability` (n,) the posteriors, `person` (n,) codes or names. Costs are resolved to about
    0.04 spreads; 200 people with 50 decisions each take a few seconds. Raises ValueError for arrays of unequal
    length, none, or a level outside (0, 1).
    """
    names, codes = np.unique(np.asarray(person), return_inverse=True)
    if not len(decisions) or len({len(decisions), len(probability), len(codes)}) > 1:
        lengths = len(decisions), len(probability), len(codes)
        raise ValueError(f"decisions, probability and person have lengths {lengths}: give one length >= 1")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: must be between 0 and 1, for instance 0.95")
    evidence = _evidence(decisions, logit(np.clip(probability, SMALLEST, 1.0 - SMALLEST)), codes.ravel())
    some = np.sort(np.random.default_rng(0).permutation(len(names))[:SOME])
    nodes, population, choices = _roughly(evidence.take(some))
    people, hyper, log_slope = _average(evidence, nodes, population, choices)
    tail = (1.0 - level) / 2.0
    at = np.array([tail, 0.5, 1.0 - tail])
    ends, counts = expit(_quantiles(nodes, people, at)), np.bincount(codes.ravel())
    persons = tuple(
        Person(str(name), int(count), float(point), float(low), float(high), float(math.exp(slope)))
        for name, count, (low, point, high), slope in zip(names, counts, ends, log_slope, strict=True)
    )
    low, center, high = expit(_weighted_quantiles(population.center, hyper, at))
    return PeopleFit(persons, float(center), float(low), float(high), float(hyper @ population.spread), level)


def _evidence(decisions: NDArray, odds: NDArray, codes: NDArray) -> Evidence:
    """Bins of equal counts: a person's decisions in one bin are taken at the bin's mean."""
    order = np.argsort(odds, kind="stable")
    bins = min(BINS, len(odds))
    place = np.empty(len(odds), np.int64)
    place[order] = np.arange(len(odds)) * bins // len(odds)
    people, cell = int(codes.max()) + 1, codes * bins + place
    counts = np.bincount(cell, minlength=people * bins).reshape(people, bins).astype(float)
    ones = np.bincount(cell, decisions, minlength=people * bins).reshape(people, bins)
    rows = Rows(decisions, odds, codes, np.ones(len(odds)), people)
    if len(odds) > BINS * people:
        rows = compressed(rows, BINS)
    several = np.minimum(ones.sum(axis=1), (counts - ones).sum(axis=1)) >= 3
    curves = fit_near(rows, fit_whole(rows, several), several)
    shift = influences(rows, curves, pairs_of(None, rows.group))[0] / np.maximum(curves.slope, TINY)[rows.group]
    plenty = curves.fitted & (in_doubt(rows, curves) >= PLENTY)
    middles = np.bincount(place, odds) / counts.sum(axis=0)
    error = np.sqrt(rows.totals(shift**2))
    return Evidence(middles, ones, counts - ones, plenty, curves.center, error, curves.slope)


def _likelihood(evidence: Evidence, nodes: NDArray, lapse: float) -> tuple[NDArray, float]:
    """Likelihood (J, T, K) of each person at costs (T,) and LOG_SLOPES, at most 1, and the log of the factor left out.

    A person with a curve of their own has its likelihood, blurred by half a cell, at every slope.
    """
    odds, slopes = evidence.odds[:, None, None], np.exp(LOG_SLOPES)
    log_one, log_zero = (
        np.log(np.maximum(probability_of_one(sign * odds, sign * nodes[:, None], slopes, np.array(lapse)), TINY))
        for sign in (1.0, -1.0)  # by symmetry 1 - P is P of what lies as far on the other side
    )
    flat = (len(evidence.odds), -1)
    found = evidence.ones @ log_one.reshape(flat) + evidence.zeros @ log_zero.reshape(flat)
    known = evidence.plenty
    blurred = np.sqrt(evidence.error[known] ** 2 + ((nodes[1] - nodes[0]) / 2.0) ** 2)
    own = -0.5 * ((nodes - evidence.own[known, None]) / blurred[:, None]) ** 2
    found[known] = np.repeat(own, len(slopes), axis=1)
    highest = found.max(axis=1)
    return np.exp(found - highest[:, None]).reshape(-1, len(nodes), len(slopes)), float(highest.sum())


def _slope_mass(shared: Shared) -> NDArray:
    """Mass (K,) of LOG_SLOPES under Normal(nu, tau)."""
    mass = np.exp(-0.5 * ((LOG_SLOPES - shared.nu) / shared.tau) ** 2)
    return mass / mass.sum()


def population_on(nodes: NDArray, centers: NDArray, spreads: NDArray) -> Population:
    """All pairs of centers and (geometrically spaced) spreads, with the mass of Normal(center, spread) about nodes."""
    center, spread = (grid.ravel() for grid in np.meshgrid(centers, spreads, indexing="ij"))
    prior = log_expit(center) + log_expit(-center) - 0.5 * spread**2 + np.log(spread)  # the last: spacing
    edges = np.concatenate([[-np.inf], (nodes[1:] + nodes[:-1]) / 2.0, [np.inf]])
    mass = np.diff(ndtr((edges - center[:, None]) / spread[:, None]), axis=1)
    return Population(center, spread, prior, mass)


def _pool(likelihood: NDArray, population: Population) -> Pooled:
    """Eq. 2: posteriors of all, given what is shared; `likelihood` (J, T), slopes already averaged over."""
    each = np.maximum(likelihood @ population.mass.T, TINY)  # (J, H)
    joint = np.log(each).sum(axis=0) + population.log_prior
    evidence = float(np.logaddexp.reduce(joint))
    weight = np.exp(joint - evidence)
    return Pooled(likelihood * ((weight / each) @ population.mass), weight, evidence)


def _roughly(some: Evidence) -> tuple[NDArray, Population, list[Shared]]:
    """From some people: where the fine grids must lie, and which lapse, nu and tau are likely."""
    low, high = max(some.odds.min() - 2.0, -FARTHEST), min(some.odds.max() + 2.0, FARTHEST)
    nodes = np.linspace(low, high, ROUGH)
    centers, spreads = np.linspace(low, high, CENTERS), np.geomspace(0.03, 4.0, SPREADS)
    population, tried = population_on(nodes, centers, spreads), []
    for lapse in LAPSES:
        likelihood, left_out = _likelihood(some, nodes, lapse)
        for nu, tau in product(NUS, TAUS):
            shared = Shared(lapse, float(nu), tau)
            pooled = _pool(likelihood @ _slope_mass(shared), population)
            tried.append((pooled.evidence + left_out + shared.log_prior, pooled, shared))
    tried.sort(key=lambda one: -one[0])
    most, best, _ = tried[0]
    likely = best.population > best.population.max() * math.exp(-NEGLIGIBLE)
    mass = best.people.mean(axis=0) + best.population @ population.mass
    low, high = _quantiles(nodes, mass[None], np.array([1e-4, 1.0 - 1e-4]))[0]
    fine = np.linspace(low - 0.2, high + 0.2, FINE)
    centers = _around(population.center[likely], centers[1] - centers[0], CENTERS)
    spreads = np.exp(_around(np.log(population.spread[likely]), math.log(spreads[1] / spreads[0]), SPREADS))
    kept = [shared for evidence, _, shared in tried if evidence > most - NEGLIGIBLE / 2.0]
    return fine, population_on(fine, centers, spreads), kept[:MOST_KEPT]


def _average(
    evidence: Evidence, nodes: NDArray, population: Population, choices: Sequence[Shared]
) -> tuple[NDArray, NDArray, NDArray]:
    """People's mass (J, T), the population's (H,) and people's mean log slopes (J,), averaged over the choices."""
    found, weights = [], []
    for lapse in {shared.lapse for shared in choices}:
        likelihood, left_out = _likelihood(evidence, nodes, lapse)
        for shared in (one for one in choices if one.lapse == lapse):
            slopes = _slope_mass(shared)
            averaged = likelihood @ slopes
            pooled = _pool(averaged, population)
            log_slope = (likelihood @ (slopes * LOG_SLOPES)) / np.maximum(averaged, TINY)
            found.append((pooled.people, pooled.population, np.sum(pooled.people * log_slope, axis=1)))
            weights.append(pooled.evidence + left_out + shared.log_prior)
    weight = np.exp(np.array(weights) - np.logaddexp.reduce(weights))
    people, hyper, log_slope = (
        np.asarray(sum(one * column for one, column in zip(weight, columns, strict=True)))
        for columns in zip(*found, strict=True)
    )
    return people, hyper, np.where(evidence.plenty, np.log(np.maximum(evidence.slope, TINY)), log_slope)


def _around(nodes: NDArray, cell: float, number: int) -> NDArray:
    return np.linspace(nodes.min() - cell, nodes.max() + cell, number)


def _quantiles(nodes: NDArray, mass: NDArray, at: NDArray) -> NDArray:
    """Quantiles (J, Q) of masses (J, T), each spread evenly over its node's cell."""
    edges = np.concatenate([nodes[:1], (nodes[1:] + nodes[:-1]) / 2.0, nodes[-1:]])
    running = np.concatenate([np.zeros((len(mass), 1)), mass.cumsum(axis=1)], axis=1)
    return np.array([np.interp(at, row / row[-1], edges) for row in running])


def _weighted_quantiles(values: NDArray, weight: NDArray, at: NDArray) -> NDArray:
    nodes, place = np.unique(values, return_inverse=True)
    return _quantiles(nodes, np.bincount(place.ravel(), weight)[None], at)[0]

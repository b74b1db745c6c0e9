"""The threshold test: each group's threshold from counts alone, with Beta risks; and what both threshold tests return.

Simoiu, Corbett-Davies and Goel 2017 (Annals of Applied Statistics 11(3), arXiv 1607.05376). Risks in a cell are
Beta(a, b) with a = mean shape, b = (1 - mean) shape, and F its distribution function:

Eq. 1: decision rate = 1 - F(t; a, b)
Eq. 2: hit rate = E[p | p > t] = mean (1 - F(t; a + 1, b)) / (1 - F(t; a, b))

jax has no derivative of F in a and b. So the tails are integrated: with p = sigmoid(u) the integrand is
exp(a log p + b log(1 - p)), largest at the mean and log-concave, and the tail away from the mean is a monotone integral
over a half-line, which the double-exponential rule takes to about 1e-8 in 64 nodes. The other tail is its complement.

**Departures.** Spreads of departments are learned (`hierarchy.py`).
"""

import html
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from demonstrably.decisions.counts import Counts
from demonstrably.decisions.hierarchy import Array, Draws, Family, sample
from demonstrably.decisions.rates import harsher

RHAT, EFFECTIVE = 1.01, 400.0  # Vehtari et al. 2021: what a well-mixed sample of what is reported reaches
WORST_RHAT = 1.05  # of nuisances
UNSOLVED = 1e-6
REPLICATES = 400
FEW = 5  # departments
NODES = np.linspace(-3.6, 3.8, 64)
PLACES = np.exp(NODES - np.exp(-NODES))
WEIGHTS = PLACES * (1.0 + np.exp(-NODES)) * (NODES[1] - NODES[0])


@dataclass(frozen=True)
class GroupThreshold:
    """A group's threshold on the risk, departments weighted by all their decisions: posterior mean and interval."""

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ThresholdPair:
    """The second group's threshold less the first's, and the probability that the second's is lower."""

    first: str
    second: str
    difference: float
    low: float
    high: float
    probability_lower: float


@dataclass(frozen=True)
class Sampling:
    """How well the sampler did: the worst r-hat and effective sample size of what is reported, and divergences.

    `worst_rhat` is the worst of all parameters, nuisances too. `draws` are per chain.
    """

    chains: int
    draws: int
    rhat: float
    effective: float
    worst_rhat: float
    divergences: int


@dataclass(frozen=True)
class Predictive:
    """Posterior predictive p-values of the cells' decision rates and hit rates (chi-square). Near 0: a misfit."""

    decision_rates: float
    hit_rates: float


@dataclass(frozen=True)
class ThresholdTest:
    """Thresholds of the groups and their differences under a model of risks. `warnings` are reasons for doubt."""

    name: str
    groups: tuple[GroupThreshold, ...]
    pairs: tuple[ThresholdPair, ...]
    level: float
    burden: bool
    sampling: Sampling
    predictive: Predictive
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.name} (thresholds on the risk, {self.level:.0%} credible intervals)"]
        lines += [f"  {one.name}: {one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in self.groups]
        lines += [f"  {self._pair(pair)}" for pair in self.pairs]
        lines += [f"  warning: {text}" for text in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _pair(self, pair: ThresholdPair) -> str:
        text = (
            f"{pair.second} less {pair.first}: {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}], "
            f"lower with probability {pair.probability_lower:.3f}"
        )
        if pair.low <= 0.0 <= pair.high:
            return f"{text}; no difference shown"
        names = (pair.second, pair.first) if pair.difference < 0.0 else (pair.first, pair.second)
        return f"{text}; {harsher(*names, self.burden)}"


def threshold_test(
    counts: Counts,
    *,
    level: float = 0.95,
    burden: bool = True,
    chains: int = 4,
    warmup: int = 300,
    draws: int = 600,
    seed: int = 0,
    progress: bool = False,
) -> ThresholdTest:
    """Posterior of each group's threshold on the risk, under Beta risks.

    Several times slower than `fast_threshold_test` (minutes for 40 departments). Arguments and errors as there.
    """
    found = sample(counts, FAMILY, chains=chains, warmup=warmup, draws=draws, seed=seed, progress=progress)
    return result_of("threshold test", counts, found, level, burden, seed)


def observables(mean: Array, shape: Array, threshold: Array) -> tuple[Array, Array, Array, Array]:
    """Eq. 1 and 2 as logarithms, with complements. `mean` in logits, `shape` log (a + b), `threshold` in logits."""
    import jax.numpy as jnp
    from jax.lax import lgamma
    from jax.nn import log_sigmoid, sigmoid

    total, share = jnp.exp(shape), sigmoid(mean)
    a, b = total * share, total * sigmoid(-mean)
    above = threshold >= mean  # else the distribution is mirrored, so that the tail leads away from the mean
    up, down, edge = jnp.where(above, a, b), jnp.where(above, b, a), jnp.where(above, threshold, -threshold)
    steep = total * sigmoid(edge) - up
    width = jnp.maximum(1.0 / (steep + jnp.sqrt(total * sigmoid(edge) * sigmoid(-edge))), 1.0 / down)
    places = edge[..., None] + width[..., None] * PLACES
    peak = up * log_sigmoid(edge) + down * log_sigmoid(-edge)
    height = up[..., None] * log_sigmoid(places) + down[..., None] * log_sigmoid(-places) - peak[..., None]
    mass = jnp.exp(height) * WEIGHTS
    scale = peak + jnp.log(width) + lgamma(total) - lgamma(a) - lgamma(b)
    tail, ones = jnp.log(mass.sum(axis=-1)) + scale, jnp.log((mass * sigmoid(places)).sum(axis=-1)) + scale
    zeros = jnp.log((mass * sigmoid(-places)).sum(axis=-1)) + scale
    other = jnp.log1p(-jnp.exp(tail))
    rate, rest = jnp.where(above, tail, other), jnp.where(above, other, tail)
    hits = jnp.where(above, ones, jnp.log(share - jnp.where(above, 0.0, jnp.exp(zeros))))
    misses = jnp.where(above, zeros, jnp.log(sigmoid(-mean) - jnp.where(above, 0.0, jnp.exp(ones))))
    return rate, rest, hits - rate, misses - rate


def start(mean: Array, shape: Array, odds: Array) -> Array:
    """The logit threshold if the logits of the risks were normal, but no higher than Markov: rate t <= mean."""
    import jax.numpy as jnp
    from jax.nn import sigmoid
    from jax.scipy.special import digamma, ndtri, polygamma

    total = jnp.exp(shape)
    a, b = total * sigmoid(mean), total * sigmoid(-mean)
    guess = digamma(a) - digamma(b) - jnp.sqrt(polygamma(1, a) + polygamma(1, b)) * ndtri(sigmoid(odds))
    highest = jnp.minimum(sigmoid(mean) / sigmoid(odds), 0.999)
    return jnp.minimum(guess, jnp.log(highest) - jnp.log1p(-highest))


FAMILY = Family("Beta", observables, start, center=1.5, width=1.0)


def result_of(name: str, counts: Counts, draws: Draws, level: float, burden: bool, seed: int) -> ThresholdTest:
    """What the draws say: thresholds by group, differences, predictive checks, and reasons for doubt."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level}: give a probability between 0 and 1, such as 0.95")
    weights = counts.n.sum(axis=1) / counts.n.sum()
    by_group = np.einsum("csdg,d->csg", draws.threshold, weights)
    flat = by_group.reshape(-1, by_group.shape[-1])
    groups = tuple(GroupThreshold(one, *_summary(flat[:, i], level)) for i, one in enumerate(counts.groups))
    pairs = []
    for one, other in combinations(range(len(groups)), 2):
        apart = flat[:, other] - flat[:, one]
        pairs.append(
            ThresholdPair(groups[one].name, groups[other].name, *_summary(apart, level), float((apart < 0.0).mean()))
        )
    sampling = _sampling(draws, by_group)
    predictive = _predictive(counts, draws, np.random.default_rng(seed))
    warnings = _warnings(counts, draws, sampling, predictive)
    return ThresholdTest(name, groups, tuple(pairs), level, burden, sampling, predictive, warnings)


def _summary(values: Float[np.ndarray, "s"], level: float) -> tuple[float, float, float]:
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(values.mean()), float(low), float(high)


def _sampling(draws: Draws, by_group: Float[np.ndarray, "c s g"]) -> Sampling:
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    rhat, effective = np.max(split_gelman_rubin(by_group)), np.min(effective_sample_size(by_group))
    worst = np.max(split_gelman_rubin(draws.parameters))
    chains, number = by_group.shape[:2]
    return Sampling(chains, number, float(rhat), float(effective), float(max(rhat, worst)), draws.divergences)


def _predictive(counts: Counts, draws: Draws, generator: np.random.Generator) -> Predictive:
    shape = counts.n.shape
    rate, hit = draws.rate.reshape(-1, *shape), draws.hit.reshape(-1, *shape)
    rows = np.linspace(0, len(rate) - 1, min(REPLICATES, len(rate))).astype(int)

    def chance(observed: np.ndarray, total: np.ndarray, expected: Float[np.ndarray, "s d g"]) -> float:
        inside = np.clip(expected, 1e-12, 1.0 - 1e-12)
        variance = np.maximum(total, 1) * inside * (1.0 - inside)
        far = ((observed - total * inside) ** 2 / variance).sum(axis=(1, 2))
        again = ((generator.binomial(total, inside) - total * inside) ** 2 / variance).sum(axis=(1, 2))
        return float((again >= far).mean())

    return Predictive(chance(counts.s, counts.n, rate[rows]), chance(counts.h, counts.seen, hit[rows]))


def _warnings(counts: Counts, draws: Draws, sampling: Sampling, predictive: Predictive) -> tuple[str, ...]:
    said = []
    if sampling.rhat > RHAT:
        said.append(f"chains disagree (r-hat {sampling.rhat:.3f}, above {RHAT}): draw more")
    elif sampling.worst_rhat > WORST_RHAT:
        said.append(f"chains disagree on a nuisance (r-hat {sampling.worst_rhat:.3f}, above {WORST_RHAT}): draw more")
    if sampling.effective < EFFECTIVE:
        said.append(f"few effective draws ({sampling.effective:.0f}, below {EFFECTIVE:.0f}): draw more")
    if sampling.divergences:
        said.append(f"{sampling.divergences} divergences: the sampler may have missed a part of the posterior")
    if draws.residual > UNSOLVED:
        said.append(f"decision rates were solved to {draws.residual:.1g} only: draws may be biased")
    for value, what in ((predictive.decision_rates, "decision rates"), (predictive.hit_rates, "hit rates")):
        if value < 0.01:
            said.append(f"the model does not fit the {what} (posterior predictive p = {value:.3f})")
    if len(counts.departments) < FEW:
        said.append(f"{len(counts.departments)} departments tell little of the risks: the answer leans on the priors")
    return tuple(said)

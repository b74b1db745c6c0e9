"""The fast threshold test: each group's threshold from counts alone, with risks of a signal-detection family.

Pierson, Corbett-Davies and Goel 2018 (AISTATS, arXiv 1702.08536). A share phi of a group has outcome 1. Whoever decides
sees a signal, Normal(delta, 1) for those and Normal(0, 1) for the others, and decides 1 where it exceeds t:

Eq. 1: decision rate = (1 - phi) SF(t) + phi SF(t - delta)                 (SF: the normal's upper tail)
Eq. 2: hit rate = phi SF(t - delta) / decision rate
Eq. 3: logit of the risk at signal t = logit phi + delta t - delta^2 / 2

**Departures.** The paper pools thresholds on the signal's scale around one mean for all groups. Here they are pooled
within a group on the risk's (`hierarchy.py`, as the threshold test does), since there they are compared. Spreads of
departments are learned, where the paper fixes them at 0.1.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr

from demonstrably.decisions.counts import Counts
from demonstrably.decisions.hierarchy import Array, Family, sample
from demonstrably.decisions.threshold_test import ThresholdTest, result_of


@dataclass(frozen=True)
class Signal:
    """What Eq. 1 to 3 give: decision rate, hit rate, and the risk at the threshold."""

    decision_rate: float
    hit_rate: float
    threshold: float


def signal_rates(share: float, separation: float, signal: float) -> Signal:
    """Eq. 1 to 3: `share` phi in (0, 1), `separation` delta > 0, threshold t on the `signal`."""
    guilty, others = share * ndtr(separation - signal), (1.0 - share) * ndtr(-signal)
    risk = expit(logit(share) + separation * signal - separation**2 / 2.0)
    return Signal(float(guilty + others), float(guilty / (guilty + others)), float(risk))


def fast_threshold_test(
    counts: Counts,
    *,
    level: float = 0.95,
    burden: bool = True,
    chains: int = 4,
    warmup: int = 300,
    draws: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> ThresholdTest:
    """Posterior of each group's threshold on the risk, under the signal-detection family.

    `progress` shows numpyro's bar. `burden` only words the answer. Same counts, arguments and seed: same draws. Raises
    ValueError where numpyro is missing, and for too few chains, draws or warm-up steps.
    """
    found = sample(counts, FAMILY, chains=chains, warmup=warmup, draws=draws, seed=seed, progress=progress)
    return result_of("fast threshold test", counts, found, level, burden, seed)


def observables(mean: Array, shape: Array, threshold: Array) -> tuple[Array, Array, Array, Array]:
    """Eq. 1 and 2 with Eq. 3 solved for t, as logarithms. `mean` is logit phi, `shape` log delta."""
    import jax.numpy as jnp
    from jax.nn import log_sigmoid
    from jax.scipy.special import log_ndtr

    delta = jnp.exp(shape)
    signal = (threshold - mean) / delta + delta / 2.0
    guilty, innocent = log_sigmoid(mean), log_sigmoid(-mean)
    hits, misses = guilty + log_ndtr(delta - signal), innocent + log_ndtr(-signal)
    rate = jnp.logaddexp(hits, misses)
    rest = jnp.logaddexp(guilty + log_ndtr(signal - delta), innocent + log_ndtr(signal))
    return rate, rest, hits - rate, misses - rate


def start(mean: Array, shape: Array, odds: Array) -> Array:
    """The logit threshold if the mixture of both signals were normal."""
    import jax.numpy as jnp
    from jax.nn import sigmoid
    from jax.scipy.special import ndtri

    share, delta = sigmoid(mean), jnp.exp(shape)
    signal = share * delta - jnp.sqrt(1.0 + share * (1.0 - share) * delta**2) * ndtri(sigmoid(odds))
    return mean + delta * signal - delta**2 / 2.0


FAMILY = Family("signal detection", observables, start, center=float(np.log(1.65)), width=0.7)

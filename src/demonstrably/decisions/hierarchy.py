"""The hierarchy that both threshold tests share, and its sampler (NUTS of numpyro, in double precision, on the CPU).

In department d people of group g have risks of some family (`Family`), with a mean and a shape, and are decided 1 above
a threshold on the risk:

Eq. 1: logit mean[d, g] = mean[g] + e[d]            e[d] ~ Normal(0, spread of means)
Eq. 2: log shape[d, g] = shape[g] + f[d]            f[d] ~ Normal(0, spread of shapes)
Eq. 3: logit threshold[d, g] ~ Normal(threshold[g], spread of thresholds)
Eq. 4: s ~ Binomial(n, decision rate), h ~ Binomial(seen, hit rate), both rates from mean, shape and threshold

Weak priors: mean[g] and threshold[g] ~ Normal(0, 2); the family says which for shape[g]; the logarithms of the three
spreads ~ Normal(log 0.5, 0.7), Normal(log 0.15, 0.5), Normal(log 0.3, 0.7), which keeps them off 0.

Two numbers a cell cannot tell three. What can is that departments of a group share mean and shape but for e and f,
while thresholds vary: so few departments, or thresholds that hardly vary, leave wide intervals.

**The sampler's coordinates.** Decision rates are known closely, so a cell's coordinate is its decision rate in standard
errors, and the threshold follows by solving Eq. 4 for it (Newton; the last step carries the derivative, which is then
exact at the root). Cells with fewer than 25 decisions of either kind use Eq. 3's standardized residual. Pooled rates of
a group leave a curve of mean and threshold along its shape (`_ridge`), so these are measured from that curve. All
coordinates are whitened by the curvature at a reference point, where shapes and spreads are held.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from demonstrably.decisions.counts import Counts

INFORMED = 25  # decisions of either kind from which a cell's threshold is drawn by its decision rate
NEWTON = 6  # steps before the last; the largest residual of the draws is reported
LONGEST = 2.0  # of these steps, in log-odds: where the curve is flat they would overshoot
PRIOR = 2.0  # standard deviation of mean[g] and threshold[g], in log-odds
SPREADS, SPREAD_WIDTHS = np.log([0.5, 0.15, 0.3]), np.array([0.7, 0.5, 0.7])
HELD = ("shape", "spreads")  # at the reference point
FLATTEST = 0.5  # a prior alone gives a curvature of 1
ACCEPTANCE, DEPTH = 0.8, 8
REACH, POINTS, DEGREE = 2.5, 33, 6  # of the curve along a shape: widths of its prior, where it is solved, polynomial
FARTHEST, HALVINGS = 100.0, 60  # log-odds of a threshold there
STEP = 1e-4  # of the differences of the gradient

Array = Any  # of jax, which is not imported with the room
Cells = Callable[[dict[str, Array]], tuple[Array, ...]]
Density = Callable[[dict[str, Array]], Array]


@dataclass(frozen=True)
class Family:
    """A family of risk distributions, as functions of arrays (logit mean, log shape, a third).

    `observables`(..., logit threshold): logarithms of the decision rate, its complement, the hit rate, its complement.
    `start`(..., logit decision rate): roughly the logit threshold with that rate. The prior of log shape is
    Normal(`center`, `width`).
    """

    name: str
    observables: Callable[[Array, Array, Array], tuple[Array, Array, Array, Array]]
    start: Callable[[Array, Array, Array], Array]
    center: float
    width: float


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of the posterior, chain by chain.

    `threshold`, `rate`, `hit` (chains, draws, departments, groups), each in (0, 1); `parameters` (chains, draws, k) all
    coordinates, for diagnostics; `divergences` their number; `residual` the largest error of a solved rate's log-odds.
    """

    threshold: Float[np.ndarray, "c s d g"]
    rate: Float[np.ndarray, "c s d g"]
    hit: Float[np.ndarray, "c s d g"]
    parameters: Float[np.ndarray, "c s k"]
    divergences: int
    residual: float


def sample(
    counts: Counts, family: Family, *, chains: int, warmup: int, draws: int, seed: int, progress: bool
) -> Draws:
    """Draws by NUTS, chains one after another, each from its own start near the reference point.

    Double precision and the CPU are set for this call alone. Raises ValueError where numpyro is missing, or for fewer
    than 1 chain, 4 draws or 50 warm-up steps.
    """
    if chains < 1 or draws < 4 or warmup < 50:
        raise ValueError(f"{chains} chains, {warmup} warm-up, {draws} draws: give at least 1, 50 and 4")
    try:
        import jax
        from numpyro.infer import MCMC, NUTS
    except ImportError as error:
        raise ValueError('numpyro is not installed: pip install "demonstrably[decisions]"') from error
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        import jax.numpy as jnp

        shape = counts.n.shape
        cells = _cells(counts, family)
        density = _density(counts, family, cells)
        center, scale = _whitening(density, _start(counts, family), shape)

        def spread_out(white: Array) -> dict[str, Array]:
            return _parts(center + scale @ white, shape)

        kernel = NUTS(
            potential_fn=lambda white: -density(spread_out(white)), target_accept_prob=ACCEPTANCE, max_tree_depth=DEPTH
        )
        sampler = MCMC(
            kernel, num_warmup=warmup, num_samples=draws, num_chains=chains, chain_method="sequential",
            progress_bar=progress,
        )  # fmt: skip
        starts = np.random.default_rng(seed).normal(size=(chains, len(center)))
        first = jnp.asarray(starts if chains > 1 else starts[0])
        sampler.run(jax.random.PRNGKey(seed), init_params=first, extra_fields=("diverging",))
        white = sampler.get_samples(group_by_chain=True)

        def seen(one: Array) -> tuple[Array, ...]:
            parts = spread_out(one)
            mean, form, threshold, _, residual = cells(parts)
            rate, _, hit, _ = family.observables(mean, form, threshold)
            return jax.nn.sigmoid(threshold), jnp.exp(rate), jnp.exp(hit), residual

        found = [np.asarray(part) for part in jax.jit(jax.vmap(jax.vmap(seen)))(white)]
        diverging = int(np.sum(np.asarray(sampler.get_extra_fields()["diverging"])))
        whole = np.asarray(white) @ np.asarray(scale).T + center
    return Draws(found[0], found[1], found[2], whole, diverging, float(found[3].max()))


def _parts(flat: Array, shape: tuple[int, int]) -> dict[str, Array]:
    """The coordinates by name, from one row of them."""
    places, groups = shape
    sizes = {"mean": groups, "threshold": groups, "shape": groups, "spreads": 3, "means": places, "shapes": places}
    found, start = {}, 0
    for name, size in sizes.items():
        found[name] = flat[start : start + size]
        start += size
    return found | {"cells": flat[start:].reshape(shape)}


def _start(counts: Counts, family: Family) -> Float[np.ndarray, "k"]:
    """On the curve, at the center of the priors of shapes and spreads, departments alike."""
    places, groups = counts.n.shape
    zeros = np.zeros(2 * groups), np.zeros(2 * places + places * groups)
    return np.concatenate([zeros[0], np.full(groups, family.center), SPREADS, zeros[1]])


def _ridge(counts: Counts, family: Family) -> Float[np.ndarray, "c 2 g"]:
    """Coefficients of the curve: each group's logit mean and logit threshold that give its pooled rates, by its shape.

    Polynomials in (log shape - center) / width, highest power first. They only choose coordinates, so that an error of
    theirs costs speed, not truth.
    """
    import jax

    n, s, h, seen = (table.sum(axis=0) for table in (counts.n, counts.s, counts.h, counts.seen))
    rate, hit = (s + 0.5) / (n + 1.0), (h + 0.5) / (seen + 1.0)
    along = np.linspace(-REACH, REACH, POINTS)
    shape = np.repeat((family.center + family.width * along)[:, None], len(n), axis=1)
    observed = jax.jit(family.observables)

    def threshold(mean: np.ndarray) -> np.ndarray:
        ends = np.full(shape.shape, -FARTHEST), np.full(shape.shape, FARTHEST)
        return _bisected(lambda at: np.asarray(observed(mean, shape, at)[0]) - np.log(rate), *ends)

    def falls(mean: np.ndarray) -> np.ndarray:
        return np.log(hit) - np.asarray(observed(mean, shape, threshold(mean))[2])

    ends = (np.broadcast_to(np.log(one / (1.0 - one)), shape.shape) for one in (rate * hit, hit))
    mean = _bisected(falls, *ends)  # more have outcome 1 than are found, and fewer than among those decided 1
    curves = np.concatenate([mean, threshold(mean)], axis=1)
    return np.polyfit(along, curves, DEGREE).reshape(DEGREE + 1, 2, len(n))


def _bisected(falls: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where a falling function is 0, element by element."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        above = falls(middle) > 0.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2.0


def _cells(counts: Counts, family: Family) -> Cells:
    """From coordinates to each cell's logit mean, log shape and logit threshold, the groups' centers of the first and
    last, (2, G), and the residual of solving."""
    import jax.numpy as jnp

    target, error, informed = _pinned(counts)
    ridge = _ridge(counts, family)

    def cells(parts: dict[str, Array]) -> tuple[Array, ...]:
        spreads = jnp.exp(parts["spreads"])
        centers = jnp.polyval(ridge, jnp.clip((parts["shape"] - family.center) / family.width, -REACH, REACH))
        centers = centers + jnp.stack([parts["mean"], parts["threshold"]])
        mean = centers[0] + parts["means"][:, None]
        shape = parts["shape"] + spreads[1] * parts["shapes"][:, None]
        wanted = target + error * parts["cells"]
        solved = _solved(family, mean, shape, wanted)
        residual = jnp.abs(_odds(family, mean, shape, solved) - wanted)
        threshold = jnp.where(informed, solved, centers[1] + spreads[2] * parts["cells"])
        return mean, shape, threshold, centers, jnp.max(jnp.where(informed, residual, 0.0))

    return cells


def _pinned(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of the decision rates, their standard errors, and whether they are informative."""
    yes, no = counts.s + 0.5, counts.n - counts.s + 0.5
    informed = np.minimum(counts.s, counts.n - counts.s) >= INFORMED
    return np.log(yes / no), np.sqrt(1.0 / yes + 1.0 / no), informed


def _density(counts: Counts, family: Family, cells: Cells) -> Density:
    """The log posterior density of the coordinates: priors, Eq. 1 to 4, and the Jacobian of the cells' coordinates."""
    import jax.numpy as jnp

    _, error, informed = _pinned(counts)
    n, s, h, seen = (table.astype(np.float64) for table in (counts.n, counts.s, counts.h, counts.seen))

    def normal(values: Array, center: Any, scale: Any) -> Array:
        return jnp.sum(-0.5 * ((values - center) / scale) ** 2 - jnp.log(scale) * jnp.ones_like(values))

    def density(parts: dict[str, Array]) -> Array:
        spreads = jnp.exp(parts["spreads"])
        mean, shape, threshold, centers, _ = cells(parts)
        rate, rest, hit, miss = family.observables(mean, shape, threshold)
        slope = _slope(family, mean, shape, threshold)[1]
        stretch = jnp.where(informed, np.log(error) - jnp.log(-slope), parts["spreads"][2])
        return (
            normal(centers, 0.0, PRIOR)
            + normal(parts["shape"], family.center, family.width)
            + normal(parts["spreads"], SPREADS, SPREAD_WIDTHS)
            + normal(parts["means"], 0.0, spreads[0])
            + normal(parts["shapes"], 0.0, 1.0)
            + normal(threshold, centers[1], spreads[2])
            + jnp.sum(stretch)
            + jnp.sum(s * rate + (n - s) * rest + h * hit + (seen - h) * miss)
        )

    return density


def _odds(family: Family, mean: Array, shape: Array, threshold: Array) -> Array:
    """Log-odds of the decision rate."""
    rate, rest, _, _ = family.observables(mean, shape, threshold)
    return rate - rest


def _slope(family: Family, mean: Array, shape: Array, threshold: Array) -> tuple[Array, Array]:
    """Log-odds of the decision rate, and their derivative by the logit threshold (negative)."""
    import jax
    import jax.numpy as jnp

    return jax.jvp(lambda at: _odds(family, mean, shape, at), (threshold,), (jnp.ones_like(threshold),))


def _solved(family: Family, mean: Array, shape: Array, wanted: Array) -> Array:
    """The logit threshold with the wanted log-odds of the decision rate, differentiable in all three.

    At a root one more Newton step moves nothing but has the derivative of the root.
    """
    import jax
    import jax.numpy as jnp

    held = jax.lax.stop_gradient((mean, shape, wanted))

    def closer(_: Array, at: Array) -> Array:
        value, slope = _slope(family, held[0], held[1], at)
        return at - jnp.clip((value - held[2]) / slope, -LONGEST, LONGEST)

    at = jax.lax.stop_gradient(jax.lax.fori_loop(0, NEWTON, closer, family.start(*held)))
    slope = jax.lax.stop_gradient(_slope(family, held[0], held[1], at)[1])
    return at - (_odds(family, mean, shape, at) - wanted) / slope


def _whitening(
    density: Density, start: Float[np.ndarray, "k"], shape: tuple[int, int]
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "k k"]]:
    """A reference point (the mode with shapes and spreads held) and a square root of the inverse curvature there."""
    import jax

    both = jax.jit(jax.value_and_grad(lambda flat: -density(_parts(flat, shape))))
    names = np.concatenate([[name] * values.size for name, values in _parts(start, shape).items()])
    free = (~np.isin(names, HELD)).astype(np.float64)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = both(flat)
        return float(value), np.asarray(gradient) * free

    point = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "maxcor": 50}).x
    steps = np.eye(len(point)) * STEP
    rows = [np.asarray(both(point + step)[1]) - np.asarray(both(point - step)[1]) for step in steps]
    curvature = np.stack(rows) / (2.0 * STEP)
    values, vectors = np.linalg.eigh((curvature + curvature.T) / 2.0)
    return point, vectors / np.sqrt(np.maximum(np.abs(values), FLATTEST))

"""What answers say of a threshold c on a probability, and the question that would say most.

A person decides 1 for a case of probability q where q >= c. An answer is wrong with a chance of at most `wrong` < 1/2,
whatever was asked and answered before. Eq. 1 to 3 weigh every c by the number d(c) of answers that it would call wrong:

    W(c) = r^d(c),    r = wrong / (1 - wrong),    0^0 = 1

so that for wrong = 0 only the c that explain every answer keep weight: Eq. 3 then is bisection's interval, and the
median its middle. For wrong > 0, let c* be the person's own threshold. An answer changes W(c) / W(c*) only where c and
c* foretell different ones: if it is wrong with the chance e, on average to

    (1 - e) r + e / r  <=  (1 - wrong) r + wrong / r  =  1 times what it was      for e <= wrong.

The ratio is a nonnegative supermartingale that starts at 1, and so is its mean over c in (0, 1]. By Ville's inequality
that mean ever reaches 1 / (1 - confidence) with a chance of at most 1 - confidence. So with the chance `confidence`, c*
is in the set of Eq. 3 after every answer at once, however questions are chosen and whenever one stops.

Questions at the median of W: M. Horstein 1963, "Sequential transmission using noiseless feedback"; M. V. Burnashev and
K. Sh. Zigangirov 1974, "An interval estimation problem for controlled observations".
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

NEARBY = 10  # numbers to either side of the median that are tried before a number is named twice


@dataclass(frozen=True, eq=False)
class Belief:
    """Weights of c, constant on the pieces (edges[j], edges[j + 1]]: `density` (pieces,) has an integral of 1.

    `missed` (pieces,) counts the answers that these c call wrong; `mass` is the share of the weight below each edge.
    """

    edges: Float[np.ndarray, " edges"]
    missed: Int[np.ndarray, " pieces"]
    density: Float[np.ndarray, " pieces"]
    mass: Float[np.ndarray, " edges"]

    def mass_below(self, at: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Share of the weight of all c <= at, (n,)."""
        return np.interp(at, self.edges, self.mass)

    def median(self) -> float:
        """Half of the weight lies below it."""
        return float(np.interp(0.5, self.mass, self.edges))


def belief(probability: Float[np.ndarray, " k"], decisions: Bool[np.ndarray, " k"], wrong: float) -> Belief | None:
    """What k answers say of c; None where wrong = 0 and no c explains all of them."""
    edges, missed = disagreements(probability, decisions)
    if wrong == 0.0 and missed.min() > 0:
        return None
    density = densities(edges, missed, wrong)
    return Belief(edges, missed, density, np.concatenate([[0.0], np.cumsum(density * np.diff(edges))]))


def disagreements(
    probability: Float[np.ndarray, " k"], decisions: Bool[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " pieces"]]:
    """Eq. 1: d(c) = number of answers i that are not 1{q_i >= c}: edges of the pieces where it is constant, and d."""
    edges = np.unique(np.concatenate([[0.0], probability, [1.0]]))
    yes, no = np.sort(probability[decisions]), np.sort(probability[~decisions])
    uppers = edges[1:]  # all c of a piece foretell what its upper end foretells
    return edges, np.searchsorted(yes, uppers) + len(no) - np.searchsorted(no, uppers)


def densities(
    edges: Float[np.ndarray, " edges"], missed: Int[np.ndarray, " pieces"], wrong: float
) -> Float[np.ndarray, " pieces"]:
    """Eq. 2: W(c) over its integral, W(c) = (wrong / (1 - wrong))^d(c) with 0^0 = 1."""
    weights = (wrong / (1.0 - wrong)) ** (missed - missed.min())
    return weights / (weights @ np.diff(edges))


def open_interval(belief: Belief, confidence: float) -> tuple[float, float]:
    """Eq. 3: the smallest (low, high] that holds every c with W(c) > (1 - confidence) times the integral of W."""
    kept = np.flatnonzero(belief.density > 1.0 - confidence)
    return float(belief.edges[kept[0]]), float(belief.edges[kept[-1] + 1])


def next_case(
    probability: Float[np.ndarray, " n"],
    asked: Int[np.ndarray, " n"],
    belief: Belief,
    interval: tuple[float, float],
) -> int | None:
    """Which of n cases, ascending in probability, to ask about: of those inside the open interval that were asked least
    the one that splits the weight most evenly. None where no case lies inside: all their answers are known.
    """
    first, last = np.searchsorted(probability, interval[0], "right"), np.searchsorted(probability, interval[1], "left")
    if first >= last:
        return None
    times = asked[first:last]
    among = first + np.flatnonzero(times == times.min())
    return int(among[np.abs(belief.mass_below(probability[among]) - 0.5).argmin()])


def vignettes(
    belief: Belief, interval: tuple[float, float], precision: float, wrong: float
) -> Float[np.ndarray, " n"]:
    """Probabilities to choose from where any can be named: exact halves, or short numbers around the median.

    Halves keep bisection exact. With wrong answers exactness is worth nothing, and a person should read 0.387 rather
    than 0.3871234: numbers of steps of at most a tenth of the precision.
    """
    if wrong == 0.0:
        return np.array([belief.median()])
    digits = math.ceil(-math.log10(precision / 10.0))
    middle = float(np.clip(belief.median(), *interval))  # a low confidence can leave the median outside
    steps = round(middle * 10.0**digits) + np.arange(-NEARBY, NEARBY + 1)
    return np.round(steps / 10.0**digits, digits)

"""Exact statistics of columns, accumulated in float64 block by block."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# Values whose spread is within a few roundings of their size are one constant value written with noise.
ROUNDINGS = 8.0


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squared deviations and range over rows; arrays are (dimensions,) float64."""

    count: int
    mean: np.ndarray
    squares: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Moments":
        """Moments of one block of rows (n, ...), n > 0, in two passes over it."""
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        mean = flat.mean(0)
        low, high = flat.min(0), flat.max(0)
        flat -= mean
        return cls(len(flat), mean, np.einsum("nd,nd->d", flat, flat), low, high)

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both together.

        Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm (1979).
        """
        count = self.count + other.count
        difference = other.mean - self.mean
        return Moments(
            count,
            self.mean + difference * (other.count / count),
            self.squares + other.squares + difference**2 * (self.count * other.count / count),
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    @property
    def constant(self) -> np.ndarray:
        """Which dimensions never change beyond float32 rounding, (dimensions,) bool."""
        size = np.maximum(np.abs(self.minimum), np.abs(self.maximum))
        return self.maximum - self.minimum <= ROUNDINGS * np.finfo(np.float32).eps * size

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation over the rows (population), 0 in constant dimensions."""
        return np.where(self.constant, 0.0, np.sqrt(self.squares / self.count))


def moments(blocks: Iterable[np.ndarray]) -> Moments:
    """Exact moments of blocks of rows (n, ...).

    Raises ValueError when there is no row.
    """
    total: Moments | None = None
    for block in blocks:
        if len(block):
            one = Moments.of(block)
            total = one if total is None else total.merge(one)
    if total is None:
        raise ValueError("statistics of no rows; give at least one episode with a step")
    return total

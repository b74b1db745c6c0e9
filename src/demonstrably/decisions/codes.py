"""A column of labels as whole numbers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Coded:
    """A column of labels: `codes` (n,) count from 0, `names` of the codes; no names where there are too many to use."""

    codes: Int[np.ndarray, "n"]
    names: tuple[str, ...]

    def take(self, rows: NDArray) -> "Coded":
        """The same labels for some rows (numbers or a mask), whether or not each still occurs."""
        return Coded(self.codes[rows], self.names)

    def used(self) -> "Coded":
        """The same without names that no longer occur; codes are numbered anew."""
        occurs = np.bincount(self.codes, minlength=len(self.names)) > 0
        names = tuple(name for name, keep in zip(self.names, occurs, strict=True) if keep) if self.names else ()
        return Coded(dense(self.codes), names)


def dense(codes: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """The codes that occur, numbered 0, 1, ... in their order."""
    occurs = np.bincount(codes) > 0
    return (np.cumsum(occurs) - 1)[codes]

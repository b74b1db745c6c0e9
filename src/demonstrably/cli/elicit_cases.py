"""The cases that a person is asked about: read from a file, and what is shown of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from demonstrably.decisions.columns import is_personal, numbers
from demonstrably.decisions.sources import open_source

if TYPE_CHECKING:
    from demonstrably.decisions.elicitation import Question

@dataclass(frozen=True)
class Cases:
    """Probabilities (n,), or None for made-up cases, and the columns that are shown. `withheld`: those that are not,
    since they look like names of people."""

    posterior: NDArray[np.float64] | None
    shown: pa.Table | None
    hidden: bool
    withheld: tuple[str, ...] = ()

    def facts(self, question: "Question") -> list[tuple[str, str]]:
        """What the person is told of a case: names and values."""
        probability = [] if self.hidden else [("probability", f"{100 * question.probability:.10g} %")]
        if self.shown is None or question.row is None:
            return probability
        row = self.shown.slice(question.row, 1).to_pylist()[0]
        return probability + [(name, "unknown" if value is None else str(value)) for name, value in row.items()]


def made_up() -> Cases:
    """No cases but a probability each."""
    return Cases(None, None, hidden=False)


def read_cases(path: Path, posterior: str, show: Sequence[str], *, hidden: bool) -> Cases:
    """The cases of a .csv, .csv.gz or .parquet file.

    ValueError for a file that cannot be read, a column that is not there, and a posterior that is no number.
    """
    source = open_source(path)
    rest = [name for name in source.columns if name != posterior]
    withheld = () if show else tuple(name for name in rest if is_personal(name))
    names = list(show) or [name for name in rest if name not in withheld]
    if hidden and not names:
        raise ValueError("--hide-probability leaves nothing to show: the file has no other column")
    table = source.read([posterior, *names])
    values = numbers(table[posterior], posterior)
    empty = np.isnan(values)
    if empty.any():
        count, first = int(empty.sum()), int(empty.argmax())
        raise ValueError(f"column {posterior!r} is empty in {count} rows, first in row {first}: leave those out")
    return Cases(values, table.select(names), hidden, withheld)

"""How findings name things: dimensions, episodes, shares."""

import difflib
from collections.abc import Iterable, Sequence

LISTED = 5
MOST_RANGES = 12


def ranges(numbers: Iterable[int]) -> str:
    """ "0-3, 7" of 0, 1, 2, 3, 7; the first MOST_RANGES of them."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    return ", ".join(texts[:MOST_RANGES]) + (", ..." if len(texts) > MOST_RANGES else "")


def dimensions(numbers: Iterable[int]) -> str:
    """ "dimension 3", or "dimensions 0-3, 7"."""
    found = list(numbers)
    return f"{'dimension' if len(found) == 1 else 'dimensions'} {ranges(found)}"


def listed(names: Sequence[str], limit: int = LISTED) -> str:
    """The first few names, and how many more."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def percent(share: float) -> str:
    """A share as a percentage, never rounded to 0 or 100 unless it is."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{100 * share:.3g} %"


def counted(number: int, name: str) -> str:
    """ "1 episode", "2 episodes"."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The end of an error message: the nearest allowed name, or all of them."""
    names = list(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {listed or 'none'}"

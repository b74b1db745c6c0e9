"""Splits by episode."""

from collections.abc import Hashable, Sequence

import numpy as np


def stratified(groups: Sequence[Hashable], fraction: float, seed: int) -> np.ndarray:
    """Which members fall into the second part, (members,) bool.

    The second part has fraction x members of them, rounded, at least 1 and not all. Each group gives its
    share, rounded by largest remainder with ties drawn at random; which members of a group go is drawn too.
    Raises ValueError for fewer than 2 members or a fraction outside (0, 1).
    """
    members = len(groups)
    if members < 2:
        raise ValueError(f"cannot split {members} episode; give at least 2, or train without a validation part")
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction is {fraction}; give a number between 0 and 1")
    generator = np.random.default_rng(seed)
    wanted = min(max(round(fraction * members), 1), members - 1)
    shuffled = generator.permutation(members)
    inside: dict[Hashable, list[int]] = {}
    for member in shuffled:
        inside.setdefault(groups[member], []).append(int(member))
    sizes = np.array([len(one) for one in inside.values()])
    share = sizes * (wanted / members)
    counts = np.floor(share + 1e-9).astype(int)
    remainder = np.round(share - counts, 9)
    order = np.lexsort((generator.random(len(sizes)), -remainder))
    counts[order[: wanted - counts.sum()]] += 1
    second = np.zeros(members, dtype=bool)
    for one, count in zip(inside.values(), counts, strict=True):
        second[one[:count]] = True
    return second

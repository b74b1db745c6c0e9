"""The graph of a tabular problem: what can be reached when, what choices compare, periods, and Kim et al.'s tests.

Kim, Garg, Shiragur and Ermon 2021, "Reward Identification in Inverse Reinforcement Learning", PMLR 139:5496-5505.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from demonstrably.tabular.mdp import MDP

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def state_graph(mdp: MDP) -> sparse.csr_array:
    """(S, S): an edge from each state to each outcome of its actions. An edge may be stored more than once."""
    matrix = mdp.transitions
    rows = np.ascontiguousarray(matrix.indptr[:: mdp.actions])
    return sparse.csr_array((matrix.data, matrix.indices, rows), shape=(mdp.states, mdp.states))


def reachable(mdp: MDP) -> Mask:
    """(S,): the states that an episode without end can ever visit."""
    seen = mdp.starts > 0
    if seen.all():
        return seen
    graph, starts = state_graph(mdp), np.flatnonzero(seen).astype(np.int32)
    rows = np.append(graph.indptr, graph.nnz + len(starts))  # one more node, which leads to the starts
    columns = np.append(graph.indices, starts)
    shape = (mdp.states + 1,) * 2
    whole = sparse.csr_array((np.ones(len(columns)), columns, rows), shape=shape)
    order = csgraph.breadth_first_order(whole, mdp.states, return_predecessors=False)
    seen[order[order < mdp.states]] = True
    return seen


def layers(mdp: MDP) -> list[Mask]:
    """Masks (S,) of the states that are possible after 0, 1, ..., horizon steps. ValueError without a horizon."""
    if mdp.horizon is None:
        raise ValueError("layers are for a problem with a horizon: give MDP(..., horizon=T)")
    back = sparse.csr_array(state_graph(mdp).T)
    masks = [mdp.starts > 0]
    for _ in range(mdp.horizon):
        masks.append(masks[-1] if masks[-1].all() and _entered(mdp).all() else (back @ masks[-1].astype(float)) > 0)
    return masks


def visited(mdp: MDP) -> Mask:
    """(S,): the states in which a decision can ever be seen."""
    return reachable(mdp) if mdp.horizon is None else np.any(layers(mdp)[:-1], axis=0)


def components(mdp: MDP, seen: Mask | None = None) -> Labels:
    """(S,): states share a label where a chain of choices compares them.

    Two outcomes of the same state (of whatever actions) are joined. With one action known to lead to each outcome
    (deterministic dynamics) two discounts, or a reward on states, determine the reward within a component and never
    between components. `seen` keeps to choices in some states. Linear in the number of transitions.
    """
    return _joined(mdp, mdp.transitions.indptr[:: mdp.actions], seen)


def chance_components(mdp: MDP, seen: Mask | None = None) -> Labels:
    """(S,): as `components`, but only outcomes of the same state and action, those that chance decides, are joined."""
    return _joined(mdp, mdp.transitions.indptr, None if seen is None else np.repeat(seen, mdp.actions))


def lasting_components(problems: Sequence[MDP], seen: Mask) -> Labels:
    """(S,): as `components` of several problems together, joined further until all states of a group lead to one group.

    A reward that is a function of the group then shifts all that can follow a state alike, however much time is left.
    """
    labels, groups = np.arange(problems[0].states, dtype=np.int32), -1
    while groups != int(labels.max()) + 1:
        groups = int(labels.max()) + 1
        edges = [sparse.coo_array(state_graph(mdp)) for mdp in problems]
        rows, columns = (np.concatenate([edge.coords[axis] for edge in edges]) for axis in (0, 1))
        rows, columns = labels[rows[seen[rows]]], columns[seen[rows]]
        size = groups + problems[0].states
        graph = sparse.csr_array((np.ones(len(rows)), (rows, groups + columns)), shape=(size, size))
        found = csgraph.connected_components(graph, directed=False)[1]
        labels = _renumbered(found[groups:], size)
    return labels


def count(labels: Labels, seen: Mask | None = None) -> int:
    """Number of different labels, among the states seen."""
    return int(np.count_nonzero(np.bincount(labels if seen is None else labels[seen])))


def breadth_first_depths(graph: sparse.csr_array, first: int) -> NDArray[np.int64]:
    """(n,): the number of edges from the first node to each; -1 where there is no way."""
    order, before = csgraph.breadth_first_order(graph, first)
    size = graph.indptr.size - 1
    place, depth = np.zeros(size, np.int64), np.full(size, -1)
    place[order] = np.arange(len(order))
    earlier = place[before[order[1:]]]  # rises, so that the nodes of a depth are an interval of the order
    begin, end, layer = 0, 1, 0
    while begin < len(order):
        depth[order[begin:end]] = layer
        begin, end, layer = end, 1 + int(np.searchsorted(earlier, end)), layer + 1
    return depth


def strongly_connected(mdp: MDP) -> bool:
    """Whether every state can be reached from every other."""
    graph = state_graph(mdp).copy()
    graph.sum_duplicates()  # SciPy's search for strong components does not end where an edge is stored twice
    return csgraph.connected_components(graph, connection="strong", return_labels=False) == 1


def period(mdp: MDP, seen: Mask | None = None) -> int:
    """Greatest common divisor of the lengths of all cycles of a strongly connected problem (or part of one).

    By breadth-first depths (Denardo 1977): it divides depth(s) + 1 - depth(s') for every edge. ValueError where the
    states are not strongly connected.
    """
    return _depths(mdp, seen)[1]


def periodic_classes(mdp: MDP, seen: Mask | None = None) -> Labels:
    """(S,): the class 0, 1, ..., period - 1 of each state; an action leads from class k to class k + 1 modulo the
    period, and class 0 holds the first start. States not seen have -1. ValueError as for `period`."""
    depth, length = _depths(mdp, seen)
    return np.where(depth < 0, -1, depth % length).astype(np.int32)


def covering_time(mdp: MDP) -> int | None:
    """The least number of steps after which every state is possible at once, from the starts; None if there is none.

    States after t steps come to repeat themselves; with one start they cover everything by (S - 1)^2 + 1 or never.
    """
    back = sparse.csr_array(state_graph(mdp).T)
    mask, met = mdp.starts > 0, set()
    for step in range((mdp.states - 1) ** 2 + 2):
        if mask.all():
            return step
        key = np.packbits(mask).tobytes()
        if key in met:
            return None
        met.add(key)
        mask = (back @ mask.astype(float)) > 0
    return None


def aperiodicity_test(mdp: MDP) -> bool:
    """Kim et al.'s theorem 3: whether the reward is determined up to a constant, by the period alone.

    Valid for deterministic dynamics from one start, strongly connected, with a horizon of at least twice the covering
    time. ValueError for any other problem: use `identify`, which is valid for all.
    """
    _require_kim(mdp, "aperiodicity_test")
    if not strongly_connected(mdp):
        raise ValueError("aperiodicity_test needs strongly connected states: use coverage_test or identify")
    if period(mdp) > 1:
        return False
    _require_time(mdp, covering_time(mdp), "aperiodicity_test")
    return True


def coverage_test(mdp: MDP) -> bool:
    """Kim et al.'s theorem 4: True if the reward is determined up to a constant; False leaves the question open.

    All states are possible at once after some number of steps, and the horizon is at least twice that. Valid for
    deterministic dynamics from one start. ValueError for any other problem: use `identify`.
    """
    _require_kim(mdp, "coverage_test")
    time = covering_time(mdp)
    if time is None:
        return False
    _require_time(mdp, time, "coverage_test")
    return True


def _require_kim(mdp: MDP, test: str) -> None:
    if mdp.horizon is None:
        raise ValueError(
            f"{test} is for a problem with a horizon; without one no single expert is enough: use identify"
        )
    if not mdp.deterministic:
        raise ValueError(f"{test} is for deterministic dynamics; where chance decides it errs: use identify")
    if np.count_nonzero(mdp.starts) > 1:
        raise ValueError(f"{test} is for one start, and {np.count_nonzero(mdp.starts)} are possible: use identify")


def _require_time(mdp: MDP, time: int | None, test: str) -> None:
    if time is None or (mdp.horizon or 0) < 2 * time:
        raise ValueError(f"{test} needs a horizon of at least {2 * (time or 0)}, not {mdp.horizon}: use identify")


def _entered(mdp: MDP) -> Mask:
    """(S,): the states that are an outcome of something."""
    return np.bincount(mdp.transitions.indices, minlength=mdp.states) > 0


def _joined(mdp: MDP, rows: NDArray[np.integer], seen: Mask | None) -> Labels:
    """Labels (S,) of the outcomes, joined where they are entries of the same row (of rows that are seen).

    The rows are put as nodes before the outcomes; nothing has to be sorted for that.
    """
    columns, sources = mdp.transitions.indices, len(rows) - 1
    if seen is not None and not seen.all():
        lengths = np.diff(rows)
        columns = columns[np.repeat(seen, lengths)]
        rows = np.append(0, np.cumsum(lengths * seen))
    starts = np.append(rows, np.full(mdp.states, len(columns))).astype(np.int32)
    nodes = sources + mdp.states
    graph = sparse.csr_array((np.ones(len(columns)), columns + np.int32(sources), starts), shape=(nodes, nodes))
    labels = csgraph.connected_components(graph, directed=True, connection="weak")[1]
    return _renumbered(labels[sources:], nodes)


def _renumbered(labels: Labels, bound: int) -> Labels:
    """Labels below the bound as 0, 1, 2, ... without gaps, in linear time."""
    present = np.zeros(bound, np.int32)
    present[labels] = 1
    return (np.cumsum(present, dtype=np.int32) - np.int32(1))[labels]


def _depths(mdp: MDP, seen: Mask | None) -> tuple[NDArray[np.int64], int]:
    """Breadth-first depth (S,) from the first start, -1 outside what is seen, and the period."""
    seen = np.ones(mdp.states, bool) if seen is None else seen
    inside = np.flatnonzero(seen)
    graph = sparse.csr_array(state_graph(mdp)[inside][:, inside])
    graph.sum_duplicates()  # as in `strongly_connected`
    if csgraph.connected_components(graph, connection="strong", return_labels=False) > 1:
        raise ValueError("a period is for strongly connected states, where each can be reached from each")
    first = int(np.argmax(mdp.starts[inside] > 0))
    found = breadth_first_depths(graph, first)
    rows, columns = graph.nonzero()
    length = math.gcd(*np.unique(found[rows] + 1 - found[columns]).tolist())
    depth = np.full(mdp.states, -1, dtype=np.int64)
    depth[inside] = found
    return depth, length

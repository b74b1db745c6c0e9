"""A graph as inline SVG: states on their grid where they have one, else where their distances put them.

As in `figures`, positions are percentages, so the drawing fills any width and text keeps its size.
"""

import re
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from .figures import percent

PLACE = re.compile(r"row (\d+),? column (\d+)\b")
EDGES = 2500  # lines that are drawn at most
STEPS = 150  # of the layout
ROW, COLUMN = 46, 92  # pixels of a grid, a column at most


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with what is drawn in them (`labels`), told of them (`tips`) and their `styles`, one of each a node.

    `edges` (n, 2) are from node to node, each pair once; `loops` (nodes,) says which lead to themselves. `places`
    (nodes, 2) are columns and rows where there is a grid.
    """

    labels: tuple[str, ...]
    tips: tuple[str, ...]
    styles: tuple[str, ...]
    edges: NDArray[np.int64]
    loops: NDArray[np.bool_]
    places: NDArray[np.float64] | None = None


def grid_places(names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Column and row of each name such as "row 2 column 3 (goal)"; None where there is no such grid.

    One name may be without a place; it comes below the others.
    """
    found = [PLACE.match(name) for name in names]
    places = [(float(match[2]), float(match[1])) for match in found if match]
    if len(places) < max(2, len(names) - 1) or len(set(places)) < len(places):
        return None
    across, down = np.array(places).max(0)
    return np.array([(float(match[2]), float(match[1])) if match else (across / 2, down + 1) for match in found])


def spread_places(edges: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Places (count, 2) whose distances come near the numbers of steps between nodes, by stress majorization.

    De Leeuw 1977 (SMACOF); weights are the inverse squares of the distances, as Gansner, Koren and North 2004 have it.
    """
    if count == 1:
        return np.zeros((1, 2))
    matrix = sparse.csr_array((np.ones(len(edges)), edges.T), shape=(count, count))
    steps = csgraph.shortest_path(matrix, directed=False, unweighted=True)
    far = steps[np.isfinite(steps)].max() + 2
    steps[~np.isfinite(steps)] = far  # between parts that are not joined
    np.fill_diagonal(steps, 1)
    weights = steps**-2
    np.fill_diagonal(weights, 0)
    inverse = np.linalg.pinv(np.diag(weights.sum(1)) - weights)
    places = _scaled(steps)
    for _ in range(STEPS):
        apart = np.linalg.norm(places[:, None] - places, axis=2)
        pull = -weights * steps / np.maximum(apart, 1e-9)
        np.fill_diagonal(pull, 0)
        np.fill_diagonal(pull, -pull.sum(1))
        places = inverse @ (pull @ places)
    axes = np.linalg.svd(places - places.mean(0), full_matrices=False)[2]
    return (places - places.mean(0)) @ axes.T  # longer than high


def _scaled(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Classical scaling: where the layout begins."""
    squares = steps**2
    np.fill_diagonal(squares, 0)
    centered = -(squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()) / 2
    values, vectors = np.linalg.eigh(centered)
    start = vectors[:, [-1, -2]] * np.sqrt(np.maximum(values[[-1, -2]], 1e-3))
    return start + 1e-3 * np.stack([np.cos(np.arange(len(steps))), np.sin(np.arange(len(steps)))], 1)  # none coincide


def draw_graph(graph: Graph, description: str) -> Markup:
    """The drawing; `description` is its text alternative."""
    gridded = graph.places is not None
    places = graph.places if graph.places is not None else spread_places(graph.edges, len(graph.labels))
    low, extent = places.min(0), np.ptp(places, axis=0)
    where = np.where(extent > 1e-9, (places - low) / np.where(extent > 1e-9, extent, 1), 0.5)
    height = round(ROW * extent[1]) if gridded else min(440, 120 + 24 * len(graph.labels))
    radius = _radius(graph, int(extent[0]) + 1 if gridded else None)
    lines = [_edge(where, *edge) for edge in _joined(graph.edges)] if len(graph.edges) <= EDGES else []
    loops = [_loop(where[node], radius) for node in np.flatnonzero(graph.loops)]
    nodes = [_node(graph, node, where[node], radius) for node in range(len(graph.labels))]
    arrow = Markup(
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="{}" refY="4" markerWidth="8" markerHeight="8" orient="auto" '
        'markerUnits="userSpaceOnUse"><path class="head" d="M0 0.5 8 4 0 7.5z"/></marker></defs>'
    ).format(8 + radius)
    shape = Markup(
        '<div class="frame" style="padding:{0}px{1}"><svg class="plot" role="img" tabindex="0" width="100%" '
        'height="{2}" aria-label="{3}">{4}{5}</svg></div>'
    )
    inside = Markup("").join([*lines, *loops, *nodes])
    width = f";max-width:{COLUMN * (int(extent[0]) + 1)}px" if gridded else ""
    return shape.format(radius + 8, width, max(height, 2 * radius), description, arrow, inside)


def _radius(graph: Graph, columns: int | None) -> int:
    """Of the nodes, in pixels: small enough for a phone, on which 300 pixels are left between the margins."""
    if columns is not None:
        return int(np.clip(300 / columns / 2 - 2, 5, 16))
    return 14 if len(graph.labels) <= 20 else 9 if len(graph.labels) <= 60 else 6


def _joined(edges: NDArray[np.int64]) -> list[tuple[int, int, bool]]:
    """Each pair of nodes once, with whether the way back is there too."""
    ways = set(map(tuple, edges.tolist()))
    return [(a, b, (b, a) in ways) for a, b in sorted(ways) if a < b or (b, a) not in ways]


def _edge(where: NDArray[np.float64], start: int, end: int, both: bool) -> Markup:
    (x1, y1), (x2, y2) = (map(percent, where[node]) for node in (start, end))
    head = Markup("") if both else Markup(' marker-end="url(#arrow)"')
    return Markup('<line class="edge" x1="{}" y1="{}" x2="{}" y2="{}"{}/>').format(x1, y1, x2, y2, head)


def _loop(place: NDArray[np.float64], radius: int) -> Markup:
    """A ring behind the node's upper right."""
    shape = '<circle class="loop" cx="{}" cy="{}" r="{}" transform="translate({} {})"/>'
    x, y = map(percent, place)
    shift = round(0.72 * radius)
    return Markup(shape).format(x, y, max(3, radius // 2), shift, -shift)


def _node(graph: Graph, node: int, place: NDArray[np.float64], radius: int) -> Markup:
    x, y = map(percent, place)
    shape = Markup('<circle class="node {}" cx="{}" cy="{}" r="{}" data-tip="{}"/>')
    drawn = shape.format(graph.styles[node], x, y, radius, graph.tips[node])
    label = graph.labels[node]
    if radius < 9 or len(label) * 7 > 2 * radius:  # a figure is 7 pixels wide
        return drawn
    return drawn + Markup('<text class="name" x="{}" y="{}" dy="4" text-anchor="middle">{}</text>').format(x, y, label)

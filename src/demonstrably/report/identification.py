"""What of a reward behavior can reveal, as one HTML file: verdict, blocks, remedies, and the graph drawn."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from demonstrably.tabular.identification import Block, Identification
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import Misspecification

from . import blocks
from .blocks import Group, Section, Table
from .graphs import EDGES, Graph, draw_graph, grid_places
from .pages import kept, rendered

Named = Sequence[tuple[str, MDP]]

DRAWN = 300  # states that are drawn one by one, and parts that are drawn where there are more states
COLORED = 8  # blocks with a color of their own
TOLD = 3  # blocks in words on one state
VERDICTS = {
    "strong": "The reward can be known up to a constant.",
    "weak": "The reward can be known up to trajectory equivalence: what stays open changes what a trajectory earns by "
    "a number that depends on its start alone.",
    "none": "The reward cannot be known, not even up to trajectory equivalence: rewards that value trajectories "
    "differently lead to the same behavior.",
}
EXACT = "The reward can be known exactly."


def write_identification(found: Identification, problems: Named, out: str | Path) -> Path:
    """Writes the page. `problems` are names and problems, as they were given to `identify`.

    The file is replaced as a whole, or not at all. Raises OSError where it cannot be written.
    """
    return kept(page(found, problems), out)


def page(found: Identification, problems: Named) -> str:
    """The whole page."""
    names = list(dict.fromkeys(name for name, _ in problems))
    parts = [
        Section("result", "What can be known", 1, _result(found)),
        Section("problems", "The problem" if len(problems) == 1 else "The problems", 1, [_problems(problems)]),
        Section("blocks", "What no behavior reveals", 1, _blocks(found, problems)),
        Section("remedies", "What would settle it", 1, _remedies(found)),
        Section("condition", "How well it can be estimated", 1, _condition(found)),
    ]
    if found.misspecifications:
        parts.append(Section("supposed", "If people are not as assumed", 1, _supposed(found.misspecifications)))
    return rendered(
        f"Could the reward be known? {', '.join(names)}",
        f"verdict: {found.verdict} · {found.dimension} of the reward's directions stay unknown",
        parts,
    )


def _result(found: Identification) -> list[Markup]:
    gap = "exact" if math.isinf(found.gap) else f"{found.gap:.3g}"
    entries = (
        ("verdict", found.verdict),
        ("directions that no behavior reveals, the constant included", str(found.dimension)),
        ("of them, up to trajectory equivalence", str(found.trajectory_dimension)),
        ("found by", found.method),
        ("gap of the rank decision", gap),
    )
    words = VERDICTS[found.verdict] if found.dimension else EXACT
    return [blocks.text(words, "lead"), blocks.definitions([Group("", entries)])]


def _problems(problems: Named) -> Markup:
    rows = [
        (
            name,
            f"{mdp.states:,}",
            str(mdp.actions),
            f"{mdp.discount:g}",
            "without end" if mdp.horizon is None else str(mdp.horizon),
            _starts(mdp),
        )
        for name, mdp in problems
    ]
    head = ("problem", "states", "actions", "discount", "horizon", "starts")
    return blocks.table("As it was given", Table(head, rows, (1, 2, 3)))


def _starts(mdp: MDP) -> str:
    states = np.flatnonzero(mdp.starts)
    if len(states) > 3:
        return f"{len(states):,} states"
    return "; ".join(mdp.state_names[state] for state in states)


def _blocks(found: Identification, problems: Named) -> list[Markup]:
    shown = sorted(found.blocks, key=lambda block: -block.dimension)[:DRAWN]
    left = len(found.blocks) - len(shown)
    rows = [
        (block.text, f"{block.dimension:,}", block.kind, f"{len(block.states):,}" if block.states else "all")
        for block in shown
    ]
    note = f"{left:,} smaller blocks are left out." if left else ""
    listed = blocks.table(
        "Blocks of directions", Table(("what", "directions", "kind", "states"), rows, (1, 3), note, wrap=True)
    )
    return [_drawing(found, problems), listed]


def _remedies(found: Identification) -> list[Markup]:
    if not found.remedies:
        if found.dimension <= 1:
            return [blocks.missing("Nothing is left to settle but the constant.")]
        return [blocks.missing("None was found. In problems of more than 600 state-action pairs few are tried.")]
    rows = [(remedy.text, f"{remedy.dimension:,}", remedy.kind) for remedy in found.remedies]
    head = ("change", "leaves unknown", "kind")
    return [blocks.table("Each was verified", Table(head, rows, (1,), wrap=True))]


def _condition(found: Identification) -> list[Markup]:
    if found.condition is None:
        return [blocks.missing("Not computed: nothing is identifiable, the graph alone decides, or there is too much.")]
    condition = found.condition
    entries = [("smallest singular value that is not 0, relative to the largest", f"{condition.singular_value:.3g}")]
    if math.isfinite(condition.amplification):
        entries.append(
            ("errors of the log-policies grow in the reward at most", f"{condition.amplification:.3g} times")
        )
    if condition.angle is not None:
        entries.append(("smallest angle between two experts' open rewards, radians", f"{condition.angle:.3g}"))
    drawn = [blocks.definitions([Group("", entries)])]
    return [blocks.text(condition.warning, "problem"), *drawn] if condition.warning else drawn


def _supposed(cases: Sequence[Misspecification]) -> list[Markup]:
    rows = [
        (
            case.behavior,
            f"{case.distance:.3g}",
            f"{case.scale:.3g}",
            f"{case.regret:.2%}",
            f"{case.transferred:.2%}",
            "yes" if case.revealed else "no",
        )
        for case in cases
    ]
    head = ("behavior", "off by", "scale", "regret", "regret elsewhere", "policies reveal it")
    drawn = f"Each figure is the median over {cases[0].draws} random rewards." if cases[0].draws else ""
    words = (
        "How far off a reward would be that is inferred as if people were soft-optimal, when they behave in another "
        "way: a simulation, and no bound. Off by 0 is the same reward and 1 its opposite; the scale is the inferred "
        "reward's over the true one's; regret is the share of all there is to lose, here and where a quarter of each "
        "action's outcomes are those of the next action."
    )
    return [blocks.text(words), blocks.table("Supposed behavior", Table(head, rows, (1, 2, 3, 4), drawn, wrap=True))]


def _drawing(found: Identification, problems: Named) -> Markup:
    """The graph of all problems' transitions with its legend, or why there is none."""
    mdp = problems[0][1]
    ways = _ways([one for _, one in problems])
    colored = _local(found.blocks)[:COLORED]
    style = _styles(colored, mdp.states)
    if mdp.states <= DRAWN:
        graph = _states(mdp, ways, style, found.blocks)
        note = "One dot a state; a line is a way both back and forth, an arrow one way, a ring a way to stay."
    else:
        count, labels = csgraph.connected_components(ways, connection="strong")
        if not 1 < count <= DRAWN:
            parts = "one part" if count == 1 else f"{count:,} parts"
            return blocks.missing(
                f"The graph is not drawn: {mdp.states:,} states, in {parts} inside which every state leads to every "
                f"other; at most {DRAWN} are drawn."
            )
        graph = _condensed(mdp, ways, style, labels)
        note = "One dot for all states that lead to one another, with their number; an arrow leads on."
    if len(graph.edges) > EDGES:
        note += f" Its {len(graph.edges):,} lines are left out."
    description = f"Graph of {len(graph.labels)} nodes and {len(graph.edges)} ways; the table below names its blocks."
    legend = [(f"block-{index + 1}", block.text) for index, block in enumerate(colored)]
    more = "" if len(colored) == len(_local(found.blocks)) else "Smaller blocks have no color."
    drawn = draw_graph(graph, description) + blocks.legend(legend, more)
    named = len(graph.labels) == mdp.states and graph.labels != mdp.state_names
    numbers = Table(("number", "state"), list(zip(graph.labels, mdp.state_names, strict=True)), (0,)) if named else None
    return blocks.figure("The graph, its states colored by block", note, drawn, numbers)


def _ways(mdps: Sequence[MDP]) -> sparse.csr_array:
    """Which state can follow which by some action, (S, S)."""
    total = sum(((mdp.stay().T @ mdp.transitions) for mdp in mdps[1:]), mdps[0].stay().T @ mdps[0].transitions)
    return sparse.csr_array(total)


def _local(every: Sequence[Block]) -> list[Block]:
    """Blocks but the constant, the largest first."""
    return sorted((block for block in every if block.kind != "constant"), key=lambda block: -block.dimension)


def _places(block: Block, states: int) -> Sequence[int]:
    """States of a block; one that lists none is everywhere."""
    return block.states or range(states)


def _styles(colored: Sequence[Block], states: int) -> list[str]:
    """The class of each state: of the smallest block that it is in."""
    style, sizes = np.zeros(states, int), [len(_places(block, states)) for block in colored]
    for index in sorted(range(len(colored)), key=lambda index: -sizes[index]):
        style[list(_places(colored[index], states))] = index + 1
    return [f"block-{number}" for number in style]


def _states(mdp: MDP, ways: sparse.csr_array, style: list[str], every: Sequence[Block]) -> Graph:
    told: list[list[str]] = [[] for _ in range(mdp.states)]
    for block in _local(every):
        for state in _places(block, mdp.states):
            told[state].append(block.text)
    tips = [
        "\n".join([name, *texts[:TOLD], *(["..."] if len(texts) > TOLD else [])])
        for name, texts in zip(mdp.state_names, told, strict=True)
    ]
    short = max(map(len, mdp.state_names)) <= 4
    labels = mdp.state_names if short else tuple(map(str, range(mdp.states)))
    places = grid_places(mdp.state_names)
    return Graph(labels, tuple(tips), tuple(style), *_edges(ways), places)


def _condensed(mdp: MDP, ways: sparse.csr_array, style: list[str], labels: NDArray[np.int32]) -> Graph:
    count = int(labels.max()) + 1
    member = sparse.csr_array((np.ones(mdp.states), (np.arange(mdp.states), labels)), shape=(mdp.states, count))
    texts, tips, styles = [], [], []
    for part in range(count):
        inside = np.flatnonzero(labels == part)
        kinds = {style[state] for state in inside}
        styles.append(kinds.pop() if len(kinds) == 1 else "block-0")
        texts.append(str(len(inside)))
        names = "; ".join(mdp.state_names[state] for state in inside[:3])
        tips.append(f"{len(inside)} states: {names}; ..." if len(inside) > 3 else names)
    edges, _ = _edges(sparse.csr_array(member.T @ ways @ member))
    return Graph(tuple(texts), tuple(tips), tuple(styles), edges, np.zeros(count, bool))


def _edges(ways: sparse.csr_array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Ways from one node to another (n, 2), and which nodes lead to themselves."""
    rows, columns = ways.tocoo().coords
    apart = rows != columns
    loops = ways.diagonal() > 0
    return np.stack([rows[apart], columns[apart]], 1).astype(np.int64), loops

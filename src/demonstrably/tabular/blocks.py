"""What is open, in words: candidates that theory knows, each verified against the open directions themselves.

Candidates are taken in order, and each counts what it adds to those before. What none of them explains is "other".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from demonstrably.tabular.ambiguity import potentials, shaping_matrix
from demonstrably.tabular.forms import Form
from demonstrably.tabular.identification import Block
from demonstrably.tabular.large import differences, raised, same_dynamics
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import (
    Labels,
    Mask,
    components,
    lasting_components,
    layers,
    periodic_classes,
    strongly_connected,
    visited,
)
from demonstrably.tabular.words import counted, named_pairs, named_states, places

Array = NDArray[np.float64]

CLOSE = 1e-7  # relative distance at which a candidate counts as open, and two values of a function as equal
LARGEST = 1e7  # numbers of the dense rewards of one candidate
GROUPS = 20  # groups of states up to which each gets a block of its own


@dataclass(frozen=True, eq=False)
class Candidate:
    """Rewards (S * A, k) that may be open, and the text that follows "n directions are"."""

    kind: str
    rewards: Array
    text: str
    states: tuple[int, ...] = ()
    pairs: tuple[int, ...] = ()


def blocks_of(problems: Sequence[MDP], form: Form, directions: Array) -> tuple[Block, ...]:
    """Blocks whose dimensions add up to the number of directions (S * A, m)."""
    found, explained = [], np.zeros((directions.shape[1], 0))
    for candidate in _candidates(problems, form, directions):
        if explained.shape[1] == directions.shape[1]:
            break
        wider = _spanned(np.hstack([explained, _inside(directions, candidate.rewards)]))
        gained = wider.shape[1] - explained.shape[1]
        if gained:
            found.append(_block(candidate, gained))
            explained = wider
    left = directions.shape[1] - explained.shape[1]
    if left:
        text = "combinations of potentials without a simple description"
        if any(mdp.horizon is not None for mdp in problems):
            text = "combinations of potentials that may change with the time left, without a simple description"
        found.append(_block(Candidate("other", np.zeros((0, 0)), text), left))
    return tuple(found)


def _block(candidate: Candidate, dimension: int) -> Block:
    verb = "direction is" if dimension == 1 else "directions are"
    text = f"{dimension} {verb} {candidate.text}"
    return Block(candidate.kind, dimension, candidate.states, candidate.pairs, text)


def _candidates(problems: Sequence[MDP], form: Form, directions: Array) -> Iterator[Candidate]:
    first = problems[0]
    if form.constant:
        yield Candidate("constant", np.ones((first.pairs, 1)), "the constant: the same number added to every reward")
    seen: Mask = np.any([visited(mdp) for mdp in problems], axis=0)
    if first.pairs * first.states > LARGEST:
        return
    if not seen.all():
        yield _unvisited(first, seen)
    endless = all(mdp.horizon is None for mdp in problems)
    if first.actions == 1:
        text = f"rewards over {named_states(first, seen)}: there is one action, so that no choice compares anything"
        yield Candidate("component", np.eye(first.pairs)[:, seen], text, places(seen))
    elif endless and len(problems) == 1 and form.kind != "state":
        text = f"potential shaping over {named_states(first, seen)}: one expert without end never settles it"
        yield Candidate("shaping", _shaping(first, seen), text, places(seen))
    elif endless and all(same_dynamics(first, mdp) for mdp in problems[1:]):
        yield from _groups(problems, form, directions, seen)
        yield from _lasting(problems, form, seen) if form.kind == "features" else ()
    elif endless and len({mdp.discount for mdp in problems}) == 1:
        yield from _shared(problems, seen)
    else:
        if len(problems) == 1:
            yield from _unsettled(first, seen)
        yield from _lasting(problems, form, seen)


def _unvisited(mdp: MDP, seen: Mask) -> Candidate:
    pairs = np.flatnonzero(~np.repeat(seen, mdp.actions))
    rewards = np.zeros((mdp.pairs, len(pairs)))
    rewards[pairs, np.arange(len(pairs))] = 1
    text = f"rewards that no episode ever collects: {named_pairs(mdp, pairs)}"
    return Candidate("unvisited", rewards, text, places(~seen), tuple(pairs.tolist()))


def _shaping(mdp: MDP, seen: Mask, held: Mask | None = None) -> Array:
    """Rewards of a unit potential at each visited state, but for those where it is held at 0."""
    rewards = np.zeros((mdp.pairs, int(seen.sum())))
    rewards[np.repeat(seen, mdp.actions)] = shaping_matrix(mdp, seen).toarray()
    return rewards if held is None else rewards[:, ~held[seen]]


def _groups(problems: Sequence[MDP], form: Form, directions: Array, seen: Mask) -> Iterator[Candidate]:
    """Groups of states between which the reward can shift: components first, then values of exogenous factors."""
    first, discounts = problems[0], {mdp.discount for mdp in problems}
    if form.kind != "state" and len(discounts) < 2:
        yield Candidate("shaping", _shaping(first, seen), f"potential shaping over {named_states(first, seen)}")
        return
    if discounts == {0.0}:
        text = f"rewards over {named_states(first, seen)}: at discount 0 no choice depends on what comes next"
        yield Candidate("shaping", np.repeat(np.eye(first.states)[:, seen], first.actions, axis=0), text, places(seen))
        return
    shape = form if form.kind == "state" else Form("state_action", first.states, first.actions)
    ordered = sorted(problems, key=lambda mdp: mdp.discount == 0)  # Eq. 2 of `large` says nothing at discount 0
    for kind, labels in (
        ("component", components(first, seen)),
        ("factor", _values(ordered, shape, directions, seen)),
    ):
        for text, mask, functions in _partition(first, kind, labels, seen, form.constant):
            yield Candidate(kind, raised(ordered, shape, functions), text, places(mask))


def _lasting(problems: Sequence[MDP], form: Form, seen: Mask) -> Iterator[Candidate]:
    """Functions of what no action influences, as rewards: with or without a horizon they are potentials over time."""
    first = problems[0]
    for kind, labels in (("component", lasting_components(problems, seen)), ("factor", _uncontrolled(problems, seen))):
        for text, mask, functions in _partition(first, kind, labels, seen, form.constant):
            yield Candidate(kind, np.repeat(functions, first.actions, axis=0), text, places(mask))


def _uncontrolled(problems: Sequence[MDP], seen: Mask) -> Labels | None:
    """Labels (S,) such that all actions lead equally likely to each, and no other functions have that expectation."""
    choices = sparse.vstack([differences(mdp, seen) for mdp in problems]).toarray()
    if len(choices) > choices.shape[1]:
        choices = np.asarray(np.linalg.qr(choices, mode="r"))
    _, sizes, right = np.linalg.svd(choices, full_matrices=True)
    return _labels(right[int((sizes > CLOSE).sum()) :].T, seen)


def _partition(
    mdp: MDP, kind: str, labels: Labels | None, seen: Mask, constant: bool
) -> Iterator[tuple[str, Mask, Array]]:
    """Text, states and functions (S, k) of each group; of all at once where there are many.

    Where the constant is open, the largest group is left out, since it follows from the others."""
    if labels is None:
        return
    groups, sizes = np.unique(labels[seen], return_counts=True)
    if constant or len(groups) == 1:
        groups = np.delete(groups, sizes.argmax())
    if not 0 < len(groups) <= seen.sum() - constant or mdp.pairs * len(groups) > 4e6:
        return
    masks = [(labels == group) & seen for group in groups]
    for mask in masks if len(masks) <= GROUPS else [np.any(masks, axis=0)]:
        inside = groups[np.isin(groups, labels[mask])]
        functions = ((labels[:, None] == inside) & seen[:, None]).astype(np.float64)
        yield group_text(mdp, kind, mask, len(inside)), mask, functions


def group_text(mdp: MDP, kind: str, mask: Mask, groups: int) -> str:
    """What sets a group of states (or many groups) apart from the rest."""
    what = named_states(mdp, mask)
    if kind == "factor":
        return f"a shift of {what}: no action changes how likely it is to be there next (an exogenous factor)"
    if groups > 1:
        return f"shifts of {counted(groups, 'group')} of states ({what}) that no choice compares with the rest"
    return f"a shift of {what}: no choice compares it with the rest{_entry(mdp, mask)}"


def _entry(mdp: MDP, mask: Mask) -> str:
    """How a group of states is entered from outside, where that explains why no choice compares it."""
    entering = np.zeros(mdp.states, bool)
    pair = np.repeat(np.arange(mdp.pairs), np.diff(mdp.transitions.indptr))
    entering[pair[mask[mdp.transitions.indices]] // mdp.actions] = True
    outside = entering & ~mask
    if not entering.any():
        return ", since nothing leads there"
    if not outside.any():
        return ", since nothing leads there from outside"
    if outside.sum() * mdp.actions <= 4096 and teleports(mdp, outside):
        return f", since the way in is a teleport: all actions of {named_states(mdp, outside)} do the same"
    return f", since every action of {named_states(mdp, outside)} leads there"


def teleports(mdp: MDP, mask: Mask) -> bool:
    """Whether in all of some states every action has the same outcomes."""
    states = np.flatnonzero(mask)
    rows = mdp.transitions[(states[:, None] * mdp.actions + np.arange(mdp.actions)).ravel()]
    first = mdp.transitions[np.repeat(states * mdp.actions, mdp.actions)]
    return bool(abs(rows - first).max() == 0)


def _values(problems: Sequence[MDP], form: Form, directions: Array, seen: Mask) -> Labels | None:
    """Labels (S,) such that the null space of the differences is all functions of the label; None if it is not."""
    first = problems[0]
    z = potentials(first, directions)
    if form.kind != "state":
        second = next(mdp for mdp in problems if mdp.discount != first.discount)
        z = first.discount * z - second.discount * potentials(second, directions)
    return _labels(z[seen], seen)


def _labels(functions: Array, seen: Mask) -> Labels | None:
    """Labels (S,) of the states seen, shared where all functions (visited, m) agree; None where they do not span all
    functions of the label."""
    scale = np.abs(functions).max(initial=0)
    if not scale:
        return None
    mixed = functions @ np.random.default_rng(0).standard_normal(functions.shape[1]) / scale
    order = np.argsort(mixed, kind="stable")
    jumps = np.diff(mixed[order]) > CLOSE
    inside = np.empty(len(order), np.int32)
    inside[order] = np.append(0, np.cumsum(jumps))
    if int(jumps.sum()) + 1 != np.linalg.matrix_rank(functions, tol=CLOSE * scale):
        return None
    labels = np.full(len(seen), -1, np.int32)
    labels[seen] = inside
    return labels


def _shared(problems: Sequence[MDP], seen: Mask) -> Iterator[Candidate]:
    """The same potentials in all environments, with expectations that their differences do not touch."""
    first = problems[0]
    rows = [(mdp.transitions - first.transitions).toarray() for mdp in problems[1:]]
    changed = np.vstack([row[np.abs(row).max(axis=1) > 0] for row in rows])
    states = np.flatnonzero(seen)
    _, values, right = np.linalg.svd(changed[:, states], full_matrices=True)
    free = right[int((values > CLOSE).sum()) :].T
    text = (
        f"potential shaping with potentials that the {counted(len(changed), 'transition')} in which the environments "
        "differ leave alone"
    )
    yield Candidate("shaping", _shaping(first, seen) @ free, text, places(seen))


def _unsettled(mdp: MDP, seen: Mask) -> Iterator[Candidate]:
    """With a horizon: potentials that are 0 wherever an episode can end; by class, where the problem is periodic."""
    end = layers(mdp)[-1]
    rewards, states = _shaping(mdp, seen), np.flatnonzero(seen)
    if seen.all() and strongly_connected(mdp):
        classes = periodic_classes(mdp)
        count = int(classes.max()) + 1
        for label in range(count if count > 1 else 0):
            mask = (classes == label) & ~end
            text = (
                f"potential shaping over class {label + 1} of {count} ({named_states(mdp, mask)}): the dynamics have "
                f"period {count} and no episode of {mdp.horizon} decisions ends there"
            )
            yield Candidate("period", rewards[:, mask[states]], text, places(mask))
    mask = seen & ~end
    if mask.any():
        text = f"potential shaping over {named_states(mdp, mask)}, where no episode ends"
        yield Candidate("shaping", rewards[:, mask[states]], text, places(mask))


def _inside(directions: Array, rewards: Array) -> Array:
    """Coordinates (m, j) of the rewards that lie in the span of the directions."""
    if not rewards.shape[1]:
        return np.zeros((directions.shape[1], 0))
    coordinates = directions.T @ rewards
    sizes = np.linalg.norm(rewards, axis=0)
    if (np.linalg.norm(rewards - directions @ coordinates, axis=0) <= CLOSE * sizes).all():
        return coordinates
    basis = np.linalg.qr(rewards)[0]
    left, right = np.linalg.svd(directions - basis @ (basis.T @ directions), full_matrices=True)[1:]
    return right[int((left > CLOSE).sum()) :].T


def _spanned(coordinates: Array) -> Array:
    """Orthonormal columns with the same span."""
    sizes = np.linalg.norm(coordinates, axis=0)
    scaled = coordinates / np.where(sizes > 0, sizes, 1)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    return left[:, values > CLOSE]

"""Could the reward be known? What of it no policy could ever reveal, in one problem or in several together."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from demonstrably.tabular.ambiguity import ambiguity, pathwise
from demonstrably.tabular.blocks import blocks_of, group_text
from demonstrably.tabular.condition import condition_in_large, condition_of
from demonstrably.tabular.forms import Form, form_of
from demonstrably.tabular.identification import Block, Condition, Identification, Remedy, Verdict
from demonstrably.tabular.large import Found, found_in_large
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.misspecification import Behavior, supposed
from demonstrably.tabular.remedies import remedies_of
from demonstrably.tabular.span import Features
from demonstrably.tabular.structure import layers, reachable, visited
from demonstrably.tabular.words import counted, named_pairs, named_states, places

DENSE = 6e6  # numbers of the dense arrays, up to which a problem counts as moderate


def identify(
    problems: MDP | Sequence[MDP],
    *,
    reward: Features = "state_action",
    remedies: bool = True,
    suppose: Sequence[Behavior] = (),
    known: ArrayLike | None = None,
) -> Identification:
    """The set of reward changes that no entropy-regularized expert's policy could reveal, exactly.

    Args:
        problems: one problem, or one an expert: with other discounts, dynamics, horizons or starts, over the same
            states and actions. All experts have the same reward and temperature.
        reward: which rewards are possible. "state_action": any (S, A). "state": any (S,), the same for all actions.
            An array (S * A, D), (S, A, D) or (S, D): combinations of D features of pairs or of states.
        remedies: whether to try what would settle more (problems of at most 600 pairs).
        suppose: behaviors that the experts may show instead, from `misspecification`, such as `EpsilonGreedy()`: for
            each the result says how far off a reward would be that is inferred as if they were soft-optimal.
        known: the reward that these simulations suppose, (S,), (S, A) or (S, A, S'), in units of the temperature. By
            default they take medians over 5 random rewards of the possible form, whose mean square is 1.

    The dimension counts the constant, which no policy reveals, wherever it is a possible reward. Where the constant is
    no combination of the features, it is not counted, the dimension can be 0, and the reward is then known exactly.
    Pairs that no episode visits are free and count one each (states, for rewards on states).

    The verdict is "strong" if only the constant is left, if anything; "weak" if all that is left changes the
    discounted reward of every possible trajectory by a number that depends on its start alone; "none" otherwise. For
    deterministic dynamics it is never "none". Without end, one expert leaves potential shaping: the verdict then is
    "weak" for deterministic dynamics, and "none" in general where chance decides, since there a potential changes what
    an episode earns by luck, though not what it earns in expectation.

    Raises ValueError for features or experts that do not fit, for a rank that rounding hides, for what would not fit
    into memory (the estimate is given, and what to do instead), and for problems too large to suppose another behavior
    (600 unknowns: weights of the reward, and values of each expert). Sources: `ambiguity`, `large`, `condition`.
    """
    experts = tuple(problems) if isinstance(problems, Sequence) else (problems,)
    _require_same_shape(experts)
    form = form_of(experts[0], reward)
    cases = supposed(experts, suppose, features=reward, known=known)  # first, since it refuses at once what is large
    found = _identified(experts, form, remedies) if _moderate(experts, form) else _identified_in_large(experts, form)
    return replace(found, misspecifications=cases)


def _identified(experts: Sequence[MDP], form: Form, advise: bool) -> Identification:
    found = ambiguity(experts, form)
    dimension = found.directions.shape[1]
    tied = pathwise(experts, found) if dimension > int(form.constant) else found
    trajectory_dimension = tied.directions.shape[1]
    return Identification(
        dimension,
        trajectory_dimension,
        _verdict(form, dimension, trajectory_dimension),
        form.coordinates(found.directions),
        blocks_of(experts, form, found.directions),
        condition_of(experts, form, dimension),
        remedies_of(experts, form, dimension) if advise else (),
        "dense null space",
        min(found.gap, tied.gap),
        found.directions,
        form.actions,
        error=found.error,
    )


def _identified_in_large(experts: Sequence[MDP], form: Form) -> Identification:
    found = found_in_large(experts, form)
    condition: Condition | None = condition_in_large(experts, form, found)
    return Identification(
        found.dimension,
        found.trajectory_dimension,
        _verdict(form, found.dimension, found.trajectory_dimension),
        None if found.directions is None else form.coordinates(found.directions),
        _blocks_in_large(experts, form, found),
        condition,
        _remedies_in_large(experts, form, found),
        found.method,
        found.gap,
        found.directions,
        form.actions,
        error=found.error,
    )


def _verdict(form: Form, dimension: int, trajectory_dimension: int) -> Verdict:
    if dimension <= int(form.constant):
        return "strong"
    return "weak" if trajectory_dimension == dimension else "none"


def _require_same_shape(experts: Sequence[MDP]) -> None:
    if not experts:
        raise ValueError("no problem given: give an MDP, or one an expert")
    for index, mdp in enumerate(experts):
        if not isinstance(mdp, MDP):
            raise ValueError(f"problem {index} is no MDP but {type(mdp).__name__}: give an MDP, or one an expert")
    first = experts[0]
    for index, mdp in enumerate(experts):
        if (mdp.states, mdp.actions) != (first.states, first.actions):
            raise ValueError(
                f"problem {index} has {mdp.states} states and {mdp.actions} actions, the first {first.states} and "
                f"{first.actions}: experts must share their states and actions, since they share the reward"
            )


def _moderate(experts: Sequence[MDP], form: Form) -> bool:
    """Whether dense arrays are small enough to be fast."""
    first = experts[0]
    if any(mdp.horizon is None for mdp in experts):
        return first.pairs * max(first.states, form.width if form.kind != "state_action" else 0) <= DENSE
    width = form.width
    if form.kind == "state_action" and first.pairs * first.states <= DENSE:
        last = min(int(layers(mdp)[-2].sum()) for mdp in experts)
        width = last + first.actions * (first.states - last)
    return first.pairs * width <= DENSE


def _blocks_in_large(experts: Sequence[MDP], form: Form, found: Found) -> tuple[Block, ...]:
    """Blocks that the graph shows; what it does not is "other"."""
    mdp, left, blocks = experts[0], found.dimension, []
    if form.constant:
        blocks.append(
            Block("constant", 1, (), (), "1 direction is the constant: the same number added to every reward")
        )
        left -= 1
    seen = np.any([visited(one) for one in experts], axis=0)
    free = int((~seen).sum()) * (form.actions if form.kind == "state_action" else 1)
    if free and form.features is None:
        pairs = np.flatnonzero(~np.repeat(seen, mdp.actions))
        text = f"{counted(free, 'direction')} of rewards that no episode ever collects: {named_pairs(mdp, pairs)}"
        blocks.append(Block("unvisited", free, places(~seen), (), text))
        left -= free
    if len(experts) == 1 and mdp.horizon is None and form.kind == "state_action" and left:
        text = f"{counted(left, 'direction')} of potential shaping over {named_states(mdp, seen)}"
        blocks.append(Block("shaping", left, places(seen), (), text))
        left = 0
    if found.labels is not None:
        groups, sizes = np.unique(found.labels[seen], return_counts=True)
        if len(groups) > 1:
            outside = seen & (found.labels != groups[sizes.argmax()])
            text = f"{counted(len(groups) - 1, 'direction')} of "
            text += group_text(mdp, "component", outside, len(groups) - 1)
            blocks.append(Block("component", len(groups) - 1, places(outside), (), text))
            left -= len(groups) - 1
    if left:
        endless = all(one.horizon is None for one in experts)
        what = "that no action changes" if endless else "that may change with the time left"
        text = f"{counted(left, 'direction')} beside those that the graph shows, of potentials {what}"
        blocks.append(Block("other", left, (), (), text))
    return tuple(blocks)


def _remedies_in_large(experts: Sequence[MDP], form: Form, found: Found) -> tuple[Remedy, ...]:
    """Another discount, where the graph alone tells what it leaves."""
    mdp = experts[0]
    alone = len(experts) == 1 and mdp.horizon is None and form.kind == "state_action"
    if not alone or not mdp.deterministic or not reachable(mdp).any():
        return ()
    other = mdp.discount / 2 or 0.5
    left = found_in_large([mdp, mdp.replace(discount=other)], form).dimension
    text = f"an expert with another discount, {other:.3g} beside {mdp.discount:.3g}, in the same environment"
    return (Remedy("discount", text, left),) if left < found.dimension else ()

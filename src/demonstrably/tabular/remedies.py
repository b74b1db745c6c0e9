"""What would settle more of the reward: each remedy is tried on the problem, and reports what it leaves."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from demonstrably.tabular.ambiguity import ambiguity, potentials
from demonstrably.tabular.forms import Form
from demonstrably.tabular.identification import Remedy
from demonstrably.tabular.kernels import UndecidedRank
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.structure import Mask, period, reachable, strongly_connected, visited
from demonstrably.tabular.words import SHOWN, counted, shortened

TRIED = 600  # pairs of the largest problem for which remedies are tried
LONGEST = 400  # decisions of the longest horizon tried
WAITING = 60  # states in which waiting is tried, and that are tried as further starts
DRAWS = 8  # sets of transitions that are tried
TOLD = 1e-7  # size from which a direction counts as being open where episodes come

Array = NDArray[np.float64]


def remedies_of(problems: Sequence[MDP], form: Form, dimension: int) -> tuple[Remedy, ...]:
    """The remedies that leave less than `dimension`, best first; none for a large problem."""
    if dimension <= int(form.constant) or problems[0].pairs > TRIED:
        return ()
    tried: tuple[Callable[[Sequence[MDP], Form, int], Remedy | None], ...] = (
        _discount,
        _transitions,
        _waiting,
        _horizon,
        _starts,
    )
    found = [remedy(problems, form, dimension) for remedy in tried]
    return tuple(sorted((one for one in found if one), key=lambda one: one.dimension))


def dimension_of(problems: Sequence[MDP], form: Form) -> int:
    """What some problems leave open together; everything where rounding hides it, so that no remedy rests on that."""
    try:
        return ambiguity(problems, form).directions.shape[1]
    except UndecidedRank:
        return form.width


def _discount(problems: Sequence[MDP], form: Form, dimension: int) -> Remedy | None:
    """One more expert with another discount; half of the first, or the middle to 1 where that one is there."""
    first, taken = problems[0], {mdp.discount for mdp in problems}
    other = next((g for g in (first.discount / 2, (1 + first.discount) / 2) if g not in taken and 0 < g < 1), 0.5)
    left = dimension_of([*problems, first.replace(discount=other)], form)
    text = f"an expert with another discount, {other:.3g} beside {first.discount:.3g}, in the same environment"
    return Remedy("discount", text, left) if left < dimension else None


def _transitions(problems: Sequence[MDP], form: Form, dimension: int) -> Remedy | None:
    """One more environment, which differs from the first in some rows, the others of each state being as they were.

    Each row that differs settles one direction at most, since a potential whose expectation no changed row touches
    stays open. What is open only where no episode of the first comes is not settled so.
    """
    first, seen = problems[0], reachable(problems[0])
    if any(mdp.horizon is not None for mdp in problems):
        return None
    directions = ambiguity(problems, form).directions
    needed = int(np.linalg.matrix_rank(directions[np.repeat(seen, first.actions)], tol=TOLD)) - int(form.constant)
    if not 0 < needed <= int(seen.sum()) * (first.actions - 1):
        return None
    values = potentials(first, directions)
    best, generator = None, np.random.default_rng(0)
    for share in (*(1.0,) * DRAWS, 0.5):  # half of a row at last, with which every state can still be reached
        rows, targets = _telling(first, seen, values, needed, generator)
        left = dimension_of([*problems, _redirected(first, rows, targets, share)], form)
        if left < (best.dimension if best else dimension):
            fewest = bool(seen.all()) and left == dimension - len(rows)
            best = Remedy("transitions", _changes(first, rows, targets, share, fewest), left)
        if left == dimension - needed:
            break
    return best


def _telling(
    mdp: MDP, seen: Mask, values: Array, needed: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random rows, all but one of each state at most, and for each a target that tells more of potentials (S, m).

    Of the next state's potential, the target's less the row's expectation must not follow from the rows before it.
    """
    states = np.flatnonzero(seen)
    kept = generator.integers(mdp.actions, size=len(states))
    others = states[:, None] * mdp.actions + (kept[:, None] + np.arange(1, mdp.actions)) % mdp.actions
    rows = np.sort(generator.choice(others.ravel(), needed, replace=False))
    left = values - values[states].mean(axis=0)  # no row tells the constant
    targets = np.zeros(needed, np.int64)
    for index, row in enumerate(rows):
        told = left[states] - mdp.transitions[[row]] @ left
        sizes = np.linalg.norm(told, axis=1)
        choice = int(generator.choice(np.flatnonzero(sizes >= sizes.max() / 2)))
        targets[index] = states[choice]
        if sizes[choice]:
            unit = told[choice] / sizes[choice]
            left = left - np.outer(left @ unit, unit)
    return rows, targets


def _redirected(mdp: MDP, rows: NDArray[np.int64], targets: NDArray[np.int64], share: float = 1.0) -> MDP:
    """The problem with some pairs leading to one state each, always or with a probability of `share`."""
    kept = np.ones(mdp.pairs)
    kept[rows] -= share
    led = sparse.csr_array((np.full(len(rows), share), (rows, targets)), shape=(mdp.pairs, mdp.states))
    return mdp.replace(transitions=sparse.csr_array(sparse.diags_array(kept) @ mdp.transitions + led))


def _changes(mdp: MDP, rows: NDArray[np.int64], targets: NDArray[np.int64], share: float, fewest: bool) -> str:
    shown = list(zip(rows.tolist(), targets.tolist(), strict=True))[: SHOWN // 2]
    how = "" if share == 1 else "half of the time "
    some = [f"({mdp.name(row)}) {how}to state {mdp.state_name(target)}" for row, target in shown]
    return (
        f"an expert in a second environment in which {counted(len(rows), 'transition')} "
        f"{'differs' if len(rows) == 1 else 'differ'}, {'the fewest possible, ' if fewest else ''}for instance "
        f"{shortened(some, len(rows))},"
    )


def _waiting(problems: Sequence[MDP], form: Form, dimension: int) -> Remedy | None:
    """One more action, that waits in one state and elsewhere does as the first action does: a way to waste time.

    Elsewhere it has the outcomes of the first action, and so settles its own reward and nothing else.
    """
    endless = len(problems) == 1 and problems[0].horizon is None
    if form.features is not None or (endless and form.kind == "state_action"):
        return None
    wider, best = replace(form, actions=form.actions + 1), None
    seen = np.flatnonzero(np.any([visited(mdp) for mdp in problems], axis=0))
    for state in seen[:WAITING].tolist():
        left = dimension_of([_with_waiting(mdp, state) for mdp in problems], wider)
        if left < (best.dimension if best else dimension):
            name = problems[0].state_name(state)
            best = Remedy("self-loop", f"an action that waits in state {name}, a self-loop to waste time,", left)
        if left == int(form.constant):
            break
    return best


def _with_waiting(mdp: MDP, state: int) -> MDP:
    pairs = np.arange(mdp.pairs).reshape(mdp.states, mdp.actions)
    rows = np.hstack([pairs, pairs[:, :1]]).ravel()
    wider = MDP(
        mdp.transitions[rows],
        discount=mdp.discount,
        horizon=mdp.horizon,
        initial=mdp.starts,
        actions=mdp.actions + 1,
    )
    where = np.array([state])
    return _redirected(wider, where * wider.actions + mdp.actions, where)


def _horizon(problems: Sequence[MDP], form: Form, dimension: int) -> Remedy | None:
    """A longer horizon: doubled until nothing is gained, then bisected.

    Where the dynamics have a period the dimension comes back with it, so a whole period is looked at each time.
    """
    mdp, floor = problems[0], int(form.constant)
    if len(problems) > 1 or mdp.horizon is None:
        return None

    @cache
    def left(horizon: int) -> int:
        return dimension_of([mdp.replace(horizon=horizon)], form)

    window = min(period(mdp), SHOWN) if strongly_connected(mdp) else 1

    def best_from(horizon: int) -> int:
        return min(left(later) for later in range(horizon, horizon + window))

    low, high, best = mdp.horizon, mdp.horizon + 1, best_from(mdp.horizon + 1)
    longest = min(LONGEST, 4 * (mdp.horizon + mdp.states))
    while best > floor and 2 * high <= longest:
        high *= 2
        best = min(best, best_from(high))
    if best >= dimension:
        return None
    high = next(horizon for horizon in (*sorted({mdp.horizon + 1, high // 2}), high) if best_from(horizon) <= best)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if best_from(middle) <= best else (middle, high)
    found = next(horizon for horizon in range(high, high + window) if left(horizon) <= best)
    return Remedy("horizon", f"a horizon of {found} ({found - 1} leaves {left(found - 1)})", left(found))


def _starts(problems: Sequence[MDP], form: Form, dimension: int) -> Remedy | None:
    """More starts, one after the other, each time the state that leaves least; until they do as well as all states."""
    mdp = problems[0]
    if len(problems) > 1 or (mdp.starts > 0).all():
        return None

    def left(support: NDArray[np.bool_]) -> int:
        return dimension_of([mdp.replace(initial=support / support.sum())], form)

    support, added, now = mdp.starts > 0, [], dimension
    everywhere = left(np.ones(mdp.states, bool))
    while now > everywhere and len(added) < SHOWN:
        tried = [(left(support | one), state) for state, one in _singles(~support)]
        now, state = min(tried)
        support[state] = True
        added.append(state)
    if everywhere < now:
        return Remedy("starts", "starting in any state", everywhere)
    names = shortened([mdp.state_name(state) for state in added], len(added))
    text = f"starting also in {'state' if len(added) == 1 else 'states'} {names}"
    return Remedy("starts", text, now) if now < dimension else None


def _singles(mask: NDArray[np.bool_]) -> list[tuple[int, NDArray[np.bool_]]]:
    """Each state of a mask by itself, as a mask; evenly spread where there are many."""
    states = np.flatnonzero(mask)
    states = states[np.unique(np.linspace(0, len(states) - 1, WAITING).astype(int))]
    return [(int(state), np.arange(len(mask)) == state) for state in states]

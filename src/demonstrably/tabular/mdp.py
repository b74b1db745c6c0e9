"""A finite Markov decision problem: what can happen, without what it is worth."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

TOLERANCE = 1e-8  # how far the probabilities of one row may be from summing to one
ROUNDED = 1e-5  # the same for float32, whose rows are divided by their sums
LISTED = 3

Transitions = ArrayLike | sparse.sparray | sparse.spmatrix | Sequence[sparse.sparray | sparse.spmatrix]


class MDP:
    """States, actions and their dynamics, how the future is discounted, and when it ends.

    Args:
        transitions: probabilities of the next state: an array (S, A, S); A sparse matrices (S, S), one an action; or
            one sparse matrix (S * A, S) whose row s * A + a belongs to state s and action a (then give `actions`
            where it cannot be told, that is always but for names). Rows of float32 are divided by their sums.
        discount: of the next step's reward. Below 1 without a horizon. With a horizon it is 1 where it is not given.
        horizon: number of decisions in an episode; None for a future without end.
        initial: where an episode starts: probabilities (S,), a state, or None for every state alike.
        actions: number of actions, needed for a sparse matrix (S * A, S) only, and checked for others.
        state_names, action_names: what reports call them; by default their numbers.

    Attributes:
        transitions: `scipy.sparse.csr_array` (S * A, S), rows as above, without stored zeros.
        states, actions: how many of each.
        starts: probabilities (S,) of the first state.

    Raises:
        ValueError: probabilities that are negative, not finite or do not sum to one (state and action are named),
            shapes that do not fit, a discount outside its range, names that are not all different.
    """

    def __init__(
        self,
        transitions: Transitions,
        *,
        discount: float | None = None,
        horizon: int | None = None,
        initial: ArrayLike | int | None = None,
        actions: int | None = None,
        state_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
    ):
        self.transitions, self.actions = _rows(transitions, actions, action_names)
        self.states = shape_of(self.transitions)[1]
        self.discount, self.horizon = _time(discount, horizon)
        self._state_names = _names(state_names, self.states, "state_names")
        self._action_names = _names(action_names, self.actions, "action_names")
        _require_probabilities(self)
        self.starts = _starts(initial, self.states)

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """What reports call the states; made when asked for, since a large problem has millions."""
        return self._state_names or tuple(map(str, range(self.states)))

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """What reports call the actions."""
        return self._action_names or tuple(map(str, range(self.actions)))

    def __repr__(self) -> str:
        time = "without end" if self.horizon is None else f"horizon {self.horizon}"
        return f"MDP({self.states} states, {self.actions} actions, discount {self.discount:g}, {time})"

    @property
    def pairs(self) -> int:
        """Number of state-action pairs."""
        return self.states * self.actions

    @property
    def deterministic(self) -> bool:
        """Whether every action in every state has one outcome."""
        return self.transitions.nnz == self.pairs

    def name(self, pair: int) -> str:
        """State and action of a pair in words: "state 3, action 1"."""
        state, action = divmod(pair, self.actions)
        return f"state {self.state_name(state)}, action {self.action_names[action]}"

    def state_name(self, state: int) -> str:
        """What reports call one state."""
        return self._state_names[state] if self._state_names else str(state)

    def replace(
        self,
        *,
        transitions: Transitions | None = None,
        discount: float | None = None,
        horizon: int | None = None,
        initial: ArrayLike | int | None = None,
    ) -> "MDP":
        """The same problem but for what is given. A horizon cannot be taken away."""
        return MDP(
            self.transitions if transitions is None else transitions,
            discount=self.discount if discount is None else discount,
            horizon=self.horizon if horizon is None else horizon,
            initial=self.starts if initial is None else initial,
            actions=self.actions,
            state_names=self._state_names,
            action_names=self._action_names,
        )

    def stay(self) -> sparse.csr_array:
        """E, (S * A, S): row s * A + a is 1 at state s. It repeats a function of states over the actions."""
        rows = np.arange(self.pairs)
        ones = np.ones(self.pairs)
        return sparse.csr_array((ones, (rows, rows // self.actions)), shape=(self.pairs, self.states))


def shape_of(matrix: sparse.csr_array) -> tuple[int, int]:
    """Rows and columns of a sparse matrix."""
    rows, columns = matrix.shape  # pyright: ignore[reportGeneralTypeIssues] (scipy has no types; it is no None)
    return rows, columns


def _rows(transitions: Transitions, actions: int | None, names: Sequence[str] | None) -> tuple[sparse.csr_array, int]:
    """The matrix (S * A, S) and A, from any of the three shapes."""
    given: Any = transitions
    if sparse.issparse(transitions):
        actions = len(names) if actions is None and names is not None else actions
        matrix = sparse.csr_array(transitions, dtype=np.float64, copy=True)  # tidied below, in place
        pairs, states = shape = shape_of(matrix)
        if actions is None or states < 1 or pairs != states * actions:
            raise ValueError(
                f"a sparse transitions matrix of shape {shape}: give (S * A, S), and the number of actions as "
                "actions=A; row s * A + a holds the next states of state s and action a"
            )
        found, kinds = actions, {given.dtype}
    elif isinstance(transitions, Sequence) and any(sparse.issparse(one) for one in transitions):
        matrix, found = _interleaved(transitions), len(transitions)
        kinds = {one.dtype for one in given}
    else:
        array = _numbers(transitions)
        matrix = sparse.csr_array(array.reshape(-1, array.shape[2]), dtype=np.float64)
        found, kinds = int(array.shape[1]), {array.dtype}
    if actions is not None and actions != found:
        raise ValueError(f"actions={actions}, but the transitions have {found}: leave it out, or give others")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return _summing_to_one(matrix) if np.dtype(np.float32) in kinds else matrix, found


def _numbers(transitions: Any) -> NDArray[Any]:
    """A dense array (S, A, S), as single floats where it came so. ValueError for what is none."""
    try:
        array = np.asarray(transitions)
        array = array if array.dtype == np.float32 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "transitions that are no array of numbers: give probabilities (S, A, S), with as many actions in every "
            "state and as many next states for every action"
        ) from error
    if array.ndim != 3 or array.shape[0] != array.shape[2] or 0 in array.shape:
        raise ValueError(
            f"transitions of shape {array.shape}: give an array (S, A, S), A sparse matrices (S, S), or one "
            "sparse matrix (S * A, S) with actions=A"
        )
    return array


def _summing_to_one(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows divided by their sums where those are 1 but for the rounding of float32."""
    sums = matrix @ np.ones(shape_of(matrix)[1])
    sums[~(np.abs(sums - 1) <= ROUNDED)] = 1  # refused later, as it was given
    return sparse.csr_array(sparse.diags_array(1 / sums) @ matrix)


def _interleaved(transitions: Sequence[Any]) -> sparse.csr_array:
    """Rows of A matrices (S, S) in the order of pairs."""
    for action, one in enumerate(transitions):
        if not sparse.issparse(one):
            raise ValueError(f"transitions of action {action} are not sparse, but others are: give all of them sparse")
    matrices = [sparse.csr_array(one, dtype=np.float64) for one in transitions]
    shapes = {shape_of(matrix) for matrix in matrices}
    if len(shapes) > 1 or any(rows != columns for rows, columns in shapes):
        raise ValueError(f"sparse transitions of shapes {sorted(shapes)}: give one (S, S) an action, all alike")
    states, count = shape_of(matrices[0])[0], len(matrices)
    stacked = sparse.csr_array(sparse.vstack(matrices, format="csr"))  # row a * S + s
    return sparse.csr_array(stacked[np.arange(states * count).reshape(count, states).T.ravel()])


def _time(discount: float | None, horizon: int | None) -> tuple[float, int | None]:
    for what, number in (("discount", discount), ("horizon", horizon)):
        if number is not None and not (isinstance(number, Real) and math.isfinite(number)):
            raise ValueError(f"{what} {number!r}: give a finite number, or leave it out")
    if horizon is None:
        if discount is None:
            raise ValueError("give a discount below 1, or a horizon")
        if not 0 <= discount < 1:
            raise ValueError(f"discount {discount} without a horizon: give one in [0, 1), or a horizon")
        return float(discount), None
    if horizon != int(horizon) or horizon < 1:
        raise ValueError(f"horizon {horizon}: give the number of decisions, at least 1")
    discount = 1.0 if discount is None else float(discount)
    if not 0 < discount <= 1:
        raise ValueError(f"discount {discount} with a horizon: give one in (0, 1]")
    return discount, int(horizon)


def _names(names: Sequence[str] | None, count: int, what: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValueError(f"{what} {names!r} is one text: give a list of {count} names")
    found = tuple(map(str, names))
    twice = [name for name, times in Counter(found).items() if times > 1]
    if twice:
        more = f" and {len(twice) - LISTED} more" if len(twice) > LISTED else ""
        shown = ", ".join(map(repr, twice[:LISTED]))
        raise ValueError(f"{what} holds {shown}{more} more than once: give {count} different names")
    if len(found) != count:
        raise ValueError(f"{what} holds {len(found)} names: give {count}")
    return found


def _require_probabilities(mdp: MDP) -> None:
    """ValueError naming the first rows that are no probabilities."""
    values, sums = mdp.transitions.data, mdp.transitions @ np.ones(mdp.states)
    for what, wrong in (("not finite", ~np.isfinite(values)), ("negative", values < 0)):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            pair = int(np.searchsorted(mdp.transitions.indptr, first, side="right")) - 1
            after = mdp.state_name(int(mdp.transitions.indices[first]))
            raise ValueError(
                f"transitions of {mdp.name(pair)} to state {after}: {values[first]} is {what}; give probabilities"
            )
    rows = np.flatnonzero(np.abs(sums - 1) > TOLERANCE)
    if len(rows):
        some = "; ".join(f"{mdp.name(int(row))}: {sums[row]:.10g}" for row in rows[:LISTED])
        advice = "an episode's end is an absorbing state, which goes to itself"
        if np.abs(sums - 1).max() < 100 * ROUNDED:
            advice = "they are rounded; divide each row by its sum"
        where = f"transitions of {len(rows)} of {mdp.pairs} state-action pairs"
        raise ValueError(f"{where} do not sum to 1 ({some}): {advice}")


def _starts(initial: ArrayLike | int | None, states: int) -> NDArray[np.float64]:
    if initial is None:
        return np.full(states, 1 / states)
    try:
        array = np.asarray(initial)
    except ValueError:  # lists of different lengths
        array = np.array([""])
    if array.ndim and array.dtype.kind not in "biuf":
        raise ValueError(f"initial holds no numbers: give a state from 0 to {states - 1}, or probabilities ({states},)")
    if array.ndim == 0:
        if array.dtype.kind not in "iu" or not 0 <= int(array) < states:
            raise ValueError(f"initial {initial}: give a state from 0 to {states - 1}, or probabilities ({states},)")
        return np.eye(1, states, int(array)).ravel()
    starts = array.astype(np.float64)
    if starts.shape != (states,) or not (starts >= 0).all() or not math.isclose(starts.sum(), 1, abs_tol=TOLERANCE):
        raise ValueError(
            f"initial of shape {starts.shape} with sum {starts.sum():.6g}: give probabilities ({states},) that sum to 1"
        )
    return starts

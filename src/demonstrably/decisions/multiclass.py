"""Losses of decisions among several, for an optimal decision maker whose posterior over several outcomes is known.

Each decision a at the posterior q (K,) says that no other action had a lower expected loss:

Eq. 1: sum over y of q_y (C[a, y] - C[j, y]) <= 0 for every action j.

Decisions do not depend on a constant that is added to a column of C, nor on its scale. So C[y, y] = 0, the other
entries are at least 0 (the right action is the cheapest), and they sum to 1. What agrees with all decisions is a
polytope, and the range of each entry over it comes from linear programs. For two outcomes and actions, C[1, 0] is the
relative cost c of `consistent`, and its range that interval.
"""

import html
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linprog

from demonstrably.decisions.behaviors import OPEN
from demonstrably.decisions.estimate import MEANING, Verdict

SLACK = 1e-9  # by which rounding may break a constraint
FIRST = 50  # constraints of each program at first, and those that are added where some are broken
WORDS = {"optimal": "one loss explains every decision", "rejected": "no loss explains the decisions"}


@dataclass(frozen=True, eq=False)
class LossesEstimate:
    """The losses C[action, outcome] that agree with all decisions, scaled to sum to 1 off the diagonal.

    `low` and `high` (A, K) bound each entry, with certainty for an optimal decision maker whose posterior is known;
    `center` (A, K) is a loss that agrees, inside; all None where none does. `missed` of `decisions` is 0 then, else
    how many the loss misses that breaks Eq. 1 least in all: an upper bound of the fewest.
    """

    verdict: Verdict
    low: Float[np.ndarray, "a k"] | None
    high: Float[np.ndarray, "a k"] | None
    center: Float[np.ndarray, "a k"] | None
    missed: int
    decisions: int
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A record of plain JSON types."""
        arrays = {name: None if one is None else one.tolist() for name, one in self._arrays().items()}
        return asdict(self) | arrays

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {WORDS.get(self.verdict, MEANING[self.verdict])}"]
        if self.low is not None and self.high is not None:
            for action, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
                ends = [f"[{a:.3f}, {b:.3f}]" for a, b in zip(low, high, strict=True)]
                lines.append(f"loss of action {action} for each outcome: {' '.join(ends)}")
        lines += [f"assumed: {text}" for text in self.assumptions]
        lines += [f"note: {text}" for text in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _arrays(self) -> dict[str, NDArray | None]:
        return {"low": self.low, "high": self.high, "center": self.center}


def fit_losses(decisions: ArrayLike, posterior: ArrayLike, actions: int | None = None) -> LossesEstimate:
    """Every loss for which all decisions are optimal, entry by entry.

    `decisions` (m,) are the numbers 0..A - 1 of the actions taken; `posterior` (m, K) the probabilities of K outcomes.
    Action y is the right one for outcome y; `actions` is A, by default K, and may be larger (to defer, say). Raises
    ValueError for other arrays: only an optimal decision maker with a known posterior is possible here.
    """
    taken, q = _read(decisions, posterior, actions)
    count = actions or q.shape[1]
    program = _Program(taken, q, count)
    assumptions = (
        "the decision maker takes an action of least expected loss",
        "the posterior is what the decision maker believes",
        "action y is the right one for outcome y: its loss is 0, and no other action's is less",
    )
    ends = program.ranges()
    if ends is None:
        missed = program.missed()
        text = (
            f"no loss agrees with all decisions: one that comes near misses {missed:,} of {len(taken):,} "
            f'({missed / len(taken):.1%}); "optimal decision maker" is rejected, and no loss is stated'
        )
        return LossesEstimate("rejected", None, None, None, missed, len(taken), assumptions, (text,))
    low, high, center = (program.matrix(one) for one in ends)
    open_entries = int((high - low > OPEN).sum())
    verdict: Verdict = "not identified" if open_entries == program.width else "optimal"
    unused = sorted(set(range(count)) - set(taken.tolist()))
    notes = (f"never taken, so that its losses are bounded from below alone: action {', '.join(map(str, unused))}",)
    return LossesEstimate(verdict, low, high, center, 0, len(taken), assumptions, notes if unused else ())


class _Program:
    """The polytope of Eq. 1 in the free entries x (A K - K,) of C, with only the constraints that matter so far."""

    def __init__(self, taken: Int[np.ndarray, "m"], q: Float[np.ndarray, "m k"], actions: int) -> None:
        self.taken, self.q, self.actions = taken, q, actions
        outcomes = q.shape[1]
        self.free = np.flatnonzero(np.arange(actions)[:, None] != np.arange(outcomes))  # of the flattened matrix
        self.width = len(self.free)
        self.shape = (actions, outcomes)
        self.rows = np.zeros((0, self.width))

    def matrix(self, entries: Float[np.ndarray, "w"]) -> Float[np.ndarray, "a k"]:
        """C (A, K) of free entries."""
        whole = np.zeros(self.shape)
        whole.flat[self.free] = entries
        return whole

    def ranges(self) -> tuple[NDArray, NDArray, NDArray] | None:
        """Least and greatest of each entry (w,), and the mean of the losses that reach them; None if none agrees."""
        found = []
        for objective in np.concatenate([np.eye(self.width), -np.eye(self.width)]):
            best = self._best(objective)
            if best is None:
                return None
            found.append(best)
        corners = np.array(found)
        low, high = np.diag(corners[: self.width]), np.diag(corners[self.width :])
        return low, high, corners.mean(axis=0)

    def missed(self) -> int:
        """Decisions that the loss of least total violation misses, a violation a decision."""
        count = len(self.taken)
        every = np.arange(count)
        blocks = [self._constraints(every, np.full(count, other)) for other in range(self.actions)]
        slack = sparse.vstack([-sparse.eye_array(count)] * self.actions)
        matrix = sparse.hstack([sparse.csr_array(np.concatenate(blocks)), slack], format="csr")
        entries, violations = np.ones(self.width), np.ones(count)
        cost = np.concatenate([0.0 * entries, violations])
        total = sparse.csr_array(np.concatenate([entries, 0.0 * violations])[None, :])
        solved = linprog(cost, matrix, np.zeros(count * self.actions), total, [1.0], method="highs")
        excess = self._excess(self.matrix(np.asarray(solved.x)[: self.width]))
        return int((excess.max(axis=1) > SLACK).sum())

    def _best(self, objective: Float[np.ndarray, "w"]) -> NDArray | None:
        """Entries of least objective, by adding the constraints that the last answer breaks until it breaks none."""
        while True:
            rows = self.rows if len(self.rows) else None
            bounds = np.zeros(len(self.rows)) if len(self.rows) else None
            solved = linprog(objective, rows, bounds, np.ones((1, self.width)), [1.0], method="highs")
            if solved.status == 2:  # infeasible
                return None
            excess = self._excess(self.matrix(solved.x))
            broken = np.flatnonzero(excess.ravel() > SLACK)
            if not len(broken):
                return solved.x
            worst = broken[np.argsort(-excess.ravel()[broken])[:FIRST]]
            added = self._constraints(*np.divmod(worst, self.actions))
            if len(self.rows) and (added[:, None] == self.rows).all(axis=2).any(axis=1).all():
                return solved.x  # broken by the solver's own tolerance alone
            self.rows = np.unique(np.concatenate([self.rows, added]), axis=0)

    def _excess(self, losses: Float[np.ndarray, "a k"]) -> Float[np.ndarray, "m a"]:
        """Expected loss of the action taken, less that of each."""
        expected = self.q @ losses.T
        return expected[np.arange(len(self.q)), self.taken][:, None] - expected

    def _constraints(self, rows: NDArray, others: NDArray) -> Float[np.ndarray, "c w"]:
        """Eq. 1 for some decisions, each against another action."""
        whole = np.zeros((len(rows), *self.shape))
        every = np.arange(len(rows))
        whole[every, self.taken[rows]] += self.q[rows]
        whole[every, others] -= self.q[rows]
        return whole.reshape(len(rows), -1)[:, self.free]


def _read(decisions: ArrayLike, posterior: ArrayLike, actions: int | None) -> tuple[NDArray, NDArray]:
    taken, q = np.asarray(decisions), np.asarray(posterior, float)
    if q.ndim != 2 or q.shape[1] < 2:
        raise ValueError(
            f"posterior of shape {q.shape}: with several outcomes a loss can be found for known probabilities (m, K) "
            "and an optimal decision maker only; scores, classes of rules and noise need two outcomes, see `fit_loss`"
        )
    if taken.shape != (len(q),) or not len(q):
        raise ValueError(f"decisions of shape {taken.shape} for {len(q)} posteriors: give one action a row")
    wrong = np.flatnonzero(~((q >= 0.0).all(axis=1) & (np.abs(q.sum(axis=1) - 1.0) < 1e-6)))
    if len(wrong):
        raise ValueError(f"posterior row {wrong[0]} is {q[wrong[0]].tolist()}: give probabilities that sum to 1")
    count = q.shape[1] if actions is None else actions
    if count < q.shape[1]:
        raise ValueError(f"{count} actions for {q.shape[1]} outcomes: give at least as many, the right one for each")
    outside = np.flatnonzero(~np.isin(taken, np.arange(count)))
    if len(outside):
        raise ValueError(f"decision {taken[outside[0]]} in row {outside[0]}: give whole numbers from 0 to {count - 1}")
    return taken.astype(np.int64), q

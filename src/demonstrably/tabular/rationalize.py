"""Could any reward explain the behavior: a test of the assumption that decisions are soft-optimal.

A reward that stays the same over time, in the given form, restricts policies by `equations`, Eq. 1, unless it has as
many free weights as the policies have free probabilities. What the best reward leaves of those equations is then the
evidence. Where the policies are known, anything above rounding refutes every reward. Where they are estimated from
counts,

Eq. 1: sum of n pi(a | s) (log pi(a | s) - what the best reward gives)^2    (weights and Eq. 3 of `equations`)

is chi-square under the assumption, with as many degrees of freedom as there are independent equations more than
unknowns: minimum chi-square, or Wald's test. It holds for many decisions in each state; a half is added to every count.

A policy that does not change with time is always explained, by the reward log pi, whose soft values are 0.
"""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import chdtrc

from demonstrably.tabular.equations import COLUMNS, Equations, equations, never_taken, solve
from demonstrably.tabular.mdp import MDP
from demonstrably.tabular.recover import read_experts
from demonstrably.tabular.span import Features, span_of, width
from demonstrably.tabular.tallies import Evidence

ROUNDING = 1e-6  # error of a log-probability that is no evidence against a reward
ALWAYS = (
    "some reward explains any behavior here that takes every action now and then: there is nothing to test, and "
    "nothing is learned about the assumption"
)
FEW = 5  # expected decisions below which the chi-square distribution is a rough guide


@dataclass(frozen=True)
class Rationalization:
    """Whether some reward of the given form explains the behavior.

    `rationalizable` is the verdict: False where no reward does, or none does at the test's `level`. `misfit` is the
    largest error of a log-probability under the best reward. `restrictions` counts the independent ways in which
    policies could fail, the degrees of freedom of the test; with 0 every policy without zeros can be explained, and
    the behavior tells nothing about the assumption. `statistic` and `p_value` are None where policies are known.
    `text` says it in words.
    """

    rationalizable: bool
    misfit: float
    restrictions: int
    statistic: float | None
    p_value: float | None
    level: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record; a misfit that is infinite is null."""
        record = asdict(self)
        return record if np.isfinite(self.misfit) else record | {"misfit": None}

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"


def rationalize(
    mdps: MDP | Sequence[MDP],
    policies: Evidence | Sequence[Evidence],
    *,
    features: Features = "state_action",
    temperature: float = 1.0,
    level: float = 0.05,
) -> Rationalization:
    """Whether a reward that does not change with time explains the policies, all of them together.

    Arguments as in `recover_reward`. Policies are tested in the states that can be reached (with a horizon, at each
    time), counts in those that were seen. `level` is the chance of refuting a true assumption. Raises ValueError as
    `recover_reward` does (but for actions of probability 0, which refute the assumption), and for problems that are
    too large.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level}: give the chance of a false alarm, in (0, 1), for instance 0.05")
    problems, seen = read_experts(mdps, policies, temperature)
    for mdp, one in zip(problems, seen, strict=True):
        name = never_taken(mdp, one.policy)
        if name:
            text = f"no reward explains a policy that never takes an action ({name}) at a temperature above 0"
            return Rationalization(False, float("inf"), 0, None, None, level, text)
    system = equations(problems, seen, span_of(problems[0], features), temperature)
    if width(system.matrix) > COLUMNS:
        raise ValueError(
            f"{width(system.matrix)} unknown weights and values: the test takes at most {COLUMNS}; give features, a "
            "shorter horizon, or a part of the problem"
        )
    solved = solve(system, temperature)
    misfit, sampled = float(np.abs(solved.residual).max()), seen[0].counts is not None
    rows = len(system.target) - (len(system.seen) if sampled else 0)
    restrictions = rows - (solved.rank or 0)
    if restrictions <= 0:
        return Rationalization(True, misfit, 0, None, None, level, ALWAYS)
    if not sampled:
        return Rationalization(
            misfit <= ROUNDING, misfit, restrictions, None, None, level, _known(misfit, restrictions)
        )
    p_value = float(chdtrc(restrictions, solved.statistic))
    text = _tested(solved.statistic, restrictions, p_value, level) + _caution(system)
    return Rationalization(p_value >= level, misfit, restrictions, solved.statistic, p_value, level, text)


def _known(misfit: float, restrictions: int) -> str:
    if misfit <= ROUNDING:
        return f"one reward explains the policies, which could have failed in {restrictions} independent ways"
    return (
        f"no reward explains the policies: the best one is wrong by {misfit:.3g} about a log-probability "
        f"({restrictions} independent restrictions)"
    )


def _tested(statistic: float, restrictions: int, p_value: float, level: float) -> str:
    verdict = "a reward may explain the policies" if p_value >= level else "no reward explains the policies"
    return f"{verdict}: chi-square {statistic:.4g} on {restrictions} degrees of freedom, p = {p_value:.2g}"


def _caution(system: Equations) -> str:
    expected = system.seen[:, None] * system.policy
    few = int((expected < FEW).sum())
    if not few:
        return ""
    return f"; {few} of {expected.size} decisions were seen fewer than {FEW} times, so that p is a rough guide"

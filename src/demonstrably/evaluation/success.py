"""Whether an episode succeeded: by the environment's own signal, or by a rule."""

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from demonstrably.data.query import matching
from demonstrably.evaluation.worker import Outcome

Success = str | Callable[[Outcome], bool]


def judge(outcomes: Sequence[Outcome], success: Success) -> list[bool | None]:
    """Whether each episode succeeded; None where the environment never said.

    `success` is "any" (`info["success"]` or `info["is_success"]` was true at some step), "last" (at the last step), a
    function of the outcome, or a rule: a condition on `return`, `length`, `terminated`, `truncated` and `final_reward`,
    such as "return >= 475" or "terminated and length < 100".

    Raises:
        ValueError: a rule that cannot be read, even for no outcomes at all.
    """
    if not isinstance(success, str):
        return [bool(success(outcome)) for outcome in outcomes]
    if success == "any":
        return [outcome.success_any for outcome in outcomes]
    if success == "last":
        return [outcome.success_last for outcome in outcomes]
    return _ruled(outcomes, success)


def _ruled(outcomes: Sequence[Outcome], rule: str) -> list[bool | None]:
    table = pa.table(
        {
            "return_": pa.array([outcome.total for outcome in outcomes], pa.float64()),
            "length": pa.array([outcome.length for outcome in outcomes], pa.int64()),
            "terminated": pa.array([outcome.terminated for outcome in outcomes], pa.bool_()),
            "truncated": pa.array([outcome.truncated for outcome in outcomes], pa.bool_()),
            "final_reward": pa.array([outcome.final_reward for outcome in outcomes], pa.float64()),
        }
    )
    try:
        # "return" is a word of Python, which the rule is parsed as.
        return matching(table, re.sub(r"\breturn\b", "return_", rule)).tolist()
    except ValueError as error:
        raise ValueError(
            f"success rule: {str(error).replace('return_', 'return')}; "
            'give "any", "last", or a rule such as "return >= 475"'
        ) from error

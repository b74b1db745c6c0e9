"""What reading a robomimic file is to be told about: rules that were used, and counts that do not agree."""

from collections.abc import Iterator

import numpy as np

from demonstrably.data.arrays import BOUND_TOLERANCE, USUAL_BOUND
from demonstrably.data.formats.robomimic_plan import Plan
from demonstrably.data.formats.robomimic_read import Record
from demonstrably.data.notes import Finding
from demonstrably.data.wording import LISTED, counted, dimensions, listed

RETURN_TOLERANCE = 1e-3

RULES = {
    "terminated": "terminated as recorded",
    "done_mode": "done_mode 0 says that `dones` mean success, so they are taken for terminations",
    "dones-success": "`dones` at the last step taken for a termination, as the episode succeeded before a time limit",
    "dones": "`dones` do not tell a time-out from an end of the task, so the last step is taken for a time-out",
    "nothing": "neither `terminated` nor `dones` recorded, so every end is taken for a time-out",
}


def reading_notes(plan: Plan, record: Record, actions: np.ndarray, returns: np.ndarray) -> Iterator[Finding]:
    """Findings about how a file was read. `returns` are the sums of rewards of the kept episodes."""
    for message in record.dropped:
        yield Finding("warning", "dropped", "", message, "The episode was left out.")
    rules = sorted(record.rules.items())
    counts = ", ".join(f"{RULES[rule]} ({counted(count, 'episode')})" for rule, count in rules)
    advice = "" if set(record.rules) <= {"terminated", "done_mode"} else "Record `terminated` to settle it."
    yield Finding("note", "endings", "", f"{counts}.", advice)
    if record.miscounted:
        yield Finding(
            "warning",
            "count-mismatch",
            listed(record.miscounted),
            "attribute num_samples differs from the number of actions.",
            "Check that the episodes were written to their end.",
        )
    if record.misaligned:
        yield Finding(
            "warning",
            "misaligned",
            listed(record.misaligned),
            "next_obs of the last step but one is not the last row of obs.",
            "The rows of obs and actions may be shifted against each other; check the recorder.",
        )
    yield from _action_notes(plan, actions)
    yield from _return_notes(plan, record, returns)


def _action_notes(plan: Plan, actions: np.ndarray) -> Iterator[Finding]:
    if plan.declared_action() is not None:
        return
    if actions.ndim == 1:
        message = f"the file does not say how many actions there are; {max(2, int(actions.max()) + 1)} are assumed."
        yield Finding("note", "action-count", "actions", message, "The environment is asked when there is one.")
        return
    limit = USUAL_BOUND + BOUND_TOLERANCE
    outside = np.flatnonzero((actions.min(0) < -limit) | (actions.max(0) > limit))
    if len(outside):
        shown = ", ".join(f"{d}: [{actions[:, d].min():.4g}, {actions[:, d].max():.4g}]" for d in outside[:LISTED])
        yield Finding(
            "warning",
            "action-range",
            f"actions, {dimensions(outside.tolist())}",
            f"values leave [-1, 1] and the file states no bounds; the recorded range is taken ({shown}).",
            "State the true bounds as attributes action_low and action_high of the data group.",
        )


def _return_notes(plan: Plan, record: Record, returns: np.ndarray) -> Iterator[Finding]:
    wrong = []
    for position, attributes, rewarded, total in zip(
        record.kept, record.attributes, record.rewarded, returns, strict=True
    ):
        stated = attributes.get("return")
        if (
            rewarded
            and isinstance(stated, int | float)
            and abs(stated - total) > RETURN_TOLERANCE * max(1.0, abs(total))
        ):
            wrong.append(plan.names[position])
    if wrong:
        message = "attribute return differs from the sum of rewards, which is used."
        yield Finding("warning", "return-mismatch", listed(wrong), message, "Check which of the two is right.")

"""Looking at demonstrations for what would spoil learning from them."""

from collections.abc import Callable, Iterable

import numpy as np

from demonstrably.data import action_checks, episode_checks, observation_checks
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.notes import SEVERITIES, Finding, Findings, Severity
from demonstrably.data.summary import summarize

__all__ = ["CHECKS", "SEVERITIES", "Finding", "Findings", "Severity", "inspect"]

CHECKS: tuple[Callable[[Demonstrations], Iterable[Finding]], ...] = (
    episode_checks.endings,
    episode_checks.short_episodes,
    episode_checks.length_outliers,
    episode_checks.duplicates,
    episode_checks.leakage,
    episode_checks.outcomes,
    episode_checks.final_observations,
    action_checks.bounds,
    action_checks.disguised_choices,
    action_checks.balance,
    action_checks.saturation,
    action_checks.range_used,
    action_checks.idle,
    observation_checks.constants,
    observation_checks.spikes,
    observation_checks.conflicts,
    observation_checks.images,
)


def inspect(demos: Demonstrations) -> Findings:
    """All findings about the episodes of a view, those of the reader included, the gravest first.

    Time is linear in the data. The result's `summary` describes the data in plain JSON.
    """
    # Differences of values near the largest float32 overflow to infinity, which comparisons take rightly.
    with np.errstate(over="ignore", invalid="ignore"):
        found = [*demos.notes, *(finding for check in CHECKS for finding in check(demos))]
        return Findings.of(found, summarize(demos))

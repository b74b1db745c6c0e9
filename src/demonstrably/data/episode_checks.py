"""Checks of whole episodes: ends, lengths, duplicates, leakage between masks, outcomes."""

import hashlib
from collections.abc import Iterator

import numpy as np

from demonstrably.data.demonstrations import Demonstrations, Episode
from demonstrably.data.notes import Finding
from demonstrably.data.summary import groups
from demonstrably.data.wording import counted, listed

FENCE = 1.5  # of the interquartile range beyond the quartiles: Tukey's outliers
ENOUGH_EPISODES = 8
NOTABLE_LENGTH = 0.1  # of the median: outliers nearer than this are not worth a word
TRAINING, HELD_OUT = ("train",), ("valid", "validation", "test")


def names(demos: Demonstrations) -> list[str]:
    """Names of the episodes of the view."""
    return demos.table.column("name").to_pylist()


def endings(demos: Demonstrations) -> Iterator[Finding]:
    """Terminations and truncations that are not at the end of an episode."""
    for kind in ("terminated", "truncated"):
        early = [
            name
            for name, episode in zip(names(demos), demos, strict=True)
            if (episode.terminated if kind == "terminated" else episode.truncated)[:-1].any()
        ]
        if early:
            yield Finding(
                "warning",
                f"early-{kind}",
                listed(early),
                f"{kind} before the last step in {counted(len(early), 'episode')}.",
                "If the task went on there, the flag is wrong; if it ended, cut the episode at the first flag.",
            )


def short_episodes(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes of a single step."""
    single = [name for name, length in zip(names(demos), demos.lengths, strict=True) if length == 1]
    if single:
        message = f"{counted(len(single), 'episode')} of a single step."
        yield Finding("warning", "single-step", listed(single), message, "Check whether the recording was cut off.")


def length_outliers(demos: Demonstrations) -> Iterator[Finding]:
    """Lengths beyond Tukey's fences."""
    lengths = demos.lengths
    if len(lengths) < ENOUGH_EPISODES:
        return
    low, middle, high = np.percentile(lengths, (25, 50, 75))
    reach = max(FENCE * (high - low), NOTABLE_LENGTH * middle)
    outliers = np.flatnonzero((lengths < low - reach) | (lengths > high + reach))
    if len(outliers):
        found = listed([f"{names(demos)[index]} ({lengths[index]} steps)" for index in outliers])
        yield Finding(
            "note",
            "length-outlier",
            found,
            f"{counted(len(outliers), 'episode')} far from the usual {low:.0f} to {high:.0f} steps.",
            "Look whether they were cut off, or went wrong.",
        )


def duplicates(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes with the same content."""
    first: dict[bytes, str] = {}
    pairs = []
    for name, episode in zip(names(demos), demos, strict=True):
        digest = content_hash(episode)
        if digest in first:
            pairs.append(f"{name} = {first[digest]}")
        else:
            first[digest] = name
    if pairs:
        yield Finding(
            "warning",
            "duplicate",
            listed(pairs),
            f"{counted(len(pairs), 'episode')} repeat another.",
            "They count double, and leak between training and validation: leave them out.",
        )


def content_hash(episode: Episode) -> bytes:
    """Hash of actions and observations; of images the first and the last only."""
    digest = hashlib.blake2b(np.ascontiguousarray(episode.actions).data, digest_size=16)
    for key in sorted(episode.observations):
        rows = episode.observations[key]
        digest.update(np.ascontiguousarray(rows if rows.ndim == 2 else rows[[0, -1]]).data)
    return digest.digest()


def leakage(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes in a training mask and in a held-out mask at once."""
    for training in TRAINING:
        for held_out in HELD_OUT:
            if training not in demos.masks or held_out not in demos.masks:
                continue
            both = np.flatnonzero(demos.masks[training] & demos.masks[held_out])
            if len(both):
                message = f"{counted(len(both), 'episode')} in both masks {training!r} and {held_out!r}."
                shared = listed([names(demos)[index] for index in both])
                yield Finding(
                    "warning",
                    "leakage",
                    shared,
                    message,
                    "A validation on them says nothing: mend the masks.",
                )


def outcomes(demos: Demonstrations) -> Iterator[Finding]:
    """Rewards and successes, by group where the table has one."""
    if not demos.rewarded:
        unrewarded = demos.table.column("return").null_count
        message = f"no rewards in {counted(unrewarded, 'episode')}; they are NaN, not zero."
        yield Finding("note", "no-rewards", "", message, "Learners that need rewards cannot use them.")
    if "success" not in demos.table.column_names:
        yield Finding("note", "no-success", "", "no attribute success, so the demonstrations' own rate is unknown.")
    elif failed := demos.table.column("success").to_pylist().count(False):
        message = f"{failed} of {len(demos)} episodes did not succeed."
        yield Finding("note", "failures", "", message, "select('success') keeps those that did.")
    for column, rows in groups(demos).items():
        parts = [
            f"{row['value']}: {counted(row['episodes'], 'episode')}"
            + (f", return {row['return']:.4g}" if row["return"] is not None else "")
            + (f", success {row['success']:.2f}" if row["success"] is not None else "")
            for row in rows
        ]
        yield Finding("note", "by-group", column, "; ".join(parts) + ".")


def final_observations(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes whose observation after the last action is missing."""
    missing = [
        name
        for name, final in zip(names(demos), demos.table.column("final_observation"), strict=True)
        if not final.as_py()
    ]
    if missing:
        yield Finding(
            "note",
            "no-final-observation",
            listed(missing),
            f"the observation after the last action is missing in {counted(len(missing), 'episode')}; the "
            "last row is repeated and not used as a next observation.",
            "Record it as next_obs or last_obs, if values are to be learned.",
        )

"""The sections of one run that are drawn: its training, and the scores of its checkpoints."""

import shlex
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from . import blocks
from .blocks import Section, Table
from .charts import Checkpoint, Interval, Row, axis_cell, checkpoints, curves, interval_cell
from .figures import number, scale_of
from .reading import Curve, Folder
from .scores import Scores, by_task

SHOWN_CHARTS = 12  # other logged quantities that are drawn
SHOWN_ROWS = 200  # rows of a table of numbers
WIDE = 8  # members that get a column or a row each


def command(verb: str, folder: Folder, options: str = "") -> str:
    """A command line that a reader can paste."""
    return " ".join(filter(None, ["demonstrably", verb, shlex.quote(folder.given), options]))


def training_blocks(folder: Folder) -> list[Markup]:
    """Learning curves: the loss with its validation first, every other logged quantity folded below."""
    every = folder.metrics.curves
    if not every:
        return [blocks.missing("Nothing is logged yet. To train:", "demonstrably train --help")]
    names = sorted({name.removeprefix("validation_") for name in every}, key=lambda name: (name != "loss", name))
    drawn = [_curve_figure(folder, name) for name in names[:SHOWN_CHARTS]]
    found = drawn[:1]
    if drawn[1:]:
        found.append(blocks.fold(f"Other logged quantities ({len(names) - 1})", drawn[1:]))
    if len(names) > SHOWN_CHARTS:
        found.append(blocks.missing(f"{len(names) - SHOWN_CHARTS} more are in metrics.jsonl and in TensorBoard."))
    return found


def _curve_figure(folder: Folder, name: str) -> Markup:
    metrics = folder.metrics
    options = (("train", name, "one"), ("validation", f"validation_{name}", "two"))
    named = [(label, metrics.curves[key], style) for label, key, style in options if key in metrics.curves]
    words = name.replace("_", " ")
    drawing, merged = curves(named, words if name != "loss" else "loss (unit of the learner's objective)")
    members = max(curve.members for _, curve, _ in named)
    parts = [f"Thin: each of {members} members. Bold: their mean. Band: lowest to highest."] if members > 1 else []
    if merged > 1:
        parts.append(f"A point is the mean of up to {merged} logged lines; the band keeps their extremes.")
    if metrics.stride > 1:
        parts.append(f"The log is long: one line in {metrics.stride} is read.")
    parts += [_broken_words(label, curve) for label, curve, _ in named if curve.broken()]
    return blocks.figure(words.capitalize(), " ".join(parts), drawing, _curve_table(named))


def _broken_words(label: str, curve: Curve) -> str:
    broken = curve.broken()
    first = ", ".join(f"member {member} from step {step:,}" for member, step in broken[:4])
    return f"Not finite ({label}): {first}{', ...' if len(broken) > 4 else ''}."


def _curve_table(named: Sequence[tuple[str, Curve, str]]) -> Table:
    rows = []
    for label, curve, _ in named:
        for member in range(curve.members):
            good = np.flatnonzero(np.isfinite(curve.values[:, member]))
            values = curve.values[good, member]
            if not good.size:
                rows.append((label, str(member), "", "", "", ""))
                continue
            lowest = int(values.argmin())
            at = f"{curve.steps[good[lowest]]:,}"
            rows.append((label, str(member), *map(number, (values[0], values[lowest])), at, number(values[-1])))
    return Table(("curve", "member", "first", "lowest", "at step", "last"), rows, numeric=(1, 2, 3, 4, 5))


def lowest_validation(folder: Folder, steps: Sequence[int]) -> int | None:
    """The one of the checkpoints with the lowest validation loss, averaged over members."""
    curve = folder.metrics.curves.get("validation_loss")
    if curve is None:
        return None
    mean = curve.values.mean(1)
    good = np.flatnonzero(np.isfinite(mean) & np.isin(curve.steps, list(steps)))
    return int(curve.steps[good[mean[good].argmin()]]) if good.size else None


def evaluation_blocks(folder: Folder, scores: Scores | None, selected: int | None) -> list[Markup]:
    """Scores over checkpoints, then by member and by task at the checkpoint that counts."""
    if scores is None:
        advice = command("evaluate", folder, "--all --episodes 20")
        return [blocks.missing("No checkpoint has been evaluated. To play episodes:", advice)]
    found = [blocks.text(problem, "problem") for problem in scores.problems[:3]]
    if not scores.checkpoints:
        return found
    steps = [score.step for score in scores.checkpoints]
    events = [(selected, "selected", "three")] if selected in steps else []
    lowest = lowest_validation(folder, steps)
    events += [(lowest, "lowest validation loss", "two")] if lowest is not None and len(steps) > 1 else []
    if len(steps) > 1:
        drawing = checkpoints(scores.checkpoints, scores.axis, scores.bounds, events)
        found.append(blocks.figure(_title(scores), _checkpoint_note(scores), drawing, _checkpoint_table(scores)))
    counted = scores.checkpoints[steps.index(selected) if selected in steps else -1]
    found.append(_member_rows(scores, counted, selected))
    return [*found, *_task_rows(folder, scores, counted)]


def _title(scores: Scores) -> str:
    return f"{'Success' if scores.measure == 'success' else 'Return'} at each checkpoint"


def _checkpoint_note(scores: Scores) -> str:
    members = max(len(score.members) for score in scores.checkpoints)
    parts = [f"Bold: all members, with the {100 * scores.level:.0f} % interval of their average."]
    if members > 1:
        parts.append(f"Thin: each of {members} members.")
    if len(scores.checkpoints) < scores.evaluated:
        parts.append(f"{len(scores.checkpoints)} of {scores.evaluated} evaluated checkpoints are shown.")
    if scores.selecting:
        parts.append("Episodes of the selection's first round, which was fixed beforehand, count too.")
    parts.append("The highest point flatters: it is the best of many noisy scores.")
    return " ".join(parts)


def _checkpoint_table(scores: Scores) -> Table:
    members = sorted({member for score in scores.checkpoints for member in score.members})
    wide = len(members) <= WIDE
    columns = [f"member {member}" for member in members] if wide else ["lowest member", "highest member"]
    rows = [
        (f"{score.step:,}", score.pooled.text, *(_each(score, members) if wide else _extremes(score)))
        for score in scores.checkpoints[:SHOWN_ROWS]
    ]
    return Table(("checkpoint", "all members", *columns), rows, numeric=(0,))


def _each(score: Checkpoint, members: Sequence[int]) -> list[str]:
    return [score.members[member].text if member in score.members else "" for member in members]


def _extremes(score: Checkpoint) -> list[str]:
    ranked = sorted(score.members.values(), key=lambda interval: interval.mean)
    return [ranked[0].text, ranked[-1].text]


def _member_rows(scores: Scores, score: Checkpoint, selected: int | None) -> Markup:
    named = {f"member {member}": interval for member, interval in score.members.items()}
    if len(named) > WIDE:
        ranked = sorted(named, key=lambda name: named[name].mean)
        named = {name: named[name] for name in [*ranked[: -WIDE // 2 - 1 : -1], *ranked[WIDE // 2 - 1 :: -1]]}
    lines = {"all members": score.pooled, **named} if len(named) > 1 else named
    word = "selected" if score.step == selected else "last"
    note = f"{100 * scores.level:.0f} % intervals; successes and episodes beside them." if scores.bounds else ""
    if len(score.members) > WIDE:
        note += f" The {WIDE // 2} highest and {WIDE // 2} lowest of {len(score.members)} members."
    return interval_rows(f"At the {word} checkpoint, step {score.step:,}", note, scores.axis, scores.bounds, lines)


def interval_rows(title: str, note: str, axis: str, bounds: Sequence[float], named: dict[str, Interval]) -> Markup:
    """Intervals one below the other on a shared scale, the first of them bold."""
    values = [value for interval in named.values() for value in (interval.low, interval.high)]
    scale = scale_of(values, cover=bounds, margin=0.02 if bounds else 0.08)
    lines = [
        Row(
            name,
            interval_cell(scale, interval, "quiet" if index and len(named) > 1 else "one"),
            interval.text,
            strong=not index,
        )
        for index, (name, interval) in enumerate(named.items())
    ]
    return blocks.rows(title, note, axis_cell(scale, axis), lines)


def _task_rows(folder: Folder, scores: Scores, score: Checkpoint) -> list[Markup]:
    tasks = by_task(folder.evaluations, score.step) if folder.evaluations is not None else {}
    if not tasks:
        return []
    named = {"all tasks": score.pooled, **tasks}
    return [interval_rows(f"By task, step {score.step:,}", "All members together.", scores.axis, scores.bounds, named)]


def run_sections(key: str, level: int, parts: Sequence[tuple[str, str, Sequence[Markup]]]) -> list[Section]:
    """Sections from (short id, title, blocks), those of one run under one prefix."""
    return [Section(f"{key}-{short}", title, level, content) for short, title, content in parts if content]

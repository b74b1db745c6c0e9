"""Figures of training and evaluation: curves over steps, scores over checkpoints, intervals in rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from .figures import (
    Axis,
    Frame,
    Real,
    Scale,
    band,
    curve_scale,
    dot,
    draw,
    end_labels,
    line,
    number,
    percent,
    scale_of,
    segment,
    tick_labels,
    words,
)
from .reading import Curve, Thinned, thin

CURVE_POINTS = 16_000  # points drawn in one figure at most, over all its curves
WHISKERS = 40  # checkpoints drawn with a whisker each; more become a band


@dataclass(frozen=True)
class Interval:
    """A score and its interval; `text` is how it is printed, "0.74 [0.60, 0.85], 37/50"."""

    mean: Real
    low: Real
    high: Real
    text: str


@dataclass(frozen=True)
class Checkpoint:
    """The scores at one checkpoint: all members together, and each by its number."""

    step: int
    pooled: Interval
    members: dict[int, Interval]


def _last(curve: Curve) -> float:
    """The last finite mean over members; NaN where there is none."""
    good = np.flatnonzero(np.isfinite(curve.values).any(1))
    return float(np.nanmean(curve.values[good[-1]])) if good.size else float("nan")


def curves(named: Sequence[tuple[str, Curve, str]], y_label: str) -> tuple[Markup, int]:
    """Curves per member (thin), their mean (bold) and their range (band), from (name, curve, style).

    Returns:
        The drawing, and how many logged lines one point stands for at most.
    """
    total = sum(curve.members + 3 for _, curve, _ in named)
    points = int(np.clip(CURVE_POINTS // total, 40, 400))
    thinned = [(name, thin(curve, points), style) for name, curve, style in named]
    steps = np.concatenate([curve.steps for _, curve, _ in named])
    scale = curve_scale(np.concatenate([np.ravel([part.low, part.high]) for _, part, _ in thinned]))
    frame = Frame(Axis("training step", scale_of(steps, cover=[0], margin=0)), Axis(y_label, scale), height=220)
    below = [band(frame, part.steps, part.low, part.high, style) for _, part, style in thinned]
    below += [mark for name, part, style in thinned for mark in _member_lines(frame, name, part, style)]
    labels = [(_last(curve), name, style) for name, curve, style in named if np.isfinite(_last(curve))]
    above = [mark for name, curve, style in named for mark in _breaks(frame, name, curve)]
    room = 12 + max((7 * len(text) for _, text, _ in labels), default=4)
    drawing = draw(frame, below, [*above, end_labels(frame, labels)], _curve_words(named), right=min(room, 110))
    return drawing, max((part.merged for _, part, _ in thinned), default=1)


def _member_lines(frame: Frame, name: str, part: Thinned, style: str) -> list[Markup]:
    members = part.middle.shape[1]
    if members == 1:
        return [line(frame, part.steps, part.middle[:, 0], style, name)]
    weight = "thin" if members <= 8 else "faint"
    drawn = [
        line(frame, part.steps, part.middle[:, m], f"{style} {weight}", f"{name}, member {m}") for m in range(members)
    ]
    count = np.isfinite(part.middle).sum(1)
    mean = np.where(count > 0, np.nansum(part.middle, 1) / np.maximum(count, 1), np.nan)
    return [*drawn, line(frame, part.steps, mean, style, f"{name}, mean of {members}")]


def _breaks(frame: Frame, name: str, curve: Curve) -> list[Markup]:
    """A cross on the upper edge where a member was first not finite."""
    top = frame.y.scale.high
    return [
        words(frame, step, top, "×", "bad strong", anchor="middle", dy=4)
        + dot(frame, step, top, "bad faint", f"{name}, member {member}: not finite from step {step:,}", radius=6)
        for member, step in curve.broken()
    ]


def _curve_words(named: Sequence[tuple[str, Curve, str]]) -> str:
    parts = []
    for name, curve, _ in named:
        finite = curve.values[np.isfinite(curve.values)]
        if not finite.size:
            parts.append(f"{name}: no finite value.")
            continue
        first = number(float(curve.values[np.isfinite(curve.values).any(1)][0][0]))
        members = f"{curve.members} members" if curve.members > 1 else "one member"
        parts.append(
            f"{name}, {members}, from {first} at step {curve.steps[0]:,} to {number(_last(curve))} "
            f"at step {curve.steps[-1]:,}; lowest {number(float(finite.min()))}."
        )
    return " ".join(parts)


def checkpoints(
    scores: Sequence[Checkpoint],
    y_label: str,
    bounds: Sequence[Real],
    events: Sequence[tuple[int, str, str]],
) -> Markup:
    """Scores over checkpoints: the pooled interval, a line a member, and events as dashed rules.

    `bounds` are values that the y axis must reach, (0, 1) for a success rate; events (step, text, style).
    """
    steps = np.array([score.step for score in scores])
    mean, low, high = (np.array(column) for column in zip(*map(_limits, scores), strict=True))
    members = sorted({member for score in scores for member in score.members})
    every = [interval.mean for score in scores for interval in score.members.values()]
    y_scale = scale_of([*low, *high, *every], cover=bounds, margin=0.03 if len(bounds) else 0.08)
    x_scale = scale_of([*steps.tolist(), *(step for step, _, _ in events)], margin=0.03)
    frame = Frame(Axis("checkpoint (training step)", x_scale), Axis(y_label, y_scale), height=240)
    below = [band(frame, steps, low, high, "one")] if len(scores) > WHISKERS else []
    below += _member_scores(frame, scores, members) if len(members) > 1 else []
    below.append(line(frame, steps, mean, "one", "all members" if len(members) > 1 else "score"))
    above = _events(frame, events)
    if len(scores) <= WHISKERS:
        above += [mark for score in scores for mark in _whisker(frame, score)]
    best = scores[int(np.argmax(mean))]
    description = (
        f"{y_label} at {len(scores)} checkpoints, step {steps[0]:,} to {steps[-1]:,}: "
        f"first {scores[0].pooled.text}, highest {best.pooled.text} at step {best.step:,}, "
        f"last {scores[-1].pooled.text}."
    )
    return draw(frame, below, above, description, rows=5)


def _limits(score: Checkpoint) -> tuple[Real, Real, Real]:
    return score.pooled.mean, score.pooled.low, score.pooled.high


def _member_scores(frame: Frame, scores: Sequence[Checkpoint], members: Sequence[int]) -> list[Markup]:
    weight = "quiet thin" if len(members) <= 8 else "quiet faint"
    drawn = []
    for member in members:
        mine = [(score.step, score.members[member].mean) for score in scores if member in score.members]
        x, y = np.array(mine, float).T
        drawn.append(line(frame, x, y, weight, f"member {member}"))
    return drawn


def _whisker(frame: Frame, score: Checkpoint) -> list[Markup]:
    tip = f"step {score.step:,}: {score.pooled.text}"
    step, pooled = score.step, score.pooled
    return [
        segment(frame, (step, pooled.low), (step, pooled.high), "one fine"),
        dot(frame, step, pooled.mean, "one", tip),
    ]


def _events(frame: Frame, events: Sequence[tuple[int, str, str]]) -> list[Markup]:
    """Dashed rules with their words above the plot's floor, each on a line of its own."""
    low, high = frame.y.scale.low, frame.y.scale.high
    drawn = []
    for index, (step, text, style) in enumerate(sorted(events)):
        # The words of the last rule stand to its right, those of others to their left, where there is room.
        right = float(frame.x.scale.fraction(step)) < (0.7 if index == len(events) - 1 else 0.35)
        anchor, away = ("start", 5) if right else ("end", -5)
        drawn.append(segment(frame, (step, low), (step, high), f"{style} dashed", text))
        drawn.append(words(frame, step, low, text, style, anchor=anchor, dx=away, dy=-6 - 15 * index))
    return drawn


@dataclass(frozen=True)
class Row:
    """One line of a chart in rows: a name, its drawing, and its value in words."""

    label: str
    drawing: Markup
    text: str
    note: str = ""
    strong: bool = False


def interval_cell(scale: Scale, interval: Interval, style: str, *, reference: Real | None = None) -> Markup:
    """A dot with its interval on a scale that rows share; `reference` is a rule, such as no difference."""
    tick = Markup('<line class="grid" x1="{0}" x2="{0}" y1="-20%" y2="120%"/>')
    grid = Markup("").join(tick.format(percent(scale.fraction(value))) for value in scale.ticks(5))
    rule = Markup("")
    if reference is not None:
        rule = Markup('<line class="segment quiet fine" x1="{0}" x2="{0}" y1="-20%" y2="120%"/>').format(
            percent(scale.fraction(reference))
        )
    shape = Markup(
        '<svg class="cell {style}" role="img" aria-label="{text}" width="100%" height="24">{grid}{rule}'
        '<line class="segment" x1="{low}" x2="{high}" y1="50%" y2="50%"/>'
        '<circle class="dot" cx="{mean}" cy="50%" r="5"/></svg>'
    )
    low, mean, high = (percent(np.clip(scale.fraction(v), 0, 1)) for v in (interval.low, interval.mean, interval.high))
    return shape.format(style=style, text=interval.text, grid=grid, rule=rule, low=low, mean=mean, high=high)


def axis_cell(scale: Scale, label: str) -> Markup:
    """The head of a column of intervals: its label and its ticks."""
    tick = Markup('<text class="tick{}" x="{}" y="32" text-anchor="{}">{}</text>')
    name = Markup('<text class="tick" x="50%" y="13" text-anchor="middle">{}</text>').format(label)
    texts = []
    for index, (value, text) in enumerate(tick_labels(scale, 5)):
        at = float(scale.fraction(value))
        anchor = "start" if at < 0.03 else "end" if at > 0.97 else "middle"
        texts.append(tick.format(" other" if index % 2 else "", percent(at), anchor, text))
    return Markup('<svg class="cell" width="100%" height="38">{}{}</svg>').format(name, Markup("").join(texts))

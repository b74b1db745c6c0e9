"""The figures of a selection: who played when and left when, and the naive maximum beside the fresh score."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from demonstrably.evaluation.selection import Arm, Selection

from .figures import Axis, Frame, Real, Scale, dot, draw, scale_of, segment, words

LABELLED = 28  # arms whose rows are named; more are drawn as thin rows, named on hover and in the table
DRAWN = 100  # rows drawn at most: the arms that stayed longest
LETTERS = 22  # of an arm's label beside its row


def shorten(text: str, letters: int = LETTERS) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1] + "…"


def order(selection: Selection) -> list[int]:
    """Arms from the winner down: by the round they played last, then by their mean."""
    last = [-1] * len(selection.arms)
    for index, played in enumerate(selection.rounds):
        for arm in played.arms:
            last[arm] = index
    means = [-1.0 if arm.mean is None else arm.mean for arm in selection.arms]
    return sorted(range(len(last)), key=lambda arm: (arm != selection.winner, -last[arm], -means[arm]))


def standing(selection: Selection, index: int) -> str:
    """What became of an arm, in a few words."""
    arm = selection.arms[index]
    if index == selection.winner:
        return "winner"
    if arm.dropped_round is not None:
        return f"dropped in round {arm.dropped_round + 1}, e-value {arm.e_value:.3g}"
    return "equivalent to the winner" if index in selection.equivalent else "not separated from the winner"


def seen(selection: Selection, arm: Arm) -> str:
    """An arm's mean while selecting with its confidence sequence, "0.62 [0.40, 0.81]"."""
    text = selection.scale.text
    return "not played" if arm.mean is None else f"{text(arm.mean)} [{text(arm.low)}, {text(arm.high)}]"


def story(selection: Selection) -> Markup:
    """A row an arm, a bar a round it played, over all rollouts spent; a cross where evidence dropped it."""
    rows = order(selection)[:DRAWN]
    named = len(rows) <= LABELLED
    spent = np.cumsum([0, *(sum(played.episodes) for played in selection.rounds)]).tolist()
    ticks = ()
    if named:
        ticks = tuple((float(row), shorten(selection.arms[arm].label)) for row, arm in enumerate(rows))
    y = Axis("arm" if named else f"{len(rows)} arms, one a row", Scale(len(rows) - 0.4, -0.6), ticks)
    x = Axis("rollouts spent by all arms together", Scale(0, max(spent[-1], 1)))
    frame = Frame(x, y, height=(18 if named else 4) * len(rows) + 10)
    marks: list[Markup] = []
    for row, arm in enumerate(rows):
        marks += _bars(frame, selection, arm, row, spent, "bar" if named else "")
    return draw(frame, [], marks, _story_words(selection, spent[-1]), right=44 if named else 16)


def _style(selection: Selection, arm: int) -> str:
    if arm == selection.winner:
        return "one"
    return "quiet stays" if selection.arms[arm].dropped_round is None else "quiet leaves"


def _bars(frame: Frame, selection: Selection, arm: int, row: int, spent: Sequence[int], weight: str) -> list[Markup]:
    style, record = _style(selection, arm), selection.arms[arm]
    tip = f"{record.label}: {standing(selection, arm)}\n{seen(selection, record)}, {record.episodes} rollouts"
    gap = (spent[-1] or 1) * 0.003
    marks, end = [], 0.0
    for index, played in enumerate(selection.rounds):
        if arm in played.arms:
            end = spent[index + 1] - gap
            marks.append(segment(frame, (spent[index] + gap, row), (end, row), f"{style} {weight}", tip))
    if record.dropped_round is not None:
        marks.append(words(frame, end, row, "×", "bad strong", dx=2))
    elif weight and record.mean is not None:
        marks.append(words(frame, end, row, selection.scale.text(record.mean), "soft", dx=5))
    return marks


def _story_words(selection: Selection, spent: int) -> str:
    left = [str(len(played.arms)) for played in selection.rounds]
    shown = ", ".join(left[:12]) + (", ..." if len(left) > 12 else "")
    return (
        f"{len(selection.arms)} arms over {len(left)} rounds and {spent} rollouts; playing in each round: "
        f"{shown}. {len(selection.dropped)} were dropped by evidence, {len(selection.confidence_set)} are in "
        f"the confidence set, the winner is {selection.label}."
    )


def curse(selection: Selection) -> Markup:
    """All arms' means while selecting, the naive maximum marked; below it the winner's interval on fresh seeds."""
    unit, done, best = selection.scale, selection.confirmed, selection.arms[selection.naive]
    played = [index for index, arm in enumerate(selection.arms) if arm.mean is not None]
    means = np.array([unit.value(selection.arms[index].mean or 0.0) for index in played])
    low, mean, high = (unit.value(value) for value in (done.low, done.mean, done.high))
    top = unit.value(best.mean or 0.0)
    scale = scale_of([*means, low, high, top], cover=(0, 1) if unit.is_rate else (), margin=0.03)
    frame = Frame(Axis(_measure(selection), scale), Axis("", Scale(0, 210), ()), height=210)
    heights = dict(zip(played, _swarm(frame, means), strict=True))
    peak = 146 + heights.get(selection.naive, 0.0)
    marks = [
        words(frame, scale.low, 194, f"While selecting: {len(played)} arms", "soft", dx=6),
        words(frame, scale.low, 64, f"On fresh seeds: the winner, {done.episodes} episodes", "soft", dx=6),
        segment(frame, (top, peak), (top, 20), "two dashed"),
    ]
    marks += [_arm_dot(frame, selection, index, 146 + heights[index]) for index in _weight_order(selection, played)]
    quoted = f"{unit.text(done.mean)} [{unit.text(done.low)}, {unit.text(done.high)}]"
    marks += [
        segment(frame, (mean, 20), (top, 20), "two dashed"),
        segment(frame, (low, 20), (high, 20), "one"),
        dot(frame, mean, 20, "one", f"{selection.label} on fresh seeds: {fresh(selection)}", radius=6),
        _beside(frame, top, 100, _naive_words(selection), "two strong"),
        _beside(frame, mean, 40, quoted, "one strong"),
    ]
    return draw(frame, [], marks, _curse_words(selection), rows=0)


def fresh(selection: Selection) -> str:
    """The winner's score on fresh seeds, "0.81 [0.75, 0.86], 162/200"."""
    done, text = selection.confirmed, selection.scale.text
    counts = selection.scale.is_rate and done.count is not None
    counted = f"{done.count}/{done.episodes}" if counts else f"{done.episodes} episodes"
    return f"{text(done.mean)} [{text(done.low)}, {text(done.high)}], {counted}"


def drop(selection: Selection) -> float:
    """By how much the naive maximum lies above the fresh score, as a score in [0, 1]; negative if below."""
    naive = selection.arms[selection.naive].mean
    return 0.0 if naive is None else naive - selection.confirmed.mean


def _measure(selection: Selection) -> str:
    return "success rate" if selection.scale.is_rate else selection.scale.measure


def _beside(frame: Frame, x: Real, y: Real, text: str, style: str) -> Markup:
    """Text above a point, anchored so that it stays inside the plot."""
    at = float(frame.x.scale.fraction(x))
    anchor = "start" if at < 0.25 else "end" if at > 0.75 else "middle"
    return words(frame, x, y, text, style, anchor=anchor)


def _naive_words(selection: Selection) -> str:
    unit, high = selection.scale, drop(selection)
    gap = f", {unit.text(high, sign=True).lstrip('+')} higher" if high > 0 else ""
    return f"naive maximum {unit.text(selection.arms[selection.naive].mean or 0.0)}{gap}"


def _weight_order(selection: Selection, played: Sequence[int]) -> list[int]:
    """The arms that played, those that matter last so that they lie on top."""
    return sorted(played, key=lambda index: (index == selection.naive, index == selection.winner))


def _arm_dot(frame: Frame, selection: Selection, index: int, height: Real) -> Markup:
    """One arm's mean while selecting; its area grows with its rollouts."""
    arm = selection.arms[index]
    style = "two" if index == selection.naive else "one hollow" if index == selection.winner else "quiet faint"
    most = max(one.episodes for one in selection.arms)
    tip = f"{arm.label}: {seen(selection, arm)}, {arm.episodes} rollouts"
    size = round(2.5 + 3.5 * (arm.episodes / most) ** 0.5, 1)
    return dot(frame, selection.scale.value(arm.mean or 0.0), height, style, tip, radius=size)


def _swarm(frame: Frame, values: np.ndarray) -> list[float]:
    """Heights that keep dots of nearly the same value apart: alternately up and down, at most 28 pixels."""
    filled: dict[int, int] = {}
    heights = []
    for value in values:
        column = int(60 * frame.x.scale.fraction(value))
        taken = filled.get(column, 0)
        filled[column] = taken + 1
        heights.append(float(min((taken + 1) // 2 * 7, 28) * (1 if taken % 2 else -1)))
    return heights


def _curse_words(selection: Selection) -> str:
    unit, best = selection.scale, selection.arms[selection.naive]
    return (
        f"The naive maximum over {len(selection.arms)} arms while selecting is {seen(selection, best)}, "
        f"{best.label}. "
        f"The winner, {selection.label}, reaches {fresh(selection)} on fresh seeds: "
        f"{unit.text(drop(selection), sign=True)} is how far the naive maximum lies above it."
    )

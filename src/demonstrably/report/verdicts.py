"""What the report concludes: the score of each run and the story of its selection."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from markupsafe import Markup

from demonstrably.evaluation.scale import Scale as Unit
from demonstrably.evaluation.selection import Selection

from . import blocks, selections
from .blocks import Table
from .charts import Interval, Row, axis_cell, interval_cell
from .figures import scale_of
from .reading import Folder
from .scores import Scores, evaluated_again
from .sections import command

STOPPED = {
    "budget": "the budget was spent",
    "separated": "one arm was left",
    "equivalent": "nothing still played could beat the winner by more than the tolerance",
}


@dataclass(frozen=True)
class Verdict:
    """A run with what was read out of it. `selection` is None without a readable one; `problems` say why."""

    folder: Folder
    scores: Scores | None
    selection: Selection | None
    problems: tuple[str, ...]

    @property
    def selected(self) -> int | None:
        """The step of the selected checkpoint, where the winner's label names one."""
        return None if self.selection is None else selected_step(self.selection)

    def best_claim(self) -> tuple[Interval, str, str, tuple[float, ...]] | None:
        """(score, where it is from, axis label, values the axis must reach): the most that may be claimed."""
        if self.selection is not None:
            unit, done = self.selection.scale, self.selection.confirmed
            mean, low, high = (unit.value(value) for value in (done.mean, done.low, done.high))
            note = f"{self.selection.label}, selected; fresh seeds"
            axis = "success rate" if unit.is_rate else unit.measure
            return (
                Interval(mean, low, high, selections.fresh(self.selection)),
                note,
                axis,
                (0.0, 1.0) if unit.is_rate else (),
            )
        if self.scores is not None and self.scores.checkpoints:
            last = self.scores.checkpoints[-1]
            note = f"step {last.step:,}, the last evaluated; nothing selected"
            return last.pooled, note, self.scores.axis, self.scores.bounds
        return None


def selected_step(selection: Selection) -> int | None:
    """The step in a label such as "step 3500, member 1"."""
    found = re.match(r"step (\d+)\b", selection.label)
    return int(found[1]) if found else None


def read_selection(record: Mapping[str, Any]) -> Selection:
    """The selection of a record that may say more, such as which checkpoint the winner is."""
    known = {field.name for field in fields(Selection)}
    return Selection.from_dict({name: value for name, value in record.items() if name in known})


def unwrapped(record: Mapping[str, Any], name: str, mark: str) -> Mapping[str, Any]:
    """The record, or the one inside it under `name` where `mark` is not among its own keys."""
    inner = record.get(name)
    return inner if mark not in record and isinstance(inner, dict) else record


def result_blocks(verdicts: Sequence[Verdict]) -> list[Markup]:
    """One row a run with its best supported score, and what to do about those that have none."""
    found: list[Markup] = []
    charts: dict[tuple[str, tuple[float, ...]], list[tuple[str, str, Interval]]] = {}
    for verdict in verdicts:
        claim = verdict.best_claim()
        if claim is None:
            advice = command("evaluate", verdict.folder, "--all --episodes 20")
            found.append(blocks.missing(f"{verdict.folder.name} has no score yet. To play episodes:", advice))
            continue
        interval, note, axis, bounds = claim
        rows = charts.setdefault((axis, bounds), [])
        rows.append((verdict.folder.name, note, interval))
        again = _again(verdict)
        if again is not None:
            rows.append((verdict.folder.name, "the same policy, evaluated on other seeds", again))
        if verdict.selection is not None and len(verdicts) == 1:
            found.append(blocks.text(_curse_sentence(verdict.selection), "lead"))
    return [*found, *(_claims(axis, bounds, rows) for (axis, bounds), rows in charts.items())]


def _again(verdict: Verdict) -> Interval | None:
    """The winner's score by episodes that were played apart from the selection."""
    record, table = verdict.folder.selection, verdict.folder.evaluations
    if verdict.selection is None or record is None or table is None:
        return None
    step, member = record.get("checkpoint"), record.get("member")
    if not isinstance(step, int) or not isinstance(member, int):
        return None
    return evaluated_again(table, step, member, verdict.selection.scale.measure)


def _claims(axis: str, bounds: Sequence[float], named: Sequence[tuple[str, str, Interval]]) -> Markup:
    scale = scale_of([end for _, _, one in named for end in (one.low, one.high)], cover=bounds, margin=0.02)
    lines = [Row(name, interval_cell(scale, one, "one"), one.text, note, strong=True) for name, note, one in named]
    note = "With 95 % intervals; fresh seeds where a checkpoint was selected."
    return blocks.rows(f"What may be claimed: {axis}", note, axis_cell(scale, axis), lines)


def _curse_sentence(selection: Selection) -> str:
    best, text, lies = selection.arms[selection.naive], selection.scale.text, selections.drop(selection)
    if best.mean is None:
        return ""
    quoted = f"{selections.fresh(selection)} is the number to quote: {selection.label}, on fresh seeds."
    if lies <= 0:
        seen = f"The naive maximum over {len(selection.arms)} arms was {text(best.mean)}"
        return f"{quoted} {seen}; this time luck did not flatter it."
    return (
        f"{quoted} The naive maximum over {len(selection.arms)} arms, {text(best.mean)}, "
        f"is {text(lies, sign=True).lstrip('+')} higher: it is the best of many noisy scores, so it flatters."
    )


def selection_blocks(verdict: Verdict) -> list[Markup]:
    """The winner's curse, the race that led to it, and all arms in a table."""
    selection = verdict.selection
    if selection is None:
        advice = command("select", verdict.folder, "--rollouts 200")
        problems = [blocks.text(problem, "problem") for problem in verdict.problems]
        return [
            *problems,
            blocks.missing("No checkpoint has been selected. To choose one and score it afresh:", advice),
        ]
    title = "The best-looking score, and the score that holds"
    note = (
        "Every arm's mean while selecting, larger with more rollouts. Orange is the naive maximum: the highest of "
        "those with at least half of the winner's rollouts. Blue is the winner on fresh seeds, with its "
        f"{100 * selection.level:.0f} % interval."
    )
    found = [blocks.figure(title, note, selections.curse(selection))]
    words = _story_note(selection, (verdict.folder.selection or {}).get("clipped"))
    drawing = selections.story(selection)
    return [*found, blocks.figure("How the field thinned out", words, drawing, _arms(selection))]


def clipped_words(scale: Unit, clipped: Any) -> str:
    """What to say about returns outside the bounds; empty where there were none."""
    if not isinstance(clipped, int) or not clipped:
        return ""
    return f"{clipped:,} returns lay outside {scale.low:g} to {scale.high:g} and count as the nearer bound."


def _story_note(selection: Selection, clipped: Any) -> str:
    inside, more = len(selection.confidence_set), selection.more_rollouts
    confirming = selection.spent - sum(arm.episodes for arm in selection.arms)
    parts = [
        "A bar is a round that an arm played, blue the winner; a cross (×) is where evidence dropped an arm.",
        f"{selection.spent:,} of {selection.rollouts:,} rollouts were spent, {confirming:,} of them on the "
        f"fresh score; it stopped because {STOPPED.get(selection.stopped, selection.stopped)}.",
    ]
    if inside > 1:
        parts.append(
            f"The best of the {len(selection.arms)} arms is among the {inside} in the confidence set with "
            f"probability {100 * (1 - selection.delta):.4g} %."
        )
        parts += [f"Separating them would take roughly {more:,} more rollouts."] if more else []
    if len(selection.arms) > selections.DRAWN:
        parts.append(f"The {selections.DRAWN} arms that stayed longest are drawn.")
    return " ".join([*parts, clipped_words(selection.scale, clipped)])


def _arms(selection: Selection) -> Table:
    rows = [
        (arm.label, str(arm.episodes), selections.seen(selection, arm), selections.standing(selection, index))
        for index, arm in ((index, selection.arms[index]) for index in selections.order(selection)[: selections.DRAWN])
    ]
    level = f"{100 * (1 - selection.delta):.4g} %"
    note = f"Intervals hold at every number of episodes at once, each arm's by itself, at {level}."
    return Table(("arm", "rollouts", f"{selection.scale.measure} while selecting", "standing"), rows, (1,), note)

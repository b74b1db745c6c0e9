"""Writes the report: one HTML file that holds everything and asks the network for nothing."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from . import blocks
from .blocks import Section
from .comparisons import comparison_blocks
from .descriptions import configuration_blocks, data_blocks
from .pages import kept, rendered
from .reading import Folder, read_folders
from .scores import of_checkpoints
from .sections import (
    command,
    evaluation_blocks,
    run_sections,
    training_blocks,
)
from .verdicts import (
    Verdict,
    read_selection,
    result_blocks,
    selected_step,
    selection_blocks,
    unwrapped,
)

MEDIA_BYTES = 8_000_000  # of a run's films that are put into the page; the rest is linked


def write(runs: Sequence[str | Path] | str | Path, out: str | Path | None = None) -> Path:
    """Writes the report of one run or of several side by side.

    Args:
        runs: run folders; one that is still training is read as far as it is.
        out: the file to write; by default report.html in the run's folder, or in the one that holds all runs.

    Returns:
        The file. It is replaced as a whole, or not at all.

    Raises:
        ValueError: a folder is no run, or its config.json is not readable.
        OSError: the file cannot be written.
    """
    folders = read_folders([runs] if isinstance(runs, str | Path) else list(runs))
    paths = [folder.path for folder in folders]
    home = paths[0] if len(paths) == 1 else Path(os.path.commonpath(paths))
    target = Path(out) if out is not None else home / "report.html"
    if target.is_dir():
        raise ValueError(f"{target} is a folder; give the name of a file, for instance {target / 'report.html'}")
    return kept(page(folders, target.resolve().parent), target)


def page(folders: Sequence[Folder], beside: Path) -> str:
    """The whole page; films that are too large are linked relative to the folder `beside`."""
    verdicts = [_verdict(folder) for folder in folders]
    sections = [Section("result", "Result", 1, result_blocks(verdicts))]
    compared = comparison_blocks(folders)
    if compared:
        sections.append(Section("comparison", "Comparison", 1, compared))
    shared = len(folders) > 1 and all(_evidence(folder) == _evidence(folders[0]) for folder in folders)
    if shared:
        sections.append(Section("data", "Data", 1, data_blocks(folders[0])))
    for index, verdict in enumerate(verdicts):
        sections += _run(verdict, f"run-{index + 1}", beside, alone=len(verdicts) == 1, data=not shared)
    names = [folder.name for folder in folders]
    title = " and ".join(names) if len(names) < 4 else f"{len(names)} runs: {', '.join(names[:3])}, ..."
    return rendered(
        title,
        " · ".join(_facts(folders[0])) if len(folders) == 1 else f"{len(folders)} runs",
        sections,
    )


def _verdict(folder: Folder) -> Verdict:
    """Scores and selection out of what the folder holds."""
    selection, problems = None, []
    if folder.selection is not None:
        try:
            selection = read_selection(unwrapped(folder.selection, "selection", "arms"))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            problems.append(f"{folder.path / 'selection.json'} does not hold a selection ({error!r})")
    step = None if selection is None else selected_step(selection)
    keep = [] if step is None else [step]
    scores = None if folder.evaluations is None else of_checkpoints(folder.evaluations, keep)
    return Verdict(folder, scores, selection, tuple(problems))


def _evidence(folder: Folder) -> tuple[Any, Any]:
    """What the section on data shows: runs that agree in it share one."""
    data = folder.config.get("data")
    return folder.findings, data.get("path") if isinstance(data, dict) else None


def _facts(folder: Folder) -> list[str]:
    """What the run is, in a few short pieces."""
    config, metrics = folder.config, folder.metrics
    steps = config.get("steps")
    done = f"{metrics.step:,} of {steps:,} steps" if isinstance(steps, int) else f"{metrics.step:,} steps"
    members = config.get("members")
    minutes = "" if metrics.seconds is None else f"{metrics.seconds / 60:,.1f} min"
    named = (
        str(config.get("learner", "")),
        f"{members} member{'' if members == 1 else 's'}" if isinstance(members, int) else "",
        done,
        f"{folder.checkpoints:,} checkpoints" if folder.checkpoints else "",
        minutes,
    )
    return [part for part in named if part]


def _run(verdict: Verdict, key: str, beside: Path, *, alone: bool, data: bool) -> list[Section]:
    """The sections of one run; among several it has a heading above them. `data`: with a section on its data."""
    folder = verdict.folder
    problems = [blocks.text(problem, "problem") for problem in folder.problems]
    parts = [
        ("data", "Data", data_blocks(folder) if data else []),
        ("training", "Training", training_blocks(folder)),
        ("evaluation", "Evaluation", evaluation_blocks(folder, verdict.scores, verdict.selected)),
        ("selection", "Selection", selection_blocks(verdict)),
        ("media", "Episodes to watch", _media(folder, beside)),
        ("configuration", "Configuration", configuration_blocks(folder)),
    ]
    if alone:
        shown = [Section(f"{key}-problems", "What could not be read", 1, problems)] if problems else []
        return [*shown, *run_sections(key, 1, parts)]
    head = [blocks.text(" · ".join(_facts(folder)), "soft"), *problems]
    return [Section(key, folder.name, 1, head, opens_run=True), *run_sections(key, 2, parts)]


def _media(folder: Folder, beside: Path) -> list[Markup]:
    """Animations in frames of their own and films; what would make the page too heavy is linked."""
    room, found = MEDIA_BYTES, []
    for file in (*folder.animations, *folder.videos):
        size = file.stat().st_size
        name = file.stem.replace("_", " ")
        if size > room:
            target = quote(os.path.relpath(file, beside).replace(os.sep, "/"))
            found.append(blocks.link(file.name, target, f"{size / 1e6:.1f} MB, a file of its own"))
            continue
        room -= size
        if file.suffix == ".html":
            found.append(blocks.frame(name.capitalize(), file.read_text(errors="replace")))
        else:
            source = "data:video/mp4;base64," + base64.b64encode(file.read_bytes()).decode()
            found.append(blocks.video(name, source, f"{size / 1e6:.1f} MB"))
    if found:
        return found
    return [blocks.missing("No episode was filmed. To film some:", command("evaluate", folder, "--video 3"))]

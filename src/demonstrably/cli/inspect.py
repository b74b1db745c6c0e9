"""`demonstrably inspect FILE`: what is in a file of demonstrations, and what is wrong with it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from demonstrably.cli import parse
from demonstrably.data import formats
from demonstrably.data.findings import inspect
from demonstrably.data.notes import Finding, Findings
from demonstrably.data.wording import counted, listed
from demonstrably.training.files import write_json

COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
QUANTILES = ("mean", "minimum", "first_quartile", "median", "third_quartile", "maximum")
WIDTH = 110  # of a page that is no terminal


@dataclass(frozen=True)
class Options:
    """What is in a file of demonstrations, and what is wrong with it."""

    file: tyro.conf.Positional[Path]
    """File of demonstrations (robomimic HDF5)."""
    keys: tuple[str, ...] = ()
    """Observation keys to read; by default all."""
    mask: str | None = None
    """Read only the episodes of this filter key of the file."""
    where: str | None = None
    """Look only at the episodes that fulfil a condition, such as "quality == 'expert' and length > 100"."""
    memory: Literal["auto", "resident", "mapped"] = "auto"
    """Where the data lives: in memory, mapped from a cache folder, or mapped only where it would not fit."""
    on_invalid: Literal["error", "drop"] = "error"
    """What an episode that cannot be used does: stop the reading, or be left out and reported."""
    save: Path | None = None
    """Also write the findings to this JSON file."""
    json: bool = False
    """Print one JSON document."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a description and the findings. Exit status 0 whatever they are, if the file can be read."""
    options = parse(Options, arguments, prog="demonstrably inspect")
    keys = options.keys or None
    needed = sum(formats.estimate(options.file, keys, options.mask).values())
    print(f"reading {options.file}: {size(needed)}", file=sys.stderr)
    demos = formats.load(
        options.file, keys=keys, mask=options.mask, memory=options.memory, on_invalid=options.on_invalid
    )
    findings = inspect(demos.select(options.where) if options.where else demos)
    if options.save:
        write_json(options.save, findings.to_dict())
    if options.json:
        print(json.dumps(findings.to_dict(), indent=2))
    else:
        show(findings, Console(file=sys.stdout))
    return 0


def size(count: int) -> str:
    """Bytes in a unit that suits them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def show(findings: Findings, console: Console) -> None:
    """Print the summary as tables, then the findings."""
    if not console.is_terminal:
        console.width = WIDTH
    summary = findings.summary
    console.print(Text(str(summary["path"]), style="bold"))
    for line in _facts(summary):
        console.print(Text(line), soft_wrap=True)
    console.print(_distribution_table(summary))
    console.print(_key_table(summary))
    for column, rows in summary["groups"].items():
        console.print(_group_table(column, rows))
    counts = [counted(number, severity) for severity, number in findings.counts.items() if number]
    console.print(Text(", ".join(counts) or "no findings", style="bold"))
    for finding in findings:
        console.print(_line(finding))


def _facts(summary: Mapping[str, Any]) -> list[str]:
    place = "mapped from the cache" if summary["mapped"] else "in memory"
    episodes, transitions = (
        counted(summary["episodes"], "episode"),
        counted(summary["transitions"], "transition"),
    )
    lines = [f"{episodes}, {transitions}, {size(summary['bytes'])} {place}"]
    environment = summary["environment"]
    if environment:
        arguments = ", ".join(f"{name}={value!r}" for name, value in environment["kwargs"].items())
        lines.append(f"environment {environment['name']}" + (f" ({arguments})" if arguments else ""))
    success = summary["success"]
    if success:
        lines.append(f"success {success['mean']:.2f}, {success['count']}/{success['episodes']}")
    lines.append(f"ended by termination in {summary['terminated']} of {episodes}, else by truncation")
    if summary["masks"]:
        masks = [f"{name} ({count})" for name, count in summary["masks"].items()]
        lines.append(f"masks: {listed(masks, 12)}")
    return [*lines, f"columns: {', '.join(summary['columns'])}"]


def _distribution_table(summary: Mapping[str, Any]) -> Table:
    table = _table("", *(name.replace("_", " ") for name in QUANTILES))
    for name, title in (("lengths", "length"), ("return", "return")):
        values = summary[name]
        if values:
            table.add_row(title, *(f"{values[one]:.5g}" for one in QUANTILES))
    return table


def _key_table(summary: Mapping[str, Any]) -> Table:
    table = _table("key", "shape", "type", "range", "constant", "memory", "read by default")
    for name, key in summary["keys"].items():
        known = key["minimum"] is not None
        table.add_row(
            escape(name),
            _shape(key["shape"]),
            key["dtype"],
            f"{key['minimum']:.4g} to {key['maximum']:.4g}" if known else "",
            f"{key['constant']} dimensions" if key["constant"] else "",
            size(key["bytes"]),
            "yes" if key["default"] else "no",
        )
    action = summary["action"]
    if action["kind"] == "discrete":
        table.add_row("actions", "", "choice", f"0 to {action['count'] - 1}")
    else:
        bounds = f"{min(action['low']):.4g} to {max(action['high']):.4g}"
        table.add_row("actions", _shape([len(action["low"])]), "float32", bounds)
    return table


def _shape(extents: Sequence[int]) -> str:
    return " x ".join(str(extent) for extent in extents)


def _group_table(column: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(column, "episodes", "mean return", "success")
    for row in rows:
        earned = "" if row["return"] is None else f"{row['return']:.5g}"
        success = "" if row["success"] is None else f"{row['success']:.2f}"
        table.add_row(escape(str(row["value"])), str(row["episodes"]), earned, success)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, title in enumerate(titles):
        table.add_column(title, justify="left" if index == 0 else "right")
    return table


def _line(finding: Finding) -> Text:
    text = Text()
    text.append(f"{finding.severity} ", style=COLORS[finding.severity])
    text.append(f"{finding.kind}: ", style="bold")
    text.append(f"{finding.where}: " if finding.where else "")
    text.append(finding.message)
    text.append(f" {finding.advice}" if finding.advice else "", style="dim")
    return text

"""`demonstrably report RUN...`: write one HTML file that tells what the runs found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from demonstrably.cli import parse


@dataclass(frozen=True)
class Options:
    """Write one self-contained HTML file about one run, or about several side by side."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    out: Path | None = None
    """File to write; by default report.html in the run's folder, or in the folder that holds all runs."""
    json: bool = False
    """Print where it is as JSON."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and print its path."""
    options = parse(Options, arguments, prog="demonstrably report")
    from demonstrably.report import write  # templates and statistics that `--help` does not need

    path = write(options.runs, options.out).resolve()
    print(json.dumps({"report": str(path), "bytes": path.stat().st_size}) if options.json else path)
    return 0

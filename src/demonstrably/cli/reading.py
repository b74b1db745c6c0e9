"""Reading the episodes that a command is asked to use."""

import sys
from pathlib import Path
from typing import Literal

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import load


def demonstrations(
    path: Path, *, where: str | None, episodes: int | None, on_invalid: Literal["error", "drop"]
) -> Demonstrations:
    """The file's episodes that fulfil a condition, the first so many of them. Says on stderr which were left out."""
    demos = load(path, on_invalid=on_invalid)
    for note in demos.notes:
        if note.kind == "dropped":
            print(f"left out: {note.message.partition(';')[0]}", file=sys.stderr, flush=True)
    demos = demos.select(where) if where else demos
    return demos if episodes is None else demos.select(range(min(episodes, len(demos))))

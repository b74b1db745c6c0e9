"""Progress of long work on standard error: a bar with rate and time left, or a plain line a minute."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 60.0  # seconds, where standard error is no terminal


class Bar:
    """A context manager; call `update` with what is done, what there is in all, and a note."""

    def __init__(self, title: str):
        self.title = title
        console = Console(stderr=True)
        self.rich = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self.rich = Progress(*columns, *times, console=console)
            self.task = self.rich.add_task(title, total=None, note="")
        self.began = self.last = time.monotonic()

    def __enter__(self) -> "Bar":
        if self.rich:
            self.rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.rich:
            self.rich.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Shows where the work stands."""
        if self.rich:
            self.rich.update(self.task, completed=done, total=total, note=note)
            return
        now = time.monotonic()
        if now - self.last < LINE_EVERY:
            return
        self.last = now
        left = (now - self.began) * (total - done) / max(1, done)
        print(f"{self.title}: {done} of {total}, about {left:.0f} s left  {note}".rstrip(), file=sys.stderr, flush=True)

"""A file that keeps answers as they come: JSON Lines, each on the disk before the next question is asked."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HEADER = "elicitation"  # the key of the first line


class Journal:
    """Lines of one elicitation. The first holds its settings; a last line that was cut short by a crash is dropped."""

    def __init__(self, path: str | Path, settings: Mapping[str, Any], free: str) -> None:
        """Opens or begins it. The setting named `free` may have changed.

        ValueError for a journal of other settings, or a broken one; OSError where it cannot be read or written.
        """
        self.path = Path(path)
        lines = self._read() if self.path.exists() else []
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._append({HEADER: dict(settings)})
        else:
            self._require_same(lines[0].get(HEADER), settings, free)
        self.lines = lines[1:]

    def write(self, record: Mapping[str, Any]) -> None:
        """Adds a line with the time, flushed to the disk."""
        self._append({**record, "time": datetime.now(UTC).isoformat(timespec="seconds")})

    def _append(self, record: Mapping[str, Any]) -> None:
        whole = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if self.path.exists():  # half a line, of a full disk for instance, would spoil the next one
                os.truncate(self.path, whole)
            raise

    def _read(self) -> list[dict[str, Any]]:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self.path, len(whole))
        lines = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                record = json.loads(line)
            except ValueError as error:  # of the text as of the JSON
                raise ValueError(f"{self.path} line {number} is no JSON: repair it, or give another file") from error
            if not isinstance(record, dict):
                raise ValueError(f"{self.path} line {number} is no journal's line: give another file")
            lines.append(record)
        return lines

    def _require_same(self, kept: Any, settings: Mapping[str, Any], free: str) -> None:
        if not isinstance(kept, dict):
            raise ValueError(f"{self.path} is no journal of an elicitation: give another file")
        changed = [key for key in settings if key != free and kept.get(key) != settings[key]]
        if changed:
            told = ", ".join(f"{key} {_short(kept.get(key))} there and {_short(settings[key])} here" for key in changed)
            raise ValueError(
                f"{self.path} is the journal of another elicitation ({told}): give another file for this one"
            )


def _short(value: Any) -> str:
    """A value in a message; of a digest the beginning."""
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:9]}...{text[-1]}"

"""Writing that leaves either the old contents or the new, whatever happens in between."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"  # a name that starts so was being written when something stopped it


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, a file or a folder, that takes its place when the block ends well.

    OSError names `path`, where the disk is full for instance.
    """
    temporary = path.with_name(f"{PARTIAL}{path.name}")
    with writing(path, "what stood there before is untouched"):
        _remove(temporary)
        try:
            yield temporary
            for written in [*sorted(temporary.rglob("*")), temporary]:
                _sync(written)
            if temporary.is_dir():
                _remove(path)
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            _remove(temporary)


@contextmanager
def writing(path: Path, rest: str) -> Iterator[None]:
    """Turns the system's errors in the block into ones that say what was not written, and how the `rest` stands."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path}: not written ({error.strerror or error}); {rest}") from error


def write_json(path: Path, values: dict[str, Any]) -> None:
    """JSON, written whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. ValueError names a file that is broken."""
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:  # of the text as of the JSON
        raise ValueError(f"{path} is not valid JSON ({error}): was it edited or cut short?") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no JSON object: was it edited?")
    return values


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

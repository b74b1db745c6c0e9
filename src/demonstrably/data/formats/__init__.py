"""The one way in and out of files. A format is a module with matches(path), load(path) and estimate(path)."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import robomimic
from demonstrably.data.formats.errors import FileError

__all__ = ["FORMATS", "FileError", "estimate", "load", "save"]

FORMATS = (robomimic,)

# First bytes of files that people give by mistake, and what to do with each.
SIGNATURES = (
    (
        b"PK\x03\x04",
        "a zip archive, such as .npz or a PyTorch file",
        "read the arrays with numpy and give them to Demonstrations.from_arrays",
    ),
    (b"\x93NUMPY", "a numpy array", "read it with numpy and give it to Demonstrations.from_arrays"),
    (b"PAR1", "Parquet", "read it with pyarrow and give the arrays to Demonstrations.from_arrays"),
    (b"ARROW1", "Arrow", "read it with pyarrow and give the arrays to Demonstrations.from_arrays"),
    (b"\x1f\x8b", "gzip", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unpack it first"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself",
        "fetch the file with git lfs pull",
    ),
)
PICKLE = tuple(bytes([0x80, version]) for version in (2, 3, 4, 5))
LISTED = 5


def load(
    path: Path | str,
    *,
    keys: Sequence[str] | None = None,
    mask: str | None = None,
    memory: Literal["auto", "resident", "mapped"] = "auto",
    on_invalid: Literal["error", "drop"] = "error",
) -> Demonstrations:
    """Demonstrations read from a file of any known format.

    `keys` are the observation keys to read (default: all), `mask` a filter key of the file whose episodes
    alone are read. `memory` is "resident", "mapped" (decompressed once into a cache folder, see
    `storage.cache_folder`), or "auto", which maps when the columns need more than half of the memory that
    is free. `on_invalid="drop"` leaves out episodes that cannot be used and says which in `notes`.

    Raises FileError, a ValueError, for content that cannot be used: the message names the file, the
    episode, the key and the step. Raises OSError for a file that cannot be opened.
    """
    found = existing(Path(path))
    return known_format(found).load(found, keys=_listed_keys(keys), mask=mask, memory=memory, on_invalid=on_invalid)


def save(demos: Demonstrations, path: Path | str) -> Path:
    """Write demonstrations as robomimic HDF5, whole or not at all; see `robomimic.save`."""
    return robomimic.save(demos, path)


def estimate(path: Path | str, keys: Sequence[str] | None = None, mask: str | None = None) -> dict[str, int]:
    """Bytes of memory that `load` will take, by observation key and column; the arrays are not read."""
    found = existing(Path(path))
    return known_format(found).estimate(found, _listed_keys(keys), mask)


def _listed_keys(keys: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(keys, str):
        raise ValueError(f"keys is {keys!r}; give a list, such as [{keys!r}]")
    if keys is not None and (not keys or len(set(keys)) < len(keys)):
        raise ValueError(f"keys is {list(keys)}; give each observation key once, and at least one")
    return None if keys is None else tuple(keys)


def existing(path: Path) -> Path:
    """The path, if it is a file.

    Raises FileNotFoundError with a near name, or IsADirectoryError with what is inside.
    """
    if path.is_dir():
        inside = [one.name for one in sorted(path.iterdir()) if one.suffix in robomimic.SUFFIXES]
        listed = ", ".join(inside[:LISTED]) if inside else "none with the ending .hdf5"
        raise IsADirectoryError(f"{path} is a folder; give a file (in it: {listed})")
    if path.is_file():
        return path
    if path.exists():
        raise FileError(f"{path} is no plain file; give the path of a file")
    names = [one.name for one in sorted(path.parent.iterdir())] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"; did you mean {str(path.parent / close[0])!r}?" if close else "; check the path"
    raise FileNotFoundError(
        f"{path}: no such file{'' if path.parent.is_dir() else f' (nor the folder {path.parent})'}{hint}"
    )


def known_format(path: Path) -> Any:
    """The module that reads the file. Raises FileError saying what the file is instead."""
    for module in FORMATS:
        if module.matches(path):
            return module
    names = ", ".join(module.NAME for module in FORMATS)
    raise FileError(f"{path}: {_described(path)}. Formats read: {names}")


def _described(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        return "the file is empty; record or copy it again"
    if head[:2] in PICKLE:
        return (
            "a pickle, which is refused because reading a pickle runs whatever code it holds; where you "
            "trust it, unpickle it yourself and give the arrays to Demonstrations.from_arrays"
        )
    for signature, name, advice in SIGNATURES:
        if head.startswith(signature):
            return f"{name}; {advice}"
    if path.suffix in robomimic.SUFFIXES:
        return "no HDF5 signature, so the file is damaged or is something else; copy or download it again"
    return f"an unknown format (it begins with {head[:8]!r}); convert it, or use Demonstrations.from_arrays"

"""Opening and reading HDF5 so that every fault becomes one line that names the file."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5s, h5t

from demonstrably.data.arrays import stored_dtype
from demonstrably.data.formats.errors import FileError
from demonstrably.data.formats.heaps import require_readable

# What h5py and HDF5 raise on damaged files, found by fuzzing as well as documented.
FAULTS = (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError)
# DEFLATE cannot shrink below 1/1032; a dataset that claims more than this many times its file is damaged.
GREATEST_RATIO = 1100
SMALLEST_LIMIT = 2**20
DEEPEST = 8
METADATA_BYTES = 2**20
LONGEST_TEXT = 4096
LARGEST_ATTRIBUTE = 2**24  # bytes
PLAIN_TYPES = (h5t.TypeStringID, h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeEnumID)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; FileError where HDF5 cannot open it."""
    with damaged(str(path)):
        require_readable(path)
        file = h5py.File(path, "r")
        _limit_metadata(file)
    try:
        yield file
    finally:
        with damaged(str(path)):
            file.close()


def _limit_metadata(file: h5py.File) -> None:
    """Keep HDF5's cache of metadata small: a file is read once from front to back."""
    settings = file.id.get_mdc_config()
    settings.set_initial_size, settings.initial_size = True, METADATA_BYTES
    settings.min_size = settings.max_size = METADATA_BYTES
    file.id.set_mdc_config(settings)


@contextmanager
def damaged(where: str) -> Iterator[None]:
    """Turn the failures of h5py into a FileError that begins with `where`. Only reading belongs in such a block."""
    try:
        yield
    except FileError:
        raise
    except MemoryError as error:
        raise FileError(f"{where}: not enough memory; read fewer keys, or give memory='mapped'") from error
    except FAULTS as error:
        raise FileError(f"{where}: {_reason(error)}") from error


@contextmanager
def refused(where: str) -> Iterator[None]:
    """Put `where` in front of the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise FileError(f"{where}: {error}") from error


def _reason(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0].replace("\ufffd", "?")
    if "truncated file" in text:
        return f"the HDF5 file is cut short ({text}); copy or download it again"
    if "lock" in text:
        return f"another program holds the file open for writing ({text}); close it first"
    if isinstance(error, PermissionError):
        return "no permission to read it; change its access rights"
    kind = type(error).__name__
    return f"HDF5 cannot read it ({kind}: {text}); the file is damaged: copy or download it again"


def members(group: h5py.Group) -> list[str]:
    """Names of what a group holds, sorted."""
    return sorted(str(name) for name in group)


def datasets(group: h5py.Group, where: str, prefix: str = "", depth: int = 0) -> dict[str, h5py.Dataset]:
    """All datasets under a group by path inside it, nested groups flattened as "a/b"."""
    if depth > DEEPEST:
        raise FileError(f"{where}: groups are nested more than {DEEPEST} deep at {prefix!r}; is the file damaged?")
    found: dict[str, h5py.Dataset] = {}
    for name in members(group):
        if not name.isprintable():
            raise FileError(f"{where}: the name {prefix + name!r} cannot be printed; rename it")
        item = group[name]
        if isinstance(item, h5py.Dataset):
            found[prefix + name] = item
        elif isinstance(item, h5py.Group):
            found.update(datasets(item, where, f"{prefix}{name}/", depth + 1))
    return found


def child_group(parent: h5py.Group, name: str) -> h5py.Group | None:
    """The group of that name, or None where there is none."""
    item = parent.get(name)
    return item if isinstance(item, h5py.Group) else None


def child_dataset(parent: h5py.Group, name: str) -> h5py.Dataset | None:
    """The dataset of that name, or None where there is none."""
    item = parent.get(name)
    return item if isinstance(item, h5py.Dataset) else None


def require_plausible(dataset: h5py.Dataset, where: str, file_bytes: int) -> None:
    """FileError for a dataset that was never written, or whose claimed size its file cannot hold."""
    shape, dtype = dataset.shape, dataset.dtype  # each is asked of HDF5 anew
    if shape is None or dtype.kind not in "fiub":
        raise FileError(f"{where}: holds {dtype}, which is no number; store it as float32, uint8 or another integer")
    size = math.prod(shape) * dtype.itemsize
    never_written = size > 0 and not dataset.id.get_storage_size()
    too_large = size > SMALLEST_LIMIT + GREATEST_RATIO * file_bytes
    # Where the data lie, and how they are packed, takes long to ask: most need not be asked.
    if not (never_written or too_large) or dataset.is_virtual or dataset.external:
        return
    if never_written:
        raise FileError(f"{where}: was created with shape {shape} but never written; record or convert it again")
    if dataset.compression in (None, "gzip"):
        raise FileError(f"{where}: claims shape {shape}, {size} bytes, in a file of {file_bytes}; it is damaged")


def require_type(dataset: h5py.Dataset, target: np.ndarray, where: str) -> None:
    """FileError for bytes where real numbers are kept, or the other way round."""
    if stored_dtype(dataset.dtype) != target.dtype:
        raise FileError(f"{where}: has type {dataset.dtype} and others {target.dtype}; store all as one type")


def read_into(dataset: h5py.Dataset, target: np.ndarray) -> None:
    """Fill `target`, contiguous and of the dataset's size, converting the type without a copy in between."""
    shaped = target.reshape(dataset.shape)
    if dataset.dtype.kind == "b":
        shaped[...] = dataset[...]
    else:
        dataset.id.read(h5s.ALL, h5s.ALL, shaped)  # what read_direct does, without its selections


def scalars(item: h5py.Group) -> dict[str, bool | int | float | str]:
    """The attributes that are one bool, number or short text, as plain Python values."""
    found = {}
    for name in item.attrs:
        if isinstance(name, str) and name.isprintable():
            value = plain(attribute(item, name))
            if value is not None:
                found[name] = value
    return found


def attribute(item: h5py.Group, name: str) -> Any:
    """An attribute of texts, numbers or flags; None where there is none, or one of another type.

    Other types are not even read: a damaged one can crash HDF5.
    """
    if name not in item.attrs:
        return None
    found = item.attrs.get_id(name)
    kind = found.get_type()
    if not isinstance(kind, PLAIN_TYPES) or found.shape is None:
        return None
    if int(np.prod(found.shape, dtype=object)) * kind.get_size() > LARGEST_ATTRIBUTE:
        return None
    return item.attrs[name]


def plain(value: Any, longest: int | None = LONGEST_TEXT) -> bool | int | float | str | None:
    """A plain Python value of an HDF5 attribute, or None for arrays, too long texts and other things."""
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
        return value if longest is None or len(value) <= longest else None
    return value if isinstance(value, bool | int | float) else None

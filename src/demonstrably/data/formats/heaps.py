"""A guard against HDF5 files on which the HDF5 library itself never returns.

Texts of variable length lie in global heap collections (HDF5 File Format Specification 3.0, section III.E).
HDF5 up to 2.0 walks a collection by the sizes written in it, and loops for ever at a free-space object of
size 0, as a block of zeros in a half-copied file makes. Such files are found here by the same walk, and
then opened in another process, which can be stopped.
"""

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from demonstrably.data.formats.errors import FileError

SIGNATURE = b"GCOL\x01\x00\x00\x00"
HEADER = OBJECT = 16  # bytes of a collection's header, and of the header of an object in it
BLOCK = 2**20
MOST_COLLECTION = 2**26  # of a collection that is walked
MOST_BYTES = 2**30  # larger files are not searched: it would take as long as reading them
SECONDS = 10

# Reads every attribute and every text of the file, as loading does.
PROBE = """
import sys, h5py
def visit(name, item):
    [item.attrs[key] for key in item.attrs]
    if isinstance(item, h5py.Dataset) and item.dtype.kind == "O":
        item[()]
with h5py.File(sys.argv[1], "r") as file:
    file.visititems(visit)
"""


def require_readable(path: Path) -> None:
    """Raise FileError for a file on which HDF5 would hang."""
    if path.stat().st_size > MOST_BYTES or not _suspicious(path):
        return
    command = [sys.executable, "-c", PROBE, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode >= 0
    except subprocess.TimeoutExpired:
        done = False
    if not done:
        raise FileError(f"{path}: HDF5 fails to read its texts; the file is damaged: copy or download it again")


def _suspicious(path: Path) -> bool:
    """Whether a global heap collection holds an object at which HDF5 would walk on the spot."""
    with open(path, "rb") as file:
        return any(_walks_on_the_spot(file, start) for start in list(_collections(file)))


def _collections(file: BinaryIO) -> Iterator[int]:
    """Where global heap collections begin. Read in blocks: a map of the file would count as memory taken."""
    place, tail = 0, b""
    while block := file.read(BLOCK):
        data = tail + block
        found = data.find(SIGNATURE)
        while found >= 0:
            yield place - len(tail) + found
            found = data.find(SIGNATURE, found + 1)
        place += len(block)
        tail = data[-(len(SIGNATURE) - 1) :]


def _walks_on_the_spot(file: BinaryIO, start: int) -> bool:
    file.seek(start + len(SIGNATURE))
    size = int.from_bytes(file.read(8), "little")
    data = file.read(min(size, MOST_COLLECTION) - HEADER) if size > HEADER else b""
    place = 0
    while place + OBJECT <= len(data):
        index, _, _, length = struct.unpack_from("<HHIQ", data, place)
        step = (length if index == 0 else OBJECT + (length + 7) // 8 * 8) % 2**64
        if step == 0:
            return True
        place += step
    return False

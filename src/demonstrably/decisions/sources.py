"""Where a table of decisions comes from: CSV and parquet files, frames, arrays. All become Arrow columns.

Only the columns that were asked for are read from a file, so that what is not needed, names of people above all, never
enters memory.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from demonstrably.data.wording import nearest

CSV_ENDINGS = (".csv", ".csv.gz", ".csv.bz2", ".tsv", ".tsv.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
DELIMITERS = (",", ";", "\t", "|")
_ROW = re.compile(r"(got \d+):.*")  # Arrow quotes the whole row, which may name people


@runtime_checkable
class ArrowStream(Protocol):
    """A frame that hands itself over as Arrow columns, as pandas and polars do (Arrow PyCapsule interface)."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The stream of columns."""
        ...


class Source:
    """Column names, and a way to read some columns; `name` is what errors call it."""

    def __init__(self, name: str, columns: Sequence[str], read: Callable[[list[str]], pa.Table]):
        self.name, self.columns = name, tuple(columns)
        self._read = read

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The columns, each once. Raises ValueError for one that is not there, and for an empty table."""
        for column in columns:
            if column not in self.columns:
                raise ValueError(f"{self.name} has no column {column!r}{nearest(column, self.columns)}")
        table = self._read(list(dict.fromkeys(columns)))
        if not table.num_rows:
            raise ValueError(f"{self.name} has a header but no rows; give a table with one row a decision")
        return table


def open_source(source: Any) -> Source:
    """What a user gave, ready to be read.

    Raises ValueError for a file that is missing, damaged or of no known kind, and for what is neither file nor table.
    """
    if isinstance(source, str | Path):
        return _file(Path(source))
    if isinstance(source, Mapping):
        return _arrays(source)
    if isinstance(source, pa.Table):
        return Source("the table", source.column_names, lambda columns: _picked(source, columns, "the table"))
    if isinstance(source, ArrowStream):
        return _frame(source)
    raise ValueError(
        f"cannot read decisions from {type(source).__name__}; give a path to a .csv or .parquet file, a pandas or "
        "polars frame, or a dict of arrays"
    )


def _file(path: Path) -> Source:
    if not path.exists():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ValueError(f"there is no file {path}{nearest(path.name, sorted(beside))}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give one .csv or .parquet file")
    if path.name.lower().endswith(PARQUET_ENDINGS):
        with _readable(path):
            names = parquet.read_schema(path).names
        return Source(str(path), names, lambda columns: _parquet(path, columns))
    if path.name.lower().endswith(CSV_ENDINGS):
        return _csv(path)
    raise ValueError(f"{path}: cannot tell what this is; give a file that ends in {', '.join(CSV_ENDINGS)} or .parquet")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns a damaged file into one line that names it."""
    try:
        yield
    except UnicodeDecodeError:
        raise ValueError(_not_utf8(path)) from None
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason = _ROW.sub(r"\1", reason)
        raise ValueError(f"{path} cannot be read: {reason}; is it whole, and what its name says it is?") from None


def _parquet(path: Path, columns: list[str]) -> pa.Table:
    with _readable(path):
        return parquet.read_table(path, columns=columns)


def _csv(path: Path) -> Source:
    """A CSV whose columns are parted by what parts its first line most."""
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; give a table with a header and one row a decision")
    with _readable(path), pa.input_stream(str(path)) as stream:
        first = stream.read(1 << 16).split(b"\n", 1)[0].decode("utf-8-sig")
    parse = csv.ParseOptions(delimiter=max(DELIMITERS, key=first.count), newlines_in_values=True)
    with _readable(path):
        names = csv.open_csv(path, parse_options=parse).schema.names
    doubled = {name for name in names if names.count(name) > 1}
    return Source(str(path), list(dict.fromkeys(names)), lambda columns: _csv_columns(path, parse, columns, doubled))


def _csv_columns(path: Path, parse: csv.ParseOptions, columns: list[str], doubled: set[str]) -> pa.Table:
    for name in columns:
        if name in doubled:
            _same_twice(path, parse, name)
    convert = csv.ConvertOptions(include_columns=columns, strings_can_be_null=True)
    with _readable(path):
        table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    for name in table.column_names:
        if pa.types.is_binary(table[name].type):
            raise ValueError(_not_utf8(path))
    return table


def _same_twice(path: Path, parse: csv.ParseOptions, name: str) -> None:
    """Refuses a column that a file has twice, with different values."""
    with _readable(path):
        names = csv.open_csv(path, parse_options=parse).schema.names
        unique = [f"{number} {one}" for number, one in enumerate(names)]
        both = [new for new, old in zip(unique, names, strict=True) if old == name]
        read = csv.ReadOptions(column_names=unique, skip_rows=1)
        convert = csv.ConvertOptions(include_columns=both, strings_can_be_null=True)
        table = csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    if any(not table[both[0]].equals(table[other]) for other in both[1:]):
        raise ValueError(f"{path} has several columns {name!r} that differ; give each its own name")


def _not_utf8(path: Path) -> str:
    return f"{path} is not UTF-8 text; save it as UTF-8, or read it yourself and give the frame"


def _arrays(source: Mapping[Any, Any]) -> Source:
    columns = {str(name): np.asarray(values) for name, values in source.items()}
    lengths = {name: values.shape for name, values in columns.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        shown = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise ValueError(f"the arrays have shapes {shown}; give one value a row in each")
    return Source("the dict", list(columns), lambda names: pa.table({name: _array(columns[name]) for name in names}))


def _array(values: np.ndarray) -> pa.Array:
    """An Arrow column; of mixed Python values, their text."""
    try:
        return pa.array(values.tolist() if values.dtype == object else values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if one is None or one != one else str(one) for one in values.tolist()], pa.string())


def _frame(source: ArrowStream) -> Source:
    try:
        table = pa.table(source)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the frame cannot be read: {reason}; give each column one type, numbers or text") from None
    return Source("the frame", table.column_names, lambda columns: _picked(table, columns, "the frame"))


def _picked(table: pa.Table, columns: list[str], name: str) -> pa.Table:
    for column in columns:
        if table.column_names.count(column) > 1:
            raise ValueError(f"{name} has several columns {column!r}; give each its own name")
    return table.select(columns)

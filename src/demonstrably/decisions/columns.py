"""One column at a time: whether it holds names of people, and its values as numbers or codes."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

MOST_LEVELS = 50  # distinct texts of a column that is used as categories
YES = ("1", "true", "yes", "y", "t", "1.0")
NO = ("0", "false", "no", "n", "f", "0.0")

# A column is personal where its name is one of these, ...
_WHOLE = {"name", "names", "first", "last", "middle", "dob", "person_name", "initials"}
# ... has one of these words, ...
_WORDS = {
    "surname", "surnames", "forename", "firstname", "lastname", "fullname", "nickname", "email", "phone", "telephone",
    "ssn", "dob", "birthdate", "birthday", "address", "street", "passport",
}  # fmt: skip
# ... or has "name" (or "birth") beside one of these.
_BESIDE = {
    "first", "last", "middle", "given", "family", "full", "maiden", "legal", "sur", "nick", "client", "person", "user",
    "defendant", "applicant", "patient", "customer", "employee", "judge", "officer", "doctor", "agent", "contact",
}  # fmt: skip
_PAIRS = ({"birth", "date"}, {"birth", "day"}, {"social", "security"}, {"e", "mail"}, {"cell", "number"})
# Labels of people that tell nobody who they are: a letter, a short number, "judge 3".
_PLAIN_LABEL = re.compile(r"[a-z]|((person|judge|officer|doctor|rater|worker|user|id|[a-z])[ _-]?)?\d{1,4}", re.I)


@dataclass(frozen=True, eq=False)
class Read:
    """A column as numbers with NaN, or as codes with -1, where the value is missing."""

    values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    names: tuple[str, ...] = ()

    @property
    def missing(self) -> Bool[np.ndarray, "n"]:
        """Which rows have no value that can be used."""
        return self.values < 0 if self.values.dtype.kind == "i" else ~np.isfinite(self.values)


def is_personal(column: str) -> bool:
    """Whether a column, by its name, holds names of people or what leads to them."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", column)
    words = set(re.split(r"[^a-z0-9]+", spaced.lower())) - {""}
    beside = ("name" in words or "birth" in words) and bool(words & _BESIDE)
    return "_".join(sorted(words)) in _WHOLE or bool(words & _WORDS) or beside or any(p <= words for p in _PAIRS)


def numbers(column: pa.ChunkedArray, name: str) -> Float[np.ndarray, "n"]:
    """The column as float64, NaN where missing. Raises ValueError for text and dates."""
    if not is_numeric(column.type):
        raise ValueError(f"column {name!r} holds {_kind(column)}; numbers are needed")
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column of that type can be read as numbers: integers, reals, decimals, booleans, nothing at all."""
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(test(kind) for test in tests)


def coded(column: pa.ChunkedArray, name: str) -> Read:
    """Codes in order of the labels (as numbers where they are), -1 where missing. Raises ValueError for lists."""
    entries = _entries(column, name)
    labels = [label_of(value) for value in entries.dictionary.to_pylist()]
    names = sorted(set(labels) - {""}, key=_number_first)
    rank = {label: code for code, label in enumerate(names)}
    code_of = np.array([rank.get(label, -1) for label in [*labels, ""]], np.int64)
    return Read(code_of[entries.indices.fill_null(len(labels)).to_numpy(zero_copy_only=False)], tuple(names))


def numbered(column: pa.ChunkedArray, name: str) -> Read:
    """Codes in order of appearance, -1 where missing, without names: quick for a million distinct cases."""
    entries = _entries(column, name)
    codes = entries.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = entries.dictionary.index("").as_py() if pa.types.is_string(entries.dictionary.type) else -1
    return Read(np.where(codes == empty, -1, codes))


def _entries(column: pa.ChunkedArray, name: str) -> Any:
    if pa.types.is_nested(column.type):
        raise ValueError(f"column {name!r} holds lists or records; give numbers or text")
    if pa.types.is_dictionary(column.type):
        return column.unify_dictionaries().combine_chunks()
    if pa.types.is_floating(column.type):  # NaN is a value to Arrow
        column = pa.chunked_array([pa.array(column.to_numpy(), from_pandas=True)])
    return column.combine_chunks().dictionary_encode()


def label_of(value: Any) -> str:
    """How a value is written: trimmed text, 1.0 as "1", true and false in small letters, "" where missing."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def people(column: pa.ChunkedArray, name: str, word: str) -> Read:
    """Codes of people, named "person 1", ... by the `word`, unless their labels plainly name nobody."""
    if len(column.unique()) <= MOST_LEVELS and not is_personal(name):
        read = coded(column, name)
        if all(_PLAIN_LABEL.fullmatch(label) for label in read.names):
            return read
    read = numbered(column, name)
    return Read(read.values, tuple(f"{word} {number + 1}" for number in range(int(read.values.max(initial=-1)) + 1)))


def binary(column: pa.ChunkedArray, name: str, positive: str | int | float | bool | None, option: str) -> Read:
    """0 and 1, NaN where missing: 0/1, true/false, yes/no, or any two values of which `positive` counts as 1.

    Raises ValueError for other values, naming them and the `option` that settles it.
    """
    read = coded(column, name)
    known = {label: label.lower() in YES for label in read.names if label.lower() in YES + NO}
    if positive is not None:
        known = {label: label.lower() == label_of(positive).lower() for label in read.names}
        if not any(known.values()):
            raise ValueError(f"{option}={positive!r} does not occur in column {name!r}; it holds {_listed(read.names)}")
    if len(read.names) > 2 and (positive is not None or len(known) < len(read.names)):
        raise ValueError(f"column {name!r} holds {len(read.names)} values: {_listed(read.names)}; two are needed")
    if len(known) < len(read.names):
        raise ValueError(f"column {name!r} holds {_listed(read.names)}; say with {option} which of them counts as 1")
    value = np.append([float(known[label]) for label in read.names], np.nan)
    return Read(value[read.values.astype(np.int64)])


def _number_first(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return np.inf, label


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more


def _kind(column: pa.ChunkedArray) -> str:
    if pa.types.is_temporal(column.type):
        return "dates or times"
    first = next((str(value) for value in column.slice(0, 1000).to_pylist() if value is not None), "nothing")
    return f"{column.type}, for instance {first[:30]!r}"

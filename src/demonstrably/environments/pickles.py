"""Reads arrays, frames and plain containers out of a pickle without unpickling it.

A pickle is a program: `pickle.load` calls whatever the file names. Here the file's opcodes are read with
`pickletools`, which runs nothing, by a small stack machine that knows how to build lists, tuples, sets,
dictionaries, strings, numbers, NumPy arrays and pandas frames. A name in the file is a key into the tables
`_FUNCTIONS`, `_CLASSES` and `_ARGUMENTS` below and is never imported; a name outside them is refused.
pandas is not needed: a frame becomes a `Frame` of columns, so that files of a pandas long gone can be read
too (the block managers of pandas before 1.3).
"""

import pickletools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A pandas frame as its columns, each a read-only array of shape (rows,); the row index is dropped."""

    columns: Mapping[str, np.ndarray]


def read(path: str | Path) -> Any:
    """The one object that the pickle holds.

    Arrays come as NumPy arrays over the file's own bytes (read-only), frames as `Frame`.

    Raises:
        ValueError: the file names anything but arrays, frames and plain containers, or is damaged.
        OSError: the file cannot be read.
    """
    data = Path(path).read_bytes()
    machine = _Machine()
    try:
        for opcode, argument, _position in pickletools.genops(data):
            if opcode.name not in _OPERATIONS:
                raise _Refused(f"the operation {opcode.name}")
            _OPERATIONS[opcode.name](machine, argument)
        return machine.result()
    except _Refused as refusal:
        raise ValueError(
            f"{path}: refused, it asks for {refusal}; only arrays, frames and plain containers are read from "
            "a pickle (nothing in it was run)"
        ) from None
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(f"{path}: damaged or cut short ({error}); get the file again") from error


class _Refused(Exception):
    """The pickle asks for what is not admitted; the message names it."""


@dataclass(frozen=True)
class _Name:
    """A class or function that the pickle names. It is compared, never looked up."""

    full: str


class _Pending:
    """An object that the pickle has begun and whose state comes with BUILD."""

    def __init__(self, finish: Callable[[Any], Any]) -> None:
        self.finish = finish
        self.value: Any = None
        self.built = False


class _Machine:
    """The stack, the marks and the memo of a pickle that is being read."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.unbuilt = 0

    def pop(self, count: int) -> list[Any]:
        """The top `count` values, oldest first."""
        if count > len(self.stack):
            raise IndexError("the stack is empty")
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def pop_mark(self) -> list[Any]:
        """All values above the last mark."""
        values, self.stack = self.stack, self.marked.pop()
        return values

    def begin(self, finish: Callable[[Any], Any]) -> _Pending:
        self.unbuilt += 1
        return _Pending(finish)

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        value = self.memo[index]
        if isinstance(value, _Pending):
            if not value.built:
                raise ValueError("an object that holds itself")
            value = value.value
        self.stack.append(value)

    def name(self, full: str) -> None:
        if full not in _FUNCTIONS and full not in _CLASSES and full not in _ARGUMENTS:
            raise _Refused(full)
        self.stack.append(_Name(full))

    def call(self) -> None:
        """REDUCE: the function's own stand-in, never the function."""
        function, arguments = self.pop(2)
        if not isinstance(function, _Name) or function.full not in _FUNCTIONS:
            raise _Refused(f"a call of {_described(function)}")
        self.stack.append(_FUNCTIONS[function.full](self, *_checked(arguments, tuple)))

    def construct(self) -> None:
        """NEWOBJ: an empty object of an admitted class."""
        kind, arguments = self.pop(2)
        if not isinstance(kind, _Name) or kind.full not in _CLASSES:
            raise _Refused(f"an object of {_described(kind)}")
        if arguments != ():
            raise ValueError(f"{kind.full} made with arguments")
        self.stack.append(self.begin(_CLASSES[kind.full]))

    def build(self) -> None:
        """BUILD: finish the object below from the state on top."""
        pending, state = self.pop(2)
        if not isinstance(pending, _Pending):
            raise _Refused(f"a change of {_described(pending)}")
        pending.value = pending.finish(state)
        pending.built = True
        self.unbuilt -= 1
        self.stack.append(pending.value)

    def result(self) -> Any:
        (value,) = self.stack
        if self.marked or self.unbuilt:
            raise ValueError("an object was begun and not finished")
        _refuse_names(value)
        return value


def _refuse_names(value: Any) -> None:
    """Refuse a value that holds one of the admitted classes or functions itself, at any depth."""
    left, seen = [value], set()
    while left:
        item = left.pop()
        if isinstance(item, _Name):
            raise _Refused(f"{item.full} itself")
        if isinstance(item, list | tuple | dict | Frame | np.ndarray) and id(item) not in seen:
            seen.add(id(item))
            left.extend(_parts(item))


def _parts(holder: list[Any] | tuple[Any, ...] | dict[Any, Any] | Frame | np.ndarray) -> Iterable[Any]:
    """What a container, a frame or an array of objects holds."""
    if isinstance(holder, np.ndarray):
        return holder.ravel().tolist() if holder.dtype.kind == "O" else ()
    if isinstance(holder, Frame):
        return holder.columns.values()
    return holder.values() if isinstance(holder, dict) else holder


def _described(value: Any) -> str:
    return value.full if isinstance(value, _Name) else f"a {type(value).__name__}"


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"expected a {kind.__name__}, found {_described(value)}")
    return value


def _put(container: Any, items: Sequence[Any]) -> None:
    """Key, value, key, value, ... into a dictionary."""
    _checked(container, dict).update(zip(_keys(items[::2]), items[1::2], strict=True))


def _keys(items: Sequence[Any]) -> list[Any]:
    """The items, each a scalar: to hash deeply nested tuples would overflow the interpreter's own stack."""
    for item in items:
        if not isinstance(item, str | bytes | int | float | None):
            raise ValueError(f"a dictionary key or set member of type {type(item).__name__}")
    return list(items)


def _dtype(machine: _Machine, code: Any, *_flags: Any) -> _Pending:
    """numpy.dtype(code, align, copy), whose state holds the byte order."""
    if not re.fullmatch(r"[<>|=]?([biufcSU]\d{1,9}|O8?)", _checked(code, str)):
        raise _Refused(f"an array of type {code!r}")
    kind = np.dtype(object) if "O" in code else np.dtype(code)
    return machine.begin(lambda state: kind.newbyteorder(state[1]) if state[1] in ("<", ">") else kind)


def _reconstruct(machine: _Machine, kind: Any, *_empty: Any) -> _Pending:
    """numpy's own start of every array: an empty one, filled by its state."""
    if kind != _Name("numpy.ndarray"):
        raise _Refused(f"an array of class {_described(kind)}")
    return machine.begin(lambda state: _array(*_checked(state, tuple)[1:]))


def _array(shape: Any, dtype: Any, fortran: Any, data: Any) -> np.ndarray:
    """An array from its state: raw bytes, or a list of objects."""
    if not isinstance(dtype, np.dtype) or min(_checked(shape, tuple), default=0) < 0:
        raise ValueError(f"an array of shape {shape} and type {_described(dtype)}")
    if dtype.kind == "O":
        flat = np.empty(len(_checked(data, list)), object)
        flat[:] = data
    else:
        # Python 2 wrote bytes as strings.
        flat = np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, dtype)
    flat.flags.writeable = False
    return flat.reshape(shape, order="F" if fortran else "C")


def _from_buffer(_machine: _Machine, data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _array(shape, dtype, order == "F", data)


def _scalar(_machine: _Machine, dtype: Any, data: Any) -> Any:
    return _array((1,), dtype, False, data)[0]


def _index(_machine: _Machine, _kind: Any, values: Any) -> Any:
    """A pandas index: the array of its labels."""
    return _checked(_checked(values, dict)["data"], np.ndarray)


def _encoded(_machine: _Machine, text: Any, codec: Any = "utf-8", *_errors: Any) -> bytes:
    """How Python 3 writes bytes for Python 2: a string and the codec latin1."""
    if codec not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {codec!r}")
    return _checked(text, str).encode("latin-1")


def _columns(state: Any) -> dict[str, np.ndarray]:
    """Columns of a block manager: blocks of rows that share a type, and the column that each row is."""
    stored = _checked(state, tuple)[3]["0.14.1"]
    names = [_checked(name, str) for name in stored["axes"][0]]
    columns: dict[str, np.ndarray] = {}
    for block in stored["blocks"]:
        for place, row in zip(block["mgr_locs"], block["values"], strict=True):
            columns[names[place]] = _checked(row, np.ndarray)
    rows = len(stored["axes"][1])
    if set(columns) != set(names) or any(column.shape != (rows,) for column in columns.values()):
        raise ValueError(f"a frame of {rows} rows and columns {names} whose blocks do not match")
    return {name: columns[name] for name in names}


def _frame(state: Any) -> Frame:
    return Frame(_checked(_checked(state, dict)["_data"], dict))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    # Protocols before 3 write empty bytes so, and those before 4 sets.
    **dict.fromkeys(("builtins.bytes", "__builtin__.bytes"), lambda _machine: b""),
    **dict.fromkeys(("builtins.set", "__builtin__.set"), lambda _machine, items: set(_keys(items))),
    **dict.fromkeys(("builtins.frozenset", "__builtin__.frozenset"), lambda _machine, items: frozenset(_keys(items))),
    "_codecs.encode": _encoded,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "pandas.core.indexes.base._new_Index": _index,
}

# An object of these is made empty; its state makes it.
_CLASSES: dict[str, Callable[[Any], Any]] = {
    "pandas.core.frame.DataFrame": _frame,
    "pandas.core.internals.managers.BlockManager": _columns,
}

# Named only to be handed to the functions above.
_ARGUMENTS = {
    "numpy.ndarray",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.numeric.Int64Index",
    "pandas.core.indexes.numeric.UInt64Index",
    "pandas.core.indexes.numeric.Float64Index",
}


def _nothing(_machine: _Machine, _argument: Any) -> None:
    pass


def _push(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _argument: machine.stack.append(make())


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, _argument: machine.stack.append(tuple(machine.pop(count)))


def _gather(make: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    """Everything above the mark becomes one value."""

    def operation(machine: _Machine, _argument: Any) -> None:
        # First, for it puts back the stack below the mark.
        items = machine.pop_mark()
        machine.stack.append(make(items))

    return operation


def _mark(machine: _Machine, _argument: Any) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _fill(kind: type, put: Callable[[Any, list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    """Everything above the mark goes into the container below it."""

    def operation(machine: _Machine, _argument: Any) -> None:
        items = machine.pop_mark()
        put(_checked(machine.stack[-1], kind), items)

    return operation


def _append(machine: _Machine, _argument: Any) -> None:
    (item,) = machine.pop(1)
    _checked(machine.stack[-1], list).append(item)


def _set_item(machine: _Machine, _argument: Any) -> None:
    item = machine.pop(2)
    _put(machine.stack[-1], item)


def _named(machine: _Machine, argument: str) -> None:
    machine.name(argument.replace(" ", ".", 1))


def _named_by_stack(machine: _Machine, _argument: Any) -> None:
    module, name = machine.pop(2)
    machine.name(f"{_checked(module, str)}.{_checked(name, str)}")


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    _put(made, items)
    return made


_VALUES = (
    "INT LONG LONG1 LONG4 BININT BININT1 BININT2 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)

_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(_VALUES.split(), lambda machine, argument: machine.stack.append(argument)),
    "NONE": _push(lambda: None),
    "NEWTRUE": _push(lambda: True),
    "NEWFALSE": _push(lambda: False),
    "EMPTY_LIST": _push(list),
    "EMPTY_DICT": _push(dict),
    "EMPTY_SET": _push(set),
    "EMPTY_TUPLE": _push(tuple),
    "MARK": _mark,
    "TUPLE": _gather(tuple),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "LIST": _gather(list),
    "DICT": _gather(_dictionary),
    "FROZENSET": _gather(lambda items: frozenset(_keys(items))),
    "APPEND": _append,
    "APPENDS": _fill(list, list.extend),
    "SETITEM": _set_item,
    "SETITEMS": _fill(dict, _put),
    "ADDITEMS": _fill(set, lambda container, items: container.update(_keys(items))),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, index: machine.remember(index)),
    "MEMOIZE": lambda machine, _argument: machine.remember(len(machine.memo)),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, index: machine.recall(index)),
    "GLOBAL": _named,
    "STACK_GLOBAL": _named_by_stack,
    "REDUCE": lambda machine, _argument: machine.call(),
    "NEWOBJ": lambda machine, _argument: machine.construct(),
    "BUILD": lambda machine, _argument: machine.build(),
}

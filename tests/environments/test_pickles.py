"""The reader of pickles: what it admits, what it refuses, and that nothing a file names is run."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demonstrably.environments import pickles

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pickles") / "file.pickle"


def read(place: Path, data: bytes) -> Any:
    place.write_bytes(data)
    return pickles.read(place)


def body(value: Any) -> bytes:
    """The operations that leave a value on the stack (protocol 2: no frames around them)."""
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def new(module: str, name: str, state: bytes) -> bytes:
    return named(module, name) + b")\x81" + state + b"b"


def mapping(*items: bytes) -> bytes:
    return b"}(" + b"".join(items) + b"u"


def old_frame(blocks: list[dict[str, Any]] | None = None) -> bytes:
    """A frame as pandas before 1.3 wrote it; without `blocks` two of them, columns not in their order."""

    def index(labels: list[Any]) -> bytes:
        room = "pandas.core.indexes.base"
        values = body({"data": np.array(labels, object), "name": None})
        return call(named(room, "_new_Index"), named(room, "Index"), values)

    def block(values: np.ndarray, columns: list[int]) -> dict[str, np.ndarray]:
        return {"values": values, "mgr_locs": np.array(columns)}

    blocks = blocks or [
        block(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), [2, 0]),
        block(np.array([["x", "y", "z"]], object), [1]),
    ]
    axes = b"](" + index(["a", "b", "c"]) + index([7, 8, 9]) + b"e"
    stored = mapping(body("0.14.1"), mapping(body("axes"), axes, body("blocks"), body(blocks)))
    state = b"(" + body([]) + body([]) + body([]) + stored + b"t"
    manager = new("pandas.core.internals.managers", "BlockManager", state)
    kind = body("_typ") + body("dataframe")
    return new("pandas.core.frame", "DataFrame", mapping(body("_data"), manager, kind))


PLAIN = [
    None,
    True,
    -(2**70),
    0.5,
    "ø†",
    b"\x00\xff",
    [1, [2, (3,)]],
    {"a": {1: (1, 2, 3, 4)}, 2: [], None: ()},
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(place: Path, protocol: int) -> None:
    assert read(place, pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sets_come_back(place: Path, protocol: int) -> None:
    value = [{1, "b"}, frozenset({2.0}), b"", bytearray(b"x") if protocol == 5 else 0]
    assert read(place, pickle.dumps(value, protocol)) == value


ARRAYS = [
    np.arange(6, dtype=np.int8).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">f4"),
    np.array([True, False]),
    np.array(["a", "øø"]),
    np.array([b"ab", b"c"]),
    np.array([1 + 2j]),
    np.zeros((0, 4), np.float32),
    np.array(3.0),
    np.array([[1, "a"], [None, [2]]], object),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}-{array.ndim}")
def test_arrays_come_back(place: Path, array: np.ndarray, protocol: int) -> None:
    found, again, one = read(place, pickle.dumps([array, array, np.float32(1.5)], protocol))
    assert found.dtype == array.dtype and found.shape == array.shape and np.array_equal(found, array)
    assert again is found or np.array_equal(again, array)
    assert one == 1.5 and one.dtype == np.float32


def test_frames_of_old_pandas_come_back_as_columns(place: Path) -> None:
    frame = read(place, b"\x80\x02" + old_frame() + b".")
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame.columns["a"].tolist() == [4, 5, 6]
    assert frame.columns["b"].tolist() == ["x", "y", "z"]
    assert frame.columns["c"].tolist() == [1, 2, 3]


def test_what_is_shared_many_times_is_gone_through_once(place: Path) -> None:
    value = np.array([None, None], object)
    for _ in range(60):
        holder = np.empty(2, object)
        holder[:] = value, value
        value = holder
    assert read(place, pickle.dumps(value, 4)).shape == (2,)


def test_pandas_is_not_imported(place: Path) -> None:
    before = {name for name in sys.modules if name.partition(".")[0] == "pandas"}
    read(place, b"\x80\x02" + old_frame() + b".")
    assert before == {name for name in sys.modules if name.partition(".")[0] == "pandas"}


MARKER = "import pathlib; pathlib.Path({!r}).touch()"
REFUSED_CALLS = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "list"),
    ("__builtin__", "eval"),
    ("copyreg", "_reconstructor"),
    ("copyreg", "__newobj__"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("numpy.f2py.crackfortran", "myeval"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy", "ndarray.__reduce__"),
    ("numpy", "load"),
    ("pandas", "read_pickle"),
    ("pandas.core.frame", "DataFrame.to_csv"),
    ("_codecs", "decode"),
    ("antigravity", "webbrowser"),
]


@pytest.mark.parametrize(("module", "name"), REFUSED_CALLS)
@pytest.mark.parametrize("by_stack", [False, True], ids=["GLOBAL", "STACK_GLOBAL"])
def test_foreign_names_are_refused_by_name(place: Path, module: str, name: str, by_stack: bool) -> None:
    marker = place.with_name("was_run")
    function = body(module) + body(name) + b"\x93" if by_stack else named(module, name)
    data = b"\x80\x04" + call(function, body(MARKER.format(str(marker)))) + b"."
    with pytest.raises(ValueError, match="refused") as raised:
        read(place, data)
    assert f"{module}.{name}" in str(raised.value) and str(place) in str(raised.value)
    assert not marker.exists() and "antigravity" not in sys.modules


class Shell:
    def __reduce__(self) -> Any:
        return __import__("os").system, ("false",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_that_runs_a_command_is_refused(place: Path, protocol: int) -> None:
    with pytest.raises(ValueError, match=r"posix\.system"):
        read(place, pickle.dumps({"data": [np.arange(3), Shell()]}, protocol))


DTYPE = named("numpy", "dtype")
RECONSTRUCT = named("numpy._core.multiarray", "_reconstruct")
NDARRAY = named("numpy", "ndarray")
FLOAT = call(DTYPE, body("f8"), body(False), body(True)) + body((3, "<", None, None, None, -1, -1, 0)) + b"b"


OBJECT = call(DTYPE, body("O8"), body(False), body(True)) + body((3, "|", None, None, None, -1, -1, 63)) + b"b"


def array(state: bytes) -> bytes:
    return call(RECONSTRUCT, NDARRAY, body((0,)), body(b"b")) + state + b"b"


FRAME = named("pandas.core.frame", "DataFrame")
INDEX = named("pandas.core.indexes.base", "Index")

# What the message says, and the operations that lead to it.
REFUSED_OPERATIONS = {
    "a call of a list": body([]) + b")R",
    "a call of numpy.ndarray": NDARRAY + b")R",
    "a call of pandas.core.frame.DataFrame": FRAME + b")R",
    "an object of numpy._core.multiarray._reconstruct": RECONSTRUCT + b")\x81",
    "a change of numpy._core.multiarray._reconstruct": RECONSTRUCT + body({"__doc__": "x"}) + b"b",
    "a change of pandas.core.frame.DataFrame": FRAME + body({"x": 1}) + b"b",
    "a change of a list": body([]) + body({"append": 1}) + b"b",
    "numpy.ndarray itself": NDARRAY,
    "numpy.dtype itself": b"](" + body(1) + DTYPE + b"e",
    "pandas.core.frame.DataFrame itself": b"}" + body("a") + b"(" + FRAME + b"ts",
    "pandas.core.indexes.base.Index itself": array(
        b"(" + body(1) + body((1,)) + OBJECT + body(False) + b"](" + INDEX + b"et"
    ),
    "os.system": b"](" + named("os", "system") + b"e",
    "the operation INST": b"(ios\nsystem\n",
    "the operation OBJ": b"(" + DTYPE + b"o",
    "the operation EXT1": b"\x82\x01",
    "the operation PERSID": b"Pname\n",
    "the operation BINPERSID": body("name") + b"Q",
    "the operation NEWOBJ_EX": NDARRAY + b")}\x92",
    "the operation DUP": body(1) + b"2",
    "the operation NEXT_BUFFER": b"\x97",
    "the codec 'rot13'": call(named("_codecs", "encode"), body("x"), body("rot13")),
    "an array of class pandas.core.indexes.base.Index": call(RECONSTRUCT, INDEX, body((0,)), body(b"b")),
    **{
        f"an array of type {code!r}": call(DTYPE, body(code), body(False), body(True))
        for code in ("V8", "M8[s]", "i4,i4", "(9,9)f8", "O4", "f")
    },
}


@pytest.mark.parametrize("words", REFUSED_OPERATIONS)
def test_other_operations_are_refused(place: Path, words: str) -> None:
    with pytest.raises(ValueError, match="refused") as raised:
        read(place, b"\x80\x04" + REFUSED_OPERATIONS[words] + b".")
    assert words in str(raised.value)


DAMAGED = {
    "too few bytes": array(b"(" + body(1) + body((2,)) + FLOAT + body(False) + body(b"x" * 8) + b"t"),
    "unfinished": call(RECONSTRUCT, NDARRAY, body((0,)), body(b"b")),
    "unfinished inside": b"](" + call(RECONSTRUCT, NDARRAY, body((0,)), body(b"b")) + b"e",
    "holds itself": call(RECONSTRUCT, NDARRAY, body((0,)), body(b"b"))
    + b"r\x00\x01\x00\x00("
    + body(1)
    + body((1,))
    + OBJECT
    + body(False)
    + b"](j\x00\x01\x00\x00etb",
    "frame made with arguments": old_frame().replace(b")\x81", body((1,)) + b"\x81", 1),
    "empty stack": b"R",
    "no mark": b"t",
    "two values": body(1) + body(2),
    "memo of nothing": b"h\x09",
    "negative shape": array(b"(" + body(1) + body((-1,)) + FLOAT + body(False) + body(b"x" * 8) + b"t"),
    "list as key": b"}" + body([]) + body(1) + b"s",
    "frame of a list": FRAME + b")\x81" + body([]) + b"b",
    "frame of lists": old_frame([{"values": [[1, 2, 3]] * 3, "mgr_locs": np.arange(3)}]),
    "frame without blocks": new("pandas.core.frame", "DataFrame", mapping(body("_data"), body([1]))),
    "key of nested tuples": b"}" + body(()) + b"\x85" * 100_000 + body(1) + b"s",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_files_are_told(place: Path, what: str) -> None:
    with pytest.raises(ValueError, match="damaged or cut short") as raised:
        read(place, b"\x80\x04" + DAMAGED[what] + b".")
    assert str(place) in str(raised.value)


@pytest.mark.parametrize("data", [pickle.dumps([PLAIN, *ARRAYS], 4), b"\x80\x02" + old_frame() + b"."])
def test_a_file_cut_anywhere_is_told(place: Path, data: bytes) -> None:
    for length in range(0, len(data), 7):
        with pytest.raises(ValueError, match="damaged or cut short"):
            read(place, data[:length])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_changed_bytes_give_a_value_or_a_clear_error(place: Path, edits: list[tuple[float, int]]) -> None:
    whole = pickle.dumps([PLAIN, *ARRAYS], 4) if edits[0][1] % 2 else b"\x80\x02" + old_frame() + b"."
    data = bytearray(whole)
    for where, byte in edits:
        data[int(where * len(data))] = byte
    try:
        read(place, bytes(data))
    except ValueError as error:
        assert str(place) in str(error)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pickles.read(tmp_path / "none.pickle")

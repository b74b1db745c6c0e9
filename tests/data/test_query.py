"""Queries: what they choose, how missing values count, what they refuse."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demonstrably.data.query import matching

TABLE = pa.table(
    {
        "quality": pa.array(["good", "bad", None, "good"]),
        "length": pa.array([10, 20, 30, 40]),
        "return": pa.array([1.5, None, -2.0, float("nan")]),
        "success": pa.array([True, False, None, True]),
    }
)
MASKS = {"train": np.array([True, True, False, False]), "length": np.zeros(4, bool)}


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ("quality == 'good'", [0, 3]),
        ("quality != 'good'", [1]),
        ("not quality == 'good'", [1]),
        ("quality is None", [2]),
        ("quality is not None and length < 40", [0, 1]),
        ("quality in ['bad', 'worse']", [1]),
        ("quality not in ('bad',)", [0, 3]),
        ("success", [0, 3]),
        ("not success", [1]),
        ("success == True", [0, 3]),
        ("success or length == 30", [0, 2, 3]),
        ("success and quality == 'good'", [0, 3]),
        ("10 < length <= 30", [1, 2]),
        ("length / 4 > 4", [1, 2, 3]),
        ("(length - 10) * 2 + 5 >= 45", [2, 3]),
        ("length >= 1.5e1", [1, 2, 3]),
        ("-length < -25", [2, 3]),
        ("train", [0, 1]),
        ("train and success", [0]),
        ("length == 10", [0]),  # the column, not the mask of that name
        ("quality == 'bad' or quality is None", [1, 2]),
        ("  length == 10  ", [0]),
        ("1 < 2", [0, 1, 2, 3]),
        ("quality < 'c'", [1]),
        ("return > 1", [0]),
        ("return is None or quality == 'return'", [1]),
    ],
)
def test_chooses(query, chosen):
    assert np.flatnonzero(matching(TABLE, query, MASKS)).tolist() == chosen


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("qualitty == 'good'", "no column or mask 'qualitty'; did you mean 'quality'"),
        ("length ==", "cannot read the query"),
        ("", "cannot read the query"),
        ("not return", "return is a value .double., not a condition"),
        ("retrun > 1", "did you mean 'return'"),
        ("lambda > 1", "no column or mask 'lambda'"),
        ("length", "a value .int64., not a condition"),
        ("quality and success", "quality is a value .string., not a condition"),
        ("quality == None", "nothing equals None"),
        ("quality is 'good'", "'is' is only for None"),
        ("length > 'a'", "compare columns with values of their own type"),
        ("quality in 'good'", "'in' wants a list"),
        ("quality in []", "'in' wants a list"),
        ("len(quality) > 3", r"'len\(quality\)' is not allowed"),
        ("quality.upper() == 'GOOD'", "is not allowed"),
        ("__import__('os').system('true')", "is not allowed"),
        ("length ** 9 > 1", "is not allowed"),
        ("(lambda: 1)() == 1", "cannot read the query"),
        ("length == 1j", "is not allowed"),
        ("length > " + "9" * 40, "query 'length"),
        ("not " * 400 + "success", None),
        ("-" * 1500 + "1 < 2", None),
        ("(" * 300 + "success" + ")" * 300, "cannot read the query"),
        ("success or " * 300 + "success", "characters; at most 2000"),
        ("length\x00 > 1", "cannot read the query|query"),
    ],
)
def test_refuses(query, message):
    if message is None:  # deep, but either answer is fine as long as it is one
        try:
            matching(TABLE, query, MASKS)
        except ValueError:
            pass
        return
    with pytest.raises(ValueError, match=message):
        matching(TABLE, query, MASKS)


NAMES = "quality length return success train None True".split()
SIGNS = "( ) == != < <= and or not in is [ ] , 'good' 3 -1 2.5 + * / . lambda :".split()
WORDS = st.sampled_from(NAMES + SIGNS)


@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_any_text_is_answered_or_refused(query):
    try:
        assert matching(TABLE, query, MASKS).shape == (4,)
    except ValueError as error:
        assert "\n" not in str(error)

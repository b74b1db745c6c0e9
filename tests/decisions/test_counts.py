"""Counts of departments and groups, from arrays and from tables."""

import json

import numpy as np
import pytest

from demonstrably.decisions.counts import count, counts_table


def test_counts_of_arrays():
    found = count(
        [1, 1, 0, 1, 1, 0],
        [1, 0, 1, np.nan, 1, np.nan],
        ["b", "a", "a", "a", "b", "b"],
        ["north", "north", "north", "south", "south", "south"],
    )
    assert (found.groups, found.departments) == (("a", "b"), ("north", "south"))
    assert found.n.tolist() == [[2, 1], [1, 2]] and found.s.tolist() == [[1, 1], [1, 1]]
    assert found.seen.tolist() == [[1, 1], [0, 1]] and found.h.tolist() == [[0, 1], [0, 1]]
    json.dumps(found.to_dict())


def test_without_departments_there_is_one():
    found = count([1, 1, 0], [1, 0, np.nan], [0, 1, 1])
    assert found.departments == ("all",) and found.n.tolist() == [[1, 2]]


def test_empty_cells_are_allowed_and_tables_need_no_names():
    found = counts_table([[5, 0], [4, 9]], [[2, 0], [1, 3]], [[1, 0], [0, 3]])
    assert found.groups == ("0", "1") and np.array_equal(found.seen, found.s)


@pytest.mark.parametrize(
    ("n", "s", "h", "message"),
    [
        ([[5, 5]], [[6, 2]], [[1, 1]], "more decided 1"),
        ([[5, 5]], [[3, 2]], [[1, 3]], "more hits .* department 0, group 1"),
        ([[5, 5]], [[3, 2]], [[-1, 1]], "cannot be negative"),
        ([[5, 5]], [[3, 0]], [[1, 0]], "group 1 has no decision 1"),
        ([[5]], [[3]], [[1]], "one group only"),
        ([[5, 5]], [[3, 2]], [[1], [1]], "expected"),
        ([5, 5], [[3, 2]], [[1, 1]], "departments x groups"),
        ([[5.5, 5]], [[3, 2]], [[1, 1]], "not whole"),
    ],
)
def test_bad_tables_are_refused(n, s, h, message):
    with pytest.raises(ValueError, match=message):
        counts_table(n, s, h)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="group has shape"):
        count([1, 0], [1, 0], [0, 1, 1])

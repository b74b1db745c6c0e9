"""Tables of decisions: every source, every coding, every row that is left out."""

import bz2
import datetime
import gzip
import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from demonstrably.decisions.columns import is_personal
from demonstrably.decisions.table import Decisions, read_decisions


def columns(n=120):
    """Decisions with all parts; plain Python values, so that every source can hold them."""
    random = np.random.default_rng(0)
    return {
        "released": [["no", "yes"][i] for i in random.integers(0, 2, n)],
        "race": [["north", "south"][i] for i in random.integers(0, 2, n)],
        "returned": [None if i % 3 == 0 else int(i % 2) for i in range(n)],
        "judge": [f"judge {i % 4}" for i in range(n)],
        "case": list(range(n)),
        "age": [20.0 + i % 50 for i in range(n)],
        "charge": [["F", "M", "X"][i % 3] for i in range(n)],
        "risk": [(i % 10) / 10 for i in range(n)],
        "county": [["Dade", "Lee"][i % 2] for i in range(n)],
        "Name": [f"Person {i}" for i in range(n)],
    }


PARTS = {
    "decision": "released", "group": "race", "outcome": "returned", "person": "judge", "case": "case",
    "features": ["age", "charge"], "posterior": "risk", "department": "county",
}  # fmt: skip


def as_source(kind, values, folder):
    """The columns as a source of one kind."""
    frame = pd.DataFrame(values)
    if kind == "dict":
        return {name: np.array(column, object) for name, column in values.items()}
    if kind == "pandas":
        return frame
    if kind == "polars":
        return pl.DataFrame(values)
    if kind == "arrow":
        return pa.table(values)
    path = folder / f"table{kind}"
    text = frame.to_csv(index=False, sep="\t" if kind == ".tsv" else ";" if kind == "-semicolons.csv" else ",")
    if kind == ".parquet":
        parquet.write_table(pa.table(values), path)
    elif kind == ".csv.gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == ".csv.bz2":
        path.write_bytes(bz2.compress(text.encode()))
    else:
        path.write_bytes(("\ufeff" if kind == "-mark.csv" else "").encode() + text.encode())
    return path


KINDS = ["dict", "pandas", "polars", "arrow", ".csv", ".csv.gz", ".csv.bz2", ".tsv", "-semicolons.csv", "-mark.csv",
         ".parquet"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same(kind, tmp_path):
    values = columns()
    read = read_decisions(as_source(kind, values, tmp_path), **PARTS)
    assert len(read) == read.rows == 120
    np.testing.assert_array_equal(read.decisions, [float(one == "yes") for one in values["released"]])
    np.testing.assert_array_equal(read.outcomes, np.array(values["returned"], float))
    assert read.group is not None and read.group.names == ("north", "south")
    assert [read.group.names[code] for code in read.group.codes] == values["race"]
    assert read.person is not None and read.person.names == ("judge 0", "judge 1", "judge 2", "judge 3")
    assert read.case is not None and len(np.unique(read.case.codes)) == 120 and read.case.names == ()
    assert read.department is not None and read.department.names == ("Dade", "Lee")
    assert read.feature_names == ("age", "charge=M", "charge=X")
    np.testing.assert_array_equal(read.features[:, 0], values["age"])
    np.testing.assert_array_equal(read.features[:3, 1:], [[0, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(read.posterior, values["risk"])
    assert read.score is None and read.excluded == ()
    assert [one.name for one in read.dropped] == ["Name"]
    assert read.seen is not None and not read.seen.complete


def test_prints_itself_and_becomes_json():
    read = read_decisions(columns(), **PARTS)
    assert "120 decisions of 120 rows of the dict" in str(read)
    assert "left out column Name: may name people, never read" in str(read)
    assert "Person 7" not in str(read) and "<pre>" in read._repr_html_()
    record = json.loads(json.dumps(read.to_dict()))
    assert record["groups"].keys() == {"north", "south"} and record["distinct"]["case"] == 120


def test_takes_rows():
    read = read_decisions(columns(), **PARTS)
    taken = read.take(np.arange(10))
    assert len(taken) == 10 and taken.group is not None and len(taken.group.codes) == 10
    assert taken.features.shape == (10, 3) and taken.score is None


def plain(**changed):
    """Forty rows in two groups, both decided both ways."""
    rows = 40
    base = {"d": [i % 2 for i in range(rows)], "g": ["a" if i < 20 else "b" for i in range(rows)]}
    return base | changed


class TestCoding:
    @pytest.mark.parametrize(
        "pair",
        [(0, 1), (False, True), (0.0, 1.0), ("0", "1"), ("no", "yes"), ("N", "Y"), ("False", "TRUE"), (" no", "yes ")],
    )
    def test_known_words(self, pair):
        read = read_decisions(plain(d=[pair[i % 2] for i in range(40)]), decision="d")
        np.testing.assert_array_equal(read.decisions, np.arange(40) % 2)

    @pytest.mark.parametrize(
        ("pair", "positive"),
        [(("deny", "approve"), "approve"), ((1, 2), 2), ((1.0, 2.0), 2), (("1", "2"), 2), (("yes", "no"), "no")],
    )
    def test_positive_says_which_is_one(self, pair, positive):
        read = read_decisions(plain(d=[pair[i % 2] for i in range(40)]), decision="d", positive=positive)
        np.testing.assert_array_equal(read.decisions, np.arange(40) % 2)

    def test_outcomes_have_their_own_positive(self):
        y = [["paid", "late"][i % 2] for i in range(40)]
        read = read_decisions(plain(y=y), decision="d", outcome="y", positive_outcome="late")
        np.testing.assert_array_equal(read.outcomes, np.arange(40) % 2)

    @pytest.mark.parametrize(
        ("values", "positive", "message"),
        [
            (["deny", "approve"], None, "'approve', 'deny'; say with positive which"),
            (["deny", "approve"], "yes", "positive='yes' does not occur in column 'd'; it holds 'approve', 'deny'"),
            (["deny", "approve", "wait"], "approve", "holds 3 values: 'approve', 'deny', 'wait'; two are needed"),
            ([0, 1, 2], None, "holds 3 values: '0', '1', '2'"),
            (["yes", "no", "maybe"], None, "holds 3 values"),
            ([1, 1], None, "every decision in column 'd' is 1: nothing shows where they turn"),
            ([None, None], None, "no row is left after leaving out 40 rows: decision 'd' is missing"),
        ],
    )
    def test_refuses(self, values, positive, message):
        with pytest.raises(ValueError, match=message):
            read_decisions(plain(d=[values[i % len(values)] for i in range(40)]), decision="d", positive=positive)

    def test_numbered_groups_are_in_order_of_number(self):
        group = [[10, 9, 100][i % 3] for i in range(90)]
        read = read_decisions({"d": np.arange(90) // 3 % 2, "g": group}, decision="d", group="g")
        assert read.group is not None and read.group.names == ("9", "10", "100")

    def test_pandas_categories_and_nullable_columns(self):
        frame = pd.DataFrame(plain())
        frame["g"] = frame["g"].astype("category")
        frame["y"] = pd.array([None, 1, 0, 1] * 10, "Int64")
        frame["x"] = pd.array([True, False, False, None] * 10, "boolean")
        read = read_decisions(frame, decision="d", group="g", outcome="y", features=["x"], minimum_group=1)
        assert read.group is not None and read.group.names == ("a", "b") and len(read) == 30
        assert read.outcomes is not None and np.isnan(read.outcomes).sum() == 10
        np.testing.assert_array_equal(read.features[:3, 0], [1, 0, 0])


class TestExclusions:
    def test_missing_values_are_counted_by_their_first_reason(self):
        d = [None if i == 3 else i % 2 for i in range(40)]
        x = [None if i in (3, 5) else float(i) for i in range(40)]
        z = [np.inf if i == 7 else float(-i) for i in range(40)]
        q = [None if i == 9 else 0.5 for i in range(40)]
        read = read_decisions(plain(d=d, x=x, z=z, q=q), decision="d", features=["x", "z"], posterior="q")
        assert [(one.count, one.reason) for one in read.excluded] == [
            (1, "decision 'd' is missing"),
            (1, "posterior 'q' is missing"),
            (1, "feature 'x' is missing or infinite"),
            (1, "feature 'z' is missing or infinite"),
        ]
        assert len(read) == 36 and np.isfinite(read.features).all()

    def test_missing_outcomes_stay(self):
        read = read_decisions(plain(y=[None, 1, 0, 1] * 10), decision="d", outcome="y")
        assert len(read) == 40 and read.outcomes is not None and np.isnan(read.outcomes).sum() == 10

    def test_missing_categories_are_left_out(self):
        read = read_decisions(plain(x=["a", "b", "", "a"] * 10), decision="d", features=["x"])
        assert read.excluded[0].count == 10 and read.feature_names == ("x=b",)

    def test_small_groups_are_left_out_and_counted(self):
        g = ["tiny" if i < 3 else "a" if i < 40 else "b" for i in range(80)]
        read = read_decisions({"d": np.arange(80) % 2, "g": g}, decision="d", group="g")
        assert read.group is not None and read.group.names == ("a", "b") and read.group.codes.min() == 0
        assert read.excluded[0].count == 3
        assert read.excluded[0].reason == "group 'tiny' has fewer than 20 rows, too few to compare"
        kept = read_decisions({"d": np.arange(80) % 2, "g": g}, decision="d", group="g", minimum_group=2)
        assert kept.group is not None and kept.group.names == ("a", "b", "tiny")

    def test_repeated_rows_of_a_person_and_case(self):
        """Rows 40 and 41 repeat rows 0 and 1; row 42 is the same person and case, decided otherwise, and stays."""
        rows = [*range(40), 0, 1, 2]
        values = {name: [column[i] for i in rows] for name, column in plain(p=[i % 5 for i in range(40)]).items()}
        values["c"] = rows
        values["d"][42] = 1 - values["d"][2]
        read = read_decisions(values, decision="d", person="p", case="c")
        assert [(one.count, one.reason) for one in read.excluded] == [(2, "repeats a row of the same person and case")]
        assert len(read_decisions(values, decision="d", person="p")) == 43
        assert len(read_decisions(values, decision="d", case="c")) == 43

    def test_unseen_outcomes_can_be_repeated_too(self):
        values = plain(p=[0] * 40, c=[0, 0] * 20, y=[None, None, 1.0, 0.0] * 10, d=[0, 0, 1, 1] * 10)
        read = read_decisions(values, decision="d", person="p", case="c", outcome="y")
        assert read.excluded[0].count == 37

    def test_one_group_is_no_comparison(self):
        with pytest.raises(ValueError, match="only the group 'a' after leaving out 3 rows: group 'b' has fewer"):
            read_decisions({"d": np.arange(40) % 2, "g": ["b"] * 3 + ["a"] * 37}, decision="d", group="g")

    @pytest.mark.parametrize(
        ("y", "message"), [([0] * 40, "every outcome in column 'y' is 0"), ([None] * 40, "every outcome .* is missing")]
    )
    def test_outcomes_must_be_of_both_kinds(self, y, message):
        with pytest.raises(ValueError, match=message):
            read_decisions(plain(y=y), decision="d", outcome="y")


class TestFeatures:
    def test_rest_takes_what_is_usable_and_tells_the_others(self):
        rows = 100
        values = {
            "d": [i % 2 for i in range(rows)],
            "id": list(range(rows)),
            "age": [float(i % 7) for i in range(rows)],
            "day": [datetime.date(2020, 1, 1)] * rows,
            "free text": [f"text {i}" for i in range(rows)],
            "constant": [1] * rows,
            "rare": [float(i) if i % 4 == 0 else None for i in range(rows)],
            "email": ["x"] * rows,
            "list": [[i] for i in range(rows)],
            "kind": [["u", "v"][i % 2] for i in range(rows)],
        }
        read = read_decisions(pa.table(values), decision="d", features="rest")
        assert read.feature_names == ("age", "kind=v")
        reasons = {one.name: one.reason for one in read.dropped}
        assert reasons.keys() == {"id", "day", "free text", "constant", "rare", "email", "list"}
        assert reasons["id"] == "it numbers the rows" and "dates" in reasons["day"]
        assert "100 different texts" in reasons["free text"] and "75% of its values" in reasons["rare"]

    @pytest.mark.parametrize(
        ("name", "values", "message"),
        [
            ("text", [f"text {i}" for i in range(60)], "60 different texts, more than 50"),
            ("day", [datetime.date(2020, 1, 1)] * 60, "dates or times"),
            ("flat", [1.0] * 60, "alike or missing"),
            ("surname", ["x", "y"] * 30, "holds names of people by its name; it cannot be a feature"),
        ],
    )
    def test_unusable_features_are_refused(self, name, values, message):
        with pytest.raises(ValueError, match=message):
            read_decisions(pa.table({"d": [0, 1] * 30, name: values}), decision="d", features=[name])

    def test_one_name_is_no_list(self):
        with pytest.raises(ValueError, match=r"give a list, \['age'\], or 'rest'"):
            read_decisions(plain(age=range(40)), decision="d", features="age")


class TestPrivacy:
    @pytest.mark.parametrize(
        "name",
        ["name", "Name", "first", "last", "surname", "given_name", "GivenName", "full name", "email", "E-Mail", "phone",
         "ssn", "home address", "dob", "date_of_birth", "birthDate", "defendant_name", "social security number"],
    )  # fmt: skip
    def test_personal_columns_are_known(self, name):
        assert is_personal(name)

    @pytest.mark.parametrize(
        "name",
        ["age", "department_name", "last_payment", "first_offense", "race", "score", "named", "charge", "days_late"],
    )
    def test_others_are_not(self, name):
        assert not is_personal(name)

    def test_names_of_people_become_numbers(self):
        names = ["Ann Lee", "Bob Ray"] * 20
        for column in ("judge", "judge_name"):
            read = read_decisions(plain(**{column: names}), decision="d", person=column)
            assert read.person is not None and read.person.names == ("person 1", "person 2")
        read = read_decisions(plain(officer_name=names), decision="d", department="officer_name")
        assert read.department is not None and read.department.names == ("department 1", "department 2")
        assert "Ann" not in repr(vars(read))

    def test_long_numbers_are_not_kept(self):
        read = read_decisions(plain(p=[123456789, 987654321] * 20), decision="d", person="p")
        assert read.person is not None and read.person.names == ("person 1", "person 2")

    @pytest.mark.parametrize("role", ["decision", "group", "outcome", "score", "posterior"])
    def test_personal_columns_play_no_other_part(self, role):
        with pytest.raises(ValueError, match=f"'surname' holds names of people by its name; it cannot be the {role}"):
            read_decisions(plain(surname=["x", "y"] * 20), **({"decision": "d"} | {role: "surname"}))

    def test_personal_columns_are_not_read_from_files(self, tmp_path):
        """The column of names holds what Arrow could not read as UTF-8; it is never looked at."""
        path = tmp_path / "t.csv"
        path.write_bytes(b"d,surname\n" + b"0,\xff\xfe\n1,\xff\xfe\n" * 20)
        assert len(read_decisions(path, decision="d", features=None)) == 40


class TestErrors:
    @pytest.mark.parametrize(
        ("values", "parts", "message"),
        [
            (plain(), {"decision": "e"}, "the dict has no column 'e'; there are: d, g"),
            (plain(decided=[0, 1] * 20), {"decision": "decides"}, "did you mean 'decided'"),
            (plain(), {"decision": "d", "group": "d"}, "column 'd' is given as decision and as group"),
            (plain(q=[0.5] * 39 + [1.5]), {"decision": "d", "posterior": "q"}, r"row 39 \(the first is 0\): 1.5 is no"),
            (plain(q=["high"] * 40), {"decision": "d", "posterior": "q"}, "for instance 'high'; numbers are needed"),
            (plain(g=range(40)) | {"h": [f"t{i}" for i in range(60)]}, {"decision": "d"}, "the arrays have shapes"),
            (plain(s=[f"t{i}" for i in range(40)]), {"decision": "d", "score": "s"}, "column 's' holds string"),
            ({"d": np.arange(60) % 2, "g": np.arange(60)}, {"decision": "d", "group": "g"}, "holds 60 values; groups"),
            ({"d": []}, {"decision": "d"}, "header but no rows"),
            (3, {"decision": "d"}, "cannot read decisions from int"),
            ([1, 2], {"decision": "d"}, "cannot read decisions from list"),
        ],
    )
    def test_names_what_is_wrong(self, values, parts, message):
        with pytest.raises(ValueError, match=message):
            read_decisions(values, **parts)

    def test_a_missing_file_names_its_neighbor(self, tmp_path):
        (tmp_path / "decisions.csv").write_text("d\n0\n1\n")
        with pytest.raises(ValueError, match="there is no file .*decision.csv; did you mean 'decisions.csv'"):
            read_decisions(tmp_path / "decision.csv", decision="d")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.csv", b"", "is empty"),
            ("t.csv", b"d,g\n", "header but no rows"),
            ("t.csv", b"d,g\n0,a\nAnn Lee\n", "got 1; is it whole"),
            ("t.csv", b"d,g\n0,\xe9t\xe9\n1,b\n", "is not UTF-8 text"),
            ("t.csv", b"d,\xe9t\xe9\n0,a\n1,b\n", "is not UTF-8 text"),
            ("t.csv.gz", gzip.compress(b"d,g\n" + bytes(range(48, 58)) * 9000)[:-20], "cannot be read"),
            ("t.csv.gz", b"d,g\n0,1\n", "cannot be read"),
            ("t.parquet", b"PAR1....", "cannot be read"),
            ("t.parquet", b"", "cannot be read"),
            ("t.xlsx", b"PK", "cannot tell what this is; give a file that ends in .csv"),
            ("t.csv", b"d,d,g\n0,1,a\n1,1,b\n", "several columns 'd' that differ"),
        ],
    )
    def test_damaged_files(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_decisions(tmp_path / name, decision="d", group="g")
        assert "\n" not in str(caught.value)

    def test_truncated_parquet(self, tmp_path):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"d": list(range(10_000))}), path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="cannot be read"):
            read_decisions(path, decision="d")

    @pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
    def test_damage_anywhere_is_an_error_or_harmless(self, tmp_path, kind):
        """Bytes changed at random, the end cut off: a ValueError of one line, or a table."""
        path, random = as_source(kind, columns(), tmp_path), np.random.default_rng(0)
        whole = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), random.integers(1, 4)):
                damaged[place] = random.integers(256)
            path.write_bytes(damaged[: random.integers(1, len(whole) + 1)] if random.random() < 0.3 else damaged)
            try:
                read_decisions(path, **PARTS, minimum_group=1)
            except ValueError as error:
                assert "\n" not in str(error)

    def test_a_folder_is_no_file(self, tmp_path):
        with pytest.raises(ValueError, match="is a folder"):
            read_decisions(tmp_path, decision="d")

    def test_a_column_that_is_twice_the_same_is_read_once(self, tmp_path):
        (tmp_path / "t.csv").write_bytes(b"d,d\n" + b"0,0\n1,1\n" * 20)
        assert len(read_decisions(tmp_path / "t.csv", decision="d")) == 40


def test_a_hundred_thousand_rows_of_many_people():
    random, n = np.random.default_rng(0), 100_000
    values = {
        "d": random.integers(0, 2, n), "g": random.choice(list("abcdefghij"), n), "y": random.integers(0, 2, n),
        "p": random.integers(10**8, 10**9, n), "c": np.arange(n), "x": random.normal(size=n),
    }  # fmt: skip
    read = read_decisions(values, decision="d", group="g", outcome="y", person="p", case="c", features=["x"])
    assert isinstance(read, Decisions) and len(read) == n
    assert read.group is not None and len(read.group.names) == 10
    assert read.person is not None and len(read.person.names) == len(np.unique(values["p"]))

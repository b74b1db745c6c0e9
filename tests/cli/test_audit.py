"""`demonstrably audit`: the text, the JSON, the page, and mistakes in one line."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from demonstrably.cli.main import main

from ..decisions.made_people import noisy_groups

FLAGS = ["--decision", "decision", "--group", "group", "--outcome", "outcome", "--posterior", "risk"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """decisions.csv in the working folder: two groups at different costs."""
    monkeypatch.chdir(tmp_path)
    columns = noisy_groups(0, costs=(0.2, 0.4))
    pacsv.write_csv(pa.table(columns), "decisions.csv")
    return columns


def failed(capsys, *arguments):
    assert main(["audit", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_text_names_the_verdict_first(table, capsys):
    assert main(["audit", "decisions.csv", *FLAGS]) == 0
    page = capsys.readouterr().out
    assert page.startswith("difference: groups meet different costs")
    assert "benchmark test" in page and "assumed: " in page


def test_json_is_one_document(table, capsys):
    assert main(["audit", "decisions.csv", *FLAGS, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "difference"
    assert [group["name"] for group in record["groups"]] == ["group a", "group b"]
    assert record["groups"][0]["cost"]["low"] < 0.2 < record["groups"][0]["cost"]["high"]


def test_the_page_is_written_and_named(table, capsys, tmp_path):
    assert main(["audit", "decisions.csv", *FLAGS, "--html", "out/audit.html"]) == 0
    assert capsys.readouterr().err.strip() == str(tmp_path / "out" / "audit.html")
    assert "Relative cost by group" in (tmp_path / "out" / "audit.html").read_text()


def test_mistakes_are_told_in_one_line(table, capsys, tmp_path):
    assert "did you mean 'decisions.csv'" in failed(capsys, "decision.csv", *FLAGS)
    assert "--outcome" in failed(capsys, "decisions.csv", *FLAGS, "--outcom", "x")
    assert "did you mean 'risk'" in failed(capsys, "decisions.csv", *FLAGS[:-1], "rsk").replace('"', "'")
    assert "--group" in failed(capsys, "decisions.csv", "--decision", "decision")
    assert "folder" in failed(capsys, "decisions.csv", *FLAGS, "--html", str(tmp_path))
    broken = {**table, "risk": np.where(np.arange(len(table["risk"])) == 7, 1.5, table["risk"])}
    pacsv.write_csv(pa.table(broken), "broken.csv")
    assert "row 7" in failed(capsys, "broken.csv", *FLAGS)
    words = {**table, "decision": np.where(table["decision"] == 1, "search", "pass")}
    pacsv.write_csv(pa.table(words), "words.csv")
    assert "positive" in failed(capsys, "words.csv", *FLAGS)
    assert main(["audit", "words.csv", *FLAGS, "--positive", "search"]) == 0

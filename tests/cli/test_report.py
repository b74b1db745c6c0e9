"""`demonstrably report`: where the page goes, and what a mistake gets."""

import json
from pathlib import Path

import pytest

from demonstrably.cli.main import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "bc").mkdir()
    (tmp_path / "bc" / "config.json").write_text('{"steps": 10, "members": 1}')
    return tmp_path / "bc"


def test_it_prints_where_the_page_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == run / "report.html"
    assert page.read_text().startswith("<!doctype html>")


def test_several_runs_into_a_named_file_as_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = run.parent / "bc-rnn"
    other.mkdir()
    (other / "config.json").write_text("{}")
    out = run.parent / "pages" / "both.html"
    assert main(["report", str(run), str(other), "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == {"report": str(out), "bytes": out.stat().st_size}
    assert "bc and bc-rnn" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{home}/bcc"], "no run folder {home}/bcc; the nearest is {home}/bc"),
        (["{home}"], "{home} is no run folder: it has no config.json; it holds the runs bc: name those"),
        ([], "no run folder given; name at least one"),
        (["{home}/bc", "--outt", "x"], "did you mean --out?"),
        (["{home}/bc", "--out", "{home}"], "{home} is a folder; give the name of a file"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    home = str(run.parent)
    assert main(["report", *(word.format(home=home) for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and words.format(home=home) in captured.err
    assert not (run / "report.html").exists()

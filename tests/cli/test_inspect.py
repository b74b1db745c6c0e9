"""`demonstrably inspect`: the page, the JSON, the choices, and its exit status."""

import io
import json

import h5py
import numpy as np
import pytest
from rich.console import Console

from demonstrably.cli import inspect as command
from demonstrably.cli.main import main
from demonstrably.data.findings import Findings
from demonstrably.data.findings import inspect as find
from demonstrably.data.formats import load

from ..data.recordings import write_recording


def graded(file):
    for number, demo in enumerate(file["data"].values()):
        demo.attrs["quality"] = "good" if number < 2 else "bad"
        demo.attrs["success"] = number != 1
    file["mask/train"] = np.array([b"demo_0", b"demo_1"])


@pytest.fixture
def path(tmp_path):
    return write_recording(tmp_path / "recording.hdf5", change=graded)


def test_the_page_says_what_is_in_the_file(path, capsys):
    assert main(["inspect", str(path)]) == 0
    page, errors = capsys.readouterr()
    for expected in (
        "3 episodes, 13 transitions, 502 bytes in memory",
        "environment Place-v0 (size=3)",
        "success 0.67, 2/3",
        "masks: train (2)",
        "arm/joints",
        "place",
        "actions",
        "-1 to 1",
        "note failures: 1 of 3 episodes did not succeed.",
    ):
        assert expected in page, page
    assert "\x1b" not in page and max(map(len, page.splitlines())) <= command.WIDTH
    assert errors.startswith(f"reading {path}: ") and "\n" not in errors.strip()


def test_json_is_one_document_and_nothing_else(path, capsys):
    assert main(["inspect", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == find(load(path)).to_dict()
    assert document["summary"]["episodes"] == 3 and document["counts"]["error"] == 0


def test_findings_are_saved(path, tmp_path, capsys):
    assert main(["inspect", str(path), "--save", str(tmp_path / "findings.json")]) == 0
    saved = Findings.from_dict(json.loads((tmp_path / "findings.json").read_text()))
    assert saved == find(load(path))


def summary(capsys, *arguments):
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["summary"]


def test_choices(path, capsys):
    assert summary(capsys, path, "--mask", "train")["episodes"] == 2
    assert summary(capsys, path, "--where", "quality == 'bad'")["episodes"] == 1
    assert list(summary(capsys, path, "--keys", "place")["keys"]) == ["place"]
    assert list(summary(capsys, path, "--keys", "place", "arm/joints")["keys"]) == ["place", "arm/joints"]


def test_mapped(path, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DEMONSTRABLY_CACHE", str(tmp_path / "cache"))
    assert summary(capsys, path, "--memory", "mapped")["mapped"] is True
    main(["inspect", str(path), "--memory", "mapped"])
    assert "502 bytes mapped from the cache" in capsys.readouterr().out


def test_an_error_in_the_data_is_told_with_status_0(path, capsys):
    with h5py.File(path, "a") as file:
        file["data"].attrs["action_low"], file["data"].attrs["action_high"] = -0.1, 0.1
    assert main(["inspect", str(path)]) == 0
    assert "error action-outside-bounds: demo_0, step 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mask", "trian"], "no mask 'trian'; did you mean 'train'"),
        (["--where", "qualiti == 'good'"], "no column or mask 'qualiti'; did you mean 'quality'"),
        (["--where", "length > 1000"], "selects none of the 3 episodes"),
        (["--keys", "plaec"], "no observation key 'plaec'; did you mean 'place'"),
        (["--kyes", "place"], "did you mean --keys"),
    ],
)
def test_mistakes_are_one_line_and_status_2(path, capsys, arguments, message):
    assert main(["inspect", str(path), *arguments]) == 2
    page, errors = capsys.readouterr()
    assert message in errors and not page
    assert errors.strip().splitlines()[-1].startswith("demonstrably: error: ")


def test_a_file_that_cannot_be_read_is_status_2(path, capsys, tmp_path):
    assert main(["inspect", str(path) + "x"]) == 2
    assert "no such file; did you mean" in capsys.readouterr().err
    with h5py.File(path, "a") as file:
        file["data/demo_1/actions"][2, 0] = np.nan
    assert main(["inspect", str(path)]) == 2
    assert "demo_1: actions is nan at step 2, dimension 0" in capsys.readouterr().err
    assert main(["inspect", str(path), "--on-invalid", "drop"]) == 0
    assert "warning dropped" in capsys.readouterr().out


def test_a_terminal_gets_colors(path):
    stream = io.StringIO()
    command.show(find(load(path)), Console(file=stream, force_terminal=True, width=100))
    assert "\x1b[" in stream.getvalue()


def test_names_with_square_brackets_are_no_markup(tmp_path, capsys):
    def change(file):
        for demo in file["data"].values():
            demo.attrs["quality"] = f"[bold]{demo.name[-1]}[/bold]"

    assert main(["inspect", str(write_recording(tmp_path / "a[red].hdf5", change=change))]) == 0
    page = capsys.readouterr().out
    assert "[bold]1[/bold]" in page and "a[red].hdf5" in page


def test_discrete_actions(tmp_path, capsys):
    assert main(["inspect", str(write_recording(tmp_path / "a.hdf5", discrete=True))]) == 0
    page = capsys.readouterr().out
    assert "0 to 2" in page and "note action-balance" in page


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2_340_000, "2.3 MB"), (7e9, "7.0 GB")]
)
def test_size(count, text):
    assert command.size(int(count)) == text

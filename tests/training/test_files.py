"""Writing that leaves the old contents or the new, whatever happens in between."""

import errno
import json
from pathlib import Path

import pytest

from demonstrably.training import files
from demonstrably.training.files import PARTIAL, read_json, replacing, write_json, writing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old" and temporary.parent == tmp_path
        assert temporary.name.startswith(PARTIAL)
    assert target.read_text() == "new" and names(tmp_path) == ["a.txt"]


def test_a_folder_takes_its_place_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a"
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "old").write_text("old")
    with replacing(target) as temporary:
        (temporary / "sub").mkdir(parents=True)
        (temporary / "sub" / "new").write_text("new")
        assert names(target) == ["deep"]
    assert names(target) == ["sub"] and names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("folder", [False, True])
def test_what_stood_there_survives_an_error(tmp_path: Path, error: BaseException, folder: bool) -> None:
    target = tmp_path / "a"
    if folder:
        target.mkdir()
    (target / "old" if folder else target).write_text("old")
    with pytest.raises(type(error)), replacing(target) as temporary:
        if folder:
            temporary.mkdir()
        (temporary / "new" if folder else temporary).write_text("half")
        raise error
    assert names(tmp_path) == ["a"]
    assert (target / "old" if folder else target).read_text() == "old"


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_process_left_is_cleared(tmp_path: Path, folder: bool) -> None:
    left = tmp_path / f"{PARTIAL}a"
    if folder:
        (left / "deep").mkdir(parents=True)
    else:
        left.write_text("half")
    with replacing(tmp_path / "a") as temporary:
        assert not temporary.exists()
        temporary.write_text("new")
    assert names(tmp_path) == ["a"]


def test_contents_are_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut could leave an empty file under the right name."""
    done: list[str] = []
    sync, replace = files._sync, files.os.replace
    monkeypatch.setattr(files, "_sync", lambda path: (done.append(path.name), sync(path)))
    monkeypatch.setattr(files.os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    with replacing(tmp_path / "run") as temporary:
        (temporary / "sub").mkdir(parents=True)
        (temporary / "sub" / "file").write_text("x")
    assert done == ["sub", "file", f"{PARTIAL}run", "rename", tmp_path.name]


def test_an_error_of_the_system_names_the_target(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(OSError) as caught, replacing(target) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    expected = f"{target}: not written (No space left on device); what stood there before is untouched"
    assert str(caught.value) == expected
    assert target.read_text() == "old" and names(tmp_path) == ["a.json"]


def test_an_error_of_the_system_without_a_number_is_told_too() -> None:
    with pytest.raises(OSError, match=r"^b: not written \(it broke\); all is well$"), writing(Path("b"), "all is well"):
        raise OSError("it broke")


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(KeyError), writing(Path("b"), "all is well"):
        raise KeyError("x")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere/a.json: not written"):
        write_json(tmp_path / "nowhere" / "a.json", {})


def test_json_is_written_whole_and_read_back(tmp_path: Path) -> None:
    values = {"a": [1, 2.5, None], "b": {"c": "d"}}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values
    assert (tmp_path / "a.json").read_text().endswith("}\n")


def test_values_that_are_no_json_leave_the_file_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == {"a": 1} and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("text", ["", '{"a": 1', "not json", '{"a": 1}}'])
def test_json_that_is_cut_short_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON \(.*line 1.*\): was it edited or cut short\?"):
        read_json(tmp_path / "a.json")


def test_bytes_that_are_no_text_are_an_error_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_json_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"a\.json holds no JSON object: was it edited\?"):
        read_json(tmp_path / "a.json")

"""Memory: mapping from a cache folder, when it is chosen, and what happens to broken or old cache entries."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from demonstrably.data.formats import load, storage

from .recordings import write_recording


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("DEMONSTRABLY_CACHE", str(folder))
    return folder


@pytest.fixture
def path(tmp_path):
    return write_recording(tmp_path / "recording.hdf5")


def is_mapped(demos):
    return all(isinstance(one, np.memmap) for one in (demos.actions, *demos.observations.values()))


def test_mapped_holds_what_resident_holds(path, cache):
    mapped, resident = load(path, memory="mapped"), load(path, memory="resident")
    assert is_mapped(mapped) and not is_mapped(resident)
    assert mapped.fingerprint() == resident.fingerprint() and mapped.table.equals(resident.table)
    assert mapped.spec() == resident.spec()
    note = next(note for note in mapped.notes if note.kind == "memory")
    assert str(cache) in note.message and "as asked" in note.message
    with pytest.raises(ValueError, match="read-only"):
        mapped.actions[0] = 0


def test_the_cache_is_used_again_and_only_for_the_same_reading(path, cache):
    load(path, memory="mapped")
    (entry,) = cache.iterdir()
    written = entry.stat().st_mtime_ns
    load(path, memory="mapped")
    assert [one.stat().st_mtime_ns for one in cache.iterdir()] == [written]
    load(path, memory="mapped", keys=["place"])
    assert len(list(cache.iterdir())) == 2
    before = load(path).fingerprint()
    write_recording(path, lengths=(5, 5, 5))
    os.utime(path, ns=(1, 1))
    assert load(path, memory="mapped").fingerprint() == load(path).fingerprint() != before


@pytest.mark.parametrize("damage", ["no record", "half a record", "half a column", "no column", "empty column"])
def test_a_broken_entry_is_built_again(path, cache, damage):
    good = load(path, memory="mapped").fingerprint()
    (entry,) = cache.iterdir()
    column, record = entry / "column_000.npy", entry / "record.json"
    match damage:
        case "no record":
            record.unlink()
        case "half a record":
            record.write_bytes(record.read_bytes()[:-20])
        case "half a column":
            column.write_bytes(column.read_bytes()[:-20])
        case "no column":
            column.unlink()
        case "empty column":
            column.write_bytes(b"")
    assert load(path, memory="mapped").fingerprint() == good
    assert [one.name for one in cache.iterdir()] == [entry.name]


def test_auto_maps_when_more_than_half_of_free_memory_is_needed(path, cache, monkeypatch):
    needed = sum(storage_bytes(path))
    monkeypatch.setattr(storage, "available_memory", lambda: 2 * needed)
    assert not is_mapped(load(path))
    monkeypatch.setattr(storage, "available_memory", lambda: 2 * needed - 2)
    demos = load(path)
    assert is_mapped(demos)
    assert "more than half of available memory" in next(n for n in demos.notes if n.kind == "memory").message
    assert not is_mapped(load(path, memory="resident"))
    monkeypatch.setattr(storage, "available_memory", lambda: None)
    assert not is_mapped(load(path))


def storage_bytes(path):
    from demonstrably.data.formats import estimate

    return estimate(path).values()


def test_available_memory_is_a_plausible_number():
    found = storage.available_memory()
    assert found is None or 2**20 < found < 2**50


def test_a_failure_while_building_leaves_nothing(path, cache):
    write_recording(path, change=lambda file: file["data/demo_2/obs/place"].__setitem__((1, 0), np.nan))
    with pytest.raises(ValueError, match="demo_2: obs/place is nan at step 1, dimension 0"):
        load(path, memory="mapped")
    assert list(cache.iterdir()) == []


def test_no_room_on_the_disk(path, cache, monkeypatch):
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(OSError, match="mapping needs .* set DEMONSTRABLY_CACHE to a folder with room"):
        load(path, memory="mapped")


def test_leftovers_of_killed_processes_are_swept(path, cache):
    load(path, memory="mapped")
    (entry,) = cache.iterdir()
    old, fresh = (cache / f"{entry.name}.partial-{number}" for number in (1, 2))
    for folder in (old, fresh):
        folder.mkdir()
    os.utime(old, (1, 1))
    (entry / "record.json").unlink()
    load(path, memory="mapped")
    assert not old.exists() and fresh.exists()


def test_unknown_mode(path):
    with pytest.raises(ValueError, match="memory is 'ram'; give 'auto', 'resident' or 'mapped'"):
        storage.maps("ram", 1)

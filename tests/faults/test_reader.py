"""Broken, strange and hostile files: every one is one clear line that names the file."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demonstrably.data.findings import inspect
from demonstrably.data.formats import FileError, hdf5, heaps, load, save

from ..data.recordings import each_demo, replaced, write_recording

ROWS = 6  # of demo_1


def one_line(path, **options):
    """The message that loading raises."""
    with pytest.raises((ValueError, OSError)) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


STRUCTURE = {
    "no data": (
        lambda f: f.move("data", "dta"),
        "no group 'data', so not robomimic HDF5; did you mean its group 'dta'",
    ),
    "minari": (lambda f: f.move("data", "episode_0"), "looks like a Minari data set"),
    "d4rl": (
        lambda f: [f.move("data", "actions"), f.create_dataset("observations", data=[1])],
        "looks like a D4RL file",
    ),
    "no episodes": (
        lambda f: [f["data"].__delitem__(n) for n in list(f["data"])],
        "holds no episode; they are called demo_0",
    ),
    "episode is an array": (lambda f: replaced(f["data"], "demo_1", [1.0]), "demo_1: is no group"),
    "no actions": (
        lambda f: f["data/demo_1"].__delitem__("actions"),
        "demo_1: no dataset 'actions'; it holds dones, next_obs",
    ),
    "no obs": (lambda f: f["data/demo_1"].__delitem__("obs"), "demo_1: no observations in 'obs'"),
    "empty obs": (lambda f: f["data/demo_1/obs"].clear(), "demo_1: no observations in 'obs'"),
    "missing key": (
        lambda f: f["data/demo_1/obs"].__delitem__("place"),
        "demo_1: no observation key 'place', which demo_0 has",
    ),
    "no steps": (lambda f: replaced(f["data/demo_1"], "actions", np.zeros((0, 2))), "demo_1: has no steps"),
    "short obs": (
        lambda f: replaced(f["data/demo_1"], "obs/place", np.zeros((ROWS - 1, 3))),
        "demo_1: obs/place has 5 rows, actions 6; make them equal",
    ),
    "short rewards": (
        lambda f: replaced(f["data/demo_1"], "rewards", np.zeros(3)),
        "demo_1: rewards has shape (3,), actions 6",
    ),
    "short dones": (
        lambda f: replaced(f["data/demo_1"], "dones", np.zeros(3)),
        "demo_1: dones has shape (3,), actions 6",
    ),
    "two rewards": (lambda f: replaced(f["data/demo_1"], "rewards", np.zeros((ROWS, 2))), "rewards has shape (6, 2)"),
    "short next_obs": (
        lambda f: replaced(f["data/demo_1"], "next_obs/place", np.zeros((ROWS - 1, 3))),
        "demo_1: next_obs/place has shape (5, 3), obs/place (6, 3); make them equal",
    ),
    "wide last_obs": (
        lambda f: [
            f["data/demo_1"].__delitem__("next_obs"),
            replaced(f["data/demo_1"], "last_obs/place", np.zeros((1, 4))),
        ],
        "demo_1: last_obs of 'place' has shape (1, 4), a row (3,)",
    ),
    "other width": (
        lambda f: replaced(f["data/demo_1"], "obs/place", np.zeros((ROWS, 4))),
        "demo_1: obs/place has rows of shape (4,), those of demo_0 (3,); make them equal",
    ),
    "other action width": (
        lambda f: replaced(f["data/demo_1"], "actions", np.zeros((ROWS, 3))),
        "demo_1: actions are 3 real numbers, those of demo_0 2 real numbers",
    ),
    "other kind of action": (
        lambda f: replaced(f["data/demo_1"], "actions", np.zeros(ROWS, int)),
        "demo_1: actions are discrete, those of demo_0 2 real numbers",
    ),
    "other type": (
        lambda f: replaced(f["data/demo_1"], "obs/place", np.zeros((ROWS, 3), np.uint8)),
        "demo_1: obs/place: has type uint8 and others float32",
    ),
    "three-dimensional actions": (
        lambda f: replaced(f["data/demo_0"], "actions", np.zeros((4, 2, 2))),
        "give (T, A) real numbers",
    ),
    "no width": (lambda f: replaced(f["data/demo_0"], "actions", np.zeros((4, 0))), "give (T, A) real numbers"),
    "bool actions": (lambda f: replaced(f["data/demo_0"], "actions", np.zeros(4, bool)), "type bool"),
    "scalar": (lambda f: replaced(f["data/demo_0"], "obs/place", 3.0), "obs/place has shape (); give one row a step"),
    "no value a step": (
        lambda f: replaced(f["data/demo_0"], "obs/place", np.zeros((4, 0))),
        "obs/place has shape (4, 0)",
    ),
    "negative choice": (
        lambda f: each_demo(lambda d: replaced(d, "actions", -np.ones(len(d["rewards"]), int)))(f),
        "demo_0: discrete action -1 at step 0",
    ),
    "texts": (
        lambda f: replaced(f["data/demo_0"], "obs/place", np.array(["a"] * 4, dtype=h5py.string_dtype())),
        "obs/place: holds object, which is no number",
    ),
    "records": (
        lambda f: replaced(f["data/demo_1"], "rewards", np.zeros(ROWS, [("a", "f4")])),
        "demo_1: rewards: holds",
    ),
    "null": (lambda f: replaced(f["data/demo_0"], "obs/place", h5py.Empty("f4")), "holds float32, which is no number"),
    "mask of absent": (
        lambda f: f.__setitem__("mask/train", np.array([b"demo_0", b"demo_9"])),
        "mask 'train' names 'demo_9', which is not among the file's 3 episodes",
    ),
    "mask of sequences": (
        lambda f: f.create_dataset("mask/a", shape=(2,), dtype=h5py.vlen_dtype(np.int8)),
        "mask 'a' holds object",
    ),
    "mask of numbers": (lambda f: f.__setitem__("mask/train", np.arange(3)), "mask 'train' holds int64 of shape (3,)"),
    "bounds of another width": (
        lambda f: f["data"].attrs.update(action_low=[1.0, 2, 3], action_high=4.0),
        "give 2",
    ),
    "bounds the wrong way": (
        lambda f: f["data"].attrs.update(action_low=1.0, action_high=-1.0),
        "low < high in each dimension",
    ),
    "bounds that are texts": (
        lambda f: f["data"].attrs.update(action_low="a", action_high="b"),
        "action_high: ",
    ),
    "unprintable key": (
        lambda f: replaced(f["data/demo_0"], "obs/a\x1b[2J", np.zeros((4, 1))),
        r"'a\x1b[2J' cannot be printed",
    ),
}


@pytest.mark.parametrize("case", STRUCTURE)
def test_structure(tmp_path, case):
    change, expected = STRUCTURE[case]
    assert expected in one_line(write_recording(tmp_path / "recording.hdf5", change=change))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["obs/place", "actions", "rewards", "next_obs/arm/joints", "terminated"])
def test_invalid_numbers(tmp_path, name, value):
    def change(file):
        demo = file["data/demo_1"]
        demo["terminated"] = np.zeros(ROWS)
        values = demo[name][:].astype(np.float64)
        values[(ROWS - 1, 1) if values.ndim == 2 else ROWS - 1] = value
        replaced(demo, name, values)

    message = one_line(write_recording(tmp_path / "recording.hdf5", change=change))
    step = ROWS if name.startswith("next_obs") else ROWS - 1
    shown = name.replace("next_obs", "obs")
    shown_value = "inf" if value == 1e300 else value
    assert (
        f"demo_1: {shown} is {shown_value} at step {step}, dimension {0 if name in ('rewards', 'terminated') else 1}"
        in message
    )


def test_links_that_lead_nowhere_or_around(tmp_path):
    def nowhere(file):
        del file["data/demo_1/obs/place"]
        file["data/demo_1/obs/place"] = h5py.SoftLink("/nowhere")

    assert "demo_1" in one_line(write_recording(tmp_path / "a.hdf5", change=nowhere))

    def around(file):
        file["data/demo_0/obs/again"] = file["data/demo_0"]

    assert "nested more than 8 deep" in one_line(write_recording(tmp_path / "b.hdf5", change=around))


def test_a_dataset_that_was_never_written(tmp_path):
    def change(file):
        del file["data/demo_1/obs/place"]
        file["data/demo_1"].create_dataset("obs/place", shape=(ROWS, 3), dtype="f4")

    assert "demo_1: obs/place: was created with shape (6, 3) but never written" in one_line(
        write_recording(tmp_path / "recording.hdf5", change=change)
    )


def test_a_claim_no_file_can_hold(tmp_path):
    def change(file):
        for demo in file["data"].values():
            del demo["actions"]
            huge = demo.create_dataset("actions", shape=(2**40, 2), dtype="f4", chunks=(4, 2), compression="gzip")
            huge[0] = 1

    message = one_line(write_recording(tmp_path / "recording.hdf5", change=change))
    assert "demo_0: actions: claims shape (1099511627776, 2)" in message and "damaged" in message


def test_missing_files_and_folders(tmp_path):
    write_recording(tmp_path / "recording.hdf5")
    assert "no such file; did you mean" in one_line(tmp_path / "recordign.hdf5")
    assert "check the path" in one_line(tmp_path / "zzz")
    assert "nor the folder" in one_line(tmp_path / "absent" / "recording.hdf5")
    message = one_line(tmp_path)
    assert "is a folder; give a file" in message and "recording.hdf5" in message
    os.mkfifo(tmp_path / "pipe")
    assert "no plain file" in one_line(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (pickle.dumps([1, 2, 3]), "a pickle, which is refused because reading a pickle runs whatever code it holds"),
        (b"PK\x03\x04rest", "a zip archive, such as .npz"),
        (b"\x93NUMPY\x01\x00", "a numpy array"),
        (b"PAR1rest", "Parquet"),
        (b"\x1f\x8b\x08rest", "gzip; unpack it first"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"hello", "begins with b'hello'"),
    ],
)
def test_other_formats(tmp_path, content, expected):
    path = tmp_path / "data.bin"
    path.write_bytes(content)
    message = one_line(path)
    assert expected in message and "Formats read: robomimic HDF5" in message


def test_a_pickle_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "bomb.hdf5"
    path.write_bytes(pickle.dumps(Bomb()))
    one_line(path)
    assert not (tmp_path / "ran").exists()


def test_hdf5_by_name_only(tmp_path):
    path = tmp_path / "data.hdf5"
    path.write_bytes(b"hello")
    assert "no HDF5 signature" in one_line(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_file_cut_short(tmp_path, share):
    path = write_recording(tmp_path / "recording.hdf5")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "cut short" in one_line(path) and "copy or download it again" in one_line(path)


def test_a_chunk_that_does_not_unpack_can_be_dropped(tmp_path):
    path = write_recording(tmp_path / "recording.hdf5")
    with h5py.File(path) as file:
        chunk = file["data/demo_1/obs/place"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 8] = bytes(8)
    path.write_bytes(content)
    assert "demo_1: HDF5 cannot read it" in one_line(path)
    assert load(path, on_invalid="drop").table.column("name").to_pylist() == ["demo_0", "demo_2"]


def test_a_file_without_permission(tmp_path):
    path = write_recording(tmp_path / "recording.hdf5")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    assert "no permission" in one_line(path) or "Permission denied" in one_line(path)


def test_texts_on_which_hdf5_never_returns(tmp_path, monkeypatch):
    """A block of zeros in the heap that holds the texts, as a half-copied file may have."""
    monkeypatch.setattr(heaps, "SECONDS", 2)
    path = write_recording(tmp_path / "recording.hdf5")
    content = bytearray(path.read_bytes())
    start = content.index(heaps.SIGNATURE)
    content[start + 32 : start + 512] = bytes(480)
    path.write_bytes(content)
    assert heaps._suspicious(path)
    load_or_refuse(path)
    second = start + heaps.HEADER
    content[second : second + 16] = bytes(16)  # the first object, which env_args point to
    path.write_bytes(content)
    assert "HDF5 fails to read its texts" in one_line(path)


def test_attributes_of_strange_types_are_left_alone(tmp_path):
    """Reading a sequence or record from a damaged file can crash HDF5, so such attributes are not read at all."""

    def change(file):
        attributes = file["data/demo_0"].attrs
        sequence = h5py.h5t.vlen_create(h5py.h5t.NATIVE_INT8)
        h5py.h5a.create(attributes._id, b"sequence", sequence, h5py.h5s.create(h5py.h5s.SCALAR))
        attributes["record"] = np.zeros((), [("a", "f4")])
        attributes["reference"] = file["data"].ref
        attributes["large"] = np.zeros(5000)
        attributes["good"] = 1

    columns = load(write_recording(tmp_path / "recording.hdf5", change=change)).table.column_names
    with h5py.File(tmp_path / "recording.hdf5") as file:
        attributes = {name: hdf5.attribute(file["data/demo_0"], name) for name in file["data/demo_0"].attrs}
    assert attributes["good"] == 1 and len(attributes["large"]) == 5000
    assert attributes["sequence"] is attributes["record"] is attributes["reference"] is None
    assert "good" in columns and not {"sequence", "record", "reference", "large"} & set(columns)


def test_heaps_are_found_across_blocks(tmp_path, monkeypatch):
    path = tmp_path / "data"
    path.write_bytes(bytes(13) + heaps.SIGNATURE + (64).to_bytes(8, "little") + bytes(48))
    for size in range(1, 20):
        monkeypatch.setattr(heaps, "BLOCK", size)
        assert heaps._suspicious(path)


def test_a_suspicious_heap_that_can_be_read_is_no_fault(tmp_path):
    path = write_recording(tmp_path / "recording.hdf5")
    with open(path, "ab") as file:  # behind the end of what HDF5 reads
        file.write(heaps.SIGNATURE + (4096).to_bytes(8, "little") + bytes(4080))
    assert heaps._suspicious(path)
    assert len(load(path)) == 3


def load_or_refuse(path):
    """Either the file loads, or it raises one line that names it; True when it loads."""
    try:
        demos = load(path)
        inspect(demos)
        demos.spec()
        demos.fingerprint()
    except (ValueError, OSError) as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return False
    return True


@pytest.fixture(scope="module", params=[("earliest", "gzip", False), ("latest", None, True)], ids=["old", "new"])
def whole(request, tmp_path_factory):
    """A valid file's place and bytes, in the old and the new layout of HDF5."""
    libver, compression, discrete = request.param

    def change(file):
        file["mask/train"] = np.array([b"demo_0"])
        each_demo(lambda demo: demo.attrs.update(quality="good", seed=1, success=True))(file)

    path = tmp_path_factory.mktemp("fuzz") / "recording.hdf5"
    write_recording(path, change=change, libver=libver, compression=compression, discrete=discrete)
    assert load_or_refuse(path)
    return path, path.read_bytes()


MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)),
    min_size=1,
    max_size=12,
)
MANY = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@MANY
@given(changes=MUTATIONS)
def test_changed_bytes(whole, changes):
    path, content = whole
    used = np.flatnonzero(np.frombuffer(content, np.uint8))  # most of a small file is padding
    damaged = bytearray(content)
    for place, value in changes:
        damaged[used[int(place * len(used))]] = value
    refuse_or_load_damaged(path, damaged)


@MANY
@given(start=st.floats(0, 1), length=st.sampled_from([1, 16, 256, 4096]), source=st.floats(0, 1), cut=st.booleans())
def test_blocks_zeroed_moved_and_cut(whole, start, length, source, cut):
    path, content = whole
    damaged = bytearray(content)
    first, other = int(start * (len(content) - length)), int(source * (len(content) - length))
    damaged[first : first + length] = bytes(length) if source < 0.5 else content[other : other + length]
    refuse_or_load_damaged(path, damaged[: first + length] if cut else damaged)


def refuse_or_load_damaged(path, content):
    seconds, heaps.SECONDS = heaps.SECONDS, 2
    path.write_bytes(content)
    try:
        load_or_refuse(path)
    finally:
        heaps.SECONDS = seconds


def dataset_names(file):
    found = []
    file["data"].visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sorted(found)


@MANY
@given(data=st.data())
def test_changed_structure(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("structure") / "recording.hdf5"

    def change(file):
        name = data.draw(st.sampled_from(dataset_names(file)))
        old = file["data"][name][...]
        how = data.draw(st.sampled_from(["delete", "group", "cut", "axis", "type", "nan", "move", "text"]))
        del file["data"][name]
        match how:
            case "group":
                file["data"].create_group(name)
            case "cut":
                file["data"][name] = old[: data.draw(st.integers(0, len(old)))]
            case "axis":
                file["data"][name] = data.draw(st.sampled_from([old[None], old[..., None], old.reshape(-1), old.sum()]))
            case "type":
                file["data"][name] = old.astype(
                    data.draw(st.sampled_from(["u1", "i2", ">f8", "bool", "f2", "c8", "S3"]))
                )
            case "nan":
                file["data"][name] = np.full(old.shape, data.draw(st.sampled_from([np.nan, -np.inf, 1e38, -1.0])))
            case "move":
                file["data"][name + "x"] = old
            case "text":
                file["data"][name] = "text"

    load_or_refuse(write_recording(path, change=change))


SAVE_UNDER_A_LIMIT = """
import resource, signal, sys
import numpy as np
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.formats import save
demos = Demonstrations.from_arrays(
    {"state": np.random.default_rng(0).normal(size=(2020, 8)), "image": np.zeros((2020, 8, 8, 3), np.uint8)},
    np.zeros((2000, 2)), lengths=[100] * 20, masks={"train": [True] * 20},
)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    save(demos, sys.argv[1])
except OSError as error:
    print("refused:", error)
"""


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("limit", [1, 3000, 60_000, 200_000, -8])
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, limit):
    """A limit on the size of files fails writes as a full disk does. HDF5 alone crashes the process there."""
    path = write_recording(tmp_path / "saved.hdf5")
    before = path.read_bytes()
    if limit < 0:  # only the very last write, while the file is closed, finds no room
        whole = tmp_path / "whole.hdf5"
        run([sys.executable, "-c", SAVE_UNDER_A_LIMIT, str(whole), str(2**30)])
        limit += whole.stat().st_size
        whole.unlink()
    command = [sys.executable, "-c", SAVE_UNDER_A_LIMIT, str(path), str(limit)]
    done = run(command)
    assert done.stdout.startswith(f"refused: {path}: not written (File too large)") and not done.stderr
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == ["saved.hdf5"]


PEAK = """
import sys
from pathlib import Path
from demonstrably.data.formats import load
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
small = load(sys.argv[1])  # everything is imported and warm
before = peak()
demos = load(sys.argv[2], memory=sys.argv[3])
print(peak() - before, sum(c.nbytes for c in (*demos.observations.values(), demos.actions, demos.rewards)))
"""


@pytest.mark.parametrize("memory", ["resident", "mapped"])
def test_peak_memory(tmp_path, memory):
    """Resident: what the arrays take and one episode more. Mapped: hardly anything."""
    small = write_recording(tmp_path / "small.hdf5")
    large = write_recording(tmp_path / "large.hdf5", lengths=(20_000,) * 40, compression=None)
    environment = {**os.environ, "DEMONSTRABLY_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PEAK, str(small), str(large), memory]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    peak, size = map(int, done.stdout.split())
    assert size > 20e6
    assert peak < (1.3 * size if memory == "resident" else 0.5 * size) + 4e6


def test_saving_what_was_mapped(tmp_path, monkeypatch):
    monkeypatch.setenv("DEMONSTRABLY_CACHE", str(tmp_path / "cache"))
    path = write_recording(tmp_path / "recording.hdf5")
    mapped = load(path, memory="mapped")
    assert load(save(mapped, tmp_path / "again.hdf5")).fingerprint() == mapped.fingerprint()


def test_the_error_is_a_value_error():
    assert issubclass(FileError, ValueError)

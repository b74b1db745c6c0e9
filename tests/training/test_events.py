"""TensorBoard's events: written, purged where a run was resumed, and imported no earlier than needed."""

import subprocess
import sys
import warnings
from pathlib import Path

from demonstrably.training.events import Events


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve as TensorBoard reads it: (step, value)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        reader = EventAccumulator(str(folder), purge_orphaned_data=True)
        reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_one_curve_a_metric_and_member(tmp_path: Path) -> None:
    events = Events(tmp_path, 0)
    events.write(10, {"loss": [1.0, 2.0], "validation_loss": [3.0, 4.0]})
    events.write(20, {"loss": [0.5, 1.5]})
    events.close()
    assert points(tmp_path) == {
        "loss/member_0": [(10, 1.0), (20, 0.5)],
        "loss/member_1": [(10, 2.0), (20, 1.5)],
        "validation_loss/member_0": [(10, 3.0)],
        "validation_loss/member_1": [(10, 4.0)],
    }


def test_a_resumed_run_hides_what_it_does_again(tmp_path: Path) -> None:
    killed = Events(tmp_path, 0)
    for step in (10, 20, 30):
        killed.write(step, {"loss": [float(step)]})
    killed.close()
    resumed = Events(tmp_path, 20)
    for step in (30, 40):
        resumed.write(step, {"loss": [step + 0.5]})
    resumed.close()
    found = points(tmp_path)["loss/member_0"]
    assert [(step, value) for step, value in found if step > 20] == [(30, 30.5), (40, 40.5)]
    assert (10, 10.0) in found and (20, 20.0) in found


def test_without_a_point_nothing_is_written(tmp_path: Path) -> None:
    Events(tmp_path, 0).close()
    assert list(tmp_path.iterdir()) == []


def test_the_writer_is_imported_at_the_first_write(tmp_path: Path) -> None:
    """It takes longer than the first hundred updates of a small network."""
    code = (
        "import sys\n"
        "import demonstrably.cli.train\n"
        "from pathlib import Path\n"
        "from demonstrably.training.events import Events\n"
        f"events = Events(Path({str(tmp_path)!r}), 0)\n"
        "print('tensorboard' in sys.modules)\n"
        "events.write(1, {'loss': [1.0]})\n"
        "events.close()\n"
        "print('tensorboard' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]

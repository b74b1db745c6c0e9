"""When to end a training: decided on the run folder alone."""

from pathlib import Path

import pyarrow as pa
import pytest

from demonstrably.evaluation.early_stop import Watch
from demonstrably.training.run import Run


def run_with_losses(folder: Path, *members: list[float]) -> Run:
    """A run whose checkpoints, every second line, have these validation losses."""
    run = Run.create(folder, {"learner": "bc"})
    for i, losses in enumerate(zip(*members, strict=True)):
        run.log({"step": 10 * i + 5, "loss": [0.0] * len(members)})
        run.log({"step": 10 * i + 10, "loss": [0.0] * len(members), "validation_loss": list(losses)})
    return run


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ([3.0], False),
        ([3.0, 3.1], False),
        ([3.0, 3.1, 3.2], True),
        ([3.0, 3.1, 2.9], False),
        ([3.0, 3.0, 3.0], True),  # no better is not better
        ([3.0, 2.0, 2.5, 2.1], True),
        ([3.0, 2.0, 2.5, 1.9, 1.95], False),
    ],
)
def test_the_best_is_too_long_ago(tmp_path: Path, losses: list[float], over: bool) -> None:
    assert Watch("validation-loss", 2, run_with_losses(tmp_path, losses)).over() is over


def test_a_population_goes_on_while_one_member_improves(tmp_path: Path) -> None:
    worse, better = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]
    assert not Watch("validation-loss", 2, run_with_losses(tmp_path / "a", worse, better)).over()
    assert Watch("validation-loss", 2, run_with_losses(tmp_path / "b", worse, worse)).over()


@pytest.mark.parametrize("what", ["validation-loss", "success", "return"])
def test_before_the_first_checkpoint_it_goes_on(tmp_path: Path, what: str) -> None:
    assert not Watch(what, 1, Run.create(tmp_path, {"learner": "bc"})).over()


def run_with_episodes(folder: Path, successes: list[list[bool | None]], purpose: str = "train") -> Run:
    """A run of one member with these episodes at checkpoints 10, 20, ...; a return is 1 where one succeeds."""
    run = Run.create(folder, {"learner": "bc"})
    for i, episodes in enumerate(successes, start=1):
        play(run, 10 * i, episodes, purpose)
    return run


def play(run: Run, checkpoint: int, successes: list[bool | None], purpose: str, member: int = 0) -> None:
    count = len(successes)
    columns = {
        "checkpoint": [checkpoint] * count,
        "member": [member] * count,
        "seed": list(range(count)),
        "success": pa.array(successes, pa.bool_()),
        "return": [float(bool(s)) for s in successes],
        "purpose": [purpose] * count,
    }
    run.append_evaluations(pa.table(columns))


@pytest.mark.parametrize("what", ["success", "return"])
def test_episodes_while_training_are_watched(tmp_path: Path, what: str) -> None:
    falling = [[True, True], [True, False], [False, False]]
    assert Watch(what, 2, run_with_episodes(tmp_path / "a", falling)).over()
    assert not Watch(what, 3, run_with_episodes(tmp_path / "b", falling)).over()
    assert not Watch(what, 2, run_with_episodes(tmp_path / "c", falling[::-1])).over()


def test_patience_begins_with_own_experience(tmp_path: Path) -> None:
    """Until then the policy may stand still by design, as where only critics learn."""
    run = run_with_episodes(tmp_path, [[True], [True], [True], [False]])
    assert Watch("return", 2, run).over() and not Watch("return", 2, run, ahead=30).over()
    play(run, 50, [False], "train")
    assert Watch("return", 2, run, ahead=30).over() and not Watch("return", 3, run, ahead=30).over()


def test_checkpoints_are_taken_by_their_number_not_by_the_order_of_rows(tmp_path: Path) -> None:
    run = run_with_episodes(tmp_path, [])
    for checkpoint, success in ((1000, False), (90, False), (100, True)):
        play(run, checkpoint, [success], "train")
    assert not Watch("success", 2, run).over() and Watch("success", 1, run).over()


def test_episodes_of_later_evaluations_do_not_count(tmp_path: Path) -> None:
    run = run_with_episodes(tmp_path, [[True], [False], [False]])
    play(run, 30, [True] * 50, "evaluate")
    assert Watch("success", 2, run).over()


def test_each_members_episodes_are_its_own(tmp_path: Path) -> None:
    run = run_with_episodes(tmp_path, [[True], [False], [False]])
    for checkpoint, success in ((10, False), (20, False), (30, True)):
        play(run, checkpoint, [success], "train", member=1)
    assert not Watch("success", 2, run).over()


def test_without_a_success_signal_it_says_so(tmp_path: Path) -> None:
    run = run_with_episodes(tmp_path, [[None, None]])
    with pytest.raises(ValueError, match="gives no success signal to stop early by: use --stop-early return"):
        Watch("success", 2, run).over()
    assert not Watch("return", 2, run).over()

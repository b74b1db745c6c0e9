"""Videos show the episodes that were scored, and what hinders them hinders nothing else."""

from pathlib import Path

import numpy as np
import pytest
from toy_environments import LIMIT
from toy_policies import noisy, spec_of

from demonstrably.evaluation import recorder as recorders
from demonstrably.evaluation import video
from demonstrably.evaluation.environments import check, interface, make
from demonstrably.evaluation.recorder import Recorder
from demonstrably.evaluation.rollout import rollout
from demonstrably.spec import Continuous, Environment, Field, Spec


def toy(name: str, **arguments) -> Environment:
    return Environment(f"toy/{name}-v0", arguments, ("toy_environments",))


def recorded(environment: Environment, folder: Path, **keywords) -> Recorder:
    recorder = Recorder(folder, **keywords)
    table = rollout(noisy(spec_of(), 2), environment, [4, 8], workers=0, record=recorder)
    assert table.num_rows == 4
    return recorder


def filmed(environment: Environment, path: Path) -> float:
    adapter = check(spec_of(), interface(toy("Sum"), make(toy("Sum"))))
    return video.film(environment, None, adapter, 0, np.full((LIMIT, 1, 2), 0.25, np.float32), path)


def decoded(path: Path) -> list[np.ndarray]:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_first_episodes_are_filmed(tmp_path):
    pytest.importorskip("av")
    recorder = recorded(toy("Sum"), tmp_path / "videos", episodes=3, prefix="000500_")
    assert recorder.problem is None
    names = ["000500_member0_seed4.mp4", "000500_member1_seed4.mp4", "000500_member0_seed8.mp4"]
    assert [path.name for path in recorder.paths] == names
    assert sorted(path.name for path in (tmp_path / "videos").iterdir()) == sorted(names)
    frames = decoded(recorder.paths[0])
    assert len(frames) == LIMIT + 1 and frames[0].shape == (32, 48, 3)
    # The toy paints its number of steps in gray.
    np.testing.assert_allclose([frame.mean() for frame in frames], 20 * np.arange(LIMIT + 1), atol=4)


def test_more_steps_than_frames_a_second_are_thinned(tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.setattr(video, "FRAMES_PER_SECOND", 3)  # of 10 steps
    assert filmed(toy("Sum"), tmp_path / "thin.mp4") == LIMIT * 0.5
    shown = [round(frame.mean() / 20) for frame in decoded(tmp_path / "thin.mp4")]
    assert shown == [0, 3, 6, 8]


def test_an_environment_without_frames(tmp_path):
    pytest.importorskip("av")
    environment = Environment("toy/Seats-v0", imports=("toy_environments",))
    with pytest.raises(ValueError, match="toy/Seats-v0 renders no frames: 'rgb_array' is not among its render modes"):
        filmed(environment, tmp_path / "none.mp4")


def test_without_an_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'demonstrably\[video\]'"):
        filmed(toy("Sum"), tmp_path / "none.mp4")
    assert not list(tmp_path.iterdir())


def test_a_renderer_that_crashes(tmp_path):
    pytest.importorskip("av")
    recorder = recorded(toy("Trouble", how="render"), tmp_path)
    assert recorder.paths == [] and recorder.problem == "a worker process was killed by SIGSEGV"


def test_an_episode_that_does_not_repeat_is_not_shown(tmp_path):
    pytest.importorskip("av")
    recorder = recorded(toy("Fickle"), tmp_path)
    assert "its environment does not repeat itself" in recorder.problem
    assert recorder.paths == [] and not list(tmp_path.iterdir())


def test_rendering_needs_no_screen_unless_the_user_chose_one(monkeypatch):
    monkeypatch.setattr(recorders.sys, "platform", "linux")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    assert recorders._variables()["MUJOCO_GL"] == "egl"
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert "MUJOCO_GL" not in recorders._variables()


@pytest.mark.slow
def test_mujoco_renders_without_a_screen(tmp_path):
    pytest.importorskip("av")
    pytest.importorskip("mujoco")
    spec = Spec({"flat": Field((11,))}, Continuous((-1.0,) * 3, (1.0,) * 3), Environment("Hopper-v5"))
    recorder = Recorder(tmp_path, episodes=1)
    table = rollout(noisy(spec, 1), None, [0], workers=1, horizon=20, record=recorder)
    if recorder.problem:
        pytest.skip(f"nothing renders here: {recorder.problem}")
    frames = decoded(recorder.paths[0])
    length = table.column("length").to_pylist()[0]
    assert len(frames) == 1 + -(-length // 5) and frames[0].std() > 1  # of 125 steps a second every fifth is shown

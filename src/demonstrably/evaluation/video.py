"""One episode as an mp4 file: its actions are played again in an environment that renders. Runs in a worker process."""

from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from demonstrably.evaluation.environments import Adapter, Blame, make
from demonstrably.spec import Environment
from demonstrably.training.files import replacing

STEPS_PER_SECOND = 30  # where the environment gives no rate
FRAMES_PER_SECOND = 25  # at most: software takes 0.1 s and more to render a frame of MuJoCo


def film(
    environment: Environment, horizon: int | None, adapter: Adapter, seed: int, actions: np.ndarray, path: Path
) -> float:
    """Play actions (length, seats, ...) from the seed's reset, write the frames to `path`, and return the return.

    Raises:
        ValueError: no encoder is installed, the environment renders no frames, or it fails to.
    """
    if find_spec("av") is None:
        raise ValueError("videos need the package av: pip install 'demonstrably[video]'")
    _require_frames(environment)
    env = make(environment, render_mode="rgb_array", horizon=horizon)
    steps_per_second = env.metadata.get("render_fps") or STEPS_PER_SECOND
    stride = max(1, round(steps_per_second / FRAMES_PER_SECOND))
    rewards: list[float] = []
    frames = _frames(env, adapter, seed, actions, stride, rewards)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Blame(f"rendering {environment.name} failed"), replacing(path) as temporary:
        _encode(temporary, Fraction(steps_per_second).limit_denominator(1000) / stride, frames)
    env.close()
    return sum(rewards)


def _require_frames(environment: Environment) -> None:
    with make(environment) as plain:
        modes = plain.metadata.get("render_modes") or []
    if "rgb_array" not in modes:
        raise ValueError(f"{environment.name} renders no frames: 'rgb_array' is not among its render modes")


def _frames(
    env: gymnasium.Env[Any, Any], adapter: Adapter, seed: int, actions: np.ndarray, stride: int, rewards: list[float]
) -> Iterator[np.ndarray]:
    """Every stride-th frame and the last."""
    env.reset(seed=seed)
    yield np.asarray(env.render())
    for number, action in enumerate(actions, start=1):
        rewards.append(float(env.step(adapter.action(action))[1]))
        if number % stride == 0 or number == len(actions):
            yield np.asarray(env.render())


def _encode(path: Path, rate: Fraction, frames: Iterator[np.ndarray]) -> None:
    """H.264 in 4:2:0, which every browser plays; it needs even sides, so an odd row or column is cut off."""
    import av  # an extra

    with av.open(str(path), mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate)
        for number, frame in enumerate(frames):
            height, width = (side - side % 2 for side in frame.shape[:2])
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))

"""The one training loop: a generator, around which evaluation, logging and saving are ordinary code."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from demonstrably.learners.contract import Learner, State
from demonstrably.training.capture import stepper
from demonstrably.training.feeds import Feed, OfflineFeed


@dataclass(frozen=True)
class Progress:
    """Where training stands. Metrics are means over the steps since the last one, an array (members,) each."""

    step: int
    state: State
    metrics: dict[str, np.ndarray]
    steps_per_second: float


def train(
    learner: Learner, feed: Feed, steps: int, *, state: State, every: tuple[int, ...] = (100,)
) -> Iterator[Progress]:
    """Updates the state in place up to step `steps`; yields at multiples of each of `every`, and at the end.

    Metrics are read back from the device only then. Raises FloatingPointError naming the step, the member and the
    parameter once a metric or a weight is not finite.
    """
    if min(every) < 1:
        raise ValueError(f"every is {every}: give at least 1 step")
    done = int(state.step)
    update = stepper(learner, feed, state)
    while done < steps:
        goal = min(steps, *((done // n + 1) * n for n in every))
        began = time.perf_counter()
        history = [update() for _ in range(goal - done)]
        values = {name: torch.stack([metrics[name] for metrics in history]).cpu().numpy() for name in history[0]}
        _require_finite(values, done, state)
        rate = (goal - done) / (time.perf_counter() - began)
        done = goal
        yield Progress(done, state, {name: value.mean(0) for name, value in values.items()}, rate)


@torch.no_grad()
def validation_loss(learner: Learner, feed: OfflineFeed, state: State, batch_size: int = 1024) -> np.ndarray:
    """The learner's loss over every step of the feed once, (members,)."""
    total, count = torch.zeros(len(state.keys), device=state.keys.device), 0
    for weight, batch in feed.once(len(state.keys), batch_size):
        total += learner.loss(state, batch) * weight
        count += weight
    return (total / count).cpu().numpy()


ADVICE = (
    "Try a lower learning rate, or gradient_clip=1.0 where the learner has it, and look at the data with "
    "`demonstrably inspect`. Checkpoints before it are whole."
)


def _require_finite(values: dict[str, np.ndarray], done: int, state: State) -> None:
    parameters = [f"{name}/{p}" for name, optimizer in state.updated().items() for p in optimizer.not_finite()][:3]
    where = f"; not finite by now: {', '.join(parameters)}" if parameters else ""
    for name, value in values.items():
        if not np.isfinite(value).all():
            step, member = np.argwhere(~np.isfinite(value))[0]
            what = f"{name} of member {member} is {value[step, member]}"
            raise FloatingPointError(f"{what} at step {done + int(step) + 1}{where}. {ADVICE}")
    # A loss is of the weights before its update: the last update shows in the weights alone.
    if parameters:
        where = f"after step {int(state.step)}: {', '.join(parameters)}"
        raise FloatingPointError(f"weights are not finite {where}. {ADVICE}")

"""On CUDA, an update is captured once as a graph and then replayed without the host.

With recorded data the graph holds the sampling too. A feed that acts in an environment samples outside of it, and its
batches are copied to where the graph reads them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.training.feeds import Feed, OfflineFeed

WARM_UP = 3  # eager updates before a capture, so that libraries have made their workspaces


def stepper(learner: Learner, feed: Feed, state: State) -> Callable[[], Metrics]:
    """A function that does the next update of the state in place and returns its metrics."""
    if not state.keys.is_cuda:
        return lambda: learner.step(state, feed.batch(state))
    if isinstance(feed, OfflineFeed):
        return _captured(lambda: learner.step(state, feed.batch(state)), state)
    return _fed(learner, feed, state)


def _fed(learner: Learner, feed: Feed, state: State) -> Callable[[], Metrics]:
    """The learner's step as a graph that reads its batch from one place. It is captured with the first batch."""
    kept: list[tuple[Any, Callable[[], Metrics]]] = []

    def update() -> Metrics:
        batch = feed.batch(state)
        if not kept:
            kept.append((batch, _captured(lambda: learner.step(state, batch), state)))
        place, replay = kept[0]
        if batch is not place:
            for target, source in zip(_tensors(place), _tensors(batch), strict=True):
                target.copy_(source)
        return replay()

    return update


def _tensors(batch: Any) -> Iterator[Tensor]:
    """All tensors of a batch, its parts' too, in a fixed order."""
    values = batch.values() if isinstance(batch, dict) else vars(batch).values()
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif value is not None:
            yield from _tensors(value)


def _captured(update: Callable[[], Metrics], state: State) -> Callable[[], Metrics]:
    """Replays the update; what the warm-up changed is put back first."""
    saved = {name: tensor.clone() for name, tensor in (state.weights() | state.progress()).items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            update()
    torch.cuda.current_stream().wait_stream(side)
    state.restore(saved)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        metrics = update()
    # Capturing records and does not run, so the state is still the saved one.

    def replay() -> Metrics:
        graph.replay()
        return {name: value.clone() for name, value in metrics.items()}

    return replay

"""On CUDA, a whole update, sampling included, is captured once as a graph and then replayed without the host."""

from collections.abc import Callable

import torch

from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.training.feeds import Feed, OfflineFeed

WARM_UP = 3  # eager updates before a capture, so that libraries have made their workspaces


def stepper(learner: Learner, feed: Feed, state: State) -> Callable[[], Metrics]:
    """A function that does the next update of the state in place and returns its metrics."""

    def update() -> Metrics:
        return learner.step(state, feed.batch(state))

    if state.keys.is_cuda and isinstance(feed, OfflineFeed):
        return _captured(update, state)
    return update


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

"""On CUDA, an update is captured once as a graph, its sampling included, and then replayed without the host."""

from collections.abc import Callable

import torch

from demonstrably.learners.contract import Learner, Metrics, State
from demonstrably.training.feeds import Feed

WARM_UP = 3  # eager updates before a capture, so that libraries have made their workspaces


def stepper(learner: Learner, feed: Feed, state: State) -> Callable[[], Metrics]:
    """A function that does the next update of the state in place and returns its metrics.

    It is captured at the first of each of the learner's stages.

    Until the last call the state's step is the function's to count.
    """
    step = int(state.step)
    replay: Callable[[], Metrics] | None = None

    def eager() -> Metrics:
        return learner.step(state, feed.draw(state))

    def update() -> Metrics:
        nonlocal step, replay
        feed.advance(state, step)
        stage = learner.stage(step)
        step += 1
        if not state.keys.is_cuda:
            return eager()
        if stage != state.stage:
            state.stage, replay = stage, None
        replay = replay or _captured(eager, state)
        return replay()

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
        table = torch.stack(list(metrics.values()))
    # Capturing records and does not run, so the state is still the saved one.

    def replay() -> Metrics:
        graph.replay()
        return dict(zip(metrics, table.clone(), strict=True))

    return replay

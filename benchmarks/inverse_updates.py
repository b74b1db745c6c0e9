"""What updates of `sac` and of online `iq-learn` cost, beside the matrix products that they cannot do without.

    python benchmarks/inverse_updates.py [--threads 1 2] [--peer PYTHON] [--out FILE]
    python benchmarks/inverse_updates.py --device cuda --members 1 4 16

On synthetic data of the size of HalfCheetah (17 observations, 6 actions, networks of 256 x 2): updates a second, their
sampling included, with 10,000 and 500,000 steps in the replay; and how often a second the bare products of the same
update run by the same kernels. Updates and products take turns, so that a busy machine slows both. On a GPU the
updates of several members are captured as a graph, and compared with those of one.

On a CPU then HalfCheetah itself, on the first number of threads: environment steps a second of `sac` and `sqil`, an
update each, with the environment in a worker process and in the same one. `--peer` is a Python that has imitation and
stable-baselines3: `benchmarks/peer_updates.py` is run by it in turn with these.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demonstrably.data.batches import Experience, ExperienceBatch, TransitionBatch
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.evaluation.environments import spec_of
from demonstrably.evaluation.worlds import ArenaWorlds
from demonstrably.learners.contract import BATCHES, Learner, State
from demonstrably.learners.iq_learn import IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.sqil import SQIL
from demonstrably.nets.mlp import MLP
from demonstrably.nets.products import matmul
from demonstrably.nets.random import fork
from demonstrably.spec import Environment
from demonstrably.training.capture import stepper
from demonstrably.training.feeds import Feed, OfflineFeed
from demonstrably.training.online import OWN, Collection, OnlineFeed
from demonstrably.training.replay import Replay
from demonstrably.training.session import Plan, Session

OBSERVATION, ACTION, WIDTH, BATCH = 17, 6, 256, 256
LEARNERS: dict[str, Learner] = {
    "sac": SAC(batch_size=BATCH),
    "iq-learn": IQLearn(
        online=True,
        batch_size=BATCH,
        generator=SAC(temperature=0.01, critics=1, actor_learning_rate=3e-5, body=MLP((WIDTH, WIDTH))),
    ),
}
LIMIT = 1_000_000  # updates; more than are ever made
PEER = Path(__file__).with_name("peer_updates.py")


# --- the products of an update: (copies, inputs, outputs of the last layer, rows, which of the three products) ---

FORWARD, WEIGHTS, INPUTS, ALL_INPUTS = "forward", "weights", "inputs", "all inputs"
Pass = tuple[int, int, int, int, tuple[str, ...]]


def passes(name: str) -> list[Pass]:
    """The passes of one member's update through its networks of two hidden layers."""
    both, trained = OBSERVATION + ACTION, (FORWARD, WEIGHTS, INPUTS)
    if name == "sac":
        return [
            (1, OBSERVATION, 2 * ACTION, BATCH, (FORWARD,)),  # actions that follow
            (2, both, 1, BATCH, (FORWARD,)),  # their values by the target
            (2, both, 1, BATCH, trained),  # critics
            (1, OBSERVATION, 2 * ACTION, BATCH, trained),  # actor
            (2, both, 1, BATCH, (FORWARD, ALL_INPUTS)),  # critics of the actor's actions
        ]
    steps = 2 * BATCH  # demonstrated and own
    return [
        (1, OBSERVATION, 2 * ACTION, steps, (FORWARD,)),  # actions that follow
        (1, both, 1, steps, (FORWARD,)),  # their values by the target
        (1, OBSERVATION, 2 * ACTION, steps, (FORWARD,)),  # actions at the steps
        (1, both, 1, 2 * steps, trained),  # critic, of the steps' actions and of the actor's
        (1, OBSERVATION, 2 * ACTION, steps, trained),  # actor
        (1, both, 1, steps, (FORWARD, ALL_INPUTS)),  # critic of the actor's actions
    ]


def products(name: str, members: int, device: str) -> Callable[[], None]:
    """A function that does all products of an update and nothing else. On a CPU copies go one after the other."""
    operands: list[tuple[Tensor, Tensor]] = []
    for copies, inputs, outputs, rows, kinds in passes(name):
        stacked, times = (1, copies * members) if device == "cpu" else (copies * members, 1)
        layers = [(inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, outputs)]
        for layer, (a, b) in [*enumerate(layers)] * times:
            x, gradient = (torch.randn(stacked, rows, width, device=device) for width in (a, b))
            weight = torch.randn(stacked, a, b, device=device)
            wanted = {FORWARD: (x, weight), WEIGHTS: (x.mT, gradient), ALL_INPUTS: (gradient, weight.mT)}
            wanted |= {INPUTS: (gradient, weight.mT)} if layer else {}
            operands += [pair for kind, pair in wanted.items() if kind in kinds]

    @torch.no_grad()
    def run() -> None:
        for a, b in operands:
            matmul(a, b)

    return run


# --- updates ---


class Stored(Feed):
    """Batches from a replay that is full, and from demonstrations."""

    def __init__(self, learner: Learner, demos: Demonstrations, members: int, stored: int, device: str):
        reads = learner.reads()
        assert isinstance(reads, Experience)
        self.size, spec, (key,) = reads.batch_size, demos.spec(), demos.keys()
        self.shown: OfflineFeed | None = (
            OfflineFeed(demos, demos.keys(), reads, device) if reads.demonstrations else None
        )
        self.replay = Replay(spec, members=members, capacity=stored, device=device)
        while self.replay.count < stored:
            shape = (members, min(10_000, stored))
            seen, after = ({key: torch.randn(*shape, OBSERVATION, device=device)} for _ in range(2))
            done = torch.rand(*shape, ACTION, device=device) * 2 - 1
            ended = torch.zeros(shape, dtype=torch.bool, device=device)
            self.replay.add(seen, done, torch.randn(shape, device=device), after, ended)

    def draw(self, state: State) -> ExperienceBatch:
        """As an online feed draws it."""
        own = self.replay.draw(fork(fork(state.keys, BATCHES), OWN), state.step, self.size)
        if self.shown is None:
            return ExperienceBatch(own, None)
        shown = self.shown.draw(state)
        assert isinstance(shown, TransitionBatch)
        return ExperienceBatch(own, shown)


def synthetic(episodes: int = 10, length: int = 1000) -> Demonstrations:
    """Random episodes."""
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((episodes * (length + 1), OBSERVATION)).astype(np.float32)
    done = np.tanh(rng.standard_normal((episodes * length, ACTION))).astype(np.float32)
    return Demonstrations.from_arrays(observations, done, lengths=[length] * episodes)


def seconds(call: Callable[[], Any], count: int, device: str) -> float:
    """The time of one of `count` calls."""
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(count):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int, count: int, device: str) -> dict[str, list[float]]:
    """Times of all calls, which take turns in short blocks."""
    for call in calls.values():
        seconds(call, 5, device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, count, device))
    return times


def updates(name: str, members: int, device: str, rounds: int) -> dict[str, Any]:
    """Updates a second by the replay's size, and the share of the bare products' rate."""
    learner, demos = LEARNERS[name], synthetic()
    calls: dict[str, Callable[[], Any]] = {"products": products(name, members, device)}
    for stored in (10_000, 500_000) if members == 1 else (10_000,):
        state = learner.init(demos.spec(), members=members, seed=0, device=device)
        feed = Stored(learner, demos, members, stored, device)
        calls[str(stored)] = stepper(learner, feed, state)
        calls[f"sampling_{stored}"] = partial(feed.draw, state)
    times = in_turn(calls, rounds, 1, device)
    shares = [p / u for p, u in zip(times["products"], times["10000"], strict=True)]
    found: dict[str, Any] = {"learner": name, "device": device, "members": members, "threads": torch.get_num_threads()}
    found["products_per_second"] = 1 / min(times["products"])
    found |= {f"updates_per_second_{n}": 1 / min(times[n]) for n in ("10000", "500000") if n in times}
    found |= {f"milliseconds_of_{n}": 1e3 * min(v) for n, v in times.items() if "sampling" in n}
    found["share_of_products"] = min(times["products"]) / min(times["10000"])
    return found | {"share_of_products_median": statistics.median(shares)}


# --- end to end ---


Block = Callable[[], float]  # makes some environment steps, an update each, and says how long they took


@contextmanager
def end_to_end(name: str, batch: int, workers: int, steps: int) -> Iterator[Block]:
    """Steps on HalfCheetah-v5, after the warm-up."""
    environment, shown = Environment("HalfCheetah-v5"), None
    learner: Learner = SAC(batch_size=batch)
    if name == "sqil":  # half of each batch is demonstrated
        learner = SQIL(learner, batch_size=batch // 2)
        shown = replace(synthetic(), environment=environment)
    plan = Plan(LIMIT, validation=0.0, collection=Collection(warm_up=1000), checkpoint_every=LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        session = Session.open(
            learner,
            shown,
            plan,
            Path(folder) / "run",
            spec=None if shown else spec_of(environment),
            worlds=lambda spec, lanes: ArenaWorlds(environment, spec, lanes, workers=workers),
        )
        assert isinstance(session.feed, OnlineFeed)
        update = stepper(session.learner, session.feed, session.state)
        for _ in range(20):
            update()
        yield lambda: steps * seconds(update, steps, "cpu")
        session.feed.close()


@contextmanager
def peer(python: str, name: str, batch: int, steps: int) -> Iterator[Block]:
    """The same by stable-baselines3's SAC, or by imitation's SQIL on it."""
    command = [python, str(PEER), "--batch", str(batch), "--steps", str(steps)]
    command += ["--threads", str(torch.get_num_threads()), *(["--sqil"] if name == "sqil" else [])]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with (
        tempfile.TemporaryDirectory() as folder,  # MuJoCo leaves its warnings where it is run
        subprocess.Popen(command, text=True, bufsize=1, cwd=folder, **pipes) as process,
    ):
        told, said = process.stdin, process.stdout
        assert told and said
        while (line := said.readline()) != "ready\n":
            assert line, f"{python} ended before its first step: run {PEER.name} by itself to see why"

        def block() -> float:
            told.write("\n")
            return float(said.readline())

        yield block
        told.close()


def whole(python: str | None, rounds: int, steps: int) -> Iterator[dict[str, Any]]:
    """Environment steps a second, by learner and steps read an update; blocks of steps take turns."""
    for name, batch in (("sac", BATCH), ("sqil", BATCH), ("sqil", 2 * BATCH)):
        with ExitStack() as stack:
            runs = {
                "worker": stack.enter_context(end_to_end(name, batch, 1, steps)),
                "same_process": stack.enter_context(end_to_end(name, batch, 0, steps)),
            }
            if python:
                runs["peer"] = stack.enter_context(peer(python, name, batch, steps))
            times: dict[str, list[float]] = {run: [] for run in runs}
            for _ in range(rounds):
                for run, block in runs.items():
                    times[run].append(block())
        row: dict[str, Any] = {"learner": name, "environment": "HalfCheetah", "batch": batch}
        row["threads"] = torch.get_num_threads()
        row |= {f"steps_per_second_{run}": steps / statistics.median(values) for run, values in times.items()}
        for run in ("worker", "same_process") if python else ():
            pairs = zip(times["peer"], times[run], strict=True)
            row[f"{run}_to_peer"] = statistics.median(theirs / ours for theirs, ours in pairs)
        yield row


def main() -> None:
    """Prints a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--members", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--blocks", type=int, default=100, help="end to end, in turn")
    parser.add_argument("--steps", type=int, default=10, help="of a block")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    for threads in options.threads if options.device == "cpu" else [1]:
        torch.set_num_threads(threads)
        for name in LEARNERS:
            for members in options.members:
                keep(updates(name, members, options.device, options.rounds))
        if options.device == "cpu" and threads == options.threads[0]:
            for row in whole(options.peer, options.blocks, options.steps):
                keep(row)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

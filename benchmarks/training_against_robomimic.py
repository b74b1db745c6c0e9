"""Training speed, memory and start-up beside robomimic's own loop, on the same synthetic low-dimensional file.

    python benchmarks/training_against_robomimic.py --robomimic-python VENV/bin/python [--threads 1 2] [--repeats 3]
        [--learners bc bc-rnn] [--episodes 200] [--out FILE]

Both are started as a user would start them, one after the other in turn, so that a change of the machine's speed hits
both. Every figure is read inside the process at each gradient step. The bare products are those of the networks'
shapes, forward and backward, by torch.mm, with as many threads. robomimic 0.3.0 is what its package index holds; for
its optional imports of vision and rendering, which low-dimensional training never calls, empty modules stand in.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

LENGTH, WIDTH, ACTIONS, BATCH, WINDOW = 124, 23, 7, 100, 10
KINDS = {"bc": {"theirs": (), "ours": ("bc",)}, "bc-rnn": {"theirs": ("rnn",), "ours": ("bc-rnn",)}}
WARM_UP = 100
STEPS = {"bc": 1000, "bc-rnn": 200}


def write_data(path: Path, episodes: int) -> None:
    """Episodes of smooth random observations and actions, in robomimic's format."""
    import numpy as np

    from demonstrably.data.demonstrations import Demonstrations
    from demonstrably.data.formats import save
    from demonstrably.spec import Environment

    rng = np.random.default_rng(0)
    observations = rng.standard_normal((episodes * (LENGTH + 1), WIDTH)).cumsum(0).astype(np.float32) % 3
    actions = np.tanh(rng.standard_normal((episodes * LENGTH, ACTIONS))).astype(np.float32)
    rewards = np.zeros(episodes * LENGTH, np.float32)
    lengths = [LENGTH] * episodes
    where = Environment("Synthetic-v0")
    demos = Demonstrations.from_arrays({"object": observations}, actions, rewards, lengths=lengths, environment=where)
    save(demos, path)


class Clock:
    """Notes the time of each gradient step, and prints the figures at the end."""

    def __init__(self, started: float):
        self.started, self.times = started, []

    def tick(self) -> None:
        self.times.append(time.time())

    def figures(self) -> dict[str, float]:
        steady = self.times[WARM_UP:]
        rate = (len(steady) - 1) / (steady[-1] - steady[0])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"steps_per_second": rate, "first_step_seconds": self.times[0] - self.started, "peak_mib": peak}


class Absent(types.ModuleType):
    """A module that is not installed and never called: it holds an empty class of any name."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def ours(kind: str, data: Path, out: Path, threads: int, started: float) -> dict[str, float]:
    """`demonstrably train` with the preset of the study."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from demonstrably.cli import main as command  # which imports the rest itself, as for a user

    clock, loaded = Clock(started), command._loaded

    def watched(which):
        module = loaded(which)
        learner = sys.modules[f"demonstrably.learners.{kind.replace('-', '_')}"]
        learner = learner.BC if kind == "bc" else learner.BCRNN
        step = learner.step

        def timed(self, state, batch):
            metrics = step(self, state, batch)
            clock.tick()
            return metrics

        learner.step = timed
        return module

    command._loaded = watched
    steps = str(STEPS[kind] + WARM_UP)
    flags = [
        "--preset",
        "robomimic",
        "--steps",
        steps,
        "--checkpoint-every",
        steps,
        "--validation",
        "0",
        "--device",
        "cpu",
    ]
    status = command.main(["train", kind, "--data", str(data), "--out", str(out), *flags])
    assert status == 0
    return clock.figures()


def theirs(kind: str, data: Path, out: Path, threads: int, started: float) -> dict[str, float]:
    """robomimic's `train` with BC-GMM or BC-RNN-GMM as in the study, no rollouts, no checkpoints, cache "all"."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional", "egl_probe", "gym"):
        sys.modules[name] = Absent(name)
        parent, _, child = name.rpartition(".")
        if parent:
            vars(sys.modules[parent])[child] = sys.modules[name]
    import torch

    torch.set_num_threads(threads)
    torch.set_num_threads = lambda count: None  # its script sets 2
    from robomimic.algo.bc import BC
    from robomimic.config import config_factory
    from robomimic.scripts.train import train

    clock = Clock(started)
    step = BC.train_on_batch

    def timed(self, *arguments, **options):
        info = step(self, *arguments, **options)
        clock.tick()
        return info

    BC.train_on_batch = timed
    config = config_factory("bc")
    with config.values_unlocked():
        config.train.data, config.train.output_dir, config.experiment.name = str(data), str(out), "side"
        config.train.num_epochs = (STEPS[kind] + WARM_UP) // 100
        config.train.batch_size, config.train.hdf5_cache_mode, config.train.cuda = BATCH, "all", False
        config.train.num_data_workers = 0
        config.experiment.validate = config.experiment.rollout.enabled = config.experiment.save.enabled = False
        config.experiment.epoch_every_n_steps = 100
        config.observation.modalities.obs.low_dim = ["object"]
        config.algo.gmm.enabled = True
        if kind == "bc-rnn":
            config.train.seq_length = config.algo.rnn.horizon = WINDOW
            config.algo.rnn.enabled, config.algo.actor_layer_dims = True, ()
    train(config, device=torch.device("cpu"))
    return clock.figures()


def bare_products(kind: str, threads: int) -> float:
    """Updates a second that torch.mm alone would allow: every product of a forward and backward pass."""
    import torch

    torch.set_num_threads(threads)
    outputs = 5 * (1 + 2 * ACTIONS)
    if kind == "bc":
        forward = [(BATCH, WIDTH, 1024), (BATCH, 1024, 1024), (BATCH, 1024, outputs)]
    else:
        forward = [(BATCH * WINDOW, WIDTH, 1600), (BATCH * WINDOW, 400, 1600), (BATCH * WINDOW, 400, outputs)]
        forward += [(BATCH, 400, 1600)] * 2 * (WINDOW - 1)
    shapes = []
    for rows, inner, columns in forward:
        backward = [(inner, rows, columns)] + ([(rows, columns, inner)] if inner != WIDTH else [])
        shapes += [(rows, inner, columns), *backward]
    pairs = [(torch.randn(a, b), torch.randn(b, c)) for a, b, c in shapes]
    for a, b in pairs:
        torch.mm(a, b)
    began, rounds = time.perf_counter(), 60 if kind == "bc" else 12
    for _ in range(rounds):
        for a, b in pairs:
            torch.mm(a, b)
    return rounds / (time.perf_counter() - began)


def in_process(python: str, who: str, kind: str, threads: int, data: Path) -> dict[str, float]:
    """One process, its figures read from its last line."""
    with tempfile.TemporaryDirectory() as folder:
        words = [python, __file__, "--child", who, kind, str(threads), str(data), f"{folder}/run"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "STARTED": str(time.time())}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{who} {kind} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measures and prints a table; --out also writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robomimic-python", default=sys.executable)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--learners", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--episodes", type=int, default=200, help="of 124 steps each")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        who, kind, threads, data, out = options.child
        run = ours if who == "ours" else theirs
        print(json.dumps(run(kind, Path(data), Path(out), int(threads), float(os.environ["STARTED"]))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "synthetic.hdf5"
        write_data(data, options.episodes)
        for kind in options.learners:
            for threads in options.threads:
                rows.append(measure(kind, threads, data, options))
                print(json.dumps(rows[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


def measure(kind: str, threads: int, data: Path, options: argparse.Namespace) -> dict[str, object]:
    """Medians over the repeats of both, taken in turn, and of their ratios."""
    pairs, bare = [], []
    for _ in range(options.repeats):
        mine = in_process(sys.executable, "ours", kind, threads, data)
        other = in_process(options.robomimic_python, "theirs", kind, threads, data)
        bare.append(bare_products(kind, threads))
        pairs.append((mine, other))
    names = pairs[0][0]
    row: dict[str, object] = {
        "learner": kind,
        "threads": threads,
        "episodes": options.episodes,
        "repeats": options.repeats,
    }
    for name in names:
        row[f"ours_{name}"] = statistics.median(a[name] for a, _ in pairs)
        row[f"robomimic_{name}"] = statistics.median(b[name] for _, b in pairs)
        row[f"ratio_{name}"] = statistics.median(a[name] / b[name] for a, b in pairs)
    row["bare_products_per_second"] = statistics.median(bare)
    row["share_of_bare"] = statistics.median(a["steps_per_second"] / b for (a, _), b in zip(pairs, bare, strict=True))
    return row


if __name__ == "__main__":
    main()

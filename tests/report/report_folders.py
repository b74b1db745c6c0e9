"""Run folders made up for the report's tests, with every file as the library writes it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from demonstrably.data.notes import Finding, Findings
from demonstrably.evaluation.compare import compare
from demonstrably.evaluation.intervals import Measured
from demonstrably.evaluation.select import select
from demonstrably.evaluation.selection import Arm, RoundRecord, Selection

FINDINGS = Findings.of(
    [
        Finding(
            "warning",
            "idle",
            "episodes demo_3, demo_11, demo_19: steps 0 to 41",
            "3 of 25 episodes begin with more than 40 steps in which no action dimension moves",
            "Cut the idle beginning, or the policy learns to wait.",
        ),
        Finding("warning", "constant", "key object, dimension 4", "a dimension never changes", "It is masked."),
        Finding("note", "lengths", "", "Episodes last 172 to 299 steps, the median is 236"),
    ],
    {"episodes": 25, "transitions": 6729, "return": {"median": 2851.0, "lowest": 1780.5}},
)


@dataclass(frozen=True)
class Shape:
    """How large a made-up run is."""

    members: int = 3
    checkpoints: int = 20
    episodes: int = 20
    lines: int = 250
    seed: int = 0


def true_rates(shape: Shape) -> np.ndarray:
    """Success rate of each checkpoint (rows) and member, rising with some jitter."""
    generator = np.random.default_rng(shape.seed + 1)
    rise = 0.82 * (1 - np.exp(-4 * np.arange(1, shape.checkpoints + 1) / shape.checkpoints))
    return np.clip(rise[:, None] + 0.07 * generator.normal(size=(shape.checkpoints, shape.members)), 0.02, 0.98)


def steps_of(shape: Shape) -> np.ndarray:
    """Steps of the checkpoints."""
    return 250 * np.arange(1, shape.checkpoints + 1)


def config(shape: Shape, learner: str = "bc") -> dict[str, Any]:
    """config.json of a run."""
    fields = {
        "learning_rate": 1e-3,
        "batch_size": 100,
        "hidden": [512, 512],
        "head": {"modes": 5, "low_noise": True},
    }
    spec = {
        "observations": {"flat": {"shape": [39], "dtype": "float32", "mean": [0.1] * 39, "scale": [1.0] * 39}},
        "action": {"low": [-1.0] * 28, "high": [1.0] * 28},
        "environment": {
            "name": "AdroitHandDoor-v1",
            "kwargs": {"max_episode_steps": 300},
            "imports": [],
            "seats": 1,
        },
    }
    data = {
        "path": "data/door_human.hdf5",
        "fingerprint": "sha256:" + "4f1c" * 16,
        "episodes": 25,
        "transitions": 6729,
        "keys": ["flat"],
        "train": list(range(23)),
        "validation": [23, 24],
    }
    steps = int(steps_of(shape)[-1]) if shape.checkpoints else 5000
    versions = {"demonstrably": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu", "numpy": "2.3.5"}
    run = {"learner": learner, "members": shape.members, "seed": 0, "steps": steps, "checkpoint_every": 250}
    return {**run, "device": "cpu", "fields": fields, "data": data, "spec": spec, "versions": versions}


def metric_lines(shape: Shape) -> list[str]:
    """metrics.jsonl: a loss that falls below zero, a validation loss that turns up again, a gradient norm."""
    generator = np.random.default_rng(shape.seed)
    last = int(steps_of(shape)[-1]) if shape.checkpoints else 5000
    checkpoints = set(steps_of(shape).tolist())
    steps = sorted({round(step) for step in np.linspace(1, last, shape.lines)} | checkpoints)
    lines = []
    for step in steps:
        done = step / last
        loss = 22 * np.exp(-9 * done) - 14 * done + generator.normal(size=shape.members)
        line: dict[str, Any] = {"step": step, "loss": loss.tolist()}
        line["gradient_norm"] = np.exp(2 - 3 * done + 0.3 * generator.normal(size=shape.members)).tolist()
        if step in checkpoints:
            line["validation_loss"] = (loss + 3 + 16 * max(0.0, done - 0.35)).tolist()
        lines.append(json.dumps({**line, "time": 0.02 * step, "steps_per_second": 143.0}))
    return lines


def evaluations(shape: Shape, *, success: bool = True, tasks: tuple[str, ...] = ()) -> pa.Table:
    """evaluations.parquet: episodes of every checkpoint and member on shared seeds."""
    generator = np.random.default_rng(shape.seed + 2)
    size = (shape.checkpoints, shape.members, shape.episodes)
    won = generator.random(size) < true_rates(shape)[..., None]
    index = np.indices(size).reshape(3, -1)
    count = won.size
    return pa.table(
        {
            "checkpoint": steps_of(shape)[index[0]],
            "member": index[1],
            "seed": index[2],
            "return": np.where(won, 2900.0, 300.0).reshape(-1) + 200 * generator.normal(size=count),
            "success": pa.array(won.reshape(-1)) if success else pa.nulls(count, pa.bool_()),
            "length": np.full(count, 300),
            "task": pa.array([tasks[i % len(tasks)] for i in index[2]]) if tasks else pa.nulls(count, pa.string()),
            "purpose": pa.array(["train"] * count),
            "round": pa.nulls(count, pa.int64()),
        }
    )


def selection(shape: Shape, rollouts: int = 900) -> dict[str, Any]:
    """selection.json: the real selection, over arms whose success rates are made up."""
    rates, generator = true_rates(shape), np.random.default_rng(shape.seed + 3)
    arms = [(c, m) for c in range(shape.checkpoints) for m in range(shape.members)]
    labels = [f"step {steps_of(shape)[c]}, member {m}" for c, m in arms]

    def play(chosen: Any, seeds: Any) -> np.ndarray:
        odds = np.array([rates[arms[arm]] for arm in chosen])
        return (generator.random((len(chosen), len(seeds))) < odds[:, None]).astype(float)

    return select(play, labels, max(rollouts, 4 * len(arms))).to_dict()


def halving(arms: int) -> dict[str, Any]:
    """selection.json of so many arms, halved round by round, by hand: the real one's evidence is quadratic in arms."""
    rounds, field, episodes = [], list(range(arms)), np.zeros(arms, int)
    while len(field) > 1:
        rounds.append(RoundRecord(tuple(field), (4,) * len(field), (4 * len(rounds), 4 * len(rounds) + 4)))
        episodes[field] += 4
        field = field[: (len(field) + 1) // 2]
    seen = [
        Arm(f"step {250 * (i + 1)}, member 0", int(n), 1.0 - i / arms, 0.0, 1.0, 1.0) for i, n in enumerate(episodes)
    ]
    done = Measured(0.8, 0.7, 0.9, 100, 80)
    everyone, seeds = tuple(range(arms)), (4 * len(rounds), 4 * len(rounds) + 100)
    spent = int(episodes.sum()) + 100
    numbers = (None, spent, spent, 0.05, 0.05, 0.95, "sequential_halving")
    return Selection(tuple(seen), 0, everyone, (), 0, done, seeds, tuple(rounds), "budget", *numbers).to_dict()


def comparison(names: tuple[str, ...], shape: Shape) -> dict[str, Any]:
    """A comparison's JSON: the real one, of made-up outcomes."""
    generator = np.random.default_rng(shape.seed + 4)
    rates = np.linspace(0.72, 0.55, len(names))
    ease = generator.normal(size=150)
    outcomes = [
        (0.8 * ease + 0.6 * generator.normal(size=(shape.members, 150)) < 2.2 * (rate - 0.5)).astype(float)
        for rate in rates
    ]
    return compare(*outcomes, names=list(names)).to_dict()


def make_run(path: Path, shape: Shape | None = None, *, learner: str = "bc", tasks: tuple[str, ...] = ()) -> Path:
    """A whole run folder, selection included."""
    shape = shape or Shape()
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "config.json", config(shape, learner))
    write_json(path / "findings.json", FINDINGS.to_dict())
    (path / "metrics.jsonl").write_text("\n".join(metric_lines(shape)) + "\n")
    for step in steps_of(shape):
        (path / "checkpoints" / f"{step:06d}").mkdir(parents=True)
    if shape.checkpoints:
        parquet.write_table(evaluations(shape, tasks=tasks), path / "evaluations.parquet")
        write_json(path / "selection.json", selection(shape))
    return path


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes a record; NaN and infinities as Python's json has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))

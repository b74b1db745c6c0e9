"""Learning from one demonstration by the same generator and budget for all: are the published differences that large?

Garg et al. 2021, arXiv 2106.12142, table of one demonstration, against IQ-Learn, SQIL, GAIL, AIRL, ValueDICE and BC on
equal terms; on whole trajectories and on every 20th step of them; and IQ-Learn without the soft Bellman operator.

    python reproductions/inverse_comparison.py --data FOLDER_WITH expert/hopper_expert.hdf5 and the others
    python reproductions/inverse_comparison.py --only hopper/whole/iq-learn      (one piece; pieces are kept and joined)
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import HERE, curve, fresh_score, misses, picked, say, trained

from demonstrably.data.formats import load
from demonstrably.evaluation.environments import spec_of
from demonstrably.learners.airl import AIRL
from demonstrably.learners.bc import BC
from demonstrably.learners.contract import Learner
from demonstrably.learners.csil import CSIL
from demonstrably.learners.gail import GAIL
from demonstrably.learners.generator import Generator
from demonstrably.learners.iq_learn import PRESETS, IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.soft_q import SoftQ
from demonstrably.learners.sqil import SQIL
from demonstrably.learners.value_dice import ValueDICE
from demonstrably.nets.divergences import ChiSquare
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.mlp import MLP
from demonstrably.nets.stationary import Stationary
from demonstrably.training.files import write_json
from demonstrably.training.online import Collection
from demonstrably.training.session import Plan

MEMBERS, FRESH = 5, 20  # rollouts a member that score
BOUNDS = (-1_000.0, 15_000.0)  # of returns, where no demonstrations say what they may be
NET, BATCH = MLP((64, 64)), 64
COLLECTION = Collection(environments=2, updates_per_step=0.5)


def actor(temperature: float | None) -> SAC:
    """The generator that all share but for its temperature, which each method's reward has its own scale for."""
    return SAC(1e-3, 3e-4, batch_size=BATCH, temperature=temperature, average=0.99998, body=NET)


def values(temperature: float) -> SoftQ:
    """The same where actions are discrete."""
    return SoftQ(temperature=temperature, batch_size=BATCH, body=NET, average=0.999)


def cloning(weight_decay: float = 0.0, head: TanhGaussian | None = None) -> BC:
    """BC with the networks and the batches of the others."""
    return BC(batch_size=BATCH, learning_rate=3e-4, body=NET, head=head, weight_decay=weight_decay)


def sqil(generator: Generator) -> SQIL:
    """SQIL of the generator's size, as the others below."""
    return SQIL(generator=generator, batch_size=generator.batch_size)


def gail(generator: Generator) -> GAIL:
    """The paper's reward, for a generator that reads the same steps as those of the other methods."""
    return GAIL(generator, generator.batch_size, body=generator.body, form="positive", rehearse=True)


def airl(generator: Generator) -> AIRL:
    """AIRL, for such a generator."""
    return AIRL(generator, generator.batch_size, body=generator.body, rehearse=True)


def iq_learn(generator: Generator, preset: str = "online") -> IQLearn:
    """IQ-Learn with experience of its own."""
    return replace(PRESETS[preset], batch_size=generator.batch_size, generator=generator)


def csil(generator: SAC) -> CSIL:
    """CSIL, whose critics are normalized and whose actor is its clone, of about the others' size."""
    generator = replace(generator, layer_norm=True, normalize=True)
    return CSIL(generator, generator.batch_size, body=Stationary((64, 64), 12, 64))


CONTINUOUS: dict[str, Learner] = {
    "bc": cloning(head=TanhGaussian()),
    "bc-decay": cloning(0.1, head=TanhGaussian()),
    "sqil": sqil(actor(0.01)),
    "value-dice": ValueDICE(online=True, batch_size=BATCH, body=NET, actor_learning_rate=1e-4),
    "gail": gail(actor(0.05)),
    "airl": airl(actor(0.1)),
    "iq-learn": iq_learn(actor(0.05)),
    "csil": csil(actor(0.05)),
}
ABLATIONS: dict[str, Learner] = {
    # the soft Bellman operator: off, or its temperature learned
    "iq-learn-hard": iq_learn(actor(0.0)),
    "iq-learn-auto": iq_learn(actor(None)),
    # chi-squared over both sources with Eq. 3 over all steps, bounds and an absorbing state
    "ls-iq": iq_learn(actor(0.05), "ls-iq"),
    # chi-squared on demonstrated steps alone, as in the paper's text
    "iq-learn-chi-demonstrated": replace(iq_learn(actor(0.05)), divergence=ChiSquare(), penalty=None),
}
DISCRETE: dict[str, Learner] = {
    "bc": cloning(),
    "bc-decay": cloning(0.1),
    "sqil": sqil(values(0.01)),
    "gail": gail(values(0.05)),
    "airl": airl(values(0.1)),
    "iq-learn": replace(iq_learn(values(0.05)), allow_variable_horizon=True),
    "ls-iq": iq_learn(values(0.05), "ls-iq"),  # where an end of the task has a value of its own
}
TRUE_REWARD: dict[str, Learner] = {"sac": actor(None)}  # nothing demonstrated: how far the generator comes by itself


@dataclass(frozen=True)
class Setting:
    """A task, how much of its expert is shown, and who learns it."""

    task: str
    name: str
    episodes: int
    subsample: int
    updates: int
    spacing: int  # of checkpoints
    learners: Mapping[str, Learner]
    selecting: int = 60  # rollouts a member that select its checkpoint


SETTINGS = (
    Setting("hopper", "whole", 1, 1, 40_000, 2_500, CONTINUOUS | ABLATIONS),
    Setting("hopper", "every-20th", 1, 20, 40_000, 2_500, CONTINUOUS),
    Setting("cartpole", "1", 1, 1, 10_000, 1_000, DISCRETE),
    Setting("cartpole", "10", 10, 1, 10_000, 1_000, DISCRETE),
    Setting("acrobot", "1", 1, 1, 20_000, 1_000, DISCRETE),
    Setting("acrobot", "10", 10, 1, 20_000, 1_000, DISCRETE),
    Setting("lunarlander", "1", 1, 1, 30_000, 2_000, DISCRETE),
    Setting("lunarlander", "10", 10, 1, 30_000, 2_000, DISCRETE),
    Setting("halfcheetah", "whole", 1, 1, 40_000, 5_000, CONTINUOUS | TRUE_REWARD, selecting=24),
    Setting("halfcheetah", "every-20th", 1, 20, 40_000, 5_000, CONTINUOUS, selecting=24),
)


def piece(setting: Setting, name: str, data: Path, runs: Path) -> dict[str, Any]:
    """One learner in one setting: scores of the members' own selected checkpoints on fresh seeds, and the curve."""
    demos = load(data / "expert" / f"{setting.task}_expert.hdf5").select(range(setting.episodes))
    learner = setting.learners[name]
    updates, spacing, selecting = setting.updates, setting.spacing, setting.selecting
    if isinstance(learner, BC):
        updates, spacing, selecting = 20_000, 1_000, 60
    plan = Plan(
        updates,
        members=MEMBERS,
        validation=0.0,
        checkpoint_every=spacing,
        log_every=1_000,
        subsample=setting.subsample,
        collection=COLLECTION,
    )
    spec = spec_of(demos.environment) if isinstance(learner, SAC) and demos.environment else None
    run = trained(learner, None if spec else demos, plan, runs / setting.task / setting.name / name, spec)
    bounds = BOUNDS if spec else (None, None)
    chosen = [picked(run, member, selecting, bounds) for member in range(MEMBERS)]
    score = fresh_score(run, chosen, FRESH)
    last = fresh_score(run, [(run.checkpoints[-1], member) for member in range(MEMBERS)], FRESH)
    expert = float(np.mean(demos.table.column("return").to_numpy()))
    say(f"{setting.task} {setting.name} {name}: {score}, at the last checkpoint {last}, expert {expert:.0f}")
    found = {"selected": score.to_dict(), "last": last.to_dict(), "checkpoints": [step for step, _ in chosen]}
    return found | {"expert": expert, "share": score.to_dict()["return"]["mean"] / expert, "curve": curve(run)}


def main() -> None:
    """Runs the pieces that are missing, writes what there is, and compares it with the expected range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data", help="folder of data files")
    parser.add_argument("--runs", type=Path, default=Path("runs/inverse_comparison"), help="where the runs are kept")
    parser.add_argument("--only", default="*", help="pieces task/setting/learner that match, such as 'hopper/*/gail'")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = HERE / "results" / "inverse_comparison.json"
    for setting in SETTINGS:
        for name in setting.learners:
            key = f"{setting.task}/{setting.name}/{name}"
            done = json.loads(path.read_text()) if path.exists() else {}
            if not fnmatch(key, options.only):
                continue
            if key in done:
                say(f"{key} is kept as it is in {path}: move that file away to run it anew")
                continue
            found = piece(setting, name, options.data, options.runs)
            done = json.loads(path.read_text()) if path.exists() else {}  # another piece may have ended meanwhile
            write_json(path, dict(sorted((done | {key: found}).items())))
    if not path.exists():
        raise SystemExit(f"no piece matches {options.only}")
    sys.exit(1 if misses("inverse_comparison", json.loads(path.read_text())) else 0)


if __name__ == "__main__":
    main()

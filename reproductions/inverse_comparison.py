"""Learning from one demonstration by the same generator and budget for all: are the published differences that large?

Garg et al. 2021, arXiv 2106.12142, table of one demonstration, against IQ-Learn, SQIL, GAIL, AIRL, ValueDICE and BC on
equal terms; on whole trajectories and on every 20th step of them; and IQ-Learn without the soft Bellman operator.

    python reproductions/inverse_comparison.py --data FOLDER_WITH expert/hopper_expert.hdf5 and the others
    python reproductions/inverse_comparison.py --only hopper/whole/iq-learn      (one piece; pieces are kept and joined)
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from common import HERE, curve, fresh_score, misses, picked, say, trained

from demonstrably.data.formats import load
from demonstrably.learners.airl import AIRL
from demonstrably.learners.bc import BC
from demonstrably.learners.contract import Learner
from demonstrably.learners.gail import GAIL
from demonstrably.learners.iq_learn import PRESETS, IQLearn
from demonstrably.learners.sac import SAC
from demonstrably.learners.sqil import SQIL
from demonstrably.learners.value_dice import ValueDICE
from demonstrably.nets.heads import TanhGaussian
from demonstrably.nets.mlp import MLP
from demonstrably.training.files import write_json
from demonstrably.training.session import Plan

MEMBERS, SELECT_EACH, FRESH, CHECKPOINTS = 3, 60, 20, 20
NET, BATCH = MLP((128, 128)), 128


def actor(temperature: float | None) -> SAC:
    """The generator that all share but for its temperature, which each method's reward has its own scale for."""
    return SAC(temperature=temperature, batch_size=BATCH, body=NET)


def iq_learn(temperature: float | None = 0.01, preset: str = "online") -> IQLearn:
    """IQ-Learn with experience of its own, and one critic as in the paper."""
    return replace(PRESETS[preset], batch_size=BATCH, generator=replace(actor(temperature), critics=1))


LEARNERS: dict[str, Learner] = {
    "bc": BC(batch_size=BATCH, learning_rate=3e-4, body=NET, head=TanhGaussian()),
    "bc-decay": BC(batch_size=BATCH, learning_rate=3e-4, body=NET, head=TanhGaussian(), weight_decay=0.1),
    "sqil": SQIL(batch_size=BATCH, generator=actor(0.01)),
    "value-dice": ValueDICE(online=True, batch_size=BATCH, body=NET),
    "gail": GAIL(batch_size=BATCH, generator=actor(None), body=NET),
    "airl": AIRL(batch_size=BATCH, generator=actor(0.1), body=NET),
    "iq-learn": iq_learn(),
    # ablations
    "iq-learn-hard": iq_learn(0.0),
    "iq-learn-auto": iq_learn(None),
    "ls-iq": iq_learn(preset="ls-iq"),
}
ABLATIONS = ("iq-learn-hard", "iq-learn-auto", "ls-iq")


@dataclass(frozen=True)
class Setting:
    """A task and how much of its expert is shown."""

    task: str
    name: str
    subsample: int
    updates: int
    learners: tuple[str, ...]


COMPARED = tuple(name for name in LEARNERS if name not in ABLATIONS)
SETTINGS = (
    Setting("hopper", "whole", 1, 60_000, (*COMPARED, *ABLATIONS)),
    Setting("hopper", "every-20th", 20, 60_000, COMPARED),
    Setting("halfcheetah", "whole", 1, 150_000, COMPARED),
    Setting("halfcheetah", "every-20th", 20, 150_000, COMPARED),
)


def piece(setting: Setting, name: str, data: Path, runs: Path) -> dict[str, Any]:
    """One learner in one setting: scores of the members' own selected checkpoints on fresh seeds, and the curve."""
    demos = load(data / "expert" / f"{setting.task}_expert.hdf5").select([0])
    every = setting.updates // CHECKPOINTS
    plan = Plan(
        setting.updates if not isinstance(LEARNERS[name], BC) else 20_000,
        members=MEMBERS,
        validation=0.0,
        checkpoint_every=every if not isinstance(LEARNERS[name], BC) else 2_000,
        log_every=1_000,
        subsample=setting.subsample,
    )
    run = trained(LEARNERS[name], demos, plan, runs / setting.task / setting.name / name)
    chosen = [picked(run, member, SELECT_EACH) for member in range(MEMBERS)]
    score = fresh_score(run, chosen, FRESH)
    last = fresh_score(run, [(run.checkpoints[-1], member) for member in range(MEMBERS)], FRESH)
    expert = float(demos.table.column("return")[0].as_py())
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
            if key in done or not fnmatch(key, options.only):
                continue
            found = piece(setting, name, options.data, options.runs)
            done = json.loads(path.read_text()) if path.exists() else {}  # another piece may have ended meanwhile
            write_json(path, dict(sorted((done | {key: found}).items())))
    if not path.exists():
        raise SystemExit(f"no piece matches {options.only}")
    sys.exit(1 if misses("inverse_comparison", json.loads(path.read_text())) else 0)


if __name__ == "__main__":
    main()

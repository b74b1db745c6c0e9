"""`demonstrably demo`: the whole path on people's play of Overcooked, from data to report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from rich.console import Console

from demonstrably.cli import parse
from demonstrably.cli.progress import Bar
from demonstrably.data.demonstrations import Demonstrations
from demonstrably.data.findings import inspect
from demonstrably.environments import overcooked_trials
from demonstrably.environments.overcooked import human_return
from demonstrably.environments.overcooked_animation import animation_html, play
from demonstrably.environments.overcooked_rules import LAYOUTS
from demonstrably.evaluation.compare_run import compare_runs
from demonstrably.evaluation.intervals import return_interval
from demonstrably.evaluation.select_run import select_run, selected
from demonstrably.learners.bc import BC
from demonstrably.learners.bc_rnn import BCRNN
from demonstrably.learners.contract import Learner
from demonstrably.nets.heads import Categorical
from demonstrably.nets.mlp import MLP
from demonstrably.nets.recurrent import LSTM
from demonstrably.report import write
from demonstrably.training.files import replacing
from demonstrably.training.run import Run
from demonstrably.training.session import Plan, Session


@dataclass(frozen=True)
class Options:
    """Inspect the 2019 human-human Overcooked trials, learn from them by BC and BC-RNN, evaluate, select, compare."""

    out: Path | None = None
    """Folder of the runs and the report: runs/demo, or runs/demo-small."""
    small: bool = False
    """A small setting, to see that everything works."""


@dataclass(frozen=True)
class Size:
    """How long each part of the demonstration is."""

    members: int
    checkpoints: int
    steps: dict[str, int]
    select: int
    compare: int


FULL = Size(members=3, checkpoints=6, steps={"bc": 3000, "bc-rnn": 1500}, select=360, compare=60)
SMALL = Size(members=2, checkpoints=2, steps={"bc": 60, "bc-rnn": 20}, select=24, compare=5)
# People's play is no function of what is seen, so actions are drawn: the most likely one gets stuck in corners.
HEAD = Categorical(temperature=1.0)
# The planes of the game are zeros and ones already; a rare one would be blown up by its small deviation.
LEARNERS: dict[str, Learner] = {
    "bc": BC(learning_rate=5e-4, batch_size=256, body=MLP((256, 256)), head=HEAD, normalize=False),
    "bc-rnn": BCRNN(learning_rate=1e-3, batch_size=64, body=LSTM(128, 1), head=HEAD, normalize=False),
}
SHOWN = "cramped_room"
FRESH = ["confirm", "compare"]  # episodes that the selection did not see
BOUNDS = (0.0, 400.0)  # points of an episode: people's best is about 200 in as many steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and say where the report is."""
    options = parse(Options, arguments, prog="demonstrably demo")
    size, began = SMALL if options.small else FULL, time.monotonic()
    folder = options.out or Path("runs", "demo-small" if options.small else "demo")
    console = Console(stderr=True, highlight=False)
    console.print("[bold]1 of 6  People's play[/]: 2019 human-human Overcooked trials")
    demos = overcooked_trials.load("train")
    findings = inspect(demos)
    print(findings)
    console.print("[bold]2 of 6  Training[/] BC and BC-RNN")
    runs = [_trained(name, learner, demos, size, folder / name) for name, learner in LEARNERS.items()]
    for run in runs:
        run.write_json("findings.json", findings.to_dict())
    console.print("[bold]3 of 6  Selecting[/] a checkpoint of each by rollouts, its score re-estimated on fresh seeds")
    for run in runs:
        with Bar(f"select {run.name}") as bar:
            print(f"{run.name}\n{select_run(run.path, size.select, bounds=BOUNDS, progress=bar.update)}\n")
    console.print("[bold]4 of 6  Comparing[/] the two on shared fresh seeds")
    with Bar("compare") as bar:
        print(compare_runs([run.path for run in runs], size.compare, bounds=BOUNDS, progress=bar.update).comparison)
    console.print("[bold]5 of 6  Against people[/], as a share of what human pairs earn")
    for run in runs:
        _against_people(run)
        _animate(run)
    console.print("[bold]6 of 6  Report[/]")
    report = write([run.path for run in runs], folder / "report.html")
    print(f"report: {report.resolve()}  ({time.monotonic() - began:.0f} s in all)")
    return 0


def _trained(name: str, learner: Learner, demos: Demonstrations, size: Size, folder: Path) -> Run:
    """A run in the folder; an interrupted one is gone on with."""
    steps = size.steps[name]
    plan = Plan(steps, size.members, checkpoint_every=steps // size.checkpoints, stratify="task")
    session = Session.open(learner, demos, plan, folder, resume=(folder / "config.json").exists())
    with Bar(f"train {name}") as bar:
        for progress in session.train():
            loss = float(np.mean(progress.metrics["loss"]))
            bar.update(progress.step, steps, f"loss {loss:.3f}, {progress.steps_per_second:.0f} steps/s")
    return session.run


def _against_people(run: Run) -> None:
    """Returns of the selected policy on fresh seeds, by layout, as a share of what human pairs earn."""
    step, member = _winner(run)
    mine = (pc.field("checkpoint") == step) & (pc.field("member") == member)
    rows = run.evaluations().filter(pc.field("purpose").isin(FRESH) & mine)
    for layout in LAYOUTS:
        returns = rows.filter(pc.field("task") == layout).column("return").to_numpy()
        if not len(returns):
            continue
        low, high = return_interval(returns)
        mean, people = float(returns.mean()), human_return(layout)
        sure = "(no spread)" if low == high else f"[{low / people:.2f}, {high / people:.2f}]"
        share = f"{mean / people:.2f} {sure} of people's {people:.0f} points"
        print(f"{run.name:7} {layout:26} {share}, {len(returns)} episodes")


def _animate(run: Run) -> None:
    """One episode of the selected policy with itself, as animation.html in the run's folder."""
    step, member = _winner(run)
    policy = run.policy(step).take([member])
    carry = policy.start(torch.tensor([[0, 1]]))  # two seats, a stream each

    def act(observation: dict[str, np.ndarray]) -> np.ndarray:
        nonlocal carry
        seen = {key: torch.from_numpy(observation[key]).unsqueeze(0) for key in policy.spec.observations}
        actions, carry = policy.act(seen, carry)
        return actions[0].numpy()

    title = f"{run.name}, step {step}, member {member}: the policy with itself"
    with replacing(run.path / "animation.html") as temporary:
        temporary.write_text(animation_html(play(act, SHOWN, title=title)), encoding="utf-8")


def _winner(run: Run) -> tuple[int, int]:
    winner = selected(run)
    assert winner, "the selection before wrote it"
    return winner

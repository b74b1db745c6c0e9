"""`demonstrably reward RUN --data FILE`: what a learned reward says of recorded episodes, and how true that is."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from demonstrably.cli import parse

if TYPE_CHECKING:  # imported where they are used: `--help` does not need scipy, pyarrow and torch
    from demonstrably.evaluation.reward_report import RewardReport
    from demonstrably.training.rewards import Reward

ROWS = 20
MEANING = (
    "A learned reward is known at best up to scale and potential shaping: read how episodes are ordered, not the "
    "numbers. Shaping changes steps, but of an episode's return little more than its ends. Where lengths differ, a "
    "constant a step may drown the rest: compare with mean rewards a step, and with what the length alone would tell."
)


@dataclass(frozen=True)
class Options:
    """Score every step of a file by the reward that a run learned. Beside true rewards, say how well the two agree."""

    run: tyro.conf.Positional[Path]
    """Run folder of a learner that learns a reward."""
    data: Path
    """File of demonstrations to score; best one that holds good and bad episodes, with their true rewards."""
    checkpoint: int | None = None
    """Take this checkpoint; by default the one that `demonstrably select` chose, else the last. All members count."""
    where: str | None = None
    """Which episodes: a mask's name, or a condition such as "quality == 'expert' and length > 100"."""
    episodes: int | None = None
    """Only the first so many of them."""
    on_invalid: Literal["error", "drop"] = "error"
    """What an episode that cannot be used does: stop the reading, or be left out."""
    discount: float = 0.99
    """Discount of the potential shaping that the distance of steps leaves out, and with `out` of what follows an end
    of the task."""
    out: Path | None = None
    """Also write the episodes to this new file, their rewards replaced by the recovered ones (mean over members); a
    step that ends the task also has what follows it, for ever and discounted."""
    json: bool = False
    """Print one JSON document."""

    def __post_init__(self) -> None:
        if self.episodes is not None and self.episodes < 1:
            raise ValueError(f"--episodes {self.episodes}: give at least 1")
        if not 0 <= self.discount < 1:
            raise ValueError(f"--discount {self.discount}: give 0 or above, and below 1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and print the report, or its record."""
    options = parse(Options, arguments, prog="demonstrably reward")
    if options.out and options.out.exists():
        raise ValueError(f"--out {options.out} exists already: give another name, or remove it first")
    from demonstrably.cli.reading import demonstrations
    from demonstrably.data.formats import save
    from demonstrably.evaluation.reward_report import reward_report
    from demonstrably.training.rewards import with_rewards

    reward = recovered(options.run, options.checkpoint)
    demos = demonstrations(
        options.data, where=options.where, episodes=options.episodes, on_invalid=options.on_invalid
    )
    scores, end = reward.score(demos), reward.ever_after(options.discount).item()
    found = reward_report(scores, demos, afterwards=reward.afterwards(), discount=options.discount)
    if options.out:
        save(with_rewards(demos, scores.mean(0), end), options.out)
    if options.json:
        written = {"out": str(options.out), "end": end} if options.out else {"out": None}
        print(json.dumps(reward.record() | written | found.to_dict()))
        return 0
    _show(found, reward.members)
    if options.out:
        what = f"; {end:.4g} added to a step that ends the task, for what follows it" if end else ""
        print(f"\nrelabelled episodes in {options.out}{what}")
    return 0


def recovered(folder: Path, checkpoint: int | None, device: str = "cpu") -> "Reward":
    """The reward of a run: at the checkpoint given, else the selected one, else the last. Says which on stderr."""
    from demonstrably.evaluation.select_run import selected
    from demonstrably.training.rewards import Reward
    from demonstrably.training.run import Run

    run, how = Run(folder), "as asked"
    if checkpoint is None:
        winner = selected(run)
        checkpoint, how = (winner[0], "as selected") if winner else (run.chosen(), "the last (there is no selection)")
    reward = Reward.of(run, checkpoint, device)
    print(
        f"reward of {folder}, checkpoint {checkpoint}, {how}; {reward.members} member(s)", file=sys.stderr, flush=True
    )
    return reward


def _show(found: "RewardReport", members: int) -> None:
    """The table of episodes, the correlations, and what they mean."""
    print(_table(found, members))
    print(f"\n{found}")
    print(f"\n{MEANING}")


def _table(found: "RewardReport", members: int) -> str:
    """Rows of text, one an episode; the recovered return is the mean over members."""
    true = ["none"] * len(found.names) if found.true is None else [f"{value:.5g}" for value in found.true]
    rows = [("episode", "length", "true return", "recovered return")]
    values = zip(found.names, found.lengths, true, found.means(), strict=True)
    rows += [(name, str(length), earned, f"{mean:.5g}") for name, length, earned, mean in values][:ROWS]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    more = [f"... and {len(found.names) - ROWS} more"] if len(found.names) > ROWS else []
    mean = [f"recovered returns are means over {members} members"] if members > 1 else []
    return "\n".join([*lines, *more, *mean])

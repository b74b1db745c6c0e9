"""Play a policy's members on seeds, and say how every episode went."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from demonstrably.evaluation.arena import Arena, default_workers
from demonstrably.evaluation.game import Game, Pair
from demonstrably.evaluation.recorder import Recorder, Take
from demonstrably.evaluation.success import Success, judge
from demonstrably.evaluation.worker import Outcome
from demonstrably.learners.contract import Policy
from demonstrably.spec import Environment

# With 16 rows of float32 every member's share of a batch begins at a multiple of 64 bytes. Products round by their
# place in memory: with 10 rows and an odd number of outputs the second member's would differ from the same alone.
SLOTS = 16
ENVIRONMENTS = 48  # made at once, at most, where the slots of one member are fewer

EPISODES = pa.schema(
    [
        ("member", pa.int64()),
        ("seed", pa.int64()),
        ("return", pa.float64()),
        ("success", pa.bool_()),
        ("length", pa.int64()),
        ("task", pa.string()),
    ]
)

Progress = Callable[[int, int], None]
Groups = Iterable[tuple[Policy, Sequence[int]]]  # policies of a few members each, and the members' numbers


def rollout(
    policy: Policy,
    environment: Environment | str | None,
    seeds: Sequence[int],
    *,
    members: Sequence[int] | None = None,
    slots: int = SLOTS,
    workers: int | None = None,
    horizon: int | None = None,
    success: Success = "any",
    record: Recorder | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Every member plays one episode a seed: one row an episode, in the order of members, then seeds.

    The seed fixes the environment's reset and the policy's chance, so members and checkpoints that play the same seeds
    meet the same luck. What becomes of a (member, seed) does not depend on the other members, seeds or workers of the
    call: a member always acts for `slots` rows at a time, and a seed always has row `seed % slots`, because a matrix
    product may round differently for another number of rows or in another row. On a CPU this is exact for layers with
    more than one output whose inner widths are multiples of 16; other widths, and a GPU, may round differently with
    the number of members.

    Args:
        policy: whose members play.
        environment: what they play in; an id, or None for the one that the policy's spec names.
        seeds: different numbers from 0 on.
        members: which members play; by default all.
        slots: episodes that a member plays side by side. Another number may change outcomes by rounding.
        workers: processes that hold the environments; 0 plays in this process. By default 0 for the smallest
            environments and one a core, up to two, for others.
        horizon: steps after which an episode is truncated, in place of the environment's own number.
        success: "any" if `info["success"]` (or "is_success") was true at any step, as robomimic counts; "last" if at
            the last step, as the Fetch tasks are scored; a rule such as "return >= 475" (see `judge`); or a function
            of the episode's `Outcome`. Episodes end where the environment ends them, successful or not.
        record: films the first episodes.
        progress: called with the numbers of episodes done and in all.

    Returns:
        Columns member, seed, return, success (null where there is no signal), length, task (null where
        `info["task"]` gives none).

    Raises:
        ValueError: seeds or settings that make no sense, an environment that cannot be made, does not fit the policy,
            has no end or fails while playing, an action that is not finite.
    """
    where = _environment(environment, policy)
    call = _Call(where, [int(seed) for seed in seeds], slots, workers, horizon, success)
    chosen = list(range(policy.members)) if members is None else [int(member) for member in members]
    unknown = sorted(set(chosen) - set(range(policy.members)))
    if unknown or len(set(chosen)) < len(chosen) or not chosen:
        raise ValueError(f"members {chosen}: give different ones of 0 to {policy.members - 1}")
    return call.table(_groups(policy, chosen, slots), chosen, record, progress)


def play(
    load: Callable[[int], Policy],
    arms: Sequence[tuple[int, int]],
    environment: Environment | str | None,
    seeds: Sequence[int],
    *,
    slots: int = SLOTS,
    workers: int | None = None,
    horizon: int | None = None,
    success: Success = "any",
    progress: Progress | None = None,
) -> pa.Table:
    """As `rollout`, for arms (checkpoint, member) of a run; a few are in memory at a time.

    `load` gives the policy of a checkpoint, as `Run.policy` does. The table has a column checkpoint first; its rows are
    in the order of arms, then seeds. Raises ValueError as `rollout` does, and for no arms.
    """
    if not arms:
        raise ValueError("no arms to play: give at least one (checkpoint, member)")
    where = _environment(environment, None if environment else load(arms[0][0]))
    call = _Call(where, [int(seed) for seed in seeds], slots, workers, horizon, success)
    table = call.table(_loaded(load, arms, slots), range(len(arms)), None, progress)
    checkpoints, members = np.array(arms, dtype=np.int64)[table.column("member").to_numpy()].T
    table = table.set_column(0, "member", pa.array(members))
    return table.add_column(0, "checkpoint", pa.array(checkpoints))


@dataclass(frozen=True)
class _Call:
    """What all episodes of a call have in common."""

    environment: Environment
    seeds: list[int]
    slots: int
    workers: int | None
    horizon: int | None
    success: Success

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots {self.slots}: give at least 1")
        if not self.seeds:
            raise ValueError("no seeds to play: give at least one")
        if min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must be different numbers from 0 on")
        judge([], self.success)

    def table(
        self, groups: Groups, members: Sequence[int], record: Recorder | None, progress: Progress | None
    ) -> pa.Table:
        """The episodes of all groups, played."""
        filmed = record.wanted(members, self.seeds) if record else []
        workers = default_workers(self.environment) if self.workers is None else self.workers
        total = len(members) * len(self.seeds)
        with Arena(self.environment, workers=min(workers, total), horizon=self.horizon) as arena:
            game = Game(arena, self.seeds, self.slots, filmed)
            for policy, numbers in groups:
                game.play(policy, numbers, (lambda done: progress(done, total)) if progress else None)
        if record and filmed:
            takes = [Take(*pair, game.outcomes[pair].total, np.stack(game.actions[pair])) for pair in filmed]
            record.film(self.environment, self.horizon, game.adapter, takes)
        pairs = [(member, seed) for member in members for seed in self.seeds]
        return _table(pairs, [game.outcomes[pair] for pair in pairs], self.success)


def _table(pairs: list[Pair], outcomes: list[Outcome], success: Success) -> pa.Table:
    columns = {
        "member": [member for member, _ in pairs],
        "seed": [seed for _, seed in pairs],
        "return": [outcome.total for outcome in outcomes],
        "success": judge(outcomes, success),
        "length": [outcome.length for outcome in outcomes],
        "task": [outcome.task for outcome in outcomes],
    }
    return pa.table(columns, EPISODES)


def _groups(policy: Policy, members: list[int], slots: int) -> Iterator[tuple[Policy, Sequence[int]]]:
    size = max(1, ENVIRONMENTS // slots)
    for first in range(0, len(members), size):
        part = members[first : first + size]
        yield (policy if part == list(range(policy.members)) else policy.take(part)), part


def _loaded(
    load: Callable[[int], Policy], arms: Sequence[tuple[int, int]], slots: int
) -> Iterator[tuple[Policy, Sequence[int]]]:
    size = max(1, ENVIRONMENTS // slots)
    for first in range(0, len(arms), size):
        part = range(first, min(first + size, len(arms)))
        chosen = groupby((arms[arm] for arm in part), key=lambda arm: arm[0])
        policies = [load(checkpoint).take([member for _, member in of]) for checkpoint, of in chosen]
        yield type(policies[0]).concatenate(policies), part


def _environment(environment: Environment | str | None, policy: Policy | None) -> Environment:
    chosen = policy.spec.environment if environment is None and policy else environment
    if chosen is None:
        raise ValueError("the policy's data names no environment; give one, such as --env CartPole-v1")
    return Environment(chosen) if isinstance(chosen, str) else chosen

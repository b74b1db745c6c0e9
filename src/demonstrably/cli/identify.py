"""`demonstrably identify PROBLEM...`: what of a reward behavior can reveal, and what would settle the rest."""

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from demonstrably.cli import parse

if TYPE_CHECKING:  # imported where they are used: `--help` does not need numpy and scipy
    import numpy as np

    from demonstrably.tabular.mdp import MDP
    from demonstrably.tabular.misspecification import Behavior
    from demonstrably.tabular.problems import Problem


@dataclass(frozen=True)
class Options:
    """Say what of the reward could be known from behavior in a tabular problem, and the cheapest thing that would
    settle the rest. Several problems, or several discounts, are several people with one reward."""

    problems: tyro.conf.Positional[tuple[str, ...]]
    """Files (.npz), or ids of Gymnasium environments that hold a table of transitions, such as FrozenLake-v1."""
    horizon: int | None = None
    """Decisions in an episode; by default the file's, or the environment's time limit. Takes the place of the
    discount, too, unless that is given with it."""
    discount: tuple[float, ...] = ()
    """Discount; by default the file's. Several are several people. Without --horizon the future has no end."""
    reward: Literal["state-action", "state", "features"] = "state-action"
    """What the reward may depend on: state and action, the state alone, or linearly on the file's features."""
    start: str | None = None
    """The state in which every episode starts, by its name or number; by default what the problem says."""
    suppose: tuple[Literal["epsilon-greedy", "hard-optimal", "myopic"], ...] = ()
    """Simulate people who behave so, and say how far off a reward would be that is inferred as if they were
    soft-optimal: for the file's reward, or the environment's, else for random ones."""
    json: bool = False
    """Print one JSON document."""
    html: Path | None = None
    """Also write the answer as one HTML file, with the graph drawn."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer, or its record."""
    options = parse(Options, arguments, prog="demonstrably identify")
    if not options.problems:
        raise ValueError("`demonstrably identify` needs a problem: an .npz file, or an id such as FrozenLake-v1")
    if options.html is not None and options.html.is_dir():
        raise ValueError(f"--html {options.html} is a folder; give the name of a file")
    from demonstrably.tabular.identify import identify

    for discount in options.discount:
        if options.discount.count(discount) > 1:
            raise ValueError(
                f"--discount {discount:g} is given more than once: a second person with the same discount adds nothing"
            )
    problems = [problem for source in options.problems for problem in _read(source, options)]
    _require_alike(problems)
    mdps, form = [problem.mdp for problem in problems], _form(problems[0], options.reward)
    if not options.json:
        lines = (f"{problem.name}: {_words(problem.mdp)}" for problem in problems)
        print("\n".join(lines), flush=True)  # before what may take a while
    known = next((problem.reward for problem in problems if problem.reward is not None), None)
    found = identify(mdps, reward=form, suppose=_behaviors(options.suppose), known=known)
    if options.html is not None:
        from demonstrably.report.identification import write_identification

        path = write_identification(found, [(problem.name, problem.mdp) for problem in problems], options.html)
        print(path.resolve(), file=sys.stderr)
    if options.json:
        described = [{"name": problem.name, **_record(problem.mdp)} for problem in problems]
        print(json.dumps({"problems": described, "reward": options.reward, **found.to_dict()}))
        return 0
    print(found)
    return 0


def _read(source: str, options: Options) -> list["Problem"]:
    """The problem once, or once a discount."""
    from demonstrably.tabular.problems import read

    found = []
    for discount in options.discount or (None,):
        problem = read(source, discount=discount, horizon=options.horizon)
        found.append(problem if options.start is None else _started(problem, options.start))
    return found


def _require_alike(problems: Sequence["Problem"]) -> None:
    first = problems[0]
    for other in problems[1:]:
        if (other.mdp.states, other.mdp.actions) != (first.mdp.states, first.mdp.actions):
            raise ValueError(
                f"{other.name} has {other.mdp.states} states and {other.mdp.actions} actions, {first.name} has "
                f"{first.mdp.states} and {first.mdp.actions}: people with one reward share their states and actions"
            )


def _started(problem: "Problem", start: str) -> "Problem":
    from dataclasses import replace

    names = problem.mdp.state_names
    if start in names:
        state = names.index(start)
    elif start.isdecimal() and int(start) < len(names):
        state = int(start)
    else:
        number = start.lstrip("-").isdecimal()  # of which none is nearer than another
        near = [] if number else difflib.get_close_matches(start, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"give a name, such as {names[0]!r}, or 0 to {len(names) - 1}"
        raise ValueError(f"--start {start}: {problem.name} has no such state; {hint}")
    return replace(problem, mdp=problem.mdp.replace(initial=state))


def _form(problem: "Problem", reward: str) -> "str | np.ndarray":
    """What `identify` is told of the reward."""
    if reward != "features":
        return reward.replace("-", "_")
    if problem.features is None:
        raise ValueError(f"--reward features: {problem.name} has no features; give them in the file, (S * A, d)")
    return problem.features


def _behaviors(names: Sequence[str]) -> "list[Behavior]":
    from demonstrably.tabular.misspecification import EpsilonGreedy, HardOptimal, Myopic

    known = {"epsilon-greedy": EpsilonGreedy(), "hard-optimal": HardOptimal(), "myopic": Myopic()}
    return [known[name] for name in names]


def _words(mdp: "MDP") -> str:
    end = "without end" if mdp.horizon is None else f"horizon {mdp.horizon}"
    return f"{mdp.states} states, {mdp.actions} actions, discount {mdp.discount:g}, {end}"


def _record(mdp: "MDP") -> dict[str, Any]:
    return {"states": mdp.states, "actions": mdp.actions, "discount": mdp.discount, "horizon": mdp.horizon}

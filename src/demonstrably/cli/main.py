"""`demonstrably COMMAND`: find the command, run it, and turn a user's mistake into one line.

Nothing heavy is imported here: the commands are a static table, and only the one that runs is loaded.
"""

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import demonstrably
from demonstrably.cli import suggest


@dataclass(frozen=True)
class Command:
    """Where a command lives, what it does, and how to go on after it was interrupted."""

    module: str
    summary: str
    resume: str = ""


COMMANDS = {
    "inspect": Command("inspect", "what is in a file of demonstrations, and what is wrong with it"),
    "train": Command(
        "train",
        "learn policies from demonstrations into a run folder",
        "a run is kept up to its last checkpoint; the same command with --resume goes on from there, or from the start",
    ),
    "evaluate": Command("evaluate", "roll a checkpoint out and give its score with an interval"),
    "select": Command(
        "select",
        "find the best checkpoint of a run and re-estimate its score on fresh seeds",
        "the rollouts done are kept; the same command goes on from there",
    ),
    "compare": Command("compare", "say which run is better, by a paired test on shared seeds"),
    "reward": Command("reward", "score recorded episodes by the reward that a run learned, and say how true it is"),
    "identify": Command("identify", "say what of a reward behavior could reveal, and what would settle the rest"),
    "audit": Command(
        "audit",
        "say whether groups meet the same cost in decisions about them, and if that can be told",
        "nothing is written before the end; without --bayesian it takes seconds",
    ),
    "elicit": Command(
        "elicit",
        "ask a person for few decisions, and say what they weigh against what",
        "the answers are kept in the journal; the same command goes on from there",
    ),
    "report": Command("report", "write one HTML file that tells a run's whole story"),
    "doctor": Command("doctor", "versions, device, rendering, and what each missing extra would enable"),
    "demo": Command("demo", "the whole path on people's play of Overcooked, from data to report"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 after a user's mistake, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if os.environ.get("DEMONSTRABLY_TRACEBACK"):
        return _run(given)
    try:
        return _run(given)
    except BrokenPipeError:
        # The reader of a pipe left (`demonstrably ... | head`). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as the shell has it
    except KeyboardInterrupt:
        resume = COMMANDS[given[0]].resume if given and given[0] in COMMANDS else ""
        print(f"demonstrably: interrupted{resume and '; '}{resume}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        message = _missing_module(error)
    except (ValueError, OSError, FloatingPointError) as error:
        message = _one_line(error)
    print(f"demonstrably: error: {message}", file=sys.stderr)
    return 2


def _run(given: list[str]) -> int:
    name = given[0] if given else "--help"
    if name in ("-h", "--help"):
        print(_help())
        status = 0
    elif name in ("-V", "--version"):
        print(f"demonstrably {demonstrably.__version__}")
        status = 0
    elif name in COMMANDS:
        status = vars(_loaded(COMMANDS[name]))["main"](given[1:])
    else:
        raise ValueError(f"unknown command {name!r}; {suggest(name, COMMANDS)}")
    sys.stdout.flush()  # a broken pipe shows here and not at exit
    return status


def _loaded(command: Command) -> ModuleType:
    """The command's module, with all that it imports.

    Imports make objects by the hundred thousand and drop next to none. Collecting garbage among them takes a fifth of
    the time that they take, and every later collection would go through them again.
    """
    gc.disable()
    try:
        return import_module(f"demonstrably.cli.{command.module}")
    finally:
        gc.freeze()
        gc.enable()


def _missing_module(error: ModuleNotFoundError) -> str:
    """How to get a module of an extra. Raises the error again where it is of none: then it is a defect."""
    from demonstrably.cli.doctor import how_to_install

    install = how_to_install(error.name or "")
    if install is None:
        raise error
    return f"this needs the module {error.name!r}, which is not installed: {install}"


def _one_line(error: ValueError | OSError | FloatingPointError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


def _help() -> str:
    rows = [(name, command.summary) for name, command in COMMANDS.items()]
    options = [("--help", "show this; `demonstrably COMMAND --help` shows a command's options")]
    options.append(("--version", "show the version"))
    return "\n".join(
        [
            "usage: demonstrably COMMAND [options]",
            "",
            "From human demonstrations to a policy with an honest score.",
            "",
            "commands:",
            *(f"  {name:10} {summary}" for name, summary in rows),
            "",
            "options:",
            *(f"  {name:10} {summary}" for name, summary in options),
            "",
            "DEMONSTRABLY_TRACEBACK=1 shows the full traceback of an error.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

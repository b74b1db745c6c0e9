"""The command line as a person meets it: help, typos, one-line errors, exit statuses."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal

import pytest
import tyro

from demonstrably import __version__
from demonstrably.cli import parse
from demonstrably.cli.main import COMMANDS, main


@dataclass(frozen=True)
class Network:
    """The network.

    Of any kind.
    """

    learning_rate: float | tuple[float, ...] = 1e-4
    """Step size."""
    hidden: tuple[int, ...] = (512, 512)


@dataclass(frozen=True)
class Options:
    """Do a thing."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    data: Path
    """The file."""
    members: int = 1
    resume: bool = False
    head: Literal["mixture", "gaussian"] = "mixture"
    checkpoint: int | None = None
    seed: Annotated[int, tyro.conf.arg(aliases=["-s"])] = 0
    network: tyro.conf.OmitArgPrefixes[Network] = field(default_factory=Network)


GOOD = ["runs/a", "--data", "x.hdf5"]


def error_of(*arguments: str) -> str:
    with pytest.raises(ValueError) as caught:
        parse(Options, arguments, prog="demonstrably try")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parse_fills_the_dataclass():
    options = parse(
        Options,
        [
            *GOOD,
            "--learning-rate",
            "1e-4",
            "1e-3",
            "--resume",
            "--head=gaussian",
            "--checkpoint",
            "5",
            "-s",
            "3",
        ],
        prog="demonstrably try",
    )
    network = Network(learning_rate=(1e-4, 1e-3))
    assert options == Options(Path("runs/a"), Path("x.hdf5"), 1, True, "gaussian", 5, 3, network)


def test_parse_negates_a_bool():
    assert parse(Options, [*GOOD, "--resume", "--no-resume"], prog="demonstrably try").resume is False


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        (["--lerning-rate", "3"], "--learning-rate"),
        (["--lerning_rate=3"], "--learning-rate"),
        (["--member=3"], "--members"),
        (["--resum"], "--resume"),
        (["--no-resum"], "--no-resume"),
    ],
)
def test_unknown_flag_names_the_nearest(wrong, nearest):
    message = error_of(*GOOD, *wrong)
    assert message.startswith(f"unknown flag {wrong[0].split('=')[0]} for `demonstrably try`")
    assert message.endswith(f"did you mean {nearest}?")


def test_unknown_flag_comes_before_what_is_missing():
    assert error_of("runs/a", "--dta", "x").endswith("did you mean --data?")


def test_far_flag_points_to_help():
    assert error_of(*GOOD, "--zzzzzz").endswith("see `demonstrably try --help`")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["runs/a"], ["`demonstrably try` needs --data PATH"]),
        (["--data", "x"], ["needs RUN"]),
        ([], ["needs RUN, --data PATH;"]),
        ([*GOOD, "--members", "two"], ["--members", "'two'"]),
        ([*GOOD, "--members"], ["--members"]),
        ([*GOOD, "--head", "mix"], ["--head", "'mix'", "mixture", "gaussian"]),
        ([*GOOD, "--checkpoint", "last"], ["--checkpoint got 'last'; give INT"]),
        ([*GOOD, "--learning-rate", "fast"], ["--learning-rate got 'fast'; give FLOAT"]),
        ([*GOOD, "--learning_rate=fast"], ["--learning-rate got 'fast'; give FLOAT"]),
        ([*GOOD, "again"], ["unexpected argument again"]),
    ],
)
def test_other_mistakes_are_one_line(arguments, parts):
    message = error_of(*arguments)
    assert all(part in message for part in parts), message
    assert not any(stroke in message for stroke in "│─╭╰")


def test_mistakes_are_one_line_on_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert error_of(*GOOD, "--checkpoint", "last").startswith("--checkpoint got 'last'; give INT")
    assert error_of(*GOOD, "--lerning-rate", "3").endswith("did you mean --learning-rate?")


def test_help_of_a_command_is_on_stdout(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Options, ["--help"], prog="demonstrably try")
    shown = capsys.readouterr()
    assert stop.value.code == 0
    assert "--learning-rate" in shown.out and shown.err == ""


def test_help_names_every_command(capsys):
    assert main([]) == 0
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: demonstrably {name}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"demonstrably {__version__}\n"


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of `demonstrably doctor`."""

    def put(function):
        stand_in = ModuleType("demonstrably.cli.doctor")
        vars(stand_in)["main"] = function
        monkeypatch.setitem(sys.modules, "demonstrably.cli.doctor", stand_in)

    return put


def raising(error: BaseException):
    def command_main(arguments):
        raise error

    return command_main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("episode 3 of a.hdf5\n  holds a NaN"), "episode 3 of a.hdf5 holds a NaN"),
        (ValueError(), "ValueError"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.hdf5"),
            "No such file or directory: a.hdf5",
        ),
        (OSError("truncated file"), "truncated file"),
        (FloatingPointError("loss of member 0 is nan at step 7"), "loss of member 0 is nan at step 7"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(error, line, command, capsys):
    command(raising(error))
    assert main(["doctor"]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"demonstrably: error: {line}\n"
    assert shown.out == ""


def test_a_traceback_on_request(command, monkeypatch):
    monkeypatch.setenv("DEMONSTRABLY_TRACEBACK", "1")
    command(raising(ValueError("wrong")))
    with pytest.raises(ValueError, match="wrong"):
        main(["doctor"])


def test_a_defect_is_not_hidden(command):
    command(raising(TypeError("a defect")))
    with pytest.raises(TypeError, match="a defect"):
        main(["doctor"])


def test_the_status_and_the_arguments_pass_through(command):
    command(len)
    assert main(["doctor", "a", "b", "c"]) == 3


def test_unknown_command_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "demonstrably: error: unknown command 'trian'; did you mean train?\n"


def test_interrupt(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "demonstrably: interrupted\n"


def test_an_interrupted_audit_says_that_nothing_was_written(monkeypatch, capsys):
    stand_in = ModuleType("demonstrably.cli.audit")
    vars(stand_in)["main"] = raising(KeyboardInterrupt())
    monkeypatch.setitem(sys.modules, "demonstrably.cli.audit", stand_in)
    assert main(["audit", "table.csv"]) == 130
    assert capsys.readouterr().err.startswith("demonstrably: interrupted; nothing is written before the end")


def test_interrupted_training_says_how_to_go_on(monkeypatch, capsys):
    stand_in = ModuleType("demonstrably.cli.train")
    vars(stand_in)["main"] = raising(KeyboardInterrupt())
    monkeypatch.setitem(sys.modules, "demonstrably.cli.train", stand_in)
    assert main(["train", "bc"]) == 130
    line = capsys.readouterr().err
    assert line.startswith("demonstrably: interrupted; a run is kept")
    assert line.count("\n") == 1 and "--resume" in line


def test_a_missing_module_of_an_extra_says_how_to_get_it(monkeypatch, capsys):
    stand_in = ModuleType("demonstrably.cli.report")
    vars(stand_in)["main"] = raising(ModuleNotFoundError("no module", name="av.video"))
    monkeypatch.setitem(sys.modules, "demonstrably.cli.report", stand_in)
    assert main(["report"]) == 2
    assert capsys.readouterr().err.endswith(": pip install 'av>=14'\n")


def test_another_missing_module_is_a_defect(monkeypatch):
    stand_in = ModuleType("demonstrably.cli.report")
    vars(stand_in)["main"] = raising(ModuleNotFoundError("no module", name="demonstrably.nothing"))
    monkeypatch.setitem(sys.modules, "demonstrably.cli.report", stand_in)
    with pytest.raises(ModuleNotFoundError):
        main(["report"])


def test_a_closed_pipe_is_quiet():
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "demonstrably.cli.main", "--help"],
            env=buffered,
            stdout=pipe,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 141
    assert done.stderr == b""

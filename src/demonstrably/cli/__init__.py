"""The command line: one file a command, thin. This file turns arguments into a dataclass of options."""

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, TypeVar

Options = TypeVar("Options")

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FLAG = re.compile(r"--[a-z0-9][\w.-]*")
_NOT_A_NUMBER = re.compile(r"(invalid literal for int\(\) with base 10|could not convert string to float): ('.*?')")
# tyro ends an error with this where no reading of a union fits the given words.
_UNION = re.compile(r"Error parsing (\S+): no type matching (.+) could be instantiated from \[(.*?)\]\..*")


def parse(
    options: type[Options], arguments: Sequence[str] | None = None, *, prog: str, registry: Any = None
) -> Options:
    """Read command-line arguments into a dataclass of options.

    Args:
        options: the dataclass. `learning_rate` becomes `--learning-rate`, a bool becomes `--flag/--no-flag`,
            `tyro.conf.Positional[Path]` a positional argument.
        arguments: the words after the command; `sys.argv[1:]` by default.
        prog: what the user typed before them, for example "demonstrably train bc".
        registry: a `tyro.constructors.ConstructorRegistry` for types that tyro does not know.

    Raises:
        ValueError: a wrong argument, in one line that names the nearest valid flag.
        SystemExit: with status 0, after `--help` was printed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return _tyro(options, given, prog, registry)
    except SystemExit as stop:
        if not stop.code:
            raise
    known = _known_flags(options, prog, registry)
    raise ValueError(_explain(known, given, prog, _ANSI.sub("", errors.getvalue())))


def suggest(word: str, known: Iterable[str]) -> str:
    """What to try in place of a word that is not known: the nearest one, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"


def _tyro(options: type[Options], given: list[str], prog: str, registry: Any) -> Options:
    import tyro  # 0.1 s that `demonstrably --help` does not pay

    names = (tyro.conf.PositionalMetavarFromFieldName,)
    return tyro.cli(options, args=given, prog=prog, config=names, registry=registry)


def _explain(known: list[str], given: list[str], prog: str, box: str) -> str:
    """One line that says what is wrong with the arguments, from those and from the box that tyro drew."""
    for word in given:
        flag = word.split("=")[0].replace("_", "-")
        if flag.startswith("--") and len(flag) > 2 and flag not in known:
            near = difflib.get_close_matches(flag, known, n=1, cutoff=0.6)
            advice = f"did you mean {near[0]}?" if near else f"see `{prog} --help`"
            return f"unknown flag {word.split('=')[0]} for `{prog}`; {advice}"
    body = _first_section(box)
    if body and body[0].startswith("Missing from"):
        # The names stand at an indent of four, their help deeper.
        missing = [line.strip() for line in body if re.match(r" {4}\S", line)]
        return f"`{prog}` needs {', '.join(missing)}; see `{prog} --help`"
    return _reword(" ".join(" ".join(body).split()), prog)


def _reword(text: str, prog: str) -> str:
    """tyro's sentence, in the words of this command line."""
    union = _UNION.match(text)
    if union:
        flag, allowed, value = union.groups()
        return f"{flag} got {value}; give {allowed.removeprefix('{None}|')}"
    if text.startswith("Unrecognized options: "):
        return f"unexpected argument {text.removeprefix('Unrecognized options: ')}; see `{prog} --help`"
    # What a dataclass of options refuses as a whole names its class, which is no word of the command line
    text = text.removeprefix("Error parsing ").removeprefix("Options: ").rstrip(".")
    text = _NOT_A_NUMBER.sub(lambda m: f"{m[2]} is not a {'whole ' if 'int' in m[1] else ''}number", text)
    return text if text.endswith("?") else f"{text}; see `{prog} --help`"


def _first_section(box: str) -> list[str]:
    """The lines of a box up to its first rule, without the frame."""
    lines = [line.removeprefix("│ ").removesuffix("│") for line in box.splitlines() if line.startswith("│")]
    if not lines:  # standard output takes no frame: a title, a rule, the text at an indent of two
        lines = [line.removeprefix("  ") for line in box.splitlines()[2:]]
    return [line.rstrip() for line in takewhile(lambda line: not line.startswith(("───", "---")), lines)]


def _known_flags(options: type[Any], prog: str, registry: Any) -> list[str]:
    """All flags of the options, read off `--help`: the one public place that knows aliases and prefixes."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        _tyro(options, ["--help"], prog, registry)
    lines = (line.lstrip("│ ") for line in _ANSI.sub("", text.getvalue()).splitlines())
    return [flag for line in lines if line.startswith("-") for flag in _FLAG.findall(line)]

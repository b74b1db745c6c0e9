"""The blocks that a section is made of. Jinja escapes every value that is not Markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .charts import Row

TEMPLATES = Path(__file__).parent / "templates"
ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Table:
    """Text in rows; columns with an index in `numeric` are aligned to the right. `note` stands below.

    With `wrap` long text goes on in the next line; else it is cut. `head` may be empty: rows without names of columns.
    """

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()
    note: str = ""
    wrap: bool = False


@dataclass(frozen=True)
class Section:
    """A headed part of the page. `level` 1 or 2; `id` is what links point to."""

    id: str
    title: str
    level: int
    blocks: Sequence[Markup]
    opens_run: bool = False  # a heading above all sections of one run


@dataclass(frozen=True)
class Group:
    """Named values under a title."""

    title: str
    entries: Sequence[tuple[str, str]]


def _fill(macro: str, *values: Any) -> Markup:
    module = ENVIRONMENT.get_template("blocks.html").module
    return Markup(vars(module)[macro](*values))


def text(words: str, style: str = "") -> Markup:
    """A paragraph."""
    return _fill("text", words, style)


def missing(words: str, command: str = "") -> Markup:
    """One line in place of what is not there, with the command that makes it."""
    return _fill("missing", words, command)


def figure(title: str, note: str, drawing: Markup, table: Table | None = None) -> Markup:
    """A drawing with its title above and its numbers folded below."""
    return _fill("figure", title, note, drawing, table)


def table(title: str, content: Table) -> Markup:
    """A table in a box of its own that scrolls."""
    return _fill("table", title, content)


def rows(title: str, note: str, axis: Markup, lines: Sequence[Row]) -> Markup:
    """A chart in rows: name, drawing, value."""
    return _fill("rows", title, note, axis, lines)


def legend(entries: Sequence[tuple[str, str]], note: str = "") -> Markup:
    """What colors mean, from (style, text)."""
    return _fill("legend", entries, note)


def fold(title: str, content: Sequence[Markup]) -> Markup:
    """Blocks folded behind a title."""
    return _fill("fold", title, content)


def definitions(groups: Sequence[Group]) -> Markup:
    """Groups of named values side by side."""
    return _fill("definitions", groups)


def findings(entries: Sequence[dict[str, Any]]) -> Markup:
    """A list of findings: severity, message, where, advice, and how many `more` are like it."""
    return _fill("findings", entries)


def video(name: str, source: str, note: str) -> Markup:
    """A film from a data URI."""
    return _fill("video", name, source, note)


def link(name: str, target: str, note: str) -> Markup:
    """A link to a file beside the page."""
    return _fill("link", name, target, note)


def frame(name: str, fragment: str) -> Markup:
    """A fragment of HTML as a document in a sandbox: it reaches neither the page nor the network."""
    document = ENVIRONMENT.get_template("frame.html").render(fragment=Markup(fragment))
    return _fill("frame", name, document)

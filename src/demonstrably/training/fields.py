"""A learner's fields as JSON and as short text, and back: `LSTM(hidden=1000)` is `lstm(hidden=1000)`.

One notation serves the command line, the saved configuration and the tables of a sweep.
"""

import ast
import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def to_fields(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON; a field that is itself a dataclass becomes its short text."""
    values = {field.name: vars(record)[field.name] for field in dataclasses.fields(record)}
    return {name: _to_json(value) for name, value in values.items()}


def from_fields(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass that `to_fields` wrote."""
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {', '.join(unknown)}: was it saved by another version?")
    return kind(**{name: _from_json(value, hints[name], name) for name, value in values.items()})


def require_finite(record: Any) -> None:
    """ValueError names a number that is none among the fields of a dataclass and of the dataclasses in it."""
    for field in dataclasses.fields(record):
        value = vars(record)[field.name]
        if dataclasses.is_dataclass(value):
            require_finite(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} of {text_name(type(record))} is {value}: give a finite number")


def to_text(part: Any) -> str:
    """A dataclass as `name(field=value, ...)`, fields at their defaults left out."""
    changed = [
        f"{field.name}={to_text(value) if dataclasses.is_dataclass(value) else repr(value)}"
        for field in dataclasses.fields(part)
        if (value := vars(part)[field.name]) != field.default
    ]
    name = text_name(type(part))
    return f"{name}({', '.join(changed)})" if changed else name


def from_text(text: str, kinds: tuple[type, ...], what: str, usual: tuple[Any, ...] = ()) -> Any:
    """One of the dataclasses from `name` or `name(field=value, ...)`. ValueError names what is allowed.

    What is left out is as in the `usual` one of its kind, if there is one, else at the default.
    """
    by_name = {text_name(kind): kind for kind in kinds}
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", text)
    name = match.group(1).lower() if match else text
    if not match or name not in by_name:
        hint = _nearest([name], by_name)
        raise ValueError(f"{what} {text!r}: give one of {', '.join(by_name)}, e.g. {example(kinds[0])}{hint}")
    given = _arguments(match.group(2) or "")
    if given is None:
        raise ValueError(f"{what} {text!r}: write it as {example(by_name[name])}")
    hints = typing.get_type_hints(by_name[name])
    if any(field not in hints for field in given):
        known = ", ".join(hints) or "nothing"
        hint = _nearest([field for field in given if field not in hints], hints)
        raise ValueError(f"{what} {text!r}: {name} takes {known}, as in {example(by_name[name])}{hint}")
    values = {field: _value(node, hints[field], field) for field, node in given.items()}
    for field, value in values.items():
        if not _fits(value, hints[field]):
            wanted = _wanted(hints[field])
            advice = f"give {wanted}" if wanted else f"write it as {example(by_name[name], field)}"
            raise ValueError(f"{what} {text!r}: {field} cannot be {value!r}; {advice}")
    whole = {field: _is_real(hints[field]) and isinstance(value, int) for field, value in values.items()}
    values = {field: float(value) if whole[field] else value for field, value in values.items()}
    base = next((part for part in usual if type(part) is by_name[name]), None)
    return dataclasses.replace(base, **values) if base else by_name[name](**values)


def _nearest(words: Iterable[str], known: Iterable[str]) -> str:
    """What the first of the words that is like a known one may mean, as the end of a message; "" where none is."""
    near = [name for word in words for name in difflib.get_close_matches(word, list(known), 1)]
    return f"; did you mean {near[0]}?" if near else ""


def text_name(kind: type) -> str:
    """`GaussianMixture` is `gaussian-mixture`, `ResNet18` is `resnet18`."""
    # ResNet is one word
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__.replace("ResNet", "Resnet")).lower()


def example(kind: type, name: str | None = None) -> str:
    """The dataclass written with the default of a field: of the one that is named, or its first, if it has any."""
    fields = [field for field in dataclasses.fields(kind) if name in (None, field.name)]
    first = [f"({field.name}={field.default!r})" for field in fields[:1]]
    return text_name(kind) + "".join(first)


def parts_of(hint: Any) -> tuple[type, ...]:
    """The dataclasses that a type hint admits, none where it admits none."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return tuple(option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option))


def _arguments(text: str) -> dict[str, ast.expr] | None:
    """What stands in `field=value, ...`, None where it is written otherwise."""
    try:
        # Parts are named with hyphens, which are no part of a Python name
        call = ast.parse(f"f({re.sub(r'(?<=[a-z0-9])-(?=[a-z])', '_', text)})", mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # what it may raise
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        return None
    given = {str(keyword.arg): keyword.value for keyword in call.keywords}
    usable = all(_is_part(node) or _literal(node) is not None for node in given.values())
    return given if len(given) == len(call.keywords) and usable else None


def _is_part(node: ast.expr) -> bool:
    """Whether it is written as a part is: a name, with or without fields."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name))


def _literal(node: ast.expr) -> tuple[Any] | None:
    """The value of a number, a word, a truth value or a tuple of them, alone in a tuple; None where it is none."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None


def _value(node: ast.expr, hint: Any, field: str) -> Any:
    """What a field is given: a part of its own, or a plain value."""
    plain = _literal(node)
    if plain is not None:
        return plain[0]
    words = ast.unparse(node)
    lower = {"none": None, "true": True, "false": False}
    if words in lower and _fits(lower[words], hint):
        return lower[words]
    kinds = parts_of(hint)
    return from_text(words.replace("_", "-", words.split("(")[0].count("_")), kinds, field) if kinds else words


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type of a field: a number, a truth value, one of some words, a part, or a tuple."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    if options:
        return any(_fits(value, option) for option in options)
    if hint is types.NoneType:
        return value is None
    if _is_word(hint):
        return isinstance(value, str) and value in typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(one, typing.get_args(hint)[0]) for one in value)
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    return isinstance(value, int | float) if hint is float else isinstance(value, hint)


def _wanted(hint: Any) -> str:
    """What a field of plain values may be given, "" for any other."""
    if _is_word(hint):
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    plain = {bool: "True or False", int: "a whole number", float: "a number", types.NoneType: "None"}
    options = typing.get_args(hint) or (hint,)
    return " or ".join(plain[option] for option in options) if all(option in plain for option in options) else ""


def _is_real(hint: Any) -> bool:
    """Whether a whole number given for it means a real one."""
    return hint is float or (float in typing.get_args(hint) and int not in typing.get_args(hint))


def _is_word(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_text(value)
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any, hint: Any, name: str) -> Any:
    kinds = parts_of(hint)
    if kinds and isinstance(value, str):
        return from_text(value, kinds, name)
    return tuple(value) if isinstance(value, list) else value

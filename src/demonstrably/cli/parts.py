"""How the command line reads the parts of a learner: `--head gaussian-mixture`, `--body "lstm(hidden=1000)"`."""

from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from demonstrably.training.fields import from_text, parts_of, text_name, to_text

AUTO = "auto"  # stands for None: the learner chooses


def registry(*whole: type, usual: tuple[Any, ...] = ()) -> ConstructorRegistry:
    """Teaches tyro that a field whose type is a dataclass, or several, is one word on the command line.

    The fields of the `whole` ones, and of those of the command line itself, are flags of their own. What a part leaves
    out is as in the `usual` one of its kind.
    """
    rules = ConstructorRegistry()
    rules.primitive_rule(lambda info: _part(info, whole, usual))
    return rules


def _part(
    info: PrimitiveTypeInfo, whole: tuple[type, ...], usual: tuple[Any, ...]
) -> PrimitiveConstructorSpec[Any] | None:
    kinds = parts_of(info.type)
    if not kinds or any(kind in whole or kind.__module__.startswith("demonstrably.cli") for kind in kinds):
        return None
    names = " | ".join(text_name(kind) for kind in kinds)
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=names,
        instance_from_str=lambda words: None if words[0] == AUTO else from_text(words[0], kinds, "part", usual),
        is_instance=lambda value: value is None or isinstance(value, kinds),
        str_from_instance=lambda value: [AUTO if value is None else to_text(value)],
    )

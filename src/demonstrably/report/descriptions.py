"""What a run is made of, in words: its data with what was found in them, and its configuration."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from . import blocks
from .blocks import Group, Table
from .figures import number
from .reading import Folder

SHOWN_FINDINGS = 40
ALIKE = 3  # findings of one kind that are written out
SHOWN_ROWS = 200


def data_blocks(folder: Folder) -> list[Markup]:
    """What was found in the data, and folded below it what they hold."""
    if folder.findings is None:
        data = folder.config.get("data")
        path = data.get("path") if isinstance(data, dict) else None
        hint = f"demonstrably inspect {shlex.quote(str(path or 'FILE'))}"
        return [blocks.missing("The run holds no findings about its data. To see them:", hint)]
    shown = _findings(folder.findings.get("findings"))
    summary = folder.findings.get("summary")
    if isinstance(summary, dict) and summary:
        shown.append(blocks.fold("What the data hold", _summary(summary)))
    return shown


def _findings(found: Any) -> list[Markup]:
    """Findings in order of severity; of many of one kind the first are written out and the others counted."""
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    if not entries:
        return [blocks.text("Nothing in the data speaks against learning from them.")]
    written: list[dict[str, Any]] = []
    for (severity, _), like in groupby(entries, lambda entry: (entry.get("severity"), entry.get("kind"))):
        first, more = list(like), 0
        first, more = first[:ALIKE], len(first[ALIKE:])
        grave = severity if severity in ("error", "warning", "note") else "note"
        for entry in first:
            named = {name: str(entry.get(name) or "") for name in ("message", "where", "advice")}
            written.append({"severity": grave, "more": more if entry is first[-1] else 0, **named})
    shown = [blocks.findings(written[:SHOWN_FINDINGS])]
    if len(written) > SHOWN_FINDINGS:
        shown.append(blocks.missing(f"{len(written) - SHOWN_FINDINGS} more are in findings.json."))
    return shown


def _summary(summary: Mapping[str, Any]) -> list[Markup]:
    """Records as tables, everything else as named values."""
    tables: dict[str, list[Mapping[str, Any]]] = {}
    plain: dict[str, Any] = {}
    for name, value in summary.items():
        if _is_records(value):
            tables[name] = value
        elif isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            tables[name] = [{"name": key, **inner} for key, inner in value.items()]
        elif isinstance(value, dict) and value and all(_is_records(inner) for inner in value.values()):
            tables |= {f"{name}: {key}": inner for key, inner in value.items()}
        else:
            plain[name] = value
    return [
        blocks.definitions([Group("Summary", pairs(plain))]),
        *(blocks.table(_title(name), _table(records)) for name, records in tables.items()),
    ]


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _table(records: Sequence[Mapping[str, Any]]) -> Table:
    """A row a record; columns that are empty in all of them are left out."""
    names = list(dict.fromkeys(name for record in records for name in record))
    used = [name for name in names if any(record.get(name) is not None for record in records)]
    rows = [tuple(brief(record.get(name)) for name in used) for record in records[:SHOWN_ROWS]]
    whole = [all(isinstance(record.get(name), int | float) for record in records) for name in used]
    numeric = tuple(index for index, is_number in enumerate(whole) if is_number)
    note = f"{len(records) - SHOWN_ROWS} more rows are in findings.json." if len(records) > SHOWN_ROWS else ""
    return Table(tuple(name.replace("_", " ") for name in used), rows, numeric, note)


def configuration_blocks(folder: Folder) -> list[Markup]:
    """Everything that was decided, grouped, with long lists cut."""
    config = {name: value for name, value in folder.config.items() if name not in ("spec", "plan")}
    plan = folder.config.get("plan")
    if isinstance(plan, dict):
        config["plan"] = {name: value for name, value in plan.items() if folder.config.get(name) != value}
    plain = [(name.replace("_", " "), brief(value)) for name, value in config.items() if not isinstance(value, dict)]
    groups = [Group("Run", plain)]
    groups += [_group(name, value) for name, value in config.items() if isinstance(value, dict) and value]
    spec = folder.config.get("spec")
    groups += _spec_groups(spec) if isinstance(spec, dict) else []
    return [blocks.definitions(groups)]


def _group(name: str, values: Any) -> Group:
    return Group(_title(name), pairs(values))


def _title(name: str) -> str:
    """A name from a file as a title."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _spec_groups(spec: dict[str, Any]) -> list[Group]:
    """The spec without its statistics: shapes and types of observations, the rest as it is."""
    seen = spec.get("observations")
    fields = seen.items() if isinstance(seen, dict) else ()
    shapes = [(name, f"{brief(f.get('shape'))} {f.get('dtype', '')}") for name, f in fields if isinstance(f, dict)]
    others = [_group(name, value) for name, value in spec.items() if name != "observations" and value]
    return [Group("Observations", shapes), *others]


def pairs(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Names and short values of nested dictionaries, with dots between the names."""
    if not isinstance(values, dict):
        return [(prefix.rstrip(".") or "value", brief(values))]
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        label = f"{prefix}{str(name).replace('_', ' ')}"
        found += pairs(value, f"{label}.") if isinstance(value, dict) and value else [(label, brief(value))]
    return found


def brief(value: Any) -> str:
    """A value as short text: a long list by its length and its beginning."""
    if isinstance(value, list):
        if len(value) > 2 and all(item == value[0] for item in value):
            return f"{len(value)} × {brief(value[0])}"
        shown = ", ".join(brief(item) for item in value[:6])
        return f"{len(value)} values: {shown}, ..." if len(value) > 6 else shown or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {brief(inner)}" for name, inner in value.items()) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value) if abs(value) < 1e5 else f"{value:,.0f}"
    text = f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
    return text if len(text) <= 400 else text[:399] + "…"

"""Finding and Findings: what was noticed about a set of demonstrations, and what to do about it."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing noticed.

    `kind` is a short stable name, `where` names the episode, key, dimension or step, `message` says what
    was found and `advice` what to do. An "error" makes training on the data unsound, a "warning" may, a
    "note" is for knowing.
    """

    severity: Severity
    kind: str
    where: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        place = f" {self.where}:" if self.where else ""
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.severity} [{self.kind}]{place} {self.message}{advice}"


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """All findings about one set of demonstrations, the gravest first, and a summary of the data."""

    found: tuple[Finding, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ranks = [SEVERITIES.index(finding.severity) for finding in self.found]
        if ranks != sorted(ranks):
            raise ValueError("findings must be given in order of severity; use Findings.of")

    @classmethod
    def of(cls, found: Sequence[Finding], summary: Mapping[str, Any] | None = None) -> "Findings":
        """Findings in order of severity; equal severities keep their order."""
        return cls(tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity))), summary or {})

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by severity."""
        return {severity: sum(one.severity == severity for one in self.found) for severity in SEVERITIES}

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(one for one in self.found if one.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: counts by severity, the summary, and one record a finding."""
        return {
            "counts": self.counts,
            "summary": dict(self.summary),
            "findings": [asdict(one) for one in self.found],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Findings":
        """The findings that `to_dict` wrote."""
        return cls.of([Finding(**one) for one in values["findings"]], values["summary"])

    def __str__(self) -> str:
        return "\n".join(str(one) for one in self.found) or "nothing found"

    def _repr_html_(self) -> str:
        cells = [[one.severity, one.kind, one.where, one.message, one.advice] for one in self.found]
        head = "".join(f"<th>{name}</th>" for name in ("severity", "kind", "where", "what", "advice"))
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

"""`demonstrably audit DECISIONS`: do groups meet the same threshold, and what of it can the data tell?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from demonstrably.cli import parse


@dataclass(frozen=True)
class Options:
    """Say what cost of a false positive the decisions on each group reveal, whether the costs differ, and whether the
    data can tell. The posterior comes from a column of it, or from a score or features together with outcomes."""

    decisions: tyro.conf.Positional[Path]
    """A table with one row a decision: .csv, .csv.gz or .parquet."""
    decision: str
    """The column with what was decided: 0 or 1, yes or no, or two words and --positive."""
    group: str
    """The column with the group of the person decided on."""
    outcome: str | None = None
    """The column with what happened, empty where it was not seen."""
    features: tuple[str, ...] = ()
    """Columns that the decision maker saw; `rest` alone stands for all that nothing else uses, which must
    not hold what came after the decision."""
    posterior: str | None = None
    """The column with the probability of the outcome, if it is known; outcomes are not needed then."""
    score: str | None = None
    """The column with a score that orders cases by their risk; needs --outcome."""
    person: str | None = None
    """The column with who decided. Decisions of one person are not taken as independent."""
    case: str | None = None
    """The column with which case was decided, where several people decide on the same."""
    department: str | None = None
    """The column with the place (station, branch), for --bayesian."""
    positive: str | None = None
    """The word that stands for decision 1, where the decisions are words."""
    positive_outcome: str | None = None
    """The word that stands for outcome 1, where the outcomes are words."""
    benefit: bool = False
    """Decision 1 is good for the person decided on (a loan, a release); without it, it is a burden."""
    bayesian: bool = False
    """Also sample the threshold test and the fast threshold test. Needs outcomes; takes minutes."""
    level: float = 0.95
    """Confidence level of all intervals and tests."""
    seed: int = 0
    """Seed of folds and samplers: the same seed gives the same answer."""
    json: bool = False
    """Print one JSON document."""
    html: Path | None = None
    """Also write the answer as one HTML file, with its figures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer, or its record."""
    options = parse(Options, arguments, prog="demonstrably audit")
    if options.html is not None and options.html.is_dir():
        raise ValueError(f"--html {options.html} is a folder; give the name of a file")
    from demonstrably.decisions.audit import audit

    found = audit(
        options.decisions,
        decision=options.decision,
        group=options.group,
        outcome=options.outcome,
        features="rest" if options.features == ("rest",) else options.features or None,
        posterior=options.posterior,
        score=options.score,
        person=options.person,
        case=options.case,
        department=options.department,
        positive=options.positive,
        positive_outcome=options.positive_outcome,
        burden=not options.benefit,
        bayesian=options.bayesian,
        progress=True,
        level=options.level,
        seed=options.seed,
    )
    if options.html is not None:
        from demonstrably.report.audit import write_audit

        print(write_audit(found, options.decisions.name, options.html).resolve(), file=sys.stderr)
    print(json.dumps(found.to_dict()) if options.json else found)
    return 0

"""Do groups meet the same cost? An audit that states a difference only where every reading of the data has one.

A cost is read from where a group's decisions cross one half along the posterior (`crossing.py`). Three things can make
equal costs look different, and each has its guard:

1. The decision maker weighs the record otherwise than the posterior does. Then no threshold on this posterior is
   theirs: the fit is tested first (`checks.py`), and where it fails no cost is stated.
2. The posterior means another risk in each group, which they may use or not know. It is read both ways, calibrated
   within each group and shared by all; where the readings differ, nothing is claimed.
3. What is not in the posterior but in the record goes with the group. So a difference must also show between equal
   records (`conditional.py`), in the same direction.

The p-value of a pair is the largest of its readings' (an intersection-union test), corrected for the pairs by Holm.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from demonstrably.decisions.auditing import Audit
from demonstrably.decisions.conditional import Conditional, conditional_test
from demonstrably.decisions.counts import count
from demonstrably.decisions.fast_threshold import fast_threshold_test
from demonstrably.decisions.labels import ALIKE
from demonstrably.decisions.marginality import inframarginality
from demonstrably.decisions.rates import benchmark_test, group_metrics, hybrid_test, outcome_test
from demonstrably.decisions.readings import Evidence, clusters_of, codes_of, evidence_of, groups_of, names_of, shifts_of
from demonstrably.decisions.table import Decisions, read_decisions
from demonstrably.decisions.threshold_test import ThresholdTest, threshold_test
from demonstrably.decisions.verdicts import overall, pairs_of

NAMED = 12  # features that an assumption names


def audit(
    table: Any,
    *,
    decision: str | None = None,
    group: str | None = None,
    outcome: str | None = None,
    features: Sequence[str] | str | None = None,
    posterior: str | None = None,
    score: str | None = None,
    person: str | None = None,
    case: str | None = None,
    department: str | None = None,
    positive: str | int | float | bool | None = None,
    positive_outcome: str | int | float | bool | None = None,
    classifier: Any = None,
    burden: bool = True,
    bayesian: bool = False,
    progress: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> Audit:
    """Reads each group's relative cost of a false positive out of decisions, and says whether the costs differ.

    `table` is a path (.csv, .csv.gz, .parquet), a frame or a dict of arrays (`read_decisions`), of which the other
    arguments name columns, `decision` and `group` at least; or `Decisions` that were read before. The posterior is the
    column `posterior`, taken at its word; or it comes from `score` and `outcome` (isotonic regression), or from
    `features` and `outcome` (`classifier`, any of scikit-learn's, cross-fitted; by default the better of two). Without
    any, only the older tests are done and nothing is identified. `person` and `case`: decisions that share one are not
    taken as independent. `burden`: decision 1 is bad for the person decided on. `bayesian` also samples the threshold
    tests, by `department`.

    Raises ValueError, naming column and row, for a table that cannot be read so.
    """
    if not 0.5 <= level < 1.0:
        raise ValueError(f"level {level}: give a confidence level from 0.5 to 1, such as 0.95")
    columns = (decision, group, outcome, features, posterior, score, person, case, department, positive)
    if isinstance(table, Decisions):
        if any(column is not None for column in columns):
            raise ValueError("these decisions were read before: name columns when reading them, with read_decisions")
        data = table
    elif decision is None or group is None:
        raise ValueError("audit needs to know the columns of the decision and of the group: give decision= and group=")
    else:
        data = read_decisions(
            table, decision=decision, group=group, outcome=outcome, features=features, posterior=posterior,
            score=score, person=person, case=case, department=department, positive=positive,
            positive_outcome=positive_outcome,
        )  # fmt: skip
    data = _grouped(data)
    evidence = evidence_of(data, classifier, seed)
    conditional = _conditional(data, level, seed)
    groups = groups_of(data, evidence, level)
    pairs = () if evidence.costs is None else pairs_of(evidence, groups, conditional, level)
    verdict, statement = overall(groups, pairs, evidence.why)
    posterior_, named = evidence.posterior, np.array(names_of(data))[codes_of(data)]
    return Audit(
        verdict=verdict,
        statement=statement,
        level=level,
        groups=groups,
        pairs=pairs,
        conditional=conditional,
        thresholds=_sampled(data, burden, level, progress, seed) if bayesian else (),
        marginality=None if posterior_ is None else inframarginality(posterior_, data.decisions, named),
        shifts=shifts_of(data, evidence),
        calibration=None if posterior_ is None else posterior_.calibration,
        assumptions=_assumptions(data, evidence),
        notes=_notes(data),
        **_older(data, burden, level),
    )


def _grouped(data: Decisions) -> Decisions:
    """The same without names of groups that have no rows, as after `take`; two groups at least."""
    if data.group is None:
        raise ValueError("these decisions were read without a group: name its column when you read them")
    group = data.group.used()
    if len(group.names) < 2:
        raise ValueError(f"these decisions are of the group {', '.join(group.names)} alone; comparing needs two groups")
    return replace(data, group=group)


def _conditional(data: Decisions, level: float, seed: int) -> Conditional | None:
    """None without features, when there are no equal records to compare, and where all decisions are of one cluster."""
    clusters = clusters_of(data)
    if not data.features.shape[1] or any(len(np.unique(one)) < 2 for one in clusters):
        return None
    given = [column for column in (data.posterior, data.score) if column is not None]
    record = np.column_stack([data.features, *given])
    return conditional_test(data.decisions, record, codes_of(data), names_of(data), clusters, level, seed)


def _older(data: Decisions, burden: bool, level: float) -> dict[str, Any]:
    """Benchmark, outcome and hybrid tests, and the rates of fairlearn."""
    group, clusters = np.array(names_of(data))[codes_of(data)], clusters_of(data)
    benchmark = benchmark_test(data.decisions, group, clusters, level, burden=burden)
    if data.outcomes is None:
        return {"benchmark": benchmark, "outcome": None, "hybrid": None, "metrics": {}}
    outcome = outcome_test(data.decisions, data.outcomes, group, clusters, level, burden=burden)
    metrics = group_metrics(data.decisions, data.outcomes, group)
    return {"benchmark": benchmark, "outcome": outcome, "hybrid": hybrid_test(benchmark, outcome), "metrics": metrics}


def _sampled(data: Decisions, burden: bool, level: float, progress: bool, seed: int) -> tuple[ThresholdTest, ...]:
    """Both threshold tests, the fast one first."""
    if data.outcomes is None:
        raise ValueError("the threshold tests need outcomes: name the outcome's column, or leave bayesian out")
    places = None if data.department is None else data.department.codes
    counts = count(data.decisions, data.outcomes, np.array(names_of(data))[codes_of(data)], places)
    return tuple(
        test(counts, level=level, burden=burden, progress=progress, seed=seed)
        for test in (fast_threshold_test, threshold_test)
    )


def _assumptions(data: Decisions, evidence: Evidence) -> tuple[str, ...]:
    told = []
    if evidence.posterior is not None:
        told.append(f"the posterior is what the decision maker could know: {evidence.posterior.name}")
        told.append("their decisions turn at one cost in each group, with noise that is as likely to err either way")
        if data.seen is not None and not data.seen.complete and evidence.posterior.outcomes is not None:
            told.append(f"{data.seen.text}; {ALIKE}")
    if data.features.shape[1]:
        names = data.feature_names
        listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        told.append(f"all that the decision maker saw and that goes with the group is among the features: {listed}")
    elif evidence.posterior is not None:
        told.append("they go by this posterior and nothing else; without features that is not checked")
    if data.person is None:
        told.append("decisions are independent of one another; name --person where one person made several")
    return tuple(told)


def _notes(data: Decisions) -> tuple[str, ...]:
    left = [f"{one.count:,} of {data.rows:,} rows left out: {one.reason}" for one in data.excluded]
    return (*left, *(f"column {one.name!r} left out: {one.reason}" for one in data.dropped))

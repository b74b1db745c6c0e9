"""What a user gives a posterior to be made of, checked: each error names the row, what is allowed and what to do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray

from demonstrably.decisions.calibration import fit_logistic
from demonstrably.decisions.codes import Coded

# Numbers, a list of them, an array, a series of pandas or polars, or labels as codes
Values = ArrayLike | Sequence[Any] | float | Coded

FALLS = 5.0  # standard errors by which a score must fall as outcomes rise before it is refused


def number_column(name: str, values: Values) -> Float[np.ndarray, "n"]:
    """The values as a column of float64, a copy."""
    try:
        column = np.array(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} holds something that is no number; give one number a row") from None
    if column.ndim != 1 or not len(column):
        raise ValueError(f"{name} has shape {column.shape}; give one number a row, and at least one row")
    return column


def outcome_column(values: Values) -> Float[np.ndarray, "n"]:
    """Outcomes 0 or 1, NaN where unseen, of both kinds."""
    y = number_column("outcomes", values)
    known = (y == 0.0) | (y == 1.0) | np.isnan(y)
    if not known.all():
        raise ValueError(f"{first_bad('outcomes', y, known)}; give 0 or 1, and NaN where no outcome was seen")
    seen = y[~np.isnan(y)]
    if not len(seen) or seen.min() == seen.max():
        found = f"are all {seen[0]:.0f}" if len(seen) else "are all unseen"
        raise ValueError(f"the {len(y):,} outcomes {found}; a posterior needs cases of both outcomes")
    return y


def feature_rows(features: Any, rows: int, finite: bool) -> Any:
    """Arrays and lists as (n, d) arrays, anything else as it is; the default classifiers need finite numbers."""
    x = np.asarray(features) if isinstance(features, list | tuple) else features
    try:
        shape = tuple(x.shape)
    except AttributeError:
        raise ValueError(f"features is a {type(x).__name__}; give an array, a frame or a sparse matrix") from None
    if len(shape) != 2 or shape[0] != rows:
        raise ValueError(f"features has shape {shape} for {rows} outcomes; give one row an outcome, a column a feature")
    if isinstance(x, np.ndarray) and finite:
        bad = np.argwhere(~np.isfinite(x))
        if len(bad):
            row, column = bad[0]
            raise ValueError(
                f"features: row {row}, column {column} is {x[row, column]}; leave the row out, or give a classifier "
                "that reads missing values"
            )
    return x


def label_codes(name: str, labels: Values, rows: int) -> Coded:
    """Labels as codes, with a name for each where they were not codes already."""
    values = labels.codes if isinstance(labels, Coded) else np.asarray(labels)
    if values.shape != (rows,):
        raise ValueError(f"{name} has shape {values.shape} for {rows} outcomes; give one label a row")
    if isinstance(labels, Coded):
        return labels.used()
    distinct, codes = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)
    return Coded(codes.astype(np.int64), tuple(str(label) for label in distinct))


def refuse_falling(score: Float[np.ndarray, "m"], outcomes: Float[np.ndarray, "m"]) -> None:
    """Refuses a score that clearly falls as outcomes rise, which isotonic regression would take for no information."""
    line = fit_logistic(score, outcomes)
    if line.weights[1] < -FALLS * np.sqrt(line.covariance[1, 1]):
        raise ValueError("outcome 1 becomes rarer as the score rises; give the score with the opposite sign (-score)")


def refuse_few(outcomes: Float[np.ndarray, "m"], cluster: Int[np.ndarray, "m"], folds: int) -> None:
    """Refuses what cannot be dealt out to the folds with both outcomes in each."""
    if folds < 2:
        raise ValueError(f"folds is {folds}; give at least 2, for instance 5")
    rarer, clusters = int(min(outcomes.sum(), (1.0 - outcomes).sum())), len(np.unique(cluster))
    if rarer < folds or clusters < folds:
        raise ValueError(
            f"{len(outcomes):,} outcomes, of which {rarer} are of the rarer kind, in {clusters} clusters: too few for "
            f"{folds} folds; give more cases or fewer folds"
        )


def refuse_one_kind(outcomes: Float[np.ndarray, "m"], group: Int[np.ndarray, "m"], names: tuple[str, ...]) -> None:
    """Refuses groups whose seen outcomes are all alike."""
    count = np.bincount(group, minlength=len(names))
    hits = np.bincount(group, outcomes, minlength=len(names))
    for g, name in enumerate(names):
        if hits[g] in (0.0, count[g]):
            found = f"all {count[g]} seen outcomes are {int(hits[g] > 0)}" if count[g] else "no outcome was seen"
            raise ValueError(f"group {name}: {found}, so nothing can be calibrated there; leave it out or merge it")


def first_bad(name: str, values: Float[np.ndarray, "n"], good: NDArray) -> str:
    """The start of an error message: the first row that is not good, and what it holds."""
    row = int(np.flatnonzero(~good)[0])
    return f"{name}: row {row} is {'missing' if np.isnan(values[row]) else f'{values[row]:g}'}"

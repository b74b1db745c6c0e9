"""The comparison's numbers against the tests they stand for, its record, and what is refused."""

import json
import math

import numpy as np
import pytest

from demonstrably.evaluation.compare import Comparison, compare
from demonstrably.evaluation.scale import Scale
from demonstrably.evaluation.sequential import betting_test, sign_test


def successes(*rates, seeds=100, seed=0):
    """Success of policies on shared seeds: the same luck, half of it."""
    generator = np.random.default_rng(seed)
    shared, own = generator.random(seeds), generator.random((len(rates), seeds))
    return ((shared + own) / 2 < np.array(rates)[:, None]).astype(float)


def test_two_policies_by_the_sign_test():
    a, b = successes(0.6, 0.4)
    pair = compare(a, b, names=["a", "b"]).pairs[0]
    wins, losses = (a > b).cumsum(), (b > a).cumsum()
    assert (pair.wins, pair.losses) == (wins[-1], losses[-1])
    assert pair.difference == pytest.approx(a.mean() - b.mean())
    assert pair.e_value == pytest.approx(math.exp(sign_test(wins, losses)[-1]) / 2)
    assert pair.p_value == pytest.approx(2 / math.exp(sign_test(wins, losses).max()))
    assert pair.better == 0 and pair.p_value < 0.01
    assert 0 < pair.low < pair.difference < pair.high
    turned = compare(b, a).pairs[0]
    assert (turned.better, turned.p_value) == (1, pair.p_value)
    assert (turned.low, turned.high) == pytest.approx((-pair.high, -pair.low))


def test_interval_leaves_zero_out_when_the_test_decides():
    for seed in range(25):
        pair = compare(*successes(0.5, 0.6, seed=seed)).pairs[0]
        if abs(pair.p_value - 0.05) > 0.001:  # the interval's rule has 64 points, the sign test is exact
            assert (pair.better is not None) == (not pair.low <= 0 <= pair.high)


def test_evidence_once_reached_stays():
    """A p-value is 1 / the largest evidence on the way, the e-value is the evidence now."""
    a = np.r_[np.ones(20), np.zeros(30)]
    b = np.r_[np.zeros(20), np.ones(30)]
    early, late = compare(a[:20], b[:20]).pairs[0], compare(a, b).pairs[0]
    assert late.p_value == early.p_value < 0.001
    assert late.e_value < early.e_value


def test_members_are_averaged_seed_by_seed():
    a, b = successes(0.7, 0.6, 0.8, seed=1), successes(0.3, 0.4, seed=1)
    found = compare(a, b)
    differences = a.mean(axis=0) - b.mean(axis=0)
    assert found.pairs[0].p_value == pytest.approx(2 / math.exp(betting_test(differences).max()))
    assert (found.compared[0].members, found.compared[0].mean.count) == (3, None)
    assert found.compared[0].mean.episodes == 300
    assert found.pairs[0].improvement.mean == 1.0
    assert found.compared[0].across.low <= found.compared[0].across.mean <= found.compared[0].across.high
    assert "trained policies" in str(found) and "only a hint" in str(found)


def test_holm_by_hand():
    found = compare(*successes(0.2, 0.5, 0.6), names=list("abc"))
    p_values = [pair.p_value for pair in found.pairs]
    order = np.argsort(p_values)
    expected, least = [0.0] * 3, 0.0
    for rank, index in enumerate(order):
        least = expected[index] = max(least, min(1.0, p_values[index] * (3 - rank)))
    assert [pair.adjusted for pair in found.pairs] == pytest.approx(expected)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    alone = compare(*successes(0.2, 0.5, 0.6)[:2]).pairs[0]
    assert found.pairs[0].high - found.pairs[0].low > alone.high - alone.low  # the three hold together


def test_equal_policies_are_not_told_apart():
    same = np.tile([1.0, 0.0], 50)
    pair = compare(same, same).pairs[0]
    assert (pair.better, pair.p_value, pair.difference, pair.wins, pair.losses) == (None, 1.0, 0.0, 0, 0)
    assert pair.low < 0 < pair.high < 0.1


def test_record_becomes_json_text_and_html():
    for scores in (successes(0.2, 0.5, 0.6), [successes(0.4, 0.5), successes(0.6, 0.9)]):
        for scale in (Scale(), Scale("return", 0.0, 500.0)):
            found = compare(*scores, scale=scale, names=["<a>", "b", "c"][: len(scores)])
            written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
            assert Comparison.from_dict(written) == found
            assert written["pairs"][0]["verdict"] == found.verdict(found.pairs[0])
            assert "<a>" not in found._repr_html_()
    units = compare(np.ones(60), np.full(60, 0.25), scale=Scale("return", 0.0, 400.0), names=["x", "y"])
    assert "x is better than y: x minus y +300 [" in units.verdict(units.pairs[0])


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([np.ones(5)], {}, "at least two"),
        ([np.ones(5), np.ones(6)], {}, "same seeds"),
        ([np.ones((2, 0)), np.ones((2, 0))], {}, "same seeds"),
        ([np.ones(5), np.ones((1, 1, 5))], {}, "same seeds"),
        ([np.ones(5), np.full(5, 1.1)], {}, "policy 2 from 1.1 to 1.1"),
        ([np.ones(5), np.full(5, np.nan)], {}, "rescale"),
        ([np.ones(5), np.ones(5)], {"names": ["a"]}, "1 names for 2"),
        ([np.ones(5), np.ones(5)], {"level": 1.0}, "level"),
    ],
)
def test_what_makes_no_sense_is_refused(scores, options, message):
    with pytest.raises(ValueError, match=message):
        compare(*scores, **options)

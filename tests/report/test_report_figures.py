"""Scales, ticks and marks: the arithmetic of the figures."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from demonstrably.report import figures
from demonstrably.report.charts import curves
from demonstrably.report.figures import Axis, Frame, Scale
from demonstrably.report.reading import Curve, thin

FRAME = Frame(Axis("x", Scale(0, 10)), Axis("y", Scale(0, 1)), height=100)


def test_scales_map_ends_and_middles() -> None:
    assert Scale(2, 6).fraction(np.array([2.0, 4.0, 6.0])).tolist() == [0, 0.5, 1]
    assert Scale(0.01, 100, logarithmic=True).fraction(np.array([0.01, 1.0, 100.0])).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("scale", "count", "ticks"),
    [
        (Scale(0, 1), 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(-0.02, 1.02), 5, [0, 0.25, 0.5, 0.75, 1]),
        (Scale(-17.2, 24.1), 5, [-10, 0, 10, 20]),
        (Scale(0.002, 300, logarithmic=True), 5, [0.01, 0.1, 1, 10, 100]),
        (Scale(2, 30, logarithmic=True), 4, [2, 5, 10, 20]),
    ],
)
def test_ticks_are_round_and_inside(scale: Scale, count: int, ticks: list[float]) -> None:
    assert scale.ticks(count) == pytest.approx(ticks)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
def test_there_are_always_some_ticks_inside(low: float, span: float, count: int) -> None:
    assume(span > 1e-6 * abs(low))
    scale = Scale(low, low + span)
    ticks = scale.ticks(count)
    assert 1 <= len(ticks) <= count + 2
    assert all(-1e-6 <= float(scale.fraction(tick)) <= 1 + 1e-6 for tick in ticks)


def test_a_scale_of_one_value_or_none_is_still_a_scale() -> None:
    for values in ([], [3.0, 3.0], [np.nan], [0.0]):
        scale = figures.scale_of(values)
        assert scale.low < scale.high
    assert figures.scale_of([1.0, np.inf, 2.0], margin=0) == Scale(1, 2)


def test_curves_that_fall_by_far_get_a_logarithmic_scale_and_outliers_may_leave() -> None:
    assert figures.curve_scale(np.geomspace(1e-3, 10, 50)).logarithmic
    assert not figures.curve_scale(np.linspace(-5, 20, 50)).logarithmic
    spiked = np.append(np.linspace(-1, 1, 999), 1e6)
    assert figures.curve_scale(spiked).high < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (12_000, "12,000"),
        (250_000, "250k"),
        (3e6, "3M"),
        (2e-5, "2e-05"),
        (1780.5, "1,780"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert figures.number(value) == text


def test_ticks_of_one_axis_share_a_unit() -> None:
    assert [text for _, text in figures.tick_labels(Scale(0, 250_000), 5)] == [
        "0",
        "50k",
        "100k",
        "150k",
        "200k",
        "250k",
    ]


def test_a_path_breaks_where_a_value_is_not_finite() -> None:
    x = np.arange(5.0)
    path = figures.path(x, np.array([1.0, 2.0, np.nan, 4.0, 5.0]))
    assert path == "M0 1L1 2M3 4L4 5"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_spread_keeps_order_and_distance(positions: list[float]) -> None:
    moved = figures.spread(positions, 10)
    assert [i for i, _ in sorted(enumerate(positions), key=lambda p: p[1])] == [
        i for i, _ in sorted(enumerate(moved), key=lambda p: p[1])
    ]
    gaps = np.diff(sorted(moved))
    assert (gaps >= 10 - 1e-6).all()
    assert np.mean(moved) == pytest.approx(np.mean(positions), abs=1e-6)


def test_all_text_of_a_figure_is_escaped() -> None:
    bad = '"><script>alert(1)</script>'
    frame = Frame(Axis(bad, Scale(0, 1)), Axis(bad, Scale(0, 1), ((0.5, bad),)))
    x = np.array([0.0, 1.0])
    marks = [
        figures.dot(frame, 0, 0, bad, bad),
        figures.segment(frame, (0, 0), (1, 1), bad, bad),
        figures.words(frame, 0, 0, bad, bad),
        figures.end_labels(frame, [(0.5, bad, bad)]),
    ]
    drawn = figures.draw(frame, [figures.line(frame, x, x, bad, bad)], marks, bad)
    assert "<script" not in drawn
    assert drawn.count("&#34;&gt;&lt;script&gt;") >= 9


def test_marks_lie_where_their_values_are() -> None:
    assert FRAME.place(2.5, 0.25) == ("25.00%", "75.00%")
    assert 'd="M0 1000L1000 0"' in figures.line(FRAME, np.array([0.0, 10.0]), np.array([0.0, 1.0]), "one", "n")


def test_thinning_keeps_extremes_and_weighs_all_lines() -> None:
    values = np.zeros((1000, 2))
    values[503, 1] = 7.0
    values[200, 0] = -3.0
    values[700:710, 0] = np.nan
    thinned = thin(Curve(np.arange(1000), values), 100)
    assert thinned.middle.shape == (100, 2)
    assert (thinned.low.min(), thinned.high.max()) == (-3.0, 7.0)
    assert thinned.middle[50, 1] == pytest.approx(0.7)
    assert np.isnan(thinned.middle[70, 0])
    assert thinned.middle[70, 1] == 0
    assert thinned.merged == 10


def test_a_member_that_breaks_is_marked_at_its_step() -> None:
    values = np.ones((10, 3))
    values[4:, 2] = np.nan
    drawing, _ = curves([("train", Curve(np.arange(10) * 100, values), "one")], "loss")
    assert "member 2: not finite from step 400" in drawing
    assert drawing.count("not finite from step") == 1


def test_curves_without_any_finite_value_are_drawn_empty() -> None:
    drawing, _ = curves([("train", Curve(np.arange(3), np.full((3, 2), np.nan)), "one")], "loss")
    assert "no finite value" in drawing
    assert "nan" not in drawing.lower()

"""Parts of a figure as inline SVG that fills any width: scales, axes, and marks.

A figure's root has no viewBox: positions are percentages, so text and line widths keep their size while the
plot stretches from a phone to a desk. Only curves and bands live in a nested SVG that is stretched. Colors
are CSS classes, so the figure follows the page into dark mode. All text passes through `Markup.format`, which
escapes it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

Real = float | int  # type checks at run time take no int for a float

GRID = 1000  # units of the stretched drawing on either axis


@dataclass(frozen=True)
class Scale:
    """Maps values of `low` to `high` onto 0 to 1, evenly or by their logarithm."""

    low: Real
    high: Real
    logarithmic: bool = False

    def fraction(self, values: np.ndarray | Real) -> np.ndarray:
        """Where the values lie, 0 at `low` and 1 at `high`; not clipped, NaN stays NaN."""
        values = np.asarray(values, float)
        if not self.logarithmic:
            return np.asarray((values - self.low) / (self.high - self.low))
        low, high = math.log10(self.low), math.log10(self.high)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((np.log10(values) - low) / (high - low))

    def ticks(self, count: int = 5) -> list[float]:
        """About `count` round values inside the scale."""
        if self.logarithmic:
            return _log_ticks(self.low, self.high, count)
        step = _round_up((self.high - self.low) / max(count, 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def _round_up(step: Real) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def _log_ticks(low: Real, high: Real, count: int) -> list[float]:
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    if len(powers) >= 3:
        every = math.ceil(len(powers) / (count + 1))
        return [10.0**power for power in powers if power % every == 0]
    tens = [10.0**power for power in range(powers.start - 1, powers.stop)]
    return [value for ten in tens for value in (ten, 2 * ten, 5 * ten) if low <= value <= high]


def scale_of(values: Iterable[Real] | np.ndarray, *, cover: Sequence[Real] = (), margin: Real = 0.05) -> Scale:
    """An even scale over the finite values and `cover`, wider by `margin` of its span on either side."""
    values = np.concatenate([np.ravel(np.asarray(values, float)), np.asarray(cover, float)])
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
        half = abs(low) / 2 or 0.5
        return Scale(low - half, high + half)
    widen = margin * (high - low)
    return Scale(low - widen, high + widen)


def curve_scale(values: np.ndarray) -> Scale:
    """A scale for curves that fall: logarithmic when positive values span a factor of 30, else even.

    The highest half per cent may leave the frame when they would squeeze the rest below a third of it.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Scale(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high / low > 30:
        return Scale(low / 1.2, high * 1.2, logarithmic=True)
    most = float(np.quantile(finite, 0.995))
    return scale_of([low, most if most - low < (high - low) / 3 else high])


def number(value: Real) -> str:
    """A value as a label: 12,000 · 250k · 3M · 0.05 · 2e-05."""
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        return f"{value:.2g}"
    for bound, unit in ((1e6, "M"), (1e5, "k")):
        if size >= bound:
            return f"{value / (1e6 if unit == 'M' else 1e3):.4g}{unit}"
    if size >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"


def tick_labels(scale: Scale, count: int) -> list[tuple[Real, str]]:
    """(value, text) of about `count` ticks, on an even scale all in one unit: 0, 50k, 100k."""
    values = scale.ticks(count)
    most = max(map(abs, values), default=0.0)
    if 2e4 <= most < 1e9 and not scale.logarithmic:
        unit, size = ("M", 1e6) if most >= 2e6 else ("k", 1e3)
        return [(value, f"{value / size:.4g}{unit}" if value else "0") for value in values]
    return [(value, number(value)) for value in values]


def percent(fraction: Real | np.ndarray) -> str:
    """A fraction as an SVG length along an axis."""
    return f"{100 * float(fraction):.2f}%"


@dataclass(frozen=True)
class Axis:
    """A scale with the words beside it; `ticks` are (value, text) where round numbers would not do."""

    label: str
    scale: Scale
    ticks: tuple[tuple[Real, str], ...] | None = None

    def marks(self, count: int) -> list[tuple[Real, str]]:
        """(value, text) of each tick."""
        return list(self.ticks) if self.ticks is not None else tick_labels(self.scale, count)


@dataclass(frozen=True)
class Frame:
    """The plane that marks are drawn on. `height` in pixels, without the axes."""

    x: Axis
    y: Axis
    height: int = 200

    def points(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the stretched drawing, (n,) each; y grows downwards."""
        return GRID * self.x.scale.fraction(x), GRID * (1 - self.y.scale.fraction(y))

    def place(self, x: Real, y: Real) -> tuple[str, str]:
        """A position as percentages of the plot's width and height."""
        return percent(self.x.scale.fraction(x)), percent(1 - self.y.scale.fraction(y))


def path(x: np.ndarray, y: np.ndarray) -> str:
    """SVG path data through points in drawing units, broken wherever one is not finite."""
    parts, pen_up = [], True
    for a, b, good in zip(x.tolist(), np.clip(y, -GRID, 2 * GRID).tolist(), np.isfinite(x + y).tolist(), strict=True):
        if good:
            parts.append(f"{'M' if pen_up else 'L'}{a:.4g} {b:.4g}")
        pen_up = not good
    return "".join(parts)


def line(frame: Frame, x: np.ndarray, y: np.ndarray, style: str, name: str) -> Markup:
    """A curve through (x, y), (n,) each; the page's script reads its values back from the path on hover."""
    return Markup('<path class="line {}" data-name="{}" d="{}"/>').format(style, name, path(*frame.points(x, y)))


def band(frame: Frame, x: np.ndarray, low: np.ndarray, high: np.ndarray, style: str) -> Markup:
    """The area between two curves, (n,) each; points where either is not finite are left out."""
    good = np.isfinite(low) & np.isfinite(high)
    if good.sum() < 2:
        return Markup("")
    (right, top), (_, bottom) = frame.points(x[good], high[good]), frame.points(x[good], low[good])
    outline = path(np.concatenate([right, right[::-1]]), np.concatenate([top, bottom[::-1]]))
    return Markup('<path class="band {}" d="{}Z"/>').format(style, outline)


def dot(frame: Frame, x: Real, y: Real, style: str, tip: str, radius: Real = 4) -> Markup:
    """A point; `tip` is what hovering or focusing says."""
    left, top = frame.place(x, y)
    return Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}" data-tip="{}"/>').format(style, left, top, radius, tip)


def segment(frame: Frame, start: tuple[Real, Real], end: tuple[Real, Real], style: str, tip: str = "") -> Markup:
    """A straight piece between two (x, y)."""
    (x1, y1), (x2, y2) = frame.place(*start), frame.place(*end)
    words = Markup(' data-tip="{}"').format(tip) if tip else Markup("")
    shape = Markup('<line class="segment {}" x1="{}" y1="{}" x2="{}" y2="{}"{}/>')
    return shape.format(style, x1, y1, x2, y2, words)


def words(
    frame: Frame,
    x: Real,
    y: Real,
    text: str,
    style: str = "",
    *,
    anchor: str = "start",
    dx: int = 0,
    dy: int = 4,
) -> Markup:
    """Text at (x, y), shifted by (dx, dy) pixels; `anchor` is start, middle or end."""
    left, top = frame.place(x, y)
    shape = Markup('<text class="label {}" x="{}" y="{}" dx="{}" dy="{}" text-anchor="{}">{}</text>')
    return shape.format(style, left, top, dx, dy, anchor, text)


def spread(positions: Sequence[Real], gap: Real) -> list[float]:
    """Moves positions apart until neighbors are `gap` apart, keeping their order and their mean."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    blocks: list[list[Real]] = []  # [first position, size]
    for index in order:
        blocks.append([positions[index], 1])
        while len(blocks) > 1 and blocks[-2][0] + gap * blocks[-2][1] > blocks[-1][0]:
            (start, size), (later, more) = blocks[-2], blocks.pop()
            middle = (size * (start + gap * (size - 1) / 2) + more * (later + gap * (more - 1) / 2)) / (size + more)
            blocks[-1] = [middle - gap * (size + more - 1) / 2, size + more]
    flat = [start + gap * step for start, size in blocks for step in range(int(size))]
    result = [0.0] * len(positions)
    for index, value in zip(order, flat, strict=True):
        result[index] = value
    return result


def end_labels(frame: Frame, labels: Sequence[tuple[Real, str, str]]) -> Markup:
    """Names of curves at the right edge, from (last y, text, style), moved apart where they would overlap."""
    wanted = [float(np.clip(1 - frame.y.scale.fraction(y), 0, 1)) * frame.height for y, _, _ in labels]
    shape = Markup('<text class="label {}" x="100%" dx="7" y="{}" dy="4">{}</text>')
    placed = zip(labels, spread(wanted, 14), strict=True)
    return Markup("").join(shape.format(style, f"{y:.1f}", text) for (_, text, style), y in placed)


def _axes(frame: Frame, rows: int) -> Markup:
    """Grid lines and tick labels; every other x tick is dropped by CSS where the page is narrow."""
    horizontal = Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>')
    side = Markup('<text class="tick" x="0" dx="-8" y="{}" dy="4" text-anchor="end">{}</text>')
    parts = []
    for value, text in frame.y.marks(rows):
        top = percent(1 - frame.y.scale.fraction(value))
        parts += [horizontal.format(top), side.format(top, text)]
    below = Markup('<text class="tick{}" x="{}" y="100%" dy="18" text-anchor="middle">{}</text>')
    tick = Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="100%"/>')
    for index, (value, text) in enumerate(frame.x.marks(6)):
        left = percent(frame.x.scale.fraction(value))
        parts += [tick.format(left), below.format(" other" if index % 2 else "", left, text)]
    return Markup("").join(parts)


def draw(
    frame: Frame,
    stretched: Iterable[Markup],
    marks: Iterable[Markup],
    description: str,
    *,
    right: int = 16,
    rows: int = 5,
) -> Markup:
    """A whole figure: axes, `stretched` curves below, `marks` above.

    `description` is the text alternative, a sentence that says what is seen; `right` the room for labels, in
    pixels; `rows` about how many ticks y has.
    """
    longest = max((len(text) for _, text in frame.y.marks(rows)), default=0)
    domain = [f"{s.low!r},{s.high!r},{int(s.logarithmic)}" for s in (frame.x.scale, frame.y.scale)]
    plot = Markup(
        '<svg class="plot" role="img" tabindex="0" width="100%" height="{}" aria-label="{}"'
        ' data-x="{}" data-y="{}" data-x-name="{}">{}'
        '<svg width="100%" height="100%" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>{}</svg>'
    ).format(
        *(frame.height, description, *domain, frame.x.label, _axes(frame, rows), GRID, GRID),
        *(Markup("").join(stretched), Markup("").join(marks)),
    )
    return Markup(
        '<div class="frame" style="padding-left:{}px;padding-right:{}px"><div class="name y">{}</div>{}'
        '<div class="name x">{}</div></div>'
    ).format(16 + 7 * longest, right, frame.y.label, plot, frame.x.label)

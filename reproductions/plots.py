"""Figures of the reproductions: panels of curves or points as one SVG file beside the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from common import HERE

from demonstrably.report.figures import Axis, spread

WIDTH, HEIGHT = 230, 170  # of a panel's plane
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 30, 46  # around it
COLORS = ("#0a62b0", "#b34700", "#00755c")


@dataclass(frozen=True)
class Series:
    """Values (n,) at places (n,): a curve, or points where not `joined`. `name` is written at its last value."""

    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    name: str = ""
    color: str = COLORS[0]
    joined: bool = True
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """One plane with its series. `names` is the room for their names at the right, in pixels."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    names: int = 0


def keep(name: str, panels: Sequence[Panel], columns: int) -> None:
    """Writes results/`name`.svg, `columns` panels in a row."""
    width, height = LEFT + WIDTH + RIGHT + max(panel.names for panel in panels), TOP + HEIGHT + BOTTOM
    size = width * columns, height * -(-len(panels) // columns)
    parts = [
        f'<g transform="translate({index % columns * width + LEFT} {index // columns * height + TOP})">'
        f"{_panel(one)}</g>"
        for index, one in enumerate(panels)
    ]
    box = f'width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}'
    whole = f'{head} font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.svg").write_text("\n".join([whole, *parts, "</svg>\n"]))


def _panel(panel: Panel) -> str:
    parts = [_text(0, -12, panel.title, 'font-weight="bold"')]
    for value, text in panel.x.marks(5):
        at = WIDTH * float(panel.x.scale.fraction(value))
        parts += [_rule(at, 0, at, HEIGHT), _text(at, HEIGHT + 15, text, 'text-anchor="middle"')]
    for value, text in panel.y.marks(5):
        at = HEIGHT * (1 - float(panel.y.scale.fraction(value)))
        parts += [_rule(0, at, WIDTH, at), _text(-6, at + 4, text, 'text-anchor="end"')]
    parts.append(_text(WIDTH / 2, HEIGHT + 33, panel.x.label, 'text-anchor="middle"'))
    parts.append(_text(-HEIGHT / 2, -48, panel.y.label, 'text-anchor="middle" transform="rotate(-90)"'))
    parts += [_series(one, *_places(panel, one)) for one in panel.series]
    named = [one for one in panel.series if one.name]
    ends = spread([float(_places(panel, one)[1][-1]) for one in named], 13)
    parts += [_text(WIDTH + 6, at + 4, one.name, f'fill="{one.color}"') for one, at in zip(named, ends, strict=True)]
    return "".join(parts)


def _places(panel: Panel, series: Series) -> tuple[np.ndarray, np.ndarray]:
    """Pixels from the left and from the top, (n,) each."""
    x, y = (np.asarray(values, float) for values in (series.x, series.y))
    return WIDTH * panel.x.scale.fraction(x), HEIGHT * (1 - panel.y.scale.fraction(y))


def _series(series: Series, x: np.ndarray, y: np.ndarray) -> str:
    places = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    if not series.joined:
        return "".join(
            f'<circle cx="{a}" cy="{b}" r="3.2" fill="{series.color}" fill-opacity="0.75"/>'
            for a, b in (place.split(",") for place in places)
        )
    style = f'stroke="{series.color}" stroke-width="{1 if series.faint else 2}"'
    style += ' stroke-opacity="0.6"' if series.faint else ""
    style += ' stroke-dasharray="5 4"' if series.dashed else ""
    return f'<polyline points="{" ".join(places)}" fill="none" {style}/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'

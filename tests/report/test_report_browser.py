"""The report in a real browser: figures are drawn, nothing overflows or is fetched, both color schemes are legible."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from demonstrably.report import write

from .report_folders import Shape, config, make_run, write_json

pytestmark = pytest.mark.browser

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 380, "height": 800}

DRAWN = """() => [...document.querySelectorAll("svg.plot, svg.cell")].map((plot) => {
  const box = plot.getBoundingClientRect();
  const marks = [...plot.querySelectorAll("path.line, path.band, circle, line.segment, text:not(.other)")];
  const seen = marks.filter((mark) => { const own = mark.getBoundingClientRect(); return own.width + own.height > 0; });
  return {kind: plot.classList[0], width: box.width, height: box.height, marks: marks.length, seen: seen.length};
})"""

OVERFLOW = """() => [...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  const hidden = one.closest(".scroll, .skip, .hidden, #tip, svg svg, .clip") || !box.width;
  return !hidden && (box.right > innerWidth + 1 || box.left < -1);
}).map((one) => `${one.tagName} ${one.className.baseVal ?? one.className} ${one.textContent.slice(0, 40)}`)"""

# Contrast of every piece of text with what lies behind it, by the formula of WCAG 2.
CONTRAST = """() => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || one.closest("script, style, #tip")) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(parts(one.closest("svg") ? style.fill : style.color)), light(behind(one))];
    const opacity = Number(style.opacity);
    const ratio = opacity * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([ratio, walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


class Opened:
    """A page, and what it logged and asked for since it was opened."""

    def __init__(self, page: Any, file: Path) -> None:
        self.page = page
        self.logged: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.logged.append(message.text))
        page.on("pageerror", lambda error: self.logged.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


@pytest.fixture(scope="module")
def report(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write([whole / "bc", whole / "bc-rnn"], tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def opened(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The report on a desk in light mode, or as the test's parameter (viewport, scheme) says."""
    viewport, scheme = getattr(request, "param", (DESK, "light"))
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    yield Opened(context.new_page(), report)
    context.close()


@pytest.mark.parametrize("opened", [(DESK, "light"), (PHONE, "dark")], indirect=True)
def test_every_figure_is_drawn_and_nothing_is_logged_or_fetched(opened: Opened, report: Path) -> None:
    drawn = opened.page.evaluate(DRAWN)
    plots = [one for one in drawn if one["kind"] == "plot"]
    assert len(plots) == 10 and len(drawn) > 30
    for one in drawn:
        assert one["width"] > 120 and one["height"] > 15
        missing = one["marks"] - one["seen"]  # an interval of no width has no box
        assert one["seen"] > 1 and missing <= (one["kind"] == "cell")
    assert opened.logged == []
    assert opened.requests == [report.as_uri()]


@pytest.mark.parametrize("opened", [(PHONE, "light"), (DESK, "light")], indirect=True)
def test_nothing_overflows(opened: Opened) -> None:
    assert opened.page.evaluate(OVERFLOW) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("opened", [(DESK, "light"), (DESK, "dark")], indirect=True)
def test_text_has_contrast(opened: Opened) -> None:
    worst = opened.page.evaluate(CONTRAST)
    assert len(worst) > 400
    assert worst[0][0] >= 4.5, worst[:5]


def test_dark_mode_changes_the_page_and_the_figures(opened: Opened) -> None:
    colors = """() => ["body", ".plot .line.one", ".plot .tick", ".plot .grid"].map((name) => {
      const style = getComputedStyle(document.querySelector(name));
      return name === "body" ? style.backgroundColor : name.endsWith("tick") ? style.fill : style.stroke; })"""
    before = opened.page.evaluate(colors)
    opened.page.emulate_media(color_scheme="dark")
    after = opened.page.evaluate(colors)
    assert all(a != b for a, b in zip(before, after, strict=True))
    opened.page.emulate_media(color_scheme="dark", media="print")
    assert opened.page.evaluate(colors) == before  # paper is white


def test_hovering_and_keys_read_values_off_a_curve(opened: Opened) -> None:
    page, tip = opened.page, opened.page.locator("#tip")
    plot = page.locator("svg.plot").first
    plot.focus()
    page.keyboard.press("ArrowRight")
    first = tip.inner_text()
    assert "training step" in first and not tip.is_hidden()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first
    name = tip.inner_text().split(":")[0]
    page.keyboard.press("ArrowDown")
    assert tip.inner_text().split(":")[0] != name
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    checkpoints = page.locator("svg.plot", has=page.locator("circle.dot.one")).first
    checkpoints.scroll_into_view_if_needed()
    checkpoints.locator("circle.dot.one").nth(10).hover()
    assert "step 2,750: " in tip.inner_text()


def test_a_value_read_off_a_curve_is_the_logged_one(browser: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "config.json", config(Shape(members=1)))
    lines = [f'{{"step": {step}, "loss": [{0.25 + step / 100}]}}' for step in (0, 50, 100)]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    page = Opened(browser.new_page(), write(tmp_path / "run")).page
    page.locator("svg.plot").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text() == "train: 1.25\ntraining step 100"
    page.close()


def test_keyboard_reaches_tables_and_folds(opened: Opened) -> None:
    page = opened.page
    reached = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.className.baseVal ?? document.activeElement.className"))
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"skip", "plot", "scroll", "SUMMARY", "A"} <= reached


class Counting(BaseHTTPRequestHandler):
    """A server that counts who comes."""

    def do_GET(self) -> None:
        self.server.visits.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with HTTPServer(("127.0.0.1", 0), Counting) as server:
        server.visits = []  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_an_animation_runs_in_its_frame_and_reaches_neither_page_nor_network(
    browser: Any, server: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    write_json(run / "config.json", config(Shape()))
    url = f"http://127.0.0.1:{server.server_port}"
    fragment = (
        '<div id="a" style="height:137px"></div><script>document.getElementById("a").textContent = "ran";'
        "try { parent.document.title = 'reached' } catch { }"
        f"fetch('{url}/fetch').catch(() => {{}}); new Image().src = '{url}/image.png';</script>"
    )
    (run / "animation.html").write_text(fragment)
    context = browser.new_context(viewport=PHONE)
    opened = Opened(context.new_page(), write(run))
    opened.page.locator("iframe").scroll_into_view_if_needed()
    height = "getComputedStyle(document.querySelector('iframe')).height"
    for _ in range(100):
        if opened.page.evaluate(height) == "137px":
            break
        opened.page.wait_for_timeout(30)
    assert opened.page.evaluate(height) == "137px"
    assert opened.page.frames[1].locator("#a").inner_text() == "ran"
    assert "reached" not in opened.page.title()
    assert server.visits == []
    outside = context.new_page()
    outside.set_content(fragment)  # the same, without the report around it, is served
    outside.wait_for_timeout(300)
    assert set(server.visits) == {"/fetch", "/image.png"}
    context.close()


def test_markup_in_names_does_not_run(browser: Any, tmp_path: Path) -> None:
    bad = "<script>document.title='run'<img src=x onerror=document.title='run'>"
    run = make_run(tmp_path / bad.replace("/", ""), Shape(members=2, checkpoints=4, lines=20), learner=bad)
    context = browser.new_context()
    opened = Opened(context.new_page(), write(run, tmp_path / "report.html"))
    opened.page.wait_for_timeout(100)
    assert opened.page.title().endswith("Demonstrably report")
    assert opened.logged == [] and len(opened.requests) == 1
    assert opened.page.locator("h1").inner_text() == bad
    context.close()


def test_very_long_names_stay_inside_a_phone(browser: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / ("long_name_" * 20), Shape(members=1, checkpoints=4, lines=20), learner="x" * 300)
    context = browser.new_context(viewport=PHONE)
    opened = Opened(context.new_page(), write(run, tmp_path / "report.html"))
    assert opened.page.evaluate(OVERFLOW) == []
    context.close()

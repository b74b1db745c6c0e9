"""A whole run folder, and a browser to open its report in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .report_folders import Shape, comparison, make_run, write_json


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two whole runs, `bc` and `bc-rnn`, compared. To be read only."""
    home = tmp_path_factory.mktemp("runs")
    make_run(home / "bc")
    make_run(home / "bc-rnn", Shape(seed=7), learner="bc-rnn", tasks=("ring", "room"))
    write_json(home / "bc" / "comparisons" / "bc_bc-rnn.json", comparison(("bc", "bc-rnn"), Shape()))
    return home


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()

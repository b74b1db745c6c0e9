"""Fixtures that all tests share, and the settings of torch and hypothesis under test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Before torch is imported anywhere: the workers of pytest-xdist share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Shared cores make single examples slow at times; that is no failure.
hypothesis.settings.register_profile("shared_cores", deadline=None)
hypothesis.settings.load_profile("shared_cores")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of large data files that are not part of the project.

    `$DEMONSTRABLY_TEST_DATA`, or `../shared/data` beside the project. Skips the test where there is none.
    """
    given = os.environ.get("DEMONSTRABLY_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data: {folder} is no folder (set DEMONSTRABLY_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium. Skips the test where there is none, and fails it under continuous integration."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"no browser: none of {', '.join(names)} is on the PATH, and CI must have one")
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()

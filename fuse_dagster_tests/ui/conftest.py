"""One `dagster dev` and one browser for all tests of the web UI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fuse_dagster_tests.ui.server import DagsterDev, dagster_dev

PATIENCE = 60_000  # milliseconds; what a slow machine with other work may need, no claim about speed
expect.set_options(timeout=PATIENCE)
SHOTS = os.environ.get("FUSE_SCREENSHOTS")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


@pytest.fixture(scope="module")
def ui(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterDev]:
    """The demo, run and served. Without a browser there is nothing to serve it for."""
    folder = tmp_path_factory.mktemp("demo")
    if SHOTS:  # pictures show where tables lie: somewhere plain
        folder = Path(tempfile.gettempdir()) / "demo"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    with dagster_dev(folder) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium: the system's, else Playwright's own.

    It ends with the module: Playwright keeps an event loop running in this thread, and Dagster wants one of its own.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next((found for name in names if (found := shutil.which(name))), None)
    with sync_playwright() as playwright:
        if system is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no chromium; install one with apt-get or `playwright install chromium`")
        chromium = playwright.chromium.launch(executable_path=system, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, ui: DagsterDev) -> Iterator[Page]:
    """A fresh tab; the test fails where a page raised an error."""
    context = browser.new_context(base_url=ui.url, viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tab
    context.close()
    assert not errors, errors


@pytest.fixture
def shot(page: Page) -> Callable[[str], None]:
    """Takes a picture of the page for the documentation, where `make screenshots` asks for it."""

    def take(name: str) -> None:
        if SHOTS:
            page.wait_for_timeout(4000)  # animations, and what loads late
            page.screenshot(path=Path(SHOTS) / f"{name}.png")

    return take

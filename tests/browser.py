"""The browser of the console's tests and pictures: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "CHROMIUM IS MISSING, SO THE CONSOLE IS NOT TESTED. On Debian: apt-get install chromium"

_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Chromium, which ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()

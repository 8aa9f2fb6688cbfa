"""Headless Chromium: Debian's, driven by Selenium without looking for one elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1200"),
)
_PATIENCE_S = 30


def found() -> tuple[str, str] | None:
    """Browser and driver; None where there are none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def chromium(profile: Path, downloads: Path) -> Iterator[Chrome]:
    """A browser with a fresh profile that saves into a folder; a test is skipped without one, but never in CI."""
    there = found()
    if there is None:
        reason = "no chromium and chromedriver; `make browser` installs them on Debian and Ubuntu"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = ChromeOptions()
    options.binary_location = there[0]
    for flag in (*_FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(there[1]))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: Chrome, page: Path) -> int:
    """Load a page and wait until its script is through; milliseconds that that took."""
    driver.get(page.as_uri())
    ready = "return document.documentElement.dataset.ready"
    return int(WebDriverWait(driver, _PATIENCE_S).until(lambda d: d.execute_script(ready)))


def complaints(driver: Chrome) -> list[str]:
    """What the console shows so far, errors and warnings."""
    return [entry["message"] for entry in driver.get_log("browser")]

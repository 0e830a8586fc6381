"""A real Chromium for tests of the page, without a window."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_ONE = "install Debian's package chromium, or set CHROMIUM=path to one that is there"


class NoBrowserError(Exception):
    """No browser can be had; the message says what is missing."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, until it is left. Raises NoBrowserError.

    While it is there an asyncio loop runs on this thread, so no other one can.
    """
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoBrowserError("no chromium on the PATH")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second that only these tests need

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()

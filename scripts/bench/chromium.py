"""Which browser the dashboard is tried in, and how it is started: headless, and silent towards the world."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

ARGUMENTS: Final = (
    "--no-sandbox",  # root, as in a container, has none; it only ever opens our own page
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
)

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)


def find() -> str | None:
    """Where Chromium or Chrome lies, or None; the variable CHROME names another one."""
    found = [os.environ.get("CHROME"), *map(shutil.which, _NAMES)]
    if sys.platform == "darwin":
        found += [path for path in _MAC if Path(path).exists()]
    return next((path for path in found if path), None)

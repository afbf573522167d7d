"""The browser in which the dashboard is tested, and its arguments: headless, without background traffic."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

ARGUMENTS: Final = (
    "--no-sandbox",  # not available to root, as in a container; the browser opens the dashboard only
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
    """The path of Chromium or Chrome, or None; the variable CHROME takes precedence."""
    paths = [os.environ.get("CHROME"), *map(shutil.which, _NAMES)]
    if sys.platform == "darwin":
        paths += [path for path in _MAC if Path(path).exists()]
    return next((path for path in paths if path), None)

"""Runs ministack behind the filter that refuses requests of web pages, and makes its EventBridge more like AWS's.

A client of ministack can run code on this machine, as ministack runs Lambda functions without a container and checks
no credentials. ``python -I run_ministack.py`` uses ministack's own environment, which has no module of Helios. So this
program loads the other files by their paths, and leaves ``sys.path`` unchanged.
"""

import argparse
import importlib
import runpy
import sys
from pathlib import Path

_FILTER = Path(__file__).resolve().parents[1] / "stack" / "request_filter.py"
_EVENTBRIDGE = Path(__file__).resolve().with_name("eventbridge.py")


def main() -> None:
    """Read the command line, and run ministack until SIGTERM."""
    request_filter = runpy.run_path(str(_FILTER))
    parser = argparse.ArgumentParser(prog="run_ministack.py", description=__doc__)
    parser.add_argument("--origin", action="append", default=[], help="accept requests of pages of this origin")
    request_filter["add_option"](parser)
    options = parser.parse_args()
    sys.argv[1:] = []  # ministack reads the command line too
    rule = request_filter["RequestFilter"](origins=frozenset(options.origin), hosts=request_filter["hosts"](options))
    ministack = importlib.import_module("ministack.app")
    runpy.run_path(str(_EVENTBRIDGE))["install"](importlib.import_module("ministack.services.eventbridge"))
    ministack.app = request_filter["AsgiFilter"](ministack.app, rule)  # type: ignore[attr-defined]  # main serves it
    ministack.main()


if __name__ == "__main__":
    main()

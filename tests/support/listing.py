"""A pytest plugin (``-p tests.support.listing``) that writes the markers of every collected test into a file."""

import json
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--list-markers", type=Path, metavar="FILE", help="write the markers of every test into this")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    markers = [(item.nodeid, sorted({mark.name for mark in item.iter_markers()})) for item in session.items]
    session.config.option.list_markers.write_text(json.dumps(markers))

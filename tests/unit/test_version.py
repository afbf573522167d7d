"""pyproject.toml has the version; the command and the API read it from the package, and npm's copy agrees with it."""

import json
import tomllib

import pytest

from helios.__main__ import main
from scripts.build.openapi import document
from tests.support.api import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_command_prints_the_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"helios {VERSION}\n")


def test_the_api_has_the_version():
    assert json.loads(document())["info"]["version"] == VERSION


def test_the_dashboard_has_the_version():
    """npm reads it from a file of its own, for the bill of materials."""
    assert json.loads((ROOT / "dashboard/package.json").read_text())["version"] == VERSION

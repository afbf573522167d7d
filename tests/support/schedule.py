"""How tests are distributed to pytest-xdist workers: tests that share servers stay together, long ones start first."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
DURATIONS = ROOT / "tests/durations.json"
"""Seconds of each unit of work, measured by the last run of ``make durations``."""

DEFAULT_SECONDS = 0.2
"""Expected duration of a test whose unit of work is not in ``DURATIONS``."""

TOGETHER = {
    "tests/kafka/": (),
    "tests/flink/": (),
    "tests/e2e/": ("tests/e2e/test_faults.py", "tests/e2e/test_prove.py"),
}
"""Folders whose files share servers that take long to start: each is one unit of work, except for these files."""

APART = ("tests/integration/test_crash_points.py", "tests/local/test_demo.py")
"""Files whose tests share no server and take long: each test is a unit, so that the file does not delay the end."""

BY_PARAMETER = {"tests/emulators/pubsub/": ("google", "helios")}
"""Folders whose shared server has a parameter: a unit for each value, so that no server is started twice."""


def unit_of(nodeid: str) -> str:
    """The unit of work that a test belongs to: a worker runs the tests of a unit one after the other."""
    file, _, name = nodeid.partition("::")
    if file in APART:
        return nodeid
    for folder, excepted in TOGETHER.items():
        if file.startswith(folder) and file not in excepted:
            return folder
    for folder, values in BY_PARAMETER.items():
        if file.startswith(folder):
            return f"{folder}[{next((value for value in values if value in name.partition('[')[2]), '')}]"
    return file


def known_seconds() -> dict[str, float]:
    """The duration of each unit of work in the last measured run."""
    return json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}


def expected_seconds(nodeids: Iterable[str], known: Mapping[str, float]) -> dict[str, float]:
    """The expected duration of each test: its share of its unit of work."""
    units: dict[str, list[str]] = {}
    for nodeid in nodeids:
        units.setdefault(unit_of(nodeid), []).append(nodeid)
    return {
        nodeid: known[unit] / len(members) if unit in known else DEFAULT_SECONDS
        for unit, members in units.items()
        for nodeid in members
    }


def longest_first(nodeids: Iterable[str]) -> dict[str, float]:
    """The units of work of these tests with their expected seconds, in the order in which they start."""
    seconds: dict[str, float] = {}
    for nodeid, expected in expected_seconds(nodeids, known_seconds()).items():
        unit = unit_of(nodeid)
        seconds[unit] = seconds.get(unit, 0.0) + expected
    return dict(sorted(seconds.items(), key=lambda entry: -entry[1]))


class WholeUnits(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Gives each worker whole units of work, in the order in which the tests were collected."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

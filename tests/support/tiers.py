"""The tiers of the tests: the kind of each folder, and the marker of tests that take too long for ``make test``."""

from pathlib import PurePosixPath
from typing import NamedTuple


class Tier(NamedTuple):
    """One folder of ``tests``.

    Attributes:
        name: the name of the folder.
        marker: the pytest marker of its tests, unless a test has another marker of ``MARKERS``.
    """

    name: str
    marker: str


SLOW = "slow"
MARKERS = {
    "unit": "pure: starts no server and no other program",
    "servers": "starts a server or a program: Postgres, Valkey, Kafka, the API, a tool",
    "kafka": "starts Apache Kafka, which needs Java 17; skipped without it, except in CI",
    "flink": "starts Apache Flink, which needs Java 17 and Python 3.11 or 3.12; skipped without them, except in CI",
    "clouds": "starts emulated clouds, the whole local stack or Terraform",
    SLOW: "repeats, waits or soaks, or needs more than half a minute: for make test-long",
}

TIERS = (
    Tier("unit", "unit"),
    Tier("scripts", "unit"),
    Tier("dashboard", "servers"),
    Tier("simulator", "servers"),
    Tier("contract", "servers"),
    Tier("functions", "servers"),
    Tier("fuzz", "servers"),
    Tier("integration", "servers"),
    Tier("upgrade", "servers"),
    Tier("kafka", "kafka"),
    Tier("flink", "flink"),
    Tier("emulators", "clouds"),
    Tier("local", "clouds"),
    Tier("e2e", "clouds"),
    Tier("terraform", "clouds"),
)
"""The tiers in the order of the summary."""

_BY_NAME = {tier.name: tier for tier in TIERS}


def tier_of(nodeid: str) -> Tier:
    """The tier of a test.

    Raises:
        KeyError: the test's folder is not in ``TIERS``.
    """
    return _BY_NAME[PurePosixPath(nodeid.partition("::")[0]).parts[1]]

"""kill -9 of the process that counts, at every step: what is missing is counted once, and so is what arrives."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.balances import MANIFEST_TYPE, BalanceFilter
from helios.model.incidents import IncidentFilter
from helios.processes.process import scrubbed_environment
from helios.services.ingest import ingest
from tests.support.api import ROOT
from tests.support.crash import BALANCE_STEPS
from tests.support.deliveries import NOON
from tests.support.instances import sent

TYPE = "OrderPlaced"
PUBLISHED = 10
DUE = NOON + timedelta(minutes=2)

Run = Callable[..., int]


@pytest.fixture
def run(database_url) -> Run:
    """Run both jobs once in a process of its own, as if at a time; with a step, it kills itself there."""
    environment = scrubbed_environment(HELIOS_DATABASE_URL=database_url)

    def run(at: datetime, *, step: str | None = None) -> int:
        crash = ["tests.support.crash", step, "-m"] if step else []
        command = [sys.executable, "-m", *crash, "tests.support.count_at", at.isoformat()]
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode

    return run


def store(pool, *numbers: int, received_at: datetime = NOON) -> None:
    """Store events of the minute of noon."""
    events = [sent("eventbridge", TYPE, {}, id_=f"e-{number}", received_at=received_at) for number in numbers]
    ingest(events, dedupe=NullDedupeCache(), store=PostgresStore(pool))


def declare(pool, published: int, revision: int) -> None:
    payload = {
        "minute": NOON.isoformat(),
        "events": [{"type": TYPE, "published": published}],
        "revision": revision,
    }
    manifest = sent("eventbridge", MANIFEST_TYPE, payload, id_=f"m-{revision}", received_at=NOON)
    ingest([manifest], dedupe=NullDedupeCache(), store=PostgresStore(pool))


@pytest.mark.parametrize("name", BALANCE_STEPS)
def test_a_counter_killed_at_any_step_counts_what_is_missing_once(name, run, pool):
    def missing() -> tuple[int, int]:
        """In the balance, and in the incident."""
        (balance,) = PostgresBalances(pool).balances(BalanceFilter(), after=None, limit=5).items
        (incident,) = PostgresIncidents(pool).incidents(IncidentFilter(), after=None, limit=5).items
        return balance.missing, incident.number

    store(pool, *range(7))
    for minute, (published, expected) in enumerate([(PUBLISHED, 3), (PUBLISHED - 1, 2)]):
        declare(pool, published, revision=minute)
        at = DUE + timedelta(minutes=3 * minute)
        assert run(at, step=name) == -signal.SIGKILL
        assert run(at + timedelta(minutes=1)) == 0
        assert missing() == (expected, expected)

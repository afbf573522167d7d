"""kill -9 of the process that resolves orders, at every step: the orders and their incident change together."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.resolutions import PostgresResolutions
from helios.adapters.postgres.stream import PostgresOutbox
from helios.model.incidents import IncidentFilter
from helios.processes.process import scrubbed_environment
from helios.services.incidents import IncidentJob
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.support.api import ROOT
from tests.support.crash import RESOLUTION_STEPS, UNDO_STEPS
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg

KEYS = ("ORD-1", "ORD-2")
AT = NOON + timedelta(minutes=5)

Run = Callable[..., int]


@pytest.fixture
def run(database_url) -> Run:
    """Take one action in a process of its own; with a step, it kills itself there."""
    environment = scrubbed_environment(HELIOS_DATABASE_URL=database_url)

    def run(*arguments: str, step: str | None = None) -> int:
        crash = ["tests.support.crash", step, "-m"] if step else []
        command = [sys.executable, "-m", *crash, "tests.support.resolve_at", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode

    return run


@pytest.fixture
def state(postgres_store, pool) -> Callable[[], tuple[int, list[str], int]]:
    """Two orders without their payment; what their incident counts, their resolutions, and the actions in the log."""
    reconciler = Reconciler([ORDER])
    deliveries = [leg(name, key) for key in KEYS for name in ("order", "inventory")]
    ingest(deliveries, dedupe=NullDedupeCache(), store=postgres_store, reconciler=reconciler)
    expire_flows(AT, store=postgres_store, reconciler=reconciler)
    incidents, resolutions = PostgresIncidents(pool), PostgresResolutions(pool)
    job = IncidentJob(incidents, outbox=PostgresOutbox(pool), counts=postgres_store)

    def state() -> tuple[int, list[str], int]:
        job.run(AT)
        (incident,) = incidents.incidents(IncidentFilter(), after=None, limit=5).items
        found = resolutions.resolutions([("order", key) for key in KEYS]).values()
        actions = resolutions.actions(instance=None, after=None, limit=50).items
        assert len(postgres_store.audit_log(limit=50).items) == len(actions)
        return incident.number, [each.state for each in found], len(actions)

    return state


@pytest.mark.parametrize("name", RESOLUTION_STEPS)
def test_an_action_killed_at_any_step_has_changed_nothing(name, run, state):
    assert state() == (2, [], 0)

    assert run("accept", *KEYS, step=name) == -signal.SIGKILL
    assert state() == (2, [], 0)

    assert run("accept", *KEYS) == 0
    assert state() == (0, ["accepted", "accepted"], 1)


@pytest.mark.parametrize("name", UNDO_STEPS)
def test_an_undo_killed_at_any_step_has_changed_nothing(name, run, state, pool):
    assert state() == (2, [], 0)
    assert run("accept", *KEYS) == 0
    assert state() == (0, ["accepted", "accepted"], 1)
    number = str(PostgresResolutions(pool).actions(instance=None, after=None, limit=1).items[0].id)

    assert run("undo", number, step=name) == -signal.SIGKILL
    assert state() == (0, ["accepted", "accepted"], 1)

    assert run("undo", number) == 0
    assert state() == (2, [], 2)

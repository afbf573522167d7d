"""kill -9 of the process that notifies, at every step: each receiver sees each transition once by its key."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.processes.process import scrubbed_environment
from helios.reconciliation.evaluate import FlowEvaluator
from helios.services.incidents import QUIET
from helios.services.ingest import ingest
from helios.services.notifications import LEASE
from helios.services.reconciler import Reconciler
from helios.services.sweep import expire_flows
from tests.support.api import ROOT
from tests.support.crash import NOTIFICATION_STEPS
from tests.support.deliveries import NOON
from tests.support.instances import ORDER, leg
from tests.support.receiver import Receiver, receiving

SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret
OVERDUE = NOON + FlowEvaluator(ORDER).time_to_deadline + timedelta(seconds=1)
ORDERS = 20

Run = Callable[..., int]


@pytest.fixture
def receivers() -> Iterator[Mapping[str, Receiver]]:
    with receiving() as ops, receiving() as chat:
        yield {"ops": ops, "chat": chat}


@pytest.fixture
def run(receivers, database_url, tmp_path) -> Run:
    """Run both jobs once in a process of its own, as if at a time; with a step, it kills itself there."""
    file: Path = tmp_path / "notifications.toml"
    tables = [
        f'[[receiver]]\nname = "{name}"\nkind = "webhook"\nurl = "{each.url}"\n' for name, each in receivers.items()
    ]
    file.write_text("".join([*tables, '[[route]]\nto = ["ops", "chat"]\n']))
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=database_url,
        HELIOS_TRUST_LOOPBACK="true",
        HELIOS_NOTIFICATIONS_FILE=str(file),
        HELIOS_NOTIFICATION_SECRETS=f"ops={SECRET} chat={SECRET}",
    )

    def run(at: datetime, *, step: str | None = None) -> int:
        crash = ["tests.support.crash", step, "-m"] if step else []
        command = [sys.executable, "-m", *crash, "tests.support.notify_at", at.isoformat()]
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False).returncode

    return run


@pytest.fixture
def broken_orders(pool) -> None:
    """Orders that all lack their payment."""
    store, reconciler = PostgresStore(pool), Reconciler((ORDER,))
    legs = [leg(name, f"ORD-{number}") for number in range(ORDERS) for name in ("order", "inventory")]
    ingest(legs, dedupe=NullDedupeCache(), store=store, reconciler=reconciler)
    expire_flows(OVERDUE, store=store, reconciler=reconciler)


@pytest.mark.parametrize("name", NOTIFICATION_STEPS)
def test_a_sender_killed_at_any_step_leaves_each_transition_once_by_its_key(name, run, receivers, broken_orders):
    resolved = OVERDUE + QUIET
    for at in (OVERDUE, resolved):
        assert run(at, step=name) == -signal.SIGKILL
        assert run(at + 2 * LEASE) == 0

    for receiver in receivers.values():
        ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
        transitions = [id_.rpartition("-")[2] for id_ in dict.fromkeys(ids)]
        assert transitions == ["opened", "resolved"]
    repeats = sum(len(receiver.requests) for receiver in receivers.values()) - 4
    # A repeat follows only where the receiver has the message, and Helios does not know that.
    if NOTIFICATION_STEPS[name].is_committed:
        assert repeats <= 4
    else:
        assert repeats == 0

"""The leases of work that one process at a time does."""

import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import pytest

from helios.adapters.postgres import leases as adapter
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.leases import PostgresLeases
from helios.errors import Retryable
from helios.ports.leases import LEASE_SECONDS
from tests.support.leases import expire


@pytest.fixture
def leases(pool):
    return PostgresLeases(pool)


def test_one_holder_at_a_time_has_a_lease(leases):
    with leases.take("work") as first, leases.take("work") as second, leases.take("other") as other:
        assert first.is_held
        assert second is None
        assert other.is_held
    with leases.take("work") as next_holder:
        assert next_holder.is_held


def test_anybody_may_ask_whether_a_lease_is_taken(leases, pool):
    assert not leases.is_taken("work")
    with leases.take("work"):
        assert leases.is_taken("work")
        expire(pool, "work")
        assert not leases.is_taken("work")
    assert not leases.is_taken("work")


def test_a_lease_is_given_back_after_an_error(leases):
    with pytest.raises(ZeroDivisionError), leases.take("work"):
        raise ZeroDivisionError
    with leases.take("work") as lease:
        assert lease.is_held


def test_a_holder_extends_its_lease(leases, pool, monkeypatch):
    monkeypatch.setattr(adapter, "EXTEND_SECONDS", 0.05)
    with leases.take("work") as lease, pool.connection() as connection:
        (first,) = connection.execute("SELECT expires_at FROM leases WHERE name = 'work'").fetchone()
        connection.commit()
        deadline = time.monotonic() + 20
        while connection.execute("SELECT expires_at FROM leases WHERE name = 'work'").fetchone() <= (first,):
            connection.commit()
            assert time.monotonic() < deadline
        assert lease.is_held


def test_a_patient_process_gets_the_lease_of_one_that_hangs(leases, pool):
    with leases.take("work") as lease:
        expire(pool, "work")
        with leases.take("work", patience_seconds=20) as next_holder:
            assert next_holder.is_held
            with pytest.raises(Retryable, match="another process continues"), pool.connection() as connection:
                lease.fence(connection)
            with pool.connection() as connection:
                next_holder.fence(connection)


def test_a_holder_notices_that_it_has_lost_its_lease(leases, pool, monkeypatch):
    monkeypatch.setattr(adapter, "EXTEND_SECONDS", 0.05)
    with leases.take("work") as lease:
        with pool.connection() as connection:
            connection.execute("UPDATE leases SET token = token + 1 WHERE name = 'work'")
        deadline = time.monotonic() + 20
        while lease.is_held:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_holder_that_can_t_extend_its_lease_stops_in_time(leases, monkeypatch):
    """Its own clock says so, before another process can have the lease."""
    monkeypatch.setattr(adapter, "LEASE_SECONDS", 0.2)
    with leases.take("work") as lease:
        deadline = time.monotonic() + 20
        while lease.is_held:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _hold(database_url: str, taken: Connection) -> None:
    with open_pool(database_url, connections=1, timeout_seconds=10) as pool, PostgresLeases(pool).take("work"):
        taken.send(os.getpid())
        time.sleep(600)


def test_the_lease_of_a_killed_process_passes_on(leases, database_url):
    """It passes on when the lease is over, which Postgres decides."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    holder = context.Process(target=_hold, args=(database_url, child), daemon=True)
    holder.start()
    assert parent.poll(60)
    os.kill(parent.recv(), signal.SIGKILL)
    holder.join()
    killed_at = datetime.now(UTC)

    with leases.take("work") as lease:
        assert lease is None
    with leases.take("work", patience_seconds=LEASE_SECONDS + 20) as lease:
        assert lease.is_held
    assert (datetime.now(UTC) - killed_at).total_seconds() < LEASE_SECONDS + 15

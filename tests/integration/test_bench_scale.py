"""The processes of the benchmark of many writers."""

import socket
import threading
import time

import psycopg
import pytest
from msgspec.structs import replace

from helios.adapters.postgres.reader import PostgresReader
from scripts.bench.proxy import distant
from scripts.bench.servers import servers
from scripts.bench.writers import WARM_UP, Job, write
from tests.support.deliveries import NOON


@pytest.fixture
def echo():
    """A server that sends back what it receives; its port."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1024):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_the_proxy_delays_each_round_trip_and_counts_the_waits(echo):
    with distant("127.0.0.1", echo, 40) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        for _ in range(3):
            started = time.perf_counter()
            client.sendall(b"ping")
            assert client.recv(1024) == b"ping"
            assert time.perf_counter() - started >= 0.04
        assert proxy.trips() == 2  # the first message follows no answer
        assert proxy.trips() == 0


@pytest.mark.parametrize("orders", ["distinct", "shared"])
def test_the_writers_report_what_is_stored(orders, pool, database_url, redis_url):
    job = Job(database_url=database_url, near_url=database_url, redis_url=redis_url, writers=3, batch=2, seconds=0.5)
    result = write(replace(job, orders=orders))

    assert (result.failures, result.events) == (0, 2 * len(result.milliseconds))
    warm_up, unfinished = 3 * WARM_UP * 2, 3 * 2
    totals = PostgresReader(pool).totals(NOON)
    assert 0 <= totals.stored - warm_up - result.events <= unfinished


def test_bare_writers_only_insert_events(pool, database_url, redis_url):
    job = Job(database_url=database_url, near_url=database_url, redis_url=redis_url, writers=2, batch=1, seconds=0.5)
    result = write(replace(job, bare=True))

    with pool.connection() as connection:
        events, instances = connection.execute(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM flow_instances)"
        ).fetchone()
    assert (result.failures, instances) == (0, 0)
    assert 0 <= events - 2 * WARM_UP - result.events <= 2


def test_a_slower_disk_is_a_setting_of_postgres():
    with servers(commit_ms=0.3) as running, psycopg.connect(running.database_url) as connection:
        settings = connection.execute("SELECT current_setting('commit_delay'), current_setting('commit_siblings')")
        assert settings.fetchone() == ("300", "0")

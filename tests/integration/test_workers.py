"""Several processes of the API, of one machine or of several: each may die, and nothing is lost or done twice."""

import json
import os
import signal
import tempfile
import threading
import urllib.error
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Self

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import Pool
from helios.adapters.postgres.replay import LEASE as REPLAY
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.ports.leases import LEASE_SECONDS
from helios.processes import reaper
from helios.services.ingest import ingest
from helios.services.leadership import PERIODIC
from helios.services.reconciler import Reconciler
from tests.integration.test_serve import Serve, _runs, get
from tests.support.api import TRUST_LOOPBACK, Api
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import NOON, eventbridge
from tests.support.instances import ORDER, leg
from tests.support.receiver import receiving
from tests.support.waiting import awaited, eventually

REPLICAS = 3
TAKEOVER_SECONDS = LEASE_SECONDS + 50
"""The rest is for a busy machine."""
SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret


@pytest.fixture
def replicas(pool, database_url, redis_url, server_folder) -> Iterator[list[Api]]:
    """API processes on one database, as behind one address; a test may kill them."""
    auth = {**TRUST_LOOPBACK, "HELIOS_REPLAY_HOSTS": "127.0.0.1:*", "HELIOS_REPLAY_SECRET": SECRET}
    apis = [
        Api(
            database_url=database_url,
            redis_url=redis_url,
            log=server_folder / f"replica-{number}.log",
            webhook_auth=auth,
        )
        for number in range(REPLICAS)
    ]
    try:
        for api in apis:
            api.start()
        yield apis
    finally:
        for api in apis:
            api.stop()


def holder(pool: Pool, name: str) -> int | None:
    """The process id of the holder of a lease; None while there is none."""
    with pool.connection() as connection:
        row = connection.execute("SELECT holder FROM leases WHERE name = %s AND expires_at > now()", [name]).fetchone()
    return int(row[0].rpartition(":")[2]) if row else None


def holding(pool: Pool, name: str, apis: Sequence[Api]) -> Api:
    """The one of these that holds a lease. A process of an earlier test may hold it a little longer."""

    def held() -> Api | None:
        pid = holder(pool, name)
        return next((api for api in apis if api.pid == pid), None)

    return awaited(held, seconds=TAKEOVER_SECONDS)


def kill_holder(pool: Pool, name: str, apis: Sequence[Api]) -> Api:
    """Kill the process that holds a lease, and return it."""
    dead = holding(pool, name, apis)
    os.kill(dead.pid, signal.SIGKILL)
    dead.stop()
    return dead


class Watcher:
    """A client of the stream of one process, which reads in a thread while the context is open.

    Attributes:
        positions: the positions that it has received.
    """

    def __init__(self, api: Api) -> None:
        self.positions: list[int] = []
        self._url = f"{api.url.replace('http', 'ws', 1)}/api/v1/ws/events"
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        socket = self._opened.enter_context(connect(self._url, origin=None))
        assert json.loads(socket.recv(timeout=30))["type"] == "hello"
        thread = threading.Thread(target=self._read, args=[socket])
        thread.start()
        self._opened.callback(thread.join)
        self._opened.callback(socket.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _read(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # its process was killed
            for message in socket:
                self.positions += [frame["position"] for frame in json.loads(message).get("frames", [])]


@contextmanager
def watching(apis: Sequence[Api]) -> Iterator[list[Watcher]]:
    """A watcher of each process."""
    with ExitStack() as stack:
        yield [stack.enter_context(Watcher(api)) for api in apis]


def test_a_watcher_of_any_process_gets_the_whole_stream(replicas):
    """The events go to all processes in turn, and each sends the frames of the others too."""
    with watching(replicas) as watchers:
        for number in range(30):
            assert call(replicas[number % REPLICAS].url, EVENTBRIDGE, eventbridge(f"w-{number}").body).status == 202
        eventually(lambda: all(watcher.positions == list(range(1, 31)) for watcher in watchers), seconds=60)


@pytest.mark.parametrize("number", range(REPLICAS))
def test_the_watchers_of_the_others_miss_nothing_when_a_process_is_killed(replicas, number):
    """It dies between two events, the first of which it has stored."""
    dead = replicas[number]
    others = [api for api in replicas if api is not dead]
    with watching(others) as watchers:
        for name in ("1", "2"):
            assert call(dead.url, EVENTBRIDGE, eventbridge(name).body).status == 202
        os.kill(dead.pid, signal.SIGKILL)
        for name in ("3", "4"):
            assert call(others[0].url, EVENTBRIDGE, eventbridge(name).body).status == 202
        eventually(lambda: all(watcher.positions == [1, 2, 3, 4] for watcher in watchers), seconds=60)


def test_another_process_sweeps_when_the_one_that_sweeps_is_killed(replicas, pool):
    dead = kill_holder(pool, PERIODIC, replicas)
    ingest([leg("order")], dedupe=NullDedupeCache(), store=PostgresStore(pool), reconciler=Reconciler([ORDER]))

    def is_judged() -> bool:
        with pool.connection() as connection:
            return connection.execute("SELECT status FROM flow_instances").fetchall() == [("incomplete",)]

    eventually(is_judged, seconds=TAKEOVER_SECONDS)
    eventually(lambda: holder(pool, PERIODIC) in {api.pid for api in replicas if api is not dead}, seconds=30)


def test_a_process_that_stops_hands_the_sweep_over_at_once(replicas, pool):
    """A deployment stops one after the other."""
    stopped = holding(pool, PERIODIC, replicas)
    stopped.stop()

    eventually(lambda: holder(pool, PERIODIC) not in {None, stopped.pid}, seconds=LEASE_SECONDS - 1)


def test_another_process_continues_the_replays_of_a_killed_one(replicas, pool):
    ids = [f"{number:03}" for number in range(60)]
    ingest([eventbridge(id_) for id_ in ids], dedupe=NullDedupeCache(), store=PostgresStore(pool))
    jobs = PostgresReplayJobs(pool)
    with receiving() as receiver:
        request = ReplayRequest(
            what="events",
            target=Target(kind="webhook", url=receiver.url),
            filter=ReplayFilter(until=NOON.replace(year=2030)),
            per_second=10,
        )
        jobs.add(request, actor="ann", matching=len(ids), now=NOON)
        eventually(lambda: len(receiver.requests) >= 5, seconds=60)
        kill_holder(pool, REPLAY, replicas)
        eventually(lambda: jobs.first_running() is None, seconds=TAKEOVER_SECONDS)
        arrived = Counter(receiver.ids)

    assert sorted(arrived) == ids
    assert max(arrived.values()) <= 2  # the batch in progress was sent again


@pytest.fixture
def served() -> Iterator[Serve]:
    """``helios serve`` with two workers, in a folder that root's Postgres can reach."""
    folder = Path(tempfile.mkdtemp(prefix="helios-workers-"))
    folder.chmod(0o755)
    with Serve(folder, "--workers", "2") as server:
        yield server
    rmtree(folder)


def workers(server: Serve) -> list[int]:
    """The process ids of the workers."""
    return [pid for pid in reaper.descendants(server.pid) if _runs(pid, "helios.api")]


def test_one_command_runs_several_workers_each_of_which_may_die(served):
    """The sender repeats a request that a dying worker has not answered, as every cloud does."""
    eventually(lambda: len(workers(served)) == 2)
    number = 0

    def send() -> None:
        nonlocal number
        body = eventbridge(f"s-{number}").body
        number += 1

        def is_stored() -> bool:
            try:
                return call(served.url, EVENTBRIDGE, body).status == 202
            except (urllib.error.URLError, OSError):
                return False

        eventually(is_stored, seconds=60)

    for pid in workers(served):
        for _ in range(10):
            send()
        os.kill(pid, signal.SIGKILL)
        for _ in range(10):
            send()
        eventually(lambda: len(workers(served)) == 2, seconds=60)

    assert (call(served.url, "/api/v1/stats").body["total_events"], number) == (40, 40)
    assert served.output().count("ended by SIGKILL. Restarting it.") == 2


def test_both_workers_get_connections(served):
    """Linux divides new connections between the sockets.

    The workers differ in when they started, which Linux counts in hundredths of a second: two that one command
    starts can have the same time, so one of them starts again.
    """
    eventually(lambda: len(workers(served)) == 2)
    first, other = workers(served)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: other in (running := workers(served)) and len(running) == 2 and first not in running, seconds=60)
    started: set[bytes] = set()

    def both_have_answered() -> bool:
        try:
            _, metrics = get(f"{served.url}/metrics")
        except (urllib.error.URLError, OSError):  # the worker that was killed had accepted the connection
            return False
        started.update(line for line in metrics.splitlines() if line.startswith(b"process_start_time_seconds "))
        return len(started) == 2

    eventually(both_have_answered, seconds=60)

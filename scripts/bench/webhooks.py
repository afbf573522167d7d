"""Webhooks per second by the number of clients, what the client could reach, and the API's memory."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from local.stack.config import REPOSITORY
from scripts.bench.orders import small
from scripts.bench.reference import bare_insert
from scripts.bench.report import Table, median, percentile
from scripts.bench.servers import Servers, api

CLIENTS = (1, 16, 64)
BARE_INSERTS = 200


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Requests per second to one worker and to two, each with a new event, and their latencies."""
    seconds = 2 if quick else 8
    with api(running) as (port, process):
        _load([port], 16, 1)  # the first requests import modules, open connections and prepare statements
        one = [(port, process.pid)]
        rows = [_row(running, one, clients, seconds) for clients in CLIENTS]
        memory = _peak_megabytes(process.pid)
    with api(running, "--share-port") as first, api(running, "--share-port") as second:
        workers = [(port, process.pid) for port, process in (first, second)]
        _load([port for port, _ in workers], 16, 1)
        rows.append(_row(running, workers, max(CLIENTS), seconds))
    with _nothing(running) as server:
        ceilings = [_ceiling(server, clients, seconds) for clients in CLIENTS]
    running.empty()
    return [
        Table(
            title="Webhooks, each request with an event of 600 bytes of a new order, with flows",
            columns=(
                "clients",
                "workers",
                "requests/s",
                "of the bare insert",
                "p50 ms",
                "p99 ms",
                "CPU of the API, µs",
            ),
            rows=rows,
            goal="goal: of the bare insert at least 0.45, 1.5, and 2.2 with two workers, with a p99 below 45",
        ),
        Table(
            title="The same requests to a server that does nothing: what this client could reach on this machine",
            columns=("clients", "requests/s", "p50 ms", "client's CPU, µs", "server's CPU, µs"),
            rows=ceilings,
        ),
        Table(
            title="Memory of the API with one worker, MB",
            columns=("", "peak"),
            rows=[("resident", memory)],
            goal="goal: below 200",
        ),
    ]


class _Loaded(msgspec.Struct):
    """What a load has measured.

    Attributes:
        requests: the number of answers.
        seconds: how long it took.
        cpu_seconds: the client's processor time.
        ms: the latencies.
    """

    requests: int
    seconds: float
    cpu_seconds: float
    ms: list[float]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def _load(ports: Sequence[int], clients: int, seconds: float) -> _Loaded:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.bench.load", ",".join(map(str, ports)), str(clients), str(seconds)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=seconds + 60,
    )
    if ran.returncode != 0:
        raise RuntimeError(f"the load generator failed:\n{ran.stderr.decode()[-2000:]}")
    return msgspec.json.decode(ran.stdout, type=_Loaded)


@contextmanager
def _nothing(running: Servers) -> Iterator[tuple[int, int]]:
    """The port and the process id of ``nothing``, on the server of the API."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "scripts.bench.nothing:app", "--host", HOST, "--port", str(port)]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--lifespan", "off"]
    log, environment = running.folder / "nothing.log", scrubbed_environment()
    with Process("nothing", command + options, log=log, env=environment, cwd=REPOSITORY) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/"), seconds=30)
        yield port, process.pid


def _ceiling(server: tuple[int, int], clients: int, seconds: float) -> list[int | float]:
    """A row of the table of ``nothing``."""
    port, pid = server
    used = _cpu_seconds([pid])
    loaded = _load([port], clients, seconds)
    used = _cpu_seconds([pid]) - used
    each = 1e6 / loaded.requests
    return [clients, loaded.rate, percentile(loaded.ms, 50), loaded.cpu_seconds * each, used * each]


def _row(running: Servers, workers: Sequence[tuple[int, int]], clients: int, seconds: float) -> list[int | float]:
    """A row of the table, with the bare insert before and after the load: other load slows both.

    Args:
        running: the servers.
        workers: the port and the process id of each.
        clients: the number of clients.
        seconds: for how long.
    """
    ports, pids = zip(*workers, strict=True)
    before, used = _bare_inserts(running), _cpu_seconds(pids)
    loaded = _load(ports, clients, seconds)
    used = _cpu_seconds(pids) - used
    bare = 1 / median(before + _bare_inserts(running))
    return [
        clients,
        len(ports),
        loaded.rate,
        loaded.rate / bare,
        percentile(loaded.ms, 50),
        percentile(loaded.ms, 99),
        1e6 * used / loaded.requests,
    ]


def _bare_inserts(running: Servers) -> list[float]:
    """The seconds of inserts of one event of the same size."""
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        return [bare_insert(connection, [small()]) for _ in range(BARE_INSERTS)]


def _cpu_seconds(pids: Sequence[int]) -> float:
    """How long processes have run, without waiting for a core; 0 where the system has no /proc."""
    ticks = 0
    for pid in pids:
        statistics = Path(f"/proc/{pid}/stat")
        if statistics.exists():
            user, system = statistics.read_text().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak_megabytes(pid: int) -> float | str:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return "not available"
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024

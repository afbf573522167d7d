"""Webhooks per second by the number of clients, and the API's memory."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

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
        rows = [_row(running, [port], clients, seconds) for clients in CLIENTS]
        memory = _peak_megabytes(process.pid)
        with api(running) as (second, _):
            _load([second], 16, 1)
            rows.append(_row(running, [port, second], max(CLIENTS), seconds))
    running.empty()
    return [
        Table(
            title="Webhooks, each request with an event of 600 bytes of a new order, with flows",
            columns=("clients", "workers", "requests/s", "of the bare insert", "p50 ms", "p99 ms"),
            rows=rows,
            goal="goal: of the bare insert at least 0.45, 1.5, and 2.2 with two workers, with a p99 below 45",
        ),
        Table(
            title="Memory of the API with one worker, MB",
            columns=("", "peak"),
            rows=[("resident", memory)],
            goal="goal: below 200",
        ),
    ]


def _load(ports: Sequence[int], clients: int, seconds: float) -> tuple[float, list[float]]:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.bench.load", ",".join(map(str, ports)), str(clients), str(seconds)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    if ran.returncode != 0:
        raise RuntimeError(f"the load generator failed:\n{ran.stderr[-2000:]}")
    figures = json.loads(ran.stdout)
    return figures["requests"] / figures["seconds"], figures["ms"]


def _row(running: Servers, ports: Sequence[int], clients: int, seconds: float) -> list[int | float]:
    """A row of the table, with the bare insert before and after the load: other load slows both."""
    before = _bare_inserts(running)
    rate, latencies = _load(ports, clients, seconds)
    bare = 1 / median(before + _bare_inserts(running))
    return [clients, len(ports), rate, rate / bare, percentile(latencies, 50), percentile(latencies, 99)]


def _bare_inserts(running: Servers) -> list[float]:
    """The seconds of inserts of one event of the same size."""
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        return [bare_insert(connection, [small()]) for _ in range(BARE_INSERTS)]


def _peak_megabytes(pid: int) -> float | str:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return "not available"
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024

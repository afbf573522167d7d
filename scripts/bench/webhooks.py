"""Webhooks per second by the number of clients, and the API's memory."""

import json
import subprocess
import sys
from pathlib import Path

from local.stack.config import REPOSITORY
from scripts.bench.report import Table, percentile
from scripts.bench.servers import Servers, api

CLIENTS = (1, 16, 64)


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Requests per second to one worker, each with a new event, and their latencies."""
    seconds = 2 if quick else 8
    with api(running) as (port, process):
        _load(port, 16, 1)  # the first requests import modules, open connections and prepare statements
        rows = [_row(port, clients, seconds) for clients in CLIENTS]
        memory = _peak_megabytes(process.pid)
    running.empty()
    return [
        Table(
            title="Webhooks, one uvicorn worker, each request with a new event",
            columns=("clients", "requests/s", "p50 ms", "p99 ms"),
            rows=rows,
            goal="goal: at least 1500/s at 64 clients on two cores",
        ),
        Table(
            title="Memory of the API afterwards, MB",
            columns=("", "peak"),
            rows=[("resident", memory)],
            goal="goal: below 200",
        ),
    ]


def _load(port: int, clients: int, seconds: float) -> tuple[float, list[float]]:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.bench.load", str(port), str(clients), str(seconds)],
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


def _row(port: int, clients: int, seconds: float) -> tuple[int, float, float, float]:
    rate, latencies = _load(port, clients, seconds)
    return clients, rate, percentile(latencies, 50), percentile(latencies, 99)


def _peak_megabytes(pid: int) -> float | str:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return "not available"
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024

"""Thousands of orders that one cause breaks: how soon their incident is reported, and with how many messages."""

import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from secrets import token_bytes
from threading import Thread

from helios import bootstrap
from helios.bootstrap.services import Services
from helios.client import Client
from helios.processes.ports import HOST
from helios.settings import Settings
from scripts.bench.orders import of_leg
from scripts.bench.report import Table
from scripts.bench.servers import Servers, another_database, api

ORDERS = 10_000
QUICK_ORDERS = 1000
BATCH = 500
WHOLE_ORDERS = 25
"""In each batch: their payments show that no source is silent, which would defer the deadlines of the others."""

TIME_LIMIT_SECONDS = 1
POLL_SECONDS = 0.05
TIMEOUT_SECONDS = 300.0
ORDER, PAYMENT, INVENTORY = 0, 1, 2

_FILE = """
[[receiver]]
name = "ops"
kind = "webhook"
url = "{url}"

[[route]]
to = ["ops"]
kind = ["flow"]
"""


class _Receiver(ThreadingHTTPServer):
    """Notes when each message arrives."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.arrivals: list[float] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.arrivals.append(time.monotonic())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """Orders lack their payment; it arrives once all of them are incomplete."""
    number = QUICK_ORDERS if quick else ORDERS
    flows = running.folder / "flows.toml"
    declared = (files("helios") / "flows.toml").read_text()
    for limit in ("window_seconds = 30", "grace_seconds = 60"):
        declared = declared.replace(limit, f"{limit.partition(' ')[0]} = {TIME_LIMIT_SECONDS}")
    flows.write_text(declared)
    with _receiver() as receiver, another_database(running) as own:
        settings = {"HELIOS_FLOWS_FILE": str(flows), **_notifications(running.folder, receiver)}
        local = Settings(database_url=own.database_url, flows_file=str(flows))
        with api(own, **settings) as (port, _), closing(bootstrap.build(local)) as services:
            row = _round(services, Client(f"http://{HOST}:{port}"), receiver, number)
    return [
        Table(
            title="Orders that lack one leg for one cause, s",
            columns=("orders", "first message", "all counted", "ingested in", "resolved message", "messages"),
            rows=[row],
            goal="goal: one incident, two messages, the first within 30 seconds of the first deadline. Resolved: from "
            "the last payment; an incident ends a minute after the last order was repaired.",
        )
    ]


def _round(
    services: Services, client: Client, receiver: _Receiver, number: int
) -> tuple[int, float, float, float, float, int]:
    orders = [f"ORD-{uuid.uuid4().hex[:12]}" for _ in range(number)]
    started = time.monotonic()
    for first in range(0, number, BATCH):
        whole = [f"ORD-{uuid.uuid4().hex[:12]}" for _ in range(WHOLE_ORDERS)]
        for leg in (ORDER, PAYMENT, INVENTORY):
            services.ingest(of_leg(leg, whole if leg == PAYMENT else [*whole, *orders[first : first + BATCH]]))
    ingested = time.monotonic() - started
    deadline = started + 2 * TIME_LIMIT_SECONDS
    _wait(lambda: [incident.number for incident in client.incidents(kind=["flow"])] == [number])
    counted = time.monotonic() - deadline
    for first in range(0, number, BATCH):
        services.ingest(of_leg(PAYMENT, orders[first : first + BATCH]))
    repaired = time.monotonic()
    _wait(lambda: all(incident.resolved_at for incident in client.incidents(kind=["flow"])))
    _wait(lambda: len(receiver.arrivals) > 1)
    first_message, *_, last_message = receiver.arrivals
    return (
        number,
        first_message - deadline,
        counted,
        ingested,
        last_message - repaired,
        len(receiver.arrivals),
    )


@contextmanager
def _receiver() -> Iterator[_Receiver]:
    with _Receiver() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _notifications(folder: Path, receiver: _Receiver) -> dict[str, str]:
    file = folder / "notifications.toml"
    file.write_text(_FILE.format(url=f"http://{HOST}:{receiver.server_port}/"))
    secret = b64encode(token_bytes(24)).decode()
    return {"HELIOS_NOTIFICATIONS_FILE": str(file), "HELIOS_NOTIFICATION_SECRETS": f"ops=whsec_{secret}"}


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {TIMEOUT_SECONDS:g} s")
        time.sleep(POLL_SECONDS)

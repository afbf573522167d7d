"""The whole local stack on free ports, as the demo starts it, without the demo's traffic."""

import asyncio
import http.client
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest

from helios.embedded import postgres
from helios.processes.ports import HOST
from helios.processes.process import scrubbed_environment
from helios.processes.server import Server
from helios.processes.supervisor import Supervisor
from local.aws.deployer import VISIBILITY_SECONDS
from local.demo import stats
from local.demo.stats import Stats
from local.stack.config import REPOSITORY, Config, free_port_fields
from local.stack.services import sdk_environment, services
from scripts.simulator import endpoints
from scripts.simulator.plan import Emission
from tests.support.waiting import awaited, eventually

SOURCES: Final = ("aws", "gcp", "azure")

DELIVERED_SECONDS: Final = 2 * VISIBILITY_SECONDS + 30
"""How long an event may take. On a busy machine a function may fail to store it; SQS redelivers it after a minute."""

QUICK_FLOW = """
[[flow]]
name = "quick"
key = "order_id"
window_seconds = 1
grace_seconds = 1
leg = [
    { name = "order", source = "aws", type = "QuickOrder", verb = "ordered" },
    { name = "payment", source = "gcp", type = "QuickPayment", verb = "charged" },
    { name = "inventory", source = "azure", type = "QuickInventory", verb = "reserved" },
]
"""
"""A flow beside that of orders, whose missing legs are certain after two seconds."""


class Traffic:
    """A finished run of the simulator.

    Attributes:
        summary: the summary that the simulator wrote.
        truth: the anomalies that the simulator injected.
    """

    def __init__(self, folder: Path) -> None:
        self.summary = json.loads((folder / "summary.json").read_bytes())
        self.truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


class Stack:
    """The running local stack."""

    def __init__(self, config: Config, folder: Path, running: dict[str, Server]) -> None:
        self.config = config
        self._folder = folder
        self._running = running
        self._runs = 0

    def service(self, name: str) -> Server:
        return self._running[name]

    def simulate(self, *options: str) -> "Simulation":
        """Start the simulator, which publishes through the vendors' SDKs."""
        self._runs += 1
        folder = self._folder / f"traffic-{self._runs}"
        folder.mkdir()
        return Simulation(folder, self.config, options)

    def stats(self) -> Stats:
        """The counts of the API, which does not answer for a moment while a store is restarted."""
        return awaited(lambda: stats.fetch(f"{HOST}:{self.config.api_port}"), seconds=60)

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(HOST, self.config.api_port, timeout=30)
        connection.request("GET", path)
        body = json.load(connection.getresponse())
        connection.close()
        return body

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres.url(self.config.postgres_port, self.config.credentials.postgres)) as connection:
            return connection.execute(query.encode()).fetchall()

    def wait_until_taken(self, before: Stats, count: int) -> None:
        """Return once Helios has counted ``count`` more deliveries than ``before``."""
        eventually(lambda: self.stats().deliveries - before.deliveries >= count, seconds=DELIVERED_SECONDS)

    def wait_until_stored(self, before: Stats, count: int) -> None:
        """Return once ``count`` more events are stored than ``before``; duplicates do not count."""
        eventually(lambda: self.stats().total_events - before.total_events >= count, seconds=DELIVERED_SECONDS)


class Simulation:
    """A run of the simulator that has been started."""

    def __init__(self, folder: Path, config: Config, options: tuple[str, ...]) -> None:
        self._folder = folder
        files = ["--summary", str(folder / "summary.json"), "--truth", str(folder / "truth.jsonl")]
        with (folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.simulator", "--via", "cloud", "--seed", "7", *options, *files],
                cwd=REPOSITORY,
                env=scrubbed_environment(**sdk_environment(config)),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self) -> bool:
        """Whether the simulator still runs."""
        return self._process.poll() is None

    def finish(self) -> Traffic:
        """Wait until the simulator ends, and fail if its exit status is not 0."""
        status = self._process.wait(180)
        assert status == 0, (self._folder / "output").read_text()[-3000:]
        return Traffic(self._folder)


def emission(source: str, type_: str, time: datetime, data: object, order_id: str = "") -> Emission:
    """An event as the simulator plans it."""
    return Emission(
        source=source,
        type=type_,
        id=str(uuid.uuid4()),
        order_id=order_id,
        data=msgspec.json.encode(data),
        due=0,
        time=time,
    )


@pytest.fixture
def publish(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Emission]], None]:
    """A function that publishes events, at least one for each cloud, through the SDK of each."""
    environ = sdk_environment(stack.config)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    async def send(emissions: Sequence[Emission]) -> None:
        for source, endpoint in endpoints.find(SOURCES, allow_mixed=False, environ=environ).items():
            publisher = endpoints.connect(endpoint, environ=environ)
            try:
                answers = await publisher.publish([each for each in emissions if each.source == source])
            finally:
                await publisher.close()
            assert {answer.outcome for answer in answers} == {"accepted"}, answers

    return lambda emissions: asyncio.run(send(emissions))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The local stack, with every service ready."""
    folder = tmp_path_factory.mktemp("stack")
    flows = folder / "flows.toml"
    flows.write_text((REPOSITORY / "shared/helios/flows.toml").read_text() + QUICK_FLOW)
    config = msgspec.convert({"state": str(folder / "state"), "flows_file": str(flows)} | free_port_fields(), Config)
    all_services = services(config)
    log_lines: list[str] = []
    with Supervisor(all_services, log_lines.append) as supervisor:
        supervisor.start()
        yield Stack(config, folder, {service.name: service.server for service in all_services})
    for service in all_services:
        if isinstance(service.server, postgres.Postgres):
            service.server.discard()

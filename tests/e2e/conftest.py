"""All of Helios on free ports, as the demo starts it, without its traffic."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from local.demo import stats
from local.demo.stats import Stats
from local.servers import postgres
from local.stack.config import REPOSITORY, Config, free_port_fields
from local.stack.ports import HOST
from local.stack.process import scrubbed_environment
from local.stack.server import Server
from local.stack.services import sdk_environment, services
from local.stack.supervisor import Supervisor
from tests.support.waiting import eventually


class Traffic:
    """A finished run of the simulator.

    Attributes:
        summary: what it says of itself.
        truth: the anomalies that it injected.
    """

    def __init__(self, folder: Path) -> None:
        self.summary = json.loads((folder / "summary.json").read_bytes())
        self.truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


class Stack:
    """The running services."""

    def __init__(self, config: Config, folder: Path, running: dict[str, Server]) -> None:
        self.config = config
        self._folder = folder
        self._running = running
        self._runs = 0

    def service(self, name: str) -> Server:
        return self._running[name]

    def simulate(self, *options: str) -> "Simulation":
        """Begin traffic through the vendors' SDKs."""
        self._runs += 1
        folder = self._folder / f"traffic-{self._runs}"
        folder.mkdir()
        return Simulation(folder, self.config, options)

    def stats(self) -> Stats:
        found = stats.fetch(f"{HOST}:{self.config.api_port}")
        assert found
        return found

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection(HOST, self.config.api_port, timeout=30)
        connection.request("GET", path)
        answer = json.load(connection.getresponse())
        connection.close()
        return answer

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(postgres.url(self.config.postgres_port, self.config.credentials.postgres)) as connection:
            return connection.execute(query.encode()).fetchall()

    def wait_until_taken(self, before: Stats, count: int) -> None:
        """Return once Helios accounts for so many deliveries more than before."""
        eventually(lambda: self.stats().deliveries - before.deliveries >= count, seconds=90)

    def wait_until_stored(self, before: Stats, count: int) -> None:
        """Return once so many more events are stored; those that came twice don't count."""
        eventually(lambda: self.stats().total_events - before.total_events >= count, seconds=90)


class Simulation:
    """A run of the simulator under way."""

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
        """Whether it goes on."""
        return self._process.poll() is None

    def finish(self) -> Traffic:
        """Wait for its end, which must be a good one."""
        status = self._process.wait(180)
        assert status == 0, (self._folder / "output").read_text()[-3000:]
        return Traffic(self._folder)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, ready."""
    folder = tmp_path_factory.mktemp("stack")
    config = msgspec.convert({"state": str(folder / "state")} | free_port_fields(), Config)
    every = services(config)
    said: list[str] = []
    with Supervisor(every, said.append) as supervisor:
        supervisor.start()
        yield Stack(config, folder, {service.name: service.server for service in every})
    for service in every:
        if isinstance(service.server, postgres.Postgres):
            service.server.discard()

"""All of Helios on free ports, a proxy before each store, and the handles by which each part is made to fail."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import msgspec
import psycopg

from helios.model.events import SOURCES, Source
from local.aws import ministack, resources
from local.servers.postgres import Postgres
from local.servers.valkey import Valkey
from local.stack import reaper
from local.stack.config import QUEUE, RELAY_QUEUE, REPOSITORY, Config, free_port_fields
from local.stack.ports import PortTaken, free_port, require_free
from local.stack.probes import accepts
from local.stack.process import ServiceFailed, scrubbed_environment
from local.stack.server import Command, Server
from local.stack.services import sdk_environment, services
from local.stack.supervisor import Supervisor
from scripts.faults.orders import FLOW, LEGS
from scripts.faults.proofs import Proofs
from scripts.simulator import endpoints
from scripts.simulator.answers import Publisher
from scripts.simulator.shop import LEGS as SHOP_LEGS

SERVICES_OF: Mapping[Source, Sequence[str]] = {
    "aws": ("aws", "packages", "deployment"),
    "gcp": ("pubsub", "gcp-function", "gcp-topic"),
    "azure": ("eventgrid", "azure-function", "azure-topic"),
}
LEFT_OUT = ("dashboard", "dashboard-build", "kafka", "sink", "canary")
"""Nobody looks, Kafka has tests of its own, and canary events would be counted among what is sent."""

HOSTED_CLOUDS: Sequence[Source] = ("gcp", "azure")
"""Whose emulators keep on disk what they have not delivered, and so survive their supervisor."""

READY = b"ready\n"
"""What a hosted stage says."""
_GONE_SECONDS = 20.0

VISIBILITY_SECONDS = 5
"""How soon SQS delivers again what a killed Lambda had in hand; 60 s in the demo would be most of a phase."""

FLOWS = """
[[flow]]
name = "{name}"
key = "order_id"
window_seconds = 3600
grace_seconds = 3600
amount = ["order.amount", "payment.amount"]
leg = [
    {{ name = "order", source = "aws", type = "{aws}" }},
    {{ name = "payment", source = "gcp", type = "{gcp}" }},
    {{ name = "inventory", source = "azure", type = "{azure}" }},
]
rule = [{{ equal = ["order.amount", "payment.amount"], within = "0.01" }}]
"""
"""The shipped flow for the orders of the clouds, and the same for those of the webhooks; no outage makes one late."""


class Place(msgspec.Struct, frozen=True):
    """Where a stage stands, for whoever finds its folder.

    Attributes:
        config: its ports and folders; those of Postgres and Valkey are their proxies'.
        database_port: Postgres' own.
        cache_port: Valkey's own.
    """

    config: Config
    database_port: int
    cache_port: int

    @classmethod
    def of(cls, folder: Path) -> "Place":
        """The place in this folder, chosen once."""
        file = folder / "place.json"
        if not file.exists():
            flows_file = folder / "flows.toml"
            flows_file.write_text(_flows())
            fields = {"state": str(folder / "state"), "flows_file": str(flows_file)} | free_port_fields()
            file.write_bytes(msgspec.json.encode(cls(msgspec.convert(fields, Config), free_port(), free_port())))
        return msgspec.json.decode(file.read_bytes(), type=cls)


class Stage:
    """A run of Helios; a context manager."""

    def __init__(self, folder: Path, say: Callable[[str], None], *, clouds: Sequence[Source]) -> None:
        """Describe it; nothing is started yet.

        Args:
            folder: for data and logs; what an earlier stage has left there is gone on with.
            say: told, in a line, what happens.
            clouds: those whose emulators and functions run too.
        """
        place = Place.of(folder)
        self.config = place.config
        self.say = say
        self.clouds = clouds
        folder, log = self.config.folder, self.config.log
        self._database = Postgres(folder / "postgres", place.database_port, log=log("postgres"))
        self._stores = {
            "postgres": self._database,
            "valkey": Valkey(folder / "valkey", place.cache_port, log=log("valkey")),
        }
        self.proxies = {
            "postgres": self._proxy(self.config.postgres_port, to=place.database_port),
            "valkey": self._proxy(self.config.valkey_port, to=place.cache_port),
        }
        left_out = [*LEFT_OUT, *(name for cloud in SOURCES if cloud not in clouds for name in SERVICES_OF[cloud])]
        self._services = [
            service._replace(server=self._stores.get(service.name, service.server))
            for service in services(self.config)
            if service.name not in left_out
        ]
        self._stack = ExitStack()
        # Where Pub/Sub runs, it is the one whose keys the API asks for, and it signs what it pushes itself.
        self.proofs = Proofs(None if "gcp" in clouds else self.config.pubsub_admin_port)
        self.publishers: dict[Source, Publisher] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.callback(self._database.discard)
            self._stack.enter_context(self.proofs)
            self._start()
            self._connect()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for publisher in self.publishers.values():
            asyncio.run(publisher.close())
        self._stack.close()

    @property
    def api_url(self) -> str:
        """Helios' own API."""
        return self.config.api_url

    def service(self, name: str) -> Server:
        """A service by the name that the demo gives it."""
        return next(service.server for service in self._services if service.name == name)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """A connection of our own, past the proxy; read-only and of one moment."""
        with psycopg.connect(self._database.url, options="-c timezone=UTC") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield connection

    @property
    def database_url(self) -> str:
        """The database itself, past the proxy."""
        return self._database.url

    def database_pids(self) -> list[int]:
        """Every process of Postgres."""
        return [self._database.pid, *reaper.descendants(self._database.pid)]

    def hold_back(self, name: str, *, slow: bool) -> None:
        """Hold back everything that passes between Helios and this store, or no longer."""
        os.kill(self.proxies[name].pid, signal.SIGUSR1 if slow else signal.SIGUSR2)

    def lambda_workers(self) -> list[int]:
        """The processes in which the AWS emulator runs functions now."""
        return ministack.workers(self.service("aws").pid)

    def _start(self) -> None:
        for proxy in self.proxies.values():
            self._stack.enter_context(proxy)
        self._stack.enter_context(Supervisor(self._services, self.say)).start()

    def _proxy(self, port: int, *, to: int) -> Command:
        return Command(
            "proxy",
            [sys.executable, "-m", "scripts.faults.proxy", "--port", str(port), "--to", str(to)],
            env=scrubbed_environment(),
            ready=accepts(port),
            log=self.config.log("proxy"),
            cwd=REPOSITORY,
        )

    def _connect(self) -> None:
        """Publishers for each cloud; some SDKs read this process' own environment."""
        environment = sdk_environment(self.config)
        os.environ.update(environment)
        found = endpoints.find(self.clouds, allow_mixed=False, environ=environment)
        self.publishers = {source: endpoints.connect(one, environ=environment) for source, one in found.items()}
        if "aws" not in self.clouds:
            return
        sqs = resources.client("sqs", self.config.aws_url)
        for queue in (QUEUE, RELAY_QUEUE):
            sqs.set_queue_attributes(
                QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"],
                Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)},
            )
        sqs.close()


class HostedStage(Stage):
    """A stage in another process, whose supervisor can be killed with all that it holds; see ``hosted``."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Describe it; the words are those of ``Stage``."""
        super().__init__(folder, say, clouds=HOSTED_CLOUDS)
        self._folder = folder
        self._host: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """``kill -9`` the supervisor, and return once nothing that it started is left.

        Raises:
            PortTaken: something is left after a while.
        """
        if self._host is None:
            return
        self._host.kill()
        self._host.wait()
        deadline = time.monotonic() + _GONE_SECONDS
        for port in (self._database.port, self.config.api_port, self.config.pubsub_port, self.config.eventgrid_port):
            while not _is_free(port, last=time.monotonic() > deadline):
                time.sleep(0.05)

    def start(self) -> None:
        """Start it on what the last one has left, and return once everything answers.

        Raises:
            ServiceFailed: it does not.
        """
        command = [sys.executable, "-m", "scripts.faults.hosted", str(self._folder)]
        self._host = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
        assert self._host.stdout  # noqa: S101 - PIPE gives one; for mypy
        with self._host.stdout as said:
            if said.readline() != READY:
                raise ServiceFailed(f"the supervisor did not start: see the logs in {self.config.log('*').parent}")

    def _start(self) -> None:
        self._stack.callback(self.kill)
        self.start()


def _is_free(port: int, *, last: bool) -> bool:
    try:
        require_free(port, service="a new stage", setting="nothing")
    except PortTaken:
        if last:
            raise
        return False
    return True


def _flows() -> str:
    legs = {"order": SHOP_LEGS, FLOW: LEGS}
    return "".join(
        FLOWS.format(name=name, aws=types["aws"], gcp=types["gcp"], azure=types["azure"])
        for name, types in legs.items()
    )

"""All of Helios on free ports, a proxy before each store, and methods that make each part fail."""

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

from helios.embedded.postgres import Postgres
from helios.embedded.valkey import Valkey
from helios.model.sources import BUILT_IN, Source
from helios.processes import reaper
from helios.processes.ports import PortTaken, free_port, require_free
from helios.processes.probes import accepts
from helios.processes.process import ServiceFailed, scrubbed_environment
from helios.processes.server import Command, Server
from helios.processes.supervisor import Supervisor
from local.aws import ministack, resources
from local.stack.config import QUEUE, RELAY_QUEUE, REPOSITORY, Config, free_port_fields
from local.stack.services import sdk_environment, services
from scripts.faults.credentials import Credentials
from scripts.faults.orders import FLOW, LEGS
from scripts.simulator import endpoints
from scripts.simulator.answers import Publisher
from scripts.simulator.shop import LEGS as SHOP_LEGS

SERVICES_OF: Mapping[Source, Sequence[str]] = {
    "aws": ("aws", "packages", "deployment"),
    "gcp": ("pubsub", "gcp-function", "gcp-topic"),
    "azure": ("eventgrid", "azure-function", "azure-topic"),
}
LEFT_OUT = ("dashboard", "dashboard-build", "kafka", "sink", "canary")
"""The dashboard is not needed, Kafka has separate tests, and canary events would change the counts."""

HOSTED_CLOUDS: Sequence[Source] = ("gcp", "azure")
"""The clouds whose emulators store undelivered messages on disk, and so survive a kill of their supervisor."""

READY = b"ready\n"
"""The line that a hosted testbed writes once all services are ready."""
_GONE_SECONDS = 20.0

VISIBILITY_SECONDS = 5
"""After how long SQS redelivers the messages of a killed Lambda. The demo's 60 s would be most of a phase."""

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
"""The shipped flow for the clouds' orders, and the same for the webhooks'. The windows exceed every outage."""


class SavedConfig(msgspec.Struct, frozen=True):
    """The ports and folders of a testbed, stored in its folder so that another process can use the same ones.

    Attributes:
        config: ports and folders; the ports of Postgres and Valkey are those of their proxies.
        database_port: the port of Postgres itself.
        cache_port: the port of Valkey itself.
    """

    config: Config
    database_port: int
    cache_port: int

    @classmethod
    def load(cls, folder: Path) -> "SavedConfig":
        """The configuration in this folder; chosen and written if there is none."""
        file = folder / "testbed.json"
        if not file.exists():
            flows_file = folder / "flows.toml"
            flows_file.write_text(_flows())
            fields = {"state": str(folder / "state"), "flows_file": str(flows_file)} | free_port_fields()
            file.write_bytes(msgspec.json.encode(cls(msgspec.convert(fields, Config), free_port(), free_port())))
        return msgspec.json.decode(file.read_bytes(), type=cls)


class Testbed:
    """A run of Helios; a context manager that starts and ends it."""

    def __init__(self, folder: Path, report: Callable[[str], None], *, clouds: Sequence[Source]) -> None:
        """Configure the services; they start when the context is entered.

        Args:
            folder: for data and logs; the data of an earlier testbed there is used.
            report: called with a line of progress.
            clouds: the clouds whose emulators and functions run too.
        """
        saved = SavedConfig.load(folder)
        self.config = saved.config
        self.report = report
        self.clouds = clouds
        folder, log = self.config.folder, self.config.log
        passwords = self.config.credentials
        self._database = Postgres(folder / "postgres", saved.database_port, log=log("postgres"), credentials=passwords)
        self._stores = {
            "postgres": self._database,
            "valkey": Valkey(folder / "valkey", saved.cache_port, log=log("valkey"), password=passwords.valkey),
        }
        self.proxies = {
            "postgres": self._proxy(self.config.postgres_port, to=saved.database_port),
            "valkey": self._proxy(self.config.valkey_port, to=saved.cache_port),
        }
        left_out = [*LEFT_OUT, *(name for cloud in BUILT_IN if cloud not in clouds for name in SERVICES_OF[cloud])]
        self._services = [
            service._replace(server=self._stores.get(service.name, service.server))
            for service in services(self.config)
            if service.name not in left_out
        ]
        self._stack = ExitStack()
        # With the Pub/Sub emulator, the API fetches the emulator's keys, and the emulator signs what it pushes.
        self.credentials = Credentials(None if "gcp" in clouds else self.config.pubsub_admin_port, passwords)
        self.publishers: dict[Source, Publisher] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.callback(self._database.discard)
            self._stack.enter_context(self.credentials)
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
        """The URL of Helios' API."""
        return self.config.api_url

    def service(self, name: str) -> Server:
        """The service that has this name in the demo."""
        return next(service.server for service in self._services if service.name == name)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """A read-only connection with one snapshot, which bypasses the proxy."""
        with psycopg.connect(self._database.url, options="-c timezone=UTC") as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield connection

    @property
    def database_url(self) -> str:
        """The URL of the database, which bypasses the proxy."""
        return self._database.url

    def database_pids(self) -> list[int]:
        """The process ids of Postgres."""
        return [self._database.pid, *reaper.descendants(self._database.pid)]

    def set_slow(self, name: str, *, slow: bool) -> None:
        """Delay all data between Helios and this store, or end the delay."""
        os.kill(self.proxies[name].pid, signal.SIGUSR1 if slow else signal.SIGUSR2)

    def lambda_workers(self) -> list[int]:
        """The process ids of the AWS emulator's functions."""
        return ministack.workers(self.service("aws").pid)

    def _start(self) -> None:
        for proxy in self.proxies.values():
            self._stack.enter_context(proxy)
        self._stack.enter_context(Supervisor(self._services, self.report)).start()

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
        """Build a publisher for each cloud; some SDKs read the environment of this process."""
        environment = sdk_environment(self.config)
        os.environ.update(environment)
        cloud_endpoints = endpoints.find(self.clouds, allow_mixed=False, environ=environment)
        self.publishers = {
            source: endpoints.connect(endpoint, environ=environment) for source, endpoint in cloud_endpoints.items()
        }
        if "aws" not in self.clouds:
            return
        sqs = resources.client("sqs", self.config.aws_url)
        for queue in (QUEUE, RELAY_QUEUE):
            sqs.set_queue_attributes(
                QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"],
                Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)},
            )
        sqs.close()


class HostedTestbed(Testbed):
    """A testbed in another process, whose supervisor can be killed with all its services; see ``hosted``."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        """Configure the services; the arguments are those of ``Testbed``."""
        super().__init__(folder, report, clouds=HOSTED_CLOUDS)
        self._folder = folder
        self._host: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """``kill -9`` the supervisor, and return once all its services have ended.

        Raises:
            PortTaken: a service still runs after 20 s.
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
        """Start a supervisor on the existing data, and return once all services are ready.

        Raises:
            ServiceFailed: a service did not start.
        """
        command = [sys.executable, "-m", "scripts.faults.hosted", str(self._folder)]
        self._host = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE)
        assert self._host.stdout  # noqa: S101 - PIPE gives one; for mypy
        with self._host.stdout as output:
            if output.readline() != READY:
                raise ServiceFailed(f"the supervisor did not start: see the logs in {self.config.log('*').parent}")

    def _start(self) -> None:
        self._stack.callback(self.kill)
        self.start()


def _is_free(port: int, *, last: bool) -> bool:
    try:
        require_free(port, service="a new testbed", setting="nothing")
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

"""The services of ``helios serve``, one row each, and the settings that all of them get."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from helios.embedded import postgres, valkey
from helios.embedded.data_folder import DataFolder
from helios.embedded.postgres import Postgres
from helios.embedded.valkey import Valkey
from helios.processes.ports import HOST
from helios.processes.probes import answers
from helios.processes.server import Command, Task
from helios.processes.supervisor import Service

API_STOP_SECONDS = 25.0
"""The API waits up to 15 s for the batch of a replay (``helios.api.app``), and closes its connections before."""

_WILDCARDS = {"0.0.0.0": HOST, "::": "::1"}  # noqa: S104 - the keys are compared with --host
"""A loopback address for each address that means every interface."""


class Address(NamedTuple):
    """Where the API listens."""

    host: str
    port: int

    @property
    def local_url(self) -> str:
        """The URL of the API on this machine."""
        host = _WILDCARDS.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {HOST, "::1", "localhost"}


class Embedded(NamedTuple):
    """The Postgres and the Valkey that ``helios serve`` brings along."""

    folder: DataFolder
    postgres_port: int
    valkey_port: int

    @property
    def settings(self) -> dict[str, str]:
        """The settings of Helios for these two servers."""
        passwords = self.folder.credentials()
        return {
            "HELIOS_DATABASE_URL": postgres.url(self.postgres_port, passwords.postgres),
            "HELIOS_REDIS_URL": valkey.url(self.valkey_port, passwords.valkey),
        }

    def rows(self) -> list[Service]:
        """The rows of the two servers."""
        folder, passwords = self.folder, self.folder.credentials()
        database = Postgres(
            folder.postgres,
            self.postgres_port,
            log=folder.logs / "postgres.log",
            credentials=passwords,
            remedy=f"To start with an empty database, remove {folder.path}.",
            in_place=True,
        )
        cache = Valkey(
            folder.state / "valkey",
            self.valkey_port,
            log=folder.logs / "valkey.log",
            password=passwords.valkey,
        )
        return [Service("postgres", database, restarts=True), Service("valkey", cache, restarts=True)]


def rows(
    address: Address,
    settings: Mapping[str, str],
    *,
    embedded: Embedded | None,
    logs: Path | None,
    workers: int = 1,
) -> list[Service]:
    """Every service.

    Args:
        address: where the API listens. The API also relays, sweeps and works on replays.
        settings: the environment of every process of Helios.
        workers: the number of processes of the API. They share the address, and the work that one does at a time.
        embedded: the servers to run; None: those in ``settings`` run elsewhere.
        logs: the folder of the logs of Helios' own processes; None: they log to standard error.
    """

    def log(name: str) -> Path | None:
        return logs / f"{name}.log" if logs else None

    migrations = Task("migrations", _python("helios", "migrate"), env=settings, log=log("migrations"))
    listen = ["--host", address.host, "--port", str(address.port), *(["--share-port"] if workers > 1 else [])]

    def api(name: str) -> Service:
        server = Command(
            name,
            _python("helios.api", *listen),
            env=settings,
            ready=answers(f"{address.local_url}/api/v1/health"),  # by any worker: one that fails is restarted
            log=log(name),
            stop_seconds=API_STOP_SECONDS,
        )
        return Service(name, server, needs=("migrations", *(("valkey",) if embedded else ())), restarts=True)

    names = ["api"] if workers == 1 else [f"api-{number}" for number in range(1, workers + 1)]
    table = [
        *(embedded.rows() if embedded else []),
        Service("migrations", migrations, needs=("postgres",) if embedded else ()),
        *map(api, names),
    ]
    if settings.get("HELIOS_KAFKA_BROKERS"):
        # Ready at once: it waits for brokers that do not answer, and the health of the API reports that.
        sink = Command("sink", _python("helios", "sink"), env=settings, ready=lambda: True, log=log("sink"))
        table.append(Service("sink", sink, needs=("migrations",), restarts=True))
    if settings.get("HELIOS_ENGINE") == "flink":
        # Ready at once, for the same reason.
        projector = Command(
            "projector", _python("helios", "projector"), env=settings, ready=lambda: True, log=log("projector")
        )
        table.append(Service("projector", projector, needs=("migrations",), restarts=True))
        if settings.get("HELIOS_EVENT_STORE") == "archive":
            command = _python("helios", "archive", "run", "--from-log")
            archive = Command("archive", command, env=settings, ready=lambda: True, log=log("archive"))
            table.append(Service("archive", archive, needs=("migrations",), restarts=True))
    return table


def environment(address: Address, *, embedded: Embedded | None, dashboard: Path) -> dict[str, str]:
    """The environment of every process: the user's own, and a value for what it leaves out.

    With its own database, nothing but this machine is set up to send events, so that requests of this machine need no
    credentials, unless the user decides otherwise.
    """
    # A host may be configured in any variable: proxies, certificates, credentials of a cloud.
    own = {name: value for name, value in os.environ.items() if value}
    defaults = {
        "HELIOS_DASHBOARD_ORIGIN": f"http://localhost:{address.port}",
        "HELIOS_DASHBOARD_FOLDER": str(dashboard),
    }
    if embedded:
        defaults |= embedded.settings | {"HELIOS_TRUST_LOOPBACK": "true"}
    return defaults | own


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]

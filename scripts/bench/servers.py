"""Real servers for a run, on free ports, with temporary data."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg

from helios.adapters.postgres.migrate import migrate
from helios.embedded.postgres import Postgres
from helios.embedded.valkey import Valkey
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from helios.processes.supervisor import Supervisor
from local.stack.config import REPOSITORY, Config, free_port_fields
from local.stack.services import services

TABLES = "events, event_ids, event_counts, dead_letters, frames, consumers, flow_instances, flow_counts"


class Servers(NamedTuple):
    """The addresses of the servers.

    Attributes:
        database_url: the URL of a migrated, empty database.
        admin_url: the URL of the same database for the superuser.
        redis_url: the URL of an empty Valkey.
        folder: the folder for logs.
    """

    database_url: str
    admin_url: str
    redis_url: str
    folder: Path

    def empty(self) -> None:
        """Delete all stored data."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(f"TRUNCATE {TABLES} CASCADE".encode())


@contextmanager
def servers(*, commit_ms: float = 0) -> Iterator[Servers]:
    """Postgres and Valkey, which run during the block.

    Args:
        commit_ms: how much longer each flush of the write-ahead log takes: other disks than this machine's need
            0.2 ms to several. Postgres itself sleeps that long, and takes no processor time (``commit_delay``).
    """
    with tempfile.TemporaryDirectory(prefix="helios-bench-") as name:
        folder = Path(name)
        postgres = Postgres(folder / "postgres", free_port(), log=folder / "postgres.log")
        try:
            postgres.start()
            with Valkey(folder / "valkey", free_port(), log=folder / "valkey.log") as valkey:
                migrate(postgres.url)
                if commit_ms:
                    _delay_commits(postgres.admin_url, commit_ms)
                yield Servers(postgres.url, postgres.admin_url, valkey.url, folder)
        finally:
            postgres.discard()


def _delay_commits(admin_url: str, commit_ms: float) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET commit_delay = {round(1000 * commit_ms)}".encode())
        connection.execute("ALTER SYSTEM SET commit_siblings = 0")  # also if nobody else is in a transaction
        connection.execute("SELECT pg_reload_conf()")


@contextmanager
def another_database(running: Servers, *, partition_days: int = 7) -> Iterator[Servers]:
    """The same servers with a new migrated database, which is dropped after the block."""
    with psycopg.connect(running.admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another OWNER helios")
        url = psycopg.conninfo.make_conninfo(running.database_url, dbname="another")
        try:
            migrate(url, partition_days=partition_days)
            yield running._replace(database_url=url)
        finally:
            connection.execute("DROP DATABASE another WITH (FORCE)")


@contextmanager
def api(running: Servers, *options: str, **settings: str) -> Iterator[tuple[int, Process]]:
    """A process of the API with these options and settings; its port and the process."""
    port = free_port()
    environment = scrubbed_environment(
        HELIOS_DATABASE_URL=running.database_url,
        HELIOS_REDIS_URL=running.redis_url,
        HELIOS_LOG_LEVEL="WARNING",
        HELIOS_TRUST_LOOPBACK="true",
        **settings,
    )
    with Process(
        "api",
        [sys.executable, "-m", "helios.api", "--host", HOST, "--port", str(port), *options],
        log=running.folder / "api.log",
        env=environment,
        cwd=REPOSITORY,
    ) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/api/v1/health"), seconds=30)
        yield port, process


@contextmanager
def demo(folder: Path) -> Iterator[Config]:
    """All of Helios as in the demo, on free ports, without traffic."""
    config = msgspec.convert({"state": str(folder)} | free_port_fields(), Config)
    every = services(config)
    try:
        with Supervisor(every, lambda _: None) as supervisor:
            supervisor.start()
            yield config
    finally:
        for service in every:
            if isinstance(service.server, Postgres):
                service.server.discard()

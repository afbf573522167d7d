"""The runbook "Restoring Postgres", as far as one machine can: a backup replaces the database under the same name."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from helios.adapters.postgres.migrate import migrate
from helios.embedded.postgres import Postgres
from helios.embedded.postgres_install import programs
from helios.processes.process import scrubbed_environment
from tests.support.api import ROOT, Api
from tests.support.client import EVENTBRIDGE, call
from tests.support.envelopes import eventbridge_event
from tests.support.waiting import eventually

DATABASE, RESTORED, OLD = "runbook", "runbook_restored", "runbook_old"
EVENTS = "/api/v1/events"


@pytest.fixture
def admin(postgres_server: Postgres) -> Iterator[psycopg.Connection]:
    """A superuser's connection, and no database of this runbook before and after."""
    with psycopg.connect(postgres_server.admin_url, autocommit=True) as connection:
        yield connection
        for name in (DATABASE, RESTORED, OLD):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def url(postgres_server: Postgres, admin: psycopg.Connection) -> str:
    """The URL of a migrated database."""
    admin.execute(sql.SQL("CREATE DATABASE {} OWNER helios").format(sql.Identifier(DATABASE)))
    migrate(url_of(postgres_server, DATABASE))
    return url_of(postgres_server, DATABASE)


@pytest.fixture
def api(url, valkey_server, tmp_path: Path) -> Iterator[Api]:
    with Api(database_url=url, redis_url=valkey_server.url, log=tmp_path / "api.log") as running:
        yield running


def url_of(server: Postgres, name: str) -> str:
    return server.url.rpartition("/")[0] + f"/{name}"


def client(program: str, *arguments: str | Path) -> None:
    """Run a client program of Postgres."""
    subprocess.run([programs() / program, *arguments], check=True, timeout=120)


def rename(admin: psycopg.Connection, old: str, new: str) -> None:
    """Give a database another name; its connections end, as when a cluster is renamed."""
    allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
    admin.execute(allow.format(sql.Identifier(old), sql.SQL("false")))  # or the API connects before it has the name
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (old,))
    admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))
    admin.execute(allow.format(sql.Identifier(new), sql.SQL("true")))


def send(api: Api, *ids: str) -> list[str]:
    """The outcome of each event: stored or duplicate."""
    return [call(api.url, EVENTBRIDGE, json.dumps(eventbridge_event(id_)).encode()).body["status"] for id_ in ids]


def stored(api: Api) -> set[str]:
    return {event["id"] for event in call(api.url, f"{EVENTS}?limit=100").body["items"]}


def test_a_backup_replaces_the_database_and_the_clouds_send_again_what_it_lacks(
    api, url, admin, postgres_server, tmp_path
):
    """Redis is not flushed: it still marks events as stored that the backup lacks."""
    before = [str(number) for number in range(20)]
    after = [str(number) for number in range(20, 40)]
    assert send(api, *before) == ["stored"] * 20

    # Step 1: restore beside the old database, to a point in time before its last events.
    backup = tmp_path / "backup"
    client("pg_dump", "--format=custom", f"--file={backup}", f"--dbname={url}")
    assert send(api, *after) == ["stored"] * 20
    admin.execute(sql.SQL("CREATE DATABASE {} OWNER helios").format(sql.Identifier(RESTORED)))
    client("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url_of(postgres_server, RESTORED)}", backup)

    # Step 2: the names change, and the URLs do not. The migrations run again.
    rename(admin, DATABASE, OLD)
    rename(admin, RESTORED, DATABASE)
    environment = scrubbed_environment(HELIOS_DATABASE_URL=url)
    subprocess.run([sys.executable, "-m", "helios", "migrate"], check=True, env=environment, cwd=ROOT, timeout=60)
    eventually(lambda: call(api.url, "/api/v1/health/detailed").body["status"] == "healthy")
    assert stored(api) == set(before)

    # Step 3: the events since the point in time are sent again, and some from before it.
    assert send(api, *before[10:], *after) == [*["duplicate"] * 10, *["stored"] * 20]
    assert stored(api) == {*before, *after}
    assert send(api, "new") == ["stored"]
    assert call(api.url, "/api/v1/dead-letters").body["items"] == []

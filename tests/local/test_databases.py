"""Postgres and Valkey start, stop, survive kill -9 and restart on the same port and data."""

import os
from pathlib import Path

import psycopg
import pytest
import redis

from helios.embedded.postgres import Postgres
from helios.embedded.valkey import Valkey
from helios.processes.ports import free_port
from helios.processes.process import ServiceFailed


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A Postgres for this module."""
    folder = tmp_path_factory.mktemp("postgres")
    server = Postgres(folder / "data", free_port(), log=folder / "log")
    server.start()
    yield server
    server.discard()


@pytest.fixture
def valkey(tmp_path):
    """A Valkey for one test."""
    with Valkey(tmp_path / "data", free_port(), log=tmp_path / "log") as server:
        yield server


def query(server, statement, *, url=None):
    """The rows of a statement, which runs on a new connection in a transaction of its own."""
    with psycopg.connect(url or server.url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_postgres_runs_with_full_durability(postgres):
    settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('port')"
    assert query(postgres, settings) == [("on", "on", str(postgres.port))]


def test_postgres_listens_on_loopback_only(postgres):
    addresses = "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
    assert query(postgres, addresses, url=postgres.admin_url) == [("127.0.0.1", "")]


def test_committed_rows_survive_kill_9_of_postgres(postgres):
    query(postgres, "CREATE TABLE durable AS SELECT 42 AS answer")
    postgres.kill()
    postgres.start()
    assert query(postgres, "SELECT answer FROM durable") == [(42,)]


def test_postgres_stops_and_starts_again(postgres):
    postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        query(postgres, "SELECT 1")
    postgres.start()
    assert query(postgres, "SELECT 1") == [(1,)]


def test_a_stale_lock_with_the_id_of_another_process_does_not_prevent_a_start(postgres):
    lock = postgres._place.data / "postmaster.pid"
    content = lock.read_text()
    postgres.kill()
    lock.write_text(content.replace(content.split("\n")[0], str(os.getpid()), 1))
    postgres.start()
    assert query(postgres, "SELECT 1") == [(1,)]


def test_a_second_server_on_the_same_data_is_refused(postgres, tmp_path):
    second = Postgres(postgres._data, free_port(), log=tmp_path / "log")
    with pytest.raises(ServiceFailed, match=rf"already runs on .* \(process {postgres.pid}\)"):
        second.start()


def test_a_paused_postgres_hangs_until_it_is_resumed(postgres):
    postgres.pause()
    try:
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(postgres.url, connect_timeout=2)
    finally:
        postgres.resume()
    assert query(postgres, "SELECT 1") == [(1,)]


def test_an_unfinished_data_folder_is_created_again(tmp_path):
    server = Postgres(tmp_path / "data", free_port(), log=tmp_path / "log")
    server._place.data.mkdir(parents=True)
    (server._place.data / "partial").write_text("an interrupted run")
    try:
        server.start()
        assert query(server, "SELECT 1") == [(1,)]
    finally:
        server.discard()


def test_a_killed_valkey_starts_again_without_its_data(valkey):
    with redis.Redis.from_url(valkey.url) as client:
        client.set("key", "value")
        valkey.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        valkey.start()
        assert client.get("key") is None


def test_valkey_restores_its_data_with_persistence(tmp_path):
    with Valkey(tmp_path / "data", free_port(), log=tmp_path / "log", persist=True) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"


def test_postgres_asks_every_client_for_a_password(postgres):
    for user in ("helios", "postgres"):
        for password in (None, "", "helios"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(postgres.url, user=user, password=password or "").close()


def test_the_application_s_role_owns_its_database_and_is_no_superuser(postgres):
    role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = current_user"
    assert query(postgres, role) == [(False, False, False, False)]
    owner = "SELECT pg_get_userbyid(datdba) = current_user FROM pg_database WHERE datname = current_database()"
    assert query(postgres, owner) == [(True,)]


def test_the_application_s_role_runs_no_program_and_reads_no_file(postgres):
    """A superuser of Postgres runs programs as the user of the server."""
    run, read = "CREATE TEMPORARY TABLE o (t text); COPY o FROM PROGRAM 'id'", "SELECT pg_read_file('PG_VERSION')"
    for statement in (run, read):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(postgres, statement)


def test_data_that_was_created_without_passwords_is_refused(tmp_path):
    """An earlier version of the demo created such data; a server on it would accept every local user."""
    server = Postgres(tmp_path / "data", free_port(), log=tmp_path / "log", remedy="Start with --fresh.")
    try:
        server.start()
        server.stop()
        rules = server._place.data / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 trust\n")
        with pytest.raises(ServiceFailed, match=r"without passwords\. Start with --fresh\."):
            server.start()
    finally:
        server.discard()


def test_data_with_another_password_is_refused_at_once(postgres, tmp_path):
    postgres.stop()
    try:
        with pytest.raises(ServiceFailed, match="created with another password"):
            Postgres(postgres._data, free_port(), log=tmp_path / "log").start()
    finally:
        postgres.start()


def test_valkey_asks_every_client_for_a_password(valkey):
    for password in (None, "wrong"):
        with (
            redis.Redis(host="127.0.0.1", port=valkey.port, password=password) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.get("key")


def test_no_password_is_in_a_command_line(postgres, valkey):
    """Every user of a machine can read the command lines of all processes."""
    for server, password in ((postgres, postgres._credentials.postgres), (valkey, valkey._password)):
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_only_the_user_can_read_what_the_servers_write(valkey, tmp_path):
    folder = tmp_path / "data"
    assert {folder.stat().st_mode & 0o777, tmp_path.joinpath("log").stat().st_mode & 0o777} == {0o700, 0o600}
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}

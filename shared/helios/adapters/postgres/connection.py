"""Connections to Postgres, and the translation of its errors."""

import logging
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from helios.errors import ConfigurationError, ConflictError, Rejected, Retryable, RulesChanged

Pool = ConnectionPool[psycopg.Connection]

WAIT_SECONDS = 2
"""How long a caller waits for a free connection before the pool raises an error."""

IDLE_SECONDS = 5
"""After how long without use a connection is checked: a firewall in between may have dropped it without a word."""

CONNECT_SECONDS = 15
"""How long a task outside the pool tries to connect. Without a limit, a firewall that drops packets would delay the
error by minutes."""

KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 3}
"""A NAT gateway between clouds drops a connection that was idle for minutes, and may notify neither side. Keepalives
keep the connection in use, and detect within 90 s that it is lost."""

SET_PARAMETERS = """
SELECT set_config('statement_timeout', %s, false), set_config('idle_in_transaction_session_timeout', %s, false),
       set_config('timezone', 'UTC', false)
WHERE pg_backend_pid() = %s
"""

_IS_OWN_SESSION = "SELECT WHERE pg_backend_pid() = %s"

_DEFAULT_PORT = "5432"
_ROUTE_ATTEMPT_SECONDS = 2
_ROUTE_PAUSE_SECONDS = 0.2

PAYLOAD_ERRORS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""Errors that a value causes on every attempt to write it."""

REFUSALS = {
    "22": "contains a value that the database can't represent",
    "23": "breaks a rule of the database",
    "54": "exceeds a limit of the database",
}
"""What the classes of SQLSTATE in PAYLOAD_ERRORS mean (PostgreSQL documentation, appendix A). The message of Postgres
names tables, columns and indexes, and quotes values: it goes to the log, and into no answer and no dead letter."""

AMAZON = (".rds.amazonaws.com", ".rds.amazonaws.com.cn")
"""The ends of the names of Amazon's database servers."""

RULES_CHANGED = "HE001"
"""The SQLSTATE of ``assert_generation``."""

log = logging.getLogger("helios.postgres")


def conninfo(database_url: str, **parameters: str | int) -> str:
    """The connection string for a URL, with these parameters of libpq.

    No system knows the authorities that sign the certificates of Amazon's database servers. Where the URL asks to check
    the certificate of one of these servers and names no authorities, the ones in ``rds-ca-bundle.pem`` are trusted.

    Raises:
        ConfigurationError: the URL has the wrong form.
    """
    try:
        given = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError as error:  # its message may quote the password
        raise ConfigurationError(
            "HELIOS_DATABASE_URL is no URL of Postgres. See .env.example for its format."
        ) from error
    checks = given.get("sslmode") in {"verify-ca", "verify-full"} and "sslrootcert" not in given
    if checks and str(given.get("host", "")).endswith(AMAZON):
        parameters["sslrootcert"] = str(resources.files(__package__) / "rds-ca-bundle.pem")
    return make_conninfo(database_url, **parameters)


class _NewestFirstPool(ConnectionPool[psycopg.Connection]):
    """A pool that lends the connection that was returned last, where psycopg's lends each of them in turn.

    Few processes of Postgres then do most of the work, with warm caches and prepared statements: among four
    connections, a batch of one event takes Postgres a third less processor time. The pool closes the ones that idle.
    """

    def _get_ready_connection(self, timeout: float | None) -> psycopg.Connection | None:
        # The caller holds the lock. Should psycopg rename this method, connections take turns again.
        self._pool.rotate(1)
        return super()._get_ready_connection(timeout)


def open_pool(database_url: str, *, connections: int, timeout_seconds: int) -> Pool:
    """A pool that opens connections on demand and replaces broken ones.

    Each statement is a transaction of its own, unless ``connection.transaction()`` encloses it.

    Args:
        database_url: a ``postgresql://`` URL, of Postgres or of a pooler in transaction mode.
        connections: the most open connections.
        timeout_seconds: the longest time for opening a connection, and for a statement. Behind a pooler, the latter is
            that of the role.
    """

    def configure(connection: psycopg.Connection) -> None:
        _configure(connection, timeout_seconds)

    return _NewestFirstPool(
        conninfo(database_url),
        min_size=0,
        max_size=connections,
        timeout=WAIT_SECONDS,
        # Do not retry in the pool, which would wait longer after each failure: the next caller tries again.
        reconnect_timeout=0,
        configure=configure,
        check=_check,
        kwargs={
            # A statement alone is one round trip; within a transaction of psycopg it would be three.
            "autocommit": True,
            "connect_timeout": timeout_seconds,
            "application_name": "helios",
            **KEEPALIVES,
            # Gives up data that is not acknowledged by then. Without it, Linux retries for a quarter of an hour.
            "tcp_user_timeout": 1000 * timeout_seconds,
        },
        open=True,
        name="helios",
    )


def _configure(connection: psycopg.Connection, timeout_seconds: int) -> None:
    """Set what a session needs, where this connection is a session of its own.

    A pooler in transaction mode gives each transaction another session, and refuses parameters in ``options`` at the
    start of a connection. State that one client left in a session would reach the next one. There, the role has these
    settings (``roles.create_roles``), and statements are not prepared.
    """
    parameters = (f"{timeout_seconds}s", f"{timeout_seconds}s", connection.info.backend_pid)
    if connection.execute(SET_PARAMETERS, parameters).fetchone() is None:
        connection.prepare_threshold = None


def is_pooled(connection: psycopg.Connection) -> bool:
    """Whether there is a pooler before Postgres.

    At the start of a connection, the server names the process that serves it (PostgreSQL documentation, "Message
    Formats", BackendKeyData). A pooler names a number of its own.
    """
    row = connection.execute(_IS_OWN_SESSION, [connection.info.backend_pid]).fetchone()
    return row is None


def lift_timeout(connection: psycopg.Connection) -> None:
    """Let the statements of this transaction take any time, and read times as UTC."""
    connection.execute("SELECT set_config('statement_timeout', '0', true), set_config('timezone', 'UTC', true)")


def connect(database_url: str, *, name: str, autocommit: bool = False) -> psycopg.Connection:
    """A connection for one task, outside the pool. It prepares no statements, which a pooler may refuse.

    Args:
        database_url: a ``postgresql://`` URL, of Postgres or of a pooler in transaction mode.
        name: its name in ``pg_stat_activity``.
        autocommit: whether each statement is a transaction of its own.
    """
    database = conninfo(database_url, application_name=name, connect_timeout=CONNECT_SECONDS, **KEEPALIVES)
    return psycopg.connect(database, autocommit=autocommit, prepare_threshold=None)


_taken_at: WeakKeyDictionary[psycopg.Connection, float] = WeakKeyDictionary()
"""When each connection was last taken from its pool, on the monotonic clock."""


def _check(connection: psycopg.Connection) -> None:
    """Raise an error if the server has closed the connection, so that no batch fails on it.

    The check costs a round trip. A connection that was in use a moment ago does not need it, unless the server has sent
    something since: the end of the connection.
    """
    now = time.monotonic()
    if now - _taken_at.get(connection, float("-inf")) > IDLE_SECONDS or _is_readable(connection):
        ConnectionPool.check_connection(connection)
    _taken_at[connection] = now


def _is_readable(connection: psycopg.Connection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def await_route(database_url: str, *, seconds: float) -> bool:
    """Wait until the server of this URL accepts a TCP connection, and log how long that took.

    Some networks connect a new instance to the internet only after a minute. An instance that waits before it serves
    fails no request in that time.

    Args:
        database_url: a ``postgresql://`` URL, of one server or of several.
        seconds: the longest wait.

    Returns:
        Whether a server accepted; False when the time is over or the URL is invalid. The process may start then too:
        opening a connection fails with a better error.
    """
    started = time.monotonic()
    try:
        servers = _servers(database_url)
    except (psycopg.ProgrammingError, ValueError):
        log.error("the database URL is invalid")
        return False
    while not any(_accepts(*server) for server in servers):
        if time.monotonic() - started > seconds:
            log.error("no route to Postgres", extra={"waited_s": round(time.monotonic() - started, 1)})
            return False
        time.sleep(_ROUTE_PAUSE_SECONDS)
    log.info("Postgres can be reached", extra={"waited_s": round(time.monotonic() - started, 1)})
    return True


def _servers(database_url: str) -> list[tuple[str, int]]:
    """Host and port of each server: PostgreSQL documentation, "Specifying Multiple Hosts"."""
    parts = conninfo_to_dict(database_url)
    hosts = str(parts.get("hostaddr") or parts.get("host") or "localhost").split(",")
    ports = str(parts.get("port") or _DEFAULT_PORT).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [(host, int(port or _DEFAULT_PORT)) for host, port in zip(hosts, ports, strict=True)]


def _accepts(host: str, port: int) -> bool:
    if host.startswith("/"):
        return True  # a socket of this machine needs no route
    try:
        socket.create_connection((host, port), timeout=_ROUTE_ATTEMPT_SECONDS).close()
    except OSError:
        return False
    return True


@contextmanager
def translate_errors(*, log_refusals: bool = True) -> Iterator[None]:
    """Translate the errors of psycopg into Rejected and Retryable.

    Args:
        log_refusals: whether to log the message of Postgres for a value that can't be stored.

    Raises:
        Rejected: a value can't be stored.
        ConflictError: another writer has changed the same rows.
        RulesChanged: a verdict follows from rules that are no longer in force.
        Retryable: any other error.
    """
    try:
        yield
    except psycopg.errors.SerializationFailure as error:
        raise ConflictError(f"Postgres: {_first_line(error)}") from error
    except PAYLOAD_ERRORS as error:
        if _lacks_partition(error):
            raise Retryable(f"Postgres: {_first_line(error)}. The sweep, which adds partitions, must run.") from error
        if log_refusals:
            log.warning("Postgres refused a value", extra={"error": _first_line(error)})
        raise Rejected(f"can't be stored: {_refusal(error)}", field="body") from error
    except (psycopg.Error, PoolTimeout) as error:
        if isinstance(error, psycopg.Error) and error.sqlstate == RULES_CHANGED:
            raise RulesChanged(f"Postgres: {_first_line(error)}") from error
        raise Retryable(f"Postgres: {_first_line(error)}") from error


def _lacks_partition(error: psycopg.Error) -> bool:
    """Whether a table has no partition for a row: a check violation that names no constraint."""
    return isinstance(error, psycopg.errors.CheckViolation) and error.diag.constraint_name is None


def _refusal(error: psycopg.Error) -> str:
    code = error.sqlstate or ""
    words = REFUSALS.get(code[:2], "the database refuses it")
    return f"{words} (SQLSTATE {code})" if code else words


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

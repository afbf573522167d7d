"""The functions of the previous release and of this version share a database during an upgrade and after a rollback.

The previous release is the commit in ``infra/previous-release``. Its functions run as processes of its own code, with
the roles of a deployment, while orders come in without a pause.
"""

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helios.adapters.postgres import roles
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.tokens import PostgresTokens
from helios.model.tokens import Token, digest, mint
from tests.support.order_traffic import CLOUDS, Traffic
from tests.support.releases import Answer, Server, Version, has_commit, previous_commit, tree_of, tree_of_checkout

FUNCTIONS = (*CLOUDS, "helios_api")
EVENTS = 100
"""How many events each phase of an upgrade has at least."""
CALLS = 3
"""How often a function is called before its error counts."""
MAX_REFUSED = 0.02
"""The share of deliveries that may be refused on a busy machine, where connecting takes too long. A schema that a
function does not survive makes it refuse every delivery, which is a twentieth of all at least."""
PATHS = ("/api/v1/stats", "/api/v1/events", "/api/v1/flows", "/api/v1/dead-letters", "/api/v1/counts")

Versions = Mapping[str, Mapping[str, Server]]


class Database:
    """A database with the roles of a deployment.

    Attributes:
        admin_url: the URL of a user that reads everything.
    """

    def __init__(self, server_url: str, redis_url: str) -> None:
        self._server_url = server_url
        self._redis_url = redis_url
        self._passwords = {role: secrets.token_urlsafe(24) for role in roles.ROLES}
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE upgrade")
        self.admin_url = make_conninfo(server_url, dbname="upgrade")
        assert roles.create_roles(self.admin_url, self._passwords) == []

    def url(self, role: str) -> str:
        place = conninfo_to_dict(self._server_url)
        return f"postgresql://{role}:{self._passwords[role]}@{place['host']}:{place['port']}/upgrade"

    def environments(self) -> dict[str, dict[str, str]]:
        """The settings of the functions of each role, as Terraform sets them."""
        aws = {
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
            "HELIOS_WEBHOOK_AUTH": "closed",
            "HELIOS_WEBSOCKET_ENDPOINT": "http://127.0.0.1:9",  # no client is connected, so nothing is posted
            "POWERTOOLS_METRICS_NAMESPACE": "Helios",
        }
        return {
            role: {"HELIOS_DATABASE_URL": self.url(role), "HELIOS_REDIS_URL": self._redis_url, **aws}
            for role in FUNCTIONS
        }

    def create_token(self) -> str:
        """A new token that may read."""
        secret = mint()
        with open_pool(self.url(roles.MIGRATE), connections=1, timeout_seconds=10) as pool:
            PostgresTokens(pool).add(
                digest(secret), Token(name="upgrade", scopes=("read",), created_at=datetime.now(UTC))
            )
        return secret

    def execute(self, statement: str) -> None:
        """Execute a statement as the owner of the tables."""
        with psycopg.connect(self.url(roles.MIGRATE), autocommit=True) as connection:
            connection.execute(statement.encode())

    def column(self, query: str) -> list[str]:
        """The only column of a query, as text."""
        with psycopg.connect(self.admin_url) as connection:
            return [str(row[0]) for row in connection.execute(query.encode()).fetchall()]

    def drop(self) -> None:
        """Remove the database and its roles, which would otherwise be in the databases of other tests."""
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE upgrade WITH (FORCE)")
            for role in roles.ROLES:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The previous release."""
    commit = previous_commit()
    if not has_commit(commit):
        pytest.skip(f"this clone lacks the commit {commit} of the previous release: git fetch --unshallow")
    return Version("previous", tree_of(commit, tmp_path_factory.mktemp("releases") / "previous"))


@pytest.fixture(scope="module")
def present(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """This version, as it is in the checkout."""
    return Version("present", tree_of_checkout(tmp_path_factory.mktemp("releases") / "present"))


@pytest.fixture
def database(postgres_server, valkey_server) -> Iterator[Database]:
    made = Database(postgres_server.admin_url, valkey_server.url)
    yield made
    made.drop()


def damage(database: Database, traffic: Traffic) -> list[str]:
    """How the database differs from what was sent, a sentence for each kind; empty if it has every event once."""
    stored = Counter(database.column("SELECT id FROM events"))
    matched = database.column("SELECT key FROM flow_instances WHERE status = 'matched'")
    orders = {event.replace("aws", "ORD") for event in traffic.sent if event.startswith("aws")}
    findings = {
        "events are missing": traffic.sent - stored.keys(),
        "events were not sent": stored.keys() - traffic.sent,
        "events are stored twice": {event for event, rows in stored.items() if rows > 1},
        "deliveries are dead letters": database.column("SELECT reason FROM dead_letters"),
        "orders are not matched": orders - set(matched),
    }
    return [f"{len(found)} {kind}: {sorted(found)[:3]}" for kind, found in findings.items() if found]


def call(server: Server, entry: str, body: bytes = b"{}") -> Answer:
    """Call a function as its schedule or its reader does: again if it fails, as on a machine that is busy."""
    answer = server.call(entry, body)
    for _ in range(CALLS - 1):
        if answer.acknowledged:
            break
        answer = server.call(entry, body)
    return answer


def maintain(versions: Versions) -> list[str]:
    """Run with each of these versions what the schedules run, and return what failed."""
    calls = [("helios_aws", "relay"), ("helios_aws", "sweep"), ("helios_gcp", "sweep"), ("helios_azure", "sweep")]
    return [
        f"{entry} of {role} of {name}: {answer.content}"
        for name, servers in versions.items()
        for role, entry in calls
        if not (answer := call(servers[role], entry)).acknowledged
    ]


def read(servers: Mapping[str, Server], path: str, token: str) -> Any:
    """What this version's API answers."""
    answer = call(servers["helios_api"], "read", f"{path} {token}".encode())
    assert answer.acknowledged, answer.content
    return answer.content


def test_no_event_is_lost_while_functions_of_two_releases_share_the_database(previous, present, database, tmp_path):
    """The phases of a deployment: migrate, the new version beside the old one, the new one alone, and a rollback."""
    previous.migrate(database.url(roles.MIGRATE))
    with (
        previous.serving(database.environments(), tmp_path) as old,
        present.serving(database.environments(), tmp_path) as new,
    ):
        both = {"previous": old, "present": new}
        with Traffic({"previous": old}) as traffic:
            traffic.await_events(EVENTS, of="previous")
            present.migrate(database.url(roles.MIGRATE))
            attempts, refused = traffic.attempts, len(traffic.refused)
            traffic.await_events(EVENTS, of="previous")
            assert maintain({"previous": old}) == []
            traffic.use(both)
            traffic.await_events(EVENTS, of="present")
            assert maintain(both) == []
            traffic.use({"present": new})
            traffic.await_events(EVENTS, of="present")
            traffic.use({"previous": old})
            traffic.await_events(EVENTS, of="previous")
            token = database.create_token()
            for path in PATHS:
                read(old, path, token)
                read(new, path, token)
        assert maintain(both) == []
        stats = [read(servers, "/api/v1/stats", token) for servers in both.values()]

    assert len(traffic.refused) - refused <= MAX_REFUSED * (traffic.attempts - attempts), traffic.refused[refused:]
    assert damage(database, traffic) == []
    assert [(one["total_events"], one["duplicates"]) for one in stats] == [(len(traffic.sent), traffic.repeats)] * 2


@pytest.mark.parametrize(
    "newest", [None, "0023_retention.sql"], ids=["the previous release's", "one that lacks columns"]
)
def test_functions_that_come_before_their_migration_lose_nothing(previous, present, database, tmp_path, newest):
    """With an older schema, each delivery is stored or sent again, and none becomes a dead letter."""
    schema = {name for name in previous.migrations() if newest is None or name <= newest}
    present.only(schema, tmp_path / "early").migrate(database.url(roles.MIGRATE))
    with present.serving(database.environments(), tmp_path) as new, Traffic({"present": new}) as traffic:
        traffic.await_attempts(EVENTS)
        present.migrate(database.url(roles.MIGRATE))
        traffic.await_events(EVENTS, of="present")

    assert bool(traffic.refused) or newest is None
    assert damage(database, traffic) == []


@pytest.mark.parametrize(
    ("contraction", "kind"),
    [
        ("ALTER TABLE frames RENAME body TO content", "events are missing"),
        ("ALTER TABLE events ADD tenant text NOT NULL", "deliveries are dead letters"),
        ("ALTER TABLE event_ids ADD CHECK (received_at IS NULL)", "deliveries are dead letters"),
        ("REVOKE INSERT ON frames FROM helios_gcp", "events are missing"),
    ],
)
def test_a_migration_that_breaks_the_previous_release_is_found(previous, database, tmp_path, contraction, kind):
    """Each kind of change that has to wait until no function of the previous release runs."""
    previous.migrate(database.url(roles.MIGRATE))
    database.execute(contraction)
    with previous.serving(database.environments(), tmp_path) as old:
        traffic = Traffic({"previous": old})
        traffic.publish()
        traffic.drain()

    assert kind in " ".join(damage(database, traffic))


def test_no_migration_of_the_previous_release_has_changed(previous, present):
    for name in sorted(previous.migrations()):
        assert present.migration(name) == previous.migration(name), f"{name} was changed after it was released"

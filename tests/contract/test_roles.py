"""The roles of the database: each does its job and nothing else, and one is closed without the others."""

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from helios import bootstrap
from helios.adapters.postgres import roles
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.migrate import migrate
from helios.adapters.postgres.retention import PostgresRetention
from helios.adapters.postgres.tokens import PostgresTokens
from helios.bootstrap import ReadingLimits
from helios.errors import ConfigurationError
from helios.model.incidents import IncidentFilter
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.model.tokens import PREFIX, Token, digest
from helios.reconciliation.declaration import shipped_text
from helios.services.relay import GATEWAY, relay
from helios.services.replay import ReplayWorker
from helios.services.sweep import sweep
from helios.settings import Settings
from tests.support.deliveries import eventbridge, poison
from tests.support.services import bearer, client_of

CLOUDS = ("helios_aws", "helios_gcp", "helios_azure")
STORING = (*CLOUDS, "helios_api")
MASTER = "aurora_master"


class Database:
    """A database with the roles, as a deployment creates it: the master is no superuser.

    Attributes:
        admin_url: the URL of the master.
        passwords: the password of each role.
    """

    def __init__(self, superuser_url: str) -> None:
        password = secrets.token_urlsafe(24)
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS roles")
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(MASTER)))
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {} IN ROLE pg_signal_backend").format(
                    sql.Identifier(MASTER), sql.Literal(password)
                )
            )
            connection.execute(sql.SQL("CREATE DATABASE roles OWNER {}").format(sql.Identifier(MASTER)))
        self._server = superuser_url
        self.admin_url = make_conninfo(superuser_url, user=MASTER, password=password, dbname="roles")
        self.passwords = {name: secrets.token_urlsafe(24) for name in roles.ROLES}
        self._opened: list[bootstrap.Services] = []

    def url(self, role: str) -> str:
        """The URL of a role."""
        place = conninfo_to_dict(self.admin_url)
        return f"postgresql://{role}:{self.passwords[role]}@{place['host']}:{place['port']}/roles"

    def services(self, role: str) -> bootstrap.Services:
        """The services of a function with this role, which ``drop`` closes."""
        settings = Settings(database_url=self.url(role), webhook_auth="closed", trust_loopback=True)
        self._opened.append(bootstrap.build(settings))
        return self._opened[-1]

    def refuses(self, role: str, statement: str) -> bool:
        """Whether Postgres refuses the statement for want of a privilege; nothing of it stays."""
        with psycopg.connect(self.url(role)) as connection:
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                return True
            finally:
                connection.rollback()
        return False

    def drop(self) -> None:
        """Remove the database and every role, which would otherwise be in the databases of other tests."""
        for services in self._opened:
            services.close()
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute("DROP DATABASE roles WITH (FORCE)")
            for name in (*roles.ROLES, MASTER):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres_server):
    """The database, migrated by the role that owns its tables."""
    made = Database(postgres_server.admin_url)
    assert roles.create_roles(made.admin_url, made.passwords) == []
    migrate(made.url(roles.MIGRATE))
    yield made
    made.drop()


def events(role):
    """Deliveries that only this test's role sends: an order, its repetition, and one that can't be read."""
    detail = {"order_id": f"ORD-{role}", "amount": 12.5}
    now = datetime.now(UTC)
    return [
        *2 * [eventbridge(role, received_at=now, detail=detail)],
        eventbridge(f"{role}-2", received_at=now, detail=detail),
        poison(),
    ]


def stored(services, role):
    """The statuses of this role's deliveries."""
    return [outcome.status for outcome in services.ingest(events(role))]


@pytest.mark.parametrize("role", STORING)
def test_a_role_stores_events_and_recognises_them_again(database, role):
    services = database.services(role)
    assert stored(services, role) == ["stored", "duplicate", "stored", "rejected"]
    assert stored(services, role) == ["duplicate", "duplicate", "duplicate", "rejected"]


@pytest.mark.parametrize("role", CLOUDS)
def test_a_cloud_s_role_sweeps_and_makes_the_next_partitions(database, role):
    services = database.services(role)
    stored(services, role)
    later = datetime.now(UTC) + timedelta(days=30)

    swept = sweep(
        later,
        store=services.store,
        reconciler=services.reconciler,
        outbox=services.outbox,
        incidents=bootstrap.incident_job(services),
    )

    assert swept.frames >= 1
    assert swept.flows == 1
    assert any(
        incident.cause.issue == "missing"
        for incident in services.incidents.incidents(IncidentFilter(), after=None, limit=50).items
    )
    services.close()
    with psycopg.connect(database.url(roles.MIGRATE)) as connection:
        latest = connection.execute("SELECT max(relname), count(*) FROM pg_inherits JOIN pg_class ON oid = inhrelid")
        name, count = latest.fetchone() or ("", 0)
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert name > f"events_{later:%Y%m%d}"
    assert count > 4
    assert owners == [(roles.MIGRATE,)]


class Recorder:
    """A broadcaster and a target of replay jobs."""

    batch = 10

    def __init__(self):
        self.messages = []

    def client_count(self):
        return 1

    def broadcast(self, message):
        self.messages.append(message)


def test_the_role_of_aws_relays_and_runs_replay_jobs(database):
    api, aws, recorder = database.services("helios_api"), database.services("helios_aws"), Recorder()
    stored(aws, "helios_aws")
    assert relay(GATEWAY, outbox=aws.outbox, broadcaster=recorder, seconds=30) == len(recorder.messages) == 1

    request = ReplayRequest(
        what="events",
        target=Target(kind="relay"),
        filter=ReplayFilter(source="aws", until=datetime.now(UTC)),
        per_second=1000,
    )
    job = api.jobs.add(request, actor="ann", matching=2, now=datetime.now(UTC))
    worker = bootstrap.replay_worker(aws)
    assert isinstance(worker, ReplayWorker)
    assert worker.run()
    done = api.jobs.get(job.id)
    assert (done.state, done.sent, done.last_error) == ("done", 2, None)
    api.close()
    aws.close()


def test_the_role_of_aws_runs_replay_jobs_where_there_is_an_archive(database):
    """It may read the manifest, which says that no file has such an event."""
    api, aws = database.services("helios_api"), database.services("helios_aws")
    stored(aws, "helios_aws")
    archiving = msgspec.structs.replace(aws, settings=msgspec.structs.replace(aws.settings, archive_url="/unused"))
    reading = bootstrap.with_archive_on_first_read(
        archiving, ReadingLimits(megabytes=100, seconds=5, request_seconds=1), credentials=dict
    )
    assert reading.jobs is not aws.jobs
    wanted = ReplayFilter(source="aws", order_id="ORD-1", until=datetime.now(UTC))
    request = ReplayRequest(what="events", target=Target(kind="relay"), filter=wanted, per_second=1000)
    job = api.jobs.add(request, actor="ann", matching=2, now=datetime.now(UTC))

    assert bootstrap.replay_worker(reading).run()

    done = api.jobs.get(job.id)
    assert done is not None
    assert (done.state, done.last_error) == ("done", None)
    api.close()
    aws.close()


@pytest.mark.parametrize("role", STORING)
def test_a_role_takes_up_a_version_and_evaluates_the_stored_instances_by_it(database, role):
    api, services = database.services("helios_api"), database.services(role)
    stored(services, role)
    now = datetime.now(UTC)
    api.versions.save("order", shipped_text(), based_on=None, actor="kim", now=now)
    api.versions.mark_previewed("order", 1, actor="kim", now=now)
    api.versions.approve("order", 1, actor="kim", now=now)

    assert stored(services, role) == ["duplicate", "duplicate", "duplicate", "rejected"]
    assert services.reconciler.generation == 1
    job = bootstrap.recompute_job(services)
    assert job is not None
    job.run(now, seconds=60)
    progress = services.versions.version("order", 1).recompute
    assert (progress.events, progress.finished_at) == (2, now)


def test_the_role_of_the_api_answers_every_question(database):
    api, aws = database.services("helios_api"), database.services("helios_aws")
    stored(aws, "helios_aws")
    with open_pool(database.url(roles.MIGRATE), connections=1, timeout_seconds=5) as pool:
        PostgresTokens(pool).add(
            digest(PREFIX + "reader"), Token(name="reader", scopes=("read",), created_at=datetime.now(UTC))
        )
    client = client_of(api)
    assert client.post("/api/v1/flow-versions", json={"text": shipped_text()}).status_code == 201
    for step in ("preview", "approve"):
        assert client.post(f"/api/v1/flow-versions/order/1/{step}").status_code == 200
    paths = [path for path, item in client.get("/openapi.json").json()["paths"].items() if "get" in item]
    values = {"source": "aws", "id": "1", "flow": "order", "key": "ORD-helios_aws", "version": "1"}
    replies = {path: client.get(path.format_map(values), params=_query(path, values)) for path in paths}
    answers = {path: reply.status_code for path, reply in replies.items()}
    unknown = ("/api/v1/events/", "/api/v1/replays/", "/api/v1/incidents/", "/api/v1/recoveries/")
    absent = [path for path in paths if path.startswith(unknown)]
    expected = dict.fromkeys(paths, 200) | dict.fromkeys(absent, 404)
    assert len(paths) > 10
    assert answers == expected, {path: replies[path].text for path in paths if answers[path] != expected[path]}
    assert len(client.get("/api/v1/events").json()["items"]) == 2
    outside = client_of(api, sender="198.51.100.7")
    assert outside.get("/api/v1/stats", headers=bearer("reader")).status_code == 200
    dead_letter = client.get("/api/v1/dead-letters").json()["items"][0]["id"]
    assert client.post(f"/api/v1/dead-letters/{dead_letter}/replay", json={"body": "{"}).status_code == 422
    api.close()
    aws.close()


def _query(path: str, values: dict[str, str]) -> dict[str, str]:
    """The required parameters of a route."""
    return {name: values[name] for name in ("flow", "key")} if path == "/api/v1/diagnoses" else {}


FORBIDDEN = {
    "UPDATE flow_versions SET text = ''": {*CLOUDS},
    "UPDATE flow_generation SET number = 0": {*CLOUDS},
    "SELECT name FROM tokens": {*CLOUDS},
    "SELECT detail FROM audit_log": {*CLOUDS},
    "SELECT id FROM replay_jobs": {"helios_gcp", "helios_azure"},
    "DELETE FROM stream": {*STORING},
    "UPDATE frames SET body = '{}'": {*STORING},
    "DELETE FROM frames": {"helios_api"},
    "UPDATE consumers SET position = 0": {"helios_gcp", "helios_azure", "helios_api"},
    "UPDATE dead_letters SET replayed_at = now()": {"helios_gcp", "helios_azure"},
    "UPDATE dead_letters SET body = ''": {*STORING},
    "INSERT INTO tokens (digest, name, scopes, created_at) VALUES ('d', 'n', '{admin}', now())": {*STORING},
    "UPDATE tokens SET revoked_at = NULL": {*STORING},
    "DELETE FROM audit_log": {*STORING},
    "UPDATE events SET attributes = '{}'": {*STORING},
    "DELETE FROM events": {*STORING},
    "DELETE FROM event_ids": {*STORING},
    "TRUNCATE dead_letters": {*STORING},
    "INSERT INTO role_grants VALUES ('helios_gcp', 'tokens', 'SELECT')": {*STORING},
    "SELECT grant_roles()": {*STORING},
    "SELECT add_event_partition('2040-01-01', '2040-01-02')": {"helios_api"},
    "INSERT INTO schema_migrations VALUES ('9999.sql', '')": {*STORING},
    "CREATE TABLE mine ()": {*STORING},
    "CREATE TEMPORARY TABLE mine ()": {*STORING},
    "DROP TABLE frames CASCADE": {*STORING},
    "CREATE ROLE mine": {*STORING, roles.MIGRATE},
    "SET ROLE helios_migrate": {*STORING},
}
"""Statements, and the roles that may not run them."""


def test_a_role_may_do_nothing_else(database):
    refused = {
        statement: {role for role in (*STORING, roles.MIGRATE) if database.refuses(role, statement)}
        for statement in FORBIDDEN
    }
    assert refused == FORBIDDEN


def test_every_table_has_its_privileges_written_down(database):
    """A new table needs rows in role_grants, or no role but the owner can use it: add them in its migration."""
    with psycopg.connect(database.url(roles.MIGRATE)) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname NOT IN (SELECT relation FROM role_grants)"
        ).fetchall()
    owners_only = {
        "role_grants",
        "detached_partitions",
        "restored_partitions",
        "partition_comparisons",
        "partition_changes",
    }
    assert {name for (name,) in tables} == owners_only


def test_a_cloud_s_role_stores_a_late_event_in_a_partition_that_was_compared(database):
    """The trigger on it writes to a table on which the role has no privilege."""
    url = database.url(roles.MIGRATE)
    with open_pool(url, connections=1, timeout_seconds=30) as pool:
        PostgresRetention(pool, url).compare_partition("events_until")
    late = eventbridge("late", received_at=datetime(2020, 1, 1, tzinfo=UTC))

    assert [outcome.status for outcome in database.services("helios_gcp").ingest([late])] == ["stored"]

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM partition_changes").fetchone() == (1,)


def test_one_cloud_is_closed_without_the_others(database):
    with psycopg.connect(database.url("helios_gcp"), autocommit=True) as connected:
        roles.close_role(database.admin_url, "helios_gcp")
        with pytest.raises(psycopg.OperationalError):
            connected.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(database.url("helios_gcp"))
    for role in ("helios_aws", "helios_azure", "helios_api"):
        services = database.services(role)
        assert stored(services, role)[0] == "stored"
        services.close()

    assert roles.create_roles(database.admin_url, database.passwords) == ["helios_gcp"]  # a deployment
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(database.url("helios_gcp"))

    roles.open_role(database.admin_url, "helios_gcp")
    services = database.services("helios_gcp")
    assert stored(services, "helios_gcp")[0] == "stored"
    services.close()


def test_a_new_password_replaces_the_old_one(database):
    old = database.url("helios_aws")
    database.passwords["helios_aws"] = secrets.token_urlsafe(24)
    roles.create_roles(database.admin_url, database.passwords)
    psycopg.connect(database.url("helios_aws")).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(old)


def test_roles_that_are_created_after_the_tables_get_their_privileges(postgres_server):
    made = Database(postgres_server.admin_url)
    try:
        with psycopg.connect(made.admin_url) as connection:
            connection.execute("SELECT 1")
        migrate(made.admin_url)  # one user owns everything, and no role exists
        roles.create_roles(made.admin_url, made.passwords)
        assert made.refuses("helios_gcp", "SELECT FROM events")
        migrate(made.admin_url)
        assert not made.refuses("helios_gcp", "SELECT FROM events")
    finally:
        made.drop()


def test_only_roles_of_helios_can_be_closed(database):
    with pytest.raises(ConfigurationError, match="postgres is no role of Helios"):
        roles.close_role(database.admin_url, "postgres")

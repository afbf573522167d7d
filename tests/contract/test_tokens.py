"""The contract of tokens, tickets and rate limits, on every adapter."""

from datetime import timedelta

import msgspec
import pytest
import redis

from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.tokens import PostgresTokens
from helios.adapters.redis import rate_limit
from helios.adapters.redis.rate_limit import SlidingMinute
from helios.adapters.redis.tickets import RedisTickets
from helios.errors import Retryable
from helios.model.access import Visibility
from helios.model.tokens import SCOPES, TICKET_SECONDS, TicketHolder, Token, digest, grants, mint
from helios.processes.ports import HOST, free_port
from tests.fakes.tokens import MemoryTickets, MemoryTokens
from tests.support.deliveries import NOON

KIM = TicketHolder(name="kim", visibility=Visibility(sources=("aws",), masked=("customer_id",)))
READER = Token(name="grafana", scopes=("read",), created_at=NOON)
OPERATOR = Token(name="kim", scopes=("read", "replay"), created_at=NOON, expires_at=NOON + timedelta(days=1))


@pytest.fixture
def redis_url(valkey_server) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server.url


@pytest.fixture(params=["memory", "postgres"])
def tokens(request):
    """Every token store that Helios ships."""
    return MemoryTokens() if request.param == "memory" else PostgresTokens(request.getfixturevalue("pool"))


@pytest.fixture(params=["memory", "redis"])
def tickets(request):
    """Every ticket store that Helios ships."""
    if request.param == "memory":
        yield MemoryTickets()
        return
    redis_tickets = RedisTickets(request.getfixturevalue("redis_url"))
    yield redis_tickets
    redis_tickets.close()


def test_a_token_is_found_by_its_digest_and_marked_as_used(tokens):
    secret = mint()
    assert tokens.add(digest(secret), READER)
    moment = NOON + timedelta(seconds=90)

    assert tokens.use(digest(secret), moment) == READER
    assert tokens.use(digest(mint()), moment) is None
    assert tokens.all() == [msgspec.structs.replace(READER, last_used_at=NOON + timedelta(minutes=1))]


def test_a_token_name_is_unique(tokens):
    assert tokens.add(digest("a"), READER)
    assert tokens.add(digest("b"), OPERATOR)

    assert not tokens.add(digest("c"), READER)
    assert [token.name for token in tokens.all()] == ["grafana", "kim"]


def test_a_revoked_token_is_found_and_not_valid(tokens):
    tokens.add(digest("a"), OPERATOR)
    assert OPERATOR.is_valid(NOON)
    assert not OPERATOR.is_valid(NOON + timedelta(days=1))

    assert tokens.revoke("kim", NOON)
    assert not tokens.revoke("kim", NOON)
    assert not tokens.revoke("nobody", NOON)
    token = tokens.use(digest("a"), NOON)
    assert token.revoked_at == NOON
    assert not token.is_valid(NOON)


def test_the_audit_log_names_the_actor_who_creates_or_revokes_a_token(tokens, request):
    tokens.add("digest", OPERATOR, actor="ann")
    tokens.add("another", OPERATOR, actor="ann")  # its name is taken
    tokens.revoke("kim", NOON, actor="bob")
    tokens.revoke("kim", NOON, actor="bob")

    if isinstance(tokens, MemoryTokens):
        lines = tokens.audit_entries[::-1]
    else:
        lines = PostgresReader(request.getfixturevalue("pool")).audit_log(limit=10).items
    assert [(line.actor, line.action, line.subject) for line in lines] == [
        ("bob", "token_revoked", "token kim"),
        ("ann", "token_created", "token kim"),
    ]
    assert lines[1].detail == f"read, replay, until {OPERATOR.expires_at}"


def test_the_database_does_not_store_the_token_itself(pool):
    secret = mint()
    PostgresTokens(pool).add(digest(secret), READER)
    with pool.connection() as connection:
        ((row,),) = connection.execute("SELECT tokens::text FROM tokens").fetchall()

    assert secret not in row
    assert len(secret) == len("helios_") + 43


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (("read",), ["read"]),
        (("replay",), ["read", "replay"]),
        (("resolve",), ["read", "resolve"]),
        (("admin",), [*SCOPES]),
        ((), []),
    ],
)
def test_a_scope_includes_the_lower_ones(scopes, expected):
    assert [scope for scope in SCOPES if grants(scopes, scope)] == expected


def test_a_ticket_is_redeemed_once(tickets):
    ticket = tickets.issue(KIM)

    assert tickets.redeem(ticket + "x") is None
    assert tickets.redeem(ticket) == KIM
    assert tickets.redeem(ticket) is None


def test_a_ticket_expires_within_seconds_and_its_key_is_not_the_ticket(redis_url):
    tickets = RedisTickets(redis_url)
    ticket = tickets.issue(KIM)
    with redis.Redis.from_url(redis_url, decode_responses=True) as connection:
        (name,) = connection.keys()
        assert 0 < connection.ttl(name) <= TICKET_SECONDS
    assert ticket not in name
    tickets.close()


def test_tickets_are_retryable_without_redis():
    tickets = RedisTickets(f"redis://{HOST}:{free_port()}")
    with pytest.raises(Retryable):
        tickets.issue(KIM)
    with pytest.raises(Retryable):
        tickets.redeem("x")


@pytest.mark.usefixtures("within_a_minute")
@pytest.mark.parametrize("shared", [True, False])
def test_a_client_above_the_limit_gets_the_seconds_to_wait(redis_url, shared, monkeypatch):
    monkeypatch.setattr(rate_limit, "TIMEOUT_SECONDS", 5.0)
    limit = SlidingMinute(3, redis_url=redis_url if shared else None)

    assert [limit.wait_seconds("kim") for _ in range(3)] == [0, 0, 0]
    assert 1 <= limit.wait_seconds("kim") <= 60
    assert 1 <= limit.wait_seconds("kim") <= 60
    assert limit.wait_seconds("grafana") == 0
    another_process = SlidingMinute(3, redis_url=redis_url if shared else None)
    assert (another_process.wait_seconds("kim") > 0) is shared


@pytest.mark.usefixtures("within_a_minute")
def test_each_process_counts_alone_while_redis_is_unavailable(monkeypatch, caplog):
    monkeypatch.setattr(rate_limit, "PAUSE_SECONDS", 3600.0)
    limit = SlidingMinute(2, redis_url=f"redis://{HOST}:{free_port()}")

    assert [limit.wait_seconds("kim") for _ in range(2)] == [0, 0]
    assert limit.wait_seconds("kim") > 0
    assert [record.message for record in caplog.records] == [
        "Redis is not answering; this process counts requests alone"
    ]

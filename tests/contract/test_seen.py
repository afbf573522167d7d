"""What the seen-filter promises, and that it never raises, whatever Redis does."""

import logging

import pytest
import redis

from helios.adapters.redis import dedupe as redis_seen
from helios.adapters.redis.dedupe import RedisSeen
from helios.errors import Retryable
from helios.model.events import Key
from tests.fakes.store import MemorySeen

A: Key = ("aws", "1")
B: Key = ("aws", "2")
SAME_ID_ELSEWHERE: Key = ("gcp", "1")


@pytest.fixture
def redis_url(valkey_server) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server.url


@pytest.fixture(params=["memory", "redis"])
def seen(request, monkeypatch):
    """Every memory that Helios ships."""
    if request.param == "memory":
        yield MemorySeen()
        return
    monkeypatch.setattr(redis_seen, "PAUSE_SECONDS", 0.0)
    kept = RedisSeen(request.getfixturevalue("redis_url"), ttl_seconds=60)
    yield kept
    kept.close()


def test_what_was_remembered_is_recalled(seen):
    seen.remember({A})

    assert seen.recall([A, B, SAME_ID_ELSEWHERE]) == {A}


def test_nothing_is_recalled_of_nothing(seen):
    seen.remember(set())

    assert seen.recall([]) == set()


def test_a_key_is_forgotten_after_its_time(redis_url):
    seen = RedisSeen(redis_url, ttl_seconds=60)
    seen.remember({A})
    with redis.Redis.from_url(redis_url) as connection:
        (name,) = connection.keys()
        assert 0 < connection.ttl(name) <= 60
    seen.close()


def test_an_outage_is_survived_said_once_and_counted(valkey_server, redis_url, caplog):
    """While Redis is away nothing is recalled; afterwards everything works again."""
    seen = RedisSeen(redis_url, ttl_seconds=60)
    seen.remember({A})
    valkey_server.stop()
    with caplog.at_level(logging.WARNING, "helios.seen"):
        assert seen.recall([A]) == set()
        seen.remember({B})
        assert seen.recall([B]) == set()
    assert (len(caplog.records), seen.failures) == (1, 1)
    with pytest.raises(Retryable):
        seen.probe()

    valkey_server.start()
    seen.probe()
    seen.remember({B})
    assert seen.recall([A, B]) == {B}
    seen.close()


def test_a_frozen_redis_costs_one_timeout(valkey_server, redis_url):
    """A server that accepts and never answers is as bad as none, and no worse."""
    seen = RedisSeen(redis_url, ttl_seconds=60)
    seen.remember({A})
    valkey_server.pause()
    try:
        assert seen.recall([A]) == set()
        assert seen.recall([A]) == set()
        assert seen.failures == 1
    finally:
        valkey_server.resume()
    seen.close()

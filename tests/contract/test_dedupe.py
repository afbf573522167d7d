"""The contract of the dedupe cache. It never raises, whatever the state of Redis."""

import logging

import pytest
import redis

from helios.adapters.redis import dedupe as redis_dedupe
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.errors import Retryable
from helios.model.events import Key
from tests.fakes.store import MemoryDedupeCache

A: Key = ("aws", "shop", "1")
B: Key = ("aws", "shop", "2")
SAME_ID_OTHER_SOURCE: Key = ("gcp", "shop", "1")
SAME_ID_OTHER_PRODUCER: Key = ("aws", "another", "1")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine takes longer for an answer than a function waits."""
    monkeypatch.setattr(redis_dedupe, "TIMEOUT_SECONDS", 5.0)


@pytest.fixture
def redis_url(valkey_server) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    return valkey_server.url


@pytest.fixture(params=["memory", "redis"])
def dedupe(request, monkeypatch):
    """Every dedupe cache that Helios ships."""
    if request.param == "memory":
        yield MemoryDedupeCache()
        return
    monkeypatch.setattr(redis_dedupe, "PAUSE_SECONDS", 0.0)
    cache = RedisDedupeCache(request.getfixturevalue("redis_url"), ttl_seconds=60)
    yield cache
    cache.close()


def test_an_added_key_is_found(dedupe):
    dedupe.add({A})

    assert dedupe.lookup([A, B, SAME_ID_OTHER_SOURCE]) == {A}


def test_events_and_flow_instances_are_found_together(dedupe):
    dedupe.add({A, ("order", "ORD-1")})

    assert dedupe.lookup({A, B, ("order", "ORD-1"), ("order", "ORD-2")}) == {A, ("order", "ORD-1")}


def test_a_lookup_of_no_keys_finds_none(dedupe):
    dedupe.add(set())

    assert dedupe.lookup([]) == set()


def test_a_key_expires_after_the_ttl(redis_url):
    dedupe = RedisDedupeCache(redis_url, ttl_seconds=60)
    dedupe.add({A})
    with redis.Redis.from_url(redis_url) as connection:
        (name,) = connection.keys()
        assert 0 < connection.ttl(name) <= 60
    dedupe.close()


@pytest.fixture
def delaying(redis_url):
    """A cache whose process expects another batch soon, and one of another process."""
    cache, other = (
        RedisDedupeCache(redis_url, ttl_seconds=60, delay_seconds=600),
        RedisDedupeCache(redis_url, ttl_seconds=60),
    )
    cache.lookup([A])
    yield cache, other
    cache.close()
    other.close()


def test_keys_wait_for_the_next_lookup(delaying):
    cache, other = delaying
    cache.add({A})
    assert other.lookup([A]) == set()

    assert cache.lookup([A, B]) == {A}
    assert other.lookup([A]) == {A}


def test_keys_that_wait_are_sent_at_the_end(delaying):
    cache, other = delaying
    cache.add({A})
    cache.close()

    assert other.lookup([A]) == {A}


def test_not_many_keys_wait(delaying):
    cache, other = delaying
    keys: list[Key] = [("aws", "shop", str(number)) for number in range(redis_dedupe.MAX_DELAYED + 1)]
    for key in keys:
        cache.add({key})

    assert other.lookup(keys) == set(keys)
    assert cache.lookup(keys) == set(keys)


def test_many_keys_are_added_together(delaying):
    cache, other = delaying
    keys: set[Key] = {("aws", "shop", str(number)) for number in range(10 * redis_dedupe.FEW_KEYS)}
    cache.add(keys)

    assert cache.lookup(keys | {B}) == keys
    assert other.lookup(keys | {B}) == keys


def test_an_outage_raises_nothing_is_logged_once_and_counted(valkey_server, redis_url, caplog):
    """While Redis is unavailable a lookup finds no key. Afterwards the cache works again."""
    dedupe = RedisDedupeCache(redis_url, ttl_seconds=60)
    dedupe.add({A})
    valkey_server.stop()
    with caplog.at_level(logging.WARNING, "helios.dedupe"):
        assert dedupe.lookup([A]) == set()
        dedupe.add({B})
        assert dedupe.lookup([B]) == set()
    assert (len(caplog.records), dedupe.failures) == (1, 1)
    with pytest.raises(Retryable):
        dedupe.probe()

    valkey_server.start()
    dedupe.probe()
    dedupe.add({B})
    assert dedupe.lookup([A, B]) == {B}
    dedupe.close()


def test_a_frozen_redis_costs_one_timeout(valkey_server, redis_url):
    """A server that accepts connections and never answers has the effect of a stopped one."""
    dedupe = RedisDedupeCache(redis_url, ttl_seconds=60)
    dedupe.add({A})
    valkey_server.pause()
    try:
        assert dedupe.lookup([A]) == set()
        assert dedupe.lookup([A]) == set()
        assert dedupe.failures == 1
    finally:
        valkey_server.resume()
    dedupe.close()

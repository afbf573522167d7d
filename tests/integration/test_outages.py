"""Redis, Postgres or the API itself fails under load: nothing lost, nothing doubled, and the API says how it is."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.client import EVENTBRIDGE, Load, call
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

PAUSE_SECONDS = 0.75
"""Half as long as Postgres hangs: less than any timeout, so that what waits for it succeeds in the end."""


def health(api):
    return call(api.url, "/api/v1/health/detailed")


def wait_health(api, status):
    eventually(lambda: health(api).body["status"] == status)


def assert_exact(load, records):
    """What was acknowledged is what is stored."""
    assert sorted(load.acknowledged) == records.ids("aws")
    records.assert_exact()


@pytest.mark.parametrize(("fail", "heal"), [("stop", "start"), ("kill", "start"), ("pause", "resume")])
def test_without_redis_everything_is_stored(fail, heal, api, records, valkey_server):
    with Load(api.url) as load:
        getattr(valkey_server, fail)()
        try:
            load.go_on()
            answer = health(api)
            load.go_on()
        finally:
            getattr(valkey_server, heal)()
        wait_health(api, "healthy")
        load.go_on()

    assert (answer.status, answer.body["status"], answer.body["redis"]) == (200, "degraded", "unhealthy")
    assert answer.body["reasons"]["redis"].startswith("Redis: ")
    assert (load.refused, load.broken) == ([], 0)
    assert_exact(load, records)


def test_redis_may_forget_everything(api, records, redis_url):
    with Load(api.url) as load, redis.Redis.from_url(redis_url) as connection:
        for _ in range(5):
            connection.flushall()
            load.go_on(20)

    assert health(api).body["status"] == "healthy"
    assert (load.refused, load.broken) == ([], 0)
    assert_exact(load, records)


@pytest.mark.parametrize("fail", ["stop", "kill"])
def test_without_postgres_senders_are_asked_to_come_back(fail, api, records, postgres_server):
    with Load(api.url) as load:
        getattr(postgres_server, fail)()
        try:
            load.wait_refused()
            answer = health(api)
        finally:
            postgres_server.start()
        wait_health(api, "healthy")
        load.go_on()

    assert (answer.status, answer.body["status"], answer.body["database"]) == (503, "unhealthy", "unhealthy")
    assert answer.body["reasons"]["database"].startswith("Postgres: ")
    assert {refusal.status for refusal in load.refused} == {503}
    assert all(int(refusal.headers["retry-after"]) > 0 for refusal in load.refused)
    assert {refusal.headers["content-type"] for refusal in load.refused} == {"application/problem+json"}
    assert load.broken == 0
    assert_exact(load, records)


def test_while_postgres_hangs_senders_wait(api, records, postgres_server):
    with Load(api.url) as load, ThreadPoolExecutor(1) as thread:
        postgres_server.pause()
        try:
            time.sleep(PAUSE_SECONDS)  # answers that were on their way have come
            before = len(load.acknowledged)
            late = thread.submit(call, api.url, EVENTBRIDGE, eventbridge("late").body)
            with pytest.raises(TimeoutError):
                late.result(PAUSE_SECONDS)
            assert len(load.acknowledged) == before
        finally:
            postgres_server.resume()
        assert late.result(20).status == 202
        load.go_on()

    assert (load.refused, load.broken) == ([], 0)
    load.acknowledged.append("late")
    assert_exact(load, records)


def test_the_api_itself_is_killed(api, records):
    with Load(api.url) as load:
        for _ in range(2):
            api.kill()
            api.start()
            load.go_on()

    assert load.broken > 0
    assert_exact(load, records)

"""Redis, Postgres or the API itself fails under load: nothing lost, nothing doubled, and the API says how it is."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.client import EVENTBRIDGE, Load, call
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually


def health(api):
    return call(api.url, "/api/v1/health/detailed")


def wait_health(api, status):
    eventually(lambda: health(api).body["status"] == status)


def assert_exact(load, records):
    """What was acknowledged is what is stored, and every delivery that was taken is counted as what it was called.

    A request that was refused or broke off may have been stored all the same, its answer alone being lost: then the
    ledger holds that delivery too, and what was sent again is called a duplicate.
    """
    assert sorted(load.acknowledged) == records.ids("aws")
    records.assert_exact()
    kept = records.counts()
    unanswered = len(load.refused) + load.broken
    assert kept["stored"] == len(load.acknowledged)
    assert load.told.total() <= kept.total() <= load.told.total() + unanswered
    if not unanswered:
        assert kept == load.told


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
    """It hangs for as long as a probe waits, which is less than any timeout: what waits for it succeeds in the end."""
    with Load(api.url) as load, ThreadPoolExecutor(1) as thread:
        postgres_server.pause()
        try:
            late = thread.submit(call, api.url, EVENTBRIDGE, eventbridge("late").body)
            answer = health(api)
            assert not late.done()
        finally:
            postgres_server.resume()
        acknowledgement = late.result(20)
        load.go_on()

    assert (answer.status, answer.body["database"]) == (503, "unhealthy")
    assert answer.body["reasons"]["database"].startswith("no answer within")
    assert (acknowledgement.status, acknowledgement.body["status"]) == (202, "stored")
    assert (load.refused, load.broken) == ([], 0)
    load.acknowledged.append("late")
    load.told["stored"] += 1
    assert_exact(load, records)


def test_the_api_itself_is_killed(api, records):
    with Load(api.url) as load:
        for _ in range(2):
            api.kill()
            api.start()
            load.go_on()

    assert load.broken > 0
    assert_exact(load, records)

"""Redis, Postgres or the API fails under load: no event is lost or stored twice, and the API reports its health."""

import pytest
import redis

from tests.support.client import Load, call
from tests.support.waiting import eventually


def health(api):
    return call(api.url, "/api/v1/health/detailed")


def wait_health(api, status):
    eventually(lambda: health(api).body["status"] == status)


def assert_exact(load, records):
    """The stored events are the acknowledged ones, and the counts equal the statuses in the answers.

    A request that was refused or got no answer may have been stored all the same. Then that delivery is counted too,
    and its retry is a duplicate.
    """
    assert sorted(load.acknowledged) == records.ids("aws")
    records.assert_exact()
    counts = records.counts()
    unanswered = len(load.refused) + load.broken
    assert counts["stored"] == len(load.acknowledged)
    assert load.answered.total() <= counts.total() <= load.answered.total() + unanswered
    if not unanswered:
        assert counts == load.answered


@pytest.mark.parametrize(("fail", "restore"), [("stop", "start"), ("kill", "start"), ("pause", "resume")])
def test_every_event_is_stored_while_redis_is_down(fail, restore, api, records, valkey_server):
    with Load(api.url) as load:
        getattr(valkey_server, fail)()
        try:
            load.go_on()
            eventually(lambda: health(api).body["redis"] == "unhealthy")  # callers share a result for a second
            answer = health(api)
            load.go_on()
        finally:
            getattr(valkey_server, restore)()
        wait_health(api, "healthy")
        load.go_on()

    assert (answer.status, answer.body["status"], answer.body["redis"]) == (200, "degraded", "unhealthy")
    assert answer.body["reasons"]["redis"].startswith("Redis: ")
    assert (load.refused, load.broken) == ([], 0)
    assert_exact(load, records)


def test_a_flush_of_redis_loses_and_doubles_no_event(api, records, redis_url):
    with Load(api.url) as load, redis.Redis.from_url(redis_url) as connection:
        for _ in range(5):
            connection.flushall()
            load.go_on(20)

    eventually(lambda: health(api).body["status"] == "healthy")
    assert (load.refused, load.broken) == ([], 0)
    assert_exact(load, records)


@pytest.mark.parametrize("fail", ["stop", "kill"])
def test_senders_are_asked_to_retry_while_postgres_is_down(fail, api, records, postgres_server):
    with Load(api.url) as load:
        getattr(postgres_server, fail)()
        try:
            load.wait_refused()
            eventually(lambda: health(api).status == 503)
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


def test_no_event_is_lost_or_doubled_while_postgres_hangs(api, records, postgres_server):
    """A sender waits, or is asked to retry where its batch finds no connection in time.

    A probe that finds no connection free waits for a new one, and reports that, because it gives up earlier than one
    that holds a connection.
    """
    with Load(api.url) as load:
        postgres_server.pause()
        try:
            eventually(lambda: health(api).status == 503)  # the one before may share a result of the second before
            acknowledged = len(load.acknowledged)
            answer = health(api)
            assert len(load.acknowledged) == acknowledged
        finally:
            postgres_server.resume()
        wait_health(api, "healthy")
        load.go_on()

    assert (answer.status, answer.body["database"]) == (503, "unhealthy")
    assert answer.body["reasons"]["database"].startswith(("no answer within", "Postgres: couldn't get a connection"))
    assert {refusal.status for refusal in load.refused} <= {503}
    assert all(int(refusal.headers["retry-after"]) > 0 for refusal in load.refused)
    assert load.broken == 0
    assert_exact(load, records)


def test_a_killed_api_loses_and_doubles_no_event(api, records):
    with Load(api.url) as load:
        for _ in range(2):
            api.kill()
            api.start()
            load.go_on()

    assert load.broken > 0
    assert_exact(load, records)

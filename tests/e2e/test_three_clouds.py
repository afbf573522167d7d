"""Orders cross three clouds through the vendors' own SDKs, the emulators and the real function code."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import Consumer
from standardwebhooks.webhooks import Webhook

from local.aws import ministack
from local.stack.config import REPOSITORY
from local.stack.process import scrubbed_environment
from local.stack.services import sdk_environment
from tests.support.receiver import receiving
from tests.support.waiting import eventually

SOURCES = ("aws", "gcp", "azure")

COUNTS = "SELECT source, sum(stored) FROM event_counts GROUP BY 1"
STORED = "SELECT source, count(*), count(DISTINCT id) FROM events GROUP BY 1"


def check_counts(stack) -> None:
    """The ledger says of each cloud what its rows say."""
    counts = {source: int(stored) for source, stored in stack.rows(COUNTS)}
    rows = stack.rows(STORED)

    assert {source: count for source, count, _ in rows} == {name: n for name, n in counts.items() if n}
    assert all(count == distinct for _, count, distinct in rows)


def test_every_event_of_three_clouds_is_stored_exactly_once(stack):
    """At 200 events a second. A bus gives what it takes twice two ids, so each order's legs are counted, too."""
    before, began = stack.stats(), datetime.now(UTC)
    traffic = stack.simulate("--rate", "200", "--count", "2000", "--error-rate", "0").finish()
    stack.wait_until_stored(before, 2000)
    accepted = {source: traffic.summary["sources"][source]["accepted"] for source in SOURCES}
    legs = f"SELECT source, count(*), count(DISTINCT (order_id, type)) FROM events WHERE received_at >= '{began}'"
    stored = {source: (count, distinct) for source, count, distinct in stack.rows(f"{legs} GROUP BY 1")}

    assert stored == {source: (count, count) for source, count in accepted.items()}
    assert sum(accepted.values()) == 2000
    shares = {source: count / 20 for source, count in accepted.items()}
    assert shares == pytest.approx({"aws": 40, "gcp": 30, "azure": 30}, abs=2)
    check_counts(stack)


def test_an_order_is_seen_on_every_cloud(stack):
    before = stack.stats()
    traffic = stack.simulate("--rate", "50", "--orders", "5", "--jitter", "0.1", "--error-rate", "0").finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    newest = stack.get("/api/v1/events?limit=100")["items"]
    order = next(event["order_id"] for event in newest if event["type"] == "OrderPlaced")
    legs = stack.get(f"/api/v1/events?order_id={order}")["items"]

    assert {"OrderPlaced", "PaymentProcessed", "InventoryReserved"} <= {event["type"] for event in legs}
    assert {event["source"] for event in legs} == set(SOURCES)
    assert len({Decimal(event["amount"]) for event in legs if event["amount"]}) == 1


def test_a_smoke_test_publishes_one_order_and_sees_it_arrive(stack):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.deploy.smoke", stack.config.api_url],
        cwd=REPOSITORY,
        env=scrubbed_environment(**sdk_environment(stack.config)),
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert ": matched after" in said
    order = said.split()[1].rstrip(":")
    legs = stack.get(f"/api/v1/events?order_id={order}")["items"]
    assert {event["source"] for event in legs} == set(SOURCES)


def replayed(stack, *where) -> dict[str, Any]:
    """A replay job that has ended, as the command line tells it."""
    command = [sys.executable, "-m", "helios", "replays", "start", "--url", stack.config.api_url, "--json", *where]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=scrubbed_environment(), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def placed(stack) -> str:
    """An order of which every cloud has told."""
    before = stack.stats()
    traffic = stack.simulate("--rate", "50", "--orders", "1", "--error-rate", "0").finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    order: str = stack.get("/api/v1/events?type=OrderPlaced&limit=1")["items"][0]["order_id"]
    return order


def verdict(stack, order: str) -> tuple[Any, Any]:
    (instance,) = stack.get(f"/api/v1/flows?key={order}")["items"]
    return instance["status"], instance["issues"]


def test_an_order_goes_back_to_its_clouds_and_comes_as_what_it_was(stack):
    """Through each cloud's own topic and function once more; nothing is stored twice, or held against the order."""
    order = placed(stack)
    was, before = verdict(stack, order), stack.stats()

    jobs = [replayed(stack, "--to-cloud", source, "--order", order) for source in SOURCES]

    assert [(job["state"], job["failed"]) for job in jobs] == [("done", 0)] * 3
    sent = sum(job["sent"] for job in jobs)
    assert sent == len(stack.get(f"/api/v1/events?order_id={order}")["items"]) >= 3
    eventually(lambda: stack.stats().duplicates - before.duplicates == sent, seconds=60)
    assert stack.stats().total_events == before.total_events
    assert verdict(stack, order) == was


def test_an_order_goes_to_a_webhook_on_this_machine_signed(stack):
    order = placed(stack)
    with receiving() as receiver:
        job = replayed(stack, "--to-webhook", receiver.url, "--order", order)

    assert (job["state"], job["sent"], job["failed"]) == ("done", len(receiver.got), 0)
    said = [Webhook(stack.config.credentials.replay).verify(body, headers)["id"] for _, headers, body in receiver.got]
    assert set(said) == {event["id"] for event in stack.get(f"/api/v1/events?order_id={order}")["items"]}


def test_what_is_wrong_is_told_from_what_is_right(stack):
    """Duplicates, contradictions and poison, as many as were injected; nothing else suffers from them."""
    before = stack.stats()
    options = ("--rate", "100", "--orders", "150", "--error-rate", "0.4", "--lateness", "2", "--jitter", "0.2")
    traffic = stack.simulate(*options).finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    after = stack.stats()
    # EventBridge gives each event an id of its own, so what is published twice there is two events.
    repeats = Counter(one["anomaly"] for one in traffic.truth if one["source"] != "aws")
    poison = sum(one["anomaly"] == "poison" for one in traffic.truth)

    assert after.duplicates - before.duplicates == repeats["duplicate"]
    assert after.contradictory - before.contradictory == repeats["contradictory"]
    assert after.rejected - before.rejected == poison > 0
    assert after.deliveries - before.deliveries == traffic.summary["total"]["accepted"]
    check_counts(stack)


def test_a_poison_message_is_one_dead_letter_with_its_reason(stack):
    """It is acknowledged: no cloud sends it for ever, and what follows is not held up."""
    dead_letters = stack.get("/api/v1/dead-letters?status=rejected&limit=500")["items"]

    assert {dead_letter["source"] for dead_letter in dead_letters} <= set(SOURCES)
    assert all(dead_letter["reason"] and dead_letter["field"] for dead_letter in dead_letters)
    assert {dead_letter["attempts"] for dead_letter in dead_letters} == {1}


@pytest.mark.parametrize("name", ["gcp-function", "azure-function"])
def test_a_function_that_is_down_gets_everything_later(stack, name):
    """The cloud keeps what it could not deliver, and delivers it once the function is back."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries)
    stack.service(name).kill()
    eventually(lambda: stack.stats().deliveries - before.deliveries > 100)
    stack.service(name).start()
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert traffic.summary["total"]["accepted"] == 300
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.slow  # SQS delivers again after a minute
def test_lambda_workers_that_are_killed_lose_nothing(stack):
    """SQS delivers again what no worker has acknowledged, once its visibility timeout is over."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    killed = set()
    for share in (1, 2, 3):
        eventually(lambda: stack.stats().deliveries - before.deliveries > 50 * share)  # noqa: B023 - called at once
        for pid in ministack.workers(stack.service("aws").pid):
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert len(killed) >= 3, "nothing ran that could be killed"
    assert traffic.summary["total"]["accepted"] == 300
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.parametrize("name", ["pubsub", "eventgrid"])
def test_an_emulator_that_is_killed_loses_nothing(stack, name):
    """The simulator reconnects, and what had been acknowledged to it is delivered by the next process."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries)
    stack.service(name).kill()
    stack.service(name).start()
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert traffic.summary["total"]["accepted"] == 300
    # A cloud may deliver an event twice when its answer was lost: that is a duplicate, never a second row.
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.slow  # SQS delivers again after a minute
def test_postgres_away_delays_events_and_loses_none(stack):
    """Each cloud keeps what was not acknowledged, in its own way."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "40", "--count", "200", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries)
    stack.service("postgres").stop()
    stack.service("postgres").start()
    simulation.finish()
    stack.wait_until_stored(before, 200)

    assert stack.stats().total_events - before.total_events == 200
    check_counts(stack)


def test_every_stored_event_is_passed_on_to_kafka(stack):
    before = stack.stats()
    stack.simulate("--rate", "50", "--count", "60", "--error-rate", "0").finish()
    stack.wait_until_stored(before, 60)
    stored = {tuple(row) for row in stack.rows("SELECT source, id FROM events")}
    passed_on: set[tuple[str, ...]] = set()
    consumer = Consumer(
        {
            "bootstrap.servers": stack.config.kafka_brokers,
            "group.id": "e2e",
            "auto.offset.reset": "earliest",
            # How soon a topic that the sink makes meanwhile is seen; five minutes unless told.
            "topic.metadata.refresh.interval.ms": 1000,
        }
    )
    consumer.subscribe(["^helios[.].*"])

    deadline = time.monotonic() + 90
    try:
        while not passed_on >= stored and time.monotonic() < deadline:
            for message in consumer.consume(500, timeout=0.5):
                if not message.error():
                    headers: Any = dict(message.headers() or [])
                    passed_on.add((headers["ce_cloud"].decode(), headers["ce_id"].decode()))
    finally:
        consumer.close()
    assert passed_on == stored
    assert stack.stats().health["kafka"] == "healthy"

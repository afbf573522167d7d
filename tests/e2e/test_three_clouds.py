"""Orders cross three clouds: the vendors' SDKs, the emulators and the real function code."""

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

from helios.processes.process import scrubbed_environment
from local.aws import ministack
from local.stack.config import REPOSITORY
from local.stack.services import sdk_environment
from tests.e2e.conftest import DELIVERED_SECONDS, SOURCES
from tests.support.receiver import receiving
from tests.support.waiting import eventually

COUNTS = "SELECT source, sum(stored) FROM event_counts GROUP BY 1"
STORED = "SELECT source, count(*), count(DISTINCT id) FROM events GROUP BY 1"


def check_counts(stack) -> None:
    """The counts of each cloud equal its stored rows."""
    counts = {source: int(stored) for source, stored in stack.rows(COUNTS)}
    rows = stack.rows(STORED)

    assert {source: count for source, count, _ in rows} == {name: n for name, n in counts.items() if n}
    assert all(count == distinct for _, count, distinct in rows)


def test_every_event_of_three_clouds_is_stored_exactly_once(stack):
    """At 200 events a second. A bus gives an event that it accepts twice two ids, so the legs are counted as well."""
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


def test_an_order_has_events_of_every_cloud(stack):
    before = stack.stats()
    traffic = stack.simulate("--rate", "50", "--orders", "5", "--jitter", "0.1", "--error-rate", "0").finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    newest = stack.get("/api/v1/events?limit=100")["items"]
    order = next(event["order_id"] for event in newest if event["type"] == "OrderPlaced")
    legs = stack.get(f"/api/v1/events?order_id={order}")["items"]

    assert {"OrderPlaced", "PaymentProcessed", "InventoryReserved"} <= {event["type"] for event in legs}
    assert {event["source"] for event in legs} == set(SOURCES)
    assert len({Decimal(event["amount"]) for event in legs if event["amount"]}) == 1


def test_the_smoke_test_publishes_one_order_that_arrives_from_every_cloud(stack):
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
    verdict_line = done.stdout.splitlines()[-1]
    assert ": matched after" in verdict_line
    order = verdict_line.split()[1].rstrip(":")
    legs = stack.get(f"/api/v1/events?order_id={order}")["items"]
    assert {event["source"] for event in legs} == set(SOURCES)


def replayed(stack, *where) -> dict[str, Any]:
    """A replay job that has ended, as the command line prints it."""
    command = [sys.executable, "-m", "helios", "replay", "start", "--url", stack.config.api_url, "--json", *where]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=scrubbed_environment(), check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def placed(stack) -> str:
    """The key of an order with events of every cloud."""
    before = stack.stats()
    traffic = stack.simulate("--rate", "50", "--orders", "1", "--error-rate", "0").finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    order: str = stack.get("/api/v1/events?type=OrderPlaced&limit=1")["items"][0]["order_id"]
    return order


def verdict(stack, order: str) -> tuple[Any, Any]:
    (instance,) = stack.get(f"/api/v1/flows?key={order}")["items"]
    return instance["status"], instance["issues"]


def test_an_order_replayed_to_its_clouds_comes_back_as_duplicates(stack):
    """Each event passes its cloud's topic and function again; none is stored twice, and the verdict stays the same."""
    order = placed(stack)
    verdict_before, before = verdict(stack, order), stack.stats()

    jobs = [replayed(stack, "--to-cloud", source, "--order", order) for source in SOURCES]

    assert [(job["state"], job["failed"]) for job in jobs] == [("done", 0)] * 3
    sent = sum(job["sent"] for job in jobs)
    assert sent == len(stack.get(f"/api/v1/events?order_id={order}")["items"]) >= 3
    eventually(lambda: stack.stats().duplicates - before.duplicates == sent, seconds=DELIVERED_SECONDS)
    assert stack.stats().total_events == before.total_events
    assert verdict(stack, order) == verdict_before


def test_an_order_replayed_to_a_webhook_is_signed(stack):
    order = placed(stack)
    with receiving() as receiver:
        job = replayed(stack, "--to-webhook", receiver.url, "--order", order)

    assert (job["state"], job["sent"], job["failed"]) == ("done", len(receiver.requests), 0)
    webhook = Webhook(stack.config.credentials.replay)
    ids = [webhook.verify(body, headers)["id"] for _, headers, body in receiver.requests]
    assert set(ids) == {event["id"] for event in stack.get(f"/api/v1/events?order_id={order}")["items"]}


def test_every_injected_anomaly_is_counted_as_what_it_is(stack):
    """Duplicates, contradictions and poison are counted exactly, and do not affect other events."""
    before = stack.stats()
    options = ("--rate", "100", "--orders", "150", "--error-rate", "0.4", "--lateness", "2", "--jitter", "0.2")
    traffic = stack.simulate(*options).finish()
    stack.wait_until_taken(before, traffic.summary["total"]["accepted"])
    after = stack.stats()
    # EventBridge gives each event its own id, so an event that is published there twice is two events.
    repeats = Counter(injected["anomaly"] for injected in traffic.truth if injected["source"] != "aws")
    poison = sum(injected["anomaly"] == "poison" for injected in traffic.truth)

    assert after.duplicates - before.duplicates == repeats["duplicate"]
    assert after.contradictory - before.contradictory == repeats["contradictory"]
    assert after.rejected - before.rejected == poison > 0
    assert after.deliveries - before.deliveries == traffic.summary["total"]["accepted"]
    check_counts(stack)


def test_a_poison_message_becomes_one_dead_letter_with_a_reason(stack):
    """Helios acknowledges it, so the cloud does not redeliver it, and the messages after it are not delayed."""
    dead_letters = stack.get("/api/v1/dead-letters?status=rejected&limit=500")["items"]

    assert {dead_letter["source"] for dead_letter in dead_letters} <= set(SOURCES)
    assert all(dead_letter["reason"] and dead_letter["field"] for dead_letter in dead_letters)
    assert {dead_letter["attempts"] for dead_letter in dead_letters} == {1}


@pytest.mark.parametrize("name", ["gcp-function", "azure-function"])
def test_a_function_that_was_down_gets_every_event_later(stack, name):
    """The cloud holds the events that it could not deliver, and delivers them once the function is back."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries, seconds=DELIVERED_SECONDS)
    stack.service(name).kill()
    eventually(lambda: stack.stats().deliveries - before.deliveries > 100, seconds=DELIVERED_SECONDS)
    stack.service(name).start()
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert traffic.summary["total"]["accepted"] == 300
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.slow  # SQS redelivers after a minute
def test_lambda_workers_that_are_killed_lose_nothing(stack):
    """SQS redelivers the messages that no worker acknowledged, once their visibility timeout has passed."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    killed = set()
    for share in (1, 2, 3):
        wanted = before.deliveries + 50 * share
        eventually(lambda: stack.stats().deliveries > wanted, seconds=DELIVERED_SECONDS)  # noqa: B023 - called at once
        for pid in ministack.workers(stack.service("aws").pid):
            killed.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert len(killed) >= 3, "no worker was running"
    assert traffic.summary["total"]["accepted"] == 300
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.parametrize("name", ["pubsub", "eventgrid"])
def test_an_emulator_that_is_killed_loses_nothing(stack, name):
    """The simulator reconnects, and the next process delivers the events that the emulator had acknowledged."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "60", "--count", "300", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries, seconds=DELIVERED_SECONDS)
    stack.service(name).kill()
    stack.service(name).start()
    traffic = simulation.finish()
    stack.wait_until_stored(before, 300)

    assert traffic.summary["total"]["accepted"] == 300
    # A cloud may deliver an event twice when the answer was lost: the second is a duplicate, never a second row.
    assert stack.stats().total_events - before.total_events == 300
    check_counts(stack)


@pytest.mark.slow  # SQS redelivers after a minute
def test_an_outage_of_postgres_delays_events_and_loses_none(stack):
    """Each cloud redelivers the events that were not acknowledged."""
    before = stack.stats()
    simulation = stack.simulate("--rate", "40", "--count", "200", "--error-rate", "0")
    eventually(lambda: stack.stats().deliveries > before.deliveries, seconds=DELIVERED_SECONDS)
    stack.service("postgres").stop()
    stack.service("postgres").start()
    simulation.finish()
    stack.wait_until_stored(before, 200)

    assert stack.stats().total_events - before.total_events == 200
    check_counts(stack)


def test_every_stored_event_is_sent_to_kafka(stack):
    before = stack.stats()
    stack.simulate("--rate", "50", "--count", "60", "--error-rate", "0").finish()
    stack.wait_until_stored(before, 60)
    stored = {tuple(row) for row in stack.rows("SELECT source, id FROM events")}
    delivered: set[tuple[str, ...]] = set()
    consumer = Consumer(
        {
            "bootstrap.servers": stack.config.kafka_brokers,
            "group.id": "e2e",
            "auto.offset.reset": "earliest",
            # How soon the consumer discovers a topic that the sink creates; the default is five minutes.
            "topic.metadata.refresh.interval.ms": 1000,
        }
    )
    consumer.subscribe(["^helios[.].*"])

    deadline = time.monotonic() + 90
    try:
        while not delivered >= stored and time.monotonic() < deadline:
            for message in consumer.consume(500, timeout=0.5):
                if not message.error():
                    headers: Any = dict(message.headers() or [])
                    delivered.add((headers["ce_cloud"].decode(), headers["ce_id"].decode()))
    finally:
        consumer.close()
    assert delivered == stored
    eventually(lambda: stack.stats().health["kafka"] == "healthy", seconds=60)

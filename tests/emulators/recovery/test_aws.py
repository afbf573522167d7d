"""A leg brought back from an emulated AWS, through the real ingest function: stored once, and no other touched."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from helios.adapters.postgres.connection import open_pool
from helios.adapters.recovery.eventbridge import ArchivePlace, covers_since, pattern_of
from helios.adapters.recovery.registry import places_of
from helios.model.dead_letters import DeadLetterFilter
from helios.model.flows import FlowLeg
from helios.ports.recoveries import Taken, Wanted
from helios.reconciliation.leg import Leg
from helios.settings import Settings
from local.aws import resources
from local.stack.config import AWS_ACCOUNT, AWS_REGION, BUS, QUEUE
from scripts.redrive import replay_identity
from tests.support.envelopes import eventbridge_event
from tests.support.instances import ORDER, leg
from tests.support.recovering import Recovering
from tests.support.waiting import eventually

COMPLETE = {"matched", "matched_late"}
ARCHIVE = "helios-recovery-tests"
ARCHIVE_ARN = f"arn:aws:events:{AWS_REGION}:{AWS_ACCOUNT}:archive/{ARCHIVE}"
QUEUE_ARN = f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:{QUEUE}"
PLACES = f"aws-archive={ARCHIVE_ARN} aws-queue={QUEUE_ARN}"


@pytest.fixture
def aws(aws_stack, monkeypatch) -> Iterator["Aws"]:
    for name, value in resources.sdk_environment(aws_stack.deployed.endpoint).items():
        monkeypatch.setenv(name, value)
    with Aws(aws_stack.deployed) as aws:
        yield aws


class Aws(contextlib.ExitStack):
    """The bus of Helios with an archive, and the queue of another consumer of every event."""

    def __init__(self, deployed: Any) -> None:
        super().__init__()
        self.deployed = deployed
        self.events = self._client("events")
        self.sqs = self._client("sqs")
        bus = f"arn:aws:events:{AWS_REGION}:{AWS_ACCOUNT}:event-bus/{BUS}"
        with contextlib.suppress(self.events.exceptions.ResourceAlreadyExistsException):
            self.events.create_archive(ArchiveName=ARCHIVE, EventSourceArn=bus)
        self.other = f"other-{uuid.uuid4().hex[:8]}"
        self.other_queue = self.sqs.create_queue(QueueName=self.other)["QueueUrl"]
        self.events.put_rule(Name=self.other, EventBusName=BUS, EventPattern='{"source": [{"prefix": ""}]}')
        target = {"Id": "other", "Arn": f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:{self.other}"}
        self.events.put_targets(Rule=self.other, EventBusName=BUS, Targets=[target])
        self.callback(self._forget)

    def _client(self, service: str) -> Any:
        return self.enter_context(contextlib.closing(resources.client(service, self.deployed.endpoint)))

    def _forget(self) -> None:
        self.events.remove_targets(Rule=self.other, EventBusName=BUS, Ids=["other"])
        self.events.delete_rule(Name=self.other, EventBusName=BUS)
        self.sqs.delete_queue(QueueUrl=self.other_queue)

    def order(self, *keys: str, **detail: Any) -> list[str]:
        """Publish orders while the rule of Helios is disabled, and return the ids of their events."""
        self.events.disable_rule(Name=QUEUE, EventBusName=BUS)
        data = {"customer_id": "CUST-1", "amount": 10.0, "currency": "EUR", "quantity": 2}
        entries = [
            {
                "EventBusName": BUS,
                "Source": "shop",
                "DetailType": "OrderPlaced",
                "Detail": json.dumps({"order_id": key} | data | detail),
            }
            for key in keys
        ]
        answer = self.events.put_events(Entries=entries)
        self.events.enable_rule(Name=QUEUE, EventBusName=BUS)
        return [entry["EventId"] for entry in answer["Entries"]]

    def received_by_other(self) -> dict[str, bytes]:
        """The events that the other consumer has got since the last call, by their ids."""
        events = {}
        while messages := self.sqs.receive_message(
            QueueUrl=self.other_queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
        ).get("Messages"):
            for message in messages:
                events[json.loads(message["Body"])["id"]] = message["Body"].encode()
                self.sqs.delete_message(QueueUrl=self.other_queue, ReceiptHandle=message["ReceiptHandle"])
        return events

    def rules(self) -> list[str]:
        """The rules of recoveries."""
        return [
            rule["Name"] for rule in self.events.list_rules(EventBusName=BUS)["Rules"] if "recovery" in rule["Name"]
        ]


@pytest.fixture
def key() -> str:
    """The database is that of every test of the function: the key of an order is new."""
    return f"ORD-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def recovering(aws, aws_stack):
    """Makes recoveries that search these places, in the database of the ingest function."""
    with open_pool(aws_stack.database_url, connections=4, timeout_seconds=10) as pool:

        def make(places: Any) -> Recovering:
            if isinstance(places, str):
                places = places_of(Settings(database_url="postgresql://nowhere", recovery_places=places))
            return Recovering(pool, places, now=datetime.now(UTC) + timedelta(hours=1))

        yield make


def receive(helios: Recovering, *keys: str) -> None:
    """The other legs of these orders arrive now."""
    now = datetime.now(UTC)
    legs = [leg(name, key) for key in keys for name in ("payment", "inventory")]
    helios.receive(*(replace(each, received_at=now) for each in legs))


def run(helios: Recovering, key: str) -> None:
    """Work on the recoveries until the one of this order has ended."""

    def is_over() -> bool:
        helios.run(seconds=0.2)
        return helios.last(key).state != "running"

    eventually(is_over, seconds=100)


def arrived(helios: Recovering, key: str) -> list[FlowLeg]:
    """The leg that was missing."""
    return [each for each in helios.instance(key).legs if each.name == "order"]


def test_a_lost_leg_comes_back_from_the_archive_through_the_function_alone(aws, recovering, key):
    (id_, _) = aws.order(key, f"{key}-2")
    live = aws.received_by_other()
    assert id_ in live
    helios = recovering(PLACES)
    receive(helios, key, f"{key}-2")
    helios.request(key, "order")
    run(helios, key)

    recovery = helios.last(key)
    assert (recovery.state, recovery.finding) == ("recovered", "not_delivered")
    assert recovery.found_in == f"the archive {ARCHIVE_ARN}"
    assert helios.instance(key).status in COMPLETE
    assert helios.instance(f"{key}-2").status == "incomplete"
    assert [each.event_id for each in arrived(helios, key)] == [id_]
    assert aws.received_by_other() == {}
    assert aws.rules() == []


def test_a_replayed_event_is_the_event_that_it_was(aws, recovering, key):
    """EventBridge keeps the id, and the name of the replay is no part of the content: the original is a duplicate."""
    (id_,) = aws.order(key)
    helios = recovering(PLACES)
    receive(helios, key)
    helios.request(key, "order")
    run(helios, key)
    (event,) = helios.reader.find([(leg.source, leg.producer, leg.event_id) for leg in arrived(helios, key)])
    assert event.attributes["replay-name"] == f"{helios.recoveries.prefix()}{helios.last(key).id}"
    original = replace(leg("order"), body=aws.received_by_other()[id_], received_at=datetime.now(UTC))
    (outcome,) = helios.ingest([original])
    assert outcome.status == "duplicate"


def test_a_key_that_is_a_number_is_found_as_one(aws, recovering):
    number = uuid.uuid4().int % 10**9 + 10**9
    aws.order(str(number), order_id=number)
    helios = recovering(PLACES)
    receive(helios, str(number))
    helios.request(str(number), "order")
    run(helios, str(number))
    assert helios.last(str(number)).state == "recovered"


def test_an_event_that_the_archive_lacks_is_unknown_where_the_archive_is_younger(aws, recovering, key):
    place = ArchivePlace(ARCHIVE_ARN, QUEUE_ARN, name="the archive", settle=timedelta(seconds=1))
    helios = recovering({"aws": [place]})
    receive(helios, key)
    helios.request(key, "order")
    run(helios, key)
    assert (helios.last(key).state, helios.last(key).finding) == ("not_found", "unknown")
    assert helios.last(key).detail == (
        "the archive: was replayed, and does not have the event, and need not have had it."
    )
    assert aws.rules() == []


def test_a_dead_letter_comes_back_and_the_others_stay(aws, recovering, key):
    queue = aws.sqs.create_queue(QueueName=f"dead-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    aws.callback(aws.sqs.delete_queue, QueueUrl=queue)
    for order in (key, f"{key}-2"):
        event = eventbridge_event(str(uuid.uuid4()), detail={"order_id": order, "amount": 10.0, "currency": "EUR"})
        aws.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))
    helios = recovering(f"aws-dead-letters={queue}")
    receive(helios, key)
    helios.request(key, "order")
    run(helios, key)
    assert (helios.last(key).state, helios.last(key).found_in) == ("recovered", f"the dead letters of {queue}")
    (kept,) = aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)["Messages"]
    assert json.loads(kept["Body"])["detail"]["order_id"] == f"{key}-2"


def test_an_unknown_archive_is_refused_by_name(recovering, key):
    helios = recovering(PLACES.replace(ARCHIVE, "nowhere"))
    receive(helios, key)
    helios.request(key, "order")
    run(helios, key)
    assert "can't be searched: EventBridge refuses: " in helios.last(key).detail
    assert "nowhere does not exist" in helios.last(key).detail


def test_the_program_for_a_real_account_finds_that_a_replayed_event_keeps_its_identity(aws, capsys):
    assert replay_identity.main(["--archive", ARCHIVE]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["yes"] * 3
    assert replay_identity.main(["--archive", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from helios.adapters.postgres.connection import open_pool
from helios.adapters.recovery.eventbridge import ArchivePlace
from helios.adapters.recovery.registry import places_of
from helios.settings import Settings
from tests.support.recovering import Recovering

url, places, step = sys.argv[1:]
start = ArchivePlace._start

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def start_and_die(place, wanted, archive):
    if step == "ruled":
        place._events.start_replay = die
    start(place, wanted, archive)
    die()

ArchivePlace._start = start_and_die
with open_pool(url, connections=2, timeout_seconds=5) as pool:
    settings = Settings(database_url=url, recovery_places=places)
    Recovering(pool, places_of(settings), now=datetime.now(UTC) + timedelta(hours=2)).run()
"""
"""Starts a replay, and kills itself before that, or after."""


@pytest.mark.parametrize("step", ["ruled", "started"])
def test_a_process_that_is_killed_leaves_nothing_behind_in_the_end(aws, recovering, aws_stack, key, step):
    aws.order(key)
    helios = recovering(PLACES)
    receive(helios, key)
    helios.request(key, "order")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, aws_stack.database_url, PLACES, step], env=os.environ, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(aws.rules()) == 1

    successor = recovering(PLACES)
    run(successor, key)
    assert successor.last(key).state == "recovered"
    assert [each.deliveries for each in arrived(successor, key)] == [1]
    eventually(lambda: successor.run(seconds=0.2) >= 0 and aws.rules() == [], seconds=30)
    assert successor.reader.dead_letters(DeadLetterFilter(mentions=key), after=None, limit=1).items == []


@pytest.mark.parametrize(
    ("change", "covers"),
    [
        ({}, True),
        ({"RetentionDays": 2}, True),
        ({"RetentionDays": 1}, False),
        ({"CreationTime": datetime.now(UTC)}, False),
        ({"EventPattern": '{"source": ["shop"]}'}, False),
        ({"State": "DISABLED"}, False),
    ],
)
def test_an_archive_is_complete_for_its_own_time_only(change, covers):
    since = datetime.now(UTC) - timedelta(days=1, hours=1)
    archive = {"State": "ENABLED", "RetentionDays": 0, "CreationTime": since - timedelta(hours=1)}
    assert covers_since(archive | change, since) is covers


def test_a_pattern_has_every_spelling_of_the_key():
    shipment = Leg(name="shipment", type="Shipped", key=("order.number", "reference"))
    wanted = Wanted(
        name="n",
        flow=ORDER,
        leg=shipment,
        key="007",
        since=datetime.now(UTC),
        until=datetime.now(UTC),
        take=lambda _: Taken([], 0),
    )
    pattern = pattern_of(wanted)
    assert (pattern["replay-name"], pattern["detail-type"]) == (["n"], ["Shipped"])
    assert {"detail": {"order": {"number": ["007"]}}} in pattern["$or"]
    assert {"detail": {"Reference": ["007"]}} in pattern["$or"]
    assert {"detail": {"reference": ["7", 7]}} in pattern_of(wanted._replace(key="7"))["$or"]
    assert msgspec.json.encode(pattern)

"""Finds events in AWS: the archive of an EventBridge bus, and the dead-letter queue of the ingest function.

Imported only where such a place is searched.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch
from helios.model.spellings import spellings
from helios.ports.recoveries import Wanted

_CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 3})

_PASSING: Final = {
    "ConcurrentModificationException",
    "InternalException",
    "InternalFailure",
    "LimitExceededException",
    "RequestThrottled",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
}
"""The error codes after which another attempt may succeed. An account runs ten replays at once."""

TARGET_ID: Final = "helios"

SETTLE: Final = timedelta(minutes=2)
"""How long after the end of a replay its events may still be on their way through the queue and the function."""

BATCH: Final = 10
HIDDEN_SECONDS: Final = 30
"""How long a message is invisible while its queue is searched, unless it is released before."""
SEARCH_SECONDS: Final = 20.0

_OVER: Final = {"COMPLETED", "CANCELLED", "FAILED"}


class ArchivePlace:
    """Implements ``Place``: the archive of a bus, replayed through a rule of its own.

    The rule has the name of the recovery. It matches only events of this replay, which have the type of the leg and the
    key of the instance, and sends them to the queue of the ingest function. The replay names the rule as its only
    destination, so that no other rule gets any of its events. A replayed event keeps its id.
    """

    source = "aws"

    def __init__(self, archive: str, target: str, *, name: str, settle: timedelta = SETTLE) -> None:
        """Build the client.

        Args:
            archive: the ARN of the archive.
            target: the ARN of the queue of the ingest function.
            name: the name of the place.
            settle: how long to wait for the events after the end of a replay.

        Raises:
            Rejected: boto3 finds no region in its configuration.
        """
        self.name = name
        self._archive = archive
        self._target = target
        self._settle = settle
        with _translated("EventBridge"):
            self._events: Any = boto3.client("events", config=_CONFIG)

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Start the replay, or report on it."""
        with _translated("EventBridge"):
            archive = self._describe()
            replay = self._replay(wanted.name)
            if replay is None:
                self._start(wanted, archive)
                return self._found(is_over=False, detail="is being replayed.")
            state = replay["State"]
            if state not in _OVER:
                return self._found(is_over=False, detail=f"is being replayed: {state}.")
            if state != "COMPLETED":
                return self._found(is_over=True, detail=f"was not replayed: {state} {replay.get('StateReason', '')}")
            if datetime.now(UTC) < replay["ReplayEndTime"] + self._settle:
                return self._found(is_over=False, detail="was replayed; the event may be on its way.")
        covers = covers_since(archive, wanted.since)
        detail = "was replayed, and does not have the event" + ("." if covers else ", and need not have had it.")
        return self._found(is_over=True, detail=detail, is_complete=covers)

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Delete the rules that no running recovery uses, and cancel their replays."""
        with _translated("EventBridge"):
            bus = _bus_name(self._describe()["EventSourceArn"])
            pages = self._events.get_paginator("list_rules").paginate(EventBusName=bus, NamePrefix=prefix)
            unused = [rule["Name"] for page in pages for rule in page["Rules"] if rule["Name"] not in names]
            for name in unused:
                self._drop(name, bus)
        return len(unused)

    def _describe(self) -> dict[str, Any]:
        archive: dict[str, Any] = self._events.describe_archive(ArchiveName=self._archive.rpartition("/")[2])
        return archive

    def _replay(self, name: str) -> dict[str, Any] | None:
        try:
            replay: dict[str, Any] = self._events.describe_replay(ReplayName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
        return replay

    def _start(self, wanted: Wanted, archive: Mapping[str, Any]) -> None:
        """Each step may be repeated: a process that died may have taken it."""
        bus_arn = archive["EventSourceArn"]
        bus = _bus_name(bus_arn)
        rule = self._events.put_rule(
            Name=wanted.name,
            EventBusName=bus,
            EventPattern=json.dumps(pattern_of(wanted)),
            State="ENABLED",
            Description="Helios brings one event back. It removes this rule afterwards.",
        )
        answer = self._events.put_targets(
            Rule=wanted.name, EventBusName=bus, Targets=[{"Id": TARGET_ID, "Arn": self._target}]
        )
        if answer["FailedEntryCount"]:
            raise Rejected(f"refuses the target: {answer['FailedEntries'][0]['ErrorMessage']}", field="EventBridge")
        self._events.start_replay(
            ReplayName=wanted.name,
            EventSourceArn=self._archive,
            EventStartTime=wanted.since,
            EventEndTime=wanted.until,
            Destination={"Arn": bus_arn, "FilterArns": [rule["RuleArn"]]},
        )

    def _drop(self, name: str, bus: str) -> None:
        replay = self._replay(name)
        if replay and replay["State"] not in _OVER:
            self._events.cancel_replay(ReplayName=name)
        targets = self._events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
        if targets:
            self._events.remove_targets(Rule=name, EventBusName=bus, Ids=[target["Id"] for target in targets])
        self._events.delete_rule(Name=name, EventBusName=bus)

    def _found(self, *, is_over: bool, detail: str, is_complete: bool = False) -> PlaceSearch:
        return PlaceSearch(
            place=self.name, is_over=is_over, is_complete=is_complete, redelivers=True, detail=detail.strip()
        )


class DeadLetterQueuePlace:
    """Implements ``Place``: the dead-letter queue of the ingest function. The messages of other events stay in it."""

    source = "aws"

    def __init__(self, queue: str, *, name: str) -> None:
        """Build the client.

        Args:
            queue: the URL of the queue.
            name: the name of the place.

        Raises:
            Rejected: boto3 finds no region in its configuration.
        """
        self.name = name
        self._queue = queue
        with _translated("SQS"):
            self._sqs: Any = boto3.client("sqs", config=_CONFIG)

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Receive the messages, delete those that are wanted, and release the others."""
        found = 0
        others: list[str] = []
        with _translated("SQS"):
            try:
                deadline = time.monotonic() + SEARCH_SECONDS
                while time.monotonic() < deadline and (messages := self._receive()):
                    now = datetime.now(UTC)
                    taken = wanted.take(
                        [
                            Delivery(channel="eventbridge", body=message["Body"].encode(), received_at=now)
                            for message in messages
                        ]
                    )
                    for message, is_taken in zip(messages, taken.matches, strict=True):
                        if is_taken:
                            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                        else:
                            others.append(message["ReceiptHandle"])
                    found += taken.new
                    if found and not wanted.leg.many:
                        break
            finally:
                self._release(others)
        detail = "found." if found else "does not have the event, and need not have had it."
        return PlaceSearch(place=self.name, found=found, detail=detail)

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:  # noqa: ARG002 - nothing is created
        """Nothing is created here."""
        return 0

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=BATCH, VisibilityTimeout=HIDDEN_SECONDS, WaitTimeSeconds=1
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _release(self, receipts: list[str]) -> None:
        for begin in range(0, len(receipts), BATCH):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for number, receipt in enumerate(receipts[begin : begin + BATCH])
            ]
            self._sqs.change_message_visibility_batch(QueueUrl=self._queue, Entries=entries)


def pattern_of(wanted: Wanted) -> dict[str, Any]:
    """The pattern of the rule: this replay, the type of the leg, and the key, wherever the leg may have it.

    Amazon EventBridge User Guide, "Comparison operators". A key may be sent as a number.
    """
    values: list[str | int] = [wanted.key]
    if wanted.key.isascii() and wanted.key.isdigit() and str(int(wanted.key)) == wanted.key:
        values.append(int(wanted.key))
    details: list[dict[str, Any]] = []
    for path in wanted.flow.keys_of(wanted.leg):
        for names in product(*(spellings(name) for name in path.split("."))):
            nested: Any = values
            for name in reversed(names):
                nested = {name: nested}
            details.append({"detail": nested})
    common: dict[str, Any] = {"replay-name": [wanted.name], "detail-type": [wanted.leg.type]}
    return common | (details[0] if len(details) == 1 else {"$or": details})


def covers_since(archive: Mapping[str, Any], since: datetime) -> bool:
    """Whether an archive has every event of its bus from this time on."""
    days = archive.get("RetentionDays", 0)
    begin = datetime.now(UTC) - timedelta(days=days) if days else datetime.min.replace(tzinfo=UTC)
    created: datetime = archive["CreationTime"]
    is_whole = archive.get("State") == "ENABLED" and not archive.get("EventPattern")
    return is_whole and since >= max(begin, created)


def _bus_name(arn: str) -> str:
    return arn.partition(":event-bus/")[2]


@contextmanager
def _translated(service: str) -> Iterator[None]:
    """AWS' errors as those of ``Place``."""
    try:
        yield
    except (NoRegionError, NoCredentialsError) as error:
        raise Rejected(f"can't be called: {error}", field=service) from error
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if error.response["Error"]["Code"] in _PASSING or status >= 500:  # noqa: PLR2004 - 5xx
            raise TargetUnavailable(f"{service}: {error}") from error
        raise Rejected(f"refuses: {error}", field=service) from error
    except BotoCoreError as error:
        raise TargetUnavailable(f"{service}: {error}") from error

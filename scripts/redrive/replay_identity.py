"""``python -m scripts.redrive.replay_identity``: shows in an AWS account that a replayed event keeps its identity.

Recoveries of Helios rely on three properties of EventBridge. This program puts one event of its own on a bus that has
an archive, replays it, and prints whether each property holds:

1. A replayed event has the id, the time and the detail of the original.
2. A rule can match the events of one replay alone, by ``replay-name``.
3. A replay that names a rule (``FilterArns``) is sent to no other rule.

It creates two queues, two rules and replays, whose names begin with ``helios-identity-``, and removes the queues and
the rules. Other rules of the bus receive the event once, live, if they match the source ``helios.identity``. It was run
on the emulator only (``tests/emulators/recovery/test_aws.py``), and in no account of AWS, where an event may take ten
minutes to reach the archive.
"""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

SOURCE: Final = "helios.identity"
DELIVERY_SECONDS: Final = 60.0
ATTEMPT_SECONDS: Final = 120.0
"""How long one replay may take before the next one starts."""
ARCHIVE_SECONDS: Final = 20 * 60.0
"""How long an event may take to reach the archive."""


class Findings(NamedTuple):
    """What the replay showed.

    Attributes:
        live: the event as it was delivered live.
        replayed: the event as the rule of the replay received it.
        others: how many events the live rule received during the replay.
    """

    live: dict[str, Any]
    replayed: dict[str, Any]
    others: int

    @property
    def properties(self) -> dict[str, bool]:
        """Each property, and whether it holds."""
        same = all(self.live[name] == self.replayed[name] for name in ("id", "time", "detail", "account", "region"))
        return {
            "a replayed event has the id, the time and the detail of the original": same,
            "a rule can match the events of one replay": self.replayed.get("replay-name") is not None,
            "a replay that names a rule is sent to no other rule": self.others == 0,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit code: 0 if every property holds, 1 if not, 2 if a call failed."""
    parser = argparse.ArgumentParser(prog="replay_identity", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--archive", required=True, help="the name of an archive without a pattern")
    parser.add_argument("--region", help="the region of the archive (AWS_REGION)")
    options = parser.parse_args(arguments)
    try:
        findings = run(options.archive, region=options.region)
    except (BotoCoreError, ClientError, TimeoutError) as error:
        sys.stderr.write(f"replay_identity: {error}\n")
        return 2
    for name, holds in findings.properties.items():
        sys.stdout.write(f"{'yes' if holds else 'NO'}: {name}\n")
    return 0 if all(findings.properties.values()) else 1


def run(archive: str, *, region: str | None = None) -> Findings:
    """Put one event on the bus of an archive, replay it, and return what happened.

    Raises:
        TimeoutError: the event was not delivered, or not archived, in time.
        ClientError: AWS refuses a call.
    """
    events, sqs = (boto3.client(service, region_name=region) for service in ("events", "sqs"))
    described = events.describe_archive(ArchiveName=archive)
    bus_arn = described["EventSourceArn"]
    bus = bus_arn.partition(":event-bus/")[2]
    name = f"helios-identity-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        queues = {suffix: _queue(sqs, f"{name}-{suffix}", stack) for suffix in ("live", "replay")}
        own = {"source": [SOURCE], "detail": {"run": [name]}}
        _rule(events, f"{name}-live", bus, own, queues["live"], stack)
        began = datetime.now(UTC)
        entry = {"EventBusName": bus, "Source": SOURCE, "DetailType": "Identity", "Detail": json.dumps({"run": name})}
        events.put_events(Entries=[entry])
        (live,) = _until(lambda: _received(sqs, queues["live"].url), DELIVERY_SECONDS, "the event was not delivered")
        replayed = _replay(events, sqs, name, described, own, began, queues["replay"], stack)
        return Findings(live, replayed, len(_received(sqs, queues["live"].url)))


class _Queue(NamedTuple):
    url: str
    arn: str


def _queue(sqs: Any, name: str, stack: ExitStack) -> _Queue:
    """A queue to which rules of this account may send; removed at the end."""
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    stack.callback(sqs.delete_queue, QueueUrl=url)
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": arn.split(":")[4]}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return _Queue(url, arn)


def _rule(events: Any, name: str, bus: str, pattern: dict[str, Any], queue: _Queue, stack: ExitStack) -> str:
    """The ARN of a rule that sends to a queue; removed at the end."""
    rule = events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    stack.callback(events.delete_rule, Name=name, EventBusName=bus)
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue.arn}])
    stack.callback(events.remove_targets, Rule=name, EventBusName=bus, Ids=["queue"])
    return str(rule["RuleArn"])


def _replay(
    events: Any,
    sqs: Any,
    name: str,
    archive: dict[str, Any],
    own: dict[str, Any],
    began: datetime,
    queue: _Queue,
    stack: ExitStack,
) -> dict[str, Any]:
    """Replay the archive until it has the event, and return the replayed event."""
    bus_arn = archive["EventSourceArn"]
    bus = bus_arn.partition(":event-bus/")[2]
    pattern = {**own, "replay-name": [{"prefix": name}]}
    rule = _rule(events, f"{name}-replay", bus, pattern, queue, stack)
    deadline = time.monotonic() + ARCHIVE_SECONDS
    for number in range(1, sys.maxsize):
        events.start_replay(
            ReplayName=f"{name}-{number}",
            EventSourceArn=archive["ArchiveArn"],
            EventStartTime=began - timedelta(minutes=1),
            EventEndTime=datetime.now(UTC),
            Destination={"Arn": bus_arn, "FilterArns": [rule]},
        )
        try:
            (replayed,) = _until(lambda: _received(sqs, queue.url), ATTEMPT_SECONDS, "the event was not archived")
        except TimeoutError:
            if time.monotonic() >= deadline:
                raise
            continue
        return replayed
    raise AssertionError("the loop ends by its deadline")


def _received(sqs: Any, url: str) -> list[dict[str, Any]]:
    """The events that wait in a queue, which are deleted."""
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def _until(receive: Callable[[], list[dict[str, Any]]], seconds: float, otherwise: str) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while not (events := receive()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{otherwise} within {seconds:g} s")
    return events


if __name__ == "__main__":
    sys.exit(main())

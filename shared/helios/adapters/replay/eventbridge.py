"""Sends stored events back to an EventBridge bus."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Event
from helios.model.replay import SENT, Replayed, ReplayJob
from helios.normalise.replay_marks import mark

_PASSING: Final = {"InternalException", "InternalFailure", "ServiceUnavailable", "Throttling", "ThrottlingException"}
"""The transient error codes of EventBridge. The others mean that the entry or the credentials are wrong."""

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 3})

_texts = msgspec.json.Decoder(list[str])


class EventBridgeTarget:
    """Implements ``ReplayTarget`` with PutEvents. A bus assigns new ids, so a resource carries the original id."""

    batch = 10
    """The most entries of one call (Amazon EventBridge API Reference, "PutEvents")."""

    def __init__(self, bus: str) -> None:
        """Build a client for a bus, by name or ARN.

        Raises:
            Rejected: boto3 finds no AWS region in its configuration.
        """
        self._bus = bus
        try:
            self._client: Any = boto3.client("events", config=_CONFIG)
        except BotoCoreError as error:
            raise Rejected(f"aws: {error}", field="target.cloud") from error

    def send(self, job: ReplayJob, events: Sequence[Event]) -> Iterator[Replayed]:
        """Put the events in one call, and yield the results up to the first event that must be sent again."""
        try:
            answers = self._client.put_events(Entries=[self.entry(job.id, event) for event in events])["Entries"]
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise TargetUnavailable(f"EventBridge: {error}") from error
            if error.response["Error"]["Code"] in _PASSING:
                raise TargetUnavailable(f"EventBridge: {error}") from error
            if len(events) > 1:  # one event that is too large fails the whole call
                for event in events:
                    yield from self.send(job, [event])
                return
            answers = [{"ErrorCode": "Refused", "ErrorMessage": str(error)}]
        except BotoCoreError as error:
            raise TargetUnavailable(f"EventBridge: {error}") from error
        for event, answer in zip(events, answers, strict=True):
            code = answer.get("ErrorCode")
            if code in _PASSING:
                raise TargetUnavailable(f"EventBridge: {code}: {answer.get('ErrorMessage')}")
            reason = f"{event.source}/{event.id}: EventBridge: {code}: {answer.get('ErrorMessage')}"
            yield Replayed("failed", reason) if code else SENT

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def entry(self, job: int, event: Event) -> dict[str, Any]:
        """The entry of PutEvents for an event."""
        return {
            "EventBusName": self._bus,
            "Source": event.producer.rsplit("/", 2)[0] or "helios",
            "DetailType": event.type,
            "Detail": bytes(event.data).decode(),
            "Time": event.time,
            "Resources": [*_resources(event), mark(job, event)],
        }


def _resources(event: Event) -> list[str]:
    """The resources of an event of EventBridge: the only one as it is, or several as a JSON array."""
    text = event.attributes.get("resources", "") if event.source == "aws" else ""
    try:
        return _texts.decode(text)
    except msgspec.DecodeError:
        return [text] if text else []

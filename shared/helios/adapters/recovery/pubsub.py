"""Finds events in Google Cloud Pub/Sub: the retained messages of a topic, and a dead-letter subscription.

Imported only where such a place is searched.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from helios.errors import Rejected, TargetUnavailable
from helios.model.events import Delivery
from helios.model.recoveries import PlaceSearch
from helios.normalise.pubsub import MESSAGE_PUBLISHED
from helios.ports.recoveries import Wanted

FORWARDING: Final = "CloudPubSubDeadLetterSource"
"""How the attributes begin that Pub/Sub adds to a dead letter: its "Handle message failures"."""

PUBLISH_TIME: Final = f"{FORWARDING}TopicPublishTime"
"""The attribute with the time at which the dead letter was first published."""

BATCH: Final = 100
CALL_SECONDS: Final = 10.0
SEARCH_SECONDS: Final = 5.0
"""How long one call of ``search`` pulls; the next one continues."""

PULL_SECONDS: Final = 3.0
"""How long one pull waits for a message."""

QUIET_SECONDS: Final = 60.0
"""A side subscription is empty after this time without a message of the period: a seek is eventually consistent, and
messages that a process had pulled when it died return after ACK_SECONDS."""

EARLIER: Final = timedelta(hours=1)
"""How far before the period a search begins, to see whether the topic has a message that is older than the period. The
configured retention does not prove that it has all later ones: it may have been turned on or raised since."""

ACK_SECONDS: Final = 10
"""The shortest deadline that a subscription can have."""

EXPIRY: Final = Duration(seconds=24 * 3600)
"""Pub/Sub itself removes a side subscription that nobody has used for so long: the shortest time that it accepts."""

MAX_FILTER_BYTES: Final = 256
"""Pub/Sub documentation, "Filter messages from a subscription"."""

_FORBIDDEN = (
    exceptions.InvalidArgument,
    exceptions.NotFound,
    exceptions.PermissionDenied,
    exceptions.Unauthenticated,
    exceptions.FailedPrecondition,
)
"""Errors that another attempt does not fix."""


class _Subscriber:
    """Pulls from subscriptions of a project."""

    source = "gcp"

    def __init__(self) -> None:
        with _translated():
            self._client: Any = pubsub_v1.SubscriberClient()

    def pull(self, subscription: str) -> list[Any]:
        """The next messages; none if none arrives within PULL_SECONDS."""
        try:
            answer = self._client.pull(subscription=subscription, max_messages=BATCH, timeout=PULL_SECONDS, retry=None)
        except exceptions.DeadlineExceeded:
            return []
        return list(answer.received_messages)


class TopicPlace(_Subscriber):
    """Implements ``Place``: the messages that a topic retains, through a side subscription of its own.

    The subscription has the name of the recovery, begins at the time from which the event may have been published, and
    is deleted when the search is over. No other subscription is sought, pulled or acknowledged.
    """

    def __init__(self, topic: str, *, name: str, quiet_seconds: float = QUIET_SECONDS) -> None:
        """Build the clients.

        Args:
            topic: ``projects/PROJECT/topics/TOPIC``.
            name: the name of the place.
            quiet_seconds: after this time without a message the search is over.

        Raises:
            Rejected: the library finds no credentials.
        """
        super().__init__()
        self.name = name
        self._topic = topic
        self._project = "/".join(topic.split("/")[:2])
        with _translated():
            self._publisher: Any = pubsub_v1.PublisherClient()
        self._quiet_seconds = quiet_seconds
        self._quiet_since: dict[str, float] = {}
        self._is_whole: dict[str, bool] = {}  # whether a search has seen a message that is older than its period

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Pull the messages of the period, and keep those that are wanted."""
        subscription = f"{self._project}/subscriptions/{wanted.name}"
        with _translated():
            retention = self._retention()
            if not retention:
                detail = "retains no messages: set the topic's message_retention_duration."
                return PlaceSearch(place=self.name, detail=detail)
            if wanted.name not in self._quiet_since:
                self._subscribe(subscription, wanted)
            found = self._pull_all(subscription, wanted)
            is_over = (found > 0 and not wanted.leg.many) or self._is_quiet(wanted.name)
            covers = self._is_whole[wanted.name] and datetime.now(UTC) - wanted.since <= retention
            if is_over:
                self._drop(subscription)
        return PlaceSearch(
            place=self.name,
            is_over=is_over,
            found=found,
            is_complete=is_over and covers,
            detail=_outcome(found, covers=covers),
        )

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:
        """Delete the side subscriptions of this topic that no running recovery uses."""
        with _translated():
            ours = f"{self._project}/subscriptions/{prefix}"
            unused = [
                subscription
                for subscription in self._publisher.list_topic_subscriptions(topic=self._topic, timeout=CALL_SECONDS)
                if subscription.startswith(ours) and subscription.rpartition("/")[2] not in names
            ]
            for subscription in unused:
                self._drop(subscription)
        return len(unused)

    def _retention(self) -> timedelta:
        topic = self._publisher.get_topic(topic=self._topic, timeout=CALL_SECONDS)
        return timedelta(seconds=topic.message_retention_duration.total_seconds())

    def _subscribe(self, subscription: str, wanted: Wanted) -> None:
        """Make the side subscription, and seek it. One that a dead process has left may not have been sought."""
        self._drop(subscription)
        self._client.create_subscription(
            request={
                "name": subscription,
                "topic": self._topic,
                "ack_deadline_seconds": ACK_SECONDS,
                "expiration_policy": {"ttl": EXPIRY},
                "filter": filter_of(wanted.leg.type),
            },
            timeout=CALL_SECONDS,
        )
        since = Timestamp()
        since.FromDatetime(wanted.since - EARLIER)
        self._client.seek(request={"subscription": subscription, "time": since}, timeout=CALL_SECONDS)
        self._quiet_since[wanted.name] = time.monotonic()
        self._is_whole[wanted.name] = False

    def _is_quiet(self, name: str) -> bool:
        return time.monotonic() - self._quiet_since[name] >= self._quiet_seconds

    def _pull_all(self, subscription: str, wanted: Wanted) -> int:
        found = 0
        deadline = time.monotonic() + SEARCH_SECONDS
        while time.monotonic() < deadline and not self._is_quiet(wanted.name):
            received = self.pull(subscription)
            if not received:
                continue
            oldest = min(item.message.publish_time for item in received)
            if oldest <= wanted.until:  # a busy topic is never without newer messages
                self._quiet_since[wanted.name] = time.monotonic()
            self._is_whole[wanted.name] |= oldest < wanted.since
            found += wanted.take([pushed(item.message, subscription) for item in received]).new
            ack_ids = [item.ack_id for item in received]
            self._client.acknowledge(subscription=subscription, ack_ids=ack_ids, timeout=CALL_SECONDS)
            if found and not wanted.leg.many:
                break
        return found

    def _drop(self, subscription: str) -> None:
        with suppress(exceptions.NotFound):
            self._client.delete_subscription(subscription=subscription, timeout=CALL_SECONDS)
        name = subscription.rpartition("/")[2]
        self._quiet_since.pop(name, None)
        self._is_whole.pop(name, None)


class DeadLettersPlace(_Subscriber):
    """Implements ``Place``: the subscription of a dead-letter topic. The messages of other events stay in it."""

    def __init__(self, subscription: str, *, name: str) -> None:
        """Build the client.

        Args:
            subscription: ``projects/PROJECT/subscriptions/SUBSCRIPTION``.
            name: the name of the place.

        Raises:
            Rejected: the library finds no credentials.
        """
        super().__init__()
        self.name = name
        self._subscription = subscription

    def search(self, wanted: Wanted) -> PlaceSearch:
        """Pull the dead letters, acknowledge those that are wanted, and release the others."""
        found, others = 0, []
        with _translated():
            try:
                deadline = time.monotonic() + SEARCH_SECONDS
                while time.monotonic() < deadline and (received := self.pull(self._subscription)):
                    deliveries = [pushed(item.message, self._subscription) for item in received]
                    taken = wanted.take(deliveries)
                    matches = list(zip(received, taken.matches, strict=True))
                    mine = [item.ack_id for item, is_match in matches if is_match]
                    others += [item.ack_id for item, is_match in matches if not is_match]
                    if mine:
                        self._client.acknowledge(subscription=self._subscription, ack_ids=mine, timeout=CALL_SECONDS)
                    found += taken.new
                    if found and not wanted.leg.many:
                        break
            finally:
                self._release(others)
        return PlaceSearch(place=self.name, found=found, detail=_outcome(found, covers=False))

    def drop_except(self, names: Collection[str], *, prefix: str) -> int:  # noqa: ARG002 - nothing is created
        """Nothing is created here."""
        return 0

    def _release(self, ack_ids: Sequence[str]) -> None:
        for begin in range(0, len(ack_ids), BATCH):
            self._client.modify_ack_deadline(
                subscription=self._subscription,
                ack_ids=ack_ids[begin : begin + BATCH],
                ack_deadline_seconds=0,
                timeout=CALL_SECONDS,
            )


def filter_of(type_: str) -> str:
    """The filter of a side subscription for events of a type; empty if a filter could miss one.

    A message with a content type may be a CloudEvent in structured mode, which names its type in its data only.
    """
    if type_ == MESSAGE_PUBLISHED or not type_.isprintable() or '"' in type_ or "\\" in type_:
        return ""
    names = ('"ce-type"', "event_type", "eventType", "eventtype")
    parts = [f'attributes.{name} = "{type_}"' for name in names]
    parts += ['attributes:"content-type"', 'attributes:"Content-Type"']
    text = " OR ".join(parts)
    return text if len(text.encode()) <= MAX_FILTER_BYTES else ""


def pushed(message: Any, subscription: str) -> Delivery:
    """A pulled message as a push subscription delivers it, so that Helios reads the same event from it.

    A dead letter becomes the message that it was: without what Pub/Sub has added, and with its first publication.
    """
    content = {
        "attributes": without_forwarding(message.attributes),
        "messageId": message.message_id,
        "publishTime": message.attributes.get(PUBLISH_TIME) or message.publish_time.rfc3339(),
    }
    if message.data:
        content["data"] = message.data  # msgspec writes bytes as Base64
    if message.ordering_key:
        content["orderingKey"] = message.ordering_key
    body = msgspec.json.encode({"message": content, "subscription": subscription})
    return Delivery(channel="pubsub", body=body, received_at=datetime.now(UTC))


def without_forwarding(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a message without those that Pub/Sub adds to a dead letter."""
    return {name: value for name, value in attributes.items() if not name.startswith(FORWARDING)}


def _outcome(found: int, *, covers: bool) -> str:
    if found:
        return f"{found} found." if found > 1 else "found."
    return "does not have the event." if covers else "does not have the event, and need not have had it."


@contextmanager
def _translated() -> Iterator[None]:
    """Google's errors as those of ``Place``."""
    try:
        yield
    except _FORBIDDEN as error:
        raise Rejected(f"refuses: {error}", field="Pub/Sub") from error
    except GoogleAuthError as error:
        raise Rejected(f"has no valid credentials: {error}", field="Pub/Sub") from error
    except exceptions.GoogleAPIError as error:
        raise TargetUnavailable(f"Pub/Sub: {error}") from error

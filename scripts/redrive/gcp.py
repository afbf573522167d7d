"""Publishes the messages of Pub/Sub's dead-letter subscription again, with the identity that they had.

A published message gets a new id and a new time from Pub/Sub. Helios reads both from a message unless the attributes
``ce-id``, ``ce-source`` and ``ce-time`` state them (``helios.normalise.pubsub``), so these attributes are added where
they are missing. Google does not document whether Pub/Sub keeps a message's id when it forwards the message to the
dead-letter topic. If it does not, a message that was stored, but never acknowledged, becomes a second event, unless its
publisher set ``ce-id``.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PubsubMessage

from helios.adapters.recovery.pubsub import PUBLISH_TIME, without_forwarding
from helios.errors import ConfigurationError, Retryable

SUBSCRIPTION: Final = "helios-dead-letters"
TOPIC: Final = "helios-events"

BATCH: Final = 100
PULL_SECONDS: Final = 10
"""How long to wait for a message before the subscription counts as empty."""
PUBLISH_SECONDS: Final = 60


def run(*, project: str, subscription: str, topic: str) -> int:
    """Publish the messages of a subscription to a topic of the project, and return their number.

    Raises:
        ConfigurationError: credentials are missing.
        Retryable: a call failed. Messages that were published before stay published.
    """
    try:
        with pubsub_v1.SubscriberClient() as subscriber, pubsub_v1.PublisherClient() as publisher:
            return redrive(
                subscriber,
                publisher,
                subscriber.subscription_path(project, subscription),
                publisher.topic_path(project, topic),
            )
    except DefaultCredentialsError as error:
        raise ConfigurationError("gcp: no credentials. Run `gcloud auth login --update-adc`.") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise Retryable(f"gcp: {error}") from error


def redrive(subscriber: Any, publisher: Any, subscription: str, topic: str) -> int:
    """Publish every message that can be pulled; each is acknowledged only after the topic accepted its copy.

    Args:
        subscriber: Google's client.
        publisher: Google's client.
        subscription: the full name of the dead-letter subscription.
        topic: the full name of the topic.

    Returns:
        The number of published messages.
    """
    project = "/".join(topic.split("/")[:2])
    published = 0
    while received := _pull(subscriber, subscription):
        messages = [again(item.message, project=project) for item in received]
        # Not the client's own publish(), whose keyword arguments can't carry an attribute called "data" or "topic".
        PublisherClient.publish(publisher, topic=topic, messages=messages, retry=None, timeout=PUBLISH_SECONDS)
        subscriber.acknowledge(subscription=subscription, ack_ids=[item.ack_id for item in received])
        published += len(received)
    return published


def again(dead_letter: PubsubMessage, *, project: str) -> PubsubMessage:
    """The message to publish: Helios reads from it the event that it would have read from the dead letter.

    Args:
        dead_letter: a message of the dead-letter subscription.
        project: the project of the topic, ``projects/ID``.
    """
    original = without_forwarding(dead_letter.attributes)
    added = _identity(dead_letter, original, project)
    return PubsubMessage(
        # The attributes of a message without data are its content, which the added attributes must not change.
        data=dead_letter.data or (msgspec.json.encode(original, order="sorted") if added else b""),
        attributes={**original, **added},
        ordering_key=dead_letter.ordering_key,
    )


def _identity(dead_letter: PubsubMessage, attributes: Mapping[str, str], project: str) -> dict[str, str]:
    """The attributes that state the identity and the time of the first publication, where they are missing."""
    added = {}
    if not attributes.get("ce-id"):
        added = {"ce-id": dead_letter.message_id, "ce-source": f"//pubsub.googleapis.com/{project}"}
    if not attributes.get("ce-time"):
        published = dead_letter.attributes.get(PUBLISH_TIME)
        added["ce-time"] = published or dead_letter.publish_time.rfc3339()
    return added


def _pull(subscriber: Any, subscription: str) -> list[Any]:
    try:
        answer = subscriber.pull(subscription=subscription, max_messages=BATCH, timeout=PULL_SECONDS, retry=None)
    except DeadlineExceeded:
        return []
    return list(answer.received_messages)

"""Set up topics and push subscriptions through Google's own client, on the emulator or on Pub/Sub itself.

``python -m local.emulators.pubsub.client`` does this for the demo; its environment names the emulator.
"""

import argparse
import contextlib
from collections.abc import Sequence
from datetime import timedelta

from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1
from google.pubsub_v1 import types

from local.stack.config import DEAD_LETTERS

EVENTARC_MODE = "__GCP_CloudEventsMode=CUSTOM_PUBSUB_projects"
"""The query parameter that Eventarc adds to the URL of a function, so that Pub/Sub delivers CloudEvents."""

MAX_DELIVERY_ATTEMPTS = 5
MINIMUM_BACKOFF, MAXIMUM_BACKOFF = timedelta(seconds=1), timedelta(seconds=60)


def ensure(
    *,
    project: str,
    topic: str,
    subscription: str,
    push_endpoint: str,
    service_account: str,
    audience: str | None = None,
    dead_letter_topic: str | None = None,
    max_delivery_attempts: int = MAX_DELIVERY_ATTEMPTS,
    minimum_backoff: timedelta = MINIMUM_BACKOFF,
) -> None:
    """Create or update a topic with one push subscription; a second call with the same arguments changes nothing.

    Args:
        project: the project id.
        topic: the topic's short name.
        subscription: the subscription's short name.
        push_endpoint: the URL to deliver to.
        service_account: the service account in the tokens.
        audience: the audience of the tokens; None for the endpoint's URL.
        dead_letter_topic: the topic for messages that failed ``max_delivery_attempts`` times; a pull subscription of
            the same name stores them. None retries without a limit.
        max_delivery_attempts: 5 to 100.
        minimum_backoff: the wait after the first failure.
    """
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        for name in filter(None, (topic, dead_letter_topic)):
            with contextlib.suppress(AlreadyExists):  # from an earlier run
                publisher.create_topic(name=publisher.topic_path(project, name))
        desired = types.Subscription(
            name=subscriber.subscription_path(project, subscription),
            topic=publisher.topic_path(project, topic),
            push_config=types.PushConfig(
                push_endpoint=push_endpoint,
                oidc_token=types.PushConfig.OidcToken(
                    service_account_email=service_account, audience=audience or push_endpoint
                ),
            ),
            retry_policy=types.RetryPolicy(minimum_backoff=minimum_backoff, maximum_backoff=MAXIMUM_BACKOFF),
        )
        if dead_letter_topic:
            desired.dead_letter_policy = types.DeadLetterPolicy(
                dead_letter_topic=publisher.topic_path(project, dead_letter_topic),
                max_delivery_attempts=max_delivery_attempts,
            )
            with contextlib.suppress(AlreadyExists):  # a topic without a subscription stores no messages
                subscriber.create_subscription(
                    name=subscriber.subscription_path(project, dead_letter_topic),
                    topic=publisher.topic_path(project, dead_letter_topic),
                )
        try:
            subscriber.create_subscription(request=desired)
        except AlreadyExists:
            mask = {"paths": ["push_config", "retry_policy", "dead_letter_policy"]}
            subscriber.update_subscription(request={"subscription": desired, "update_mask": mask})


def main(arguments: Sequence[str] | None = None) -> None:
    """Set up one topic and its push subscription in CloudEvents form, as Eventarc does for a Cloud Function."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators.pubsub.client", description=__doc__)
    parser.add_argument("--project", required=True, help="the project id")
    parser.add_argument("--topic", required=True, help="the topic's short name")
    parser.add_argument("--function-url", required=True, help="URL of the Cloud Function")
    parser.add_argument("--service-account", required=True, help="the service account that may invoke the function")
    options = parser.parse_args(arguments)
    ensure(
        project=options.project,
        topic=options.topic,
        subscription=f"{options.topic}-function",
        push_endpoint=f"{options.function_url}?{EVENTARC_MODE}",
        service_account=options.service_account,
        audience=options.function_url,
        dead_letter_topic=f"{options.topic}{DEAD_LETTERS}",
    )


if __name__ == "__main__":
    main()

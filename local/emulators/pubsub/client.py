"""Set the emulator up, or Pub/Sub itself, through Google's own client: what a deployer needs.

``python -m local.emulators.pubsub.client`` does it for the demo, with what its environment says.
"""

import argparse
import contextlib
from collections.abc import Sequence
from datetime import timedelta

from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1
from google.pubsub_v1 import types

EVENTARC_MODE = "__GCP_CloudEventsMode=CUSTOM_PUBSUB_projects"
"""What Eventarc adds to the URL of a function, so that Pub/Sub delivers CloudEvents."""

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
    """Make a topic with one push subscription exist just so; doing it again changes nothing.

    Args:
        project: the project id.
        topic: the topic's short name.
        subscription: the subscription's short name.
        push_endpoint: where to deliver.
        service_account: in whose name the tokens are.
        audience: for whom they are; None: for the endpoint.
        dead_letter_topic: where to put what was delivered so often in vain, with a pull subscription of the same
            name, which keeps it; None: deliver for ever.
        max_delivery_attempts: 5 to 100.
        minimum_backoff: wait after the first failure.
    """
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        for name in filter(None, (topic, dead_letter_topic)):
            with contextlib.suppress(AlreadyExists):  # from an earlier run
                publisher.create_topic(name=publisher.topic_path(project, name))
        wanted = types.Subscription(
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
            wanted.dead_letter_policy = types.DeadLetterPolicy(
                dead_letter_topic=publisher.topic_path(project, dead_letter_topic),
                max_delivery_attempts=max_delivery_attempts,
            )
            with contextlib.suppress(AlreadyExists):  # a topic without a subscription keeps nothing
                subscriber.create_subscription(
                    name=subscriber.subscription_path(project, dead_letter_topic),
                    topic=publisher.topic_path(project, dead_letter_topic),
                )
        try:
            subscriber.create_subscription(request=wanted)
        except AlreadyExists:
            mask = {"paths": ["push_config", "retry_policy", "dead_letter_policy"]}
            subscriber.update_subscription(request={"subscription": wanted, "update_mask": mask})


def main(arguments: Sequence[str] | None = None) -> None:
    """Set up one topic and its push subscription in CloudEvents form, as Eventarc does for a Cloud Function."""
    parser = argparse.ArgumentParser(prog="python -m local.emulators.pubsub.client", description=__doc__)
    parser.add_argument("--project", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--function-url", required=True, help="where the Cloud Function listens")
    parser.add_argument("--service-account", required=True, help="who may invoke the function")
    given = parser.parse_args(arguments)
    ensure(
        project=given.project,
        topic=given.topic,
        subscription=f"{given.topic}-function",
        push_endpoint=f"{given.function_url}?{EVENTARC_MODE}",
        service_account=given.service_account,
        audience=given.function_url,
        dead_letter_topic=f"{given.topic}-dead-letters",
    )


if __name__ == "__main__":
    main()

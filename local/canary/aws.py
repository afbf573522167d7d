"""An event bus whose events reach the API through an API destination with an API key, or through SNS."""

import contextlib
import json
import os
import threading
from typing import Any, Literal

from local.aws import resources
from local.stack.config import AWS_ACCOUNT, CANARY, CANARY_TOPIC_ARN

_CONFIRM_SECONDS = 20

Route = Literal["key", "sns"]
"""The two routes of the bus; an event's source selects its route."""


class Bus:
    """The bus with its rules; the caller closes it."""

    def __init__(self, endpoint: str) -> None:
        """Connect to AWS at this endpoint."""
        self._events = resources.client("events", endpoint)
        self._sns = resources.client("sns", endpoint)
        self._confirmed = threading.Event()

    def close(self) -> None:
        """Close the connections."""
        self._events.close()
        self._sns.close()

    def confirm(self, topic_arn: str, token: str) -> None:
        """Confirm a subscription, as its owner does once for an endpoint that does not open the confirmation URL."""
        self._sns.confirm_subscription(TopicArn=topic_arn, Token=token)
        self._confirmed.set()

    def set_up(self, *, webhook_url: str, sns_endpoint_url: str) -> None:
        """Create both routes, or leave existing ones unchanged.

        Args:
            webhook_url: the URL that the API destination posts to.
            sns_endpoint_url: the URL that SNS posts to; its server must run already, and calls ``confirm``.

        Raises:
            TimeoutError: SNS did not ask the endpoint to confirm the subscription.
        """
        with contextlib.suppress(self._events.exceptions.ResourceAlreadyExistsException):  # from an earlier start
            self._events.create_event_bus(Name=CANARY)
        self._route("key", self._destination(webhook_url), RoleArn=f"arn:aws:iam::{AWS_ACCOUNT}:role/{CANARY}")
        # Recreated, so that SNS asks again when an earlier endpoint died before it confirmed.
        self._sns.delete_topic(TopicArn=CANARY_TOPIC_ARN)
        topic = self._sns.create_topic(Name=CANARY)["TopicArn"]
        self._sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=sns_endpoint_url)
        self._route("sns", topic)
        if not self._confirmed.wait(_CONFIRM_SECONDS):
            raise TimeoutError(f"SNS did not ask {sns_endpoint_url} to confirm its subscription")

    def put(self, route: Route, type_: str, detail: dict[str, str]) -> str:
        """Put an event for this route on the bus, and return the id that EventBridge assigned."""
        entry = {
            "EventBusName": CANARY,
            "Source": _source(route),
            "DetailType": type_,
            "Detail": json.dumps(detail),
        }
        id_: str = self._events.put_events(Entries=[entry])["Entries"][0]["EventId"]
        return id_

    def _destination(self, url: str) -> str:
        already_exists = self._events.exceptions.ResourceAlreadyExistsException
        key = {"ApiKeyName": "x-helios-key", "ApiKeyValue": os.environ["HELIOS_EVENTBRIDGE_SECRET"]}
        with contextlib.suppress(already_exists):
            self._events.create_connection(
                Name=CANARY, AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
            )
        connection = self._events.describe_connection(Name=CANARY)["ConnectionArn"]
        with contextlib.suppress(already_exists):
            self._events.create_api_destination(
                Name=CANARY, ConnectionArn=connection, InvocationEndpoint=url, HttpMethod="POST"
            )
        arn: str = self._events.describe_api_destination(Name=CANARY)["ApiDestinationArn"]
        return arn

    def _route(self, route: Route, target: str, **properties: Any) -> None:
        pattern = json.dumps({"source": [_source(route)]})
        self._events.put_rule(Name=route, EventBusName=CANARY, EventPattern=pattern)
        self._events.put_targets(Rule=route, EventBusName=CANARY, Targets=[{"Id": route, "Arn": target, **properties}])


def _source(route: Route) -> str:
    return f"{CANARY}.{route}"

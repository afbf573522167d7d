"""A bus whose events go to the API by an API destination with its key, or through SNS."""

import contextlib
import json
import threading
from typing import Any, Literal

from local.aws import resources
from local.stack.config import AWS_ACCOUNT, CANARY, CANARY_TOPIC_ARN, WEBHOOK_AUTH

_CONFIRM_SECONDS = 20

Route = Literal["key", "sns"]
"""Which of the two ways an event takes: by its source."""


class Bus:
    """The bus with its rules; to be closed."""

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
        """Consent to a subscription, as its owner does once for an endpoint that opens no URL by itself."""
        self._sns.confirm_subscription(TopicArn=topic_arn, Token=token)
        self._confirmed.set()

    def set_up(self, *, webhook_url: str, sns_endpoint_url: str) -> None:
        """Make both ways, or leave them as they are.

        Args:
            webhook_url: where the API destination posts to.
            sns_endpoint_url: where SNS posts to; it has to answer already, and has ``confirm`` called.

        Raises:
            TimeoutError: SNS has not asked the endpoint for its consent.
        """
        with contextlib.suppress(self._events.exceptions.ResourceAlreadyExistsException):  # from an earlier start
            self._events.create_event_bus(Name=CANARY)
        self._route("key", self._destination(webhook_url), RoleArn=f"arn:aws:iam::{AWS_ACCOUNT}:role/{CANARY}")
        # Made anew, so that an endpoint which died before it consented is asked again.
        self._sns.delete_topic(TopicArn=CANARY_TOPIC_ARN)
        topic = self._sns.create_topic(Name=CANARY)["TopicArn"]
        self._sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=sns_endpoint_url)
        self._route("sns", topic)
        if not self._confirmed.wait(_CONFIRM_SECONDS):
            raise TimeoutError(f"SNS has not asked {sns_endpoint_url} for its consent")

    def put(self, route: Route, type_: str, detail: dict[str, str]) -> str:
        """Put an event on the bus that takes this way; the id that EventBridge gave it."""
        entry = {
            "EventBusName": CANARY,
            "Source": _source(route),
            "DetailType": type_,
            "Detail": json.dumps(detail),
        }
        id_: str = self._events.put_events(Entries=[entry])["Entries"][0]["EventId"]
        return id_

    def _destination(self, url: str) -> str:
        exists = self._events.exceptions.ResourceAlreadyExistsException
        key = {"ApiKeyName": "x-helios-key", "ApiKeyValue": WEBHOOK_AUTH["HELIOS_EVENTBRIDGE_SECRET"]}
        with contextlib.suppress(exists):
            self._events.create_connection(
                Name=CANARY, AuthorizationType="API_KEY", AuthParameters={"ApiKeyAuthParameters": key}
            )
        connection = self._events.describe_connection(Name=CANARY)["ConnectionArn"]
        with contextlib.suppress(exists):
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

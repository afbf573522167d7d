"""Deploys Helios to an emulated AWS, as infra/terraform/aws does to the real one; existing resources are updated.

The function for replay jobs is not deployed: the demo's API runs replay jobs, and supports more targets.

    bus -> rule -> queue -> ingest function --notify--> queue -> relay function -> WebSocket API -> clients
                            HTTP API -> api function --notify--^       ^-- schedule --> sweep function

To add a function, add a row to ``FUNCTIONS``; to add a resource, create it in ``deploy``.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from helios import settings
from local.aws import resources
from local.aws.resources import Clients, Queue
from local.stack.config import (
    API_FUNCTION,
    ARCHIVE,
    AWS_ACCOUNT,
    BUS,
    DEAD_LETTER_QUEUE,
    HTTP_API,
    INGEST_FUNCTION,
    QUEUE,
    RELAY_FUNCTION,
    RELAY_QUEUE,
    SCHEDULE,
    SWEEP_FUNCTION,
    WEBSOCKET_API,
    WEBSOCKET_FUNCTION,
    WEBSOCKET_STAGE,
)
from scripts.build.package import NATIVE

FUNCTION_TIMEOUT_SECONDS: Final = 10
STATEMENT_SECONDS: Final = FUNCTION_TIMEOUT_SECONDS - 2
"""A function reports a slow statement of Postgres before Lambda ends the call."""
BATCH_SIZE: Final = 500
BATCH_WINDOW_SECONDS: Final = 1
"""AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": batches of more than 10 need a window."""
VISIBILITY_SECONDS: Final = 6 * FUNCTION_TIMEOUT_SECONDS + BATCH_WINDOW_SECONDS
"""The same guide: at least six times the function's timeout, and the batching window."""
MAX_RECEIVES: Final = 720
"""Twelve hours at VISIBILITY_SECONDS each: an outage of the database may last that long."""
MAX_CONCURRENCY: Final = 2
"""The minimum of SQS mappings; more functions compete for the cores of one machine: five cold starts took 7 s."""
NOTIFY_BATCH_SIZE: Final = 10
"""Waiting notifications are handled together, as all of them request the same work."""
NOTIFY_RETENTION_SECONDS: Final = 5 * 60
"""An old notification is useless: the scheduled run has relayed the frames since."""
MOST_RETENTION_SECONDS: Final = 14 * 24 * 60 * 60
"""Amazon SQS Developer Guide, "Amazon SQS message quotas"."""

# ministack takes the id of an API, 8 hex digits, from a tag, so that its URL is the same after every start.
_HTTP_API_ID: Final = "4e110505"
_WEBSOCKET_API_ID: Final = "4e110506"


class Function(NamedTuple):
    """One Lambda function.

    Attributes:
        name: its name on AWS.
        package: its name in ``scripts.build.package``.
        memory: its memory in MB.
        settings: the settings of Helios that this function needs and others don't; see ``_own_environment``.
        timeout: the longest time of a call, in seconds.
    """

    name: str
    package: str
    memory: int
    settings: tuple[str, ...] = ()
    timeout: int = FUNCTION_TIMEOUT_SECONDS


FUNCTIONS: Final = (
    Function(INGEST_FUNCTION, "aws-ingest", 1769, ("relay_queue_url",)),
    Function(API_FUNCTION, "aws-api", 512, ("relay_queue_url",)),
    Function(WEBSOCKET_FUNCTION, "aws-websocket", 256, ("websocket_endpoint",)),
    Function(
        RELAY_FUNCTION,
        "aws-relay",
        1769,
        ("websocket_endpoint", "relay_queue_url"),
        timeout=3 * FUNCTION_TIMEOUT_SECONDS,
    ),
    Function(SWEEP_FUNCTION, "aws-sweep", 256, ("relay_queue_url",), timeout=3 * FUNCTION_TIMEOUT_SECONDS),
)


class Deployed(NamedTuple):
    """The names and URLs of a deployment.

    Attributes:
        endpoint: the endpoint of every AWS service.
        bus: the name of the event bus.
        queue_url: the queue between the bus and the ingest function.
        dead_letter_queue_url: the queue for messages that were received MAX_RECEIVES times.
        relay_queue_url: the value of ``relay_queue_url()``.
        api_url: the value of ``api_url()``.
        websocket_url: the value of ``websocket_url()``.
    """

    endpoint: str
    bus: str
    queue_url: str
    dead_letter_queue_url: str
    relay_queue_url: str
    api_url: str
    websocket_url: str


def api_url(endpoint: str) -> str:
    """The URL of Helios' API behind the HTTP API, without a trailing slash."""
    return f"{endpoint}/_aws/execute-api/{_HTTP_API_ID}/$default"


def websocket_url(endpoint: str) -> str:
    """The URL of the live stream behind the WebSocket API, for clients."""
    return f"{_websocket_endpoint(endpoint)}".replace("http", "ws", 1)


def relay_queue_url(endpoint: str) -> str:
    """The URL of the queue that notifies the relay; valid before the queue is created."""
    return f"{endpoint}/{AWS_ACCOUNT}/{RELAY_QUEUE}"


def dead_letter_queue_url(endpoint: str) -> str:
    """The URL of the dead-letter queue of events."""
    return f"{endpoint}/{AWS_ACCOUNT}/{DEAD_LETTER_QUEUE}"


def _websocket_endpoint(endpoint: str) -> str:
    """The URL of the same stage for functions that post to connections."""
    return f"{endpoint}/_aws/execute-api/{_WEBSOCKET_API_ID}/{WEBSOCKET_STAGE}"


def deploy(
    endpoint: str,
    packages: Mapping[str, Path],
    environment: Mapping[str, str],
    *,
    visibility_seconds: int = VISIBILITY_SECONDS,
    undeliverable: str = "",
) -> Deployed:
    """Create or update every resource, and return their names and URLs.

    Args:
        endpoint: the URL of the emulator, ``http://127.0.0.1:4566``.
        packages: the zip file of each package in ``FUNCTIONS``.
        environment: the variables of all functions.
        visibility_seconds: how long SQS waits before it redelivers an unacknowledged message.
        undeliverable: the bus does not send events to Helios whose detail has this field; empty: it sends all.
    """
    with Clients(endpoint) as clients:
        queue, dead_letter_queue, relay_queue = _queues(clients, visibility_seconds)
        resources.route_bus(
            clients, BUS, queue, rule=QUEUE, dead_letters=dead_letter_queue, undeliverable=undeliverable
        )
        resources.archive(clients, ARCHIVE, BUS)
        for function in FUNCTIONS:
            resources.function(
                clients,
                function.name,
                packages[function.package],
                {**environment, **_own_environment(function, endpoint)},
                memory=function.memory,
                timeout=function.timeout,
            )
        _map_queues(clients, queue, relay_queue)
        resources.schedule(clients, SCHEDULE, "rate(1 minute)", (RELAY_FUNCTION, SWEEP_FUNCTION))
        resources.http_api(clients, HTTP_API, _HTTP_API_ID, API_FUNCTION)
        resources.websocket_api(clients, WEBSOCKET_API, _WEBSOCKET_API_ID, WEBSOCKET_FUNCTION, stage=WEBSOCKET_STAGE)
    return Deployed(
        endpoint=endpoint,
        bus=BUS,
        queue_url=queue.url,
        dead_letter_queue_url=dead_letter_queue.url,
        relay_queue_url=relay_queue.url,
        api_url=api_url(endpoint),
        websocket_url=websocket_url(endpoint),
    )


def _own_environment(function: Function, endpoint: str) -> dict[str, str]:
    """The variables of this function beside the common ones."""
    addresses = {"relay_queue_url": relay_queue_url(endpoint), "websocket_endpoint": _websocket_endpoint(endpoint)}
    own = {settings.variable(field): addresses[field] for field in function.settings}
    return own | {settings.variable("database_timeout_seconds"): str(STATEMENT_SECONDS)}


def _queues(clients: Clients, visibility_seconds: int) -> tuple[Queue, Queue, Queue]:
    """The queue of events, its dead-letter queue, and the queue that notifies the relay."""
    dead_letters = resources.queue(clients, DEAD_LETTER_QUEUE, {"MessageRetentionPeriod": str(MOST_RETENTION_SECONDS)})
    redrive = {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": MAX_RECEIVES}
    visibility = {"VisibilityTimeout": str(visibility_seconds)}
    events = resources.queue(clients, QUEUE, visibility | {"RedrivePolicy": json.dumps(redrive)})
    retention = {"MessageRetentionPeriod": str(NOTIFY_RETENTION_SECONDS)}
    return events, dead_letters, resources.queue(clients, RELAY_QUEUE, visibility | retention)


def _map_queues(clients: Clients, queue: Queue, relay_queue: Queue) -> None:
    """Map events to the ingest function, with partial batch failures, and notifications to the relay function."""
    common = {"ScalingConfig": {"MaximumConcurrency": MAX_CONCURRENCY}, "Enabled": True}
    events = {
        "BatchSize": BATCH_SIZE,
        "MaximumBatchingWindowInSeconds": BATCH_WINDOW_SECONDS,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    resources.mapping(clients, queue, INGEST_FUNCTION, common | events)
    resources.mapping(clients, relay_queue, RELAY_FUNCTION, common | {"BatchSize": NOTIFY_BATCH_SIZE})


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m local.aws.deployer ENDPOINT``: deploy the built packages with the HELIOS_ variables set here."""
    parser = argparse.ArgumentParser(prog="local.aws.deployer", description=__doc__)
    parser.add_argument("endpoint", metavar="ENDPOINT", help="URL of the emulator: http://127.0.0.1:4566")
    parser.add_argument(
        "--undeliverable", default="", metavar="FIELD", help="do not send events to Helios whose detail has this field"
    )
    options = parser.parse_args(arguments)
    endpoint = options.endpoint
    packages = {function.package: NATIVE / f"{function.package}.zip" for function in FUNCTIONS}
    environment = {name: value for name, value in os.environ.items() if name.startswith(settings.PREFIX)}
    deployed = deploy(endpoint, packages, environment, undeliverable=options.undeliverable)
    for name, value in deployed._asdict().items():
        sys.stdout.write(f"{name}: {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

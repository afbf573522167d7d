"""Puts Helios onto an emulated AWS: bus, rule, queues, functions, mapping and HTTP API, as infra/terraform/aws does.

A second run brings what is there up to date. What is new is one more row of ``FUNCTIONS`` or one more small function
called by ``deploy``.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from localstack_client.session import Session

from helios import settings
from helios.errors import Misconfigured
from local.config import (
    API_FUNCTION,
    AWS_ACCOUNT,
    AWS_REGION,
    BUS,
    DEAD_LETTER_QUEUE,
    HTTP_API,
    INGEST_FUNCTION,
    QUEUE,
)
from scripts.package import NATIVE

FUNCTION_TIMEOUT_SECONDS: Final = 10
VISIBILITY_SECONDS: Final = 6 * FUNCTION_TIMEOUT_SECONDS
"""AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": at least six times the function's timeout."""
MAX_RECEIVES: Final = 5
BATCH_SIZE: Final = 500
BATCH_WINDOW_SECONDS: Final = 1
"""The same guide: batches of more than 10 need a window."""
MAX_CONCURRENCY: Final = 2
"""The least that SQS mappings allow; more wait for the cores of one machine: five cold starts at once took 7 s."""

_KEY: Final = "test"
_PATIENCE: Final = {"Delay": 0.05, "MaxAttempts": 400}
"""How a waiter asks; by default once a second."""
_API_ID: Final = "4e110505"
"""ministack takes an API's id from a tag, 8 hex digits, so that the URL is the same after every start."""


class Function(NamedTuple):
    """One Lambda function.

    Attributes:
        name: on AWS.
        package: as ``scripts.package`` calls it.
        memory: in MB.
    """

    name: str
    package: str
    memory: int


FUNCTIONS: Final = (
    Function(INGEST_FUNCTION, "aws-ingest", 512),
    Function(API_FUNCTION, "aws-api", 512),
)


class Deployed(NamedTuple):
    """Where things are after a deployment.

    Attributes:
        endpoint: of every AWS service.
        bus: the name of the event bus.
        queue_url: the queue between the bus and the ingest function.
        dead_letter_queue_url: where SQS puts what was received MAX_RECEIVES times.
        api_url: as ``api_url()`` tells it.
    """

    endpoint: str
    bus: str
    queue_url: str
    dead_letter_queue_url: str
    api_url: str


def sdk_environment(endpoint: str) -> dict[str, str]:
    """The variables that lead AWS' SDKs to the emulator and to nothing of the developer's own."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": AWS_REGION,
        "AWS_DEFAULT_REGION": AWS_REGION,
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def api_url(endpoint: str) -> str:
    """Helios' API behind the HTTP API, without a trailing slash."""
    return f"{endpoint}/_aws/execute-api/{_API_ID}/$default"


def client(service: str, endpoint: str) -> Any:
    """A boto3 client for this service of the emulator; the caller closes it.

    Raises:
        Misconfigured: the environment leads boto3 elsewhere.
    """
    session = Session(_KEY, _KEY, region_name=AWS_REGION, localstack_host=endpoint.removeprefix("http://"))
    made = session.client(service)
    if made.meta.endpoint_url != endpoint:
        raise Misconfigured(f"AWS_ENDPOINT_URL leads to {made.meta.endpoint_url} instead of {endpoint}: unset it")
    return made


def deploy(
    endpoint: str,
    packages: Mapping[str, Path],
    environment: Mapping[str, str],
    *,
    visibility_seconds: int = VISIBILITY_SECONDS,
) -> Deployed:
    """Create or update everything.

    Args:
        endpoint: the emulator, ``http://127.0.0.1:4566``.
        packages: the zip of each package that ``FUNCTIONS`` names.
        environment: the functions' variables.
        visibility_seconds: how long SQS waits before it delivers again what a function did not acknowledge.
    """
    with _Clients(endpoint) as clients:
        queue, dead_letter_queue = _queues(clients, visibility_seconds)
        _route_bus_to(clients, queue)
        for function in FUNCTIONS:
            _function(clients, function, packages[function.package], environment)
        _map(clients, queue, INGEST_FUNCTION)
        _http_api(clients, API_FUNCTION)
    return Deployed(endpoint, BUS, queue.url, dead_letter_queue.url, api_url(endpoint))


class _Clients:
    """One client per service: making one takes longer than most calls."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = client("sqs", endpoint)
        self.events = client("events", endpoint)
        self.functions = client("lambda", endpoint)
        self.gateway = client("apigatewayv2", endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in vars(self).values():
            one.close()


class _Queue(NamedTuple):
    url: str
    arn: str


def _queues(clients: _Clients, visibility_seconds: int) -> tuple[_Queue, _Queue]:
    """The queue, and where it puts what can't be handled."""
    dead_letter_queue = _queue(
        clients.sqs, DEAD_LETTER_QUEUE, {"MessageRetentionPeriod": "1209600"}
    )  # 14 days, the most
    redrive = {"deadLetterTargetArn": dead_letter_queue.arn, "maxReceiveCount": MAX_RECEIVES}
    attributes = {"VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": json.dumps(redrive)}
    return _queue(clients.sqs, QUEUE, attributes), dead_letter_queue


def _queue(sqs: Any, name: str, attributes: Mapping[str, str]) -> _Queue:
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return _Queue(url, arn)


def _route_bus_to(clients: _Clients, queue: _Queue) -> None:
    """The bus, a rule that matches every event on it, and the leave to put them into the queue."""
    events = clients.events
    with contextlib.suppress(events.exceptions.ResourceAlreadyExistsException):  # from an earlier run
        events.create_event_bus(Name=BUS)
    rule = events.put_rule(Name=QUEUE, EventBusName=BUS, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule=QUEUE, EventBusName=BUS, Targets=[{"Id": QUEUE, "Arn": queue.arn}])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue.arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule["RuleArn"]}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    clients.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": policy})


def _function(clients: _Clients, function: Function, package: Path, environment: Mapping[str, str]) -> None:
    """The function with this code and these variables."""
    functions = clients.functions
    settings = {
        "FunctionName": function.name,
        "Role": f"arn:aws:iam::{AWS_ACCOUNT}:role/{function.name}",  # the emulator asks for no real one
        # The emulator has our interpreter only, and is slow when asked for another.
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Handler": "handler.handler",
        "Timeout": FUNCTION_TIMEOUT_SECONDS,
        "MemorySize": function.memory,
        "Environment": {"Variables": dict(environment)},
    }
    code = package.read_bytes()
    try:
        functions.create_function(**settings, Code={"ZipFile": code})
    except functions.exceptions.ResourceConflictException:
        functions.update_function_configuration(**settings)
        functions.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=_PATIENCE)
        functions.update_function_code(FunctionName=function.name, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig=_PATIENCE)
    else:
        functions.get_waiter("function_active_v2").wait(FunctionName=function.name, WaiterConfig=_PATIENCE)


def _map(clients: _Clients, queue: _Queue, function: str) -> None:
    """Hand the queue's messages to the function, in batches of which it may refuse a part."""
    functions = clients.functions
    settings = {
        "FunctionName": function,
        "BatchSize": BATCH_SIZE,
        "MaximumBatchingWindowInSeconds": BATCH_WINDOW_SECONDS,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": MAX_CONCURRENCY},
        "Enabled": True,
    }
    known = functions.list_event_source_mappings(EventSourceArn=queue.arn, FunctionName=function)["EventSourceMappings"]
    if known:
        functions.update_event_source_mapping(UUID=known[0]["UUID"], **settings)
    else:
        functions.create_event_source_mapping(EventSourceArn=queue.arn, **settings)


def _http_api(clients: _Clients, function: str) -> None:
    """An HTTP API that hands every request to the function."""
    gateway = clients.gateway
    if _API_ID in {api["ApiId"] for api in gateway.get_apis()["Items"]}:
        return
    gateway.create_api(Name=HTTP_API, ProtocolType="HTTP", Tags={"ms-custom-id": _API_ID})
    integration = gateway.create_integration(
        ApiId=_API_ID,
        IntegrationType="AWS_PROXY",
        IntegrationUri=f"arn:aws:lambda:{AWS_REGION}:{AWS_ACCOUNT}:function:{function}",
        PayloadFormatVersion="2.0",
    )
    target = f"integrations/{integration['IntegrationId']}"
    gateway.create_route(ApiId=_API_ID, RouteKey="$default", Target=target)
    gateway.create_stage(ApiId=_API_ID, StageName="$default", AutoDeploy=True)
    clients.functions.add_permission(
        FunctionName=function,
        StatementId=HTTP_API,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:{AWS_REGION}:{AWS_ACCOUNT}:{_API_ID}/*",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m local.aws ENDPOINT``: deploy the packages of this machine, with this process' HELIOS_ variables."""
    parser = argparse.ArgumentParser(prog="local.aws", description=__doc__)
    parser.add_argument("endpoint", metavar="ENDPOINT", help="http://127.0.0.1:4566")
    endpoint = parser.parse_args(arguments).endpoint
    packages = {function.package: NATIVE / f"{function.package}.zip" for function in FUNCTIONS}
    environment = {name: value for name, value in os.environ.items() if name.startswith(settings.PREFIX)}
    for name, value in deploy(endpoint, packages, environment)._asdict().items():
        sys.stdout.write(f"{name}: {value}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

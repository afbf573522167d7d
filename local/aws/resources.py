"""The AWS resources of Helios, one function per kind; each function creates the resource or updates it."""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from localstack_client.session import Session

from helios.errors import ConfigurationError
from local.stack.config import AWS_ACCOUNT, AWS_REGION

_KEY: Final = "test"
_WAITER: Final = {"Delay": 0.05, "MaxAttempts": 400}
"""How often a waiter polls; the default is once a second."""


def sdk_environment(endpoint: str) -> dict[str, str]:
    """The variables that point AWS' SDKs to the emulator, and away from the user's own configuration."""
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


def client(service: str, endpoint: str) -> Any:
    """A boto3 client for this service of the emulator; the caller closes it.

    Raises:
        ConfigurationError: the environment points boto3 to another endpoint.
    """
    session = Session(_KEY, _KEY, region_name=AWS_REGION, localstack_host=endpoint.removeprefix("http://"))
    client = session.client(service)
    if client.meta.endpoint_url != endpoint:
        raise ConfigurationError(f"AWS_ENDPOINT_URL is {client.meta.endpoint_url}, expected {endpoint}. Unset it.")
    return client


class Clients:
    """One client per service: creating one takes longer than most calls."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = client("sqs", endpoint)
        self.events = client("events", endpoint)
        self.functions = client("lambda", endpoint)
        self.gateway = client("apigatewayv2", endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in vars(self).values():
            service.close()


class Queue(NamedTuple):
    """An existing queue."""

    url: str
    arn: str


def function_arn(name: str) -> str:
    """The ARN of a function of this account."""
    return f"arn:aws:lambda:{AWS_REGION}:{AWS_ACCOUNT}:function:{name}"


def queue(clients: Clients, name: str, attributes: Mapping[str, str]) -> Queue:
    """Create or update a queue with these attributes, and return it."""
    url = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    clients.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Queue(url, arn)


def route_bus(
    clients: Clients, bus: str, target: Queue, *, rule: str, dead_letters: Queue, undeliverable: str = ""
) -> None:
    """Create a bus, a rule that sends every event to the queue, and the permission to send to both queues.

    Args:
        clients: the clients.
        bus: the name of the bus.
        target: the queue.
        rule: the name of the rule.
        dead_letters: the queue for events that the rule can't send.
        undeliverable: the rule matches no event whose detail has this field; empty: it matches every event.
    """
    events = clients.events
    with contextlib.suppress(events.exceptions.ResourceAlreadyExistsException):  # from an earlier run
        events.create_event_bus(Name=bus)
    pattern: dict[str, Any] = {"source": [{"prefix": ""}]}
    if undeliverable:
        pattern["detail"] = {undeliverable: [{"exists": False}]}
    rule_arn = events.put_rule(Name=rule, EventBusName=bus, EventPattern=json.dumps(pattern))["RuleArn"]
    rule_target = {"Id": rule, "Arn": target.arn, "DeadLetterConfig": {"Arn": dead_letters.arn}}
    events.put_targets(Rule=rule, EventBusName=bus, Targets=[rule_target])
    for destination in (target, dead_letters):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": destination.arn,
            "Condition": {"ArnLike": {"aws:SourceArn": rule_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        clients.sqs.set_queue_attributes(QueueUrl=destination.url, Attributes={"Policy": policy})


def archive(clients: Clients, name: str, bus: str) -> None:
    """Create an archive of every event of the bus."""
    events = clients.events
    with contextlib.suppress(events.exceptions.ResourceAlreadyExistsException):  # from an earlier run
        events.create_archive(ArchiveName=name, EventSourceArn=_events_arn("event-bus", bus))


def archive_arn(name: str) -> str:
    """The ARN of an archive of this account."""
    return _events_arn("archive", name)


def queue_arn(name: str) -> str:
    """The ARN of a queue of this account."""
    return f"arn:aws:sqs:{AWS_REGION}:{AWS_ACCOUNT}:{name}"


def _events_arn(kind: str, name: str) -> str:
    return f"arn:aws:events:{AWS_REGION}:{AWS_ACCOUNT}:{kind}/{name}"


def schedule(clients: Clients, rule: str, expression: str, functions: Sequence[str]) -> None:
    """Create a rule that invokes these functions on a schedule; schedules exist on the default bus only."""
    rule_arn = clients.events.put_rule(Name=rule, ScheduleExpression=expression)["RuleArn"]
    targets = [{"Id": name, "Arn": function_arn(name)} for name in functions]
    clients.events.put_targets(Rule=rule, Targets=targets)
    for name in functions:
        _allow(clients, name, "events.amazonaws.com", rule_arn, statement=rule)


def function(
    clients: Clients, name: str, package: Path, environment: Mapping[str, str], *, memory: int, timeout: int
) -> None:
    """Create or update a function with this code and these variables; memory in MB, timeout in seconds."""
    functions = clients.functions
    settings = {
        "FunctionName": name,
        "Role": f"arn:aws:iam::{AWS_ACCOUNT}:role/{name}",  # the emulator does not check the role
        # The emulator runs this interpreter version only, and is slow for another version.
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Handler": "handler.handler",
        "Timeout": timeout,
        "MemorySize": memory,
        "Environment": {"Variables": dict(environment)},
    }
    code = package.read_bytes()
    try:
        functions.create_function(**settings, Code={"ZipFile": code})
    except functions.exceptions.ResourceConflictException:
        functions.update_function_configuration(**settings)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAITER)
        functions.update_function_code(FunctionName=name, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_WAITER)
    else:
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=_WAITER)


def mapping(clients: Clients, source: Queue, name: str, settings: Mapping[str, Any]) -> None:
    """Create or update the mapping that delivers the queue's messages to the function."""
    functions = clients.functions
    existing = functions.list_event_source_mappings(EventSourceArn=source.arn, FunctionName=name)["EventSourceMappings"]
    if existing:
        functions.update_event_source_mapping(UUID=existing[0]["UUID"], FunctionName=name, **settings)
    else:
        functions.create_event_source_mapping(EventSourceArn=source.arn, FunctionName=name, **settings)


def http_api(clients: Clients, name: str, api_id: str, function: str) -> None:
    """Create an HTTP API that sends every request to the function."""
    settings = {"ProtocolType": "HTTP"}
    _api(clients, name, api_id, function, settings, payload="2.0", routes=("$default",), stage="$default")


def websocket_api(clients: Clients, name: str, api_id: str, function: str, *, stage: str) -> None:
    """Create a WebSocket API that sends connects, disconnects and messages to the function."""
    settings = {"ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.action"}
    routes = ("$connect", "$disconnect", "$default")
    _api(clients, name, api_id, function, settings, payload="1.0", routes=routes, stage=stage)


def _api(
    clients: Clients,
    name: str,
    api_id: str,
    function: str,
    settings: Mapping[str, str],
    *,
    payload: str,
    routes: Sequence[str],
    stage: str,
) -> None:
    """Create an API with one stage, whose routes all invoke one function."""
    gateway = clients.gateway
    if api_id in {api["ApiId"] for api in gateway.get_apis()["Items"]}:
        return
    gateway.create_api(Name=name, Tags={"ms-custom-id": api_id}, **settings)
    integration = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=function_arn(function),
        PayloadFormatVersion=payload,
    )
    for route in routes:
        gateway.create_route(ApiId=api_id, RouteKey=route, Target=f"integrations/{integration['IntegrationId']}")
    gateway.create_stage(ApiId=api_id, StageName=stage, AutoDeploy=True)
    source = f"arn:aws:execute-api:{AWS_REGION}:{AWS_ACCOUNT}:{api_id}/*"
    _allow(clients, function, "apigateway.amazonaws.com", source, statement=name)


def _allow(clients: Clients, function: str, service: str, source: str, *, statement: str) -> None:
    """Allow this resource of a service to invoke the function."""
    functions = clients.functions
    with contextlib.suppress(functions.exceptions.ResourceConflictException):  # from an earlier run
        functions.add_permission(
            FunctionName=function,
            StatementId=statement,
            Action="lambda:InvokeFunction",
            Principal=service,
            SourceArn=source,
        )

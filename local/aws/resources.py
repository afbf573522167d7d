"""The AWS resources that Helios consists of, a function per kind: each creates it, or brings it up to date."""

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
_PATIENCE: Final = {"Delay": 0.05, "MaxAttempts": 400}
"""How a waiter asks; by default once a second."""


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


def client(service: str, endpoint: str) -> Any:
    """A boto3 client for this service of the emulator; the caller closes it.

    Raises:
        ConfigurationError: the environment leads boto3 elsewhere.
    """
    session = Session(_KEY, _KEY, region_name=AWS_REGION, localstack_host=endpoint.removeprefix("http://"))
    made = session.client(service)
    if made.meta.endpoint_url != endpoint:
        raise ConfigurationError(f"AWS_ENDPOINT_URL leads to {made.meta.endpoint_url} instead of {endpoint}: unset it")
    return made


class Clients:
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


class Queue(NamedTuple):
    """A queue that exists."""

    url: str
    arn: str


def function_arn(name: str) -> str:
    """The ARN of a function of ours."""
    return f"arn:aws:lambda:{AWS_REGION}:{AWS_ACCOUNT}:function:{name}"


def queue(clients: Clients, name: str, attributes: Mapping[str, str]) -> Queue:
    """A queue with these attributes."""
    url = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    clients.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Queue(url, arn)


def route_bus(clients: Clients, bus: str, target: Queue, *, rule: str, dead_letters: Queue) -> None:
    """A bus, a rule that matches every event on it, and the leave to put them into the queue, or else with the dead."""
    events = clients.events
    with contextlib.suppress(events.exceptions.ResourceAlreadyExistsException):  # from an earlier run
        events.create_event_bus(Name=bus)
    made = events.put_rule(Name=rule, EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    to = {"Id": rule, "Arn": target.arn, "DeadLetterConfig": {"Arn": dead_letters.arn}}
    events.put_targets(Rule=rule, EventBusName=bus, Targets=[to])
    for one in (target, dead_letters):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": one.arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": made["RuleArn"]}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        clients.sqs.set_queue_attributes(QueueUrl=one.url, Attributes={"Policy": policy})


def schedule(clients: Clients, rule: str, expression: str, functions: Sequence[str]) -> None:
    """A rule that invokes these functions again and again; schedules exist on the default bus only."""
    made = clients.events.put_rule(Name=rule, ScheduleExpression=expression)
    targets = [{"Id": name, "Arn": function_arn(name)} for name in functions]
    clients.events.put_targets(Rule=rule, Targets=targets)
    for name in functions:
        _allow(clients, name, "events.amazonaws.com", made["RuleArn"], statement=rule)


def function(
    clients: Clients, name: str, package: Path, environment: Mapping[str, str], *, memory: int, timeout: int
) -> None:
    """A function with this code and these variables; memory in MB, timeout in seconds."""
    functions = clients.functions
    settings = {
        "FunctionName": name,
        "Role": f"arn:aws:iam::{AWS_ACCOUNT}:role/{name}",  # the emulator asks for no real one
        # The emulator has our interpreter only, and is slow when asked for another.
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
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_PATIENCE)
        functions.update_function_code(FunctionName=name, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=_PATIENCE)
    else:
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=_PATIENCE)


def mapping(clients: Clients, source: Queue, name: str, settings: Mapping[str, Any]) -> None:
    """Hand the queue's messages to the function."""
    functions = clients.functions
    known = functions.list_event_source_mappings(EventSourceArn=source.arn, FunctionName=name)["EventSourceMappings"]
    if known:
        functions.update_event_source_mapping(UUID=known[0]["UUID"], FunctionName=name, **settings)
    else:
        functions.create_event_source_mapping(EventSourceArn=source.arn, FunctionName=name, **settings)


def http_api(clients: Clients, name: str, api_id: str, function: str) -> None:
    """An HTTP API that hands every request to the function."""
    settings = {"ProtocolType": "HTTP"}
    _api(clients, name, api_id, function, settings, payload="2.0", routes=("$default",), stage="$default")


def websocket_api(clients: Clients, name: str, api_id: str, function: str, *, stage: str) -> None:
    """A WebSocket API that hands connections, their ends and every message to the function."""
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
    """An API of one stage, all of whose routes lead to one function."""
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
    """Let this resource of a service invoke the function."""
    functions = clients.functions
    with contextlib.suppress(functions.exceptions.ResourceConflictException):  # from an earlier run
        functions.add_permission(
            FunctionName=function,
            StatementId=statement,
            Action="lambda:InvokeFunction",
            Principal=service,
            SourceArn=source,
        )

"""The resources of Helios on an emulated AWS, read from its APIs, so that two deployments can be compared."""

import contextlib
import json
from typing import Any

from local.aws import resources
from local.aws.resources import Clients
from local.stack.config import BUS, QUEUE, SCHEDULE

_ALIAS = ":live"
"""Terraform's functions are called through an alias, and the deployer's directly."""

_FUNCTION = ("FunctionName", "Runtime", "Handler", "Timeout", "MemorySize")
_MAPPING = ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "ScalingConfig")
_QUEUE = ("VisibilityTimeout", "MessageRetentionPeriod")
_STATEMENT = ("Effect", "Principal", "Action", "Resource", "Condition")


def deployed_resources(endpoint: str, *, addresses: dict[str, str]) -> dict[str, Any]:
    """All resources by kind.

    Args:
        endpoint: the emulator.
        addresses: the values that differ between deployments, each with its replacement; the emulator's address and
            the ids of its APIs are replaced as well.
    """
    with Clients(endpoint) as clients:
        apis = {api["ApiId"]: api["Name"] for api in clients.gateway.get_apis()["Items"]}
        by_kind = {
            "functions": _functions(clients, endpoint),
            "mappings": _mappings(clients),
            "queues": _queues(clients),
            "rules": [_rule(clients, QUEUE, BUS), _rule(clients, SCHEDULE, "default")],
            "apis": [_api(clients, id_, name) for id_, name in sorted(apis.items(), key=lambda item: item[1])],
        }
    text = json.dumps(by_kind)
    for address, name in {**addresses, endpoint: "ENDPOINT", **apis}.items():
        text = text.replace(address, name)
    replaced: dict[str, Any] = json.loads(text)
    return replaced


def _secret(endpoint: str, id_: str) -> dict[str, str]:
    """The variables in a secret."""
    with contextlib.closing(resources.client("secretsmanager", endpoint)) as client:
        variables: dict[str, str] = json.loads(client.get_secret_value(SecretId=id_)["SecretString"])
        return variables


def _functions(clients: Clients, endpoint: str) -> dict[str, Any]:
    """Each function with its variables, including those of its secret, and the services that may invoke it."""
    functions = {}
    for function in clients.functions.list_functions()["Functions"]:
        variables = function["Environment"]["Variables"]
        variables.pop("HELIOS_SECRET_VERSION", None)
        if id_ := variables.pop("HELIOS_SECRET_ID", None):
            variables |= _secret(endpoint, id_)
        functions[function["FunctionName"]] = {
            **{field: function[field] for field in _FUNCTION},
            "environment": variables,
            "invokers": _invokers(clients, function["FunctionName"]),
        }
    return functions


def _invokers(clients: Clients, function: str) -> list[Any]:
    """The services that may invoke the function, with the condition; SQS needs no permission."""
    try:
        policy = clients.functions.get_policy(FunctionName=function)["Policy"]
    except clients.functions.exceptions.ResourceNotFoundException:
        return []
    statements = json.loads(policy)["Statement"]
    return sorted(
        ([statement["Principal"], statement["Action"], statement["Condition"]] for statement in statements),
        key=json.dumps,
    )


def _mappings(clients: Clients) -> dict[str, Any]:
    """The mapping of each queue to its function."""
    return {
        mapping["EventSourceArn"].rpartition(":")[2]: {
            "function": mapping["FunctionArn"].removesuffix(_ALIAS).rpartition(":")[2],
            **{field: mapping.get(field) for field in _MAPPING},
        }
        for mapping in clients.functions.list_event_source_mappings()["EventSourceMappings"]
    }


def _queues(clients: Clients) -> dict[str, Any]:
    """Each queue with its attributes and the senders of its policy."""
    queues = {}
    for url in clients.sqs.list_queues()["QueueUrls"]:
        attributes = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        policy = json.loads(attributes.get("Policy") or '{"Statement": []}')
        queues[url.rpartition("/")[2]] = {
            **{field: attributes[field] for field in _QUEUE},
            "redrive": json.loads(attributes.get("RedrivePolicy") or "null"),
            "senders": [{field: statement[field] for field in _STATEMENT} for statement in policy["Statement"]],
        }
    return queues


def _rule(clients: Clients, name: str, bus: str) -> dict[str, Any]:
    """The pattern or schedule of a rule, and its targets."""
    rule = clients.events.describe_rule(Name=name, EventBusName=bus)
    targets = clients.events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
    return {
        "pattern": json.loads(rule.get("EventPattern") or "null"),
        "schedule": rule.get("ScheduleExpression"),
        "targets": sorted(
            [target["Id"], target["Arn"].removesuffix(_ALIAS), target.get("DeadLetterConfig", {})] for target in targets
        ),
    }


def _api(clients: Clients, id_: str, name: str) -> dict[str, Any]:
    """An API with its stages, and the function behind each route."""
    gateway = clients.gateway
    behind = {
        integration["IntegrationId"]: _function(integration["IntegrationUri"])
        for integration in gateway.get_integrations(ApiId=id_)["Items"]
    }
    routes = gateway.get_routes(ApiId=id_)["Items"]
    return {
        "name": name,
        "protocol": gateway.get_api(ApiId=id_)["ProtocolType"],
        "stages": [stage["StageName"] for stage in gateway.get_stages(ApiId=id_)["Items"]],
        "routes": sorted([route["RouteKey"], behind[route["Target"].rpartition("/")[2]]] for route in routes),
    }


def _function(uri: str) -> str:
    """The name of an integration's function, from its ARN or from the ARN of its invocation."""
    return uri.rpartition(":function:")[2].removesuffix("/invocations").removesuffix(_ALIAS)

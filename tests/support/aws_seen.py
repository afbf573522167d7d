"""What makes up Helios on an emulated AWS, told by AWS itself, so that two deployments can be compared."""

import contextlib
import json
from typing import Any

from local.aws import resources
from local.aws.resources import Clients
from local.stack.config import BUS, QUEUE, SCHEDULE

_FUNCTION = ("FunctionName", "Runtime", "Handler", "Timeout", "MemorySize")
_MAPPING = ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "ScalingConfig")
_QUEUE = ("VisibilityTimeout", "MessageRetentionPeriod")
_STATEMENT = ("Effect", "Principal", "Action", "Resource", "Condition")


def seen(endpoint: str, *, addresses: dict[str, str]) -> dict[str, Any]:
    """Everything that is there, by kind.

    Args:
        endpoint: the emulator.
        addresses: what differs from one deployment to the next, and what to write instead; the emulator's own
            address and the ids of its APIs are replaced too.
    """
    with Clients(endpoint) as clients:
        apis = {api["ApiId"]: api["Name"] for api in clients.gateway.get_apis()["Items"]}
        found = {
            "functions": _functions(clients, endpoint),
            "mappings": _mappings(clients),
            "queues": _queues(clients),
            "rules": [_rule(clients, QUEUE, BUS), _rule(clients, SCHEDULE, "default")],
            "apis": [_api(clients, id_, name) for id_, name in sorted(apis.items(), key=lambda item: item[1])],
        }
    text = json.dumps(found)
    for address, name in {**addresses, endpoint: "ENDPOINT", **apis}.items():
        text = text.replace(address, name)
    told: dict[str, Any] = json.loads(text)
    return told


def _secret(endpoint: str, id_: str) -> dict[str, str]:
    """The variables that a secret holds."""
    with contextlib.closing(resources.client("secretsmanager", endpoint)) as client:
        variables: dict[str, str] = json.loads(client.get_secret_value(SecretId=id_)["SecretString"])
        return variables


def _functions(clients: Clients, endpoint: str) -> dict[str, Any]:
    """Each function with its variables, those of its secret too, and with who may invoke it."""
    told = {}
    for one in clients.functions.list_functions()["Functions"]:
        variables = one["Environment"]["Variables"]
        variables.pop("HELIOS_SECRET_VERSION", None)
        if id_ := variables.pop("HELIOS_SECRET_ID", None):
            variables |= _secret(endpoint, id_)
        told[one["FunctionName"]] = {
            **{field: one[field] for field in _FUNCTION},
            "environment": variables,
            "invokers": _invokers(clients, one["FunctionName"]),
        }
    return told


def _invokers(clients: Clients, function: str) -> list[Any]:
    """Which services may invoke the function, on behalf of what; SQS does not need to be among them."""
    try:
        policy = clients.functions.get_policy(FunctionName=function)["Policy"]
    except clients.functions.exceptions.ResourceNotFoundException:
        return []
    statements = json.loads(policy)["Statement"]
    return sorted(([one["Principal"], one["Action"], one["Condition"]] for one in statements), key=json.dumps)


def _mappings(clients: Clients) -> dict[str, Any]:
    """The mapping of each queue to its function."""
    return {
        one["EventSourceArn"].rpartition(":")[2]: {
            "function": one["FunctionArn"].rpartition(":")[2],
            **{field: one.get(field) for field in _MAPPING},
        }
        for one in clients.functions.list_event_source_mappings()["EventSourceMappings"]
    }


def _queues(clients: Clients) -> dict[str, Any]:
    """Each queue with what makes it behave, and who may send to it."""
    told = {}
    for url in clients.sqs.list_queues()["QueueUrls"]:
        attributes = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        policy = json.loads(attributes.get("Policy") or '{"Statement": []}')
        told[url.rpartition("/")[2]] = {
            **{field: attributes[field] for field in _QUEUE},
            "redrive": json.loads(attributes.get("RedrivePolicy") or "null"),
            "senders": [{field: one[field] for field in _STATEMENT} for one in policy["Statement"]],
        }
    return told


def _rule(clients: Clients, name: str, bus: str) -> dict[str, Any]:
    """What starts a rule, and its targets."""
    told = clients.events.describe_rule(Name=name, EventBusName=bus)
    targets = clients.events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
    return {
        "pattern": json.loads(told.get("EventPattern") or "null"),
        "schedule": told.get("ScheduleExpression"),
        "targets": sorted([target["Id"], target["Arn"], target.get("DeadLetterConfig", {})] for target in targets),
    }


def _api(clients: Clients, id_: str, name: str) -> dict[str, Any]:
    """An API with its stages, and the function behind each route."""
    gateway = clients.gateway
    behind = {
        one["IntegrationId"]: _function(one["IntegrationUri"]) for one in gateway.get_integrations(ApiId=id_)["Items"]
    }
    routes = gateway.get_routes(ApiId=id_)["Items"]
    return {
        "name": name,
        "protocol": gateway.get_api(ApiId=id_)["ProtocolType"],
        "stages": [stage["StageName"] for stage in gateway.get_stages(ApiId=id_)["Items"]],
        "routes": sorted([route["RouteKey"], behind[route["Target"].rpartition("/")[2]]] for route in routes),
    }


def _function(uri: str) -> str:
    """The function that an integration leads to, whether by its ARN or by the ARN of its invocation."""
    return uri.rpartition(":function:")[2].removesuffix("/invocations")

"""What Terraform makes on an emulated AWS is what the demo's deployer makes, and it works."""

import contextlib
import json
import time

import psycopg
import pytest

from local import aws, aws_resources
from local.config import AWS_ACCOUNT, BUS, QUEUE, SCHEDULE, WEBSOCKET_API
from tests.terraform.conftest import VISIBILITY_SECONDS

UNCHANGED = 0
"""What ``plan -detailed-exitcode`` ends with when there is nothing to do."""

ONLY_TERRAFORM_SETS = {"HELIOS_RING_SECRET", "HELIOS_DASHBOARD_ORIGIN"}
"""The demo gives these, where it needs them, in the environment that it hands to the deployer."""

FUNCTION_FIELDS = ("FunctionName", "Runtime", "Handler", "Timeout", "MemorySize")
MAPPING_FIELDS = ("BatchSize", "MaximumBatchingWindowInSeconds", "FunctionResponseTypes", "ScalingConfig")
QUEUE_FIELDS = ("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy")


def seen(endpoint, database_url):
    """Everything that makes up Helios on this emulator, without the addresses that differ from one to the next."""
    with aws_resources.Clients(endpoint) as clients, secrets(endpoint) as secret:
        apis = {api["ApiId"]: api["Name"] for api in clients.gateway.get_apis()["Items"]}
        found = {
            "functions": functions(clients, secret),
            "mappings": mappings(clients),
            "queues": queues(clients),
            "rules": [rule(clients, QUEUE, BUS), rule(clients, SCHEDULE, "default")],
            "apis": [api(clients, id_, name) for id_, name in sorted(apis.items(), key=lambda item: item[1])],
        }
    text = json.dumps(found, sort_keys=True)
    for address, name in {endpoint: "ENDPOINT", database_url: "DATABASE", **apis}.items():
        text = text.replace(address, name)
    return json.loads(text)


@contextlib.contextmanager
def secrets(endpoint):
    """Reads the variables that a secret holds."""
    with contextlib.closing(aws_resources.client("secretsmanager", endpoint)) as client:
        yield lambda id_: json.loads(client.get_secret_value(SecretId=id_)["SecretString"])


def functions(clients, secret):
    """Each function with its variables, those that are in the secret too, and who may invoke it."""
    listed = sorted(clients.functions.list_functions()["Functions"], key=lambda one: one["FunctionName"])
    told = []
    for one in listed:
        variables = one["Environment"]["Variables"]
        if id_ := variables.pop("HELIOS_SECRET_ID", None):
            variables |= secret(id_)
        kept = {name: value for name, value in variables.items() if name not in ONLY_TERRAFORM_SETS}
        told.append({field: one[field] for field in FUNCTION_FIELDS} | {"environment": kept, "invokers": invokers(clients, one)})
    return told


def invokers(clients, function):
    """Which services may invoke the function."""
    policy = json.loads(clients.functions.get_policy(FunctionName=function["FunctionName"])["Policy"]) if has_policy(clients, function) else {"Statement": []}
    return sorted(
        (statement["Principal"]["Service"], statement["Action"], statement["Condition"]["ArnLike"]["AWS:SourceArn"])
        for statement in policy["Statement"]
    )


def has_policy(clients, function):
    try:
        clients.functions.get_policy(FunctionName=function["FunctionName"])
    except clients.functions.exceptions.ResourceNotFoundException:
        return False
    return True


def mappings(clients):
    """Each mapping of a queue to a function."""
    listed = clients.functions.list_event_source_mappings()["EventSourceMappings"]
    told = [
        {"from": one["EventSourceArn"].rpartition(":")[2], "to": one["FunctionArn"].rpartition(":")[2]}
        | {field: one.get(field) for field in MAPPING_FIELDS}
        for one in listed
    ]
    return sorted(told, key=lambda one: one["from"])


def queues(clients):
    """Each queue with what makes it behave."""
    told = {}
    for url in clients.sqs.list_queues()["QueueUrls"]:
        attributes = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        kept = {field: attributes[field] for field in QUEUE_FIELDS if field in attributes}
        policy = [
            {field: value for field, value in statement.items() if field != "Sid"}
            for statement in json.loads(attributes.get("Policy", '{"Statement": []}'))["Statement"]
        ]
        told[url.rpartition("/")[2]] = {**kept, "policy": policy}
    return told


def rule(clients, name, bus):
    """What starts a rule, and its targets."""
    told = clients.events.describe_rule(Name=name, EventBusName=bus)
    targets = clients.events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"]
    return {
        "pattern": json.loads(told.get("EventPattern") or "null"),
        "schedule": told.get("ScheduleExpression"),
        "targets": sorted((target["Id"], target["Arn"]) for target in targets),
    }


def api(clients, id_, name):
    """An API with its stages, and the function behind each route."""
    gateway = clients.gateway
    behind = {
        f"integrations/{one['IntegrationId']}": one["IntegrationUri"].partition("functions/")[2].removesuffix("/invocations")
        or one["IntegrationUri"]
        for one in gateway.get_integrations(ApiId=id_)["Items"]
    }
    routes = sorted((route["RouteKey"], behind[route["Target"]]) for route in gateway.get_routes(ApiId=id_)["Items"])
    stages = [stage["StageName"] for stage in gateway.get_stages(ApiId=id_)["Items"]]
    protocol = gateway.get_api(ApiId=id_)["ProtocolType"]
    return {"name": name, "protocol": protocol, "routes": routes, "stages": stages}


@pytest.fixture(scope="module")
def deployed(aws_stack):
    """What the deployer made; its functions are asked for as they were given."""
    return seen(aws_stack.deployed.endpoint, aws_stack.database_url)


def test_a_second_plan_is_empty(applied):
    plan = applied.root.run("plan", "-detailed-exitcode")
    assert plan.code == UNCHANGED, plan.text


@pytest.mark.parametrize("kind", ["functions", "mappings", "queues", "rules", "apis"])
def test_terraform_makes_what_the_deployer_makes(applied, deployed, kind):
    assert deployed[kind] == seen(applied.endpoint, applied.database_url)[kind]


def test_the_outputs_are_addresses_that_answer(applied):
    import urllib.request

    with urllib.request.urlopen(f"{applied.outputs['api_url']}/api/v1/health", timeout=60) as answer:
        assert json.load(answer) == {"status": "healthy"}


def test_an_order_on_terraform_s_bus_is_stored(applied):
    with contextlib.closing(aws_resources.client("events", applied.endpoint)) as events:
        order = json.dumps({"order_id": "ORD-TERRAFORM", "amount": 12.5})
        entry = {"EventBusName": applied.outputs["bus"], "Source": "shop", "DetailType": "OrderPlaced", "Detail": order}
        reply = events.put_events(Entries=[entry])
    assert reply["FailedEntryCount"] == 0
    assert wait_for_order(applied.database_url, reply["Entries"][0]["EventId"]) == "ORD-TERRAFORM"


def wait_for_order(database_url, id_, seconds=60):
    """The order that the event is about, once the event is stored; None if that takes too long."""
    deadline = time.monotonic() + seconds
    with psycopg.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT order_id FROM events WHERE source = 'aws' AND id = %s", [id_]).fetchone()
            if row:
                return row[0]
            time.sleep(0.05)
    return None


def test_destroying_leaves_nothing(applied):
    """The last one here: nothing is left for another."""
    applied.root.must("destroy", "-auto-approve")
    with aws_resources.Clients(applied.endpoint) as clients:
        left = {
            "functions": clients.functions.list_functions()["Functions"],
            "apis": clients.gateway.get_apis()["Items"],
            "queues": clients.sqs.list_queues().get("QueueUrls", []),
            "buses": [bus["Name"] for bus in clients.events.list_event_buses()["EventBuses"] if bus["Name"] != "default"],
        }
    assert left == {"functions": [], "apis": [], "queues": [], "buses": []}

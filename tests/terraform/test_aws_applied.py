"""What Terraform makes on an emulated AWS is what the demo's deployer makes, and it works."""

import contextlib
import json
import time
import urllib.request

import psycopg
import pytest

from local import aws_resources
from tests.support.aws_seen import seen

UNCHANGED = 0
"""What ``plan -detailed-exitcode`` ends with when there is nothing to do."""

ONLY_TERRAFORM_SETS = {"HELIOS_RING_SECRET", "HELIOS_DASHBOARD_ORIGIN"}
"""The demo sets these itself, in what it hands to the deployer."""


@pytest.fixture(scope="module")
def deployed(aws_stack):
    """What the deployer made."""
    return seen(aws_stack.deployed.endpoint, addresses={aws_stack.database_url: "DATABASE"})


@pytest.fixture(scope="module")
def terraformed(applied):
    """What Terraform made."""
    found = seen(applied.endpoint, addresses={applied.database_url: "DATABASE"})
    for function in found["functions"].values():
        for name in ONLY_TERRAFORM_SETS:
            function["environment"].pop(name, None)
    return found


def test_a_second_plan_is_empty(applied):
    plan = applied.root.run("plan", "-detailed-exitcode")
    assert plan.code == UNCHANGED, plan.text


@pytest.mark.parametrize("kind", ["functions", "mappings", "queues", "rules", "apis"])
def test_terraform_makes_what_the_deployer_makes(deployed, terraformed, kind):
    assert terraformed[kind] == deployed[kind]


def test_the_api_answers_where_the_output_says(applied):
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
            "buses": [bus["Name"] for bus in clients.events.list_event_buses()["EventBuses"]],
        }
    assert left == {"functions": [], "apis": [], "queues": [], "buses": ["default"]}

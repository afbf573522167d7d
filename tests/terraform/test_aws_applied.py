"""What Terraform makes on an emulated AWS is what the demo's deployer makes, and it works."""

import contextlib
import json
import time
import urllib.request
from datetime import UTC, datetime

import psycopg
import pytest

from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.services.ingest import ingest
from local.aws import resources
from local.stack.config import WEBHOOK_AUTH
from local.stack.credentials import Credentials
from tests.support.aws_seen import seen
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow  # the AWS provider waits 25 s for each queue that it makes, and that it deletes

UNCHANGED = 0
"""What ``plan -detailed-exitcode`` ends with when there is nothing to do."""

SET_BY_EACH = {
    "HELIOS_NOTIFY_SECRET",
    "HELIOS_DASHBOARD_ORIGIN",
    "HELIOS_REPLAY_TOPICS",
    *WEBHOOK_AUTH,
    *Credentials().webhooks,
}
"""The demo sets these itself, in what it hands to the deployer: it has guards of its own, and replays from its API."""

REPLAYS = "helios-replays"
"""Terraform's alone. The demo's API works on replay jobs itself, and can do more: it has the libraries of the other
clouds, and may post to this machine. A function beside it would take jobs from it at which it can only fail."""


@pytest.fixture(scope="module")
def deployed(aws_stack):
    """What the deployer made."""
    return _without_their_own(seen(aws_stack.deployed.endpoint, addresses={aws_stack.database_url: "DATABASE"}))


@pytest.fixture(scope="module")
def terraformed(applied):
    """What Terraform made."""
    found = seen(applied.endpoint, addresses={applied.database_url: "DATABASE"})
    del found["functions"][REPLAYS]
    (schedule,) = [rule for rule in found["rules"] if rule["schedule"]]
    schedule["targets"] = [target for target in schedule["targets"] if target[0] != REPLAYS]
    return _without_their_own(found)


def _without_their_own(found):
    for function in found["functions"].values():
        for name in SET_BY_EACH:
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
    with contextlib.closing(resources.client("events", applied.endpoint)) as events:
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


def test_a_replay_job_is_worked_on_by_terraform_s_function(applied):
    """Its events go back to the bus, from which they come as duplicates of themselves."""
    with contextlib.closing(open_pool(applied.database_url, connections=1, timeout_seconds=10)) as pool:
        ingest([eventbridge("again", type_="OrderAgain")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
        jobs = PostgresReplayJobs(pool, applied.database_url)
        chosen = ReplayFilter(source="aws", type="OrderAgain", until=datetime.now(UTC))
        request = ReplayRequest(what="events", target=Target(kind="cloud", cloud="aws"), filter=chosen, per_second=10)
        job = jobs.add(request, actor="ann", matching=1, now=datetime.now(UTC))
        with contextlib.closing(resources.client("lambda", applied.endpoint)) as functions:
            assert "FunctionError" not in functions.invoke(FunctionName=REPLAYS)
        eventually(lambda: stands(jobs, job)[0] != "running", seconds=60)  # the schedule may have been there first

        assert stands(jobs, job) == ("done", 1, None)
        came = "SELECT sum(stored), sum(duplicate) > 0 FROM event_counts WHERE type = 'OrderAgain'"
        with pool.connection() as connection:
            eventually(lambda: connection.execute(came).fetchone() == (1, True), seconds=60)


def stands(jobs, job):
    """A job's state, how many events it has sent, and what went wrong last."""
    now = jobs.get(job.id)
    return now.state, now.sent, now.last_error


def test_the_replays_function_has_the_most_time_that_there_is_once_a_minute(applied):
    found = seen(applied.endpoint, addresses={})
    assert found["functions"][REPLAYS]["Timeout"] == 900
    (schedule,) = [rule for rule in found["rules"] if rule["schedule"] == "rate(1 minute)"]
    assert REPLAYS in [target[0] for target in schedule["targets"]]


def test_destroying_leaves_nothing(applied):
    """The last one here: nothing is left for another."""
    applied.root.must("destroy", "-auto-approve")
    with resources.Clients(applied.endpoint) as clients:
        left = {
            "functions": clients.functions.list_functions()["Functions"],
            "apis": clients.gateway.get_apis()["Items"],
            "queues": clients.sqs.list_queues().get("QueueUrls", []),
            "buses": [bus["Name"] for bus in clients.events.list_event_buses()["EventBuses"]],
        }
    assert left == {"functions": [], "apis": [], "queues": [], "buses": ["default"]}

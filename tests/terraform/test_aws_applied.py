"""On an emulated AWS Terraform creates the same resources as the demo's deployer, and they work."""

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
from helios.adapters.postgres.tokens import PostgresTokens
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.model.tokens import Token, digest, mint
from helios.services.ingest import ingest
from local.aws import resources
from local.stack.config import AWS_ACCOUNT, WEBHOOK_AUTH
from local.stack.credentials import Credentials
from tests.support import archive
from tests.support.aws_resources import deployed_resources
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow  # the AWS provider waits 25 s for each queue that it creates or deletes

UNCHANGED = 0
"""The exit code of ``plan -detailed-exitcode`` when there is nothing to change."""

SET_BY_EACH = {
    "HELIOS_NOTIFY_SECRET",
    "HELIOS_DASHBOARD_ORIGIN",
    "POWERTOOLS_METRICS_NAMESPACE",
    "HELIOS_REPLAY_TOPICS",
    *WEBHOOK_AUTH,
    *Credentials().webhooks,
}
"""Variables that only one of the two sets: the demo has its own authenticators, and one deployment in its account."""

REPLAY = "helios-replay"
"""A function that only Terraform creates. The demo's API runs replay jobs and supports more targets: it has the
libraries of the other clouds, and may post to this machine. A function next to it would take jobs that it can't run."""


@pytest.fixture(scope="module")
def deployed(aws_stack):
    """The resources that the deployer created."""
    return _without_separate_variables(
        deployed_resources(aws_stack.deployed.endpoint, addresses={aws_stack.database_url: "DATABASE"})
    )


@pytest.fixture(scope="module")
def terraformed(applied):
    """The resources that Terraform created, without those that the deployer does not create."""
    created = deployed_resources(applied.endpoint, addresses={applied.database_url: "DATABASE"})
    del created["functions"][REPLAY]
    (schedule,) = [rule for rule in created["rules"] if rule["schedule"]]
    schedule["targets"] = [target for target in schedule["targets"] if target[0] != REPLAY]
    return _without_separate_variables(created)


def _without_separate_variables(created):
    for function in created["functions"].values():
        for name in SET_BY_EACH:
            function["environment"].pop(name, None)
    return created


def test_a_second_plan_is_empty(applied):
    plan = applied.root.run("plan", "-detailed-exitcode")
    assert plan.code == UNCHANGED, plan.text


@pytest.mark.parametrize("kind", ["functions", "mappings", "queues", "rules", "apis"])
def test_terraform_creates_the_same_resources_as_the_deployer(deployed, terraformed, kind):
    assert terraformed[kind] == deployed[kind]


def test_the_api_answers_at_the_url_of_the_output(applied):
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
    """The order of the event, once the event is stored; None if that takes too long."""
    deadline = time.monotonic() + seconds
    with psycopg.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT order_id FROM events WHERE source = 'aws' AND id = %s", [id_]).fetchone()
            if row:
                return row[0]
            time.sleep(0.05)
    return None


def test_terraform_s_function_runs_a_replay_job(applied):
    """The events go to the bus, and Helios ingests them as duplicates."""
    with contextlib.closing(open_pool(applied.database_url, connections=1, timeout_seconds=10)) as pool:
        ingest([eventbridge("again", type_="OrderAgain")], dedupe=NullDedupeCache(), store=PostgresStore(pool))
        jobs = PostgresReplayJobs(pool)
        chosen = ReplayFilter(source="aws", type="OrderAgain", until=datetime.now(UTC))
        request = ReplayRequest(what="events", target=Target(kind="cloud", cloud="aws"), filter=chosen, per_second=10)
        job = jobs.add(request, actor="ann", matching=1, now=datetime.now(UTC))
        with contextlib.closing(resources.client("lambda", applied.endpoint)) as functions:
            assert "FunctionError" not in functions.invoke(FunctionName=REPLAY)
        eventually(lambda: state_of(jobs, job)[0] != "running", seconds=60)  # the schedule may have run the job first

        assert state_of(jobs, job) == ("done", 1, None)
        counts = "SELECT sum(stored), sum(duplicate) > 0 FROM event_counts WHERE type = 'OrderAgain'"
        with pool.connection() as connection:
            eventually(lambda: connection.execute(counts).fetchone() == (1, True), seconds=60)


def state_of(jobs, job):
    """A job's state, the number of events that it has sent, and its last error."""
    current = jobs.get(job.id)
    return current.state, current.sent, current.last_error


def test_the_replay_function_runs_every_minute_with_the_longest_timeout(applied):
    created = deployed_resources(applied.endpoint, addresses={})
    assert created["functions"][REPLAY]["Timeout"] == 900
    (schedule,) = [rule for rule in created["rules"] if rule["schedule"] == "rate(1 minute)"]
    assert REPLAY in [target[0] for target in schedule["targets"]]


def test_an_archive_is_added_and_the_api_reads_it_with_the_packages_of_the_layer(applied, monkeypatch):
    for name, value in (resources.sdk_environment(applied.endpoint) | {"AWS_ALLOW_HTTP": "true"}).items():
        monkeypatch.setenv(name, value)
    # The function that only this test calls, and what it needs.
    applied.root.must("apply", "-auto-approve", "-refresh=false", "-var=archive={}", '-target=module.function["api"]')
    with contextlib.closing(resources.client("lambda", applied.endpoint)) as functions:
        newest = functions.list_versions_by_function(FunctionName="helios-api")["Versions"][-1]["Version"]
        functions.update_alias(FunctionName="helios-api", Name="live", FunctionVersion=newest)  # as a release does
    bucket = f"helios-archive-{AWS_ACCOUNT}"
    secret = mint()
    archive.prepare(applied.database_url)
    with contextlib.closing(archive.open_database(applied.database_url, f"s3://{bucket}/events")) as archived:
        archive.fill(archived, number=1, of_days=1)
        archived.archive.run(archive.NOW)
        archived.drop(archive.FIRST)
        PostgresTokens(archived.pool).add(digest(secret), Token(name="kim", scopes=("read",), created_at=archive.NOW))

    request = urllib.request.Request(
        f"{applied.outputs['api_url']}/api/v1/events?order_id=ORD-0", headers={"authorization": f"Bearer {secret}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        events = json.load(answer)["items"]
    assert [(event["id"], event["archived"]) for event in events] == [("azure-0", True), ("aws-0", True)]

    with contextlib.closing(resources.client("s3", applied.endpoint)) as s3:
        for version in s3.list_object_versions(Bucket=bucket)["Versions"]:  # Terraform removes no archived events
            s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def test_destroy_leaves_no_resource(applied):
    """This test must be the last of the file, because it removes what the others use."""
    applied.root.must("destroy", "-auto-approve")
    with resources.Clients(applied.endpoint) as clients:
        remaining = {
            "functions": clients.functions.list_functions()["Functions"],
            "apis": clients.gateway.get_apis()["Items"],
            "queues": clients.sqs.list_queues().get("QueueUrls", []),
            "buses": [bus["Name"] for bus in clients.events.list_event_buses()["EventBuses"]],
        }
    assert remaining == {"functions": [], "apis": [], "queues": [], "buses": ["default"]}

"""Timers on their schedule and on demand, and the other endpoints of the admin API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators.azure_host.hosted import DEFAULT, MASTER, Hosted, grid_event


@pytest.fixture
def ticking(tmp_path: Path) -> Iterator[Hosted]:
    """A host whose timer runs every second."""
    hosted = Hosted(tmp_path, env={"TICK": "* * * * * *"})
    hosted.start()
    yield hosted
    hosted.process.stop()


def test_a_timer_runs_once_at_each_time_of_its_schedule(ticking: Hosted):
    ticks = [record for record in ticking.wait_records(lambda records: len(records) >= 3) if "tick" in record]
    seconds = [int(record["tick"] + 0.01) for record in ticks]
    assert len(set(seconds)) == len(seconds)
    assert ticks[0]["keys"] == ["Last", "LastUpdated", "Next"]


def test_a_timer_runs_on_demand(host: Hosted):
    answer = host.call("POST", "/admin/functions/yearly", {}, x_functions_key=MASTER)
    assert (answer.status, answer.body) == (202, "")
    host.wait_records(lambda records: {"yearly": False} in records)


def test_an_event_grid_function_runs_on_demand(host: Hosted):
    body = {"input": json.dumps(grid_event("on demand"))}
    assert host.call("POST", "/admin/functions/inventory", body, x_functions_key=MASTER).status == 202
    host.wait_records(lambda records: any(record.get("id") == "on demand" for record in records))


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("POST", "/admin/functions/yearly", "", 401),
        ("POST", "/admin/functions/yearly", DEFAULT, 401),
        ("POST", "/admin/functions/nobody", MASTER, 404),
        ("POST", "/admin/functions/order", MASTER, 400),
        ("GET", "/admin/host/status", "", 401),
        ("GET", "/admin/host/status", MASTER, 200),
        ("GET", "/admin/functions", "", 401),
        ("GET", "/admin/host/ping", "", 200),
        ("GET", "/", "", 200),
    ],
)
def test_an_endpoint_needs_a_key_of_its_level(host: Hosted, method: str, path: str, key: str, status: int):
    assert host.call(method, path, x_functions_key=key).status == status


def test_the_status_says_that_this_is_not_the_azure_runtime(host: Hosted):
    status = json.loads(host.call("GET", "/admin/host/status", x_functions_key=MASTER).body)
    assert (status["state"], status["version"]) == ("Running", "local.emulators.azure_host, not the Azure runtime")


def test_the_admin_api_lists_the_functions(host: Hosted):
    listed = json.loads(host.call("GET", "/admin/functions", x_functions_key=MASTER).body)
    triggers = {function["name"]: function["config"]["bindings"][0]["type"] for function in listed}
    assert (triggers["inventory"], triggers["order"], triggers["tick"]) == (
        "eventGridTrigger",
        "httpTrigger",
        "timerTrigger",
    )

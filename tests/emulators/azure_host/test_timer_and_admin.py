"""Timers on their schedule and on demand, and the rest of the admin API."""

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


def test_a_timer_runs_once_each_time_its_schedule_says_so(ticking: Hosted):
    ticks = [one for one in ticking.wait_records(lambda all_: len(all_) >= 3) if "tick" in one]
    seconds = [int(one["tick"] + 0.01) for one in ticks]
    assert len(set(seconds)) == len(seconds)
    assert ticks[0]["keys"] == ["Last", "LastUpdated", "Next"]


def test_a_timer_runs_on_demand(host: Hosted):
    answer = host.call("POST", "/admin/functions/yearly", {}, x_functions_key=MASTER)
    assert (answer.status, answer.body) == (202, "")
    host.wait_records(lambda all_: {"yearly": False} in all_)


def test_an_event_grid_function_runs_on_demand(host: Hosted):
    given = {"input": json.dumps(grid_event("on demand"))}
    assert host.call("POST", "/admin/functions/inventory", given, x_functions_key=MASTER).status == 202
    host.wait_records(lambda all_: any(one.get("id") == "on demand" for one in all_))


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
def test_who_may_do_what(host: Hosted, method: str, path: str, key: str, status: int):
    assert host.call(method, path, x_functions_key=key).status == status


def test_the_status_says_what_this_is(host: Hosted):
    status = json.loads(host.call("GET", "/admin/host/status", x_functions_key=MASTER).body)
    assert (status["state"], status["version"]) == ("Running", "local.emulators.azure_host, not the Azure runtime")


def test_the_functions_are_listed(host: Hosted):
    listed = json.loads(host.call("GET", "/admin/functions", x_functions_key=MASTER).body)
    triggers = {one["name"]: one["config"]["bindings"][0]["type"] for one in listed}
    assert (triggers["inventory"], triggers["order"], triggers["tick"]) == (
        "eventGridTrigger",
        "httpTrigger",
        "timerTrigger",
    )

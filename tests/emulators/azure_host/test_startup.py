"""What the host logs when it starts, and which apps it refuses."""

import json
from pathlib import Path

import pytest

from tests.emulators.azure_host.hosted import KEYS, Hosted, run_to_its_end, write_app

EVENT_GRID = '@app.event_grid_trigger(arg_name="event")\ndef f(event{annotation}): ...\n'


def test_the_log_lists_the_functions_and_the_ignored_settings_of_host_json(host: Hosted):
    lines = [json.loads(line) for line in host.log.read_text().splitlines()]
    hosting = {line["function"]: line for line in lines if line["message"] == "hosting"}
    assert hosting["inventory"]["path"] == "/runtime/webhooks/EventGrid?functionName=inventory"
    assert (hosting["order"]["path"], hosting["order"]["methods"]) == ("/shop/orders/{number:int}", ["GET", "POST"])
    assert hosting["tick"]["schedule"] == "0 0 0 1 1 *"
    assert [line["settings"] for line in lines if "settings" in line] == [["functionTimeout"]]


def test_no_key_is_logged(host: Hosted):
    log = host.log.read_text()
    assert [key for key in KEYS.values() if key in log] == []


@pytest.mark.parametrize(
    ("source", "host_json", "message"),
    [
        (
            '@app.service_bus_queue_trigger(arg_name="q", queue_name="x", connection="y")\ndef f(q): ...\n',
            '{"version": "2.0"}',
            "function f: serviceBusTrigger can't be hosted here",
        ),
        (
            (
                '@app.queue_output(arg_name="out", queue_name="x", connection="y")\n'
                '@app.event_grid_trigger(arg_name="event")\ndef f(event, out): ...\n'
            ),
            '{"version": "2.0"}',
            "function f: the binding queue can't be hosted here",
        ),
        (
            '@app.event_grid_trigger(arg_name="event", cardinality="many")\ndef f(event): ...\n',
            '{"version": "2.0"}',
            "function f: cardinality many is not supported",
        ),
        (EVENT_GRID.format(annotation=": str"), '{"version": "2.0"}', "does not fit eventGridTrigger"),
        (
            '@app.event_grid_trigger(arg_name="event")\ndef f(other): ...\n',
            '{"version": "2.0"}',
            "the trigger's arg_name event is not a parameter",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="0 0 0 30 2 *")\ndef f(t): ...\n',
            '{"version": "2.0"}',
            "function f: no date fits the schedule",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="%NOT_SET%")\ndef f(t): ...\n',
            '{"version": "2.0"}',
            "uses the setting 'NOT_SET', which is not set",
        ),
        (
            '@app.route(route="{x:regex(a)}")\ndef f(req): ...\n',
            '{"version": "2.0"}',
            "can't be hosted here; constraints can be",
        ),
        (EVENT_GRID.format(annotation="") * 2, '{"version": "2.0"}', "does not have a unique function name"),
        (EVENT_GRID.format(annotation=""), None, "host.json is missing"),
        (EVENT_GRID.format(annotation=""), '{"version": "1.0"}', "host.json"),
    ],
)
def test_an_unsupported_app_gets_a_clear_message(tmp_path: Path, source: str, host_json: str | None, message: str):
    code, log = run_to_its_end(Hosted(tmp_path, write_app(tmp_path, source, host_json)))
    assert (code, message in log, "Traceback" in log) == (1, True, False), log


def test_a_folder_without_an_app_gets_a_clear_message(tmp_path: Path):
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    code, log = run_to_its_end(Hosted(tmp_path, tmp_path))
    assert (code, "has no function_app.py" in log) == (1, True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AZURE_HOST_MASTER_KEY", "", "Set AZURE_HOST_MASTER_KEY"),
        ("PYTHON_THREADPOOL_THREAD_COUNT", "many", "Set it to a number from 1 to 1000"),
    ],
)
def test_a_wrong_setting_gets_a_clear_message(tmp_path: Path, name: str, value: str, message: str):
    code, log = run_to_its_end(Hosted(tmp_path, env={name: value}))
    assert (code, message in log) == (1, True), log

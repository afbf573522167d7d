"""The simulator against the real API: its events arrive, and it detects wrong answers."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helios.model.sources import BUILT_IN
from helios.processes.ports import free_port
from scripts.simulator.__main__ import EXIT_OK, EXIT_USAGE, EXIT_WRONG, main
from scripts.simulator.run import SAME_SIGNAL_S

REPOSITORY = Path(__file__).parents[2]
QUICK = ("--jitter", "0.2", "--lateness", "0.5", "--patience", "10")


@pytest.fixture
def files(tmp_path) -> list[str]:
    return ["--truth", str(tmp_path / "truth.jsonl"), "--summary", str(tmp_path / "summary.json")]


@pytest.fixture
def summary(tmp_path):
    """A function that reads the summary of the run."""
    return lambda: json.loads((tmp_path / "summary.json").read_bytes())


@pytest.fixture
def truth(tmp_path):
    """A function that reads the truth file of the run."""
    return lambda: [json.loads(line) for line in (tmp_path / "truth.jsonl").read_bytes().splitlines()]


def simulate(url: str, *arguments: str) -> int:
    return main(["--url", url, *QUICK, *arguments])


def test_every_event_arrives_once(helios, files, summary):
    """The summary of each cloud equals the events that Helios stored."""
    status = simulate(helios.url, "--rate", "250", "--count", "500", "--error-rate", "0", *files)
    stored = Counter(event.source for event in helios.events())

    assert status == EXIT_OK
    assert {source: row["accepted"] for source, row in summary()["sources"].items()} == stored
    assert stored.total() == 500
    assert [stored[source] / 500 for source in BUILT_IN] == pytest.approx([0.4, 0.3, 0.3], abs=0.02)


def test_the_truth_equals_the_records_of_helios(helios, files, summary, truth):
    """Helios has a record of each anomaly in the truth file, and of no other."""
    status = simulate(helios.url, "--rate", "300", "--count", "900", "--error-rate", "0.5", *files)
    lines = truth()
    injected = Counter(line["anomaly"] for line in lines)
    dead_letters = Counter(stored.dead_letter.status for stored in helios.dead_letters())
    legs = {(event.order_id, event.type): event for event in helios.events()}

    assert status == EXIT_OK
    assert {kind: count for kind, count in summary()["anomalies"].items() if count} == injected
    assert (dead_letters["rejected"], dead_letters["contradictory"]) == (injected["poison"], injected["contradictory"])
    assert sum(count.duplicate for count in helios.store.counts) == injected["duplicate"]
    for line in lines:
        event = legs.get((line["order_id"], line["type"]))
        if line["anomaly"] in {"missing", "poison"}:
            assert event is None
        else:
            assert event is not None
            assert line["event_ids"] == [event.id]
        if line["anomaly"] == "mismatch":
            amounts = [str(legs[line["order_id"], type_].amount) for type_ in ("PaymentProcessed", "OrderPlaced")]
            assert amounts == [line["details"]["paid"], line["details"]["ordered"]]
    silent = {line["order_id"] for line in lines if line["anomaly"] in {"missing", "poison"}}
    placed = {order for order, type_ in legs if type_ == "OrderPlaced"}
    assert {order for order, type_ in legs if type_ == "PaymentProcessed"} - silent == placed - silent


def test_the_simulator_sends_at_the_configured_rate(helios, files, summary):
    """600 events at 200/s take three seconds, and not less."""
    status = simulate(helios.url, "--rate", "200", "--duration", "3", *files)

    assert status == EXIT_OK
    assert summary()["total"]["sent"] == 600
    assert summary()["seconds"] > 2.9


def test_an_outage_loses_no_event(helios, files, summary):
    """An event with the answer 503 is sent again until it is accepted, although other events fail meanwhile."""
    helios.refuse(150)
    status = simulate(helios.url, "--rate", "200", "--count", "200", "--error-rate", "0", *files)

    assert status == EXIT_OK
    assert len(helios.events()) == 200
    assert summary()["total"]["retried"] == 150


def test_an_event_fails_when_its_patience_is_over(helios, files, summary):
    """An event that is never accepted is counted as failed, and fails the run."""
    helios.refuse(10**9)
    status = simulate(helios.url, "--rate", "100", "--count", "20", "--patience", "0.5", *files)

    assert status == EXIT_WRONG
    assert summary()["total"]["failed"] == 20
    assert "HTTP 503 Service Unavailable" in summary()["complaints"][0]


def test_an_unreachable_url_is_a_failure(files, summary):
    status = simulate(f"http://127.0.0.1:{free_port()}", "--rate", "100", "--count", "5", "--patience", "0.2", *files)

    assert status == EXIT_WRONG
    assert summary()["total"]["failed"] == 5


def test_a_wrong_path_is_a_failure_and_not_a_rejection(helios, files, summary):
    """It is not retried, because the path stays wrong."""
    status = simulate(f"{helios.url}/elsewhere", "--rate", "100", "--count", "5", "--error-rate", "1", *files)

    assert status == EXIT_WRONG
    assert (summary()["total"]["failed"], summary()["total"]["retried"]) == (5, 0)
    assert "HTTP 404" in summary()["complaints"][0]


def test_poison_that_is_accepted_is_a_failure(helios, files, summary, monkeypatch):
    """The events of this test are valid and only labelled as poison."""
    monkeypatch.setattr("scripts.simulator.plan.PAYLOAD_POISONS", {})
    monkeypatch.setattr("scripts.simulator.envelopes.ENVELOPE_POISONS", {})
    status = simulate(helios.url, "--rate", "300", "--count", "300", "--error-rate", "1", *files)

    assert status == EXIT_WRONG
    assert all("should be rejected, is accepted" in complaint for complaint in summary()["complaints"])


def test_events_can_be_limited_to_one_source(helios, files, summary):
    status = simulate(helios.url, "--rate", "200", "--count", "50", "--source", "gcp", *files)

    assert status == EXIT_OK
    assert list(summary()["sources"]) == ["gcp"]


def test_sources_can_be_combined(helios, files, summary):
    status = simulate(helios.url, "--rate", "200", "--count", "50", "--source", "azure", "--source", "aws", *files)

    assert status == EXIT_OK
    assert list(summary()["sources"]) == ["aws", "azure"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--rate", "0"], "--rate"),
        (["--rate", "nan"], "--rate"),
        (["--error-rate", "1.5"], "--error-rate"),
        (["--duration", "-1"], "--duration"),
        (["--count", "0"], "--count"),
        (["--source", "oracle"], "--source"),
    ],
)
def test_the_error_for_an_invalid_option_names_it(arguments, word, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == EXIT_USAGE
    assert word in capsys.readouterr().err


def test_the_error_for_an_invalid_url_names_the_option(capsys):
    assert main(["--url", "localhost:8001"]) == EXIT_USAGE
    assert "--url" in capsys.readouterr().err


@contextlib.contextmanager
def endless(helios, command, files) -> Iterator[subprocess.Popen[str]]:
    """Run the simulator in a process of its own until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *command, "--url", helios.url, "--rate", "200", "--error-rate", "0.5", *files],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "the simulator sends nothing"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [["-m", "scripts.simulator"], ["scripts/simulator/__main__.py"]])
def test_the_first_signal_ends_an_endless_run_in_order(helios, files, summary, truth, number, command):
    """Started orders are finished, late legs become missing, and the summary is printed."""
    with endless(helios, command, files) as process:
        wait_until(lambda: len(helios.events()) > 300)
        process.send_signal(number)
        output = process.communicate(timeout=30)[0]
    silent = {line["order_id"] for line in truth() if line["anomaly"] in {"missing", "poison"}}
    orders, payments = (
        {event.order_id for event in helios.events() if event.type == type_}
        for type_ in ("OrderPlaced", "PaymentProcessed")
    )

    assert process.returncode == EXIT_OK
    assert "every event got the expected answer" in output
    assert summary()["total"]["accepted"] == len(helios.events())
    assert orders - silent == payments - silent


def test_the_second_signal_ends_the_run_at_once(helios, files, summary):
    """Also during an outage; the summary counts the events without an answer."""
    helios.refuse(10**9)
    with endless(helios, ["-m", "scripts.simulator"], files) as process:
        wait_until(lambda: helios.refusals < 10**9 - 50)
        process.send_signal(signal.SIGINT)
        time.sleep(SAME_SIGNAL_S + 2)  # the time between the signals is under test
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert process.returncode == EXIT_WRONG
    assert summary()["unanswered"] > 0


def test_webhooks_need_no_sdk_of_any_cloud():
    """The SDKs take long to import, and need not be installed."""
    code = "import sys, scripts.simulator; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True, text=True)

    assert not {"boto3", "google.cloud.pubsub_v1", "azure.eventgrid"} & set(done.stdout.split())

"""The simulator against the real API: what it sends arrives, and it notices what goes wrong."""

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

from helios.model.events import SOURCES
from local.stack.ports import free_port
from scripts.simulator.__main__ import EXIT_OK, EXIT_USAGE, EXIT_WRONG, main
from scripts.simulator.run import SAME_SIGNAL_S

REPOSITORY = Path(__file__).parents[2]
QUICK = ("--jitter", "0.2", "--lateness", "0.5", "--patience", "10")


@pytest.fixture
def files(tmp_path) -> list[str]:
    return ["--truth", str(tmp_path / "truth.jsonl"), "--summary", str(tmp_path / "summary.json")]


@pytest.fixture
def summary(tmp_path):
    """Reads the summary of the run."""
    return lambda: json.loads((tmp_path / "summary.json").read_bytes())


@pytest.fixture
def truth(tmp_path):
    """Reads the truth of the run."""
    return lambda: [json.loads(line) for line in (tmp_path / "truth.jsonl").read_bytes().splitlines()]


def simulate(url: str, *arguments: str) -> int:
    return main(["--url", url, *QUICK, *arguments])


def test_everything_arrives_once(helios, files, summary):
    """The summary agrees with what Helios stored, cloud by cloud."""
    status = simulate(helios.url, "--rate", "250", "--count", "500", "--error-rate", "0", *files)
    stored = Counter(event.source for event in helios.events())

    assert status == EXIT_OK
    assert {source: row["accepted"] for source, row in summary()["sources"].items()} == stored
    assert stored.total() == 500
    assert [stored[source] / 500 for source in SOURCES] == pytest.approx([0.4, 0.3, 0.3], abs=0.02)


def test_the_truth_is_what_helios_saw(helios, files, summary, truth):
    """Of each line of the truth, Helios has the evidence; and Helios has no evidence of anything else."""
    status = simulate(helios.url, "--rate", "300", "--count", "900", "--error-rate", "0.5", *files)
    lines = truth()
    told = Counter(line["anomaly"] for line in lines)
    dead_letters = Counter(kept.dead_letter.status for kept in helios.dead_letters())
    legs = {(event.order_id, event.type): event for event in helios.events()}

    assert status == EXIT_OK
    assert {kind: count for kind, count in summary()["anomalies"].items() if count} == told
    assert (dead_letters["rejected"], dead_letters["contradictory"]) == (told["poison"], told["contradictory"])
    assert sum(count.duplicate for count in helios.store.counts) == told["duplicate"]
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


def test_the_rate_is_kept(helios, files, summary):
    """600 events at 200/s take three seconds: no sooner, and not much later."""
    status = simulate(helios.url, "--rate", "200", "--duration", "3", *files)

    assert status == EXIT_OK
    assert summary()["total"]["sent"] == 600
    assert 2.9 < summary()["seconds"] < 4


def test_an_outage_loses_nothing(helios, files, summary):
    """What is answered 503 is sent again until it is taken, though other events fail meanwhile."""
    helios.refuse(150)
    status = simulate(helios.url, "--rate", "200", "--count", "200", "--error-rate", "0", *files)

    assert status == EXIT_OK
    assert len(helios.events()) == 200
    assert summary()["total"]["retried"] == 150


def test_patience_has_an_end(helios, files, summary):
    """An event that is never taken is counted as failed, and the run fails with it."""
    helios.refuse(10**9)
    status = simulate(helios.url, "--rate", "100", "--count", "20", "--patience", "0.5", *files)

    assert status == EXIT_WRONG
    assert summary()["total"]["failed"] == 20
    assert "HTTP 503 Service Unavailable" in summary()["complaints"][0]


def test_nobody_at_the_url_is_a_failure(files, summary):
    status = simulate(f"http://127.0.0.1:{free_port()}", "--rate", "100", "--count", "5", "--patience", "0.2", *files)

    assert status == EXIT_WRONG
    assert summary()["total"]["failed"] == 5


def test_a_wrong_path_is_a_failure_and_not_a_rejection(helios, files, summary):
    """Nor is it tried again: it will not become right."""
    status = simulate(f"{helios.url}/elsewhere", "--rate", "100", "--count", "5", "--error-rate", "1", *files)

    assert status == EXIT_WRONG
    assert (summary()["total"]["failed"], summary()["total"]["retried"]) == (5, 0)
    assert "HTTP 404" in summary()["complaints"][0]


def test_poison_that_is_accepted_is_a_failure(helios, files, summary, monkeypatch):
    """Here the events are sound, and only called poisoned."""
    monkeypatch.setattr("scripts.simulator.plan.PAYLOAD_POISONS", {})
    monkeypatch.setattr("scripts.simulator.envelopes.ENVELOPE_POISONS", {})
    status = simulate(helios.url, "--rate", "300", "--count", "300", "--error-rate", "1", *files)

    assert status == EXIT_WRONG
    assert all("should be rejected, is accepted" in complaint for complaint in summary()["complaints"])


def test_one_cloud_alone(helios, files, summary):
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
def test_a_wrong_option_is_named(arguments, word, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == EXIT_USAGE
    assert word in capsys.readouterr().err


def test_a_wrong_url_is_named(capsys):
    assert main(["--url", "localhost:8001"]) == EXIT_USAGE
    assert "--url" in capsys.readouterr().err


@contextlib.contextmanager
def endless(helios, command, files) -> Iterator[subprocess.Popen[str]]:
    """The simulator as a process of its own, until the block ends."""
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
def test_a_signal_ends_an_endless_run_in_good_order(helios, files, summary, truth, number, command):
    """What has begun is finished, late legs become missing, and the summary is shown."""
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


def test_a_later_signal_ends_the_run_at_once(helios, files, summary):
    """Also in an outage; and what has no answer is told."""
    helios.refuse(10**9)
    with endless(helios, ["-m", "scripts.simulator"], files) as process:
        wait_until(lambda: helios.refusals < 10**9 - 50)
        process.send_signal(signal.SIGINT)
        time.sleep(SAME_SIGNAL_S + 0.2)  # the time that has to pass is what is tested
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)

    assert process.returncode == EXIT_WRONG
    assert summary()["unanswered"] > 0


def test_webhooks_need_no_sdk_of_any_cloud():
    """They take long to import, and need not even be installed."""
    code = "import sys, scripts.simulator; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=True, text=True)

    assert not {"boto3", "google.cloud.pubsub_v1", "azure.eventgrid"} & set(done.stdout.split())

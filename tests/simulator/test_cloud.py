"""The simulator with the clouds' SDKs: how each publisher handles each answer, and whole runs."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import grpc
import pytest

from helios.processes.ports import free_port
from scripts.simulator.__main__ import EXIT_OK, EXIT_USAGE, EXIT_WRONG, main
from scripts.simulator.answers import Answer, Publisher
from scripts.simulator.eventbridge import MOST_ENTRIES, EventBridge
from scripts.simulator.eventgrid import EventGrid
from scripts.simulator.plan import Emission
from scripts.simulator.pubsub import PubSub
from tests.simulator.clouds import HttpCloud, PubSubCloud, event_grid, put_events
from tests.simulator.support import drain, schedule

TOPIC = "projects/shop/topics/helios-events"


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Test credentials, and none of the developer's own settings."""
    for variable in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "PUBSUB_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def aws() -> Iterator[HttpCloud]:
    with HttpCloud(put_events) as cloud:
        yield cloud


@pytest.fixture
def azure() -> Iterator[HttpCloud]:
    with HttpCloud(event_grid) as cloud:
        yield cloud


@pytest.fixture
def gcp(monkeypatch) -> Iterator[PubSubCloud]:
    with PubSubCloud() as cloud:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", cloud.host)
        yield cloud


def some(source, number) -> list[Emission]:
    return drain(schedule(sources=(source,), most_events=number, error_rate=0))


def publish(publisher: Publisher, emissions: list[Emission]) -> list[Answer]:
    async def once() -> list[Answer]:
        try:
            return await publisher.publish(emissions)
        finally:
            await publisher.close()

    return asyncio.run(once())


def bus(url: str) -> EventBridge:
    return EventBridge(url, region="us-east-1", bus="helios")


def test_a_bus_gives_each_event_its_id(aws):
    emissions = some("aws", 3)
    answers = publish(bus(aws.url), emissions)

    assert [(answer.outcome, answer.event_id) for answer in answers] == [
        ("accepted", f"aws-{number}") for number in range(3)
    ]
    entry = aws.calls[0]["Entries"][0]
    assert (entry["EventBusName"], entry["DetailType"]) == ("helios", "OrderPlaced")
    assert json.loads(entry["Detail"])["order_id"] == emissions[0].order_id
    assert entry["Time"] == emissions[0].time.replace(microsecond=0).timestamp()


def test_the_entries_of_a_call_can_fail_separately(aws):
    """With a FailedEntryCount above 0 the call succeeds, and only some of its entries are accepted."""
    entries = [
        {"EventId": "a"},
        {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"},
        {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."},
    ]
    aws.next = [(200, {"FailedEntryCount": 2, "Entries": entries})]
    answers = publish(bus(aws.url), some("aws", 3))

    assert [(answer.outcome, answer.retryable) for answer in answers] == [
        ("accepted", False),
        ("failed", True),
        ("failed", False),
    ]


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (500, "InternalException", True),
        (400, "ThrottlingException", True),
        (400, "ResourceNotFoundException", True),
        (400, "AccessDeniedException", False),
        (403, "InvalidSignatureException", False),
    ],
)
def test_an_error_of_a_bus_fails_every_event_of_the_call(aws, status, code, retryable):
    aws.next = [(status, {"__type": code, "message": "no"})]
    answers = publish(bus(aws.url), some("aws", 2))

    assert [(answer.outcome, answer.retryable) for answer in answers] == [("failed", retryable)] * 2
    assert len(aws.calls) == 1, "the SDK retried the call"


def test_an_unreachable_bus_has_accepted_no_event():
    (answer,) = publish(bus(f"http://127.0.0.1:{free_port()}"), some("aws", 1))

    assert (answer.retryable, answer.maybe_accepted) == (True, False)


def test_a_bus_that_closes_the_connection_may_have_accepted_the_event(aws):
    aws.next = [None]
    (answer,) = publish(bus(aws.url), some("aws", 1))

    assert (answer.retryable, answer.maybe_accepted) == (True, True)


def test_a_topic_accepts_cloudevents(gcp):
    (emission,) = some("gcp", 1)
    (answer,) = publish(PubSub(topic=TOPIC), [emission])
    (message,) = gcp.messages

    assert answer.outcome == "accepted"
    assert gcp.topics == {TOPIC}
    assert message.data == emission.data
    assert message.attributes["ce-id"] == emission.id
    assert message.attributes["ce-type"] == "PaymentProcessed"


@pytest.mark.parametrize(
    ("code", "retryable", "maybe_accepted"),
    [
        (grpc.StatusCode.UNAVAILABLE, True, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, True, False),
        (grpc.StatusCode.NOT_FOUND, True, False),
        (grpc.StatusCode.INVALID_ARGUMENT, False, False),
        (grpc.StatusCode.PERMISSION_DENIED, False, False),
    ],
)
def test_the_error_of_a_topic_decides_whether_the_event_is_retried(gcp, code, retryable, maybe_accepted):
    gcp.next = [code]
    (answer,) = publish(PubSub(topic=TOPIC), some("gcp", 1))

    assert (answer.outcome, answer.retryable, answer.maybe_accepted) == ("failed", retryable, maybe_accepted)
    assert not gcp.messages, "the SDK retried the call"


def test_event_grid_accepts_a_batch(azure):
    emissions = some("azure", 5)
    answers = publish(EventGrid(f"{azure.url}/api/events", key="secret"), emissions)

    assert [answer.outcome for answer in answers] == ["accepted"] * 5
    assert [event["id"] for event in azure.calls[0]] == [emission.id for emission in emissions]
    assert azure.headers[0]["aeg-sas-key"] == "secret"


def test_event_grid_that_closes_the_connection_may_have_accepted_every_event(azure):
    azure.next = [None]
    answers = publish(EventGrid(f"{azure.url}/api/events", key="secret"), some("azure", 2))

    assert [(answer.retryable, answer.maybe_accepted) for answer in answers] == [(True, True)] * 2


def test_an_unreachable_event_grid_has_accepted_no_event():
    (answer,) = publish(EventGrid(f"http://127.0.0.1:{free_port()}/api/events", key="secret"), some("azure", 1))

    assert (answer.retryable, answer.maybe_accepted) == (True, False)


@pytest.mark.parametrize(
    ("status", "retryable", "maybe_accepted"),
    [
        (500, True, True),
        (503, True, False),
        (429, True, False),
        (404, True, False),
        (400, False, False),
        (401, False, False),
        (413, False, False),
    ],
)
def test_the_error_of_event_grid_decides_whether_the_events_are_retried(azure, status, retryable, maybe_accepted):
    azure.next = [(status, {"error": {"code": "Whatever", "message": "no"}})]
    answers = publish(EventGrid(f"{azure.url}/api/events", key="secret"), some("azure", 2))

    results = [(answer.outcome, answer.retryable, answer.maybe_accepted) for answer in answers]
    assert results == [("failed", retryable, maybe_accepted)] * 2
    assert len(azure.calls) == 1, "the SDK retried the call"


@pytest.fixture
def three_clouds(monkeypatch, aws, gcp, azure):
    """The three servers, configured with the variables of the SDKs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "shop")
    monkeypatch.setenv("HELIOS_AZURE_EVENTGRID_ENDPOINT", f"{azure.url}/api/events")
    monkeypatch.setenv("HELIOS_AZURE_EVENTGRID_KEY", "secret")
    return aws, gcp, azure


def simulate(tmp_path, *arguments: str) -> tuple[int, dict, list[dict]]:
    """The exit status, the summary and the truth file of one run."""
    summary, truth = tmp_path / "summary.json", tmp_path / "truth.jsonl"
    files = ("--summary", str(summary), "--truth", str(truth))
    status = main(["--via", "cloud", "--jitter", "0.2", "--lateness", "0.5", "--patience", "10", *arguments, *files])
    return status, json.loads(summary.read_bytes()), [json.loads(line) for line in truth.read_bytes().splitlines()]


def test_a_run_reaches_every_cloud(three_clouds, tmp_path):
    """No event is lost, and only the events in the truth file are repeated."""
    aws, gcp, azure = three_clouds
    status, summary, truth = simulate(tmp_path, "--rate", "300", "--count", "600", "--error-rate", "0.3")
    repeated = Counter(line["source"] for line in truth if line["anomaly"] in {"duplicate", "contradictory"})
    entries = [entry for call in aws.calls for entry in call["Entries"]]
    grid_ids = [event["id"] for call in azure.calls for event in call]
    push_ids = [message.attributes["ce-id"] for message in gcp.messages]

    assert status == EXIT_OK
    assert len(entries) + len(grid_ids) + len(push_ids) == summary["total"]["accepted"] == 600
    assert max(len(call["Entries"]) for call in aws.calls) <= MOST_ENTRIES
    assert len(grid_ids) - len(set(grid_ids)) == repeated["azure"]
    assert len(push_ids) - len(set(push_ids)) == repeated["gcp"]


def test_the_truth_says_that_a_bus_gives_new_ids(aws, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    arguments = ("--source", "aws", "--rate", "300", "--count", "200", "--error-rate", "1")
    _, _, truth = simulate(tmp_path, *arguments)
    repeated = [line for line in truth if line["anomaly"] in {"duplicate", "contradictory"}]

    assert repeated
    assert not any(line["details"]["same_id"] for line in repeated)


def test_an_outage_of_every_cloud_loses_nothing(three_clouds, tmp_path):
    aws, gcp, azure = three_clouds
    aws.next = [(500, {"__type": "InternalFailure"})] * 3
    azure.next = [(503, "")] * 3
    gcp.next = [grpc.StatusCode.UNAVAILABLE] * 3
    status, summary, _ = simulate(tmp_path, "--rate", "100", "--count", "100", "--error-rate", "0")

    assert status == EXIT_OK
    assert (summary["total"]["accepted"], summary["total"]["failed"]) == (100, 0)
    assert all(row["retried"] >= 3 for row in summary["sources"].values())


@pytest.mark.parametrize(("source", "same_id"), [("aws", False), ("gcp", True), ("azure", True)])
def test_an_event_that_may_have_been_accepted_twice_is_in_the_truth(three_clouds, tmp_path, source, same_id):
    aws, gcp, azure = three_clouds
    aws.next, gcp.next, azure.next = [None], [grpc.StatusCode.UNAVAILABLE], [None]
    status, summary, truth = simulate(tmp_path, "--source", source, "--rate", "5", "--count", "2", "--error-rate", "0")
    recorded = [(line["anomaly"], line["details"]["certain"], line["details"]["same_id"]) for line in truth]

    assert status == EXIT_OK
    # One or both events: the clients choose which events share a call.
    assert set(recorded) == {("duplicate", False, same_id)}
    assert summary["anomalies"]["duplicate"] == 0, "the summary counts certain anomalies only"


def test_a_refused_key_fails_the_run(three_clouds, tmp_path):
    *_, azure = three_clouds
    azure._reply = lambda _: (401, {"error": {"code": "Unauthorized"}})
    status, summary, _ = simulate(tmp_path, "--source", "azure", "--rate", "100", "--count", "10", "--error-rate", "0")

    assert status == EXIT_WRONG
    assert summary["total"]["failed"] == 10


def test_the_error_for_a_cloud_without_settings_names_the_variable(capsys):
    assert main(["--via", "cloud", "--source", "aws"]) == EXIT_USAGE
    assert "AWS_ENDPOINT_URL is not set" in capsys.readouterr().err

"""With a log, the functions that ingest need no database: they append, and answer as the log does."""

import sys
from collections.abc import Callable, Iterator

import functions_framework
import pytest

from helios.messages import topics
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from tests.functions.conftest import AZURE_HOST_KEYS, FUNCTIONS, REPOSITORY
from tests.functions.test_azure import deliver as deliver_to_azure
from tests.functions.test_azure import reserved
from tests.functions.test_gcp import MAIN
from tests.functions.test_gcp import deliver as deliver_to_gcp
from tests.support.aws_lambda import Context
from tests.support.deliveries import eventbridge
from tests.support.envelopes import sqs_event


@pytest.fixture
def without_database(load_handler, monkeypatch) -> Callable[[str, str], None]:
    """Sets the environment of an edge whose log has these brokers and this prefix."""

    def set_environment(brokers: str, prefix: str) -> None:
        monkeypatch.delenv("HELIOS_DATABASE_URL")
        monkeypatch.delenv("HELIOS_REDIS_URL")
        monkeypatch.setenv("HELIOS_ENGINE", "flink")
        monkeypatch.setenv("HELIOS_LOG_BROKERS", brokers)
        monkeypatch.setenv("HELIOS_LOG_PREFIX", prefix)
        monkeypatch.setenv("HELIOS_DATABASE_TIMEOUT_SECONDS", "5")

    return set_environment


def nowhere() -> str:
    return f"{HOST}:{free_port()}"


def test_the_lambda_appends_a_batch(kafka, load_handler, without_database):
    without_database(kafka.brokers, "lambda")
    handler = load_handler("aws/ingest/handler")

    assert handler.handler(sqs_event(eventbridge("1").body, b"{"), Context()) == {"batchItemFailures": []}
    sent = kafka.messages(topics("lambda").deliveries, 2)
    assert {message.data.get("fault", {}).get("field") for message in sent} == {None, "body"}


def test_the_lambda_returns_a_batch_to_the_queue_without_the_log(load_handler, without_database):
    without_database(nowhere(), "lambda")
    handler = load_handler("aws/ingest/handler")
    batch = sqs_event(eventbridge("1").body, eventbridge("2").body)
    failures = handler.handler(batch, Context())["batchItemFailures"]

    assert [failure["itemIdentifier"] for failure in failures] == [each["messageId"] for each in batch["Records"]]


def test_the_cloud_function_appends_a_message(kafka, without_database):
    without_database(kafka.brokers, "gcp")
    function = functions_framework.create_app("ingest", str(MAIN), "cloudevent").test_client()

    assert deliver_to_gcp(function, b'{"order_id": "ORD-1"}') == 200
    (message,) = kafka.messages(topics("gcp").deliveries, 1)
    assert message.key == "ORD-1"


def test_the_cloud_function_fails_without_the_log(without_database):
    without_database(nowhere(), "gcp")
    function = functions_framework.create_app("ingest", str(MAIN), "cloudevent").test_client()

    assert deliver_to_gcp(function, b"{}") == 500


@pytest.fixture(params=["log", "nowhere"])
def azure_host(request, azurite, queue, server_folder) -> Iterator[tuple[int, str]]:
    """The port of a host whose function has a log, or brokers that do not answer."""
    port = free_port()
    helios = {
        "HELIOS_ENGINE": "flink",
        "HELIOS_LOG_BROKERS": request.getfixturevalue("kafka").brokers if request.param == "log" else nowhere(),
        "HELIOS_LOG_PREFIX": "azure",
        "HELIOS_DATABASE_TIMEOUT_SECONDS": "5",
        "EventQueue": azurite.connection_string,
    }
    with Process(
        "azure-function-log",
        [sys.executable, "-m", "local.emulators.azure_host", FUNCTIONS / "azure", "--port", str(port)],
        log=server_folder / "azure-function-log.log",
        env=scrubbed_environment(**helios, **AZURE_HOST_KEYS),
        cwd=REPOSITORY,
    ) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/admin/host/ping"), seconds=30)
        yield port, request.param


def test_the_azure_function_appends_an_event_or_fails(azure_host, request):
    port, brokers = azure_host
    status = deliver_to_azure(port, reserved("1"))

    assert status == (202 if brokers == "log" else 500)
    if brokers == "log":
        (message,) = request.getfixturevalue("kafka").messages(topics("azure").deliveries, 1)
        assert message.key == "ORD-1"

"""One order's trace over three clouds: each function sends its spans to OpenTelemetry's own Collector."""

import json
import secrets
import sys

import functions_framework
import pytest

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment
from tests.functions.conftest import AZURE_HOST_KEYS, FUNCTIONS, REPOSITORY
from tests.functions.test_azure import deliver as deliver_to_azure
from tests.support import envelopes
from tests.support.aws_lambda import Context
from tests.support.waiting import eventually


@pytest.fixture
def environment(collector, database_url, valkey_server):
    """The settings of a function that sends its spans to the collector."""

    def of(cloud: str) -> dict[str, str]:
        return {
            "HELIOS_DATABASE_URL": database_url,
            "HELIOS_REDIS_URL": valkey_server.url,
            "HELIOS_OTLP_URL": collector.url,
            "HELIOS_OTLP_RESOURCE": f"service.name=helios,cloud.provider={cloud}",
        }

    return of


@pytest.fixture
def aws(load_handler, environment, monkeypatch):
    """Delivers a message of SQS to the Lambda."""
    for name, value in environment("aws").items():
        monkeypatch.setenv(name, value)
    handler = load_handler("aws/ingest/handler").handler

    def deliver(body: dict, **attributes: str) -> None:
        batch = envelopes.sqs_event(json.dumps(body).encode())
        batch["Records"][0]["attributes"] = attributes
        assert handler(batch, Context()) == {"batchItemFailures": []}

    return deliver


@pytest.fixture
def gcp(pool, environment, monkeypatch):
    """Delivers a message of Pub/Sub to the Cloud Function."""
    for name, value in environment("gcp").items():
        monkeypatch.setenv(name, value)
    client = functions_framework.create_app("ingest", str(FUNCTIONS / "gcp/main.py"), "http").test_client()

    def deliver(data: dict, **attributes: str) -> None:
        message = envelopes.pubsub_message("1", json.dumps(data).encode(), attributes=attributes)
        assert client.post("/", json=envelopes.pubsub_push(message)).status_code == 200

    return deliver


@pytest.fixture
def azure(pool, environment, server_folder):
    """Delivers an event of Event Grid to the function app."""
    port = free_port()
    with Process(
        "azure-function",
        [sys.executable, "-m", "local.emulators.azure_host", FUNCTIONS / "azure", "--port", str(port)],
        log=server_folder / "azure-function-of-traces.log",
        env=scrubbed_environment(**environment("azure"), **AZURE_HOST_KEYS),
        cwd=REPOSITORY,
    ) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/admin/host/ping"), seconds=30)
        yield lambda event: deliver_to_azure(port, event)


def test_the_trace_of_an_order_has_a_link_from_the_batch_of_each_cloud(aws, gcp, azure, collector):
    """The shop sends the three events within one trace. Each cloud passes the context on in its own form."""
    trace = secrets.token_hex(16)
    parents = {cloud: secrets.token_hex(8) for cloud in ("aws", "gcp", "azure")}
    data = {"order_id": "ORD-1", "amount": "10.00", "currency": "EUR", "quantity": 2}

    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent={parents['aws']};Sampled=1"
    aws(envelopes.eventbridge_event(detail=data), AWSTraceHeader=header)
    gcp(data, **{"ce-type": "PaymentProcessed", "googclient_traceparent": f"00-{trace}-{parents['gcp']}-01"})
    attributes = {"type": "InventoryReserved", "traceparent": f"00-{trace}-{parents['azure']}-01"}
    assert azure(envelopes.cloudevent(data=data, **attributes)) == 202

    def links() -> dict[str, str]:
        return {
            span["resource"]["cloud.provider"]: link["spanId"]
            for span in collector.spans()
            for link in span.get("links", [])
            if link["traceId"] == trace
        }

    eventually(lambda: len(links()) == 3)
    assert links() == parents
    spans = [span for span in collector.spans() if any(link["traceId"] == trace for link in span.get("links", []))]
    assert [span["name"] for span in spans] == ["ingest"] * 3
    assert len({span["traceId"] for span in spans} | {trace}) == 4  # a batch has a trace of its own

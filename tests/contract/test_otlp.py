"""The tracer, with a receiver of OTLP that fails in each way."""

import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from helios.adapters import otlp
from helios.adapters.otlp import OtlpTracer
from helios.ports.tracing import BatchSpan
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.receiver import running
from tests.support.waiting import eventually

SPAN = "b7ad6b71" * 2


@pytest.fixture
def receive():
    """Starts a receiver with these answers, each a status and a body."""
    with ExitStack() as stack:

        def start(*answers) -> OtlpReceiver:
            receiver = stack.enter_context(running(OtlpReceiver))
            receiver.answers += [(status, {}, body) for status, body in answers]
            return receiver

        yield start


def batch(links: int = 1) -> BatchSpan:
    attributes = [{"traceparent": f"00-{number:032x}-{SPAN}-01"} for number in range(1, links + 1)]
    return BatchSpan(
        started_ns=1_000, ended_ns=2_000, deliveries=links, outcomes={"stored": links}, attributes=attributes
    )


def tracer_of(receiver: OtlpReceiver, **options) -> OtlpTracer:
    return OtlpTracer(
        receiver.url, headers={"authorization": "Bearer s"}, resource={"service.name": "helios"}, **options
    )


def test_a_span_arrives_in_protobuf_with_a_link_to_each_context(receive):
    receiver = receive()
    tracer = tracer_of(receiver)
    tracer.record(batch(links=3))
    tracer.close()

    ((path, headers, _),) = receiver.requests
    (request,) = receiver.exports
    assert (path, headers["content-type"], headers["authorization"]) == (
        "/v1/traces",
        "application/x-protobuf",
        "Bearer s",
    )
    (of_resource,) = request.resource_spans
    assert [(item.key, item.value.string_value) for item in of_resource.resource.attributes] == [
        ("service.name", "helios")
    ]
    (span,) = of_resource.scope_spans[0].spans
    assert (span.name, span.start_time_unix_nano, span.end_time_unix_nano) == ("ingest", 1_000, 2_000)
    assert (len(span.trace_id), len(span.span_id)) == (16, 8)
    assert {item.key: item.value.int_value for item in span.attributes} == {
        "messaging.batch.message_count": 3,
        "helios.stored": 3,
    }
    assert [(link.trace_id.hex(), link.span_id.hex(), link.flags) for link in span.links] == [
        (f"{number:032x}", SPAN, 0x301) for number in (1, 2, 3)
    ]


def test_a_span_has_a_limited_number_of_links_and_counts_the_others(receive):
    receiver = receive()
    tracer = tracer_of(receiver)
    tracer.record(batch(links=otlp.MAX_LINKS + 5))
    tracer.close()

    span = receiver.exports[0].resource_spans[0].scope_spans[0].spans[0]
    assert (len(span.links), span.dropped_links_count) == (otlp.MAX_LINKS, 5)


def test_a_batch_whose_senders_record_no_trace_has_no_span_unless_it_fails(receive):
    """The sender decides for the whole trace (W3C Trace Context, "Sampled flag")."""
    receiver = receive()
    tracer = tracer_of(receiver)
    not_recorded = {"traceparent": f"00-{'ab' * 16}-{SPAN}-00"}
    tracer.record(replace(batch(), attributes=[not_recorded]))
    tracer.record(replace(batch(links=2), attributes=[*batch(links=2).attributes, not_recorded]))
    tracer.record(replace(batch(), attributes=[not_recorded], error="refused"))
    tracer.record(replace(batch(), attributes=[]))
    tracer.close()

    spans = [span for request in receiver.exports for span in request.resource_spans[0].scope_spans[0].spans]
    assert [(len(span.links), span.status.message) for span in spans] == [(2, ""), (0, "refused"), (0, "")]


def test_the_requests_share_one_connection_until_the_collector_closes_it(receive):
    receiver = receive()
    tracer = tracer_of(receiver)
    spans = [otlp._Waiting(batch(), b"t" * 16, b"s" * 8)]
    tracer._send(spans)
    kept = tracer._connection._connection.sock
    tracer._send(spans)
    assert tracer._connection._connection.sock is kept is not None

    kept.shutdown(socket.SHUT_RDWR)
    tracer._send(spans)
    tracer.close()
    assert len(receiver.requests) == 3


def test_nothing_is_sent_for_batches_whose_senders_record_no_trace(receive):
    receiver = receive()
    tracer = tracer_of(receiver)
    tracer.record(replace(batch(), attributes=[{"traceparent": f"00-{'ab' * 16}-{SPAN}-00"}]))
    tracer.close()

    assert receiver.requests == []


def test_a_span_that_the_collector_could_not_take_is_sent_again(receive, monkeypatch):
    monkeypatch.setattr(otlp, "REST_SECONDS", 0.01)
    receiver = receive((503, b""), (429, b""))
    tracer = tracer_of(receiver)
    tracer.record(batch())
    eventually(lambda: len(receiver.requests) == 3)
    tracer.close()

    assert receiver.requests[0] == receiver.requests[1] == receiver.requests[2]


def test_a_span_that_the_collector_refuses_is_dropped_and_counted(receive, caplog):
    receiver = receive((400, b""))
    tracer = tracer_of(receiver)
    tracer.record(batch())
    eventually(lambda: len(receiver.requests) == 1)
    tracer.record(batch())
    tracer.close()

    assert len(receiver.requests) == 2
    assert [(record.message, record.spans) for record in caplog.records] == [("spans refused", 1), ("spans dropped", 1)]


def test_a_partial_success_is_logged(receive, caplog):
    partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
    tracer = tracer_of(receive((200, ExportTraceServiceResponse(partial_success=partial).SerializeToString())))
    tracer.record(batch())
    tracer.close()

    assert [(record.message, record.spans, record.error) for record in caplog.records] == [
        ("spans refused", 1, "too old")
    ]


def test_while_the_collector_is_down_the_spans_that_wait_are_limited(monkeypatch):
    monkeypatch.setattr(otlp, "MAX_WAITING_EVENTS", 10)
    tracer = OtlpTracer("http://127.0.0.1:9", headers={}, resource={})
    for _ in range(20):
        tracer.record(batch())
    waiting, dropped = len(tracer._waiting), tracer._dropped
    tracer.close()

    assert waiting <= 11
    assert waiting + dropped >= 19  # the thread may have taken the first one


def test_no_batch_waits_for_a_collector_that_does_not_answer(receive):
    receiver = receive()
    receiver.stalls = True
    tracer = tracer_of(receiver, collect_seconds=0)
    for _ in range(100):
        tracer.record(batch())
    eventually(lambda: receiver.requests)

    assert len(tracer._waiting) > 0  # all were recorded, and the first request still has no answer
    receiver.released.set()
    tracer.close()


CHILD = """
import sys, time
from helios.adapters.otlp import OtlpTracer
from helios.ports.tracing import BatchSpan
from helios.processes import interrupts

url, collect_seconds, end = sys.argv[1:]
tracer = OtlpTracer(url, headers={}, resource={}, collect_seconds=float(collect_seconds))
interrupts.close_on_sigterm(tracer.close)
for number in range(3):
    tracer.record(BatchSpan(started_ns=number, ended_ns=9, deliveries=1))
    print("answered", flush=True)
    sys.stdin.readline()
time.sleep(float(end))
"""


@contextmanager
def child(receiver: OtlpReceiver, *, collect_seconds: float, end: float):
    """A process that records three spans, one for each line that it reads, and then sleeps."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, receiver.url, str(collect_seconds), str(end)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answered(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "answered\n"


def started(receiver: OtlpReceiver) -> set[int]:
    return {
        span.start_time_unix_nano
        for export in receiver.exports
        for span in export.resource_spans[0].scope_spans[0].spans
    }


def test_a_process_that_is_frozen_right_after_each_batch_loses_no_span(receive):
    receiver = receive()
    with child(receiver, collect_seconds=0, end=0) as process:
        for _ in range(3):
            answered(process)
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)  # the next call
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.wait(30) == 0  # the end of the process sends what still waits

    assert started(receiver) == {0, 1, 2}


def test_sigterm_sends_the_spans_that_wait_and_ends_the_process(receive):
    receiver = receive()
    with child(receiver, collect_seconds=60, end=60) as process:
        for _ in range(3):
            answered(process)
            process.stdin.write("\n")
            process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM

    assert started(receiver) == {0, 1, 2}

"""Trace contexts: what each cloud writes beside an event, and the spans of batches."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from helios import bootstrap
from helios.adapters import otlp
from helios.api.app import _sources
from helios.errors import ConfigurationError, Retryable
from helios.model.access import Visibility
from helios.model.events import EventFilter
from helios.model.traces import TraceContext
from helios.normalise.beside import MESSAGE_HEADER
from helios.normalise.traces import packed_contexts, recorded, trace_context
from helios.ports.tracing import BatchSpan
from helios.services.tracing import traced
from helios.services.views import View
from helios.settings import Settings, load
from tests.fakes.store import MemoryStore
from tests.support.deliveries import poison
from tests.support.envelopes import CLOUDEVENT_PRODUCER, cloudevent
from tests.support.instances import leg
from tests.support.services import client_of, in_memory

TRACE, SPAN = "0af76519" * 4, "b7ad6b71" * 2
W3C = f"00-{TRACE}-{SPAN}-01"
ROOT = f"Root=1-{TRACE[:8]}-{TRACE[8:]}"
CONTEXT = TraceContext(TRACE, SPAN, "01")

CONTEXTS = [
    ({"traceparent": W3C}, CONTEXT),
    ({"googclient_traceparent": W3C, "googclient_tracestate": "a=1"}, CONTEXT),
    ({"AWSTraceHeader": f"{ROOT};Parent={SPAN};Sampled=1"}, CONTEXT),
    ({"AWSTraceHeader": f"{ROOT};Parent={SPAN};Sampled=0"}, TraceContext(TRACE, SPAN, "00")),
    ({"AWSTraceHeader": f"Self=1-0-0; Sampled=1; Parent={SPAN}; {ROOT}"}, CONTEXT),
    ({"AWSTraceHeader": ROOT}, TraceContext(TRACE, "0" * 16, "00")),
    ({"traceparent": f"cc-{TRACE}-{SPAN}-01-of-a-later-version"}, CONTEXT),
    ({"traceparent": f"00-{TRACE}-{SPAN}-01-of-a-later-version"}, None),
    ({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, None),
    ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None),
    ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, None),
    ({"traceparent": W3C.upper()}, None),
    ({"traceparent": "00-1"}, None),
    ({"AWSTraceHeader": "Root=1"}, None),
    ({"AWSTraceHeader": ";=;"}, None),
    ({"tenant": "t1"}, None),
]


@pytest.mark.parametrize(("attributes", "context"), CONTEXTS, ids=str)
def test_the_context_of_an_event_is_read_from_its_attributes(attributes, context):
    assert trace_context(attributes) == context
    assert packed_contexts([attributes]) == (context.packed() if context else b"")


def test_the_contexts_of_many_events_are_distinct_and_one_that_cannot_be_read_hides_no_other():
    w3c = [{"traceparent": f"00-{number:032x}-{SPAN}-01"} for number in range(1, 4)]
    xray = [{"AWSTraceHeader": f"Root=1-{number:08x}-{TRACE[8:]};Parent={SPAN};Sampled=1"} for number in range(1, 4)]
    contexts = [trace_context(attributes) for attributes in [*w3c, *xray]]
    expected = b"".join(context.packed() for context in contexts if context)
    unreadable = ["x", "\ud800", W3C.upper(), f"00-{TRACE}-{'0' * 16}-01", f"{W3C[:-2]}\n0"]

    assert packed_contexts([*w3c, *xray, *w3c]) == expected
    for value in unreadable:
        others = [{"traceparent": value}, {"AWSTraceHeader": value}]
        assert packed_contexts([*others, *w3c, *xray]) == expected
        assert packed_contexts([*w3c, *xray, *others]) == expected


@given(st.lists(st.text("0123456789abcdef-\nxF", max_size=60) | st.from_regex(r"\A0[01]-[01]{32}-[01]{16}-0[01]\Z")))
def test_contexts_that_are_read_together_are_those_that_are_read_one_by_one(values):
    contexts = [trace_context({"traceparent": value}) for value in dict.fromkeys(values)]
    expected = b"".join(context.packed() for context in contexts if context)
    assert packed_contexts([{"traceparent": value} for value in values]) == expected


def test_only_the_contexts_whose_trace_is_recorded_remain():
    contexts = [TraceContext(f"{number:032x}", SPAN, flags) for number, flags in enumerate(["01", "00", "03", "02"], 1)]
    packed = [context.packed() for context in contexts]

    assert recorded(b"".join(packed)) == packed[0] + packed[2]
    assert recorded(packed[0] + packed[2]) == packed[0] + packed[2]
    assert recorded(b"") == b""


class Memory:
    """A tracer that stores its spans in memory."""

    def __init__(self) -> None:
        self.spans: list[BatchSpan] = []

    def record(self, span: BatchSpan) -> None:
        self.spans.append(span)

    def close(self) -> None:
        """Do nothing."""


def test_a_batch_is_one_span_with_its_outcomes_and_the_attributes_of_its_events():
    tracer = Memory()
    services = replace(in_memory(MemoryStore()), tracer=tracer)
    services.ingest([leg("payment"), leg("payment"), poison()])

    (span,) = tracer.spans
    assert (span.deliveries, dict(span.outcomes)) == (3, {"stored": 1, "duplicate": 1, "rejected": 1})
    assert span.ended_ns >= span.started_ns
    assert span.error is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Retryable("Postgres: connection refused"), "Postgres: connection refused"), (KeyError("secret"), "KeyError")],
)
def test_a_batch_that_is_not_stored_is_a_span_with_the_error_and_no_content(error, reason):
    def fail():
        raise error

    tracer = Memory()
    with pytest.raises(type(error)):
        traced(fail, [poison()] * 7, tracer)
    (span,) = tracer.spans
    assert (span.deliveries, span.error, span.outcomes) == (7, reason, {})


def test_the_context_of_a_webhook_s_request_is_a_link_and_no_attribute_of_its_events():
    """No signature covers it. A context in the event itself is another link."""
    tracer = Memory()
    services = replace(in_memory(MemoryStore(), settings(trust_loopback=True)), tracer=tracer)
    request, own = f"00-{TRACE}-{'1' * 16}-01", f"00-{TRACE}-{'2' * 16}-01"
    batch = [cloudevent("1", data={}, type="A"), cloudevent("2", data={}, type="A", traceparent=own)]
    headers = {"content-type": "application/cloudevents-batch+json", "traceparent": request}
    with client_of(services) as client:
        client.post("/api/v1/webhooks/cloudevents", content=json.dumps(batch), headers=headers)
        stored = client.get("/api/v1/events").json()["items"]

    (span,) = tracer.spans
    expected = [TraceContext(TRACE, digit * 16, "01").packed() for digit in "21"]
    assert packed_contexts(span.attributes) == b"".join(expected)
    assert [event.get("trace", {}).get("id") for event in stored] == [TRACE, None]


def settings(**fields) -> Settings:
    return Settings(database_url="postgresql://nowhere", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"otlp_url": "collector:4318"}, "HELIOS_OTLP_URL: "),
        ({"otlp_url": "ftp://collector"}, "HELIOS_OTLP_URL: "),
        ({"otlp_url": "http://collector", "otlp_secret": "hunter2"}, "HELIOS_OTLP_SECRET: element 1 is not NAME=VALUE"),
        ({"otlp_url": "http://collector", "otlp_resource": "a=b,c"}, "HELIOS_OTLP_RESOURCE: element 2 "),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_shown(fields, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        bootstrap.build(settings(**fields))
    assert "hunter2" not in str(raised.value)


def test_headers_and_attributes_are_percent_decoded():
    assert otlp.pairs("X", "authorization=Bearer%20a%2Cb, x-tenant = shop ,") == {
        "authorization": "Bearer a,b",
        "x-tenant": "shop",
    }


def test_the_api_shows_the_trace_of_an_event_with_its_address():
    url = "https://tracing.example/trace/{trace_id}?from=helios"
    services = in_memory(MemoryStore(), settings(trust_loopback=True, trace_url=url))
    with client_of(services) as client:
        for id_, extensions in (("1", {"traceparent": W3C}), ("2", {})):
            event = cloudevent(id_, data={"order_id": "ORD-1"}, type="PaymentProcessed", **extensions)
            client.post("/api/v1/webhooks/cloudevents", json=event)
        page = client.get("/api/v1/events").json()["items"]
        shown = client.get("/api/v1/events/aws/1", params={"producer": CLOUDEVENT_PRODUCER}).json()

    trace = {"id": TRACE, "url": f"https://tracing.example/trace/{TRACE}?from=helios"}
    assert {event["id"]: event.get("trace") for event in page} == {"1": trace, "2": None}
    assert shown["trace"] == trace


def test_the_page_of_an_order_has_the_traces_of_its_events_without_an_address_if_none_is_set():
    store = MemoryStore()
    sent = [
        replace(leg("order"), headers={f"{MESSAGE_HEADER}AWSTraceHeader": f"{ROOT};Parent={SPAN};Sampled=1"}),
        replace(leg("payment"), headers={**leg("payment").headers, "ce-traceparent": W3C}),
    ]
    services = in_memory(store)
    services.ingest(sent)
    with client_of(services) as client:
        events = client.get("/api/v1/flows/order/ORD-1").json()["events"]

    assert [event["trace"] for event in events] == [{"id": TRACE, "url": None}] * 2


def test_a_masked_context_shows_no_trace():
    store = MemoryStore()
    in_memory(store).ingest([replace(leg("payment"), headers={**leg("payment").headers, "ce-traceparent": W3C})])
    view = View(_sources(in_memory(store)), Visibility(masked=("traceparent",)))

    (event,) = view.events(EventFilter(), after=None, limit=10).items
    assert event.trace is UNSET


@pytest.mark.parametrize("url", ["tracing.example/{trace_id}", "https://tracing.example/", "javascript:{trace_id}"])
def test_an_address_of_traces_without_the_id_or_a_scheme_is_refused(url):
    with pytest.raises(ConfigurationError, match="HELIOS_TRACE_URL"):
        load({"HELIOS_DATABASE_URL": "x", "HELIOS_TRACE_URL": url})

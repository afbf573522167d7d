"""A receiver of OTLP over HTTP in this process."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.receiver import Receiver


class OtlpReceiver(Receiver):
    """Takes spans, and shows them as the Collector of ``local.servers.otelcol`` does."""

    otherwise = (200, {}, b"")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def exports(self) -> list[ExportTraceServiceRequest]:
        """The body of each request."""
        return [ExportTraceServiceRequest.FromString(body) for _, _, body in self.requests]

    def spans(self) -> list[dict[str, Any]]:
        """Every span that it has taken, with the attributes of its resource as ``resource``."""
        return [
            {
                "name": span.name,
                "traceId": span.trace_id.hex(),
                "spanId": span.span_id.hex(),
                "links": [{"traceId": link.trace_id.hex(), "spanId": link.span_id.hex()} for link in span.links],
                "resource": {item.key: item.value.string_value for item in of.resource.attributes},
            }
            for export in self.exports
            for of in export.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]

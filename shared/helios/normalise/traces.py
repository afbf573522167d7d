"""The trace contexts of events, from the attribute in which each cloud passes them on."""

import re
from binascii import unhexlify
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from helios.model.traces import CONTEXT_BYTES, TraceContext

_W3C: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
"""W3C Trace Context, "traceparent Header Field Values"."""

_LATER_VERSION: Final = re.compile(r"(?!00)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?=-)")
"""The known fields of a version after 00, which may append others ("Versioning of traceparent")."""

_LINE: Final = len("\n---") + 2 * CONTEXT_BYTES
"""The length of a ``traceparent`` of version 00 after a line break."""

_XRAY: Final = re.compile(r"^Root=1-([0-9a-f]{8})-([0-9a-f]{24});Parent=([0-9a-f]{16});Sampled=([01])$", re.MULTILINE)
"""AWS X-Ray Developer Guide, "Tracing header", as AWS' services write it."""

_ROOT: Final = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT: Final = re.compile(r"[0-9a-f]{16}")
"""The fields of the header, which may come in any order. "Trace ID format": the W3C's ids have the same 32 digits."""

_NO_SPAN: Final = "0" * 16
_OF_GOOGLE: Final = "googclient_traceparent"
_RECORDED: Final = bytes(range(1, 256, 2))
"""The flags with the lowest bit set (W3C Trace Context, "Sampled flag")."""


def trace_context(attributes: Mapping[str, str]) -> TraceContext | None:
    """The trace context of an event; None if it has none, or one that can't be read.

    The attributes are ``traceparent`` (CloudEvents' extension, also on Event Grid, and message attributes),
    ``googclient_traceparent`` (Pub/Sub's client libraries) and ``AWSTraceHeader`` (SQS, also behind EventBridge).
    """
    if parent := attributes.get("traceparent") or attributes.get(_OF_GOOGLE):
        return from_traceparent(parent)
    header = attributes.get("AWSTraceHeader")
    return from_xray(header) if header else None


def packed_contexts(events: Sequence[Mapping[str, str]]) -> bytes:
    """The distinct contexts of events with these attributes, one after the other, each packed in CONTEXT_BYTES.

    An event in which the publisher and AWS have both written a context has two. The values are parsed together, in a
    tenth of the time of one after the other.
    """
    parents = {value: None for event in events if (value := event.get("traceparent") or event.get(_OF_GOOGLE))}
    headers = {value: None for event in events if (value := event.get("AWSTraceHeader"))}
    return _packed_traceparents(parents) + _packed_xray_headers(headers)


def recorded(contexts: bytes) -> bytes:
    """Those of the packed contexts whose senders record the trace: the others lead to no trace."""
    flags = contexts[CONTEXT_BYTES - 1 :: CONTEXT_BYTES]
    if not flags.translate(None, _RECORDED):
        return contexts
    return b"".join(
        contexts[number * CONTEXT_BYTES : (number + 1) * CONTEXT_BYTES] for number, bits in enumerate(flags) if bits & 1
    )


def from_traceparent(value: str) -> TraceContext | None:
    """The context in a ``traceparent``; None if it is malformed."""
    later = _LATER_VERSION.match(value)
    match = _W3C.fullmatch(later[0] if later else value)
    return TraceContext(*match.groups()) if match else None


def from_xray(value: str) -> TraceContext | None:
    """The context in a tracing header of X-Ray; None if it names no trace."""
    fields = dict(field.strip().split("=", 1) for field in value.split(";") if "=" in field)
    root, parent = _ROOT.fullmatch(fields.get("Root", "")), fields.get("Parent", "")
    if not root:
        return None
    span_id = parent if _PARENT.fullmatch(parent) else _NO_SPAN
    return TraceContext(root[1] + root[2], span_id, "01" if fields.get("Sampled") == "1" else "00")


def _packed_traceparents(values: Collection[str]) -> bytes:
    text = "\n".join(["", *values]).encode(errors="replace")
    if not _are_lines_of_version_00(text, len(values)):
        return b"".join(context.packed() for context in map(from_traceparent, values) if context)
    packed = unhexlify(text.translate(None, b"\n-"))
    if bytes(8) in packed:  # perhaps an id of zeros, which is invalid
        return b"".join(context.packed() for context in map(from_traceparent, values) if context)
    return packed


def _are_lines_of_version_00(text: bytes, count: int) -> bool:
    """Whether this text is as many values, each after a line break, with lower-case digits in the right places."""
    return (
        len(text) == count * _LINE
        and text[0::_LINE] == b"\n" * count
        and text[1::_LINE] == text[2::_LINE] == b"0" * count
        and text[3::_LINE] == text[36::_LINE] == text[53::_LINE] == b"-" * count
        and len(text.translate(None, b"0123456789abcdef")) == 4 * count
    )


def _packed_xray_headers(values: Collection[str]) -> bytes:
    found: list[tuple[str, str, str, str]] = _XRAY.findall("\n".join(values))
    if len(found) == len(values):
        return unhexlify("".join(f"00{day}{rest}{parent}0{sampled}" for day, rest, parent, sampled in found))
    return b"".join(context.packed() for context in map(from_xray, values) if context)

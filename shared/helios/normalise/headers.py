"""The headers of a request that the contract of some channel uses; no other header is read or stored."""

from collections.abc import Iterable
from typing import Final

from helios.model.sources import SourceDeclaration

CONTRACT_HEADERS: Final = ("content-type", "event_type")
CONTRACT_HEADER_PREFIXES: Final = ("ce-", "x-goog-pubsub-")

UNWRAPPED: Final = "x-goog-pubsub-message-id"
"""Marks Pub/Sub's unwrapped push, in which each attribute of the message is a header, and whose content type the
publisher chooses."""

_OF_HTTP: Final = frozenset(
    {
        *(
            "accept",
            "accept-charset",
            "accept-encoding",
            "accept-language",
            "authorization",
            "baggage",
            "cache-control",
            "connection",
            "content-encoding",
            "content-length",
        ),
        *(
            "cookie",
            "date",
            "expect",
            "forwarded",
            "from",
            "host",
            "keep-alive",
            "origin",
            "pragma",
            "priority",
            "proxy-authorization",
            "range",
        ),
        *(
            "referer",
            "te",
            "trailer",
            "traceparent",
            "tracestate",
            "transfer-encoding",
            "upgrade",
            "user-agent",
            "via",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp",
        ),
    }
)
_OF_PROXIES: Final = ("x-", "sec-", "cf-", "access-control-", "if-", "proxy-", "aeg-", "svix-")
"""Headers that clients, proxies and authenticators set; they are never attributes of a message."""


def contract_headers(
    headers: Iterable[tuple[str, str]], declaration: SourceDeclaration | None = None
) -> dict[str, str]:
    """The headers that the contract of some channel uses, or that a declaration reads, with names in lower case."""
    named = {name.lower(): value for name, value in headers}
    if declaration and declaration.channel == "webhook":
        names = {"content-type", *declaration.headers}
        return {name: value for name, value in named.items() if name in names}
    if UNWRAPPED in named:
        return {name: value for name, value in named.items() if _is_of_contract(name) or _is_attribute(name)}
    return {name: value for name, value in named.items() if _is_of_contract(name)}


def _is_of_contract(name: str) -> bool:
    return name in CONTRACT_HEADERS or name.startswith(CONTRACT_HEADER_PREFIXES)


def _is_attribute(name: str) -> bool:
    return name not in _OF_HTTP and not name.startswith(_OF_PROXIES)

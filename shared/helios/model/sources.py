"""Sources: where events come from. Three clouds are built in; a file declares more."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

BuiltIn = Literal["aws", "gcp", "azure"]
BUILT_IN: tuple[BuiltIn, ...] = get_args(BuiltIn)

Source = str
"""The name of a source: ``aws``, ``gcp``, ``azure``, or a declared one."""

SOURCE_PATTERN: Final = r"^[a-z][a-z0-9-]{0,31}$"

SourceName = Annotated[str, Meta(pattern=SOURCE_PATTERN)]
"""The name of a source in a request or a file, where it is checked."""

UNKNOWN: Final = "unknown"
"""The source of the counts of deliveries that can't be read and may come from any source."""

Colour = Literal["amber", "green", "violet", "pink", "blue", "orange", "teal", "lime", "brown", "slate"]
COLOURS: tuple[Colour, ...] = get_args(Colour)

Shape = Literal["triangle", "circle", "diamond", "square", "hexagon", "star", "cross", "pentagon"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


class SourceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a source is shown. Neither the colour nor the shape alone identifies it: the label is always beside them.

    Attributes:
        name: the name in events, filters and addresses.
        label: the name that people read.
        colour: a colour of the dashboard's palette, which has a light and a dark value for each.
        shape: the shape of its mark.
        built_in: whether it is one of the three clouds.
    """

    name: SourceName
    label: str
    colour: Colour
    shape: Shape
    built_in: bool = False


BUILT_IN_SOURCES: Final = (
    SourceInfo(name="aws", label="AWS", colour="amber", shape="triangle", built_in=True),
    SourceInfo(name="gcp", label="GCP", colour="green", shape="circle", built_in=True),
    SourceInfo(name="azure", label="Azure", colour="violet", shape="diamond", built_in=True),
)

Seconds = Annotated[int, Meta(ge=1, le=3600)]
HeaderName = Annotated[str, Meta(pattern=r"^[a-z0-9-]+$", max_length=64)]
"""A header, in lower case."""

Variable = Annotated[str, Meta(pattern=r"^[a-z0-9-]+(\.[A-Za-z0-9_-]+)?$", max_length=128)]
"""A header, or ``header.name`` for one of the ``name=value`` pairs in it."""


class Hmac(msgspec.Struct, frozen=True, kw_only=True, tag_field="scheme", tag="hmac", forbid_unknown_fields=True):
    """A signature that is made with a shared secret.

    Attributes:
        header: the header with the signature.
        algorithm: the hash function of the HMAC (RFC 2104).
        encoding: how the signature is written.
        prefix: the text before a signature. Parts of the header without it are other things.
        separator: the text between the parts of the header; empty: the header is one signature.
        signed: what is signed: a text with ``{body}`` and any of ``{header}`` and ``{header.name}``.
        timestamp: where the time of signing is, in Unix seconds; None: nothing says when the request was signed.
        tolerance_seconds: how far that time may be from now.
        key: ``text``: the secret is the key. ``base64``: the secret is the key in base64. ``whsec``: the same, after
            the prefix ``whsec_``.
        name: the name of the scheme in metrics.
    """

    header: HeaderName
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Meta(max_length=64)] = ""
    separator: Annotated[str, Meta(max_length=4)] = ""
    signed: Annotated[str, Meta(max_length=256)] = "{body}"
    timestamp: Variable | None = None
    tolerance_seconds: Seconds = 300
    key: Literal["text", "base64", "whsec"] = "text"
    name: str = "hmac"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, tag_field="scheme", tag="api_key", forbid_unknown_fields=True):
    """A secret in a header. It covers no body: use it over TLS, and only if the sender can't sign."""

    header: HeaderName = "x-api-key"
    name: str = "api_key"


class Oidc(msgspec.Struct, frozen=True, kw_only=True, tag_field="scheme", tag="oidc", forbid_unknown_fields=True):
    """A bearer token of an OpenID Connect provider.

    Attributes:
        issuer: the ``iss`` of its tokens.
        audience: the ``aud`` that a token must have.
        keys_url: the URL of its public keys.
        subject: the only ``sub`` that may send; None: every subject of the issuer.
        name: the name of the scheme in metrics.
    """

    issuer: Annotated[str, Meta(min_length=1)]
    audience: Annotated[str, Meta(min_length=1)]
    keys_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$")]
    subject: str | None = None
    name: str = "oidc"


Proof = Hmac | ApiKey | Oidc

Place = Annotated[str, Meta(pattern=r"^(=.+|header:[a-z0-9-]+|[^.=:\s][^.]*(\.[^.]+)*)$", max_length=256)]
"""Where a value is: a path into the body, ``header:name``, or ``=text`` for the text itself."""

Path = Annotated[str, Meta(pattern=r"^[^.]+(\.[^.]+)*$", max_length=256)]
"""A path into a payload: names joined by dots; a number selects an element of an array."""

Paths = Path | Annotated[tuple[Path, ...], Meta(min_length=1, max_length=8)]
"""One path, or several of which the first with a value counts."""


class SourceDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A declared source.

    ``id``, ``type``, ``time``, ``producer`` and ``data`` are places in the request; ``order``, ``customer``, ``amount``
    and ``currency`` are paths in the data.

    Attributes:
        name: the name in events and in the address of its webhook, ``/api/v1/webhooks/{name}``.
        label: the name that people read; absent: the name, with a capital letter.
        colour: a colour that no other source has together with the same shape; absent: the first free one.
        shape: the same for its shape.
        channel: ``webhook``: JSON bodies of any form. ``cloudevents``: CloudEvents 1.0, which say all but the source.
        proof: how a request proves that this source sent it.
        id: the id of the event. Required for ``webhook``.
        type: the type of the event. Required for ``webhook``.
        time: when it happened: RFC 3339, or Unix time in seconds or milliseconds; absent: the time of arrival.
        producer: the part of the source for which the id is unique, such as an account; absent: the source's name.
        data: the payload; absent: the whole body.
        order: the order to which the event belongs; flows call it ``order_id``.
        customer: the customer; flows call it ``customer_id``.
        amount: the amount of money.
        currency: its currency (ISO 4217), in any case.
        minor_units: whether the amount is in the smallest unit of the currency: 1099 for 10.99 USD.
        acknowledge_all: whether a delivery that became a dead letter is answered with 200 too, instead of 400, 413 or
            415. That suits a sender that would repeat the delivery, or give up the webhook.
    """

    name: SourceName
    label: Annotated[str, Meta(min_length=1, max_length=24)] | None = None
    colour: Colour | None = None
    shape: Shape | None = None
    channel: Literal["webhook", "cloudevents"] = "webhook"
    proof: Proof
    id: Place | None = None
    type: Place | None = None
    time: Place | None = None
    producer: Place | None = None
    data: Path | None = None
    order: Paths | None = None
    customer: Paths | None = None
    amount: Paths | None = None
    currency: Paths | None = None
    minor_units: bool = False
    acknowledge_all: bool = False

    @property
    def headers(self) -> frozenset[str]:
        """The headers that the declaration reads, in lower case."""
        places = (self.id, self.type, self.time, self.producer)
        return frozenset(place.removeprefix("header:") for place in places if place and place.startswith("header:"))

"""Amazon SNS: signature version 2, verified with a certificate from Amazon's own host.

Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages". Helios never opens the SubscribeURL of a
message: the operator who subscribes Helios to a topic confirms the subscription in SNS.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from helios.auth.authenticator import Headers, Refused
from helios.auth.certificates import Certificates
from helios.auth.keys import Fetch, fetch
from helios.errors import UNREADABLE

CERTIFICATE_URL = re.compile(
    r"https://sns\.(?P<region>[a-z0-9-]{1,40})\.amazonaws\.com(\.cn)?/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem",
    re.ASCII,
)
OLDEST_SECONDS = 2 * 3600
"""SNS stops retrying after an hour at most ("Amazon SNS message delivery retries": total policy retry time)."""

AHEAD_SECONDS = 300

TYPE_HEADER = "x-amz-sns-message-type"
TYPES = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")
"""The values of Type (Amazon SNS Developer Guide, "HTTP/HTTPS headers")."""


class _Message(msgspec.Struct, rename="pascal"):
    type: str
    message_id: str
    topic_arn: str
    message: str
    timestamp: str
    signature: str
    signature_version: str
    signing_cert_url: str = msgspec.field(name="SigningCertURL")
    subject: str | None = None
    token: str | None = None
    subscribe_url: str | None = msgspec.field(name="SubscribeURL", default=None)


_decode = msgspec.json.Decoder(_Message).decode


class SnsSignature:
    """Accepts messages that SNS has signed, of the configured topics."""

    reads_body = True
    may_wait = True

    def __init__(
        self,
        topics: Collection[str],
        *,
        mirror: str | None = None,
        fetch: Fetch = fetch,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the topics whose messages are accepted.

        Args:
            topics: the ARNs of the topics.
            mirror: the URL of a server that serves Amazon's certificates at the same paths, for an API that can't reach
                Amazon's own host. A message must name Amazon's host even so.
            fetch: fetches a certificate.
            now: returns the current time.
            clock: measures the age of a fetch.
        """
        self._topics = frozenset(topics)
        self._certificates = Certificates(mirror=mirror, fetch=fetch, clock=clock)
        self._now = now

    def applies(self, headers: Headers) -> bool:
        """Whether the request has the header of an SNS message."""
        return TYPE_HEADER in headers

    def check(self, headers: Headers, body: bytes) -> bytes:
        """Check form, topic, time and host of the certificate before fetching it, then the signature.

        Returns:
            The Message of a notification. Of a confirmation, a JSON object of the signed fields. No other field of the
            body is returned, because no signature covers it.
        """
        try:
            message = _decode(body)
            sent = datetime.strptime(message.timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
        except (*UNREADABLE, ValueError) as error:
            raise Refused("The body is not an SNS message. Turn off raw message delivery.", code="malformed") from error
        signed = _signed_fields(message)
        _check_form(message, signed, headers)
        if message.topic_arn not in self._topics:
            raise Refused(
                "Unknown topic. Send from one of the topics in HELIOS_SNS_TOPICS.", status=403, code="wrong_account"
            )
        if message.signature_version != "2":
            raise Refused("SignatureVersion is not 2. Set it to 2 on the topic.", code="wrong_algorithm")
        if not -AHEAD_SECONDS <= self._now() - sent <= OLDEST_SECONDS:
            raise Refused(
                f"Timestamp is more than {OLDEST_SECONDS // 3600} hours old or more than {AHEAD_SECONDS // 60} minutes "
                "in the future. Publish the message again.",
                code="replayed",
            )
        url = CERTIFICATE_URL.fullmatch(message.signing_cert_url)
        if not url or f":{url['region']}:" not in message.topic_arn:
            raise Refused(
                "SigningCertURL is not a URL of Amazon SNS in the topic's region. Send the message as SNS signed it.",
                code="wrong_issuer",
            )
        self._check_signature(message, signed)
        return message.message.encode() if message.type == "Notification" else msgspec.json.encode(signed)

    def _check_signature(self, message: _Message, signed: Mapping[str, str]) -> None:
        certificate = self._certificates.get(message.signing_cert_url)
        key = certificate.public_key()
        now = datetime.fromtimestamp(self._now(), UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Refused("The signing certificate has expired or is not valid yet. Publish again.", code="expired")
        if not isinstance(key, rsa.RSAPublicKey):
            raise Refused("The signing certificate has no RSA key. Sign with an RSA key.", code="wrong_algorithm")
        try:
            signature = base64.b64decode(message.signature, validate=True)
            key.verify(signature, _text(signed), padding.PKCS1v15(), hashes.SHA256())
        except (binascii.Error, InvalidSignature, ValueError) as error:
            raise Refused("Signature does not match. Send the message as SNS signed it.", code="wrong_key") from error


def _signed_fields(message: _Message) -> Mapping[str, str]:
    """The fields that a signature covers, sorted by name in byte order."""
    fields = {
        "Message": message.message,
        "MessageId": message.message_id,
        "Timestamp": message.timestamp,
        "TopicArn": message.topic_arn,
        "Type": message.type,
    }
    if message.type == "Notification":
        fields |= {"Subject": message.subject} if message.subject else {}
    else:
        fields |= {"SubscribeURL": message.subscribe_url or "", "Token": message.token or ""}
    return dict(sorted(fields.items()))


def _check_form(message: _Message, signed: Mapping[str, str], headers: Headers) -> None:
    """Refuse a message whose signed text could be split into other fields.

    The text has a line for each name and each value. Message alone may have several lines or be empty: the lines of the
    other fields follow it, so that their number and names fix where it ends.
    """
    if message.type not in TYPES or headers.get(TYPE_HEADER, message.type) != message.type:
        raise Refused(
            f"Type is not a type of SNS messages, or differs from header {TYPE_HEADER}. Send the message as SNS sent "
            "it.",
            code="malformed",
        )
    for name, value in signed.items():
        if name != "Message" and (not value or "\n" in value):
            raise Refused(
                f"{name} is empty or contains a line break. Send the message as SNS sent it.", code="malformed"
            )


def _text(signed: Mapping[str, str]) -> bytes:
    """The text that a signature covers: each name and each value is a line. An empty Message has none."""
    return "".join(f"{name}\n{value}\n" for name, value in signed.items() if value).encode()

"""Amazon SNS: its signature, version 2, with a certificate that only Amazon's own host may give.

Amazon SNS Developer Guide, "Verifying the signatures of Amazon SNS messages". The SubscribeURL of a message is never
opened: who subscribes Helios to a topic confirms it there.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable, Collection
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
"""SNS gives up after an hour at most ("Amazon SNS message delivery retries": total policy retry time)."""

AHEAD_SECONDS = 300

TYPE_HEADER = "x-amz-sns-message-type"


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
    """Lets in messages that SNS has signed, of the topics that are ours."""

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
        """Take what may send.

        Args:
            topics: the ARNs of the topics that are ours.
            mirror: the URL of a server that has Amazon's certificates at the same paths, asked instead of Amazon's
                own, for an API that can't reach that. A message has to name Amazon's host all the same.
            fetch: how a certificate is had.
            now: the time.
            clock: measures how long ago a certificate was asked for.
        """
        self._topics = frozenset(topics)
        self._certificates = Certificates(mirror=mirror, fetch=fetch, clock=clock)
        self._now = now

    def applies(self, headers: Headers) -> bool:
        """Whether it says that SNS sends it."""
        return TYPE_HEADER in headers

    def check(self, headers: Headers, body: bytes) -> None:  # noqa: ARG002 - all of the proof is in the body
        """Check topic, time and host before anything is fetched, then the signature."""
        try:
            message = _decode(body)
            sent = datetime.strptime(message.timestamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()
        except (*UNREADABLE, ValueError) as error:
            raise Refused("the body is no message of SNS", code="malformed") from error
        if message.topic_arn not in self._topics:
            raise Refused("the topic is not one of HELIOS_SNS_TOPICS", status=403, code="wrong_account")
        if message.signature_version != "2":
            raise Refused("SignatureVersion is not 2: set it on the topic", code="wrong_algorithm")
        if not -AHEAD_SECONDS <= self._now() - sent <= OLDEST_SECONDS:
            raise Refused("Timestamp is not of the last hours", code="replayed")
        url = CERTIFICATE_URL.fullmatch(message.signing_cert_url)
        if not url or f":{url['region']}:" not in message.topic_arn:
            raise Refused("SigningCertURL is not one of Amazon SNS in the topic's region", code="wrong_issuer")
        self._check_signature(message)

    def _check_signature(self, message: _Message) -> None:
        certificate = self._certificates.get(message.signing_cert_url)
        key = certificate.public_key()
        now = datetime.fromtimestamp(self._now(), UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise Refused("the certificate is not in its time", code="expired")
        if not isinstance(key, rsa.RSAPublicKey):
            raise Refused("the certificate's key is not RSA", code="wrong_algorithm")
        try:
            signature = base64.b64decode(message.signature, validate=True)
            key.verify(signature, _signed(message), padding.PKCS1v15(), hashes.SHA256())
        except (binascii.Error, InvalidSignature, ValueError) as error:
            raise Refused("Signature does not fit the message", code="wrong_key") from error


def _signed(message: _Message) -> bytes:
    """The fields that a signature covers, in byte order of their names, each name and value on a line."""
    fields = {
        "Message": message.message,
        "MessageId": message.message_id,
        "Timestamp": message.timestamp,
        "TopicArn": message.topic_arn,
        "Type": message.type,
    }
    if message.type == "Notification":
        fields["Subject"] = message.subject or ""
    else:
        fields |= {"SubscribeURL": message.subscribe_url or "", "Token": message.token or ""}
    return "".join(f"{name}\n{value}\n" for name, value in sorted(fields.items()) if value).encode()

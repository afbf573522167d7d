"""Helios stores the message that a signature covers, and nothing else of the request."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient

from helios.auth.authenticator import Refused
from helios.auth.sns import SnsSignature
from helios.model.dead_letters import DeadLetterFilter
from helios.model.events import EventFilter
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support import envelopes
from tests.support.listener import listening
from tests.support.services import client_of, in_memory

AWS = "/api/v1/webhooks/aws/eventbridge"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SIGNED_FIELDS = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FORGED_EVENT = envelopes.eventbridge_event("forged", detail={"order_id": "ORD-FORGED", "amount": 1_000_000})


def certificate() -> bytes:
    """The certificate of KEY, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1))
    return (
        builder.not_valid_after(now + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


PEM = certificate()


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def sns_message(message: str, **fields: str) -> dict[str, str]:
    """A message as SNS signs it: a line for the name and a line for the value of each signed field."""
    unsigned = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": timestamp(),
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
    } | fields
    text = "".join(f"{name}\n{unsigned[name]}\n" for name in SIGNED_FIELDS if unsigned.get(name))
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return unsigned | {"Signature": base64.b64encode(signature).decode()}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def client(store) -> Iterator[TestClient]:
    with listening(200, {}, PEM) as mirror:
        settings = Settings(
            database_url="postgresql://nowhere",
            webhook_auth="eventbridge=sns",
            sns_topics=TOPIC,
            sns_certificates_url=mirror,
        )
        with client_of(in_memory(store, settings), url="http://api.example", sender="192.0.2.1") as opened:
            yield opened


def post(client: TestClient, body: str, *, type_: str = "Notification"):
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": type_}
    return client.post(AWS, content=body, headers=headers)


def stored_ids(store: MemoryStore) -> list[str]:
    return [event.id for event in store.events(EventFilter(), after=None, limit=9).items]


def dead_letter_bodies(store: MemoryStore) -> list[bytes]:
    return [kept.dead_letter.body for kept in store.dead_letters(DeadLetterFilter(), after=None, limit=9).items]


@pytest.mark.parametrize("name", ["TopicArn", "Type", "Message"])
def test_a_signed_notification_with_an_escaped_key_stores_only_the_signed_event(client, store, name):
    """JSON allows escapes in keys. No spelling of the keys makes the unsigned top level of the body the event."""
    signed = sns_message(json.dumps(envelopes.eventbridge_event("genuine")))
    body = json.dumps(FORGED_EVENT | signed).replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')

    assert post(client, body).status_code == 202
    assert stored_ids(store) == ["genuine"]


def test_a_signed_message_that_is_not_an_event_does_not_make_the_rest_of_the_body_one(client, store):
    """The dead letter holds the signed message, without the unsigned fields beside it."""
    body = json.dumps(FORGED_EVENT | sns_message("not an event"))

    assert post(client, body).status_code == 400
    assert (stored_ids(store), dead_letter_bodies(store)) == ([], [b"not an event"])


def test_the_dead_letter_of_a_confirmation_holds_only_signed_fields(client, store):
    """The operator needs the token to confirm the subscription. An unsigned field beside it is not stored."""
    fields = {"Type": "SubscriptionConfirmation", "Token": "t-1", "SubscribeURL": "https://sns.example/"}
    body = json.dumps(FORGED_EVENT | sns_message("Confirm.", **fields))

    assert post(client, body, type_="SubscriptionConfirmation").status_code == 400
    (stored,) = map(json.loads, dead_letter_bodies(store))
    assert stored["Token"] == "t-1"
    assert set(stored) <= set(SIGNED_FIELDS)


def refusal_of(message: dict[str, str], headers: dict[str, str] | None = None) -> str:
    """The code of the refusal; empty if the message is accepted."""
    try:
        SnsSignature([TOPIC], fetch=lambda _: PEM).check(headers or {}, json.dumps(message).encode())
    except Refused as refused:
        return refused.code
    return ""


def test_a_signature_does_not_cover_the_same_text_split_into_other_fields():
    """The signed text has a line for each name and value, so a Message with such lines could be split elsewhere."""
    tail = f"m-1\nTimestamp\n{timestamp()}\nTopicArn\n{TOPIC}\nType\nNotification"
    genuine = sns_message(f"forged\nMessageId\n{tail}")
    rest = f"Notification\nMessageId\nm-1\nTimestamp\n{genuine['Timestamp']}\nTopicArn\n{TOPIC}\nType\nNotification"

    assert refusal_of(genuine) == ""
    assert refusal_of(genuine | {"Message": "forged", "Type": rest}) == "malformed"


@pytest.mark.parametrize("subject", [None, "a subject"])
def test_a_line_of_the_message_is_not_accepted_as_another_field(subject):
    """Every split of the signed text but the genuine one has an empty field or a field with a line break."""
    fields = {"Subject": subject} if subject else {}
    genuine = sns_message("forged\nMessageId\nm-2\nSubject\nanother", **fields)
    end = f"another\nMessageId\nm-1{f'{chr(10)}Subject{chr(10)}{subject}' if subject else ''}"
    shifted = genuine | {"Message": "forged", "MessageId": "m-2", "Subject": end}
    swallowed = genuine | {"Message": genuine["Message"] + "\nMessageId\nm-1", "MessageId": ""}

    assert [refusal_of(message) for message in (genuine, shifted, swallowed)] == ["", "malformed", "malformed"]


@pytest.mark.parametrize("name", ["MessageId", "Timestamp", "TopicArn", "Type", "Subject"])
def test_a_line_break_in_a_signed_field_is_refused(name):
    """Amazon SNS writes line breaks into Message alone."""
    genuine = sns_message("{}", Subject="a subject")

    assert refusal_of(sns_message("{}", **{name: genuine[name] + "\nx"})) == "malformed"


@pytest.mark.parametrize("type_", ["", "Other", "notification", "Notification "])
def test_a_type_that_sns_does_not_send_is_refused(type_):
    """Another type would be neither a notification nor a confirmation, and the body would be read as a bare event."""
    assert refusal_of(sns_message("{}", Type=type_, Token="t", SubscribeURL="u")) == "malformed"


def test_a_type_that_differs_from_its_header_is_refused():
    """The header is not signed, and SNS writes the type of the message into it."""
    header = {"x-amz-sns-message-type": "SubscriptionConfirmation"}

    assert refusal_of(sns_message("{}"), header) == "malformed"

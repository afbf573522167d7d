"""The forms of a push that Helios understands, and the tokens that come with it.

Tokens, the keys to check them with and Eventarc's CloudEvents are tested on ours alone: Google's emulator sends none of
them. What acknowledges is, too: only ours tells what a subscription still owes.
"""

import asyncio
import json
from base64 import urlsafe_b64decode

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from google.auth.transport.requests import Request
from google.oauth2 import id_token
from google.pubsub_v1 import types

from helios.model.events import Delivery
from helios.normalise import normalise
from local.emulators.pubsub import push
from local.emulators.pubsub.broker import Broker
from local.emulators.pubsub.client import EVENTARC_MODE, ensure
from local.emulators.pubsub.push import MESSAGE_PUBLISHED
from local.emulators.pubsub.tokens import Signer
from tests.emulators.pubsub.test_conformance import Queue
from tests.support.deliveries import NOON
from tests.support.waiting import eventually

PAYMENT = b'{"order_id": "ORD-1", "amount": 10.50}'
NOTHING = {"waiting": 0, "leased": 0, "backing_off": 0}
ACCOUNT = "helios@shop.iam.gserviceaccount.com"


def pushed(emulator, project, receiver, **wanted):
    """What a push endpoint receives of one payment."""
    config = types.PushConfig(**{"push_endpoint": receiver.url, **wanted})
    queue = Queue(emulator, project, push_config=config)
    queue.publish(PAYMENT, event_type="PaymentProcessed")
    eventually(lambda: len(receiver.received) == 1)
    return receiver.received[0]


def is_the_payment(received):
    event = normalise(Delivery(channel="pubsub", body=received.body, headers=received.headers, received_at=NOON))
    return (event.source, event.type, bytes(event.data)) == ("gcp", "PaymentProcessed", PAYMENT)


@pytest.mark.parametrize(
    "wanted", [{}, {"no_wrapper": types.PushConfig.NoWrapper(write_metadata=True)}], ids=["wrapped", "unwrapped"]
)
def test_helios_reads_both_forms_of_a_push(emulator, project, receiver, wanted):
    assert is_the_payment(pushed(emulator, project, receiver, **wanted))


def test_helios_reads_a_push_as_eventarc_asks_for_it(ours, project, receiver):
    assert is_the_payment(pushed(ours, project, receiver, push_endpoint=f"{receiver.url}?{EVENTARC_MODE}"))


def test_an_unwrapped_push_without_metadata_is_the_bare_data(emulator, project, receiver):
    received = pushed(emulator, project, receiver, no_wrapper=types.PushConfig.NoWrapper(write_metadata=False))

    assert received.body == PAYMENT
    assert [name for name in received.headers if name.startswith("x-goog")] == []


def test_a_cloud_event_is_in_binary_mode_and_wraps_the_message(ours, project, receiver):
    received = pushed(ours, project, receiver, push_endpoint=f"{receiver.url}?{EVENTARC_MODE}")

    assert received.headers["ce-type"] == MESSAGE_PUBLISHED
    assert received.headers["ce-source"] == f"//pubsub.googleapis.com/projects/{project}/topics/orders"
    assert received.headers["ce-id"] == json.loads(received.body)["message"]["messageId"]


@pytest.mark.parametrize("status", [102, 200, 201, 202, 204])
def test_these_statuses_acknowledge(ours, project, receiver, status):
    receiver.answers = [status]
    queue = Queue(ours, project, push_config=types.PushConfig(push_endpoint=receiver.url))
    queue.publish(b"1")
    eventually(lambda: ours.status()[queue.name] == NOTHING)

    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [206, 302, 404, 429])
def test_any_other_status_does_not(ours, project, receiver, status):
    receiver.answers = [status]
    queue = Queue(ours, project, push_config=types.PushConfig(push_endpoint=receiver.url))
    queue.publish(b"1")
    eventually(lambda: ours.status()[queue.name] == NOTHING)

    assert len(receiver.received) == 2


@pytest.mark.parametrize(
    "attributes",
    [
        {"Content-Length": "1"},
        {"transfer-encoding": "chunked"},
        {"not a name": "x"},
        {"name": "two\r\nlines: x"},
        {"x-goog-pubsub-message-id": "another"},
        {"Authorization": "Bearer x"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_an_attribute_can_not_change_what_a_request_is(ours, project, receiver, attributes):
    config = types.PushConfig(push_endpoint=receiver.url, no_wrapper=types.PushConfig.NoWrapper(write_metadata=True))
    queue = Queue(ours, project, push_config=config)
    (id_,) = queue.publish(PAYMENT, kind="kept", **attributes)
    eventually(lambda: len(receiver.received) == 1)
    received = receiver.received[0]
    headers = received.headers

    assert (received.body, headers["x-goog-pubsub-message-id"], headers["kind"]) == (PAYMENT, id_, "kept")
    assert {"authorization", "lines", "transfer-encoding"}.isdisjoint(headers)


def test_googles_own_library_accepts_the_token(ours, project, receiver):
    token = types.PushConfig.OidcToken(service_account_email=ACCOUNT, audience="https://helios.example")
    received = pushed(ours, project, receiver, oidc_token=token)
    with requests.Session() as session:
        claims = id_token.verify_token(
            received.headers["authorization"].removeprefix("Bearer "),
            Request(session),
            audience="https://helios.example",
            certs_url=f"{ours.url}/oauth2/v1/certs",
        )

    assert (claims["email"], claims["email_verified"], claims["iss"]) == (ACCOUNT, True, "https://accounts.google.com")


def test_the_key_set_has_the_key_of_the_certificate(ours):
    """Verifiers take the one or the other."""
    with requests.Session() as session:
        ((key_id, certificate),) = session.get(f"{ours.url}/oauth2/v1/certs").json().items()
        (key,) = session.get(f"{ours.url}/oauth2/v3/certs").json()["keys"]
    public_key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    assert isinstance(public_key, RSAPublicKey)
    numbers = public_key.public_numbers()

    def number(text: str) -> int:
        return int.from_bytes(urlsafe_b64decode(text + "=="))

    assert (key["kid"], number(key["n"]), number(key["e"])) == (key_id, numbers.n, numbers.e)


def test_a_pusher_that_breaks_off_is_noticed_and_replaced(tmp_path, receiver, monkeypatch, caplog):
    """In this process, as no request makes it break."""
    monkeypatch.setattr(push, "RESTART_SECONDS", 0.01)
    broker = Broker(tmp_path)
    topic, name = "projects/shop/topics/orders", "projects/shop/subscriptions/orders"
    broker.create_topic(types.Topic(name=topic))
    config = types.PushConfig(push_endpoint=receiver.url)
    broker.create_subscription(types.Subscription(name=name, topic=topic, push_config=config))
    take, breaks = broker.take, [OSError("the disk is full")]

    def fragile(*arguments, **options):
        if breaks:
            raise breaks.pop()
        return take(*arguments, **options)

    monkeypatch.setattr(broker, "take", fragile)

    async def pushed() -> None:
        pushers = asyncio.create_task(push.Pushers(broker, Signer()).run())
        broker.publish(topic, [types.PubsubMessage.pb(types.PubsubMessage(data=b"1"))])
        await asyncio.to_thread(eventually, lambda: len(receiver.received) == 1)
        pushers.cancel()
        await asyncio.gather(pushers, return_exceptions=True)

    asyncio.run(pushed())
    broker.close()

    assert "pushing failed; restarting it" in caplog.messages


def test_setting_up_twice_changes_nothing_and_follows_a_new_endpoint(ours, project, receiver, monkeypatch):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{ours.port}")
    for path in ("old", "new", "new"):
        ensure(
            project=project,
            topic="orders",
            subscription="orders",
            push_endpoint=f"{receiver.url}/{path}",
            service_account=ACCOUNT,
            dead_letter_topic="dead",
        )
    publisher = ours.publisher()
    publisher.publish(f"projects/{project}/topics/orders", b"1").result(timeout=30)
    eventually(lambda: len(receiver.received) == 1)

    assert receiver.received[0].path == "/new"
    assert f"projects/{project}/subscriptions/dead" in ours.status()

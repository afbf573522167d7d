"""Every way to wake the relay, and what becomes of one that nobody hears."""

import socket
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from moto import mock_aws

from helios.adapters.aws import SqsNotifier
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.notifiers import BackgroundNotifier, HttpNotifier, NotifierGroup
from helios.errors import Retryable
from helios.model.events import EventFilter
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.relay import relay
from helios.services.sweep import expire_flows
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON, eventbridge
from tests.support.instances import ORDER, leg


class Silent:
    """A bell that nobody hears."""

    def __init__(self) -> None:
        self.tried = 0

    def notify(self) -> None:
        self.tried += 1
        raise Retryable("nobody is there")


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("sqs")


def test_sqs_rings_with_a_message(aws):
    url = aws.create_queue(QueueName="helios-relay")["QueueUrl"]
    SqsNotifier(url).notify()

    assert len(aws.receive_message(QueueUrl=url)["Messages"]) == 1


def test_a_queue_that_is_not_there_is_retryable(aws):
    with pytest.raises(Retryable, match="SQS"):
        SqsNotifier("https://sqs.eu-central-1.amazonaws.com/123456789012/nothing").notify()


@pytest.mark.parametrize(("status", "heard"), [(202, True), (401, False), (503, False)])
def test_another_cloud_rings_over_http_with_the_secret(status, heard):
    asked: list[tuple[str, str | None]] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        notifier = HttpNotifier(f"http://127.0.0.1:{server.server_port}/api/v1/relay/notify", "s3cret")
        if heard:
            notifier.notify()
        else:
            with pytest.raises(Retryable, match=str(status)):
                notifier.notify()
        thread.join()

    assert asked == [("/api/v1/relay/notify", "Bearer s3cret")]


def test_an_api_that_is_not_there_is_retryable():
    with pytest.raises(Retryable):
        HttpNotifier("http://127.0.0.1:9/api/v1/relay/notify", "s3cret").notify()


def test_an_api_that_does_not_speak_http_is_retryable():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(65_536)
                caller.sendall(b"SSH-2.0-none\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Retryable):
            HttpNotifier(f"http://127.0.0.1:{server.getsockname()[1]}/", "s3cret").notify()
        thread.join()


def test_every_bell_is_rung_whatever_became_of_the_one_before():
    heard, first, last = MemoryOutbox(MemoryStore()), Silent(), Silent()
    with pytest.raises(Retryable, match="nobody is there; nobody is there"):
        NotifierGroup([first, heard, last]).notify()

    assert (first.tried, last.tried) == (1, 1)


class Slow:
    """A bell that takes its time; ``heard`` counts what has been rung."""

    def __init__(self) -> None:
        self.heard = 0
        self.under_way = threading.Event()
        self.may_end = threading.Event()

    def notify(self) -> None:
        self.under_way.set()
        assert self.may_end.wait(20)
        self.heard += 1


@pytest.fixture
def slow():
    """A slow bell, and the same in the background."""
    slow = Slow()
    background = BackgroundNotifier(slow)
    background.start()
    yield slow, background
    slow.may_end.set()
    background.stop()


def test_rings_in_the_background_keep_nobody_waiting_and_are_one(slow):
    notifier, background = slow
    background.notify()
    assert notifier.under_way.wait(20)
    for _ in range(1000):
        background.notify()
    notifier.may_end.set()
    background.stop()

    assert 2 <= notifier.heard <= 3  # the first, one for all that rang meanwhile, and the last


def test_what_rang_last_is_rung_before_the_end():
    notifier = Slow()
    notifier.may_end.set()
    background = BackgroundNotifier(notifier)
    background.start()
    background.notify()
    background.stop()

    assert notifier.heard >= 1


def test_a_background_bell_that_nobody_hears_goes_on(caplog):
    silent = Silent()
    background = BackgroundNotifier(silent)
    background.start()
    background.notify()
    background.stop()

    assert silent.tried >= 1
    assert "notification failed" in caplog.text


def test_a_bell_that_was_not_started_rings_at_once():
    """As in a function, which may be frozen when it has answered."""
    with pytest.raises(Retryable):
        BackgroundNotifier(Silent()).notify()


def test_a_bell_that_nobody_hears_loses_nothing():
    store = MemoryStore()
    outcomes = ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store, notifier=Silent())

    assert [outcome.status for outcome in outcomes] == ["stored"]
    assert len(MemoryOutbox(store).frames(after=0, limit=1)) == 1


def test_a_recompute_that_is_committed_succeeds_when_its_notification_fails(caplog):
    store, silent = MemoryStore(), Silent()
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store)
    found = recompute(
        EventFilter(),
        NOON + timedelta(hours=1),
        flow=None,
        reader=store,
        store=store,
        reconciler=Reconciler([ORDER]),
        notifier=silent,
    )

    assert (len(found.changes), silent.tried) == (1, 1)
    assert "notification failed" in caplog.text


def test_a_sweep_that_is_committed_succeeds_when_its_notification_fails(caplog):
    store, silent, reconciler = MemoryStore(), Silent(), Reconciler([ORDER])
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    assert expire_flows(NOON + timedelta(hours=1), store=store, reconciler=reconciler, notifier=silent) == 1
    assert silent.tried == 1
    assert "notification failed" in caplog.text


def test_a_relay_that_has_sent_succeeds_when_its_notification_fails(caplog):
    """The schedule relays the rest within a minute; an error would only hide how many frames were sent."""
    store, silent = MemoryStore(), Silent()
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)

    class Audience:
        def broadcast(self, message: bytes) -> None:
            """Takes everything."""

    sent = relay("test", outbox=MemoryOutbox(store), broadcaster=Audience(), seconds=0, notifier=silent)

    assert (sent, silent.tried) == (1, 1)
    assert "notification failed" in caplog.text

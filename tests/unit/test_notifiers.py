"""Every notifier that wakes the relay, and the effect of a notification that fails."""

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


class FailingNotifier:
    """A notifier whose every notification fails."""

    def __init__(self) -> None:
        self.attempts = 0

    def notify(self) -> None:
        self.attempts += 1
        raise Retryable("nobody is there")


@pytest.fixture
def aws(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("sqs")


def test_the_sqs_notifier_sends_a_message(aws):
    url = aws.create_queue(QueueName="helios-relay")["QueueUrl"]
    SqsNotifier(url).notify()

    assert len(aws.receive_message(QueueUrl=url)["Messages"]) == 1


def test_a_missing_queue_is_retryable(aws):
    with pytest.raises(Retryable, match="SQS"):
        SqsNotifier("https://sqs.eu-central-1.amazonaws.com/123456789012/nothing").notify()


@pytest.mark.parametrize(("status", "succeeds"), [(202, True), (401, False), (503, False)])
def test_the_http_notifier_posts_with_the_secret(status, succeeds):
    requests: list[tuple[str, str | None]] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        notifier = HttpNotifier(f"http://127.0.0.1:{server.server_port}/api/v1/relay/notify", "s3cret")
        if succeeds:
            notifier.notify()
        else:
            with pytest.raises(Retryable, match=str(status)):
                notifier.notify()
        thread.join()

    assert requests == [("/api/v1/relay/notify", "Bearer s3cret")]


def test_an_unreachable_api_is_retryable():
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


def test_a_notifier_group_notifies_all_even_if_one_fails():
    working, first, last = MemoryOutbox(MemoryStore()), FailingNotifier(), FailingNotifier()
    with pytest.raises(Retryable, match="nobody is there; nobody is there"):
        NotifierGroup([first, working, last]).notify()

    assert (first.attempts, last.attempts) == (1, 1)


class BlockingNotifier:
    """A notifier that blocks until the test allows it to finish. ``completed`` counts the notifications."""

    def __init__(self) -> None:
        self.completed = 0
        self.started = threading.Event()
        self.may_finish = threading.Event()

    def notify(self) -> None:
        self.started.set()
        assert self.may_finish.wait(20)
        self.completed += 1


@pytest.fixture
def blocking():
    """A blocking notifier, and the background notifier around it."""
    blocking = BlockingNotifier()
    background = BackgroundNotifier(blocking)
    background.start()
    yield blocking, background
    blocking.may_finish.set()
    background.stop()


def test_background_notifications_do_not_block_and_are_merged(blocking):
    notifier, background = blocking
    background.notify()
    assert notifier.started.wait(20)
    for _ in range(1000):
        background.notify()
    notifier.may_finish.set()
    background.stop()

    assert 2 <= notifier.completed <= 3  # the first, one for all during the first, and the last


def test_the_last_notification_is_sent_before_the_stop():
    notifier = BlockingNotifier()
    notifier.may_finish.set()
    background = BackgroundNotifier(notifier)
    background.start()
    background.notify()
    background.stop()

    assert notifier.completed >= 1


def test_a_background_notifier_logs_a_failure_and_continues(caplog):
    failing = FailingNotifier()
    background = BackgroundNotifier(failing)
    background.start()
    background.notify()
    background.stop()

    assert failing.attempts >= 1
    assert "notification failed" in caplog.text


def test_a_background_notifier_that_was_not_started_notifies_at_once():
    """This is the case in a function, which the cloud may freeze after its answer."""
    with pytest.raises(Retryable):
        BackgroundNotifier(FailingNotifier()).notify()


def test_a_failed_notification_loses_no_event():
    store = MemoryStore()
    outcomes = ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store, notifier=FailingNotifier())

    assert [outcome.status for outcome in outcomes] == ["stored"]
    assert len(MemoryOutbox(store).frames(after=0, limit=1)) == 1


def test_a_recompute_that_is_committed_succeeds_when_its_notification_fails(caplog):
    store, failing = MemoryStore(), FailingNotifier()
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store)
    recomputed = recompute(
        EventFilter(),
        NOON + timedelta(hours=1),
        flow=None,
        reader=store,
        store=store,
        reconciler=Reconciler([ORDER]),
        notifier=failing,
    )

    assert (len(recomputed.changes), failing.attempts) == (1, 1)
    assert "notification failed" in caplog.text


def test_a_sweep_that_is_committed_succeeds_when_its_notification_fails(caplog):
    store, failing, reconciler = MemoryStore(), FailingNotifier(), Reconciler([ORDER])
    ingest([leg("order")], dedupe=NullDedupeCache(), store=store, reconciler=reconciler)

    assert expire_flows(NOON + timedelta(hours=1), store=store, reconciler=reconciler, notifier=failing) == 1
    assert failing.attempts == 1
    assert "notification failed" in caplog.text


def test_a_relay_that_has_sent_succeeds_when_its_notification_fails(caplog):
    """The schedule relays the rest within a minute. An error would only hide the number of sent frames."""
    store, failing = MemoryStore(), FailingNotifier()
    ingest([eventbridge("1")], dedupe=NullDedupeCache(), store=store)

    class Audience:
        def broadcast(self, message: bytes) -> None:
            """Accepts every message."""

    sent = relay("test", outbox=MemoryOutbox(store), broadcaster=Audience(), seconds=0, notifier=failing)

    assert (sent, failing.attempts) == (1, 1)
    assert "notification failed" in caplog.text

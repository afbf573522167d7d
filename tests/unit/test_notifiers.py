"""Every notifier that wakes the relay, and the effect of a notification that fails."""

import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, ClassVar

import boto3
import pytest
from moto import mock_aws

from helios import bootstrap
from helios.adapters.aws import SqsNotifier
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.notifiers import BackgroundNotifier, HttpNotifier, NotifierGroup, PacedHttpNotifier, PacedNotifier
from helios.adapters.postgres.stream import PostgresNotifier
from helios.errors import Retryable
from helios.model.events import EventFilter
from helios.services import relay as relaying
from helios.services.ingest import ingest
from helios.services.recompute import recompute
from helios.services.reconciler import Reconciler
from helios.services.relay import relay
from helios.services.sweep import expire_flows
from helios.settings import Settings
from tests.fakes.store import MemoryOutbox, MemoryStore
from tests.support.deliveries import NOON, eventbridge
from tests.support.instances import ORDER, leg
from tests.support.listener import serving
from tests.support.waiting import eventually


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


class Api(ThreadingHTTPServer):
    """The API's route for notifications.

    Attributes:
        secrets: the Authorization header of each notification.
        connections: the number of connections that were opened.
        status: what it answers.
        seconds: how long it takes for an answer.
    """

    daemon_threads = True

    def __init__(self, *, status: int = 202, seconds: float = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: list[str | None] = []
        self.connections = 0
        self.status = status
        self.seconds = seconds

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/v1/relay/notify"

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float] = 20  # an idle connection is closed after this time
    server: Api

    def do_POST(self) -> None:
        time.sleep(self.server.seconds)
        if self.path == "/api/v1/relay/notify":
            self.server.secrets.append(self.headers["Authorization"])
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server, serving(server):
        yield server


@pytest.mark.parametrize(("status", "succeeds"), [(202, True), (401, False), (503, False)])
def test_the_http_notifier_posts_with_the_secret(api, status, succeeds):
    api.status = status
    with closing(HttpNotifier(api.url, "s3cret")) as notifier:
        if succeeds:
            notifier.notify()
        else:
            with pytest.raises(Retryable, match=str(status)):
                notifier.notify()

    assert api.secrets == ["Bearer s3cret"]


def test_the_http_notifier_sends_the_first_of_two_secrets(api):
    """Two secrets are set during a rotation."""
    with closing(HttpNotifier(api.url, "new old")) as notifier:
        notifier.notify()

    assert api.secrets == ["Bearer new"]


def test_the_http_notifier_keeps_its_connection(api):
    """A Cloud NAT has few ports, and each closed connection occupies one for two minutes."""
    with closing(HttpNotifier(api.url, "s3cret")) as notifier:
        for _ in range(5):
            notifier.notify()

    assert (len(api.secrets), api.connections) == (5, 1)


def test_the_http_notifier_reconnects_after_the_api_has_closed_the_connection(api, monkeypatch):
    monkeypatch.setattr(_Handler, "timeout", 0.5)
    with closing(HttpNotifier(api.url, "s3cret")) as notifier:
        notifier.notify()
        assert select.select([notifier._connection._connection.sock], [], [], 20)[0]  # the end of the connection
        notifier.notify()

    assert (len(api.secrets), api.connections) == (2, 2)


class Proxy(ThreadingHTTPServer):
    """A proxy that answers itself, or refuses to open a tunnel.

    Attributes:
        requests: the method, the target and the credentials of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.requests: list[tuple[str, str, str | None]] = []


class _ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_POST(self) -> None:
        self._answer(202)

    def do_CONNECT(self) -> None:
        self._answer(502)

    def _answer(self, status: int) -> None:
        self.server.requests.append((self.command, self.path, self.headers["Proxy-Authorization"]))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture
def proxy(monkeypatch) -> Iterator[Proxy]:
    """A proxy that the environment names, with credentials."""
    with Proxy() as server, serving(server):
        url = f"http://user:p%40ss@127.0.0.1:{server.server_port}"  # pragma: allowlist secret
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", url)
            monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield server


BASIC = "Basic dXNlcjpwQHNz"
"""``user:p@ss``, as RFC 7617 encodes it."""


def test_the_http_notifier_goes_through_the_proxy_of_the_environment(proxy):
    with closing(HttpNotifier("http://api.invalid/api/v1/relay/notify", "s3cret")) as notifier:
        notifier.notify()

    assert proxy.requests == [("POST", "http://api.invalid/api/v1/relay/notify", BASIC)]


def test_an_encrypted_notification_goes_through_a_tunnel(proxy):
    url = "https://api.invalid/api/v1/relay/notify"
    with closing(HttpNotifier(url, "s3cret")) as notifier, pytest.raises(Retryable, match="Tunnel connection failed"):
        notifier.notify()

    assert proxy.requests == [("CONNECT", "api.invalid:443", BASIC)]


def test_a_host_that_needs_no_proxy_is_reached_directly(proxy, monkeypatch, api):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with closing(HttpNotifier(api.url, "s3cret")) as notifier:
        notifier.notify()

    assert (api.secrets, proxy.requests) == (["Bearer s3cret"], [])


def test_a_paced_notifier_holds_up_no_request(api, caplog):
    """The API takes twenty times as long as a request may wait."""
    api.seconds = 1.0
    slowest = 0.0
    with closing(PacedHttpNotifier(api.url, "s3cret")) as paced:
        for _ in range(10):
            began = time.monotonic()
            paced.notify()
            slowest = max(slowest, time.monotonic() - began)

    assert slowest < 0.9
    assert len(api.secrets) == 2  # the first, and one for all that came meanwhile
    assert caplog.text == ""


def test_a_paced_notifier_keeps_the_interval_and_loses_no_last_notification():
    """The thread sends the last one, without another request."""
    times: list[float] = []

    class Recorder:
        def notify(self) -> None:
            times.append(time.monotonic())

    paced = PacedNotifier(Recorder(), interval_seconds=0.2, wait_seconds=0.05)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        last_request = time.monotonic()
        paced.notify()
    eventually(lambda: bool(times) and times[-1] >= last_request)

    assert len(times) >= 2
    assert all(at - began >= 0.2 * earlier for earlier, at in enumerate(times))
    paced.close()


def test_a_process_that_ends_sends_its_last_notification(api):
    """A command of a few milliseconds notifies too."""
    program = f"""
from helios.adapters.notifiers import PacedHttpNotifier
paced = PacedHttpNotifier({api.url!r}, "s3cret")
paced.notify()
paced.notify()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    assert 1 <= len(api.secrets) <= 2
    assert api.secrets[-1] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("addresses", "notifiers"),
    [
        ({}, [PostgresNotifier]),
        ({"notify_url": "https://api.example/api/v1/relay/notify"}, [PacedHttpNotifier]),
        ({"relay_queue_url": "https://sqs.eu-central-1.amazonaws.com/1/relay"}, [SqsNotifier]),
        ({"notify_url": "https://api.example/", "notify_listeners": True}, [PacedHttpNotifier, PostgresNotifier]),
    ],
)
def test_postgres_is_notified_only_where_a_process_listens(aws, addresses, notifiers):
    """NOTIFY makes all commits of a database wait for each other."""
    services = bootstrap.build(Settings(database_url="postgresql://helios@127.0.0.1:1/helios", **addresses))
    services.close()

    assert isinstance(services.notifier, NotifierGroup)
    assert [type(each) for each in services.notifier._notifiers] == notifiers


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


def test_a_relay_that_has_sent_succeeds_when_its_notification_fails(caplog, monkeypatch):
    """The schedule relays the rest within a minute. An error would only hide the number of sent frames."""
    store, failing = MemoryStore(), FailingNotifier()
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(relaying, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for batch in range(2):  # each fills a message
        events = [eventbridge(f"{batch}-{number}", type_="T" * 256) for number in range(100)]
        ingest(events, dedupe=NullDedupeCache(), store=store)

    class SlowAudience:
        def client_count(self) -> int:
            return 1

        def broadcast(self, message: bytes) -> None:
            """Accept every message, late."""
            clock.now += 2

    sent = relay("test", outbox=MemoryOutbox(store), broadcaster=SlowAudience(), seconds=1, notifier=failing)

    assert (sent, failing.attempts) == (1, 1)
    assert "notification failed" in caplog.text

"""``helios.client`` against a running API: what a script sends, asks and follows."""

import base64
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from helios.adapters.postgres.tokens import PostgresTokens
from helios.client import ApiError, Client, NewEvent
from helios.client.connection import MAX_PAGE
from helios.errors import ConfigurationError
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.model.stream import StreamFrame
from helios.model.tokens import PREFIX, Token, digest
from tests.support.api import Api
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.instances import leg
from tests.support.waiting import eventually

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, xx").decode()
TOKEN = f"{PREFIX}client"


def new(number: int = 0, **changes: object) -> NewEvent:
    fields: dict[str, Any] = {
        "cloud": "aws",
        "source": "shop",
        "type": "OrderPlaced",
        "data": {"order_id": f"ORD-{number}"},
    }
    return NewEvent(**(fields | changes))


@pytest.fixture
def client(api, records) -> Client:
    return Client(api.url)


@pytest.fixture(scope="module")
def guarded_api(database_url, valkey_server, server_folder) -> Iterator[Api]:
    """An API that trusts nobody on this machine, and takes signed CloudEvents."""
    settings = {"HELIOS_WEBHOOK_AUTH": "cloudevents=hmac", "HELIOS_CLOUDEVENTS_SECRET": SECRET}
    log = server_folder / "guarded-client-api.log"
    with Api(database_url=database_url, redis_url=valkey_server.url, log=log, webhook_auth=settings) as api:
        yield api


@pytest.fixture
def token(pool, redis_url) -> str:
    """A token that may read."""
    token = Token(name="client", scopes=("read",), created_at=datetime.now(UTC))
    assert PostgresTokens(pool).add(digest(TOKEN), token)
    return TOKEN


def test_events_that_are_sent_can_be_read_back_with_every_attribute(client):
    sent = new(
        7,
        id="a/b ü",
        subject="orders/7",
        time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        extensions={"tenant": "north"},
    )

    (result,) = client.send(sent)
    (event,) = client.events(order_id="ORD-7")

    assert (result.status, result.source, result.producer, result.id) == ("stored", "aws", "shop", "a/b ü")
    assert event == client.event("aws", "shop", "a/b ü")
    assert (event.subject, event.time, bytes(event.data)) == ("orders/7", sent.time, b'{"order_id":"ORD-7"}')
    assert event.attributes["tenant"] == "north"
    assert list(client.events(attributes={"tenant": "north"})) == [event]
    assert list(client.events(attributes={"tenant": "south"})) == []
    assert list(client.events(until=event.received_at)) == []
    assert [result.status for result in client.send(sent)] == ["duplicate"]


def test_every_page_is_read_and_no_more_than_needed(client):
    events = [new(number) for number in range(2 * MAX_PAGE + 1)]

    assert {result.status for result in client.send(events)} == {"stored"}

    assert {event.id for event in client.events()} == {event.id for event in events}
    assert len(list(client.events(limit=MAX_PAGE + 1))) == MAX_PAGE + 1
    assert client.stats().total_events == len(events)


def test_an_error_names_the_field_and_the_reason(client):
    with pytest.raises(ApiError, match="400: source is 'shop', from which the cloud can't be derived") as refused:
        client.send(new(cloud=None))
    assert refused.value.status == 400
    assert [error.field for error in refused.value.errors] == ["source"]
    assert not refused.value.is_temporary
    assert str(refused.value).count("can't be derived") == 1

    with pytest.raises(ApiError) as invalid:
        list(client.events(type="x" * 300))
    assert invalid.value.status == 422
    (fault,) = invalid.value.errors
    assert fault.field == "query.type"
    assert "at most 256" in fault.reason


def test_a_batch_with_a_rejected_event_has_a_result_for_each(client):
    stored, rejected = client.send([new(), new(cloud=None)])

    assert (stored.status, rejected.status, rejected.field) == ("stored", "rejected", "source")
    assert [dead_letter.field for dead_letter in client.dead_letters()] == ["source"]


def test_an_api_that_does_not_answer_is_a_temporary_error():
    with pytest.raises(ApiError, match="does not answer") as unreachable:
        Client("http://127.0.0.1:1").stats()

    assert unreachable.value.is_temporary
    assert unreachable.value.status is None


def test_wrong_arguments_are_refused_at_once():
    with pytest.raises(ConfigurationError, match="is not an http:// or https:// URL"):
        Client("127.0.0.1:8001")
    with pytest.raises(ConfigurationError, match="signing_secret: expected whsec_"):
        Client("http://127.0.0.1", signing_secret="secret")


def test_flow_instances_have_their_issues_and_their_timeline(api, client):
    order, payment = leg("order"), leg("payment", amount=7)
    assert call(api.url, EVENTBRIDGE, order.body).status == 202
    assert call(api.url, "/api/v1/webhooks/cloudevents", payment.body, headers=dict(payment.headers)).status == 202

    (instance,) = client.flows(status=["mismatched"], issue=["mismatch"], flow="order", key="ORD")
    details = client.flow("order", "ORD-1")

    assert (instance.key, details.status, len(details.events)) == ("ORD-1", "mismatched", 2)
    assert details.timeline
    assert [issue.key for issue in client.flow_issues(kind=["mismatch"])] == ["ORD-1"]
    assert client.flow_summary(flow="order").by_status["mismatched"] == 1
    assert [flow.name for flow in client.declared_flows()] == ["order"]
    assert list(client.flows(status=["matched"])) == []
    with pytest.raises(ApiError, match="No instance of the flow 'order' has the key 'ORD-2'") as missing:
        client.flow("order", "ORD-2")
    assert missing.value.status == 404


def test_a_dead_letter_is_read_repaired_and_replayed(api, client):
    assert call(api.url, EVENTBRIDGE, b"{").status == 400
    (dead_letter,) = client.dead_letters(source="aws", status="rejected", replayed=False)
    (group,) = client.dead_letter_groups(replayed=False)

    assert (group.count, group.example_id, group.field) == (1, dead_letter.id, "body")
    assert client.dead_letter(dead_letter.id).body == "{"
    with pytest.raises(ApiError) as refused:
        client.replay_dead_letter(dead_letter.id)
    assert refused.value.status == 422
    results = client.replay_dead_letter(dead_letter.id, body=eventbridge("repaired").body.decode())
    assert [(result.status, result.id) for result in results] == [("stored", "repaired")]
    assert list(client.dead_letters(replayed=False)) == []
    assert [each.replayed_as for each in client.dead_letters(replayed=True)] == ["stored"]


def test_a_replay_job_is_counted_started_shown_and_cancelled(client):
    client.send([new(number) for number in range(60)])
    request = ReplayRequest(what="events", target=Target(kind="relay"), filter=ReplayFilter(source="aws"), per_second=1)

    assert client.count_replay(request).matching == 60
    assert list(client.replays()) == []
    job = client.start_replay(request)
    assert client.replay(job.id).matching == 60
    assert client.cancel_replay(job.id).state == "cancelled"
    assert [each.state for each in client.replays()] == ["cancelled"]


def test_the_installation_is_described(client):
    assert {"aws", "gcp", "azure"} <= {source.name for source in client.sources()}
    eventually(lambda: client.health().database == "healthy")
    assert client.get("audit", dict)["items"] == []


def test_health_is_an_answer_and_no_error_while_the_database_is_away(api, client, postgres_server):
    postgres_server.stop()
    try:
        eventually(lambda: client.health().status == "unhealthy")  # the API probes at most once a second
        assert client.health().database == "unhealthy"
    finally:
        postgres_server.start()


def test_a_guarded_api_wants_a_signature_to_send_and_a_token_to_read(guarded_api, records, token):
    stranger = Client(guarded_api.url)
    for refused in (lambda: stranger.send(new()), stranger.stats, stranger.ticket):
        with pytest.raises(ApiError) as error:
            refused()
        assert error.value.status == 401

    client = Client(guarded_api.url, token=token, signing_secret=SECRET)
    assert [result.status for result in client.send([new(1), new(2)])] == ["stored", "stored"]
    assert {event.order_id for event in client.events()} == {"ORD-1", "ORD-2"}
    assert client.ticket().expires_in > 0


class Following:
    """Collects the frames that an iterator yields, in a thread that ends with the process."""

    def __init__(self, frames: Iterator[StreamFrame]) -> None:
        self.frames: list[StreamFrame] = []
        self._iterator = frames
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for frame in self._iterator:
            self.frames.append(frame)

    @property
    def orders(self) -> list[str | None]:
        return [event.order_id for frame in self.frames for event in frame.events]

    @property
    def positions(self) -> list[int]:
        return [frame.position for frame in self.frames]


@pytest.mark.parametrize("method", ["listen", "follow"])
def test_the_stream_is_gapless_through_a_restart_of_the_api(api, client, records, method):
    client.send(new(1))
    notes: list[str] = []
    following = Following(getattr(client, method)(after=0, note=notes.append))
    eventually(lambda: following.orders == ["ORD-1"])

    api.stop()
    eventually(lambda: bool(notes))
    api.start()
    for number in (2, 3):
        client.send(new(number))

    eventually(lambda: len(following.orders) == 3)
    assert following.orders == ["ORD-1", "ORD-2", "ORD-3"]
    assert following.positions == list(range(1, records.last_position() + 1))


def test_the_websocket_of_a_guarded_api_opens_with_a_ticket(guarded_api, records, token):
    client = Client(guarded_api.url, token=token, signing_secret=SECRET)
    client.send([new(1)])

    assert [event.order_id for event in next(client.listen(after=0)).events] == ["ORD-1"]
    with pytest.raises(ApiError) as refused:
        next(Client(guarded_api.url).listen(after=0))
    assert refused.value.status == 403


def test_the_stream_starts_now_and_shows_only_what_follows(client):
    client.send(new(1))
    position = client.frames().position
    frames = client.follow(pause_seconds=0.05)
    following = Following(islice(frames, 1))
    eventually(lambda: client.frames().position == position)
    # The iterator asks for its position when it starts, which nothing outside shows: send until it has seen one.
    number = 1

    def seen() -> bool:
        nonlocal number
        number += 1
        client.send(new(number))
        return bool(following.frames)

    eventually(seen)
    assert following.positions[0] > position


def test_a_period_needs_a_time_zone(client):
    with pytest.raises(ApiError, match="has no UTC offset"):
        list(client.events(since=datetime(2026, 1, 1)))  # noqa: DTZ001 - the mistake under test
    assert list(client.events(since=datetime.now(UTC) + timedelta(days=1))) == []

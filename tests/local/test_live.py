"""The frames of stored events reach the clients of API Gateway's WebSocket, each at its position."""

import contextlib
import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from helios.adapters.redis.connections import KEY
from helios.adapters.redis.tickets import RedisTickets
from helios.model.tokens import TicketHolder
from helios.processes.process import scrubbed_environment
from local.aws import resources
from local.stack.config import BUS, RELAY_FUNCTION, SWEEP_FUNCTION
from tests.support import envelopes
from tests.support.api import ROOT
from tests.support.crash import RELAY_STEPS
from tests.support.waiting import eventually

SECONDS = 60
"""A generous limit, because a cold start on a busy machine is slow."""

WATCHERS = 5
MANY_WATCHERS = 200
OPENED_AT_ONCE = 8
RELAY_HANDLER = "functions.aws.relay.handler"


class Watcher:
    """A client of the WebSocket API.

    Attributes:
        frames: the received frames, in order of arrival.
    """

    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.ping()  # as the dashboard does: after the answer API Gateway is certain to know the connection

    def ping(self):
        """The position of the stream, requested through the socket. Frames that arrive meanwhile are stored."""
        self.socket.send(json.dumps({"type": "ping"}))
        while (message := self._receive())["type"] != "pong":
            pass
        return message["position"]

    def wait_for(self, condition):
        """The frames, once the condition holds for them."""
        while not condition(self.frames):
            self._receive()
        return self.frames

    @property
    def positions(self):
        return [frame["position"] for frame in self.frames]

    def _receive(self):
        message = json.loads(self.socket.recv(timeout=SECONDS))
        self.frames += message.get("frames", [])
        return message


@pytest.fixture
def watch(aws_stack):
    """Opens watchers, each with its own ticket, and closes them after the test."""
    tickets = RedisTickets(aws_stack.environment["HELIOS_REDIS_URL"])
    with contextlib.closing(tickets), contextlib.ExitStack() as stack:

        def open_watcher():
            url = f"{aws_stack.deployed.websocket_url}?ticket={tickets.issue(TicketHolder(name='test'))}"
            return Watcher(stack.enter_context(connect(url, open_timeout=SECONDS, proxy=None)))

        yield open_watcher


@pytest.fixture
def connections(aws_stack):
    """A client of the functions' Redis."""
    with redis.Redis.from_url(aws_stack.environment["HELIOS_REDIS_URL"], decode_responses=True) as client:
        yield client


@pytest.fixture
def functions(aws_stack):
    """A client of Lambda."""
    with contextlib.closing(resources.client("lambda", aws_stack.deployed.endpoint)) as client:
        yield client


@pytest.fixture
def put(aws_stack):
    """Puts events on the bus, at most ten at a time, and returns their ids."""
    with contextlib.closing(resources.client("events", aws_stack.deployed.endpoint)) as client:

        def put_events(*order_ids):
            entries = [
                {
                    "EventBusName": BUS,
                    "Source": "shop",
                    "DetailType": "OrderPlaced",
                    "Detail": json.dumps({"order_id": order_id}),
                }
                for order_id in order_ids
            ]
            return {entry["EventId"] for entry in client.put_events(Entries=entries)["Entries"]}

        yield put_events


def event_ids(frames):
    """The ids of the events in the frames."""
    return {event["id"] for frame in frames for event in frame["events"]}


def count(frames, outcome, type_):
    """The number of deliveries of this type with this outcome in the frames."""
    return sum(row[outcome] for frame in frames for row in frame["counts"] if row["type"] == type_)


def assert_gapless(watchers, after, last):
    """Each watcher got every position after ``after``, the position when all were connected, once and in order.

    A frame with an earlier position, such as one of a sweep, reaches only the watchers that were connected by then.
    More frames may arrive at any time.
    """
    for watcher in watchers:
        watcher.wait_for(lambda frames: frames and frames[-1]["position"] >= last)
        assert [position for position in watcher.positions if after < position <= last] == list(
            range(after + 1, last + 1)
        )


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=guess"])
def test_a_client_without_a_valid_ticket_is_not_connected(aws_stack, connections, query):
    url = f"{aws_stack.deployed.websocket_url}{query}"
    before = connections.smembers(KEY)

    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, open_timeout=SECONDS, proxy=None) as socket:
        socket.recv(timeout=SECONDS)
    assert connections.smembers(KEY) == before


def test_an_event_on_the_bus_reaches_a_watcher(watch, put):
    watcher = watch()
    ids = put("ORD-1", "ORD-2", "ORD-3")
    frames = watcher.wait_for(lambda frames: ids <= event_ids(frames))
    assert watcher.positions == list(range(watcher.positions[0], watcher.positions[0] + len(frames)))
    assert count([frame for frame in frames if ids & event_ids([frame])], "stored", "OrderPlaced") == 3


def test_every_watcher_gets_every_position(watch, put):
    watchers = [watch() for _ in range(WATCHERS)]
    before = watchers[0].ping()
    ids = set()
    for number in range(20):
        ids |= put(f"ORD-A{number}", f"ORD-B{number}")
    watchers[0].wait_for(lambda frames: ids <= event_ids(frames))
    assert_gapless(watchers, before, watchers[0].positions[-1])


def test_each_of_two_hundred_watchers_gets_every_position(watch, put):
    """The emulator posts to one watcher after the other, so it sends only a few events a second."""
    with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
        watchers = list(pool.map(lambda _: watch(), range(MANY_WATCHERS)))
    before = watchers[0].ping()
    for number in range(6):
        ids = put(f"ORD-C{number}", f"ORD-D{number}")
        watchers[0].wait_for(lambda frames, ids=ids: ids <= event_ids(frames))
    assert_gapless(watchers, before, watchers[0].positions[-1])


def test_a_ping_is_answered_with_the_position_of_the_latest_frame(watch, put):
    watcher = watch()
    ids = put("ORD-PING")
    watcher.wait_for(lambda frames: ids <= event_ids(frames))
    last = watcher.positions[-1]
    position = watcher.ping()
    watcher.wait_for(lambda frames: frames[-1]["position"] >= position)  # a sweep may have published a frame as well
    assert position >= last
    assert position in watcher.positions


def test_the_count_of_a_duplicate_reaches_a_watcher(aws_stack, watch):
    """Sent to the queue, because EventBridge gives each event its own id."""
    event = envelopes.eventbridge_event("live-duplicate", detail_type="SentTwice", detail={"order_id": "ORD-TWICE"})
    watcher = watch()
    with contextlib.closing(resources.client("sqs", aws_stack.deployed.endpoint)) as sqs:
        for _ in range(2):
            sqs.send_message(QueueUrl=aws_stack.deployed.queue_url, MessageBody=json.dumps(event))
    frames = watcher.wait_for(lambda frames: count(frames, "duplicate", "SentTwice"))
    assert count(frames, "stored", "SentTwice") == 1


def test_a_closed_connection_is_removed(watch, connections):
    others = connections.smembers(KEY)
    watcher = watch()
    (connection,) = connections.smembers(KEY) - others
    watcher.socket.close()
    eventually(lambda: not connections.sismember(KEY, connection), seconds=SECONDS)


def test_a_connection_that_is_gone_is_removed_after_the_next_post(watch, connections, put):
    """API Gateway answers 410 for a connection whose $disconnect was lost."""
    connections.sadd(KEY, "gone0123456789ab")
    watcher = watch()
    ids = put("ORD-GONE")
    watcher.wait_for(lambda frames: ids <= event_ids(frames))
    eventually(lambda: not connections.sismember(KEY, "gone0123456789ab"), seconds=SECONDS)


def test_a_ping_registers_the_connection_again_after_a_flush_of_redis(watch, connections, put):
    watcher = watch()
    connections.flushall()
    watcher.ping()
    ids = put("ORD-RESTORED")
    assert ids <= event_ids(watcher.wait_for(lambda frames: ids <= event_ids(frames)))


def test_the_scheduled_relay_sends_frames_whose_notification_was_lost(aws_stack, watch, functions):
    watcher = watch()
    before = watcher.ping()
    add_frame(aws_stack, published="now()")
    assert invoke(functions, RELAY_FUNCTION) is None
    last = watcher.ping()
    watcher.wait_for(lambda frames: frames and frames[-1]["position"] >= last)
    assert last > before
    assert [position for position in watcher.positions if position > before][: last - before] == list(
        range(before + 1, last + 1)
    )


def test_the_scheduled_sweep_removes_old_frames(aws_stack, functions):
    add_frame(aws_stack, published="now() - interval '2 days'")
    invoke(functions, RELAY_FUNCTION)
    # The numbers vary: the schedule may run the sweep first, and orders of other tests fall due.
    assert invoke(functions, SWEEP_FUNCTION).keys() == {"frames_removed", "flows_evaluated"}
    with psycopg.connect(aws_stack.database_url) as connection:
        old = connection.execute("SELECT count(*) FROM frames WHERE created_at < now() - interval '1 day'").fetchone()
    assert old == (0,)


@pytest.mark.parametrize("step", RELAY_STEPS)
def test_frames_of_a_killed_relay_are_sent_again_with_the_same_positions(step, aws_stack, watch, functions):
    """The relay is killed after it has assigned positions: none is assigned twice, and each frame arrives.

    A watcher recognises a frame that it gets twice by its position.
    """
    watcher = watch()
    before = watcher.ping()
    frames = 0

    def killed() -> bool:
        nonlocal frames
        add_frame(aws_stack, published="now()")
        frames += 1
        return relay_that_dies(aws_stack, step) == -signal.SIGKILL  # otherwise the scheduled relay sent the frame first

    eventually(killed, seconds=SECONDS)
    add_frame(aws_stack, published="now()")
    invoke(functions, RELAY_FUNCTION)
    last = watcher.ping()
    watcher.wait_for(lambda received: received and received[-1]["position"] >= last)

    assert last > before + frames  # a sweep may have published frames as well
    assert {position for position in watcher.positions if before < position <= last} == set(range(before + 1, last + 1))
    by_position = {frame["position"]: frame for frame in watcher.frames}
    assert all(frame == by_position[frame["position"]] for frame in watcher.frames)
    assert (len(by_position) < len(watcher.frames)) == (step == "before-offset-commit")


def relay_that_dies(aws_stack, step):
    """The exit status of a relay function that kills itself at this step, in a process of its own."""
    variables = resources.sdk_environment(aws_stack.deployed.endpoint) | aws_stack.environment
    endpoint = aws_stack.deployed.websocket_url.replace("ws", "http", 1)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.support.crash", step, "-m", "tests.support.aws_lambda", RELAY_HANDLER],
        input="{}",
        env=scrubbed_environment(**variables, HELIOS_WEBSOCKET_ENDPOINT=endpoint),
        cwd=ROOT,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    return finished.returncode


def add_frame(aws_stack, *, published):
    """Insert a frame without a notification."""
    with psycopg.connect(aws_stack.database_url) as connection:
        body = json.dumps({"counts": [], "events": []})
        connection.execute(f"INSERT INTO frames (body, keys, created_at) VALUES (%s, '[]', {published})", [body])


def invoke(functions, name):
    """The result of the function when EventBridge's schedule invokes it."""
    event = envelopes.eventbridge_event(source="aws.events", detail_type="Scheduled Event", detail={})
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer
    return json.load(answer["Payload"])

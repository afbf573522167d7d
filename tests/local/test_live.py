"""What is stored reaches those who watch through API Gateway's WebSocket, each frame in its place."""

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
from local.aws import resources
from local.stack.config import BUS, RELAY_FUNCTION, SWEEP_FUNCTION
from local.stack.process import scrubbed_environment
from tests.support import envelopes
from tests.support.api import ROOT
from tests.support.crash import RELAY_STEPS
from tests.support.waiting import eventually

SECONDS = 60
"""Far more than anything takes: a cold start on a busy machine."""

WATCHERS = 5
MANY_WATCHERS = 200
OPENED_AT_ONCE = 8
RELAY_HANDLER = "functions.aws.relay.handler"


class Watcher:
    """A client of the WebSocket API.

    Attributes:
        frames: every frame it got, in order of arrival.
    """

    def __init__(self, socket):
        self.socket = socket
        self.frames = []
        self.ping()  # as the dashboard does: only now is it certain that API Gateway knows the connection

    def ping(self):
        """The position of the stream, asked through the socket; frames that come meanwhile are kept."""
        self.socket.send(json.dumps({"type": "ping"}))
        while (message := self._receive())["type"] != "pong":
            pass
        return message["position"]

    def wait_for(self, condition):
        """Read until the condition holds for the frames."""
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
    """Opens watchers, each with a ticket of its own, and closes those that are left."""
    tickets = RedisTickets(aws_stack.environment["HELIOS_REDIS_URL"])
    with contextlib.closing(tickets), contextlib.ExitStack() as stack:

        def open_watcher():
            url = f"{aws_stack.deployed.websocket_url}?ticket={tickets.issue('test')}"
            return Watcher(stack.enter_context(connect(url, open_timeout=SECONDS, proxy=None)))

        yield open_watcher


@pytest.fixture
def connections(aws_stack):
    """The Redis of the functions."""
    with redis.Redis.from_url(aws_stack.environment["HELIOS_REDIS_URL"], decode_responses=True) as client:
        yield client


@pytest.fixture
def functions(aws_stack):
    """Lambda."""
    with contextlib.closing(resources.client("lambda", aws_stack.deployed.endpoint)) as client:
        yield client


@pytest.fixture
def put(aws_stack):
    """Puts events on the bus, at most ten at a time, and tells their ids."""
    with contextlib.closing(resources.client("events", aws_stack.deployed.endpoint)) as client:

        def put_events(*order_ids):
            entries = [
                {
                    "EventBusName": BUS,
                    "Source": "shop",
                    "DetailType": "OrderPlaced",
                    "Detail": json.dumps({"order_id": one}),
                }
                for one in order_ids
            ]
            return {entry["EventId"] for entry in client.put_events(Entries=entries)["Entries"]}

        yield put_events


def shown(frames):
    """The ids of the events that the frames show."""
    return {event["id"] for frame in frames for event in frame["events"]}


def count(frames, outcome):
    """How many deliveries had this outcome."""
    return sum(one[outcome] for frame in frames for one in frame["counts"])


def assert_gapless(watchers, after, last):
    """Each got every position after the one that stood when all of them were connected, once and in order.

    What was numbered before that, as a sweep's frame may be, reaches those who were connected by then; and more may
    come at any time.
    """
    for watcher in watchers:
        watcher.wait_for(lambda frames: frames and frames[-1]["position"] >= last)
        assert [one for one in watcher.positions if after < one <= last] == list(range(after + 1, last + 1))


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=guess"])
def test_who_has_no_ticket_is_not_connected(aws_stack, connections, query):
    url = f"{aws_stack.deployed.websocket_url}{query}"
    before = connections.smembers(KEY)

    with pytest.raises((InvalidStatus, ConnectionClosed)), connect(url, open_timeout=SECONDS, proxy=None) as socket:
        socket.recv(timeout=SECONDS)
    assert connections.smembers(KEY) == before


def test_an_event_put_on_the_bus_reaches_who_watches(watch, put):
    watcher = watch()
    ids = put("ORD-1", "ORD-2", "ORD-3")
    frames = watcher.wait_for(lambda frames: ids <= shown(frames))
    assert watcher.positions == list(range(watcher.positions[0], watcher.positions[0] + len(frames)))
    assert count(frames, "stored") == 3


def test_every_watcher_gets_every_position(watch, put):
    watchers = [watch() for _ in range(WATCHERS)]
    before = watchers[0].ping()
    ids = set()
    for number in range(20):
        ids |= put(f"ORD-A{number}", f"ORD-B{number}")
    watchers[0].wait_for(lambda frames: ids <= shown(frames))
    assert_gapless(watchers, before, watchers[0].positions[-1])


def test_two_hundred_watchers_get_every_position(watch, put):
    """The emulator posts to one after the other, so a few events a second are all that it can do."""
    with ThreadPoolExecutor(OPENED_AT_ONCE) as pool:
        watchers = list(pool.map(lambda _: watch(), range(MANY_WATCHERS)))
    before = watchers[0].ping()
    for number in range(6):
        ids = put(f"ORD-C{number}", f"ORD-D{number}")
        watchers[0].wait_for(lambda frames, ids=ids: ids <= shown(frames))
    assert_gapless(watchers, before, watchers[0].positions[-1])


def test_a_ping_is_answered_with_the_position_of_the_latest_frame(watch, put):
    watcher = watch()
    ids = put("ORD-PING")
    watcher.wait_for(lambda frames: ids <= shown(frames))
    last = watcher.positions[-1]
    position = watcher.ping()
    watcher.wait_for(lambda frames: frames[-1]["position"] >= position)  # a sweep may just have told something too
    assert position >= last
    assert position in watcher.positions


def test_a_duplicate_is_counted_for_who_watches(aws_stack, watch):
    """Sent as SQS would: EventBridge gives each event an id of its own."""
    event = envelopes.eventbridge_event("live-duplicate", detail={"order_id": "ORD-TWICE"})
    watcher = watch()
    with contextlib.closing(resources.client("sqs", aws_stack.deployed.endpoint)) as sqs:
        for _ in range(2):
            sqs.send_message(QueueUrl=aws_stack.deployed.queue_url, MessageBody=json.dumps(event))
    frames = watcher.wait_for(lambda frames: count(frames, "duplicate"))
    assert (count(frames, "stored"), count(frames, "duplicate")) == (1, 1)


def test_who_leaves_is_forgotten(watch, connections):
    others = connections.smembers(KEY)
    watcher = watch()
    (connection,) = connections.smembers(KEY) - others
    watcher.socket.close()
    eventually(lambda: not connections.sismember(KEY, connection), seconds=SECONDS)


def test_a_connection_that_is_gone_is_forgotten_when_it_is_posted_to(watch, connections, put):
    """API Gateway answers 410; here for one whose $disconnect was lost."""
    connections.sadd(KEY, "gone0123456789ab")
    watcher = watch()
    ids = put("ORD-GONE")
    watcher.wait_for(lambda frames: ids <= shown(frames))
    eventually(lambda: not connections.sismember(KEY, "gone0123456789ab"), seconds=SECONDS)


def test_a_ping_heals_a_redis_that_was_flushed(watch, connections, put):
    watcher = watch()
    connections.flushall()
    watcher.ping()
    ids = put("ORD-HEALED")
    assert ids <= shown(watcher.wait_for(lambda frames: ids <= shown(frames)))


def test_the_schedule_s_relay_sends_what_nobody_rang_for(aws_stack, watch, functions):
    watcher = watch()
    before = watcher.ping()
    add_frame(aws_stack, published="now()")
    assert invoke(functions, RELAY_FUNCTION) is None
    watcher.wait_for(lambda frames: frames)
    assert watcher.positions[0] == before + 1


def test_the_schedule_s_sweep_removes_what_everybody_has_seen(aws_stack, functions):
    add_frame(aws_stack, published="now() - interval '2 days'")
    invoke(functions, RELAY_FUNCTION)
    # How many is not certain: the schedule may be there first, and other tests' orders fall due.
    assert invoke(functions, SWEEP_FUNCTION).keys() == {"frames_removed", "flows_evaluated"}
    with psycopg.connect(aws_stack.database_url) as connection:
        old = connection.execute("SELECT count(*) FROM frames WHERE created_at < now() - interval '1 day'").fetchone()
    assert old == (0,)


@pytest.mark.parametrize("step", RELAY_STEPS)
def test_a_relay_that_is_killed_has_its_frames_sent_again_in_their_places(step, aws_stack, watch, functions):
    """kill -9 once the positions are given: none is given twice, each frame comes, and who got it twice can tell."""
    watcher = watch()
    before = watcher.ping()
    frames = 0

    def killed() -> bool:
        nonlocal frames
        add_frame(aws_stack, published="now()")
        frames += 1
        return relay_that_dies(aws_stack, step) == -signal.SIGKILL  # else the schedule's relay was there first

    eventually(killed, seconds=SECONDS)
    add_frame(aws_stack, published="now()")
    invoke(functions, RELAY_FUNCTION)
    last = watcher.ping()
    watcher.wait_for(lambda got: got and got[-1]["position"] >= last)

    assert last > before + frames  # a sweep may have told something too
    assert {one for one in watcher.positions if one <= last} == set(range(before + 1, last + 1))
    repeated = {frame["position"]: frame for frame in watcher.frames}
    assert all(frame == repeated[frame["position"]] for frame in watcher.frames)
    assert (len(repeated) < len(watcher.frames)) == (step == "before-offset-commit")


def relay_that_dies(aws_stack, step):
    """The relay function in a process of its own, which kills itself there; its exit status."""
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
    """A frame whose ring was lost."""
    with psycopg.connect(aws_stack.database_url) as connection:
        body = json.dumps({"counts": [], "events": []})
        connection.execute(f"INSERT INTO frames (body, keys, created_at) VALUES (%s, '[]', {published})", [body])


def invoke(functions, name):
    """What the function returns when EventBridge's schedule invokes it."""
    event = {"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer
    return json.load(answer["Payload"])

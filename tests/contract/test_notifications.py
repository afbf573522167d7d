"""Notifications, with real receivers: each transition once by its key, in order, signed, retried and digested."""

import json
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from helios import notifications as file
from helios import toml_file
from helios.adapters.notifications.registry import targets_of
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.notifications import PostgresNotifications
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.stream import PostgresOutbox
from helios.errors import TargetUnavailable
from helios.model.incidents import FAILED_FOR, Cause, IncidentFilter, Severity, Snooze, Transition
from helios.model.notifications import Message
from helios.services.incidents import QUIET, IncidentJob
from helios.services.notifications import LEASE, MAX_AGE, PERIOD, RETRIES, NotificationJob
from tests.support.deliveries import NOON
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import eventually

SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret
SECOND = timedelta(seconds=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


class World:
    """An outbox with transitions of incidents, and the job that sends them."""

    def __init__(self, pool: Any, text: str, secrets: str) -> None:
        self.declared = declared = file.parse(toml_file.parse(text, name="notifications.toml"))
        self.seconds = 0.0
        self.incidents = PostgresIncidents(pool)
        self.store = PostgresNotifications(pool)
        self.job = NotificationJob(
            self.store, declared, targets_of(declared, secrets=secrets, loopback=True), monotonic=lambda: self.seconds
        )

    def open(self, *causes: Cause, at: datetime = NOON, severity: Severity = "error") -> None:
        """Open an incident of each cause, with its transition in the outbox."""
        self._change("opened", causes, at, severity)

    def resolve(self, *causes: Cause, at: datetime = NOON) -> None:
        self._change("resolved", causes, at, "error")

    def _change(self, what: Any, causes: tuple[Cause, ...], at: datetime, severity: Severity) -> None:
        with self.incidents.turn() as turn:
            assert turn
            for cause in causes:
                if what == "opened":
                    turn.open(cause, title=f"{cause.flow}: {cause.issue}", severity=severity, at=at)
            by_key = {incident.cause.key: incident for incident in turn.open_incidents()}
            if what == "resolved":
                for cause in causes:
                    turn.resolve(by_key[cause.key].id, "Every instance is repaired or resolved", at)
            turn.announce([Transition(what=what, at=at, incident=by_key[cause.key]) for cause in causes])

    def states(self) -> Sequence[tuple[str, int]]:
        """The state and the attempts of each message, the first first."""
        return [(message.state, message.attempts) for message in self.store.messages(limit=500)][::-1]


def causes(number: int, flow: str = "order") -> list[Cause]:
    return [Cause(kind="flow", flow=flow, issue=f"issue-{index}") for index in range(number)]


def declared(receiver: Receiver, routes: str = '[[route]]\nto = ["ops"]', **options: int) -> str:
    head = "".join(f"{name} = {value}\n" for name, value in options.items())
    return f'{head}[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "{receiver.url}"\n{routes}\n'


@pytest.fixture
def world(pool, receiver) -> World:
    return World(pool, declared(receiver), f"ops={SECRET}")


def received(receiver: Receiver) -> list[dict[str, Any]]:
    """The payload of each request, whose signature is verified."""
    return [Webhook(SECRET).verify(body, headers) for _, headers, body in receiver.requests]


def ids(receiver: Receiver) -> list[str]:
    return [headers["webhook-id"] for _, headers, _ in receiver.requests]


def test_a_receiver_gets_each_transition_once_in_order_and_signed(world, receiver):
    (cause,) = causes(1)
    world.open(cause)
    assert world.job.run(NOON) == 1
    world.resolve(cause, at=NOON + QUIET)
    assert world.job.run(NOON + QUIET) == 1
    assert world.job.run(NOON + 2 * QUIET) == 0

    opened, resolved = received(receiver)
    assert [opened["type"], resolved["type"]] == ["incident.opened", "incident.resolved"]
    assert ids(receiver) == [opened["data"]["key"], resolved["data"]["key"]]
    assert opened["data"]["incident_key"] == resolved["data"]["incident_key"]
    assert opened["data"]["incident"]["cause"] == {"kind": "flow", "flow": "order", "issue": "issue-0"}


def test_a_failed_attempt_is_repeated_with_the_same_id_and_the_waits_of_the_specification(world, receiver):
    receiver.answers = [(500, {}, b"")] * (len(RETRIES) + 1)
    world.open(*causes(1))
    at = NOON
    for wait in RETRIES:
        assert world.job.run(at) == 0
        assert world.job.run(at + wait - SECOND) == 0
        at += wait * 1.2
    world.job.run(at)
    world.job.run(at + timedelta(days=9))

    assert len(set(ids(receiver))) == 1
    assert len(receiver.requests) == len(RETRIES) + 1
    assert world.states() == [("failed", len(RETRIES) + 1)]
    assert world.incidents.attention(at).failing == {"ops": 1}  # given up just now
    assert world.incidents.attention(at + LEASE + FAILED_FOR).failing == {}


def test_a_receiver_that_asks_to_wait_is_left_alone_for_that_time(world, receiver):
    receiver.answers = [(429, {"retry-after": "40"}, b"")]
    world.open(*causes(1))
    assert world.incidents.attention(NOON).failing == {}
    world.job.run(NOON)

    assert world.incidents.attention(NOON).failing == {"ops": 1}
    assert world.job.run(NOON + timedelta(seconds=39)) == 0
    assert world.job.run(NOON + timedelta(seconds=41)) == 1
    assert world.incidents.attention(NOON).failing == {}


def test_a_webhook_that_is_gone_gets_no_further_attempt(world, receiver):
    receiver.answers = [(410, {}, b"")]
    world.open(*causes(1))
    world.job.run(NOON)

    assert world.job.run(NOON + timedelta(days=1)) == 0
    assert world.states() == [("failed", 1)]


def test_a_resolution_waits_until_its_incident_was_announced_and_delays_no_other(world, receiver):
    first, second = causes(2)
    receiver.answers = [(503, {}, b"")]
    world.open(first)
    world.job.run(NOON)
    world.resolve(first, at=NOON + SECOND)
    world.open(second, at=NOON + SECOND)
    world.job.run(NOON + SECOND)
    world.job.run(NOON + RETRIES[0] * 1.2)

    types = [
        (json.loads(body)["type"], json.loads(body)["data"]["incident"]["cause"]["issue"])
        for *_, body in receiver.requests
    ]
    assert types == [
        ("incident.opened", "issue-0"),
        ("incident.opened", "issue-1"),
        ("incident.opened", "issue-0"),
        ("incident.resolved", "issue-0"),
    ]


def test_a_receiver_that_does_not_answer_delays_no_other(pool, receiver, other):
    receiver.answers = [(503, {}, b"")]
    text = declared(receiver) + f'[[receiver]]\nname = "chat"\nkind = "webhook"\nurl = "{other.url}"\n'
    text += '[[route]]\nto = ["chat"]\n'
    world = World(pool, text, f"ops={SECRET} chat={SECRET}")
    world.open(*causes(3))

    assert world.job.run(NOON) == 5
    assert len(other.requests) == 3


def test_a_receiver_that_hangs_does_not_delay_what_happens_meanwhile(world, receiver):
    hanging, released, attempts = threading.Event(), threading.Event(), []

    class HangingTarget:
        def send(self, message: Message) -> None:
            hanging.set()
            released.wait(60)
            attempts.append(message.id)
            raise TargetUnavailable("does not answer")

    text = '[[receiver]]\nname = "chat"\nkind = "slack"\n[[route]]\nto = ["chat"]\n'
    content = file.parse(toml_file.parse(declared(receiver) + text, name="notifications.toml"))
    targets = targets_of(world.declared, secrets=f"ops={SECRET}", loopback=True)
    job = NotificationJob(world.store, content, targets | {"chat": HangingTarget()}, monotonic=lambda: 0)
    world.open(*causes(1))
    job.start(NOON)
    assert hanging.wait(20)
    world.open(*causes(1, flow="meanwhile"), at=NOON + SECOND)

    def is_notified() -> bool:
        job.start(NOON + SECOND)  # as a process does every few seconds
        return len(receiver.requests) == 2

    eventually(is_notified)
    assert attempts == []
    released.set()
    job.close()
    assert [each.state for each in world.store.messages(limit=9) if each.receiver == "chat"] == ["waiting"] * 2


def test_the_lease_of_a_message_begins_with_its_own_attempt(world):
    """Each of two attempts takes forty seconds. At the end of the second one another process looks for messages."""
    attempts: list[str] = []

    class SlowTarget:
        def send(self, message: Message) -> None:
            attempts.append(message.id)
            world.seconds += 40
            if len(attempts) == 2:
                jobs[1].run(NOON + timedelta(seconds=world.seconds))

    jobs = [
        NotificationJob(world.store, world.declared, {"ops": SlowTarget()}, monotonic=lambda: world.seconds)
        for _ in range(2)
    ]
    world.open(*causes(2))

    assert jobs[0].run(NOON) == 2
    assert len(attempts) == len(set(attempts)) == 2


def test_an_attempt_whose_result_is_unknown_is_repeated_after_the_lease_with_the_same_id(world, receiver):
    world.open(*causes(1))
    world.job.compose(NOON)
    claimed = world.store.claim("ops", NOON, lease=LEASE)

    assert world.job.run(NOON + LEASE - SECOND) == 0
    assert world.job.run(NOON + LEASE) == 1
    assert ids(receiver) == [claimed.id]


def test_many_transitions_are_one_digest_and_none_is_left_out(pool, receiver):
    world = World(pool, declared(receiver, digest_above=3), f"ops={SECRET}")
    world.open(*causes(2))
    world.job.run(NOON)
    world.open(*causes(40, flow="flood"), at=NOON + SECOND)
    world.job.run(NOON + SECOND)
    world.open(*causes(5, flow="more"), at=NOON + 2 * SECOND)
    world.job.run(NOON + 2 * SECOND)
    before = [payload["type"] for payload in received(receiver)]
    world.job.run(NOON + SECOND + PERIOD)

    assert before == ["incident.opened"] * 2 + ["incident.digest"]
    digests = [payload for payload in received(receiver) if payload["type"] == "incident.digest"]
    assert [len(digest["data"]["transitions"]) for digest in digests] == [40, 5]
    keys = [each["data"]["key"] for digest in digests for each in digest["data"]["transitions"]]
    assert len({*keys, *ids(receiver)[:2]}) == 47


def test_routes_select_by_flow_source_kind_and_severity(pool, receiver, other):
    routes = """
[[route]]
to = ["ops"]
severity = "critical"
[[route]]
to = ["ops"]
flow = ["order", "refund"]
[[route]]
to = ["chat"]
kind = ["silence"]
source = ["gcp"]
"""
    text = declared(receiver, routes).replace(
        "[[route]]", f'[[receiver]]\nname = "chat"\nkind = "webhook"\nurl = "{other.url}"\n[[route]]', 1
    )
    world = World(pool, text, f"ops={SECRET} chat={SECRET}")
    world.open(*causes(1), *causes(1, flow="shipment"))
    world.open(Cause(kind="silence", source="gcp"), Cause(kind="silence", source="aws"), severity="critical")
    world.job.run(NOON)

    def causes_of(server: Receiver) -> list[dict[str, Any]]:
        return [payload["data"]["incident"]["cause"] for payload in received(server)]

    assert sorted(causes_of(receiver), key=str) == [
        {"kind": "flow", "flow": "order", "issue": "issue-0"},
        {"kind": "silence", "source": "aws"},
        {"kind": "silence", "source": "gcp"},
    ]
    assert causes_of(other) == [{"kind": "silence", "source": "gcp"}]


def test_transitions_from_before_the_set_up_are_not_sent(world, receiver):
    world.open(*causes(1))

    assert world.job.run(NOON + MAX_AGE + SECOND) == 0
    assert receiver.requests == []


def test_the_end_of_a_snooze_reminds_the_receivers(world, receiver, pool):
    (cause,) = causes(1)
    world.open(cause)
    world.job.run(NOON)
    (incident,) = world.incidents.incidents(IncidentFilter(), after=None, limit=2).items
    until = NOON + timedelta(minutes=5)
    world.incidents.act(incident.id, Snooze(until=until), actor="kim", now=NOON)
    job = IncidentJob(world.incidents, outbox=PostgresOutbox(pool), counts=PostgresReader(pool))
    with world.incidents.turn() as turn:
        turn.see([incident.id], until)
    job.run(until)
    world.job.run(until)

    assert [payload["type"] for payload in received(receiver)] == ["incident.opened", "incident.reminded"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://169.254.169.254/latest", "a link-local or metadata address"),
        ("https://[fd00:ec2::254]/", "a link-local or metadata address"),
        ("https://10.1.2.3/hook", "private = true"),
        ("https://[::ffff:10.1.2.3]/hook", "private = true"),
    ],
)
def test_addresses_that_the_replay_webhook_may_not_have_are_refused(pool, url, reason):
    text = f'[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "{url}"\n[[route]]\nto = ["ops"]\n'
    world = World(pool, text, f"ops={SECRET}")
    world.open(*causes(1))

    assert world.job.run(NOON) == 0
    assert reason in (world.store.messages(limit=1)[0].error or "")


def test_this_machine_is_refused_unless_loopback_is_trusted(receiver):
    content = file.parse(toml_file.parse(declared(receiver).replace("http:", "https:"), name="n"))
    (target,) = targets_of(content, secrets=f"ops={SECRET}", loopback=False).values()

    with pytest.raises(TargetUnavailable, match="this machine itself"):
        target.send(Message(receiver="ops", id="test-1"))
    assert receiver.requests == []

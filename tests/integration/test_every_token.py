"""Every endpoint, the live stream and the command line, with every kind of token: none sees what it may not see.

The endpoints come from the OpenAPI document and the commands from the parser, so that a new one without a case fails.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
import redis

from helios import __main__ as command_line
from helios.adapters.no_dedupe import NullDedupeCache
from helios.adapters.postgres.balances import PostgresBalances
from helios.adapters.postgres.incidents import PostgresIncidents
from helios.adapters.postgres.reader import PostgresReader
from helios.adapters.postgres.replay import PostgresReplayJobs
from helios.adapters.postgres.stream import PostgresOutbox
from helios.adapters.postgres.tokens import PostgresTokens
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.client import TOKEN
from helios.model.access import EVERYTHING, Visibility
from helios.model.balances import Manifest
from helios.model.events import Delivery
from helios.model.replay import ReplayFilter, ReplayRequest, Target
from helios.model.tokens import PREFIX, Scope, Token, digest
from helios.processes.process import scrubbed_environment
from helios.services.balances import BalanceJob
from helios.services.incidents import IncidentJob
from helios.services.ingest import ingest
from helios.services.reconciler import Reconciler
from scripts.build.openapi import document
from tests.support.api import ROOT, Api
from tests.support.instances import ORDER, sent
from tests.support.waiting import eventually

CUSTOMER, REFUND, PAYMENT, STOCK = "secret-customer", "secret-refund", "secret-payment", "secret-stock"
DEAD_LETTERS = {"aws": "secret-aws-delivery", "azure": "secret-azure-delivery"}
NEW = {"aws": "new-order", "gcp": f"{PAYMENT}-new", "azure": f"{STOCK}-new"}
"""The ids of the events that are stored while the stream is read."""

KEY = "ORD-1"
NOTIFY_SECRET = "n" * 32


class Kind(NamedTuple):
    """A kind of token.

    Attributes:
        scopes: its scopes; none: it is not valid.
        visibility: its limits.
        hidden: what no answer to it may contain.
        stored: the number of stored events that it may see.
        rejected: the number of rejected deliveries.
        dead_letters: the number of dead letters.
        flows: the number of flow instances.
        incidents: the number of incidents: two of the flow, and one for each reason of dead letters.
    """

    scopes: tuple[Scope, ...]
    visibility: Visibility = EVERYTHING
    hidden: tuple[str, ...] = ()
    stored: int = 4
    rejected: int = 2
    dead_letters: int = 3
    flows: int = 1
    incidents: int = 5


EVERY_SECRET = (CUSTOMER, REFUND, PAYMENT, STOCK, *DEAD_LETTERS.values())
OF_AWS = (PAYMENT, STOCK, DEAD_LETTERS["azure"])
KINDS = {
    "none": Kind((), hidden=EVERY_SECRET),
    "unknown": Kind((), hidden=EVERY_SECRET),
    "expired": Kind((), hidden=EVERY_SECRET),
    "revoked": Kind((), hidden=EVERY_SECRET),
    "read": Kind(("read",)),
    "replay": Kind(("replay",)),
    "resolve": Kind(("resolve",)),
    "rules": Kind(("rules",)),
    "admin": Kind(("admin",)),
    "source": Kind(
        ("read",), Visibility(sources=("aws",)), OF_AWS, stored=2, rejected=1, dead_letters=2, flows=0, incidents=2
    ),
    "resolve a source": Kind(
        ("resolve",), Visibility(sources=("aws",)), OF_AWS, stored=2, rejected=1, dead_letters=2, flows=0, incidents=2
    ),
    "type": Kind(
        ("read",),
        Visibility(types=("Order*",)),
        (REFUND, PAYMENT, STOCK, *DEAD_LETTERS.values()),
        stored=1,
        rejected=0,
        dead_letters=0,
        flows=0,
        incidents=0,
    ),
    "flow": Kind(
        ("read",),
        Visibility(flows=("order",)),
        (REFUND, *DEAD_LETTERS.values()),
        stored=3,
        rejected=0,
        dead_letters=0,
        incidents=2,
    ),
    "masked": Kind(("read",), Visibility(masked=("customer_id",)), (CUSTOMER,)),
    "all limits": Kind(
        ("read",),
        Visibility(sources=("aws",), types=("Order*",), flows=("order",), masked=("customer_id",)),
        EVERY_SECRET,
        stored=1,
        rejected=0,
        dead_letters=0,
        incidents=2,
    ),
    "nothing": Kind(
        ("read",), Visibility(sources=()), EVERY_SECRET, stored=0, rejected=0, dead_letters=0, flows=0, incidents=0
    ),
}
LIMITED = [name for name, kind in KINDS.items() if kind.visibility.is_limited]


class Case(NamedTuple):
    """How an endpoint is called.

    Attributes:
        who: ``public``: anybody. ``sender``: it has credentials of its own. ``narrowed``: readers, who see what they
            may see. ``whole``: readers without limits. ``writer``: the scope replay without limits. ``resolver``: the
            scope resolve, for what it may see. ``undoer``: the scope resolve without limits. ``editor``: the scope
            rules without limits.
        path: the path with its parameters.
        body: the body of a POST.
        found: the status with a valid token.
    """

    who: str
    path: str
    body: Any = None
    found: int = 200


V1 = "/api/v1"
RESOLUTION = {"step": "note", "text": "x", "filter": {"status": ["mismatched"]}, "dry_run": True}
RECOVERY = {"flow": "order", "key": KEY, "leg": "payment"}
EVENTS_JOB = {"what": "events", "target": {"kind": "relay"}, "filter": {"source": "gcp"}, "dry_run": True}
CASES: Mapping[tuple[str, str], list[Case]] = {
    ("post", f"{V1}/webhooks/aws/eventbridge"): [Case("sender", f"{V1}/webhooks/aws/eventbridge", {})],
    ("post", f"{V1}/webhooks/gcp/pubsub"): [Case("sender", f"{V1}/webhooks/gcp/pubsub", {})],
    ("post", f"{V1}/webhooks/azure/eventgrid"): [Case("sender", f"{V1}/webhooks/azure/eventgrid", {})],
    ("post", f"{V1}/webhooks/cloudevents"): [Case("sender", f"{V1}/webhooks/cloudevents", {})],
    ("post", f"{V1}/webhooks/{{source}}"): [Case("sender", f"{V1}/webhooks/undeclared", {})],
    ("get", f"{V1}/sources"): [Case("narrowed", f"{V1}/sources")],
    ("post", f"{V1}/relay/notify"): [Case("sender", f"{V1}/relay/notify")],
    ("get", f"{V1}/health"): [Case("public", f"{V1}/health")],
    ("get", f"{V1}/health/detailed"): [Case("public", f"{V1}/health/detailed")],
    ("get", f"{V1}/events"): [
        Case("narrowed", f"{V1}/events"),
        *(Case("narrowed", f"{V1}/events?source={source}") for source in ("aws", "gcp", "azure")),
        Case("narrowed", f"{V1}/events?type=PaymentProcessed"),
        Case("narrowed", f"{V1}/events?order_id={KEY}"),
    ],
    ("get", f"{V1}/events/{{source}}/{{id}}"): [
        Case("narrowed", f"{V1}/events/aws/order?producer=shop/1/eu"),
        Case("narrowed", f"{V1}/events/aws/{REFUND}?producer=shop/1/eu"),
        Case("narrowed", f"{V1}/events/gcp/{PAYMENT}?producer=//pubsub.googleapis.com/projects/shop/topics/payments"),
        Case("narrowed", f"{V1}/events/azure/{STOCK}?producer=t"),
    ],
    ("get", f"{V1}/counts"): [Case("narrowed", f"{V1}/counts")],
    ("get", f"{V1}/stats"): [Case("narrowed", f"{V1}/stats")],
    ("get", f"{V1}/dead-letters"): [
        Case("narrowed", f"{V1}/dead-letters"),
        Case("narrowed", f"{V1}/dead-letters?source=azure"),
        Case("narrowed", f"{V1}/dead-letters?status=contradictory"),
    ],
    ("get", f"{V1}/dead-letters/groups"): [Case("narrowed", f"{V1}/dead-letters/groups")],
    ("get", f"{V1}/dead-letters/{{id}}"): [Case("narrowed", f"{V1}/dead-letters/{{dead_letter{n}}}") for n in range(3)],
    ("get", f"{V1}/flows"): [Case("narrowed", f"{V1}/flows"), Case("narrowed", f"{V1}/flows?flow=order&key=ORD")],
    ("get", f"{V1}/flows/declarations"): [Case("narrowed", f"{V1}/flows/declarations")],
    ("get", f"{V1}/flows/summary"): [
        Case("narrowed", f"{V1}/flows/summary"),
        Case("narrowed", f"{V1}/flows/summary?flow=order"),
    ],
    ("get", f"{V1}/flows/issues"): [Case("narrowed", f"{V1}/flows/issues")],
    ("get", f"{V1}/flows/workload"): [Case("narrowed", f"{V1}/flows/workload")],
    ("get", f"{V1}/diagnoses"): [Case("narrowed", f"{V1}/diagnoses?flow=order&key={KEY}")],
    ("get", f"{V1}/recoveries"): [Case("whole", f"{V1}/recoveries")],
    ("get", f"{V1}/recoveries/{{id}}"): [Case("whole", f"{V1}/recoveries/999999", found=404)],
    ("post", f"{V1}/recoveries"): [Case("writer", f"{V1}/recoveries", RECOVERY, found=409)],
    ("get", f"{V1}/resolutions"): [Case("whole", f"{V1}/resolutions")],
    ("post", f"{V1}/resolutions"): [Case("resolver", f"{V1}/resolutions", RESOLUTION)],
    ("post", f"{V1}/resolutions/{{id}}/undo"): [Case("undoer", f"{V1}/resolutions/999999/undo", found=404)],
    ("get", f"{V1}/flow-versions"): [Case("whole", f"{V1}/flow-versions")],
    ("get", f"{V1}/flow-versions/{{flow}}"): [Case("whole", f"{V1}/flow-versions/order")],
    ("get", f"{V1}/flow-versions/{{flow}}/toml"): [Case("whole", f"{V1}/flow-versions/order/toml")],
    ("get", f"{V1}/flow-versions/{{flow}}/{{version}}"): [Case("whole", f"{V1}/flow-versions/order/9", found=404)],
    ("get", f"{V1}/flow-versions/{{flow}}/{{version}}/toml"): [
        Case("whole", f"{V1}/flow-versions/order/9/toml", found=404)
    ],
    ("post", f"{V1}/flow-versions"): [Case("editor", f"{V1}/flow-versions", {"text": "# no flow"}, found=422)],
    **{
        ("post", f"{V1}/flow-versions/{{flow}}/{{version}}/{action}"): [
            Case("editor", f"{V1}/flow-versions/order/9/{action}", found=404)
        ]
        for action in ("preview", "approve", "withdraw")
    },
    ("get", f"{V1}/flows/{{flow}}/{{key}}"): [Case("narrowed", f"{V1}/flows/order/{KEY}")],
    ("get", f"{V1}/incidents"): [
        Case("narrowed", f"{V1}/incidents"),
        Case("narrowed", f"{V1}/incidents?state=open&snoozed=false&flow=order"),
        Case("narrowed", f"{V1}/incidents?kind=dead_letters&source=azure"),
    ],
    ("get", f"{V1}/incidents/{{id}}"): [Case("narrowed", f"{V1}/incidents/{{incident{n}}}") for n in range(5)],
    ("get", f"{V1}/incidents/{{id}}/instances"): [
        Case("narrowed", f"{V1}/incidents/{{incident{n}}}/instances") for n in range(5)
    ],
    **{
        ("post", f"{V1}/incidents/{{id}}/{action}"): [
            Case("resolver", f"{V1}/incidents/{{incident{n}}}/{action}", body) for n in range(5)
        ]
        for action, body in (
            ("acknowledge", None),
            ("snooze", {"until": "2100-01-01T00:00:00Z"}),
            ("assign", {"assignee": "kim"}),
        )
    },
    ("get", f"{V1}/balances"): [
        Case("narrowed", f"{V1}/balances"),
        Case("narrowed", f"{V1}/balances?source=gcp"),
        Case("narrowed", f"{V1}/balances?type={REFUND}"),
    ],
    ("get", f"{V1}/frames"): [Case("narrowed", f"{V1}/frames")],
    ("get", f"{V1}/replays"): [Case("narrowed", f"{V1}/replays")],
    ("get", f"{V1}/replays/{{id}}"): [Case("narrowed", f"{V1}/replays/{{job}}")],
    ("post", f"{V1}/ws/tickets"): [Case("narrowed", f"{V1}/ws/tickets", found=201)],
    ("get", f"{V1}/audit"): [Case("whole", f"{V1}/audit")],
    ("get", "/metrics"): [Case("whole", "/metrics")],
    ("post", f"{V1}/dead-letters/{{id}}/replay"): [
        Case("writer", f"{V1}/dead-letters/{{dead_letter0}}/replay", found=422)
    ],
    ("post", f"{V1}/replays"): [Case("writer", f"{V1}/replays", EVENTS_JOB)],
    ("post", f"{V1}/replays/{{id}}/cancel"): [Case("writer", f"{V1}/replays/999999/cancel", found=404)],
}
ENDPOINTS = {(method, path) for path, methods in json.loads(document())["paths"].items() for method in methods}

COMMANDS: Mapping[tuple[str, ...], list[str] | None] = {
    ("migrate",): None,
    ("sink",): None,
    ("projector",): None,
    ("tokens", "create"): None,
    ("tokens", "list"): None,
    ("tokens", "revoke"): None,
    ("recompute",): None,
    **dict.fromkeys([("cost",), ("demo",), ("erase",), ("query",), ("serve",)]),
    **dict.fromkeys([("notifications", name) for name in ("test", "list", "run")]),
    **dict.fromkeys([("archive", name) for name in ("run", "list", "verify", "restore")]),
    ("replay", "run"): None,
    ("flows",): ["flows"],
    ("flow",): ["flow", KEY],
    ("events",): ["events"],
    ("preview",): ["preview", str(ROOT / "shared" / "helios" / "flows.toml")],
    ("tail",): ["tail"],
    ("incidents", "list"): ["incidents", "list", "--all"],
    ("incidents", "show"): ["incidents", "show", "{incident0}"],
    ("incidents", "acknowledge"): ["incidents", "acknowledge", "{incident1}"],
    ("incidents", "snooze"): ["incidents", "snooze", "{incident2}", "--minutes", "5"],
    ("incidents", "assign"): ["incidents", "assign", "{incident3}", "--to", "kim"],
    ("balances", "list"): ["balances", "list"],
    ("balances", "send"): None,
    ("log", "create"): None,
    **dict.fromkeys([("flink", "run"), ("flink", "submit")]),
    ("dead-letters", "list"): ["dead-letters", "list"],
    ("dead-letters", "replay"): ["dead-letters", "replay", "--all", "--dry-run"],
    ("recoveries", "why"): ["recoveries", "why", KEY],
    ("recoveries", "start"): ["recoveries", "start", KEY, "--leg", "payment"],
    ("recoveries", "list"): ["recoveries", "list"],
    ("resolutions", "assign"): ["resolutions", "assign", KEY, "--to", "lee", "--dry-run"],
    **{
        ("resolutions", step): ["resolutions", step, KEY, "--text", "x", "--dry-run"]
        for step in ("note", "accept", "write-off", "reopen")
    },
    ("resolutions", "undo"): ["resolutions", "undo", "999999"],
    ("resolutions", "list"): ["resolutions", "list"],
    ("resolutions", "workload"): ["resolutions", "workload"],
    ("resolutions", "import"): ["resolutions", "import", "nowhere.csv"],
    ("flow-versions", "list"): ["flow-versions", "list"],
    ("flow-versions", "history"): ["flow-versions", "history", "order"],
    ("flow-versions", "export"): ["flow-versions", "export", "order"],
    ("flow-versions", "save"): ["flow-versions", "save", "nowhere.toml"],
    ("flow-versions", "preview"): ["flow-versions", "preview", "order", "9"],
    ("flow-versions", "approve"): ["flow-versions", "approve", "order", "9"],
    ("flow-versions", "withdraw"): ["flow-versions", "withdraw", "other", "9", "--yes"],
    ("replay", "start"): ["replay", "start", "--to-watchers", "--source", "gcp", "--dry-run"],
    ("replay", "list"): ["replay", "list"],
    ("replay", "show"): ["replay", "show", "{job}"],
    ("replay", "cancel"): ["replay", "cancel", "999999"],
}
"""The arguments of each command that reads from the API; None: it does not, but uses
for example the database, with the database's own password, or sends as a sender does."""


def order(id_: str, received_at: datetime, *, amount: int = 10) -> Delivery:
    data = {"order_id": KEY, "customer_id": CUSTOMER, "amount": amount, "currency": "EUR", "quantity": 2}
    return sent("eventbridge", "OrderPlaced", data, id_=id_, received_at=received_at)


def payment(id_: str, received_at: datetime) -> Delivery:
    data = {"order_id": KEY, "amount": 7, "currency": "EUR", "note": PAYMENT}
    return sent("pubsub", "PaymentProcessed", data, id_=id_, received_at=received_at)


def stock(id_: str, received_at: datetime) -> Delivery:
    data = {"order_id": KEY, "quantity": 3, "note": STOCK}
    return sent("eventgrid", "InventoryReserved", data, id_=id_, received_at=received_at)


def manifest(source: str, type_: str, now: datetime) -> Manifest:
    """A manifest that names a secret type of which nothing was published."""
    minute = now.replace(second=0, microsecond=0)
    return Manifest(
        minute=minute,
        source=source,
        type=type_,
        producer="p",
        publisher="",
        advisory=False,
        published=0,
        repeated=0,
        skew_seconds=0,
        revision=0,
        time=now,
        id="m",
    )


def unreadable(source: str, received_at: datetime) -> Delivery:
    """A delivery without an id, with a customer in its payload."""
    payload = {"note": DEAD_LETTERS[source], "customer_id": CUSTOMER}
    if source == "aws":
        body: dict[str, Any] = {"detail-type": "OrderPlaced", "detail": payload}
        return Delivery(channel="eventbridge", body=json.dumps(body).encode(), received_at=received_at)
    body = {"eventType": "InventoryReserved", "data": payload}
    return Delivery(channel="eventgrid", body=json.dumps(body).encode(), received_at=received_at)


class Answer(NamedTuple):
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class World(NamedTuple):
    """A running API, and what is stored in it.

    Attributes:
        parameters: the ids of the dead letters and of a replay job, by their names in paths.
    """

    api: Api
    store: PostgresStore
    parameters: dict[str, str]

    def ingest(self, *deliveries: Delivery) -> None:
        ingest(deliveries, dedupe=NullDedupeCache(), store=self.store, reconciler=Reconciler((ORDER,)))

    def request(self, method: str, path: str, kind: str, body: Any = None) -> Answer:
        async def send() -> Answer:
            async with (
                aiohttp.ClientSession(self.api.url) as session,
                session.request(method, path.format(**self.parameters), json=body, headers=header(kind)) as answer,
            ):
                return Answer(answer.status, await answer.text())

        return asyncio.run(send())

    def get(self, path: str, kind: str) -> Any:
        answer = self.request("get", f"{V1}/{path}", kind)
        assert answer.status == 200, answer.text
        return answer.json


def header(kind: str) -> dict[str, str]:
    return {} if kind == "none" else {"authorization": f"Bearer {PREFIX}{kind.replace(' ', '_')}"}


@pytest.fixture(scope="module")
def guarded_api(database_url, valkey_server, server_folder) -> Iterator[Api]:
    """An API that trusts nobody, not even on this machine."""
    settings = {"HELIOS_WEBHOOK_AUTH": "closed", "HELIOS_NOTIFY_SECRET": NOTIFY_SECRET}
    log = server_folder / "guarded-api.log"
    with Api(database_url=database_url, redis_url=valkey_server.url, log=log, webhook_auth=settings) as api:
        yield api


@pytest.fixture
def world(guarded_api, pool, database_url, valkey_server) -> World:
    """Four events, an order that does not match, three dead letters, a replay job, and a token of each kind."""
    with redis.Redis.from_url(valkey_server.url) as connection:
        connection.flushall()
    now = datetime.now(UTC)
    tokens = PostgresTokens(pool)
    for name, kind in KINDS.items():
        if name not in {"none", "unknown"}:
            expires_at = now - timedelta(seconds=1) if name == "expired" else None
            token = Token(
                name=name.replace(" ", "_"),
                scopes=kind.scopes or ("admin",),
                created_at=now - timedelta(minutes=1),
                expires_at=expires_at,
                visibility=kind.visibility,
            )
            assert tokens.add(digest(PREFIX + token.name), token)
    tokens.revoke("revoked", now)
    world = World(guarded_api, PostgresStore(pool), {})
    refund = {"note": REFUND, "customer_id": CUSTOMER}
    world.ingest(
        order("order", now),
        payment(PAYMENT, now),
        stock(STOCK, now),
        sent("eventbridge", "Refunded", refund, id_=REFUND, received_at=now),
        unreadable("aws", now),
        unreadable("azure", now),
    )
    world.ingest(order("order", now, amount=11))
    with world.store.transaction() as work:
        work.balances.declare([manifest("aws", REFUND, now), manifest("gcp", PAYMENT, now)])
    BalanceJob(PostgresBalances(pool), grace=timedelta(minutes=1)).run(now)
    jobs = PostgresReplayJobs(pool)
    request = ReplayRequest(what="events", target=Target(kind="relay"), filter=ReplayFilter(source="gcp", until=now))
    job = jobs.add(request, actor="test", matching=1, now=now)
    IncidentJob(PostgresIncidents(pool), outbox=PostgresOutbox(pool), counts=PostgresReader(pool)).run(now)
    # The API opens them if it has the turn just now.
    eventually(lambda: len(world.get("incidents", "admin")["items"]) == KINDS["admin"].incidents)
    dead_letters = [item["id"] for item in world.get("dead-letters", "admin")["items"]]
    incidents = [item["id"] for item in world.get("incidents", "admin")["items"]]
    world.parameters.update(
        {"job": str(job.id)}
        | {f"dead_letter{n}": str(id_) for n, id_ in enumerate(sorted(dead_letters))}
        | {f"incident{n}": str(id_) for n, id_ in enumerate(sorted(incidents))}
    )
    return world


def test_every_endpoint_has_a_case():
    assert CASES.keys() == ENDPOINTS | {("get", "/metrics")}


def test_every_command_has_a_case():
    assert COMMANDS.keys() == set(commands(command_line.parser()))


def commands(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every command of a parser."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield path
    for group in groups:
        for name, command in group.choices.items():
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("name", KINDS)
def test_no_answer_has_anything_that_its_token_may_not_see(world, name):
    kind = KINDS[name]
    for (method, _), cases in CASES.items():
        for case in cases:
            answer = world.request(method, case.path, name, case.body)
            where = f"{method} {case.path}: {answer.status} {answer.text}"
            assert not [secret for secret in kind.hidden if secret in _without_echo(answer.text, case.path)], where
            assert answer.status in expected(case, kind), where


def expected(case: Case, kind: Kind) -> set[int]:
    """The statuses that a case may have with this kind of token."""
    if case.who == "public":
        return {200}
    if case.who == "sender":
        return {401, 403, 404}
    if not kind.scopes:
        return {401}
    needed = {"writer": "replay", "resolver": "resolve", "undoer": "resolve", "editor": "rules"}.get(case.who)
    if needed and not {needed, "admin"} & {*kind.scopes}:
        return {403}
    if case.who in {"whole", "writer", "undoer", "editor"} and kind.visibility.is_limited:
        return {403}
    # What the token may not see is answered as if it did not exist.
    one_of_many = case.path.count("/") > 3 or "&key=" in case.path or case.who == "resolver"
    return {case.found, 404, 422} if one_of_many and kind.visibility.is_limited else {case.found}


def _without_echo(text: str, path: str) -> str:
    """An answer without the names that the request has, which a 404 repeats."""
    for part in path.replace("?", "/").split("/"):
        if part.startswith("secret-"):
            text = text.replace(part, "")
    return text


def test_readers_without_limits_see_every_secret(world):
    """Otherwise the test above could pass because nothing is stored."""
    for name in ("read", "replay", "admin"):
        answers = [
            world.request(method, case.path, name, case.body).text
            for (method, _), cases in CASES.items()
            for case in cases
            if case.who == "narrowed"
        ]
        assert not [secret for secret in EVERY_SECRET if not any(secret in answer for answer in answers)]


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.scopes])
def test_every_count_is_that_of_what_the_token_sees(world, name):
    kind = KINDS[name]
    contradictory = 1 if kind.stored else 0
    events = world.get("events", name)["items"]
    stats = world.get("stats", name)
    minutes = world.get("counts", name)["minutes"]
    counts = [count for frame in world.get("frames", name)["frames"] for count in frame["counts"]]
    shown = [event for frame in world.get("frames", name)["frames"] for event in frame["events"]]
    groups = world.get("dead-letters/groups", name)
    flow_statuses = [frame["flow_statuses"] for frame in world.get("frames", name)["frames"]]

    def sums(rows: list[dict[str, Any]]) -> list[int]:
        return [sum(row[outcome] for row in rows) for outcome in ("stored", "contradictory", "rejected")]

    assert len(events) == kind.stored
    assert {event["id"] for event in shown} == {event["id"] for event in events}
    assert sums(minutes) == sums(counts) == [kind.stored, contradictory, kind.rejected]
    totals = [stats[name] for name in ("total_events", "contradictory", "rejected")]
    assert totals == [kind.stored, contradictory, kind.rejected]
    assert stats["last_24h"] == sum(stats["events_by_source"].values()) == kind.stored
    assert len(world.get("dead-letters", name)["items"]) == sum(group["count"] for group in groups) == kind.dead_letters
    assert len(world.get("flows", name)["items"]) == world.get("flows/summary", name)["total"] == kind.flows
    assert [flow["name"] for flow in world.get("flows/declarations", name)] == ["order"] * kind.flows
    assert any(flow_statuses) is bool(kind.flows)
    assert len(world.get("incidents", name)["items"]) == kind.incidents


def test_a_masked_field_is_shown_as_masked_and_can_not_be_searched(world, pool):
    masked = Visibility(masked=("order_id", "amount"))
    token = Token(name="no_orders", scopes=("read",), created_at=datetime.now(UTC), visibility=masked)
    PostgresTokens(pool).add(digest(PREFIX + token.name), token)

    (refund,) = [event for event in world.get("events", "masked")["items"] if event["id"] == REFUND]
    assert (refund["customer_id"], refund["data"]) == ("[masked]", {"note": REFUND, "customer_id": "[masked]"})
    event = next(event for event in world.get("events", "no_orders")["items"] if event["id"] == "order")
    assert (event["order_id"], event["amount"], event["data"]["amount"]) == ("[masked]", None, "[masked]")
    for path in (f"events?order_id={KEY}", "dead-letters?reason=x"):
        answer = world.request("get", f"{V1}/{path}", "no_orders")
        assert (answer.status, answer.json["title"]) == (403, "Forbidden")
    assert KEY not in world.request("get", f"{V1}/frames", "no_orders").text
    assert world.get("flows", "no_orders")["items"] == []  # the key of every instance is masked


def test_a_flow_shows_of_a_hidden_leg_only_its_state(world):
    instance = world.get(f"flows/order/{KEY}", "all limits")
    legs = {leg["name"]: leg for leg in instance["legs"]}

    assert instance["status"] == "mismatched"
    assert [leg["state"] for leg in legs.values()] == ["present"] * 3
    assert legs["order"]["fields"]["amount"] == "10"
    assert (legs["payment"]["fields"], legs["payment"]["event_id"], legs["payment"]["deliveries"]) == ({}, None, 0)
    assert [event["id"] for event in instance["events"]] == ["order"]
    assert {issue["detail"] for issue in instance["issues"] if issue["legs"] != ["order"]} == {"[masked]"}
    assert instance["amount"] is None  # it may be the payment's
    assert {step["leg"] for step in instance["timeline"]} == {None, "order"}


def test_no_live_frame_has_anything_that_its_token_may_not_see(world):
    """All clients are connected at the same time, and each gets its own part of the same frame."""
    position = world.get("stats", "admin")["position"] + 1
    now = datetime.now(UTC)
    deliveries = order(NEW["aws"], now), payment(NEW["gcp"], now), stock(NEW["azure"], now)

    async def watch() -> dict[str, list[str]]:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(world.api.url))
            sockets = {}
            for name in ("read", *LIMITED):
                async with session.post(f"{V1}/ws/tickets", headers=header(name)) as answer:
                    ticket = (await answer.json())["ticket"]
                socket = await stack.enter_async_context(session.ws_connect(f"{V1}/ws/events?ticket={ticket}"))
                assert json.loads((await socket.receive()).data)["type"] == "hello"
                sockets[name] = socket
            await asyncio.to_thread(world.ingest, *deliveries)
            return {name: await _until(socket, position) for name, socket in sockets.items()}

    every_type = {"OrderPlaced", "PaymentProcessed", "InventoryReserved"}
    only_orders = {name: {"OrderPlaced"} for name in ("source", "resolve a source", "type", "all limits")}
    for name, messages in asyncio.run(watch()).items():
        assert not [secret for secret in KINDS[name].hidden if secret in "".join(messages)], name
        frames = [frame for message in messages for frame in json.loads(message)["frames"]]
        types = {"nothing": set(), **only_orders}.get(name, every_type)
        assert {event["type"] for frame in frames for event in frame["events"]} == types, name
        assert {count["type"] for frame in frames for count in frame["counts"]} == types, name


async def _until(socket: aiohttp.ClientWebSocketResponse, position: int) -> list[str]:
    """The messages with frames, up to the one that has this position."""
    messages: list[str] = []
    while not messages or json.loads(messages[-1])["frames"][-1]["position"] < position:
        messages.append((await asyncio.wait_for(socket.receive(), 20)).data)
    return messages


@pytest.mark.parametrize("name", KINDS)
def test_no_command_prints_anything_that_its_token_may_not_see(world, name, monkeypatch, capsys):
    kind = KINDS[name]
    monkeypatch.delenv(TOKEN, raising=False)
    if authorization := header(name).get("authorization"):
        monkeypatch.setenv(TOKEN, authorization.removeprefix("Bearer "))
    monkeypatch.setenv("COLUMNS", "400")
    for path, arguments in COMMANDS.items():
        if arguments is None or path == ("tail",):
            continue
        for output in ([], ["--json"]):
            code = command_line.main(
                [argument.format(**world.parameters) for argument in (*arguments, *output, "--url", world.api.url)]
            )
            printed = "".join(capsys.readouterr())
            assert not [secret for secret in kind.hidden if secret in printed], f"{path}: {printed}"
            assert code == 2 if not kind.scopes else code in {0, 2}, f"{path}: {printed}"


@pytest.mark.parametrize("name", ["none", "read", "all limits"])
def test_tail_prints_nothing_that_its_token_may_not_see(world, name):
    kind = KINDS[name]
    token = header(name).get("authorization", "").removeprefix("Bearer ")
    environment = scrubbed_environment(**{TOKEN: token} if token else {})
    command = [sys.executable, "-m", "helios", "tail", "--json", "--url", world.api.url]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as tail:
        assert tail.stdout is not None
        if not kind.scopes:
            assert tail.wait(60) == 2
            return
        os.set_blocking(tail.stdout.fileno(), False)
        printed = b""

        def prints_the_order() -> bool:
            """Store events until the command has begun to follow the stream, and prints the visible ones."""
            nonlocal printed
            now = datetime.now(UTC)
            id_ = f"{now.timestamp()}"
            world.ingest(payment(PAYMENT + id_, now), stock(STOCK + id_, now), order(f"order-{id_}", now))
            printed += tail.stdout.read() or b"" if tail.stdout else b""
            return b"order-" in printed

        try:
            eventually(prints_the_order, seconds=60)  # a starved machine takes long to start the command
        except BaseException:
            tail.kill()  # or the end of this block would wait for it
            raise
        tail.send_signal(signal.SIGINT)
        printed += tail.communicate(timeout=60)[0] or b""
    assert not [secret for secret in kind.hidden if secret in printed.decode()]
    assert (PAYMENT in printed.decode()) is (name == "read")


def test_a_token_keeps_its_limits_in_postgres(pool):
    visibility = Visibility(sources=("aws",), types=("Order*", "100%_\\"), flows=(), masked=("customer_id",))
    token = Token(name="kim", scopes=("read",), created_at=datetime(2025, 11, 26, tzinfo=UTC), visibility=visibility)
    tokens = PostgresTokens(pool)
    assert tokens.add(digest("x"), token)

    assert [msgspec.structs.replace(stored, last_used_at=None) for stored in tokens.all()] == [token]

"""Other people's tools read the API's documents, and what the API sends is as they describe it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from websockets.sync.client import ClientConnection, connect

from helios.adapters.postgres.tokens import PostgresTokens
from helios.client import Client, NewEvent
from helios.model.tokens import PREFIX, Token, digest
from helios.processes.process import scrubbed_environment
from helios.shapes import WEBSOCKET_PATH
from scripts.build import api_lint
from scripts.build.openapi import ASYNCAPI, OPENAPI
from tests.support.client import EVENTBRIDGE, call

CLIENT_SCRIPT = """
import sys
from helios_api import AuthenticatedClient
from helios_api.api.dead_letters import list_dead_letters
from helios_api.api.events import list_events
from helios_api.api.flows import list_declared_flows
from helios_api.api.status import show_stats
from helios_api.models import EventPage, Problem

api = AuthenticatedClient(sys.argv[1], token=sys.argv[2])
page = list_events.sync(client=api, order_id="ORD-1")
assert isinstance(page, EventPage)
print([(event.source, event.id, event.order_id) for event in page.items])
print(show_stats.sync(client=api).rejected, [each.field for each in list_dead_letters.sync(client=api).items])
print([rule.equal for flow in list_declared_flows.sync(client=api) for rule in flow.rule][0])
refused = list_events.sync(client=api, limit=501)
assert isinstance(refused, Problem)
print([error.field for error in refused.errors])
"""


@pytest.mark.parametrize(
    ("check", "file", "damage"),
    [
        (api_lint.openapi, OPENAPI, ("operationId", "ListEvents list events")),
        (api_lint.openapi, OPENAPI, ("$ref", "#/components/schemas/Nowhere")),
        (api_lint.asyncapi, ASYNCAPI, ("action", "shout")),
        (api_lint.asyncapi, ASYNCAPI, ("$ref", "#/components/messages/Nowhere")),
    ],
)
def test_the_tools_find_nothing_in_a_document_and_something_in_a_damaged_one(check, file, damage, tmp_path):
    damaged = tmp_path / file.name
    damaged.write_text(json.dumps(with_one_value(json.loads(file.read_text()), *damage)))

    assert check(file) == ""
    assert check(damaged) != ""


def with_one_value(document: Any, name: str, value: str) -> Any:
    """The document with another value in its first member of this name."""
    done = False

    def walk(part: Any) -> Any:
        nonlocal done
        if isinstance(part, list):
            return [walk(item) for item in part]
        if not isinstance(part, dict):
            return part
        if name in part and not done:
            done = True
            return part | {name: value}
        return {key: walk(item) for key, item in part.items()}

    return walk(document)


@pytest.fixture
def token(pool) -> str:
    """A token that may read."""
    token = Token(name="generated", scopes=("read",), created_at=datetime.now(UTC))
    assert PostgresTokens(pool).add(digest(f"{PREFIX}generated"), token)
    return f"{PREFIX}generated"


def test_a_generated_client_reads_events_dead_letters_and_errors(api, records, token, tmp_path):
    python = api_lint.generate_client(OPENAPI, tmp_path / "helios_api")
    (result,) = Client(api.url).send(NewEvent(cloud="aws", source="shop", type="T", data={"order_id": "ORD-1"}))
    assert call(api.url, EVENTBRIDGE, b"{").status == 400
    (tmp_path / "script.py").write_text(CLIENT_SCRIPT)

    done = subprocess.run(
        [python, tmp_path / "script.py", api.url, token],
        env=scrubbed_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"[('aws', '{result.id}', 'ORD-1')]",
        "1 ['body']",
        "['order.amount', 'payment.amount']",
        "['query.limit']",
    ]


@pytest.fixture
def socket(api, records) -> Iterator[ClientConnection]:
    """A WebSocket of the API."""
    with connect(f"ws{api.url.removeprefix('http')}{WEBSOCKET_PATH}") as opened:
        yield opened


@pytest.fixture(scope="module")
def described() -> Callable[[Any], str]:
    """Returns the name of the message of the AsyncAPI document that a received one is; fails if it is none."""
    document = json.loads(ASYNCAPI.read_text())
    validators = {
        name: jsonschema_rs.Draft7Validator({"$ref": message["payload"]["$ref"], "components": document["components"]})
        for name, message in document["components"]["messages"].items()
    }

    def name_of(message: Any) -> str:
        (name,) = [name for name, validator in validators.items() if validator.is_valid(message)]
        return name

    return name_of


def test_every_message_of_the_websocket_is_as_described(api, socket, described):
    received = [json.loads(socket.recv(timeout=30))]
    Client(api.url).send(NewEvent(cloud="aws", source="shop", type="OrderPlaced", data={"order_id": "ORD-1"}))
    received.append(json.loads(socket.recv(timeout=30)))
    socket.send('{"type": "ping"}')
    received.append(json.loads(socket.recv(timeout=30)))

    assert [described(message) for message in received] == ["Hello", "NewFrames", "Pong"]
    (frame,) = received[1]["frames"]
    assert [event["order_id"] for event in frame["events"]] == ["ORD-1"]
    assert [change["key"] for change in frame["flows"]] == ["ORD-1"]
    with pytest.raises(ValueError, match="not enough values"):
        described(received[1] | {"frames": [frame | {"position": "1"}]})

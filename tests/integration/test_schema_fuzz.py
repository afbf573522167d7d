"""Generated requests to the API on real servers: no 5xx, and no answer that the API's description does not name."""

import asyncio
import json
from datetime import UTC, datetime
from itertools import count, product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helios.adapters.postgres.tokens import PostgresTokens
from helios.api.webhooks import EXAMPLE_CLOUDEVENT, EXAMPLE_EVENTBRIDGE, EXAMPLE_EVENTGRID, EXAMPLE_PUBSUB
from helios.model.tokens import Token, digest, mint
from tests.support.client import EVENTBRIDGE, EVENTGRID, call, post, session
from tests.support.deliveries import eventbridge, poison
from tests.support.depth import examples
from tests.support.described import CHECKS, SAME_EVERY_TIME, is_read, schema

TOKEN = mint()


@pytest.fixture
def filled_api(api, pool):
    """The API with an event, a dead letter and a token."""
    token = Token(name="fuzz", scopes=("admin",), created_at=datetime.now(UTC))
    assert PostgresTokens(pool).add(digest(TOKEN), token)
    assert call(api.url, EVENTBRIDGE, eventbridge().body).status == 202
    assert call(api.url, EVENTBRIDGE, poison().body).status == 400
    return api


@schema.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(6, long=25))
def test_every_answer_is_as_described(case, filled_api):
    assume(is_read(case))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    case.call_and_validate(base_url=filled_api.url, checks=CHECKS, timeout=20, headers=headers)


WRAPPED: Any = EXAMPLE_PUBSUB
ENVELOPES: dict[str, tuple[str, Any, Any]] = {
    "eventbridge": (EVENTBRIDGE, EXAMPLE_EVENTBRIDGE, EXAMPLE_EVENTBRIDGE["id"]),
    "pubsub": ("/api/v1/webhooks/gcp/pubsub", WRAPPED, WRAPPED["message"]["messageId"]),
    "eventgrid": (EVENTGRID, EXAMPLE_EVENTGRID, EXAMPLE_EVENTGRID[0]["id"]),
    "cloudevents": ("/api/v1/webhooks/cloudevents", EXAMPLE_CLOUDEVENT, EXAMPLE_CLOUDEVENT["id"]),
}
"""For each channel: its path, a valid body, and the id in the body."""

DEEP = "[" * 20_000 + "]" * 20_000

# JSON texts, not values: texts that parsers in other languages accept.
AWKWARD = [
    *("NaN", "-Infinity", "1e999", "1e-999", "-0", "9" * 400, "1." + "0" * 400, "1e131072", "true", "null", "{}", "[]"),
    *('"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\ufeff"', '"\u202e"', '""', '" "', '"' + "é" * 3000 + '"'),
    *('"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59.999999999-14:00"', '"0001-01-01T00:00:00+14:00"'),
    *('"2025-02-30T12:00:00Z"', '"2016-12-31T23:59:60Z"', '"2025-11-26"', '"====="', '"e30"', '"gICA"', DEEP),
]
"""Values of a field that a sender should not send."""

values = st.sampled_from(AWKWARD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
).map(json.dumps)


def places(value, path=()):
    """The path of every field and element in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [full for name, item in inner for full in [(*path, name), *places(item, (*path, name))]]


def with_text(value, path, text: str) -> str:
    """The value as JSON, with this JSON text at one path."""
    if not path:
        return text
    name, *rest = path
    if isinstance(value, list):
        return (
            "[" + ",".join(with_text(v, rest, text) if i == name else json.dumps(v) for i, v in enumerate(value)) + "]"
        )
    fields = (f"{json.dumps(k)}:{with_text(v, rest, text) if k == name else json.dumps(v)}" for k, v in value.items())
    return "{" + ",".join(fields) + "}"


def request(channel: str, number: int, place, text: str) -> tuple[str, bytes]:
    """The URL path and the body of a new event, with this text at that place."""
    path, envelope, id_ = ENVELOPES[channel]
    fresh = json.loads(json.dumps(envelope).replace(id_, f"changed-{number}"))
    return path, with_text(fresh, place, text).encode()


def assert_accepted_or_refused(answer, case) -> None:
    """The answer is no 5xx, and a refusal names the field. The case appears in the message of a failure."""
    assert answer.status in {200, 202, 400, 415}, (case, answer)
    errors = [] if answer.status < 400 else answer.body["errors"]
    assert all(error["field"] and error["reason"] for error in errors), (case, answer)


numbers = count()


@pytest.mark.parametrize("channel", ENVELOPES)
@settings(SAME_EVERY_TIME, max_examples=examples(12, long=50))
@given(data=st.data())
def test_an_invalid_field_is_no_error_of_the_server(channel, data, api):
    place = data.draw(st.sampled_from(places(ENVELOPES[channel][1])))
    text = data.draw(values)

    assert_accepted_or_refused(call(api.url, *request(channel, next(numbers), place, text)), (place, text))


@pytest.mark.parametrize("channel", ENVELOPES)
def test_no_awkward_value_in_any_field_is_an_error_of_the_server(channel, api, records):
    """The requests are concurrent, so rejected events share batches with valid ones."""
    cases = list(product(places(ENVELOPES[channel][1]), AWKWARD))

    async def send():
        async with session(api.url, clients=8) as opened:
            requests = [request(channel, number, *case) for number, case in enumerate(cases)]
            return await asyncio.gather(*(post(opened, *arguments) for arguments in requests))

    for case, answer in zip(cases, asyncio.run(send()), strict=True):
        assert_accepted_or_refused(answer, case)
    assert len(records.keys()) > len(AWKWARD)  # some values are valid
    for path in ("/api/v1/events?limit=500", "/api/v1/dead-letters?limit=500"):
        assert call(api.url, path).status == 200
    records.assert_exact()

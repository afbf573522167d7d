"""Generated requests to the API with the authenticators of a cloud deployment, with and without credentials."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
import requests
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import Case, Response
from standardwebhooks.webhooks import Webhook

from helios.adapters.postgres.tokens import PostgresTokens
from helios.model.tokens import Token, digest, mint
from local.canary.sns import TYPE_HEADER, Server
from local.emulators.eventgrid.entra import EVENT_GRID
from local.emulators.issuer import Issuer
from local.stack.config import CANARY_TOPIC_ARN, WEBHOOK_AUTH
from local.stack.credentials import Credentials as StackCredentials
from tests.support.api import Api
from tests.support.client import EVENTBRIDGE, EVENTGRID, call
from tests.support.depth import examples
from tests.support.described import CHECKS, SAME_EVERY_TIME, is_read, schema, schema_of_sources
from tests.support.listener import listening
from tests.support.records import Records

CLOUDEVENTS = "/api/v1/webhooks/cloudevents"
PUBSUB = "/api/v1/webhooks/gcp/pubsub"
NOTIFY = "/api/v1/relay/notify"
NOTIFY_SECRET = "only-for-this-test"
SIGNED_SOURCE = "/api/v1/webhooks/code"
KEY_SOURCE = "/api/v1/webhooks/warehouse"
SOURCE_SECRET = "of-a-source-of-this-test"
SOURCES = """
[[source]]
name = "code"
preset = "github"

[[source]]
name = "warehouse"
proof = { scheme = "api_key", header = "x-token" }
id = "id"
type = "type"
"""

channels = schema_of_sources("code", "warehouse").include(path_regex="/webhooks/|/relay/notify")
for_readers = schema.exclude(path_regex="/webhooks/|/relay/notify|/health")
for_operators = schema.include(method="POST", path_regex="/replay$|/replays$|/cancel$")


class Credentials(AuthBase):
    """Adds the credentials of the request's channel, once its body is known."""

    def __init__(self, issuer: Issuer, *, key: str, grid: str, webhook: str, notify: str, source: str) -> None:
        self._headers_by_path: dict[str, Callable[[bytes], dict[str, str]]] = {
            EVENTBRIDGE: lambda _: {"x-helios-key": key},
            PUBSUB: lambda _: _bearer(issuer, GOOGLE),
            EVENTGRID: lambda body: {"x-helios-key": grid} if len(body) % 2 else _bearer(issuer, ENTRA),
            CLOUDEVENTS: lambda body: _signed(webhook, body),
            NOTIFY: lambda _: {"authorization": f"Bearer {notify}"},
            SIGNED_SOURCE: lambda body: {"x-hub-signature-256": f"sha256={_hmac(source, body)}"},
            KEY_SOURCE: lambda _: {"x-token": source},
        }

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = request.path_url.partition("?")[0]
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        if path in self._headers_by_path:
            assert isinstance(body, bytes)
            for header in ("x-helios-key", "authorization"):  # generated from the description, and wrong
                request.headers.pop(header, None)
            request.headers.update(self._headers_by_path[path](body))
        return request


GOOGLE: Mapping[str, str | bool] = {
    "iss": "https://accounts.google.com",
    "aud": WEBHOOK_AUTH["HELIOS_PUBSUB_AUDIENCE"],
    "email": WEBHOOK_AUTH["HELIOS_PUBSUB_SERVICE_ACCOUNT"],
    "email_verified": True,
}
ENTRA: Mapping[str, str | bool] = {
    "iss": f"https://sts.windows.net/{WEBHOOK_AUTH['HELIOS_ENTRA_TENANT']}/",
    "aud": WEBHOOK_AUTH["HELIOS_ENTRA_AUDIENCE"],
    "appid": EVENT_GRID,
}


def _bearer(issuer: Issuer, claims: Mapping[str, str | bool]) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(claims)}"}


def _signed(secret: str, body: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("m", now, body.decode()),
    }


def _hmac(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class WebhookAuth(NamedTuple):
    """An API with authenticators, valid and invalid credentials for it, and the SNS that signs for it."""

    api: Api
    valid: Credentials
    invalid: Credentials
    sns: Server


@pytest.fixture(scope="module")
def api_process(database_url, valkey_server, server_folder) -> Iterator[WebhookAuth]:
    issuer = Issuer()
    sources_file = server_folder / "authenticated-api-sources.toml"
    sources_file.write_text(SOURCES)
    with ExitStack() as stack:
        keys_url = stack.enter_context(listening(200, {}, json.dumps(issuer.keys).encode()))
        sns = stack.enter_context(Server(0, endpoint_url=keys_url, confirm=lambda _topic, _token: None))
        threading.Thread(target=sns.serve_forever, daemon=True).start()
        stack.callback(sns.shutdown)
        webhook_auth = (
            WEBHOOK_AUTH
            | StackCredentials().webhooks
            | {
                "HELIOS_PUBSUB_KEYS_URL": keys_url,
                "HELIOS_ENTRA_KEYS_URL": keys_url,
                "HELIOS_SNS_CERTIFICATES_URL": f"http://127.0.0.1:{sns.server_port}",
                "HELIOS_NOTIFY_SECRET": NOTIFY_SECRET,
                "HELIOS_SOURCES_FILE": str(sources_file),
                "HELIOS_SOURCE_SECRETS": f"code={SOURCE_SECRET} warehouse={SOURCE_SECRET}",
            }
        )
        log = server_folder / "authenticated-api.log"
        api = stack.enter_context(
            Api(database_url=database_url, redis_url=valkey_server.url, log=log, webhook_auth=webhook_auth)
        )
        valid = Credentials(
            issuer,
            key=webhook_auth["HELIOS_EVENTBRIDGE_SECRET"],
            grid=webhook_auth["HELIOS_EVENTGRID_SECRET"],
            webhook=webhook_auth["HELIOS_CLOUDEVENTS_SECRET"],
            notify=NOTIFY_SECRET,
            source=SOURCE_SECRET,
        )
        other = "whsec_" + base64.b64encode(b"another secret, as long").decode()
        invalid = Credentials(
            Issuer(), key="wrong", grid="wrong", webhook=other, notify="wrong", source="another-secret-as-long"
        )
        yield WebhookAuth(api, valid, invalid, sns)


@pytest.fixture
def webhook_auth(api_process, pool) -> WebhookAuth:
    """The API with authenticators, on an empty database."""
    return api_process


@pytest.fixture
def token(pool) -> str:
    """A token with the scope ``read``."""
    minted = mint()
    assert PostgresTokens(pool).add(digest(minted), Token(name="fuzz", scopes=("read",), created_at=datetime.now(UTC)))
    return minted


class Bearer(AuthBase):
    """Adds a bearer token to a request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["authorization"] = f"Bearer {self._token}"
        return request


def ask(case: Case, webhook_auth: WebhookAuth, *, auth: AuthBase | None) -> Response:
    """The answer, after it is checked against the API's description."""
    assume(is_read(case))
    return case.call_and_validate(base_url=webhook_auth.api.url, checks=CHECKS, timeout=20, auth=auth)


@channels.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(25, long=100))
def test_a_sender_with_credentials_gets_an_answer_as_described(case, webhook_auth):
    answer = ask(case, webhook_auth, auth=webhook_auth.valid)

    assert answer.status_code not in {401, 403}


@pytest.mark.parametrize("credentials", [None, "wrong"])
@channels.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(10, long=40))
def test_a_sender_without_valid_credentials_is_refused_whatever_it_sends(case, webhook_auth, credentials, pool):
    answer = ask(case, webhook_auth, auth=webhook_auth.invalid if credentials else None)

    declared = (case.path_parameters or {}).get("source") in {None, "code", "warehouse"}
    refused = 401 if declared else 404  # the path of a name that no source has is unknown, as any other
    assert answer.status_code == refused or answer.request.method != case.operation.method.upper()
    assert not Records(pool).counts()


@for_readers.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(5, long=15))
def test_a_request_without_a_token_is_refused_whatever_it_asks_for(case, webhook_auth):
    answer = ask(case, webhook_auth, auth=None)

    assert answer.status_code == 401 or answer.request.method != case.operation.method.upper()


@for_readers.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(6, long=25))
def test_a_reader_gets_an_answer_as_described(case, webhook_auth, token):
    answer = ask(case, webhook_auth, auth=Bearer(token))

    assert answer.status_code != 401


@for_operators.parametrize()
@settings(SAME_EVERY_TIME, max_examples=examples(6, long=25))
def test_a_reader_may_not_replay(case, webhook_auth, token):
    answer = ask(case, webhook_auth, auth=Bearer(token))

    assert answer.status_code == 403 or answer.request.method != case.operation.method.upper()


no_event = st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps)
no_event = no_event.filter(lambda text: text.strip() != "[]")  # an empty array has no element to reject


@settings(SAME_EVERY_TIME, max_examples=examples(25, long=100))
@given(message=no_event, subject=st.text())
def test_a_signed_sns_message_is_rejected_with_a_field_and_a_reason(message, subject, webhook_auth):
    signed = webhook_auth.sns.signer.sign(
        {
            "Type": "Notification",
            "MessageId": "m",
            "TopicArn": CANARY_TOPIC_ARN,
            "Subject": subject,
            "Message": message,
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
    )
    headers = {TYPE_HEADER: "Notification", "content-type": "text/plain"}
    answer = call(webhook_auth.api.url, EVENTBRIDGE, json.dumps(signed).encode(), headers)

    if "\n" in subject:  # SNS publishes none: the signature would not fix where the subject ends
        assert answer.status == 401
        return
    assert answer.status == 400
    assert all(error["field"] and error["reason"] for error in answer.body["errors"])

"""The relay Lambda, which also notifies the receivers of incidents."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from helios.adapters.postgres.incidents import PostgresIncidents
from helios.model.incidents import Cause, Transition
from tests.support.aws_lambda import Context
from tests.support.receiver import Receiver, receiving

SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def handler(load_handler, receiver, tmp_path, monkeypatch):
    file = tmp_path / "notifications.toml"
    file.write_text(f'[[receiver]]\nname = "ops"\nkind = "webhook"\nurl = "{receiver.url}"\n[[route]]\nto = ["ops"]\n')
    monkeypatch.setenv("HELIOS_NOTIFICATIONS_FILE", str(file))
    monkeypatch.setenv("HELIOS_NOTIFICATION_SECRETS", f"ops={SECRET}")
    monkeypatch.setenv("HELIOS_TRUST_LOOPBACK", "true")
    monkeypatch.setenv("HELIOS_WEBSOCKET_ENDPOINT", "https://live.example/live")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    module = load_handler("aws/relay/handler")
    yield module.handler
    module.broadcaster._connections._redis.close()


def test_a_call_notifies_of_incidents_that_another_process_has_opened(handler, receiver, pool):
    now = datetime.now(UTC)
    with PostgresIncidents(pool).turn() as turn:
        assert turn
        turn.open(Cause(kind="silence", source="gcp"), title="GCP is silent", severity="critical", at=now)
        turn.announce([Transition(what="opened", at=now, incident=turn.open_incidents()[0])])

    handler({}, Context(30))

    assert len(receiver.requests) == 1

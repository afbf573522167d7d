"""Receivers that Apprise notifies: what Slack and PagerDuty get, at servers in their place, and a mail over SMTP."""

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from email.message import EmailMessage
from typing import Any

import pytest
from apprise.plugins import pagerduty
from apprise.plugins.slack import NotifySlack

from helios.adapters.notifications.apprise import AppriseNotifications
from helios.errors import ConfigurationError, TargetUnavailable
from helios.model.flows import Money
from helios.model.incidents import Cause, Incident, Transition, TransitionKind
from helios.model.notifications import Message, ReceiverKind
from tests.support.deliveries import NOON
from tests.support.mailbox import mailbox
from tests.support.receiver import Receiver, receiving

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/%23shop"  # pragma: allowlist secret
PAGERDUTY = f"pagerduty://{'i' * 32}@{'a' * 20}/helios/incidents"  # pragma: allowlist secret
INCIDENT = Incident(
    id=12,
    cause=Cause(kind="flow", flow="order", issue="missing", legs=("payment",)),
    title="order: missing: payment",
    severity="error",
    opened_at=NOON,
    seen_at=NOON,
    number=10_000,
    amounts=[Money(currency="EUR", amount=Decimal("1234.50"))],
)


def message(what: TransitionKind = "opened") -> Message:
    transition = Transition(what=what, at=NOON + timedelta(seconds=what == "resolved"), incident=INCIDENT)
    return Message(receiver="chat", id=transition.key, transitions=(transition,))


def target(kind: ReceiverKind, url: str, *, loopback: bool = True) -> AppriseNotifications:
    return AppriseNotifications(kind, url, private=False, loopback=loopback, field="HELIOS_NOTIFICATION_SECRETS: chat")


@pytest.fixture
def receiver(monkeypatch) -> Iterator[Receiver]:
    """A server in the place of Slack and PagerDuty."""
    with receiving() as server:
        monkeypatch.setattr(NotifySlack, "webhook_url", server.url.partition("?")[0])
        monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", server.url)
        yield server


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.requests]


def test_slack_gets_words(receiver):
    receiver.answers = [(200, {}, b"ok")]
    target("slack", SLACK).send(message())

    (body,) = bodies(receiver)
    text = json.dumps(body, ensure_ascii=False)
    assert "Helios: opened: order: missing: payment (error)" in text
    assert "10,000 instances are broken, 1234.50 EUR" in text
    assert message().id in text


def test_pagerduty_has_one_incident_for_each_of_helios(receiver):
    receiver.answers = [(202, {}, b"{}")] * 3
    for what in ("opened", "reminded", "resolved"):
        target("pagerduty", PAGERDUTY).send(message(what))

    sent = [(body["event_action"], body["dedup_key"]) for body in bodies(receiver)]
    assert sent == [(action, INCIDENT.key) for action in ("trigger", "trigger", "resolve")]
    assert bodies(receiver)[0]["payload"]["severity"] == "error"


@pytest.mark.parametrize("answer", [(500, {}, b""), (302, {"location": "http://169.254.169.254/"}, b"")])
def test_a_refusal_is_tried_again_and_no_redirect_is_followed(receiver, answer):
    receiver.answers = [answer]

    with pytest.raises(TargetUnavailable):
        target("slack", SLACK).send(message())
    assert len(receiver.requests) == 1


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part
    return str(part.get_content())


def test_a_mail_names_the_incident_and_the_key():
    with mailbox() as box:
        url = f"mailto://127.0.0.1:{box.port}?from=helios@example.com&to=ops@example.com&mode=insecure"
        target("mail", url).send(message())
        digest = Message(receiver="chat", id="digest-1", transitions=message().transitions * 60, is_digest=True)
        target("mail", url).send(digest)

    single, many = box.messages
    assert single["subject"] == "Helios: opened: order: missing: payment (error)"
    assert message().id in text_of(single)
    assert many["subject"] == "Helios: 60 changes of incidents"
    assert "10 more" in text_of(many)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        ("mail", "mailto://127.0.0.1:25?from=helios@example.com&to=ops@example.com"),
        ("mail", "mailto://10.1.2.3?from=helios@example.com&to=ops@example.com"),
        ("teams", "workflow://169.254.169.254:443/643a8f/sig"),
    ],
)
def test_a_host_with_a_forbidden_address_is_not_connected(kind, url):
    with pytest.raises(TargetUnavailable, match="resolves to"):
        target(kind, url, loopback=False).send(message())


@pytest.mark.parametrize(
    ("kind", "url"), [("slack", "json://example.com/"), ("mail", "exec://rm"), ("slack", "slack://"), ("teams", SLACK)]
)
def test_only_the_urls_of_its_kind_are_a_receivers(kind, url):
    with pytest.raises(
        ConfigurationError, match="HELIOS_NOTIFICATION_SECRETS: chat: expected a URL of Apprise"
    ) as fault:
        target(kind, url)
    assert "TIiajkdn" not in str(fault.value)

"""Stored events are sent to a real HTTP server: signatures, answers, and the addresses that are allowed."""

import ipaddress
import json
import socket
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from standardwebhooks.webhooks import Webhook

from helios.adapters import guarded_http
from helios.adapters.guarded_http import forbidden, hosts_of
from helios.adapters.replay.registry import ConfiguredTargets
from helios.adapters.replay.webhook import WebhookTarget
from helios.errors import ConfigurationError, Rejected, TargetUnavailable
from helios.model.replay import SENT, ReplayFilter, ReplayJob, Target
from helios.normalise import normalise
from helios.settings import Settings
from helios.standard_webhooks import key_of
from tests.support.deliveries import NOON, eventbridge
from tests.support.receiver import Receiver, receiving

SECRET = "whsec_b25seSBmb3IgdGhpcyB0ZXN0LCBsb25n"  # pragma: allowlist secret
KEYS = [key_of(SECRET, variable="HELIOS_REPLAY_SECRET")]
HERE = hosts_of("127.0.0.1:* localhost:*")
EVENTS = [normalise(eventbridge(str(number))) for number in range(3)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def job(receiver) -> ReplayJob:
    return ReplayJob(
        id=7,
        what="events",
        filter=ReplayFilter(),
        target=Target(kind="webhook", url=receiver.url),
        per_second=1,
        actor="ann",
        state="running",
        created_at=NOON,
        matching=3,
    )


@pytest.fixture
def target(receiver) -> WebhookTarget:
    return WebhookTarget(receiver.url, hosts=HERE, keys=KEYS, loopback=True)


def test_each_event_is_a_signed_cloudevent_with_the_replay_id(receiver, target, job):
    assert list(target.send(job, EVENTS)) == [SENT] * 3

    path, headers, body = receiver.requests[0]
    assert (path, headers["content-type"]) == ("/hook?from=helios", "application/cloudevents+json; charset=utf-8")
    assert headers["helios-replay"] == "7"
    payload = Webhook(SECRET).verify(body, headers)
    assert (payload["id"], payload["cloud"], payload["heliosreplay"]) == ("0", "aws", "7")
    assert payload["data"] == json.loads(bytes(EVENTS[0].data))
    assert [json.loads(request[2])["id"] for request in receiver.requests] == ["0", "1", "2"]


@pytest.mark.parametrize(("suffix", "target"), [("", "/"), ("?a=b", "/?a=b"), ("/a//b#c", "/a//b")])
def test_the_path_and_the_query_of_the_url_are_requested(receiver, job, suffix, target):
    url = f"http://127.0.0.1:{receiver.server_port}{suffix}"

    list(WebhookTarget(url, hosts=HERE, keys=KEYS, loopback=True).send(job, EVENTS[:1]))

    assert receiver.requests[0][0] == target


def test_an_event_has_the_same_id_each_time_a_job_sends_it(receiver, target, job):
    list(target.send(job, EVENTS[:1]))
    list(target.send(job, EVENTS[:1]))
    list(target.send(msgspec.structs.replace(job, id=8), EVENTS[:1]))

    first, second, other_job = (request[1]["webhook-id"] for request in receiver.requests)
    assert first == second != other_job


def test_during_a_rotation_both_secrets_verify_the_signature(receiver, job):
    secrets = [SECRET, "whsec_YW5vdGhlciBzZWNyZXQsIGFsc28gbG9uZw=="]  # pragma: allowlist secret
    keys = [key_of(secret, variable="HELIOS_REPLAY_SECRET") for secret in secrets]
    list(WebhookTarget(receiver.url, hosts=HERE, keys=keys, loopback=True).send(job, EVENTS[:1]))

    for secret in secrets:
        Webhook(secret).verify(receiver.requests[0][2], receiver.requests[0][1])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302, 307, 304])
def test_a_permanent_error_fails_the_event_and_the_next_is_sent(receiver, target, job, status):
    receiver.answers = [(status, {"location": "http://169.254.169.254/"}, b"")]

    results = list(target.send(job, EVENTS))

    assert [result.state for result in results] == ["failed", "sent", "sent"]
    assert results[0].reason == f"aws/0: the webhook answers {status}"
    assert len(receiver.requests) == 3  # a redirect is not followed


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "soon"}, None),
        (500, {}, None),
        (503, {"retry-after": "Wed, 26 Nov 2025 12:00:00 GMT"}, 0.0),
    ],
)
def test_a_temporary_error_is_retried_after_the_time_of_retry_after(receiver, target, job, status, headers, after):
    receiver.answers = [(204, {}, b""), (status, headers, b"busy")]
    sending = target.send(job, EVENTS)

    assert next(sending) == SENT
    with pytest.raises(TargetUnavailable) as unavailable:
        next(sending)
    assert unavailable.value.after_seconds == after


def test_an_answer_that_never_ends_times_out(receiver, target, job, monkeypatch):
    monkeypatch.setattr(guarded_http, "SECONDS", 2.0)
    receiver.stalls = True

    with pytest.raises(TargetUnavailable, match="does not answer"):
        list(target.send(job, EVENTS))
    assert len(receiver.requests) == 1


def test_a_long_answer_is_accepted(receiver, target, job):
    receiver.answers = [(200, {}, b"x" * (guarded_http.MAX_ANSWER_BYTES * 3))]

    assert list(target.send(job, EVENTS)) == [SENT] * 3


def certificate(tmp_path: Path, name: str) -> Path:
    """A file with a key and a self-signed certificate for this name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / f"{name}.pem"
    file.write_bytes(private + signed.public_bytes(pem))
    return file


@pytest.mark.parametrize(
    ("name", "trusted", "accepted"), [("localhost", True, True), ("other", True, False), ("localhost", False, False)]
)
def test_over_tls_the_certificate_must_be_trusted_and_match_the_name(
    receiver, job, tmp_path, monkeypatch, name, trusted, accepted
):
    file = certificate(tmp_path, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    target = WebhookTarget(f"https://localhost:{receiver.server_port}/", hosts=HERE, keys=KEYS, loopback=True)

    if accepted:
        assert list(target.send(job, EVENTS)) == [SENT] * 3
        return
    with pytest.raises(TargetUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        list(target.send(job, EVENTS))
    assert receiver.requests == []


def test_an_unreachable_webhook_is_unavailable(job):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    target = WebhookTarget(f"http://127.0.0.1:{port}/", hosts=HERE, keys=KEYS, loopback=True)

    with pytest.raises(TargetUnavailable, match="does not answer"):
        list(target.send(job, EVENTS))


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "0.0.0.0", "224.0.0.1", "::"),
    ],
)
def test_no_setting_allows_metadata_and_link_local_addresses(address):
    assert forbidden(ipaddress.ip_address(address), private=True, loopback=True)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "fd12::1", "100.64.0.1", "::ffff:10.0.0.1"]
)
def test_a_private_address_needs_a_host_that_is_configured_as_private(address):
    assert forbidden(ipaddress.ip_address(address), private=False, loopback=True)
    assert forbidden(ipaddress.ip_address(address), private=True, loopback=False) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_a_loopback_address_needs_the_loopback_setting(address):
    assert forbidden(ipaddress.ip_address(address), private=True, loopback=False)
    assert forbidden(ipaddress.ip_address(address), private=False, loopback=True) is None


def test_a_public_address_is_allowed():
    assert forbidden(ipaddress.ip_address("93.184.216.34"), private=False, loopback=False) is None


def test_a_name_that_resolves_to_another_address_at_connect_time_is_refused(receiver, job, monkeypatch):
    """The target checks the address that it connects to, not only the name."""

    def rebound(*_args, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", receiver.server_port))]

    target = WebhookTarget(receiver.url, hosts=HERE, keys=KEYS, loopback=True)
    monkeypatch.setattr(socket, "getaddrinfo", rebound)

    with pytest.raises(Rejected, match=r"resolves to 169\.254\.169\.254, a link-local or metadata address"):
        list(target.send(job, EVENTS))
    assert receiver.requests == []


def test_one_forbidden_address_among_others_is_refused(receiver, job, monkeypatch):
    addresses = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.server_port))
        for address in ("127.0.0.1", "169.254.169.254")
    ]
    target = WebhookTarget(receiver.url, hosts=HERE, keys=KEYS, loopback=True)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: addresses)

    with pytest.raises(Rejected):
        list(target.send(job, EVENTS))


def targets(**settings) -> ConfiguredTargets:
    return ConfiguredTargets(Settings(database_url="postgresql://nowhere", **settings))


@pytest.mark.parametrize(
    ("settings", "url", "reason"),
    [
        ({}, "https://hooks.example/", "which is not in HELIOS_REPLAY_HOSTS"),
        ({"replay_hosts": "hooks.example"}, "https://evil.example/", "which is not in HELIOS_REPLAY_HOSTS"),
        ({"replay_hosts": "hooks.example"}, "https://x.hooks.example/", "which is not in HELIOS_REPLAY_HOSTS"),
        ({"replay_hosts": "hooks.example"}, "http://hooks.example/", "is not https"),
        ({"replay_hosts": "hooks.example"}, "https://hooks.example@evil.example/", "without a user"),
        ({"replay_hosts": "hooks.example"}, "ftp://hooks.example/", "is not https"),
        ({"replay_hosts": "hooks.example"}, "https://hooks.example/\r\nx: y", "percent-encode it"),
        ({"replay_hosts": "hooks.example"}, "https://hooks.example:99999/", "is not a URL"),
        ({"replay_hosts": "hooks.example"}, "https://[/", "is not a URL"),
    ],
)
def test_a_webhook_that_is_not_allowed_is_refused(settings, url, reason):
    opened = targets(replay_secret=SECRET, **settings)

    with pytest.raises(Rejected, match=reason) as refused:
        opened.open(Target(kind="webhook", url=url))
    assert refused.value.field == "target.url"


def test_an_allowed_webhook_is_opened():
    allowed = targets(replay_hosts="hooks.example private:collector.internal:8080", replay_secret=SECRET)

    allowed.open(Target(kind="webhook", url="https://HOOKS.example/x")).close()
    allowed.open(Target(kind="webhook", url="http://collector.internal:8080/x")).close()


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"replay_hosts": "hooks.example"}, "HELIOS_REPLAY_SECRET"),
        ({"replay_secret": "whsec_short"}, "HELIOS_REPLAY_SECRET"),
        ({"replay_topics": "aws"}, "HELIOS_REPLAY_TOPICS"),
        ({"replay_topics": "kafka=x"}, "HELIOS_REPLAY_TOPICS"),
    ],
)
def test_an_invalid_setting_is_named(settings, variable):
    with pytest.raises(ConfigurationError, match=variable):
        targets(**settings)


def test_a_cloud_without_a_topic_or_its_library_is_refused_by_name(monkeypatch):
    with pytest.raises(Rejected, match="add one to HELIOS_REPLAY_TOPICS"):
        targets().open(Target(kind="cloud", cloud="aws"))

    monkeypatch.setitem(sys.modules, "helios.adapters.replay.pubsub", None)
    with pytest.raises(Rejected, match="gcp requires google-cloud-pubsub, which is not installed here"):
        targets(replay_topics="gcp=projects/p/topics/t").open(Target(kind="cloud", cloud="gcp"))

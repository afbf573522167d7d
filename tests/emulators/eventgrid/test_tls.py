"""The TLS address of the emulator, with the certificate that it makes."""

import ssl
import stat
import urllib.error
import urllib.request

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridPublisherClient
from cryptography import x509

from helios.processes.ports import HOST, free_port
from local.emulators.eventgrid import tls
from tests.emulators.eventgrid.emulated import KEY, Emulated
from tests.emulators.eventgrid.events import grid_event


@pytest.fixture
def secure(tmp_path):
    """An emulator with a TLS port, which the test may restart."""
    emulated = Secure(tmp_path)
    emulated.start()
    yield emulated
    emulated.process.stop()


class Secure(Emulated):
    def __init__(self, folder):
        self.tls_port = free_port()
        super().__init__(folder, "--tls-port", str(self.tls_port), "--allow-host", "eventgrid")
        self.certificate = tls.certificate(folder / "data")

    def health(self, host: str, context: ssl.SSLContext) -> int:
        with urllib.request.urlopen(f"https://{host}:{self.tls_port}/health", context=context, timeout=20) as answer:
            return answer.status


def test_the_vendor_s_client_publishes_over_tls(secure, receiver, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(secure.certificate))
    topic = secure.topic()
    secure.subscribe(topic, receiver.url)
    endpoint = f"https://{HOST}:{secure.tls_port}/topics/{topic}/api/events"
    with EventGridPublisherClient(endpoint, AzureKeyCredential(KEY)) as publisher:
        publisher.send(grid_event())
    assert receiver.wait_ids(1) == ["1"]


@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_the_certificate_is_trusted_for_each_name_of_this_machine(secure, host):
    context = ssl.create_default_context(cafile=str(secure.certificate))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # as Python 3.13 does
    assert secure.health(host, context) == 200


def test_the_certificate_is_not_trusted_by_default(secure):
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        secure.health(HOST, ssl.create_default_context())


def test_the_certificate_stays_after_a_restart(secure):
    before = secure.certificate.read_bytes()
    secure.process.kill()
    secure.start()
    assert secure.certificate.read_bytes() == before
    assert secure.health(HOST, ssl.create_default_context(cafile=str(secure.certificate))) == 200


def test_the_key_is_readable_by_its_owner_only(secure):
    key = secure.certificate.with_name("key.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_certificate_can_sign_no_other(secure):
    """A client that trusts it would trust its owner for every name else."""
    certificate = x509.load_pem_x509_certificate(secure.certificate.read_bytes())
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert not constraints.ca
    assert {str(name.value) for name in names} == {"localhost", HOST, "::1", "eventgrid"}


def test_a_certificate_that_lacks_a_name_or_can_not_be_read_is_replaced(tmp_path):
    tls.context(tmp_path)
    path = tls.certificate(tmp_path)
    first = path.read_bytes()
    tls.context(tmp_path)
    assert path.read_bytes() == first
    tls.context(tmp_path, ["eventgrid"])
    second = path.read_bytes()
    assert second != first
    path.write_text("nonsense")
    tls.context(tmp_path, ["eventgrid"])
    assert x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_that_nears_its_end_is_replaced(tmp_path, monkeypatch):
    tls.context(tmp_path)
    first = tls.certificate(tmp_path).read_bytes()
    monkeypatch.setattr(tls, "_RENEWED_BEFORE_END", tls._VALID)
    tls.context(tmp_path)
    assert tls.certificate(tmp_path).read_bytes() != first


def test_web_pages_are_refused_over_tls_too(secure):
    request = urllib.request.Request(
        f"https://{HOST}:{secure.tls_port}/topics", headers={"Origin": "https://evil.example"}
    )
    context = ssl.create_default_context(cafile=str(secure.certificate))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, context=context, timeout=20)

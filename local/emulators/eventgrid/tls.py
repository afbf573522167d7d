"""The certificate of the TLS address: self-signed, for the names of this machine, and kept across restarts."""

import ipaddress
import os
import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from helios.processes.ports import HOST

_FOLDER, _CERTIFICATE, _KEY = "tls", "certificate.pem", "key.pem"

_VALID = timedelta(days=365)
_CLOCK_SKEW = timedelta(days=1)
_RENEWED_BEFORE_END = timedelta(days=30)
_NAMES = ("localhost", HOST, "::1")


def certificate(data: Path) -> Path:
    """The file of the certificate, for clients to trust.

    Args:
        data: the folder of the emulator.
    """
    return data / _FOLDER / _CERTIFICATE


def context(data: Path, names: Iterable[str] = ()) -> ssl.SSLContext:
    """The TLS settings of a server.

    A certificate that is missing, nears its end or lacks a name is replaced; clients must then trust the new one.

    Args:
        data: the folder of the emulator; the certificate and its key are in ``tls``.
        names: names of this machine besides ``localhost`` and its addresses.
    """
    folder = data / _FOLDER
    wanted = {*_NAMES, *names}
    if not _usable(folder / _CERTIFICATE, wanted):
        _create(folder, sorted(wanted))
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.minimum_version = ssl.TLSVersion.TLSv1_2
    settings.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
    return settings


def _usable(path: Path, names: set[str]) -> bool:
    with suppress(OSError, ValueError, x509.ExtensionNotFound):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = {str(name.value) for name in san}
        return names <= known and datetime.now(UTC) + _RENEWED_BEFORE_END < certificate.not_valid_after_utc
    return False


def _create(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / _CERTIFICATE).unlink(missing_ok=True)  # an old certificate must not meet the new key
    file = os.open(folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as output:
        output.write(pem)
    (folder / _CERTIFICATE).write_bytes(_certificate(key, names).public_bytes(serialization.Encoding.PEM))


def _certificate(key: ec.EllipticCurvePrivateKey, names: list[str]) -> x509.Certificate:
    """A certificate that can sign no other: a client that trusts it trusts this server only."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "helios local Event Grid")])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

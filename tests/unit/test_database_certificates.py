"""A URL that asks to check the certificate of Amazon's database servers finds the authorities in the package."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from psycopg.conninfo import conninfo_to_dict

from helios.adapters.postgres.connection import conninfo
from helios.errors import ConfigurationError

AURORA = "postgresql://helios_gcp@helios.cluster-abc.eu-central-1.rds.amazonaws.com:5432/helios"


def authorities(url):
    """The file of authorities that the connection trusts; None for the system's own."""
    return conninfo_to_dict(conninfo(url)).get("sslrootcert")


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
def test_amazon_s_authorities_are_trusted_for_amazon_s_servers(mode):
    file = authorities(f"{AURORA}?sslmode={mode}")
    assert file is not None
    assert Path(file).is_file()


@pytest.mark.parametrize(
    "url",
    [
        f"{AURORA}?sslmode=require",
        "postgresql://helios@db.example.org/helios?sslmode=verify-full",
        "postgresql://helios@rds.amazonaws.com.example.org/helios?sslmode=verify-full",
        "postgresql://helios@127.0.0.1:5432/helios",
    ],
)
def test_they_are_trusted_for_no_other_connection(url):
    assert authorities(url) is None


def test_authorities_in_the_url_take_precedence():
    assert authorities(f"{AURORA}?sslmode=verify-full&sslrootcert=/etc/own.pem") == "/etc/own.pem"


def test_the_parameters_are_part_of_the_connection():
    parts = conninfo_to_dict(conninfo(f"{AURORA}?sslmode=verify-full", keepalives_idle=60, application_name="helios"))
    assert (parts["keepalives_idle"], parts["application_name"], parts["sslmode"]) == ("60", "helios", "verify-full")


def test_a_wrong_url_is_an_error_without_its_password():
    with pytest.raises(ConfigurationError, match="HELIOS_DATABASE_URL is no URL of Postgres") as raised:
        conninfo("postgresql://helios:s3cret@db.example.org/helios?sslmode")  # pragma: allowlist secret
    assert "s3cret" not in str(raised.value)


def test_the_authorities_are_amazon_s_and_valid_for_years():
    """Copies of different origin were compared: see the table in docs/deploy.md."""
    text = Path(authorities(f"{AURORA}?sslmode=verify-full")).read_bytes()
    certificates = x509.load_pem_x509_certificates(text)
    assert len(certificates) > 80
    regions: set[str] = set()
    for certificate in certificates:
        (name,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        regions |= set(re.findall(r"^Amazon RDS (\S+) Root CA \S+ G1$", str(name.value)))
        certificate.verify_directly_issued_by(certificate)
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3 * 365)
    assert 3 * len(regions) == len(certificates)
    assert {"eu-central-1", "eu-west-1", "us-east-1", "us-east-2", "us-west-2", "ap-northeast-1"} <= regions

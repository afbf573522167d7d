"""Settings: an error names the invalid setting and never shows a secret."""

from pathlib import Path

import pytest

from helios.errors import ConfigurationError
from helios.settings import Settings, load, masked, variable

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_a_setting_is_read_from_its_variable():
    settings = load({"HELIOS_DATABASE_URL": "postgresql://db/helios", "HELIOS_DEDUPE_TTL_SECONDS": "60", "HOME": "/"})

    assert (settings.database_url, settings.dedupe_ttl_seconds, settings.redis_url) == (
        "postgresql://db/helios",
        60,
        None,
    )


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "HELIOS_DATABASE_URL is not set"),
        ({"HELIOS_DATABASE_URL": ""}, "HELIOS_DATABASE_URL is not set"),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_DEDUPE_TTL_SECONDS": "soon"}, "HELIOS_DEDUPE_TTL_SECONDS: "),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_DATABASE_CONNECTIONS": "0"}, "HELIOS_DATABASE_CONNECTIONS: "),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_LOG_LEVEL": "LOUD"}, "HELIOS_LOG_LEVEL: "),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_NOTIFY_SECRET": "15 bytes secret"}, "HELIOS_NOTIFY_SECRET: "),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_EVENTBRIDGE_SECRET": "s" * 15}, "HELIOS_EVENTBRIDGE_SECRET: "),
        ({"HELIOS_DATABASE_URL": "x", "HELIOS_EVENTGRID_SECRET": "s" * 16 + " short"}, "HELIOS_EVENTGRID_SECRET: "),
    ],
)
def test_an_invalid_setting_is_named(environ, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        load(environ)
    assert "sss" not in str(raised.value)


@pytest.mark.parametrize("secret", ["s" * 16, f"{'n' * 32} {'o' * 32}"])
def test_a_secret_setting_may_have_two_long_values(secret):
    assert load({"HELIOS_DATABASE_URL": "x", "HELIOS_NOTIFY_SECRET": secret}).notify_secret == secret


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://user:s3cret@db:5432/helios?sslmode=require",  # pragma: allowlist secret
            "postgresql://user:***@db:5432/helios?sslmode=require",
        ),
        ("rediss://:s3cret@cache:6379/0", "rediss://:***@cache:6379/0"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("postgresql://db/helios?user=u&password=s3cret", "postgresql://db/helios?user=u&password=***"),
        (
            "postgresql:///helios?sslpassword=s3cret&sslmode=require",
            "postgresql:///helios?sslpassword=***&sslmode=require",
        ),
        ("rediss://cache:6379?Password=s3cret", "rediss://cache:6379?Password=***"),
        ("host=db user=u password=s3cret dbname=d", "host=db user=u password=*** dbname=d"),
        (r"host=db password = 's3 \' cret' dbname=d", "host=db password = *** dbname=d"),
        ("postgresql://user:s3@cret@db/helios", "postgresql://user:***@db/helios"),  # pragma: allowlist secret
        ("postgresql://user:s3/cret@db/helios", "postgresql://user:***@db/helios"),  # pragma: allowlist secret
        ("postgresql://user:s3cret@[::1/helios", "postgresql://user:***@[::1/helios"),  # pragma: allowlist secret
        ("user@example.org about:this", "user@example.org about:this"),
    ],
)
def test_a_password_in_a_url_is_masked(url, expected):
    assert masked(url) == expected


def test_printing_the_settings_shows_no_password():
    assert "s3cret" not in repr(Settings(database_url="postgresql://user:s3cret@db/helios"))  # pragma: allowlist secret


def test_the_example_file_has_every_setting_and_no_other():
    """Users copy `.env.example` to configure Helios."""
    lines = [line.lstrip("# ") for line in EXAMPLE.read_text().splitlines() if "HELIOS_" in line and "=" in line]

    assert [line.partition("=")[0] for line in lines] == [variable(name) for name in Settings.__struct_fields__]

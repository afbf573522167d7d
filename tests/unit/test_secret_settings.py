"""Settings from a secret in AWS Secrets Manager."""

import json

import boto3
import pytest
from moto import mock_aws

from helios import bootstrap
from helios.__main__ import main
from helios.bootstrap.kafka import kafka_sink
from helios.errors import ConfigurationError, Retryable


@pytest.fixture
def secret(monkeypatch):
    """Makes a secret in an empty account, and returns the environment of a function that reads it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")

    def make(text):
        client = boto3.client("secretsmanager")
        client.create_secret(Name="helios/settings", SecretString=text)
        client.close()
        return {"HELIOS_SECRET_ID": "helios/settings"}

    with mock_aws():
        yield make


def test_a_secret_adds_settings_to_the_environment(secret):
    environ = secret(json.dumps({"HELIOS_DATABASE_URL": "postgresql://db/helios", "HELIOS_NOTIFY_SECRET": "s" * 32}))
    settings = bootstrap.configure(environ | {"HELIOS_LOG_LEVEL": "DEBUG"}, require=("notify_secret",))
    assert (settings.database_url, settings.notify_secret, settings.log_level) == (
        "postgresql://db/helios",
        "s" * 32,
        "DEBUG",
    )


def test_the_environment_overrides_the_secret(secret):
    environ = secret(json.dumps({"HELIOS_DATABASE_URL": "postgresql://secret/helios"}))
    settings = bootstrap.configure(environ | {"HELIOS_DATABASE_URL": "postgresql://here/helios"})
    assert settings.database_url == "postgresql://here/helios"


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '{"a": 1, "b": "hunter2"}'])
def test_an_error_names_a_malformed_secret_and_does_not_show_it(secret, text):
    with pytest.raises(ConfigurationError, match="HELIOS_SECRET_ID") as caught:
        bootstrap.configure(secret(text))
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("secret")
def test_a_missing_secret_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="HELIOS_SECRET_ID"):
        bootstrap.configure({"HELIOS_SECRET_ID": "no-such-secret"})


def test_an_unavailable_secrets_manager_is_retryable(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(Retryable, match="Secrets Manager"):
        bootstrap.configure({"HELIOS_SECRET_ID": "helios/settings"})


def test_without_a_secret_id_no_secret_is_fetched():
    assert bootstrap.configure({"HELIOS_DATABASE_URL": "postgresql://db/helios"}).secret_id is None


def test_without_events_in_postgres_there_is_no_kafka_sink():
    settings = bootstrap.configure(
        {
            "HELIOS_DATABASE_URL": "postgresql://127.0.0.1:1/helios",
            "HELIOS_ENGINE": "flink",
            "HELIOS_EVENT_STORE": "archive",
            "HELIOS_LOG_BROKERS": "127.0.0.1:1",
            "HELIOS_LOG_PREFIX": "shop",
            "HELIOS_KAFKA_BROKERS": "127.0.0.1:1",
        }
    )
    with pytest.raises(
        ConfigurationError, match=r"HELIOS_KAFKA_BROKERS.*HELIOS_EVENT_STORE=archive.*read shop\.events"
    ):
        kafka_sink(settings)


@pytest.mark.parametrize("command", ["migrate", "sink"])
def test_a_command_reads_its_settings_from_the_secret(secret, command, monkeypatch, capsys):
    """The secret has an invalid setting. The command ends with it, so the command has read the secret."""
    monkeypatch.delenv("HELIOS_DATABASE_URL", raising=False)
    values = {
        "HELIOS_DATABASE_URL": "postgresql://127.0.0.1:1/helios",
        "HELIOS_KAFKA_BROKERS": "127.0.0.1:1",
        "HELIOS_LOG_LEVEL": "loud",
    }
    for name, value in secret(json.dumps(values)).items():
        monkeypatch.setenv(name, value)

    assert main([command]) == 2
    assert "HELIOS_LOG_LEVEL" in capsys.readouterr().err

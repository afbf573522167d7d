"""Settings that are kept in a secret on AWS."""

import json

import boto3
import pytest
from moto import mock_aws

from helios import bootstrap
from helios.__main__ import main
from helios.errors import ConfigurationError, Retryable


@pytest.fixture
def secret(monkeypatch):
    """Makes a secret in an empty account, and gives the environment of a function that reads it."""
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


def test_a_secret_adds_to_the_environment(secret):
    environ = secret(json.dumps({"HELIOS_DATABASE_URL": "postgresql://db/helios", "HELIOS_NOTIFY_SECRET": "s" * 32}))
    read = bootstrap.configure(environ | {"HELIOS_LOG_LEVEL": "DEBUG"}, require=("notify_secret",))
    assert (read.database_url, read.notify_secret, read.log_level) == ("postgresql://db/helios", "s" * 32, "DEBUG")


def test_what_stands_in_the_environment_wins(secret):
    environ = secret(json.dumps({"HELIOS_DATABASE_URL": "postgresql://secret/helios"}))
    read = bootstrap.configure(environ | {"HELIOS_DATABASE_URL": "postgresql://here/helios"})
    assert read.database_url == "postgresql://here/helios"


@pytest.mark.parametrize("text", ["hunter2", '["hunter2"]', '{"a": 1, "b": "hunter2"}'])
def test_a_secret_of_another_form_is_named_and_not_shown(secret, text):
    with pytest.raises(ConfigurationError, match="HELIOS_SECRET_ID") as caught:
        bootstrap.configure(secret(text))
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("secret")
def test_a_secret_that_is_not_there_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="HELIOS_SECRET_ID"):
        bootstrap.configure({"HELIOS_SECRET_ID": "no-such-secret"})


def test_a_secrets_manager_that_is_away_is_worth_another_try(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with pytest.raises(Retryable, match="Secrets Manager"):
        bootstrap.configure({"HELIOS_SECRET_ID": "helios/settings"})


def test_without_a_secret_nothing_is_asked_for():
    assert bootstrap.configure({"HELIOS_DATABASE_URL": "postgresql://db/helios"}).secret_id is None


@pytest.mark.parametrize("command", ["migrate", "sink"])
def test_a_command_takes_its_settings_from_the_secret_too(secret, command, monkeypatch, capsys):
    """The secret holds a wrong setting, which ends the command: it was read."""
    monkeypatch.delenv("HELIOS_DATABASE_URL", raising=False)
    there = {
        "HELIOS_DATABASE_URL": "postgresql://127.0.0.1:1/helios",
        "HELIOS_KAFKA_BROKERS": "127.0.0.1:1",
        "HELIOS_LOG_LEVEL": "loud",
    }
    for name, value in secret(json.dumps(there)).items():
        monkeypatch.setenv(name, value)

    assert main([command]) == 2
    assert "HELIOS_LOG_LEVEL" in capsys.readouterr().err

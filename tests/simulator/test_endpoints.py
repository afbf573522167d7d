"""The variables of the SDKs select the endpoints of the simulator; inconsistent ones are refused."""

import asyncio
import json

import pytest

from helios.errors import ConfigurationError
from helios.model.sources import BUILT_IN
from scripts.simulator.endpoints import connect, find

AWS_LOCAL = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
AWS_REAL = {"AWS_REGION": "eu-central-1"}
GCP_LOCAL = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085", "GOOGLE_CLOUD_PROJECT": "shop"}
GCP_REAL = {"GOOGLE_CLOUD_PROJECT": "shop"}
AZURE_KEY = {"HELIOS_AZURE_EVENTGRID_KEY": "very-secret"}
AZURE_LOCAL = {"HELIOS_AZURE_EVENTGRID_ENDPOINT": "http://127.0.0.1:8087/topics/t/api/events"} | AZURE_KEY
AZURE_REAL = {"HELIOS_AZURE_EVENTGRID_ENDPOINT": "https://t.westeurope-1.eventgrid.azure.net/api/events"} | AZURE_KEY


@pytest.fixture(autouse=True)
def profile(monkeypatch, tmp_path):
    """An empty file of AWS profiles, in place of the developer's own."""
    for variable in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    file = tmp_path / "config"
    file.touch()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return file


@pytest.mark.parametrize(
    ("environ", "emulated"),
    [(AWS_LOCAL | GCP_LOCAL | AZURE_LOCAL, True), (AWS_REAL | GCP_REAL | AZURE_REAL, False)],
    ids=["local", "real"],
)
def test_the_endpoints_are_all_emulators_or_all_real_clouds(environ, emulated):
    endpoints = find(BUILT_IN, allow_mixed=False, environ=environ)

    assert [endpoint.emulated for endpoint in endpoints.values()] == [emulated] * 3


def test_the_names_of_bus_and_topic_have_defaults_and_variables():
    names = {"HELIOS_AWS_EVENT_BUS": "orders", "HELIOS_GCP_TOPIC": "payments"}
    local = AWS_LOCAL | GCP_LOCAL
    defaults, configured = (
        [endpoint.name for endpoint in find(("aws", "gcp"), allow_mixed=False, environ=environ).values()]
        for environ in (local, local | names)
    )

    assert defaults == ["helios", "projects/shop/topics/helios-events"]
    assert configured == ["orders", "projects/shop/topics/payments"]


@pytest.mark.parametrize(
    ("source", "environ", "variable"),
    [
        ("aws", {}, "AWS_ENDPOINT_URL"),
        ("aws", {"AWS_ENDPOINT_URL": "127.0.0.1:4566"}, "AWS_ENDPOINT_URL"),
        ("gcp", {}, "GOOGLE_CLOUD_PROJECT"),
        ("gcp", {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085"}, "GOOGLE_CLOUD_PROJECT"),
        ("azure", {}, "HELIOS_AZURE_EVENTGRID_ENDPOINT"),
        ("azure", {"HELIOS_AZURE_EVENTGRID_ENDPOINT": "http://127.0.0.1:8087/"}, "HELIOS_AZURE_EVENTGRID_KEY"),
        ("azure", {"HELIOS_AZURE_EVENTGRID_ENDPOINT": "127.0.0.1"} | AZURE_KEY, "HELIOS_AZURE_EVENTGRID_ENDPOINT"),
    ],
)
def test_the_error_names_a_missing_or_invalid_variable(source, environ, variable):
    with pytest.raises(ConfigurationError, match=variable):
        find((source,), allow_mixed=False, environ=environ)


def test_the_real_event_grid_needs_no_key():
    environ = {"HELIOS_AZURE_EVENTGRID_ENDPOINT": AZURE_REAL["HELIOS_AZURE_EVENTGRID_ENDPOINT"]}

    assert not find(("azure",), allow_mixed=False, environ=environ)["azure"].emulated


@pytest.fixture
def az(tmp_path, monkeypatch):
    """Replaces Azure's command line, which returns the token of the signed-in user; a test chooses its answer."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")  # and no other credential of this machine
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def prepare(answer: str, *, code: int):
        command = tmp_path / "az"
        command.write_text(
            f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\ncat <<'ANSWER'\n{answer}\nANSWER\nexit {code}\n"
        )
        command.chmod(0o755)
        return tmp_path / "calls"

    return prepare


def azure_without_a_key():
    (endpoint,) = find(("azure",), allow_mixed=False, environ=AZURE_REAL).values()
    return connect(endpoint, environ={})


def test_without_a_key_the_signed_in_user_publishes(az):
    calls = az(json.dumps({"accessToken": "one", "expires_on": 4102444800}), code=0)
    asyncio.run(azure_without_a_key().close())

    assert "--resource https://eventgrid.azure.net" in calls.read_text()


def test_without_a_key_and_a_sign_in_the_error_says_what_to_do(az):
    az("Please run 'az login' to setup account.", code=1)
    with pytest.raises(ConfigurationError, match=r"run `az login` .* or set HELIOS_AZURE_EVENTGRID_KEY"):
        azure_without_a_key()


@pytest.mark.parametrize(
    "environ",
    [AWS_LOCAL | GCP_REAL | AZURE_LOCAL, AWS_REAL | GCP_LOCAL | AZURE_LOCAL, AWS_LOCAL | GCP_LOCAL | AZURE_REAL],
)
def test_a_mix_of_emulators_and_real_clouds_is_refused(environ):
    """A forgotten variable must not send test events to a real cloud, or real events to an emulator."""
    with pytest.raises(ConfigurationError, match="--allow-mixed") as refused:
        find(BUILT_IN, allow_mixed=False, environ=environ)

    assert "very-secret" not in str(refused.value)


def test_a_mix_is_allowed_by_the_option():
    assert len(find(BUILT_IN, allow_mixed=True, environ=AWS_LOCAL | GCP_REAL | AZURE_LOCAL)) == 3


def test_an_endpoint_in_a_profile_is_used(profile):
    """boto3 uses this endpoint whatever the variables are, so it is not a real cloud."""
    profile.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:4566\n")
    (endpoint,) = find(("aws",), allow_mixed=False, environ={"AWS_REGION": "eu-central-1"}).values()

    assert (endpoint.address, endpoint.emulated) == ("http://127.0.0.1:4566", True)
    with pytest.raises(ConfigurationError, match="--allow-mixed"):
        find(BUILT_IN, allow_mixed=False, environ=AWS_REAL | GCP_REAL | AZURE_REAL)


def test_a_region_in_a_profile_is_used(profile):
    profile.write_text("[default]\nregion = eu-west-1\n")
    (endpoint,) = find(("aws",), allow_mixed=False, environ={}).values()

    assert (endpoint.address, endpoint.emulated) == ("https://events.eu-west-1.amazonaws.com", False)


def test_the_error_for_an_unknown_profile_names_it(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "shop")
    with pytest.raises(ConfigurationError, match="shop"):
        find(("aws",), allow_mixed=False, environ={})


SECRET = "very-secret"


@pytest.mark.parametrize(
    ("source", "environ"),
    [
        ("aws", {"AWS_ENDPOINT_URL": f"http://me:{SECRET}@127.0.0.1:4566/?token={SECRET}"}),
        ("azure", {"HELIOS_AZURE_EVENTGRID_ENDPOINT": f"http://me:{SECRET}@127.0.0.1/api?code={SECRET}"} | AZURE_KEY),
    ],
)
def test_secrets_in_an_address_are_not_shown(source, environ):
    (endpoint,) = find((source,), allow_mixed=False, environ=environ).values()

    assert "127.0.0.1" in str(endpoint)
    assert SECRET not in str(endpoint)


def test_secrets_in_an_invalid_address_are_not_shown():
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1") as refused:
        find(("aws",), allow_mixed=False, environ={"AWS_ENDPOINT_URL": f"me:{SECRET}@127.0.0.1:4566?token={SECRET}"})

    assert SECRET not in str(refused.value)


def test_clouds_that_are_not_selected_need_no_settings():
    assert list(find(("gcp",), allow_mixed=False, environ=GCP_LOCAL)) == ["gcp"]

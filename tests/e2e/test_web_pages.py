"""A page of another site, in a real browser, reaches nothing of the running stack."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from helios.processes.ports import HOST
from local.aws import resources
from local.emulators.azure_host.client import event_grid_url
from local.stack.config import GCP_PROJECT, GCP_TOPIC
from scripts.bench import chromium
from tests.support.browser import PATIENCE_MS, PUBSUB, opened
from tests.support.client import EVENTBRIDGE

SITE = "cats.evil.example"
"""Its name leads to this machine, in this browser alone."""

FUNCTION = json.dumps({"FunctionName": "of-a-page", "Runtime": "python3.12", "Handler": "a.b"})
NOTIFICATION = json.dumps({"Type": "Notification", "MessageId": "of-a-page", "Message": "{}", "TopicArn": "a"})
EVENT = json.dumps({"id": "of-a-page", "eventType": "X", "eventTime": "2026-01-01T00:00:00Z", "data": {}})
MESSAGE = json.dumps({"messages": [{"attributes": {"of": "a-page"}}]})

REFUSED = {401, 403}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without its own protection of local addresses, which other browsers lack."""
    executable = chromium.find()
    if executable is None:
        pytest.skip("neither Chromium nor Chrome is installed: the page was not tried in a browser")
    arguments = [
        *chromium.ARGUMENTS,
        f"--host-resolver-rules=MAP {SITE} {HOST}",
        "--disable-features=LocalNetworkAccessChecks",
        "--disable-popup-blocking",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """An empty page of the other site."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>cats</title>")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer((HOST, 0), Empty) as server, browser.new_context() as context:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"http://{SITE}:{server.server_port}/")
        yield page
        server.shutdown()


def targets(config) -> dict[str, str]:
    """What the page posts to each URL."""
    delivery = event_grid_url(config.azure_function_url, "ingest", config.credentials.host_event_grid)
    return {
        f"{config.aws_url}/2015-03-31/functions": FUNCTION,
        f"http://localhost:{config.aws_port}/2015-03-31/functions": FUNCTION,
        f"{config.canary_url}/sns": NOTIFICATION,
        f"{config.eventgrid_url}/topics/of-a-page/api/events": f"[{EVENT}]",
        f"{config.azure_function_url}/admin/functions/ingest?code={config.credentials.host_master}": EVENT,
        delivery: f"[{EVENT}]",
        config.gcp_function_url: "{}",
        f"{config.pubsub_url}/status": "{}",
        f"http://{HOST}:{config.pubsub_port}/v1/projects/{GCP_PROJECT}/topics/{GCP_TOPIC}:publish": MESSAGE,
        f"{config.dashboard_url}/": "{}",
        f"{config.api_url}{EVENTBRIDGE}": "{}",
        f"{config.api_url}{PUBSUB}": "{}",
        f"{config.api_url}/api/v1/replays": "{}",
        f"{config.api_url}/api/v1/ws/tickets": "{}",
    }


FETCH = "([url, body, method]) => fetch(url, {method, mode: 'no-cors', body}).catch(() => null)"
FORM = """([url, body]) => {
    const form = document.createElement('form');
    Object.assign(form, {method: 'POST', enctype: 'text/plain', action: url, target: '_blank'});
    const [name, ...rest] = body.split(':');
    const field = document.createElement('input');
    Object.assign(field, {type: 'hidden', name, value: rest.join(':')});
    form.append(field);
    document.body.append(form);
    form.submit();
}"""


def unchanged(stack) -> tuple[object, ...]:
    """What a page could have changed: functions, topics, events, dead letters, replay jobs."""
    client = resources.client("lambda", stack.config.aws_url)
    functions = {one["FunctionName"] for one in client.list_functions()["Functions"]}
    client.close()
    left = "SELECT (SELECT count(*) FROM events WHERE id = 'of-a-page'), (SELECT count(*) FROM dead_letters)"
    return functions, stack.rows(left), stack.rows("SELECT count(*) FROM replay_jobs")


def test_a_fetch_of_another_site_s_page_reaches_no_server(stack, page):
    """Each fetch has ended, with an answer or with an error, when the page's script goes on."""
    before = unchanged(stack)
    statuses: dict[str, int] = {}
    page.on("response", lambda response: statuses.setdefault(response.url, response.status))
    for url, body in targets(stack.config).items():
        page.evaluate(FETCH, [url, body, "POST"])
    assert {url: status for url, status in statuses.items() if status not in REFUSED} == {}
    # The browser hides the API's answers, as their Cross-Origin-Resource-Policy demands.
    assert len(statuses) >= len([url for url in targets(stack.config) if not url.startswith(stack.config.api_url)])
    assert unchanged(stack) == before


def test_a_form_of_another_site_s_page_reaches_no_server(stack, page):
    before = unchanged(stack)
    statuses: dict[str, int] = {}
    page.context.on("response", lambda response: statuses.setdefault(response.url, response.status))
    for url, body in targets(stack.config).items():
        with page.context.expect_event("response", lambda response, url=url: response.url.startswith(url)):
            page.evaluate(FORM, [url, body])
    refused = {url: statuses.get(url, statuses.get(f"{url}/")) for url in targets(stack.config)}
    assert {url: status for url, status in refused.items() if status not in REFUSED} == {}
    assert unchanged(stack) == before


def test_a_page_whose_name_leads_here_reaches_no_server(stack, page):
    """DNS rebinding: for the browser the servers are of the page's own site, so it sends no Origin with a GET."""
    for port, path in (
        (stack.config.aws_port, "/2015-03-31/functions"),
        (stack.config.eventgrid_port, "/topics"),
        (stack.config.azure_function_port, "/admin/host/ping"),
        (stack.config.canary_port, "/healthz"),
        (stack.config.pubsub_admin_port, "/status"),
        (stack.config.pubsub_port, f"/v1/projects/{GCP_PROJECT}/topics"),
        (stack.config.dashboard_port, "/"),
        (stack.config.api_port, "/api/v1/events"),
    ):
        answer = page.goto(f"http://{SITE}:{port}{path}")
        assert answer
        assert answer.status in REFUSED, (port, path)


def test_the_dashboard_still_works_beside_the_filters(stack, browser, request):
    """Its WebSocket goes through the AWS emulator, whose filter accepts the dashboard's origin."""
    with opened(browser, stack.config.dashboard_url, name=request.node.name) as dashboard:
        dashboard.wait_until_live()

"""The filter in front of the local servers refuses requests of web pages, and accepts those of SDKs and of curl."""

import asyncio

import pytest

from local.stack.request_filter import AsgiFilter, RequestFilter, WsgiFilter

DASHBOARD = "http://localhost:5173"
RULE = RequestFilter(origins=frozenset({DASHBOARD}), hosts=frozenset({"aws"}))
LOCAL = ("host", "127.0.0.1:4566")


def site(value):
    return ("sec-fetch-site", value)


@pytest.mark.parametrize(
    "headers",
    [
        [LOCAL],
        [("host", "localhost:4566")],
        [("host", "LOCALHOST")],
        [("host", "127.8.9.10")],
        [("host", "[::1]:4566")],
        [("host", "aws:4566")],
        [LOCAL, ("origin", DASHBOARD)],
        [LOCAL, ("origin", DASHBOARD), site("cross-site")],
        [LOCAL, site("none")],
        [LOCAL, site("same-origin")],
    ],
)
def test_requests_of_this_machine_and_of_the_dashboard_are_accepted(headers):
    assert RULE.refusal("POST", headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [LOCAL, LOCAL],
        [("host", "")],
        [("host", "evil.example:4566")],
        [("host", "127.0.0.1.evil.example")],
        [("host", "localhost.evil.example")],
        [("host", "0.0.0.0")],
        [("host", "127.1")],
        [("host", "2130706433")],
        [("host", "user@127.0.0.1")],
        [("host", "127.0.0.1:4566:80")],
        [LOCAL, ("origin", "https://evil.example")],
        [LOCAL, ("origin", "null")],
        [LOCAL, ("origin", "")],
        [LOCAL, ("origin", "http://localhost:3000")],
        [LOCAL, ("origin", "http://127.0.0.1:4566"), site("same-origin")],
        [LOCAL, ("origin", f"{DASHBOARD}.evil.example")],
        [LOCAL, ("origin", DASHBOARD), ("origin", "https://evil.example")],
        [LOCAL, site("cross-site")],
        [LOCAL, site("same-site")],
        [LOCAL, site("none"), site("cross-site")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_requests_of_other_pages_and_to_other_hosts_are_refused(method, headers):
    assert RULE.refusal(method, headers)


LINK = [LOCAL, site("cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]


def test_only_a_server_that_allows_links_accepts_one_and_only_as_a_page():
    with_links = RULE._replace(links=True)
    assert with_links.refusal("GET", LINK) is None
    assert with_links.refusal("POST", LINK)
    assert with_links.refusal("GET", [*LINK[:-1], ("sec-fetch-dest", "iframe")])
    assert with_links.refusal("GET", [*LINK, ("origin", "https://evil.example")])
    assert RULE.refusal("GET", LINK)


def run_asgi(kind, *headers):
    """What an ASGI application behind the filter sends, and whether the application was called."""
    sent, called = [], []

    async def application(scope, receive, send):
        called.append(scope["type"])

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": kind, "headers": raw} | ({"method": "POST"} if kind == "http" else {})
    asyncio.run(AsgiFilter(application, RULE)(scope, receive, send))
    return sent, called


def test_an_asgi_application_sees_no_refused_request():
    sent, called = run_asgi("http", ("Host", "localhost"), ("Origin", "https://evil.example"))
    assert (sent[0]["status"], called) == (403, [])
    assert run_asgi("http", LOCAL) == ([], ["http"])


def test_an_asgi_application_sees_no_refused_websocket():
    sent, called = run_asgi("websocket", LOCAL, ("origin", "https://evil.example"))
    assert (sent, called) == ([{"type": "websocket.close", "code": 1008}], [])
    assert run_asgi("websocket", LOCAL, ("origin", DASHBOARD)) == ([], ["websocket"])


def test_an_asgi_application_sees_its_lifespan():
    assert run_asgi("lifespan") == ([], ["lifespan"])


def test_a_wsgi_application_sees_no_refused_request():
    statuses = []

    def application(environ, start_response):
        return [b"reached"]

    def answer(**more):
        environ = {"REQUEST_METHOD": "POST", "HTTP_HOST": "127.0.0.1:8088"} | more
        return WsgiFilter(application, RULE)(environ, lambda status, _headers: statuses.append(status))

    assert answer(HTTP_ORIGIN="https://evil.example") != [b"reached"]
    assert answer(HTTP_SEC_FETCH_SITE="cross-site") != [b"reached"]
    assert statuses == ["403 Forbidden", "403 Forbidden"]
    assert answer() == [b"reached"]

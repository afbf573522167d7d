"""The page ``/docs`` loads nothing from another host."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.testclient import TestClient

from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.services import client_of, in_memory

ORIGIN = "http://api.example"
CLOSED = Settings(database_url="postgresql://nowhere", webhook_auth="closed")


class Urls(HTMLParser):
    """Collects the URLs of a page, and its inline scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._open = tag
        self.urls += [value for name, value in attrs if name in {"src", "href", "action", "data", "srcset", "poster"}]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in {"script", "style"} and data.strip():
            self.inline.append(data)


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(in_memory(MemoryStore(), CLOSED), url=ORIGIN, sender="192.0.2.1") as opened:
        yield opened


def test_every_url_of_the_page_is_a_file_of_the_api_itself(client):
    page = client.get("/docs")
    found = Urls(page.text)

    assert found.inline == []
    assert len(found.urls) == 4
    for url in found.urls:
        absolute = urljoin(f"{ORIGIN}/docs", url)
        assert urlsplit(absolute).netloc == urlsplit(ORIGIN).netloc, url
        answer = client.get(absolute)
        assert answer.status_code == 200, url
        assert len(answer.content) > 100, url
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_policy_of_the_page_allows_its_own_host_alone(client):
    directives = dict(
        directive.strip().partition(" ")[::2]
        for directive in client.get("/docs").headers["content-security-policy"].split(";")
    )

    assert directives["default-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    allowed = {source for name, sources in directives.items() for source in sources.split()}
    assert allowed == {"'self'", "'none'", "data:"}
    assert [name for name, sources in directives.items() if "data:" in sources] == ["img-src"]


def test_swagger_ui_is_started_without_its_validator(client):
    """By default Swagger UI sends the URL of the schema to validator.swagger.io."""
    start = client.get("/docs/start.js").text

    assert "validatorUrl: null" in start
    assert "//" not in start


def test_the_style_sheet_loads_nothing_from_another_host(client):
    style = client.get("/docs/swagger-ui.css").text

    assert [url for url in re.findall(r"url\(\s*[\"']?([^)\"']{5})", style) if url != "data:"] == []
    assert "@import" not in style


def test_only_the_files_of_the_page_are_served(client):
    """The package contains other pages, which no policy covers."""
    for path in ("/docs/redoc.standalone.js", "/docs/../core.py", "/docs/%2e%2e/core.py", "/redoc"):
        assert client.get(path).status_code == 404

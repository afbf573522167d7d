"""A page of the dashboard in a real browser, and what a viewer does with it."""

import base64
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from local.stack.config import REPOSITORY
from tests.support.client import EVENTBRIDGE, EVENTGRID, call
from tests.support.deliveries import eventbridge, eventgrid

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
PATIENCE_MS = 30_000
"""Far more than anything takes: several suites may share the machine."""

_AXE = REPOSITORY / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PUBSUB = "/api/v1/webhooks/gcp/pubsub"


class Dashboard:
    """An opened page.

    Attributes:
        page: the browser's.
        faults: every error that the page logged or threw.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.goto(url)
        self.wait_until_live()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"{message.text} ({message.location['url']})")

    def wait_until_live(self) -> None:
        self.wait_for_phase("live")

    def wait_for_phase(self, phase: str) -> None:
        """Return when the header's indicator says so: connecting, live or waiting."""
        expect(self.page.locator(f"[data-phase={phase}]")).to_be_visible(timeout=PATIENCE_MS)

    def rows(self) -> list[str]:
        """What the list shows, the newest first, each event as ``source/id``."""
        every = "[...document.querySelectorAll('[data-row]')]"
        keys: list[str] = self.page.evaluate(f"{every}.map((row) => row.dataset.row)")
        return keys

    def wait_for_rows(self, keys: list[str]) -> None:
        """Return when each of these is in the list."""
        self.page.wait_for_function(
            "(keys) => keys.every((key) => document.querySelector(`[data-row='${key}']`))", arg=keys
        )

    def wait_for_total(self, total: int) -> None:
        """Return when the first card shows this number."""
        card = self.page.get_by_role("article", name="All events")
        expect(card.get_by_text(f"{total:,}", exact=True)).to_be_visible(timeout=PATIENCE_MS)

    def wait_for_at_least(self, total: int) -> int:
        """The number that the first card shows, as soon as it is no less than this one."""
        card = self.page.get_by_role("article", name="All events").locator("p").first.element_handle()
        number = "Number(card.textContent.replaceAll(',', ''))"
        shown = self.page.wait_for_function(
            f"([card, total]) => {number} >= total && String({number})", arg=[card, total], timeout=PATIENCE_MS
        )
        return int(shown.json_value())

    def heap_megabytes(self) -> float:
        """JavaScript objects that are still in use."""
        devtools = self.page.context.new_cdp_session(self.page)
        devtools.send("Performance.enable")
        devtools.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
        devtools.detach()
        return float(metrics["JSHeapUsedSize"]) / 1e6

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        pixels: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return pixels

    def violations(self) -> list[str]:
        """What axe finds serious or critical; the page must have been opened without its policy."""
        self.page.evaluate(_AXE.read_text())
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then(({ violations }) => violations)")
        return [
            f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]


@contextmanager
def opened(browser: Browser, url: str, *, name: str, **context: Any) -> Iterator[Dashboard]:
    """The dashboard, live; at the end it is photographed, and must have logged no error unless the test took it out.

    Args:
        browser: where.
        url: the dashboard's.
        name: the screenshot's.
        context: of Playwright's ``new_context``.
    """
    with browser.new_context(viewport=context.pop("viewport", {"width": 1440, "height": 1000}), **context) as made:
        dashboard = Dashboard(made.new_page(), url)
        try:
            yield dashboard
        finally:
            dashboard.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        assert dashboard.faults == [], dashboard.faults


def post_events(url: str, count: int = 1, *, source: str = "aws") -> list[str]:
    """Store new events through this API's webhooks; their keys, ``source/id``."""
    ids = [uuid.uuid4().hex for _ in range(count)]
    for id_ in ids:
        answer = call(url, *_request(source, id_))
        assert answer.body["status"] == "stored", answer
    return [f"{source}/{id_}" for id_ in ids]


def _request(source: str, id_: str) -> tuple[str, bytes]:
    match source:
        case "aws":
            return EVENTBRIDGE, eventbridge(id_).body
        case "azure":
            return EVENTGRID, eventgrid(id_).body
        case _:
            message = {"messageId": id_, "publishTime": "2025-11-26T12:00:00Z", "data": "e30="}
            return PUBSUB, json.dumps({"message": message, "subscription": "projects/shop/subscriptions/s"}).encode()


def payment(order: str, *, amount: float) -> bytes:
    """A push of Pub/Sub that says what was paid for ``ORD-order``."""
    said = json.dumps({"order_id": f"ORD-{order}", "amount": amount}).encode()
    message = {
        "messageId": uuid.uuid4().hex,
        "publishTime": "2025-11-26T12:00:00Z",
        "attributes": {"event_type": "PaymentProcessed"},
        "data": base64.b64encode(said).decode(),
    }
    return json.dumps({"message": message, "subscription": "projects/shop/subscriptions/s"}).encode()

"""A page of the dashboard in a real browser, with the actions and checks of the tests."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from local.stack.config import REPOSITORY
from tests.support.client import EVENTBRIDGE, EVENTGRID, call
from tests.support.deliveries import eventbridge, eventgrid
from tests.support.envelopes import pubsub_message, pubsub_push

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
PATIENCE_MS = 30_000
"""A generous limit, because several suites may share the machine."""

_AXE = REPOSITORY / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PUBSUB = "/api/v1/webhooks/gcp/pubsub"


class Dashboard:
    """An opened page.

    Attributes:
        page: the page of Playwright.
        faults: the errors that the page logged or threw.
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
        """Return when the indicator in the header shows this phase: connecting, live or waiting."""
        expect(self.page.locator(f"[data-phase={phase}]")).to_be_visible(timeout=PATIENCE_MS)

    def rows(self) -> list[str]:
        """The keys of the events in the list, ``source/id``, the newest first."""
        every = "[...document.querySelectorAll('[data-row]')]"
        keys: list[str] = self.page.evaluate(f"{every}.map((row) => row.dataset.row)")
        return keys

    def wait_for_rows(self, keys: list[str]) -> None:
        """Return when each of these keys is in the list."""
        self.page.wait_for_function(
            "(keys) => keys.every((key) => document.querySelector(`[data-row='${key}']`))", arg=keys
        )

    def wait_for_total(self, total: int) -> None:
        """Return when the first card shows this number."""
        card = self.page.get_by_role("article", name="All events")
        expect(card.get_by_text(f"{total:,}", exact=True)).to_be_visible(timeout=PATIENCE_MS)

    def wait_for_at_least(self, total: int) -> int:
        """The number on the first card, as soon as it is at least ``total``."""
        card = self.page.get_by_role("article", name="All events").locator("p").first.element_handle()
        number = "Number(card.textContent.replaceAll(',', ''))"
        shown = self.page.wait_for_function(
            f"([card, total]) => {number} >= total && String({number})", arg=[card, total], timeout=PATIENCE_MS
        )
        return int(shown.json_value())

    def heap_megabytes(self) -> float:
        """The size of the JavaScript objects that are still in use."""
        devtools = self.page.context.new_cdp_session(self.page)
        devtools.send("Performance.enable")
        devtools.send("HeapProfiler.collectGarbage")
        metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
        devtools.detach()
        return float(metrics["JSHeapUsedSize"]) / 1e6

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        pixels: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return pixels

    def violations(self) -> list[str]:
        """The serious and critical violations that axe finds; the page must be opened without its policy."""
        self.page.evaluate(_AXE.read_text())
        violations: list[dict[str, Any]] = self.page.evaluate("axe.run().then(({ violations }) => violations)")
        return [
            f"{violation['id']}: {violation['help']}: {violation['nodes'][0]['html'][:200]}"
            for violation in violations
            if violation["impact"] in {"serious", "critical"}
        ]


@contextmanager
def opened(browser: Browser, url: str, *, name: str, **context: Any) -> Iterator[Dashboard]:
    """Open the live dashboard. At the end take a screenshot, and fail if ``faults`` has an error.

    Args:
        browser: the browser.
        url: the URL of the dashboard.
        name: the name of the screenshot.
        context: arguments of Playwright's ``new_context``.
    """
    with browser.new_context(
        viewport=context.pop("viewport", {"width": 1440, "height": 1000}), **context
    ) as browser_context:
        dashboard = Dashboard(browser_context.new_page(), url)
        try:
            yield dashboard
        finally:
            dashboard.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        assert dashboard.faults == [], dashboard.faults


def post_events(url: str, count: int = 1, *, source: str = "aws") -> list[str]:
    """The keys, ``source/id``, of new events that are stored through this API's webhooks."""
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
            return PUBSUB, json.dumps(pubsub_push(pubsub_message(id_, b"{}"))).encode()


def payment(order: str, *, amount: float) -> bytes:
    """A push of Pub/Sub with the amount that was paid for the order ``ORD-<order>``."""
    data = json.dumps({"order_id": f"ORD-{order}", "amount": amount}).encode()
    message = pubsub_message(uuid.uuid4().hex, data, attributes={"event_type": "PaymentProcessed"})
    return json.dumps(pubsub_push(message)).encode()

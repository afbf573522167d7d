"""A page of the dashboard in a real browser, with the actions and checks of the tests."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from helios.model.events import Key
from local.stack.config import REPOSITORY
from tests.support.client import EVENTBRIDGE, EVENTGRID, call
from tests.support.deliveries import aws_key, azure_key, eventbridge, eventgrid
from tests.support.envelopes import PUBSUB_PRODUCER, pubsub_message, pubsub_push

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
PATIENCE_MS = 30_000
"""A generous limit, because several suites may share the machine."""
expect.set_options(timeout=PATIENCE_MS)

_AXE = REPOSITORY / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
PUBSUB = "/api/v1/webhooks/gcp/pubsub"
_SIDEWAYS = """[...document.querySelectorAll("main *:not(pre)")]
    .filter((part) => ["auto", "scroll"].includes(getComputedStyle(part).overflowX))
    .filter((part) => part.scrollWidth > part.clientWidth)
    .map((part) => `${part.scrollWidth - part.clientWidth} px: ${part.outerHTML.slice(0, 200)}`)"""


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

    def rows(self) -> list[Key]:
        """The identities of the events in the list, the newest first. The rows of replayed events are left out."""
        every = "[...document.querySelectorAll('[data-row]')]"
        texts: list[str] = self.page.evaluate(f"{every}.map((row) => row.dataset.row)")
        return [_key(text) for text in texts if text.endswith("]")]

    def row(self, key: Key, *, replay: bool = False) -> Locator:
        """The row of an event, or the row that a replay of the event added."""
        text = _row_text(key)
        return self.page.locator(f"[data-row^='{text} replay ']" if replay else f"[data-row='{text}']")

    def wait_for_rows(self, keys: list[Key]) -> None:
        """Return when each of these events is in the list."""
        self.page.wait_for_function(
            "(texts) => texts.every((text) => document.querySelector(`[data-row='${text}']`))",
            arg=[_row_text(key) for key in keys],
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

    @contextmanager
    def refused(self, status: int) -> Iterator[None]:
        """A block in which the API refuses one request with this status, which the browser logs as an error."""
        known = len(self.faults)
        with self.page.expect_console_message(lambda message: f"status of {status} " in message.text):
            yield
        (fault,) = self.faults[known:]
        assert f"status of {status} " in fault
        del self.faults[known:]

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

    def sideways(self) -> list[str]:
        """The parts of the page that scroll sideways, beside those that show text as it was sent."""
        parts: list[str] = self.page.evaluate(_SIDEWAYS)
        return parts

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


def post_events(url: str, count: int = 1, *, source: str = "aws") -> list[Key]:
    """The identities of new events that are stored through this API's webhooks."""
    keys = []
    for _ in range(count):
        key, path, body = _request(source, uuid.uuid4().hex)
        answer = call(url, path, body)
        assert answer.body["status"] == "stored", answer
        keys.append(key)
    return keys


def _request(source: str, id_: str) -> tuple[Key, str, bytes]:
    match source:
        case "aws":
            return aws_key(id_), EVENTBRIDGE, eventbridge(id_).body
        case "azure":
            return azure_key(id_), EVENTGRID, eventgrid(id_).body
        case _:
            body = json.dumps(pubsub_push(pubsub_message(id_, b"{}"))).encode()
            return ("gcp", PUBSUB_PRODUCER, id_), PUBSUB, body


def _row_text(key: Key) -> str:
    """The ``data-row`` attribute of an event: its identity as JSON, as ``JSON.stringify`` writes it."""
    return json.dumps(key, separators=(",", ":"), ensure_ascii=False)


def _key(row_text: str) -> Key:
    source, producer, id_ = json.loads(row_text)
    return source, producer, id_


def payment(order: str, *, amount: float) -> bytes:
    """A push of Pub/Sub with the amount that was paid for the order ``ORD-<order>``."""
    data = json.dumps({"order_id": f"ORD-{order}", "amount": amount}).encode()
    message = pubsub_message(uuid.uuid4().hex, data, attributes={"event_type": "PaymentProcessed"})
    return json.dumps(pubsub_push(message)).encode()

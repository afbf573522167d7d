"""The dashboard in a real browser, on the whole local stack."""

import contextlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from helios.adapters.redis.connections import RedisConnections
from helios.embedded import postgres, valkey
from helios.model.balances import MANIFEST_TYPE
from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command
from local.aws import deployer
from local.stack.config import AWS_REGION
from scripts.bench import chromium
from tests.support.api import ROOT, Api
from tests.support.browser import PATIENCE_MS, PUBSUB, Dashboard, opened, payment, post_events
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge
from tests.support.waiting import eventually

SOURCES = ("aws", "gcp", "azure")
NARROW = {"width": 360, "height": 740}
both_widths = pytest.mark.parametrize("viewport", [{"width": 1440, "height": 1000}, NARROW], ids=["wide", "narrow"])
ROWS = 15
PAGE_OF_FRAMES = 500
"""The number of frames that the page requests at once."""
HEAP_GROWTH_MB = 20
"""A page holds the last 2000 rows at most."""
LATER_HEAP_GROWTH_MB = 5
"""Once the page has 2000 rows it must not grow; the rest is noise of the garbage collector."""
FIRST_PAINT_MS = 1000
"""The limit for a page on the same machine; the best of several attempts counts, because the machine may be busy."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Any installed Chromium or Chrome; CI requires one."""
    executable = chromium.find()
    if executable is None:
        pytest.skip("neither Chromium nor Chrome is installed: the dashboard was not tried in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=chromium.ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def dashboard(browser, stack, request) -> Iterator[Dashboard]:
    """The demo's dashboard, which is connected through API Gateway."""
    with opened(browser, stack.config.dashboard_url, name=request.node.name) as page:
        yield page


def test_the_dashboard_shows_events_of_three_clouds_and_the_totals_of_the_api(dashboard, stack):
    before = stack.stats()
    stack.simulate("--rate", "20", "--count", "60", "--error-rate", "0").finish()
    stack.wait_until_stored(before, 60)
    dashboard.wait_for_total(stack.stats().total_events)

    for source in SOURCES:
        expect(dashboard.page.locator(f"""[data-row^='["{source}",']""").first).to_be_visible(timeout=PATIENCE_MS)
        card = dashboard.page.get_by_role("article", name=source, exact=False)
        shown = f"{stack.stats().events_by_source[source]:,}"
        expect(card.get_by_text(shown, exact=True)).to_be_visible(timeout=PATIENCE_MS)


def test_pause_freezes_the_rows_and_counts_new_events(dashboard, stack):
    posted = post_events(stack.config.api_url)
    dashboard.wait_for_rows(posted)
    dashboard.page.get_by_role("button", name="Pause").click()
    frozen = dashboard.rows()
    fresh = post_events(stack.config.api_url, 7)
    resume = dashboard.page.get_by_role("button", name="7 new, resume")
    expect(resume).to_be_visible(timeout=PATIENCE_MS)
    assert dashboard.rows() == frozen

    resume.click()
    dashboard.wait_for_rows(fresh)


def test_the_filter_is_in_the_url_and_survives_a_reload(dashboard, stack):
    other = post_events(stack.config.api_url, source="aws")
    matching = post_events(stack.config.api_url, source="gcp")
    dashboard.wait_for_rows(other + matching)
    dashboard.page.get_by_role("group", name="Source").get_by_role("button", name="GCP").click()
    expect(dashboard.page).to_have_url(re.compile(r"source=gcp"))
    dashboard.page.reload()
    dashboard.wait_until_live()
    post_events(stack.config.api_url, source="azure")
    matching += post_events(stack.config.api_url, source="gcp")
    dashboard.wait_for_rows(matching)

    assert {source for source, _, _ in dashboard.rows()} == {"gcp"}


def test_a_row_opens_the_stored_event(dashboard, stack):
    (key,) = post_events(stack.config.api_url)
    dashboard.wait_for_rows([key])
    dashboard.row(key).click()
    drawer = dashboard.page.get_by_role("dialog", name="Event")
    expect(drawer.locator("pre")).to_contain_text(f"ORD-{key[2]}", timeout=PATIENCE_MS)
    expect(dashboard.page).to_have_url(re.compile(r"event="))

    dashboard.page.keyboard.press("Escape")
    expect(drawer).not_to_be_visible()


def test_the_dashboard_reconnects_after_api_gateway_closes_its_connection(dashboard, stack):
    """API Gateway does so every two hours: the dashboard misses no event and shows none twice."""
    dashboard.wait_for_rows(post_events(stack.config.api_url))
    endpoint = deployer.websocket_url(stack.config.aws_url).replace("ws", "http", 1)
    connections = RedisConnections(valkey.url(stack.config.valkey_port, stack.config.credentials.valkey)).all()
    test_credentials = {"region_name": AWS_REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    gateway = boto3.client("apigatewaymanagementapi", endpoint_url=endpoint, **test_credentials)
    with contextlib.closing(gateway):
        for connection in connections:
            gateway.delete_connection(ConnectionId=connection)
    fresh = post_events(stack.config.api_url, 5)
    dashboard.wait_for_rows(fresh)
    dashboard.wait_until_live()

    assert sorted(dashboard.rows()) == sorted(set(dashboard.rows()))


def test_a_page_that_was_hidden_shows_the_events_it_missed(dashboard, stack):
    """The page is frozen, as browsers do with pages in the background: it runs no script and receives no message."""
    dashboard.wait_for_rows(post_events(stack.config.api_url))
    browser_page = dashboard.page.context.new_cdp_session(dashboard.page)
    browser_page.send("Page.setWebLifecycleState", {"state": "frozen"})
    fresh = post_events(stack.config.api_url, PAGE_OF_FRAMES + 30)
    browser_page.send("Page.setWebLifecycleState", {"state": "active"})
    dashboard.wait_for_rows(fresh[-30:])
    dashboard.wait_for_total(stack.stats().total_events)

    assert dashboard.page.get_by_text("of the stream missed").count() == 0


@pytest.mark.slow  # soaks
def test_under_load_the_totals_stay_exact_and_memory_stays_flat(dashboard, stack):
    """The list shows a sample of the events, the stats count all. `make bench` does the same for longer."""
    before, heaps = stack.stats(), [dashboard.heap_megabytes()]
    for count in (3000, 6000):
        simulation = stack.simulate("--rate", "300", "--count", "3000", "--error-rate", "0")
        while simulation.running:
            # The page shows at least the total before the wait and at most the total after it.
            shown = dashboard.wait_for_at_least(stack.stats().total_events)
            assert shown <= stack.stats().total_events
        simulation.finish()
        stack.wait_until_stored(before, count)
        dashboard.wait_for_total(stack.stats().total_events)
        heaps.append(dashboard.heap_megabytes())

    assert heaps[1] - heaps[0] < HEAP_GROWTH_MB
    assert heaps[2] - heaps[1] < LATER_HEAP_GROWTH_MB
    assert len(dashboard.rows()) <= 100


@both_widths
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_dashboard_is_accessible_and_fits_the_viewport(browser, stack, request, viewport, scheme):
    """Axe reports no serious violation, and nothing scrolls sideways, on a phone or on a desktop.

    The page's content security policy refuses axe's script, so this test bypasses the policy.
    """
    key = post_events(stack.config.api_url)[0]
    options = {"viewport": viewport, "color_scheme": scheme, "bypass_csp": True}
    with opened(browser, stack.config.dashboard_url, name=request.node.name, **options) as dashboard:
        dashboard.wait_for_rows([key])
        dashboard.page.locator(".recharts-area").first.wait_for()
        assert dashboard.overflow() <= 0
        assert dashboard.violations() == []

        dashboard.row(key).click()
        dashboard.page.get_by_role("dialog", name="Event").locator("pre").wait_for()
        assert dashboard.overflow() <= 0
        assert dashboard.violations() == []


@both_widths
def test_the_orders_and_the_balances_fit_the_viewport(browser, stack, request, viewport):
    """The balances have more rows than fit, and can be scrolled with the keyboard."""
    api, order = stack.config.api_url, uuid.uuid4().hex
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    deliveries = [eventbridge(order)]
    for minute in range(ROWS):
        detail = {
            "minute": (now - timedelta(minutes=minute)).isoformat(),
            "events": [{"type": "PaymentProcessed", "published": 1200}],
        }
        deliveries.append(eventbridge(f"{minute}-{order}", type_=MANIFEST_TYPE, detail=detail))
    for delivery in deliveries:
        assert call(api, EVENTBRIDGE, delivery.body).body["status"] == "stored"
    options = {"viewport": viewport, "bypass_csp": True}
    url = f"{stack.config.dashboard_url}?view=reconciliation"
    with opened(browser, url, name=request.node.name, **options) as dashboard:
        balances = dashboard.page.get_by_role("region", name="Balances")
        expect(balances.get_by_role("row").filter(has_text="1,200").nth(ROWS - 1)).to_be_visible()
        assert dashboard.overflow() <= 0
        assert dashboard.sideways() == []
        assert dashboard.violations() == []


def test_the_first_paint_takes_less_than_a_second(dashboard):
    def paints_in_time():
        dashboard.page.reload()
        dashboard.wait_until_live()
        first = dashboard.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        return first < FIRST_PAINT_MS

    eventually(paints_in_time, seconds=60)


def test_an_order_is_updated_live_in_the_list_and_on_its_page(dashboard, stack):
    """The order is open after its first leg, and mismatched as soon as another cloud reports another amount."""
    api, order = stack.config.api_url, uuid.uuid4().hex
    dashboard.page.get_by_role("link", name="Reconciliation").click()
    dashboard.page.get_by_role("button", name=re.compile("^All ")).click()
    assert call(api, EVENTBRIDGE, eventbridge(order).body).body["status"] == "stored"
    row = dashboard.page.locator(f"[data-row='order/ORD-{order}']")
    expect(row).to_contain_text("Open", timeout=PATIENCE_MS)

    row.click()
    expect(dashboard.page.get_by_role("heading", name=f"ORD-{order}")).to_be_visible(timeout=PATIENCE_MS)
    assert call(api, PUBSUB, payment(order, amount=7)).body["status"] == "stored"
    expect(dashboard.page.get_by_text("Mismatched", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(dashboard.page.get_by_role("region", name="Leg comparison")).to_contain_text("7")

    dashboard.page.get_by_role("link", name="All orders").click()
    expect(row).to_contain_text("Mismatched", timeout=PATIENCE_MS)


def test_a_dead_letter_is_fixed_and_replayed_as_its_event(dashboard, stack):
    api, order = stack.config.api_url, uuid.uuid4().hex
    whole = json.loads(eventbridge(order).body)
    broken = {name: value for name, value in whole.items() if name != "id"}
    assert call(api, EVENTBRIDGE, json.dumps(broken).encode()).status == 400
    dashboard.page.get_by_role("link", name="Dead letters").click()
    reasons = dashboard.page.get_by_role("region", name="By reason")
    expect(reasons.get_by_text("is missing").first).to_be_visible(timeout=PATIENCE_MS)
    dashboard.page.get_by_role("searchbox", name="Field").fill("id")
    expect(dashboard.page).to_have_url(re.compile("field=id"))

    dashboard.page.locator("[data-row]").first.click()
    drawer = dashboard.page.get_by_role("dialog", name="Dead letter")
    expect(drawer.get_by_role("region", name="Received body")).to_contain_text(order, timeout=PATIENCE_MS)
    drawer.get_by_role("textbox").fill(json.dumps(whole))
    drawer.get_by_role("button", name="Replay edited body").click()
    expect(drawer.get_by_text("The event is stored.")).to_be_visible(timeout=PATIENCE_MS)
    expect(drawer.get_by_role("region", name="Replay history")).to_be_visible(timeout=PATIENCE_MS)

    drawer.get_by_role("status").get_by_role("link", name=f"aws/{order}").click()
    event = dashboard.page.get_by_role("dialog", name="Event")
    expect(event.locator("pre")).to_contain_text(f"ORD-{order}", timeout=PATIENCE_MS)


def test_the_rules_of_a_flow_are_edited_previewed_and_put_in_force(dashboard, stack):
    """A flow of its own, so that no other test notices: its only leg has a type that nobody else sends."""
    api, name = stack.config.api_url, f"flow_{uuid.uuid4().hex[:8]}"
    type_, key = f"Counted{name}", f"SHELF-{name}"
    detail = {"order_id": key, "amount": 1}
    assert call(api, EVENTBRIDGE, eventbridge(key, type_=type_, detail=detail).body).body["status"] == "stored"
    text = (
        f'[[flow]]\nname = "{name}"\nkey = "order_id"\nwindow_seconds = 30\ngrace_seconds = 0\n\n'
        f'[[flow.leg]]\nname = "count"\nsource = "awz"\ntype = "{type_}"\n'
    )
    page = dashboard.page
    page.get_by_role("link", name="Rules").click()
    page.get_by_role("button", name="New flow").click()
    area = page.get_by_role("textbox", name="Rules as TOML")
    area.fill(text)
    with dashboard.refused(422):
        page.get_by_role("button", name="Save draft").click()
        mistakes = page.get_by_role("list", name="Mistakes")
        expect(mistakes).to_contain_text("Line 9: flow[0].leg[0].source", timeout=PATIENCE_MS)

    text = text.replace("awz", "aws")
    area.fill(text)
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_role("heading", name=f"Rules of {name}")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Preview the last 30 days").click()
    preview = page.get_by_role("region", name="Preview")
    expect(preview.get_by_role("row", name="No order Matched 1 1")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("dialog", name="Approve rules").get_by_role("button", name="Put in force").click()
    expect(page.get_by_text("The stored orders are evaluated by this version")).to_be_visible(timeout=PATIENCE_MS)

    # The event that was stored before, and one that comes now.
    again = eventbridge(f"{key}-2", type_=type_, detail={"order_id": f"{key}-2", "amount": 1})
    assert call(api, EVENTBRIDGE, again.body).body["status"] == "stored"
    flows = call(api, f"/api/v1/flows?flow={name}").body["items"]
    assert {(flow["key"], flow["status"]) for flow in flows} == {(key, "matched"), (f"{key}-2", "matched")}
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert download.value.path().read_text() == text
    assert download.value.suggested_filename == f"{name}.toml"


def test_stored_events_are_replayed_to_the_live_stream_and_counted_once(dashboard, stack):
    (key,) = post_events(stack.config.api_url)
    dashboard.wait_for_rows([key])
    order = f"ORD-{key[2]}"
    dashboard.page.goto(f"{stack.config.dashboard_url}/?last=1h&q={order}")
    dashboard.wait_for_rows([key])
    total = stack.stats().total_events
    dashboard.page.get_by_role("button", name="Replay these events").click()
    dialog = dashboard.page.get_by_role("dialog", name="Replay events")
    dialog.get_by_role("button", name="Replay 1", exact=True).click()
    expect(dialog.get_by_text("1 of 1 sent")).to_be_visible(timeout=PATIENCE_MS)
    dialog.get_by_role("button", name="Close").click()

    dashboard.page.get_by_role("button", name="Live", exact=True).click()
    expect(dashboard.row(key, replay=True)).to_be_visible(timeout=PATIENCE_MS)
    assert stack.stats().total_events == total


@pytest.fixture
def self_hosted(stack, tmp_path) -> Iterator[tuple[Api, str]]:
    """Another API on the same database, and a dashboard that is connected to it."""
    port = free_port()
    url = f"http://localhost:{port}"
    config = stack.config
    api = Api(
        database_url=postgres.url(config.postgres_port, config.credentials.postgres),
        redis_url=valkey.url(config.valkey_port, config.credentials.valkey),
        log=tmp_path / "api.log",
        dashboard_origin=url,
    )
    served = Command(
        "dashboard",
        [sys.executable, "-m", "local.demo.dashboard", "--port", str(port), "--api-url", api.url],
        env=scrubbed_environment(),
        ready=answers(f"http://{HOST}:{port}/"),
        log=tmp_path / "dashboard.log",
        cwd=ROOT,
    )
    with api, served:
        yield api, url


def test_a_restart_of_the_api_causes_no_gap_and_no_repeated_row(browser, self_hosted, stack, request):
    api, url = self_hosted
    with opened(browser, url, name=request.node.name) as dashboard:
        posted = post_events(stack.config.api_url, 5)
        dashboard.wait_for_rows(posted)
        api.kill()
        dashboard.wait_for_phase("waiting")
        posted += post_events(stack.config.api_url, 20)
        api.start()
        dashboard.wait_until_live()
        posted += post_events(stack.config.api_url, 5)
        dashboard.wait_for_rows(posted)
        dashboard.wait_for_total(stack.stats().total_events)

        keys = dashboard.rows()
        assert [key for key in reversed(keys) if key in posted] == posted
        assert dashboard.page.get_by_text("of the stream missed").count() == 0
        dashboard.faults.clear()  # the browser logs every request that failed during the restart
    assert call(api.url, "/api/v1/health").status == 200

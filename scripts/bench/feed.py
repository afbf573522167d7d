"""A server that only sends frames, to measure the cost of a busy stream in the page without the cost of Helios.

``python -m scripts.bench.feed RATE PAGE_PORT API_PORT`` serves the part of the API that the page uses, until it is
terminated.
"""

import asyncio
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import cycle, islice

import msgspec
from aiohttp import web

from helios.api.stream import GATHER_SECONDS
from helios.model.counts import Count
from helios.model.sources import BUILT_IN
from helios.model.stream import EventSummary, FlowChange, StreamFrame
from helios.processes.ports import HOST
from helios.services.relay import messages
from local.demo.dashboard import create_app
from local.stack.config import REPOSITORY

TYPES = {"aws": "OrderPlaced", "gcp": "PaymentProcessed", "azure": "InventoryReserved"}
HEALTH = {"database": "healthy", "redis": "healthy"} | dict.fromkeys(
    ("kafka", "log", "projector", "archive"), "disabled"
)


class Feed:
    """The stream, and the counts of the events that it sent."""

    def __init__(self, rate: float) -> None:
        """Build a feed with this many events per second."""
        self._each = max(1, round(rate * GATHER_SECONDS))
        self._sources = cycle(BUILT_IN)
        self.position = 0
        self.sent = dict.fromkeys(BUILT_IN, 0)

    def frame(self) -> StreamFrame:
        """The next frame, as Helios makes it of a batch with events of each cloud."""
        now = datetime.now(UTC)
        self.position += 1
        sources = list(islice(self._sources, self._each))
        for source in sources:
            self.sent[source] += 1
        counts = [
            Count(
                minute=now.replace(second=0, microsecond=0),
                source=source,
                type=TYPES[source],
                stored=sources.count(source),
            )
            for source in sorted(set(sources))
        ]
        orders = [f"ORD-{int(time.time() * 1000)}-{self.position * self._each + n:08}" for n in range(len(sources))]
        events = [
            EventSummary(
                source=source,
                producer="bench",
                id=order,
                type=TYPES[source],
                subject=None,
                time=now,
                received_at=now,
                order_id=order,
                customer_id="CUST-0001",
                amount=Decimal("99.90"),
            )
            for source, order in zip(sources, orders, strict=True)
        ]
        flows = [
            FlowChange(
                flow="order",
                key=order,
                status="matched",
                previous="open",
                issues=[],
                amount=Decimal("99.90"),
                opened_at=now - timedelta(seconds=1),
            )
            for order in orders
        ]
        return StreamFrame(
            position=self.position,
            published_at=now,
            counts=counts,
            events=events,
            flows=flows,
            flow_statuses={"order": {"matched": len(orders), "open": -len(orders)}},
        )

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Send frames until the page disconnects."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "position": self.position})
        due = time.monotonic()
        with suppress(ConnectionResetError):  # the page has disconnected
            while not socket.closed:
                for _, message in messages([self.frame()]):
                    await socket.send_str(message.decode())
                due += GATHER_SECONDS
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        return socket

    async def answer(self, request: web.Request) -> web.Response:
        """The other responses of the API: the counts, and no earlier events."""
        now = datetime.now(UTC)
        empty_page: dict[str, object] = {"items": [], "next_cursor": None}
        known: dict[str, object] = {
            "stats": {
                "position": self.position,
                "total_events": sum(self.sent.values()),
                "events_by_source": self.sent,
                "last_24h": sum(self.sent.values()),
                "duplicates": 0,
                "contradictory": 0,
                "rejected": 0,
                "health": HEALTH,
            },
            "health/detailed": {"status": "healthy", "uptime": 60.0, "timestamp": now, "reasons": {}} | HEALTH,
            "counts": {"since": now - timedelta(minutes=16), "until": now, "minutes": []},
            "ws/tickets": {"ticket": "feed", "expires_in": 30},
            "frames": {"frames": [], "position": self.position, "oldest": self.position + 1},
        }
        body = known.get(request.match_info["path"], empty_page)
        allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json", headers=allowed)


async def serve(rate: float, page_port: int, api_port: int) -> None:
    """Serve the built dashboard on one port, and the feed on the other."""
    feed = Feed(rate)
    api_url = f"http://{HOST}:{api_port}"
    api = web.Application()
    api.router.add_get("/api/v1/ws/events", feed.watch)
    api.router.add_route("*", "/api/v1/{path:.*}", feed.answer)
    page = create_app(REPOSITORY / "dashboard" / "dist", api_url=api_url)
    for app, port in ((page, page_port), (api, api_port)):
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))

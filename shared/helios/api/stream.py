"""The live stream for those who watch: WebSocket clients of this process, and frames for who missed some."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from helios.api.access import Access, Caller
from helios.api.metrics import Door
from helios.api.replies import documented, problem, reply
from helios.api.shapes import FramePage, Notified, Ticket
from helios.auth.authenticator import Refused
from helios.auth.secret import SecretHeader
from helios.errors import Retryable
from helios.model.tokens import TICKET_SECONDS
from helios.ports.access import Tickets
from helios.ports.stream import Listener, Notifier, Outbox
from helios.services.relay import BATCH, messages
from helios.settings import Settings

log = logging.getLogger("helios.live")

POLL_SECONDS = 5.0
"""How long to sleep without a bell: one that was lost costs no more than this."""

GATHER_SECONDS = 0.02
"""Pause after a message, in which the next one grows: 200 clients times 50 messages a second are enough."""

MAX_BACKLOG = 256
"""Messages that may wait for a slow client before it is dropped; it comes back and catches up from frames."""

CLOSE_SECONDS = 1.0
"""How long a client that is dropped may take to read why: one that reads nothing never would."""

MAX_PAGE = BATCH


class _Client:
    """One watcher, and what waits to be sent to it."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.backlog: asyncio.Queue[str] = asyncio.Queue(MAX_BACKLOG)
        self.dropped = asyncio.Event()


class Hub:
    """Everybody who watches through this process; only the event loop's thread touches it."""

    def __init__(self) -> None:
        self.position = 0
        self._clients: set[_Client] = set()

    @property
    def clients(self) -> int:
        """How many watch."""
        return len(self._clients)

    def publish(self, message: str, position: int) -> None:
        """Queue a message for every client, and drop those that have stopped reading."""
        self.position = position
        for client in self._clients:
            if client.backlog.full():
                client.dropped.set()
            else:
                client.backlog.put_nowait(message)

    async def serve(self, socket: WebSocket, position: int) -> None:
        """Keep one client served until it leaves or falls behind.

        Args:
            socket: the client's.
            position: the stream's now: where to begin if nobody watched so far.
        """
        await socket.accept()
        if not self._clients:
            self.position = position
        client = _Client(socket)
        client.backlog.put_nowait(_text({"type": "hello", "position": self.position}))
        self._clients.add(client)
        work = {
            asyncio.create_task(coroutine)
            for coroutine in (self._send(client), self._answer(client), client.dropped.wait())
        }
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            self._clients.discard(client)
            if client.dropped.is_set():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close(WS_1013_TRY_AGAIN_LATER, "too slow: reconnect, and catch up from /api/v1/frames")
            for task in done:
                task.result()
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            pass  # it has gone, or does not read: what it missed, it asks for
        finally:
            self._clients.discard(client)
            for task in work:
                task.cancel()

    async def _send(self, client: _Client) -> None:
        while True:
            await client.socket.send_text(await client.backlog.get())

    async def _answer(self, client: _Client) -> None:
        """A ping is answered with the position; anything else is not ours to understand."""
        while True:
            message = await client.socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if '"ping"' in (message.get("text") or ""):  # none: it was binary
                await client.socket.send_text(_text({"type": "pong", "position": self.position}))


class Follower:
    """Follows the outbox in a thread of its own while somebody watches, and hands what is new to the hub."""

    def __init__(self, outbox: Outbox, listener: Listener, hub: Hub) -> None:
        self._outbox = outbox
        self._listener = listener
        self._hub = hub
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End before long."""
        self._stopping.set()

    def _run(self) -> None:
        position: int | None = None
        while not self._stopping.is_set():
            try:
                if self._hub.clients:
                    position = self._pass_on(self._hub.position if position is None else position)
                else:
                    position = None  # whoever comes first says where to begin
                self._listener.wait(POLL_SECONDS)
            except Retryable as error:
                log.warning("the live stream is interrupted", extra={"error": str(error)})
                self._stopping.wait(1)
            except Exception:  # a defect must not end the live stream of a process that goes on to serve
                log.exception("the live stream is interrupted")
                self._stopping.wait(1)
        self._listener.close()

    def _pass_on(self, position: int) -> int:
        self._outbox.number()
        latest = self._outbox.window().position
        if latest < position:  # the database was restored: whoever watches is to load everything anew
            log.warning("the stream began anew", extra={"before": position, "position": latest})
            position = min(latest, self._hub.position)  # or who has come since misses what was published since
            greeting = _text({"type": "hello", "position": position})
            self._loop.call_soon_threadsafe(self._hub.publish, greeting, position)
        while frames := self._outbox.frames(after=position, limit=BATCH):
            for last, message in messages(frames):
                self._loop.call_soon_threadsafe(self._hub.publish, message.decode(), last)
            position = frames[-1].position
            self._stopping.wait(GATHER_SECONDS)
            self._outbox.number()
        return position


def frames_router(outbox: Outbox) -> APIRouter:
    """The route for who missed some of the live stream."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.get("/frames", responses=documented(200, "FramePage", 401, 403, 422, 429, 503))
    def frames(
        after: Annotated[int, Query(ge=0, lt=2**63, description="The last position that was seen")] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most frames on this page")] = 100,
    ) -> Response:
        """List the frames that follow a position; there is a gap if ``after + 1`` is less than ``oldest``."""
        outbox.number()
        window = outbox.window()
        found = outbox.frames(after=after, limit=limit)
        return reply(FramePage(frames=found, position=window.position, oldest=window.oldest))

    return routes


def router(
    outbox: Outbox,
    notifier: Notifier,
    hub: Hub,
    access: Access,
    settings: Settings,
    *,
    count: Callable[[Door, str, str], None],
) -> APIRouter:
    """The live stream itself, and the bell that wakes it; ``count`` is told who rings."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])
    ringers = SecretHeader([f"Bearer {secret}" for secret in (settings.notify_secret or "").split()], "authorization")

    def latest() -> int:
        outbox.number()
        return outbox.window().position

    @routes.post("/relay/notify", status_code=202, responses=documented(202, "Rung", 401, 503))
    def notify(request: Request, authorization: Annotated[str, Header()] = "") -> Response:  # noqa: ARG001 - for OpenAPI
        """Wake the relay from another cloud: what a function there has stored is shown now, not within a minute."""
        try:
            ringers.check(request.headers, b"")
        except Refused as error:
            count("ring", "secret", error.code)
            raise
        count("ring", "secret", "admitted")
        notifier.notify()
        return reply(Notified(status="rung"), status=202)

    @routes.websocket("/ws/events")
    async def events(socket: WebSocket) -> None:
        """Send frames as they come."""
        try:
            await access.may_watch(socket)
        except Refused as error:
            await socket.close(WS_1008_POLICY_VIOLATION, error.reason)
        else:
            await hub.serve(socket, await run_in_threadpool(latest))

    return routes


def _text(message: object) -> str:
    return msgspec.json.encode(message).decode()


def tickets_router(tickets: Tickets | None, access: Access) -> APIRouter:
    """The route that issues tickets: what a browser shows in place of a token, since it can send no header."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.post("/ws/tickets", status_code=201, responses=documented(201, "Ticket", 401, 403, 429, 503))
    async def issue(caller: Annotated[Caller, Depends(access.needs("read"))]) -> Response:
        """Issue a ticket that opens one WebSocket, once and soon: ``?ticket=``, where a token would end up in logs."""
        if tickets is None:
            return problem(503, "Tickets are kept in Redis, and HELIOS_REDIS_URL is not set")
        ticket = await run_in_threadpool(tickets.issue, caller.name)
        return reply(Ticket(ticket=ticket, expires_in=TICKET_SECONDS), status=201)

    return routes

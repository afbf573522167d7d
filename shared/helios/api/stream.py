"""The live stream: WebSocket clients of this process, and the frames that a client has missed."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool
from starlette.status import WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from helios.api.access import Access, Caller, ViewDependency
from helios.api.openapi import RELAY_SECRET, proved_by
from helios.api.replies import problem, reply, responses
from helios.auth.authenticator import Refused
from helios.auth.secret import SecretHeader
from helios.errors import Retryable
from helios.model.access import Visibility
from helios.model.stream import Hello, Message, Pong, Reached, StreamFrame
from helios.model.tokens import TICKET_SECONDS, TicketHolder
from helios.ports.access import Tickets
from helios.ports.stream import Listener, Notifier, Outbox
from helios.services.relay import BATCH, SAMPLE_SECONDS, SAMPLED, messages, sampled
from helios.services.views import View, Views
from helios.settings import Settings
from helios.shapes import WEBSOCKET_PATH, FramePage, Notified, Ticket

log = logging.getLogger("helios.live")

POLL_SECONDS = 5.0
"""Longest wait for a notification, and so the longest delay that a lost notification causes."""

GATHER_SECONDS = 0.02
"""Pause after a message, in which frames for the next one gather: 50 messages a second to 200 clients are enough."""

MAX_BACKLOG = 256
"""Messages that may wait for a slow client before it is dropped; it reconnects, and catches up from /frames."""

CLOSE_SECONDS = 1.0
"""Longest wait for a dropped client to read the close frame; a client that has stopped reading never reads it."""

MAX_PAGE = BATCH


class _Client:
    """A WebSocket client, and its queue of messages."""

    def __init__(self, socket: WebSocket, visibility: Visibility) -> None:
        self.socket = socket
        self.visibility = visibility
        self.backlog: asyncio.Queue[str] = asyncio.Queue(MAX_BACKLOG)
        self.dropped = asyncio.Event()


class Broadcaster:
    """Sends messages to the WebSocket clients of this process; only the event loop's thread uses it."""

    def __init__(self) -> None:
        self.position = 0
        self.beginnings = 0
        """How often a client has come that was the only one: it sets the position."""
        self._clients: set[_Client] = set()

    @property
    def client_count(self) -> int:
        """The number of clients."""
        return len(self._clients)

    def visibilities(self) -> set[Visibility]:
        """What the clients may see. Other threads may call it: a client that connects meanwhile may be left out."""
        return {client.visibility for client in tuple(self._clients)}

    def publish(self, messages: Mapping[Visibility, Sequence[str]], position: int) -> None:
        """Queue the messages for every client that may see them, and drop the clients whose queue is full.

        A client without messages of its own gets the position: it then reads the frames from /api/v1/frames.
        """
        self.position = position
        only_position = [_text(Reached(position=position))]
        for client in self._clients:
            for message in messages.get(client.visibility, only_position):
                if client.backlog.full():
                    client.dropped.set()
                else:
                    client.backlog.put_nowait(message)

    def reset(self, position: int) -> None:
        """Send every client a new greeting: the stream was reset to this position."""
        hello = [_text(Hello(position=position))]
        self.publish(dict.fromkeys(self.visibilities(), hello), position)

    async def serve(self, socket: WebSocket, visibility: Visibility, position: int) -> None:
        """Serve one client until it disconnects or falls behind.

        Args:
            socket: the client's socket.
            visibility: what the client may see.
            position: the stream's current position, from which to start if this is the first client.
        """
        await socket.accept()
        if not self._clients:
            self.position = position
            self.beginnings += 1
        client = _Client(socket, visibility)
        client.backlog.put_nowait(_text(Hello(position=self.position)))
        self._clients.add(client)
        tasks = {
            asyncio.create_task(coroutine)
            for coroutine in (self._send(client), self._answer(client), client.dropped.wait())
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._clients.discard(client)
            if client.dropped.is_set():
                async with asyncio.timeout(CLOSE_SECONDS):
                    await socket.close(
                        WS_1013_TRY_AGAIN_LATER, "Too slow. Reconnect, and catch up from /api/v1/frames."
                    )
            for task in done:
                task.result()
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            pass  # the client has disconnected or does not read; it gets the frames it missed from /api/v1/frames
        finally:
            self._clients.discard(client)
            for task in tasks:
                task.cancel()

    async def _send(self, client: _Client) -> None:
        while True:
            await client.socket.send_text(await client.backlog.get())

    async def _answer(self, client: _Client) -> None:
        """Answer each ping with the position, and ignore any other message."""
        while True:
            message = await client.socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if '"ping"' in (message.get("text") or ""):  # None: a binary message
                await client.socket.send_text(_text(Pong(position=self.position)))


class OutboxFollower:
    """Reads new frames from the outbox in its own thread while there are clients, and broadcasts them."""

    def __init__(
        self, outbox: Outbox, listener: Listener, broadcaster: Broadcaster, views: Views, *, sample_above: int
    ) -> None:
        self._outbox = outbox
        self._sample_above = sample_above
        self._views = views
        self._listener = listener
        self._broadcaster = broadcaster
        self._beginnings = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end soon."""
        self._stopping.set()

    def _run(self) -> None:
        position = 0
        while not self._stopping.is_set():
            try:
                if self._broadcaster.client_count:
                    position = self._broadcast(position)
                self._listener.wait(POLL_SECONDS)
            except Retryable as error:
                log.warning("live stream interrupted, retrying", extra={"error": str(error)})
                self._stopping.wait(1)
            except Exception:  # a bug must not end the live stream of a process that still serves requests
                log.exception("live stream interrupted, retrying")
                self._stopping.wait(1)
        self._listener.close()

    def _place(self, position: int) -> int:
        """Where to continue after this position: where the first client began, if it has come since the last call."""
        if self._beginnings == self._broadcaster.beginnings:
            return position
        self._beginnings = self._broadcaster.beginnings
        return self._broadcaster.position

    def _broadcast(self, position: int) -> int:
        self._outbox.number()
        position = self._place(position)
        latest = self._outbox.window().position
        if latest < position:  # the database was restored: the clients have to reload everything
            log.warning("the stream was reset", extra={"before": position, "position": latest})
            # Not simply latest: a client that has connected since must not miss what was published since.
            position = min(latest, self._broadcaster.position)
            self._loop.call_soon_threadsafe(self._broadcaster.reset, position)
        while frames := self._outbox.frames(after=position, limit=SAMPLED if self._is_crowded else BATCH):
            is_sampled = self._is_crowded
            position = frames[-1].position
            by_visibility = {
                each: self._messages(each, frames, is_sampled=is_sampled) for each in self._broadcaster.visibilities()
            }
            self._loop.call_soon_threadsafe(self._broadcaster.publish, by_visibility, position)
            self._stopping.wait(SAMPLE_SECONDS if is_sampled else GATHER_SECONDS)
            self._outbox.number()
            position = self._place(position)
        return position

    @property
    def _is_crowded(self) -> bool:
        return self._broadcaster.client_count > self._sample_above

    def _messages(self, visibility: Visibility, frames: Sequence[StreamFrame], *, is_sampled: bool) -> list[str]:
        view = self._views(visibility)
        visible = [view.frame(frame) for frame in frames]
        return [message.decode() for _, message in messages(sampled(visible) if is_sampled else visible)]


def frames_router(view: ViewDependency) -> APIRouter:
    """The route that lists frames, for a client that has missed some."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.get("/frames", responses=responses(200, "FramePage", 401, 403, 422, 429, 503))
    def list_frames(
        reader: Annotated[View, Depends(view)],
        after: Annotated[int, Query(ge=0, lt=2**63, description="The last position that the client has seen")] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of frames on this page")] = 100,
    ) -> Response:
        """List the frames after a position. Frames are missing if ``after + 1`` is less than ``oldest``."""
        window = reader.window()
        page = reader.frames(after=after, limit=limit)
        return reply(FramePage(frames=page, position=window.position, oldest=window.oldest))

    return routes


def router(
    outbox: Outbox,
    notifier: Notifier,
    broadcaster: Broadcaster,
    access: Access,
    settings: Settings,
    *,
    count: Callable[[str, str, str], None],
) -> APIRouter:
    """The WebSocket of the live stream, and the route that wakes the relay; ``count`` counts the latter."""
    routes = APIRouter(tags=["live"])
    secret_header = SecretHeader(
        [f"Bearer {secret}" for secret in (settings.notify_secret or "").split()], "authorization"
    )

    def latest() -> int:
        outbox.number()
        return outbox.window().position

    @routes.post(
        "/api/v1/relay/notify",
        status_code=202,
        responses=responses(202, "Notified", 401, 503),
        openapi_extra=proved_by(RELAY_SECRET),
    )
    def notify_relay(request: Request, authorization: Annotated[str, Header()] = "") -> Response:  # noqa: ARG001 - for OpenAPI
        """Wake the relay from another cloud, so that clients see its events now and not within a minute."""
        try:
            secret_header.check(request.headers, b"")
        except Refused as error:
            count("notify", "secret", error.code)
            raise
        count("notify", "secret", "admitted")
        notifier.notify()
        return reply(Notified(status="notified"), status=202)

    @routes.websocket(WEBSOCKET_PATH)
    async def events(socket: WebSocket) -> None:
        """Send new frames to the client."""
        try:
            visibility = await access.authorize_websocket(socket)
        except Refused as error:
            await socket.close(WS_1008_POLICY_VIOLATION, error.reason)
        else:
            await broadcaster.serve(socket, visibility, await run_in_threadpool(latest))

    return routes


def _text(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def tickets_router(tickets: Tickets | None, access: Access) -> APIRouter:
    """The route that issues tickets, which a browser uses in place of a token: its WebSockets can't send headers."""
    routes = APIRouter(prefix="/api/v1", tags=["live"])

    @routes.post("/ws/tickets", status_code=201, responses=responses(201, "Ticket", 401, 403, 429, 503))
    async def issue_ticket(caller: Annotated[Caller, Depends(access.require("read", narrows=True))]) -> Response:
        """Issue a ticket for ``?ticket=`` that opens one WebSocket, once. A token in a URL would end up in logs."""
        if tickets is None:
            return problem(503, "Tickets need Redis, and HELIOS_REDIS_URL is not set.")
        ticket = await run_in_threadpool(tickets.issue, TicketHolder(name=caller.name, visibility=caller.visibility))
        return reply(Ticket(ticket=ticket, expires_in=TICKET_SECONDS), status=201)

    return routes

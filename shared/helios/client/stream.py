"""The live stream as a client reads it: every frame once and in order, through restarts and lost connections."""

import time
from collections.abc import Callable, Iterator
from typing import get_args
from urllib.parse import urlencode

import msgspec

from helios.client.connection import Connection, decoder
from helios.client.errors import ApiError
from helios.errors import UNREADABLE
from helios.model.stream import Hello, Message, NewFrames, Pong, Reached, StreamFrame
from helios.shapes import FramePage, Ticket

RETRY_SECONDS = 2.0
"""Pause after a failed request or a lost connection."""

OPEN_SECONDS = 15.0
"""Longest wait for a WebSocket to open."""

MAX_FRAMES = 500
"""Most frames on one of the API's pages."""

Note = Callable[[str], None]
"""Takes a sentence about what a reader can't see from the frames: an unavailable API, or frames that are gone."""


class _Kind(msgspec.Struct, frozen=True):
    type: str


_KNOWN = {struct.__struct_config__.tag for struct in get_args(Message)}


class Reader:
    """Reads the stream from one position on.

    Attributes:
        position: the position of the last frame that was read.
    """

    def __init__(self, connection: Connection, position: int, note: Note) -> None:
        """Start after a position."""
        self.position = position
        self._connection = connection
        self._note = note

    def poll(self, pause_seconds: float) -> Iterator[StreamFrame]:
        """Every frame, by requests with a pause between two while nothing happens.

        Raises:
            ApiError: the API refuses the request, so that no later one would succeed.
        """
        while True:
            before = self.position
            try:
                yield from self._stored()
            except ApiError as error:
                self._wait_after(error)
                continue
            if self.position == before:
                time.sleep(pause_seconds)

    def listen(self, url: str) -> Iterator[StreamFrame]:
        """Every frame, as the WebSocket at this address announces it.

        Raises:
            ApiError: the API refuses the connection, so that no later one would succeed.
        """
        while True:
            try:
                for message in _messages(self._connection, url):
                    yield from self._received(message)
            except ApiError as error:
                self._wait_after(error)
            else:
                self._note(f"the stream was closed; opening it again in {RETRY_SECONDS:g} s")
                time.sleep(RETRY_SECONDS)

    def _received(self, message: Message) -> Iterator[StreamFrame]:
        match message:
            case NewFrames(frames=frames):
                for frame in frames:
                    if frame.position > self.position + 1:
                        yield from self._stored()
                    elif frame.position == self.position + 1:
                        self.position = frame.position
                        yield frame
            case Hello(position=position) if position < self.position:
                self._note(f"the stream was reset from position {self.position} to {position}")
                self.position = position
            case Hello() | Reached() | Pong():
                if message.position > self.position:
                    yield from self._stored()

    def _stored(self) -> Iterator[StreamFrame]:
        """The frames after the position, up to the stream's latest."""
        while frames := page(self._connection, self.position).frames:
            for frame in frames:
                if missed := frame.position - self.position - 1:
                    self._note(f"{missed} frames are missing: the API has deleted them already")
                self.position = frame.position
                yield frame

    def _wait_after(self, error: ApiError) -> None:
        if not error.is_temporary:
            raise error
        self._note(f"{error}; retrying in {RETRY_SECONDS:g} s")
        time.sleep(error.retry_after_seconds or RETRY_SECONDS)


def page(connection: Connection, after: int) -> FramePage:
    """The frames after a position, and the part of the stream that is still stored.

    Raises:
        ApiError: see ``Connection.get``.
    """
    return connection.get("frames", FramePage, after=after, limit=MAX_FRAMES)


def ticket(connection: Connection) -> Ticket:
    """A ticket that opens one WebSocket, once.

    Raises:
        ApiError: see ``Connection.get``.
    """
    return connection.post("ws/tickets", None, decoder(Ticket))


def _messages(connection: Connection, url: str) -> Iterator[Message]:
    """The messages of one connection, until the API closes it; without those of types that a later version adds.

    Raises:
        ApiError: the connection can't be opened, or breaks, or is not one of Helios.
    """
    # Imported late: only this needs the library.
    from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect

    if connection.token:
        url = f"{url}?{urlencode({'ticket': ticket(connection).ticket})}"
    try:
        with connect(url, open_timeout=OPEN_SECONDS, max_size=None) as socket:
            for text in socket:
                if msgspec.json.decode(text, type=_Kind).type in _KNOWN:
                    yield msgspec.json.decode(text, type=Message)
    except InvalidStatus as error:
        status = error.response.status_code
        raise ApiError(f"{connection.url} refuses the WebSocket with {status}", status=status) from error
    except UNREADABLE as error:
        raise ApiError(f"a message of {connection.url} is not one of Helios' API: {error}") from error
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosedError) as error:
        raise ApiError(f"the stream of {connection.url} is interrupted: {error}") from error

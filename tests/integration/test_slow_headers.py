"""A client that sends the header of a request too slowly is cut off, and no other one is."""

import asyncio
import re
import socket
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import uvicorn

from helios.api import server
from helios.processes.ports import HOST
from tests.support.client import EVENTBRIDGE, call
from tests.support.deliveries import eventbridge

SECONDS = 1.0
"""The limit in these tests."""

PATIENCE_SECONDS = 30


async def application(scope, receive, send) -> None:
    """Reads the body of a request, and answers."""
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def answered(*pieces: bytes, pause: float, idle: float = 0.0) -> bytes:
    """All that the server sends to a client that sends these pieces, until it closes the connection.

    Args:
        pieces: sent one after the other; the last one is repeated for most of SECONDS. The client then only reads: what
            it sent after the server has closed the connection could cost it the answer.
        pause: seconds between two pieces.
        idle: seconds for which nothing is sent before the last piece.
    """
    config = uvicorn.Config(
        application, http="helios.api.server:DeadlineProtocol", lifespan="off", ws="none", log_level="critical"
    )
    config.load()
    running = uvicorn.Server(config)
    running.lifespan = config.lifespan_class(config)
    listener = socket.create_server((HOST, 0))
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    received = asyncio.create_task(reader.read())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for piece in pieces[:-1]:
                writer.write(piece)
                await asyncio.sleep(pause)
            await asyncio.sleep(idle)
            for _ in range(int(0.8 * SECONDS / pause)):
                writer.write(pieces[-1])
                await asyncio.sleep(pause)
            return await received
    finally:
        writer.close()
        running.should_exit = True
        await serving


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(server, "HEADER_SECONDS", SECONDS)


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ((b"GET / HTTP/1.1\r\nx: ", b"a"), [b"408"]),
        ((b"\r\n",), [b"408"]),
        ((REQUEST, b"\r\n"), [b"200", b"408"]),
        ((REQUEST, b"GET / HTTP/1.1\r\nx: ", b"a"), [b"200", b"408"]),
    ],
    ids=["never ends", "only line breaks", "line breaks after a request", "the second request never ends"],
)
def test_a_header_that_does_not_arrive_in_time_is_answered_408(pieces, answers):
    received = asyncio.run(answered(*pieces, pause=SECONDS / 10))

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == answers


def test_a_body_may_take_longer_than_a_header():
    head = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n"
    assert b"200" in asyncio.run(answered(head, b"a", b"a", b"a", pause=SECONDS / 2))


def test_a_connection_that_is_idle_between_requests_keeps_its_time():
    """The time of the second header starts with its first byte."""
    last = REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    received = asyncio.run(answered(REQUEST, last, pause=SECONDS / 1.5, idle=2 * SECONDS))

    assert received.count(b"HTTP/1.1 200") == 2


def test_the_api_is_served_with_this_limit(api):
    """A connection without a request is closed, while another client is served."""
    with closing(socket.create_connection((HOST, urlsplit(api.url).port or 0))) as connection:
        connection.settimeout(2 * server.HEADER_SECONDS + 30)
        assert call(api.url, EVENTBRIDGE, eventbridge().body).status == 202
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")

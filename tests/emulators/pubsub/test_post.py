"""The client of push requests, against servers with the different forms of an HTTP response."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from helios.processes.ports import HOST, free_port
from local.emulators.pubsub.post import Poster

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def against(serve: Serve, post: Callable[[str, Poster], Awaitable[list[int]]]) -> list[int]:
    """The statuses of the posts to a server that runs ``serve`` for each connection."""
    serving: set[asyncio.Task[None] | None] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        await serve(reader, writer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve_one, HOST, 0)
    poster = Poster()
    try:
        return await post(f"http://{HOST}:{server.sockets[0].getsockname()[1]}", poster)
    finally:
        poster.close()
        server.close()
        await asyncio.gather(*filter(None, serving))
        await server.wait_closed()


def posted(answer: bytes, *, times: int = 1, stays_open: bool = True) -> tuple[list[int], int]:
    """The statuses of ``times`` posts, one after the other, and the number of connections that they used."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"POST /push?a=b HTTP/1.1\r\n")
                assert await reader.readexactly(4) == b"body"
                writer.write(answer)
                if not stays_open:
                    break
        except asyncio.IncompleteReadError:
            pass  # the client closed it

    async def post(url: str, poster: Poster) -> list[int]:
        return [await poster.post(f"{url}/push?a=b", b"body", {"x-name": "value"}, seconds=5) for _ in range(times)]

    return asyncio.run(against(serve, post)), connections


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n", 500),
    ],
    ids=["no body", "length", "chunked", "early hints"],
)
def test_a_connection_is_reused_for_the_next_request(answer, status):
    assert posted(answer, times=3) == ([status] * 3, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        b"HTTP/1.0 200 OK\r\n\r\nOK",
    ],
    ids=["announced", "unannounced", "end of the body"],
)
def test_a_connection_that_the_endpoint_closes_is_replaced(answer):
    assert posted(answer, times=3, stays_open=False) == ([200, 200, 200], 3)


def test_the_status_102_is_a_complete_answer():
    """Pub/Sub takes 102 as an acknowledgement, and a final response may never follow."""
    assert posted(b"HTTP/1.1 102 Processing\r\n\r\n", times=2) == ([102, 102], 2)


@pytest.mark.parametrize("answer", [b"hello\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_an_invalid_answer_is_an_error(answer):
    with pytest.raises(ConnectionError):
        posted(answer, stays_open=False)


def test_a_post_to_an_endpoint_that_does_not_answer_times_out():
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def post(url: str, poster: Poster) -> list[int]:
        return [await poster.post(url, b"", {}, seconds=0.2)]

    with pytest.raises(TimeoutError):
        asyncio.run(against(serve, post))


def test_a_post_to_an_unreachable_endpoint_is_an_error():
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(Poster().post(f"http://{HOST}:{free_port()}/", b"", {}, seconds=5))

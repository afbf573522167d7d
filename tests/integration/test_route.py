"""The wait of a new instance until its network lets it reach Postgres."""

import socket
import threading
import time

import pytest

from helios.adapters.postgres.connection import await_route
from helios.processes.ports import HOST, free_port


def test_a_server_that_listens_is_reached_at_once(database_url):
    started = time.monotonic()
    assert await_route(database_url, seconds=120)
    assert time.monotonic() - started < 60


def test_the_wait_ends_when_the_server_can_be_reached():
    """The port of the server opens while the instance waits."""
    port = free_port()
    opened = threading.Event()

    def serve() -> None:
        with socket.create_server((HOST, port)) as server:
            opened.set()
            server.accept()[0].close()

    server = threading.Timer(0.5, serve)
    server.start()
    assert await_route(f"postgresql://helios@{HOST}:{port}/helios", seconds=10)
    assert opened.wait(10)
    server.join()


def test_one_of_several_servers_is_enough(database_url):
    reachable = database_url.partition("@")[2].partition("/")[0]
    assert await_route(f"postgresql://helios@{HOST}:{free_port()},{reachable}/helios", seconds=10)


def test_the_wait_is_bounded():
    started = time.monotonic()
    assert not await_route(f"postgresql://helios@{HOST}:{free_port()}/helios", seconds=0.5)
    assert 0.5 <= time.monotonic() - started < 60


@pytest.mark.parametrize("url", ["postgresql://[helios", "postgresql:///helios?host=a,b&port=1,2,3"])
def test_an_invalid_url_ends_the_wait(url):
    assert not await_route(url, seconds=10)

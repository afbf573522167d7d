"""Failures with wrong tokens never lock out a valid token or ticket."""

import asyncio
import threading

import httpx2 as httpx
import msgspec
import pytest
from starlette.websockets import WebSocketDisconnect

from helios.api import access, create_app
from helios.settings import Settings
from tests.fakes.store import MemoryStore
from tests.support.services import bearer, client_of, in_memory
from tests.unit.test_access import provider

pytestmark = pytest.mark.usefixtures("within_a_minute")

SETTINGS = Settings(database_url="postgresql://nowhere", webhook_auth="closed", rate_per_minute=3)
STATS = "/api/v1/stats"
TICKETS = "/api/v1/ws/tickets"
STREAM = "ws://api.example/api/v1/ws/events"


def spend(client) -> None:
    """Fail from this address until the address has reached its limit."""
    statuses = [client.get(STATS, headers=bearer(f"guess{number}")).status_code for number in range(10)]
    assert statuses == [401] * 3 + [429] * 7


def test_failures_do_not_lock_out_a_token_that_the_process_has_not_seen():
    """Many clients share one address behind a NAT, a VPN or a proxy."""
    with client_of(in_memory(MemoryStore(), SETTINGS), url="http://api.example", sender="192.0.2.1") as client:
        spend(client)

        assert client.get(STATS, headers=bearer("read")).status_code == 200


def test_failures_do_not_lock_out_a_new_ticket():
    """The live stream of every dashboard behind the address needs a ticket for each connection."""
    services = in_memory(MemoryStore(), SETTINGS)
    with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
        spend(client)
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"{STREAM}?ticket=guess"):
            pass

        ticket = client.post(TICKETS, headers=bearer("read")).json()["ticket"]
        with client.websocket_connect(f"{STREAM}?ticket={ticket}") as socket:
            assert socket.receive_json()["type"] == "hello"


def test_failures_do_not_lock_out_a_person_whose_token_the_process_has_not_seen():
    """The signature of a provider's token can't be guessed either."""
    with provider(scope="helios.read") as (settings, header):
        services = in_memory(MemoryStore(), msgspec.structs.replace(settings, rate_per_minute=3))
        with client_of(services, url="http://api.example", sender="192.0.2.1") as client:
            spend(client)

            assert client.get(STATS, headers=header).status_code == 200


def test_a_flood_of_guesses_is_looked_up_a_few_at_a_time(monkeypatch):
    """The limit of concurrent look-ups protects Postgres, in place of the count of an address' failures."""
    services = in_memory(MemoryStore(), msgspec.structs.replace(SETTINGS, rate_per_minute=1000))
    lock, running, most = threading.Lock(), 0, 0
    full = threading.Event()

    def use(*_: object) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == access.MAX_CHECKS:
                full.set()
        full.wait(10)
        with lock:
            running -= 1

    monkeypatch.setattr(services.tokens, "use", use)

    async def flood() -> list[int]:
        transport = httpx.ASGITransport(create_app(services), client=("192.0.2.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
            answers = await asyncio.gather(
                *(client.get(STATS, headers=bearer(f"guess{number}")) for number in range(4 * access.MAX_CHECKS))
            )
        return [answer.status_code for answer in answers]

    assert asyncio.run(flood()) == [401] * 4 * access.MAX_CHECKS
    assert most == access.MAX_CHECKS

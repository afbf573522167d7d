"""The memory of the API under load, as the kernel reports it."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.client import deliver, session
from tests.support.deliveries import eventbridge

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="VmHWM exists on Linux only (man 5 proc)")

LIMIT_MIB = 200
CLIENTS = 64
SMALL = 2_000
LARGE = 100
LARGE_BYTES = 1_000_000


def peak_mib(pid: int) -> float:
    """The peak resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024


async def send(url: str, bodies: list[bytes]) -> None:
    """Send each body until it is acknowledged, with ``CLIENTS`` concurrent clients."""
    remaining = iter(bodies)

    async def client(opened) -> None:
        for body in remaining:
            await deliver(opened, body)

    async with session(url, clients=CLIENTS) as opened, asyncio.timeout(60):
        await asyncio.gather(*(client(opened) for _ in range(CLIENTS)))


def test_memory_stays_bounded_under_load(api, records):
    small = [eventbridge(f"small-{number}").body for number in range(SMALL)]
    large = [eventbridge(f"large-{number}", detail={"note": "x" * LARGE_BYTES}).body for number in range(LARGE)]
    asyncio.run(send(api.url, small + large))

    assert len(records.keys()) == SMALL + LARGE
    records.assert_exact()
    assert peak_mib(api.pid) < LIMIT_MIB

"""The health check is open to anyone: however often it is asked for, it costs one probe at a time."""

import asyncio
import threading

import pytest
from starlette.concurrency import run_in_threadpool

from helios.api import probes
from helios.api.probes import SharedProbe
from helios.errors import Retryable
from tests.fakes.store import MemoryStore
from tests.support.services import client_of, in_memory


class Probe:
    """A probe that notes its runs and their threads; it waits until ``go`` is set."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.away = False

    def __call__(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        assert self.go.wait(10)
        if self.away:
            raise Retryable("away")


@pytest.fixture
def probe() -> Probe:
    return Probe()


def test_concurrent_callers_share_one_probe(probe):
    """It runs on a thread of its own, and its result goes to all of them."""
    probe.away = True

    async def run() -> list[str | None]:
        shared = SharedProbe("database", probe, longest_seconds=10)
        callers = [asyncio.create_task(shared.reason()) for _ in range(200)]
        await asyncio.to_thread(probe.begun.wait, 10)
        probe.go.set()
        return await asyncio.gather(*callers)

    assert asyncio.run(run()) == ["away"] * 200
    assert len(probe.threads) == 1
    assert probe.threads[0].startswith("probe-database")


def test_a_flood_of_callers_leaves_the_threads_of_other_requests_free(probe):
    """While the component does not answer, a request that needs a thread gets one at once."""

    async def run() -> None:
        shared = SharedProbe("kafka", probe, longest_seconds=10)
        callers = [asyncio.create_task(shared.reason()) for _ in range(200)]
        await asyncio.to_thread(probe.begun.wait, 10)
        async with asyncio.timeout(5):
            assert await run_in_threadpool(lambda: "served") == "served"
        assert not any(caller.done() for caller in callers)
        probe.go.set()
        await asyncio.gather(*callers)

    asyncio.run(run())


def test_a_result_is_shared_for_a_moment_and_then_the_probe_runs_again(probe, monkeypatch):
    monkeypatch.setattr(probes, "SHARED_SECONDS", 600.0)
    probe.go.set()

    async def run() -> list[str | None]:
        shared = SharedProbe("redis", probe, longest_seconds=10)
        reasons = [await shared.reason()]
        probe.away = True
        reasons.append(await shared.reason())
        monkeypatch.setattr(probes, "SHARED_SECONDS", 0.0)
        reasons.append(await shared.reason())
        return reasons

    assert asyncio.run(run()) == [None, None, "away"]
    assert len(probe.threads) == 2


def test_a_probe_that_hangs_has_failed_and_is_not_started_again(probe):
    """A caller that comes later does not wait for it, and starts no other one."""

    async def run() -> list[str | None]:
        shared = SharedProbe("kafka", probe, longest_seconds=0.05)
        reasons = [await shared.reason()]
        async with asyncio.timeout(5):
            reasons.append(await shared.reason())
        await asyncio.to_thread(probe.begun.wait, 10)
        probe.go.set()
        return reasons

    assert asyncio.run(run()) == ["no answer within 0.05 s"] * 2
    assert len(probe.threads) == 1


def test_a_caller_that_gives_up_does_not_end_the_probe_of_the_others(probe):
    async def run() -> str | None:
        shared = SharedProbe("redis", probe, longest_seconds=10)
        leaving, staying = (asyncio.create_task(shared.reason()) for _ in range(2))
        await asyncio.to_thread(probe.begun.wait, 10)
        leaving.cancel()
        await asyncio.wait([leaving])
        probe.go.set()
        return await staying

    assert asyncio.run(run()) is None
    assert len(probe.threads) == 1


def test_a_defect_in_a_probe_is_not_shared(monkeypatch):
    """The next caller finds out whether it is still there."""
    runs = []

    def fails_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ZeroDivisionError

    async def run() -> str | None:
        shared = SharedProbe("redis", fails_once, longest_seconds=10)
        with pytest.raises(ZeroDivisionError):
            await shared.reason()
        return await shared.reason()

    assert asyncio.run(run()) is None


def test_the_api_probes_once_for_many_requests(caplog):
    """Both routes that show the health share the probes, and the log has one line for them."""

    class CountedStore(MemoryStore):
        probed = 0

        def probe(self) -> None:
            self.probed += 1
            raise Retryable("Postgres: away")

    store = CountedStore()
    with client_of(in_memory(store)) as client:
        answers = [client.get("/api/v1/health/detailed").json() for _ in range(10)]
        stats = client.get("/api/v1/stats").json()

    assert {answer["database"] for answer in answers} == {stats["health"]["database"]} == {"unhealthy"}
    assert store.probed <= 2
    assert [record.message for record in caplog.records].count("unhealthy") in {1, 2}

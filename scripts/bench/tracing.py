"""What the spans of ingest cost: batches with and without a tracer, in turns, in one process."""

import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import NamedTuple

import msgspec

from helios.adapters.otlp import COLLECT_SECONDS, OtlpTracer
from helios.adapters.postgres.connection import open_pool
from helios.adapters.postgres.unit_of_work import PostgresStore
from helios.adapters.redis.dedupe import RedisDedupeCache
from helios.model.events import Delivery
from helios.normalise.beside import MESSAGE_HEADER
from helios.processes.ports import HOST
from helios.services.ingest import ingest
from helios.services.tracing import traced
from scripts.bench.payloads import deliveries
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers

BATCH = 500
BLOCK = 10
"""Batches of which the time is taken together, and then that of as many of the other kind."""


class _Time(NamedTuple):
    """The time of a block: on the wall, of the CPU by the thread that stores the batches, and by the process."""

    wall: float
    own: float
    cpu: float


def measure(running: Servers, *, quick: bool) -> list[Table]:
    """The time of batches without spans, and with spans that are sent once a second, or without delay."""
    pool = open_pool(running.database_url, connections=2, timeout_seconds=30)
    dedupe = RedisDedupeCache(running.redis_url, ttl_seconds=600)
    store = PostgresStore(pool)

    def block(tracer: OtlpTracer | None) -> _Time:
        batches = [_with_contexts(deliveries(BATCH)) for _ in range(BLOCK)]
        wall, own, cpu = time.perf_counter(), time.thread_time(), time.process_time()
        for batch in batches:
            run = partial(ingest, batch, dedupe=dedupe, store=store)
            _ = traced(run, batch, tracer) if tracer else run()
        if tracer:
            tracer.close()  # sends what waits: the time contains all that the spans cost
        return _Time(time.perf_counter() - wall, time.thread_time() - own, time.process_time() - cpu)

    try:
        with _receiver() as url:
            rows = [
                _row(
                    name, block, partial(OtlpTracer, url, headers={}, resource={}, collect_seconds=seconds), quick=quick
                )
                for name, seconds in (("once a second", COLLECT_SECONDS), ("without delay", 0))
            ]
    finally:
        dedupe.close()
        pool.close()
    running.empty()
    return [
        Table(
            title=f"Spans, ms a batch of {BATCH} events with a context each",
            columns=("sent", "without", "with", "ratio", "ratio of CPU, thread", "ratio of CPU, process"),
            rows=rows,
            goal="goal: a ratio below 1.03",
        )
    ]


def _row(
    name: str, block: Callable[[OtlpTracer | None], _Time], tracer: Callable[[], OtlpTracer], *, quick: bool
) -> tuple[str, float, float, float, float, float]:
    """The medians of blocks without and with spans, in turns, and of the ratios of two neighbours."""
    block(None)
    pairs = []
    for number in range(8 if quick else 64):
        times = {is_traced: block(tracer() if is_traced else None) for is_traced in (number % 2 == 0, number % 2 == 1)}
        pairs.append((times[False], times[True]))
    return (
        name,
        1000 / BLOCK * median([without.wall for without, _ in pairs]),
        1000 / BLOCK * median([spans.wall for _, spans in pairs]),
        median([spans.wall / without.wall for without, spans in pairs]),
        median([spans.own / without.own for without, spans in pairs]),
        median([spans.cpu / without.cpu for without, spans in pairs]),
    )


def _with_contexts(batch: Sequence[Delivery]) -> list[Delivery]:
    """The deliveries, each from a span of its own."""
    return [
        msgspec.structs.replace(
            delivery,
            headers={MESSAGE_HEADER + "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"},
        )
        for delivery in batch
    ]


@contextmanager
def _receiver() -> Iterator[str]:
    """The endpoint of a collector in a process of its own, which discards what it takes."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(its,), daemon=True)
    process.start()
    try:
        yield f"http://{HOST}:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection, as a collector does

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _serve(port: Connection) -> None:
    with ThreadingHTTPServer((HOST, 0), _Handler) as server:
        port.send(server.server_port)
        server.serve_forever()

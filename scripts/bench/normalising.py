"""The CPU time of normalising a delivery, which does no I/O."""

import time

from helios.normalise import normalise
from scripts.bench.payloads import SHAPES, deliveries
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers


def measure(_running: Servers, *, quick: bool) -> list[Table]:
    """Microseconds per event, by payload."""
    count, repeats = (2_000, 5) if quick else (5_000, 15)
    rows = []
    for shape in SHAPES:
        batch = deliveries(count, shape)
        times = []
        for _ in range(repeats):
            started = time.process_time()
            for delivery in batch:
                normalise(delivery)
            times.append((time.process_time() - started) / count * 1e6)
        rows.append((shape, median(times), min(times)))
    return [
        Table(
            title="Normalising, µs of CPU time per event",
            columns=("payload", "median", "min"),
            rows=rows,
            goal="goal: at most 3",
        )
    ]

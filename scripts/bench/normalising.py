"""What it costs to understand a delivery, in processor time: nothing here waits for anything."""

import time

from helios.normalise import normalise
from scripts.bench.payloads import SHAPES, deliveries
from scripts.bench.report import Table, median
from scripts.bench.servers import Servers


def measure(_running: Servers, *, quick: bool) -> list[Table]:
    """Microseconds an event, by shape."""
    count, repeats = (2_000, 5) if quick else (5_000, 15)
    rows = []
    for shape in SHAPES:
        batch = deliveries(count, shape)
        times = []
        for _ in range(repeats):
            started = time.process_time()
            for one in batch:
                normalise(one)
            times.append((time.process_time() - started) / count * 1e6)
        rows.append((shape, median(times), min(times)))
    return [
        Table(
            title="Normalising, µs of processor time an event",
            columns=("shape", "median", "best"),
            rows=rows,
            goal="goal: at most 3",
        )
    ]

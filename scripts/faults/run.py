"""Runs the scenarios: injects a fault while orders are sent, removes it, and then checks every promise."""

import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from helios.errors import HeliosError
from helios.model.sources import BUILT_IN
from helios.processes.ports import HOST
from helios.reconciliation import declaration
from local.demo import stats
from scripts.faults.checks import Checked, Counts, check, counts
from scripts.faults.faults import Skipped
from scripts.faults.orders import Load, Orders, orders
from scripts.faults.response_log import ResponseLog
from scripts.faults.scenarios import Scenario
from scripts.faults.sender import Sender
from scripts.faults.stream_clients import StreamClients
from scripts.faults.testbed import HostedTestbed, Testbed

Report = Callable[[str], None]

PATIENCE_SECONDS: Final = 180.0
"""How long to wait for an event before it counts as lost."""
_POLL_SECONDS: Final = 0.1
_WARM_UP: Final = Load(events=30, rate=100, cloud_orders=1, faulty=0, poison=0, redelivered=0)
_PROBE: Final = Load(events=3, rate=1000, batch=1, cloud_orders=1, faulty=0, poison=0, redelivered=0)

STORED = "SELECT count(*) FROM events WHERE order_id LIKE %s"
KEYS = "SELECT source, id FROM events WHERE order_id LIKE %s"
BEHIND = "SELECT count(*) FROM consumers, stream WHERE consumers.position < stream.position"


class Scale(NamedTuple):
    """Factors for the number of events of a scenario and for their rate."""

    events: float
    rate: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one scenario.

    Attributes:
        name: the name of the fault.
        stored: events stored in this phase.
        counts: deliveries of this phase, by outcome.
        refused: deliveries that got no response or a retryable status.
        lost: events that were acknowledged and are not stored.
        doubled: events that are stored more than once.
        recovery: longest time from the end of the fault until a new event of every channel was stored, in seconds.
        seconds: the time from the first event of the phase to the last check.
        violations: a sentence for each promise that was broken.
        skipped: why the fault was not tested; empty when it was.
    """

    name: str
    stored: int = 0
    counts: dict[str, int] = {}
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    recovery: float | None = None
    seconds: float = 0.0
    violations: list[str] = []
    skipped: str = ""


def run(scenarios: Sequence[Scenario], folder: Path, report: Report, *, scale: Scale, seed: int) -> Iterator[Row]:
    """The results of the scenarios; all scenarios of the same testbed share one run of Helios.

    Args:
        scenarios: the scenarios to run, in this order.
        folder: an empty folder for data and logs.
        report: called with a line of progress.
        scale: factors for the traffic of the scenarios.
        seed: the seed of the random numbers; the same seed sends the same events.

    Raises:
        ServiceFailed: a service of Helios did not start.
    """
    numbers = {scenario.name: number for number, scenario in enumerate(scenarios, start=1)}
    for hosted in (False, True):
        selected = [scenario for scenario in scenarios if scenario.hosted == hosted]
        if not selected:
            continue
        subfolder = folder / ("hosted" if hosted else "testbed")
        subfolder.mkdir()
        clouds = BUILT_IN if any(scenario.clouds for scenario in selected) else ()
        testbed = HostedTestbed(subfolder, report) if hosted else Testbed(subfolder, report, clouds=clouds)
        with testbed, StreamClients(testbed.api_url) as stream_clients:
            runner = ScenarioRunner(testbed, stream_clients, seed=seed)
            runner.warm_up()
            for scenario in selected:
                yield runner.run(scenario, f"FLT-{numbers[scenario.name]:02}-", scale)


class ScenarioRunner:
    """Runs scenarios on a testbed."""

    def __init__(self, testbed: Testbed, stream_clients: StreamClients, *, seed: int) -> None:
        self._testbed = testbed
        self._stream_clients = stream_clients
        self._seed = seed
        self._flows = declaration.load(testbed.config.flows_file)

    def warm_up(self) -> None:
        """Send orders through every channel, so that cold starts are not measured."""
        self._send_probe("FLT-00-", _WARM_UP, ResponseLog(), clouds=bool(self._testbed.publishers))

    def run(self, scenario: Scenario, prefix: str, scale: Scale) -> Row:
        """Run one scenario."""
        load = msgspec.structs.replace(
            scenario.load,
            events=max(3, round(scenario.load.events * scale.events)),
            rate=scenario.load.rate * scale.rate,
            cloud_orders=round(scenario.load.cloud_orders * scale.events),
        )
        sent, responses = self._orders(load, prefix), ResponseLog()
        began = time.monotonic()
        with self._testbed.database() as connection:
            before = counts(connection)
        recoveries: list[float] = []
        try:
            with Sender(self._testbed, sent, responses, rate=load.rate) as sender:
                for turn in range(scenario.repetitions):
                    sender.reach(0.2 + 0.6 * turn / scenario.repetitions, seconds=PATIENCE_SECONDS)
                    recoveries.append(self._inject(scenario, sent, responses, f"{prefix}P{turn}"))
                sender.reach(1.0, seconds=PATIENCE_SECONDS)
            self._wait_until_stored(sent, responses, clouds=scenario.clouds)
            checked = self._check(sent, responses, before)
        except Skipped as reason:
            return Row(name=scenario.name, skipped=str(reason))
        except HeliosError as error:
            return Row(name=scenario.name, violations=[*responses.violations, str(error)])
        return Row(
            name=scenario.name,
            stored=checked.rows - before.stored.total(),
            counts=dict(checked.counts.all - before.all),
            refused=responses.unanswered,
            lost=checked.lost,
            doubled=checked.doubled,
            recovery=max(recoveries) if scenario.has_recovery else None,
            seconds=time.monotonic() - began,
            violations=[
                *checked.violations,
                *self._check_readers(checked),
                *self._check_authentication(),
                *_check_refusals(scenario, responses),
            ],
        )

    def _inject(self, scenario: Scenario, sent: Orders, responses: ResponseLog, prefix: str) -> float:
        """Inject the fault and remove it; return the seconds from its end until new events are stored."""
        try:
            scenario.fault.inject(self._testbed, sent, self._stream_clients)
            time.sleep(scenario.seconds)
        finally:
            removed_at = time.monotonic()
            scenario.fault.remove(self._testbed, self._stream_clients)
        if not scenario.has_recovery:
            return 0.0
        probe = self._send_probe(prefix, _PROBE, responses, clouds=scenario.clouds)
        sent.statuses.update(probe.statuses)
        return time.monotonic() - removed_at

    def _send_probe(self, prefix: str, load: Load, responses: ResponseLog, *, clouds: bool) -> Orders:
        """Send new orders through every channel, and return once they are stored."""
        probe = self._orders(msgspec.structs.replace(load, cloud_orders=int(clouds)), prefix)
        expected = sum(len(request.keys) for request in probe.requests) + sum(map(len, probe.published.values()))
        with Sender(self._testbed, probe, responses, rate=load.rate) as sender:
            sender.reach(1.0, seconds=PATIENCE_SECONDS)
        self._until(lambda: self._count(STORED, f"{prefix}%") >= expected)
        return probe

    def _orders(self, load: Load, prefix: str) -> Orders:
        return orders(load, prefix=prefix, seed=self._seed, clouds=self._testbed.clouds)

    def _wait_until_stored(self, sent: Orders, responses: ResponseLog, *, clouds: bool) -> None:
        """Return once every acknowledged event is stored and published on the stream, or after the time limit."""

        def stored() -> bool:
            with self._testbed.database() as connection:
                return responses.acknowledged <= set(connection.execute(KEYS, (f"{sent.prefix}%",)).fetchall())

        def published() -> bool:
            with self._testbed.database() as connection:
                waiting, position = connection.execute(
                    "SELECT (SELECT count(*) FROM frames WHERE position IS NULL), (SELECT position FROM stream)"
                ).fetchone() or (0, 0)
            return not waiting and self._stream_clients.position >= position

        self._until(stored)
        self._until(published)
        if clouds:
            self._until(lambda: self._count(BEHIND) == 0)

    def _check(self, sent: Orders, responses: ResponseLog, before: Counts) -> Checked:
        with self._testbed.database() as connection:
            return check(connection, sent, responses, before, self._flows)

    def _check_readers(self, checked: Checked) -> list[str]:
        """Compare what the API and the stream returned with what is stored."""
        violations, self._stream_clients.violations = self._stream_clients.violations, []
        reported = stats.fetch(f"{HOST}:{self._testbed.config.api_port}")
        if reported is None or reported.total_events != checked.rows:
            violations.append(f"the API counts {reported and reported.total_events} events instead of {checked.rows}")
        # A frame of a duplicate may have been published since. The client itself checks that no position is missing.
        stored, position = self._stream_clients.stored, self._stream_clients.position
        if position < checked.position or stored != checked.rows:
            violations.append(
                f"a client received {stored} events up to position {position} "
                f"instead of {checked.rows} up to {checked.position}"
            )
        return violations

    def _check_authentication(self) -> list[str]:
        """The channels at which the API accepted requests without credentials, by its own metrics."""
        url = f"{self._testbed.api_url}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:  # noqa: S310 - Helios' own
            families = list(text_string_to_metric_families(response.read().decode()))
        return [
            f"{sample.value:g} requests to {sample.labels['channel']} were accepted without credentials"
            for family in families
            for sample in family.samples
            if sample.name == "helios_admissions_total"
            and sample.labels["result"] == "loopback"
            and sample.labels["channel"] in self._testbed.credentials.channels
        ]

    def _count(self, query: str, *parameters: str) -> int:
        with self._testbed.database() as connection:
            (count,) = connection.execute(query.encode(), parameters or None).fetchone() or (0,)
        return int(count)

    def _until(self, holds: Callable[[], bool]) -> None:
        """Return once the condition holds, or after the time limit; the checks then report what is missing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _check_refusals(scenario: Scenario, responses: ResponseLog) -> list[str]:
    if scenario.must_refuse and not responses.unanswered:
        return ["no request was refused: the fault had no effect"]
    return []

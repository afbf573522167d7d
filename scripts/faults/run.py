"""Plays the script: while orders are sent a fault comes and goes, and then everything is held against everything."""

import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from helios.errors import HeliosError
from helios.model.events import SOURCES
from helios.reconciliation import declaration
from local.demo import stats
from local.stack.ports import HOST
from scripts.faults.book import Book
from scripts.faults.checks import Checked, Counts, check, counts
from scripts.faults.faults import Skipped
from scripts.faults.orders import Load, Orders, orders
from scripts.faults.scenarios import Scenario
from scripts.faults.sender import Sender
from scripts.faults.stage import HostedStage, Stage
from scripts.faults.watch import Watch

Say = Callable[[str], None]

PATIENCE_SECONDS: Final = 180.0
"""How long anything may take until it is called lost."""
_POLL_SECONDS: Final = 0.1
_WARM_UP: Final = Load(events=30, rate=100, cloud_orders=1, flawed=0, poison=0, again=0)
_PROBE: Final = Load(events=3, rate=1000, batch=1, cloud_orders=1, flawed=0, poison=0, again=0)

STORED = "SELECT count(*) FROM events WHERE order_id LIKE %s"
KEYS = "SELECT source, id FROM events WHERE order_id LIKE %s"
BEHIND = "SELECT count(*) FROM consumers, stream WHERE consumers.position < stream.position"


class Scale(NamedTuple):
    """Factors for what scenarios send, and for its rate."""

    events: float
    rate: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault did.

    Attributes:
        name: of the fault.
        stored: events of this phase.
        counts: deliveries of this phase by what became of them.
        refused: deliveries that got no answer, or were asked to come again.
        lost: acknowledged and not stored.
        doubled: stored more than once.
        recovery: seconds from the end of the fault until a new event of every way in was stored, at worst.
        seconds: the phase, from its first event to its last check.
        wrong: everything that does not hold, in sentences.
        skipped: why the fault was not tried; empty when it was.
    """

    name: str
    stored: int = 0
    counts: dict[str, int] = {}
    refused: int = 0
    lost: int = 0
    doubled: int = 0
    recovery: float | None = None
    seconds: float = 0.0
    wrong: list[str] = []
    skipped: str = ""


def run(scenarios: Sequence[Scenario], folder: Path, say: Say, *, scale: Scale, seed: int) -> Iterator[Row]:
    """Play each scenario on one run of Helios.

    Args:
        scenarios: in this order.
        folder: empty, for data and logs.
        say: told, in a line, what happens.
        scale: how much more or less is sent than the scenarios say.
        seed: the same one sends the same.

    Raises:
        ServiceFailed: a service of Helios did not start.
    """
    numbers = {scenario.name: number for number, scenario in enumerate(scenarios, start=1)}
    for hosted in (False, True):
        played = [scenario for scenario in scenarios if scenario.hosted == hosted]
        if not played:
            continue
        place = folder / ("hosted" if hosted else "stage")
        place.mkdir()
        clouds = SOURCES if any(scenario.clouds for scenario in played) else ()
        stage = HostedStage(place, say) if hosted else Stage(place, say, clouds=clouds)
        with stage, Watch(stage.api_url) as watch:
            director = Director(stage, watch, seed=seed)
            director.warm_up()
            for scenario in played:
                yield director.play(scenario, f"FLT-{numbers[scenario.name]:02}-", scale)


class Director:
    """Plays scenarios on a stage."""

    def __init__(self, stage: Stage, watch: Watch, *, seed: int) -> None:
        self._stage = stage
        self._watch = watch
        self._seed = seed
        self._flows = declaration.load(stage.config.flows_file)

    def warm_up(self) -> None:
        """One order by every way in: cold starts are not what is measured."""
        self._probed("FLT-00-", _WARM_UP, Book(), clouds=bool(self._stage.publishers))

    def play(self, scenario: Scenario, prefix: str, scale: Scale) -> Row:
        """One phase."""
        load = msgspec.structs.replace(
            scenario.load,
            events=max(3, round(scenario.load.events * scale.events)),
            rate=scenario.load.rate * scale.rate,
            cloud_orders=round(scenario.load.cloud_orders * scale.events),
        )
        sent, book = self._orders(load, prefix), Book()
        began = time.monotonic()
        with self._stage.database() as connection:
            before = counts(connection)
        recoveries: list[float] = []
        try:
            with Sender(self._stage, sent, book, rate=load.rate) as sender:
                for turn in range(scenario.times):
                    sender.reach(0.2 + 0.6 * turn / scenario.times, seconds=PATIENCE_SECONDS)
                    recoveries.append(self._suffer(scenario, sent, book, f"{prefix}P{turn}"))
                sender.reach(1.0, seconds=PATIENCE_SECONDS)
            self._settle(sent, book, clouds=scenario.clouds)
            checked = self._check(sent, book, before)
        except Skipped as reason:
            return Row(name=scenario.name, skipped=str(reason))
        except HeliosError as error:
            return Row(name=scenario.name, wrong=[*book.wrong, str(error)])
        return Row(
            name=scenario.name,
            stored=checked.rows - before.stored.total(),
            counts=dict(checked.counts.all - before.all),
            refused=book.unanswered,
            lost=checked.lost,
            doubled=checked.doubled,
            recovery=max(recoveries) if scenario.measured else None,
            seconds=time.monotonic() - began,
            wrong=[*checked.wrong, *self._seen(checked), *self._trust_loopback(), *_unfelt(scenario, book)],
        )

    def _suffer(self, scenario: Scenario, sent: Orders, book: Book, prefix: str) -> float:
        """The fault comes, lasts and goes; seconds from its end until new events are stored."""
        try:
            scenario.fault.fail(self._stage, sent, self._watch)
            time.sleep(scenario.lasting)
        finally:
            healed = time.monotonic()
            scenario.fault.heal(self._stage, self._watch)
        if not scenario.measured:
            return 0.0
        probe = self._probed(prefix, _PROBE, book, clouds=scenario.clouds)
        sent.statuses.update(probe.statuses)
        return time.monotonic() - healed

    def _probed(self, prefix: str, load: Load, book: Book, *, clouds: bool) -> Orders:
        """Send something new by every way in, and return once it is stored."""
        probe = self._orders(msgspec.structs.replace(load, cloud_orders=int(clouds)), prefix)
        expected = sum(len(request.keys) for request in probe.requests) + sum(map(len, probe.published.values()))
        with Sender(self._stage, probe, book, rate=load.rate) as sender:
            sender.reach(1.0, seconds=PATIENCE_SECONDS)
        self._until(lambda: self._count(STORED, f"{prefix}%") >= expected)
        return probe

    def _orders(self, load: Load, prefix: str) -> Orders:
        return orders(load, prefix=prefix, seed=self._seed, clouds=self._stage.clouds)

    def _settle(self, sent: Orders, book: Book, *, clouds: bool) -> None:
        """Return once everything acknowledged is stored and shown, or when it should have been."""

        def stored() -> bool:
            with self._stage.database() as connection:
                return book.acknowledged <= set(connection.execute(KEYS, (f"{sent.prefix}%",)).fetchall())

        def shown() -> bool:
            with self._stage.database() as connection:
                waiting, position = connection.execute(
                    "SELECT (SELECT count(*) FROM frames WHERE position IS NULL), (SELECT position FROM stream)"
                ).fetchone() or (0, 0)
            return not waiting and self._watch.position >= position

        self._until(stored)
        self._until(shown)
        if clouds:
            self._until(lambda: self._count(BEHIND) == 0)

    def _check(self, sent: Orders, book: Book, before: Counts) -> Checked:
        with self._stage.database() as connection:
            return check(connection, sent, book, before, self._flows)

    def _seen(self, checked: Checked) -> list[str]:
        """What those who ask and those who watch are told, against what is stored."""
        wrong, self._watch.wrong = self._watch.wrong, []
        told = stats.fetch(f"{HOST}:{self._stage.config.api_port}")
        if told is None or told.total_events != checked.rows:
            wrong.append(f"the API counts {told and told.total_events} events instead of {checked.rows}")
        # A frame of a duplicate may have come since: that nothing is left out up to there, the watcher has seen to.
        if self._watch.position < checked.position or self._watch.stored != checked.rows:
            wrong.append(
                f"a watcher saw {self._watch.stored} events up to position {self._watch.position} "
                f"instead of {checked.rows} up to {checked.position}"
            )
        return wrong

    def _trust_loopback(self) -> list[str]:
        """What came past a guard without a proof, as this process of the API counts it."""
        url = f"{self._stage.api_url}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - Helios' own
            families = list(text_string_to_metric_families(answer.read().decode()))
        return [
            f"{sample.value:g} requests came to {sample.labels['channel']} without a proof"
            for family in families
            for sample in family.samples
            if sample.name == "helios_admissions_total"
            and sample.labels["result"] == "loopback"
            and sample.labels["channel"] in self._stage.proofs.channels
        ]

    def _count(self, query: str, *parameters: str) -> int:
        with self._stage.database() as connection:
            (found,) = connection.execute(query.encode(), parameters or None).fetchone() or (0,)
        return int(found)

    def _until(self, holds: Callable[[], bool]) -> None:
        """Return once it holds, or when it is too late: what is missing then is found by the checks."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _unfelt(scenario: Scenario, book: Book) -> list[str]:
    return ["nobody was asked to come again: the fault was not felt"] if scenario.felt and not book.unanswered else []

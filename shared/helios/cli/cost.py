"""``helios cost``: estimates the monthly cost of a deployment in three clouds from the price facts in prices.toml."""

import argparse
import math
import tomllib
from collections.abc import Iterator
from importlib.resources import files

import msgspec
from rich.table import Column, Table

from helios.cli import tables
from helios.cli.listing import format_options, write_for_programs
from helios.cli.terminal import write_line
from helios.errors import ConfigurationError

HOURS = 730
SECONDS = HOURS * 3600

SHARES = "aws=40,gcp=30,azure=30"

LAMBDA_BATCH = 100
"""Events in a call of the ingest function under load. It waits for a second at most, so a quiet queue has fewer."""
LAMBDA_GB_SECONDS = 0.5 * 0.05
FUNCTION_SECONDS = 0.02
"""How long a request of the other clouds takes; an instance serves many at a time."""
BATCHES_PER_SECOND = 10
"""Most batches a second that one instance of the other clouds stores, and so most notifications."""
RELAY_PER_SECOND = 5
"""Most messages a second that a watcher gets."""
SUMMARY_KB = 0.4
"""Size of one event in a message of the live stream."""
MESSAGE_KB = 32
"""The largest message of the live stream, and the unit in which API Gateway counts."""
STORED_KB = 2.5
"""An event of 1 KB in Postgres, with its indexes, its key and its part of a frame."""
IO_PER_EVENT = 2
"""Requests to Aurora's storage for an event: its log records and its part of the pages."""

ARCHIVED_KB = 0.35
"""An event of 1 KB in the archive. Payloads of 200 bytes took 70 bytes each: docs/archive.md."""
ARCHIVE_FILE_KB = 256_000
"""The largest file of the archive; each source has at least one file a day."""
ARCHIVE_EVENTS_PER_SECOND = 20_000
"""Events that the job archives and reads back in a second on one vCPU: an assumption."""
ARCHIVE_FUNCTION_GB = 3
"""The memory of the function that archives: the default of the AWS root."""
LOG_KB = 3.6
"""What an event of 1 KB writes to Kafka before replication: its delivery, itself, and the record of an order of three
legs that it changes (docs/scaling.md)."""
LOG_REPLICAS = 3
BROKER_KB_PER_SECOND = 15_000
"""What a kafka.m7g.large writes in a second, replicas included: an assumption."""
UNIT_EVENTS_PER_SECOND = 300
"""Events that a processing unit judges with half of it left free: a core judged 600 in a trial of the process mode,
which the service uses (docs/flink.md)."""
UNIT_STATE_GB = 50
"""Storage of the state that each processing unit has at no further charge."""
STATE_KB = 0.46
"""State of an event: its identity, and a third of an order of three legs: docs/scaling.md."""

GLACIER_AFTER_DAYS = 30
"""When a file moves to Glacier Instant Retrieval: the default of infra/terraform/aws."""


class Price(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """A price fact: ``usd`` for ``per`` units, where it was read, and the date of that page."""

    usd: float
    per: float
    unit: str
    source: str
    dated: str = "none"


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What is deployed.

    Attributes:
        events_per_second: the events of all clouds.
        watchers: dashboards that are always open.
        shares: each cloud's part of the events, from 0 to 1.
        acu: the Aurora capacity units that are always used.
        retention_days: how long events are stored.
        archive_days: how long events are in the archive; 0: there is none.
        archive_read_gb: what queries read of the archive in a month, beyond the last 30 days.
        engine: as HELIOS_ENGINE.
        log_days: how long the log has its messages.
    """

    events_per_second: float
    watchers: float
    shares: dict[str, float]
    acu: float
    retention_days: float
    archive_days: float = 0
    archive_read_gb: float = 0
    engine: str = "postgres"
    log_days: float = 7


class Item(msgspec.Struct, frozen=True):
    """One cost in US dollars a month."""

    cloud: str
    what: str
    usd: float


class Prices:
    """The price facts by name."""

    def __init__(self) -> None:
        document = tomllib.loads((files("helios.cli") / "prices.toml").read_text())
        self.read: str = document.pop("read")
        self.facts = msgspec.convert(document, dict[str, Price])

    def of(self, name: str, units: float) -> float:
        """The price of these units.

        Raises:
            KeyError: there is no such fact.
        """
        fact = self.facts[name]
        return fact.usd * units / fact.per


def items(load: Workload, prices: Prices) -> list[Item]:
    """Every cost of the workload, cloud by cloud."""
    return [*_aws(load, prices), *_gcp(load, prices), *_azure(load, prices)]


def _aws(load: Workload, prices: Prices) -> Iterator[Item]:
    rate = load.events_per_second * load.shares["aws"]
    events = rate * SECONDS
    calls = min(rate, 1 + rate / LAMBDA_BATCH) * SECONDS
    yield Item("aws", "event bus", prices.of("eventbridge_event", events))
    # SQS: a request for each event that arrives; to receive and to delete, batches of ten.
    yield Item("aws", "queue", prices.of("sqs_request", events * 1.2))
    yield Item("aws", "ingest function", _lambda(prices, calls, LAMBDA_GB_SECONDS))
    yield Item("aws", "notifications and relay", _notifications(load, prices))
    yield Item("aws", "watchers", load.watchers * _watcher(load, prices))
    yield Item("aws", "database, capacity", prices.of("aurora_acu_hour", load.acu * HOURS))
    stored = load.events_per_second * STORED_KB / 1e6 * 86_400 * load.retention_days
    yield Item("aws", f"database, {stored:,.0f} GB of storage", prices.of("aurora_gb_month", stored))
    io = load.events_per_second * IO_PER_EVENT * SECONDS
    yield Item("aws", "database, I/O", prices.of("aurora_io", io))
    yield Item("aws", "cache", prices.of("elasticache_gb_hour", 0.1 * HOURS))
    network = prices.of("aws_nat_hour", HOURS) + prices.of("aws_ipv4_hour", 2 * HOURS)
    yield Item("aws", "NAT gateway and 2 public addresses", network)
    yield Item("aws", "2 interface endpoints in 2 zones", prices.of("aws_endpoint_hour", 4 * HOURS))
    if load.archive_days:
        yield from _archive(load, prices)
    if load.engine == "flink":
        yield from _log(load, prices)


def _log(load: Workload, prices: Prices) -> Iterator[Item]:
    """The log on MSK, and the job on Managed Service for Apache Flink, which bills one more unit to coordinate it."""
    written = load.events_per_second * LOG_KB * LOG_REPLICAS
    brokers = LOG_REPLICAS * max(1, math.ceil(written / LOG_REPLICAS / BROKER_KB_PER_SECOND))
    yield Item("aws", f"log, {brokers} brokers", prices.of("msk_broker_hour", brokers * HOURS))
    gigabytes = written / 1e6 * 86_400 * load.log_days
    yield Item("aws", f"log, {gigabytes:,.0f} GB of storage", prices.of("msk_gb_month", gigabytes))
    units = max(1, math.ceil(load.events_per_second / UNIT_EVENTS_PER_SECOND))
    yield Item("aws", f"Flink, {units} + 1 processing units", prices.of("flink_unit_hour", (units + 1) * HOURS))
    state = load.events_per_second * STATE_KB / 1e6 * 86_400 * load.retention_days
    beyond = max(0.0, state - units * UNIT_STATE_GB)
    yield Item("aws", f"Flink, {state:,.0f} GB of state", prices.of("flink_gb_month", beyond))


def _archive(load: Workload, prices: Prices) -> Iterator[Item]:
    """The archive on S3: a file is written and read back, moves to Glacier once, and is read by queries."""
    gigabytes_a_day = load.events_per_second * 86_400 * ARCHIVED_KB / 1e6
    recent = gigabytes_a_day * min(load.archive_days, GLACIER_AFTER_DAYS)
    old = gigabytes_a_day * load.archive_days - recent
    stored = prices.of("s3_gb_month", recent) + prices.of("glacier_ir_gb_month", old)
    yield Item("aws", f"archive, {recent + old:,.0f} GB of storage", stored)
    by_source = [gigabytes_a_day * 1e6 * share / ARCHIVE_FILE_KB for share in load.shares.values() if share]
    files = sum(math.ceil(of_source) for of_source in by_source) * HOURS / 24
    moved = files if load.archive_days > GLACIER_AFTER_DAYS else 0
    requests = prices.of("s3_put", files) + prices.of("s3_get", files) + prices.of("glacier_ir_transition", moved)
    yield Item("aws", "archive, requests", requests)
    yield Item("aws", "archive, retrieval", prices.of("glacier_ir_retrieval_gb", load.archive_read_gb))
    seconds = load.events_per_second * SECONDS / ARCHIVE_EVENTS_PER_SECOND
    yield Item("aws", "archive, function", prices.of("lambda_gb_second", ARCHIVE_FUNCTION_GB * seconds))


def _gcp(load: Workload, prices: Prices) -> Iterator[Item]:
    rate = load.events_per_second * load.shares["gcp"]
    events = rate * SECONDS
    yield Item("gcp", "Pub/Sub", prices.of("pubsub_tib", 2 * events * 1000 / 2**40))
    active = min(rate * FUNCTION_SECONDS, 1) * SECONDS
    serving = prices.of("cloud_run_request", events) + prices.of("cloud_run_vcpu_second", active)
    yield Item("gcp", "ingest function", serving + prices.of("cloud_run_idle_second", 1.5 * (SECONDS - active)))
    yield Item("gcp", "cache", prices.of("memorystore_gb_hour", HOURS))
    yield Item("gcp", "NAT gateway", prices.of("cloud_nat_hour", HOURS) + prices.of("cloud_nat_address_hour", HOURS))


def _azure(load: Workload, prices: Prices) -> Iterator[Item]:
    rate = load.events_per_second * load.shares["azure"]
    events = rate * SECONDS
    yield Item("azure", "Event Grid", prices.of("event_grid_operation", 2 * events))
    # A message is written and deleted; 32 are received at a time.
    yield Item("azure", "queue", prices.of("storage_queue_operation", (2 + 1 / 32) * events))
    active = min(rate * FUNCTION_SECONDS, 1) * SECONDS
    yield Item("azure", "ingest function", prices.of("flex_call", events) + prices.of("flex_gb_second", 2 * active))
    yield Item("azure", "NAT gateway", prices.of("azure_nat_hour", HOURS))


def _batches(load: Workload, cloud: str) -> float:
    """The batches a second of a cloud, each of which notifies the relay once."""
    rate = load.events_per_second * load.shares[cloud]
    return min(rate, 1 + rate / LAMBDA_BATCH) if cloud == "aws" else min(rate, BATCHES_PER_SECOND)


def _notifications(load: Workload, prices: Prices) -> float:
    """A notification is a message of SQS. From another cloud it also is a request and a call of the API."""
    abroad = (_batches(load, "gcp") + _batches(load, "azure")) * SECONDS
    everywhere = abroad + _batches(load, "aws") * SECONDS
    relayed = min(everywhere / SECONDS, RELAY_PER_SECOND) * SECONDS
    return (
        prices.of("http_api_request", abroad)
        + _lambda(prices, abroad, LAMBDA_GB_SECONDS)
        + prices.of("sqs_request", everywhere * 1.2)
        + _lambda(prices, relayed, LAMBDA_GB_SECONDS)
    )


def _watcher(load: Workload, prices: Prices) -> float:
    """One dashboard that is always open: its messages, their bytes through the NAT gateway and out, its connection."""
    messages = min(sum(_batches(load, cloud) for cloud in load.shares), RELAY_PER_SECOND)
    kilobytes = min(MESSAGE_KB, load.events_per_second / messages * SUMMARY_KB) if messages else 0
    gigabytes = messages * kilobytes * SECONDS / 1e6
    return (
        prices.of("websocket_message", messages * SECONDS)
        + prices.of("websocket_minute", SECONDS / 60)
        + prices.of("aws_nat_gb", gigabytes)
        + prices.of("aws_transfer_gb", gigabytes)
    )


def _lambda(prices: Prices, calls: float, gb_seconds: float) -> float:
    return prices.of("lambda_call", calls) + prices.of("lambda_gb_second", calls * gb_seconds)


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = "estimate the monthly cost of a deployment, in US dollars; it needs no deployment and no network"
    cost = commands.add_parser("cost", help=text, description=text)
    cost.add_argument("--events-per-second", type=float, required=True, help="events of all clouds together, of 1 KB")
    cost.add_argument("--watchers", type=float, default=1, help="dashboards that are always open (%(default)s)")
    cost.add_argument("--share", default=SHARES, help="percent of the events that each cloud has (%(default)s)")
    cost.add_argument("--acu", type=float, default=2, help="Aurora capacity units that are always used (%(default)s)")
    cost.add_argument("--retention-days", type=float, default=30, help="how long events are stored (%(default)s)")
    cost.add_argument("--archive-days", type=float, default=0, help="how long events are in an archive on S3; 0: none")
    cost.add_argument("--archive-read-gb", type=float, default=0, help="what queries read of it a month (%(default)s)")
    cost.add_argument("--engine", choices=("postgres", "flink"), default="postgres", help="HELIOS_ENGINE (%(default)s)")
    cost.add_argument("--log-days", type=float, default=7, help="with flink: retention of the log (%(default)s)")
    cost.add_argument("--prices", action="store_true", help="print the price facts with their sources instead")
    format_options(cost)
    cost.set_defaults(run=_cost)


_AMOUNTS = ("events_per_second", "watchers", "acu", "retention_days", "archive_days", "archive_read_gb", "log_days")


def _cost(options: argparse.Namespace) -> None:
    prices = Prices()
    load = Workload(
        events_per_second=options.events_per_second,
        watchers=options.watchers,
        shares=_shares(options.share),
        acu=options.acu,
        retention_days=options.retention_days,
        archive_days=options.archive_days,
        archive_read_gb=options.archive_read_gb,
        engine=options.engine,
        log_days=options.log_days,
    )
    for name in _AMOUNTS:
        if not 0 <= getattr(load, name) < float("inf"):
            raise ConfigurationError(f"--{name.replace('_', '-')} must be 0 or larger")
    if options.prices:
        _show_prices(prices)
        return
    costs = items(load, prices)
    if write_for_programs(options, costs, Item.__struct_fields__):
        return
    table = Table(Column("cloud"), Column("what"), Column("USD a month", justify="right"), box=None)
    for item in costs:
        table.add_row(item.cloud, item.what, f"{item.usd:,.0f}")
    table.add_row("", "total", f"{sum(item.usd for item in costs):,.0f}")
    tables.show(table)
    write_line(f"Prices of {prices.read}; --prices lists them. Not included: Azure Managed Redis, logs, alarms, taxes.")


def _show_prices(prices: Prices) -> None:
    table = Table("USD", "for", "read in", "dated", box=None)
    for fact in prices.facts.values():
        units = fact.unit if fact.per == 1 else f"{fact.per:,.0f} {fact.unit}"
        table.add_row(f"{fact.usd:g}", units, fact.source, fact.dated)
    tables.show(table)


def _shares(text: str) -> dict[str, float]:
    """The shares from 0 to 1 in ``aws=40,gcp=30,azure=30``.

    Raises:
        ConfigurationError: a cloud is missing or unknown, or the sum is not 100.
    """
    try:
        percent = {name: float(value) for name, _, value in (part.partition("=") for part in text.split(","))}
    except ValueError as error:
        raise ConfigurationError(f"--share must be like {SHARES}") from error
    if percent.keys() != {"aws", "gcp", "azure"} or min(percent.values()) < 0 or round(sum(percent.values())) != 100:  # noqa: PLR2004 - percent
        raise ConfigurationError(f"--share must have a percentage for each cloud, of 100 in all, like {SHARES}")
    return {name: value / 100 for name, value in percent.items()}

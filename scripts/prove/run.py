"""One run of the proof: all of Helios on free ports, traffic with known anomalies, and restarts meanwhile."""

import re
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from helios.client import ApiError, Client
from helios.errors import HeliosError
from helios.model.flows import FlowInstance
from helios.processes.process import scrubbed_environment
from helios.processes.server import Server
from helios.processes.supervisor import Supervisor
from local.aws import resources
from local.stack.config import INGEST_FUNCTION, REPOSITORY, Config, free_port_fields
from local.stack.log_engine import with_engine
from local.stack.providers import names, with_sources
from local.stack.services import sdk_environment, services
from local.stack.varied import with_varied_orders
from scripts.prove.compare import BUCKET, FOUND_WITHIN, Bucket, Comparison, Finding, compare, finding, lost_events
from scripts.simulator.anomalies import ANOMALIES, LOST, PLAIN, Anomaly, Injection

Report = Callable[[str], None]

POLL_SECONDS = 0.2
BALANCE_POLL_SECONDS = 1.0
SETTLE_SECONDS = 120.0
"""How long to wait for deliveries and verdicts after the last event was sent, in addition to the flow's deadline."""
WARM_UPS = 5
RESTARTS = 3
"""How often the services are restarted."""

_ORDER_ID = re.compile(r"ORD-\d+-\d{4}")


class Plan(NamedTuple):
    """The options of the command line."""

    orders: int
    error_rate: float
    rate: float
    seed: int
    window: float
    grace: float
    sources: int = 3
    varied: float = 0.2
    engine: str = "postgres"

    @property
    def kinds(self) -> tuple[Anomaly, ...]:
        """The anomalies that the run must have."""
        return ANOMALIES if self.varied else (*PLAIN, LOST)

    @property
    def lateness(self) -> float:
        """The delay of a late leg after its order in seconds: after the window, before the leg counts as missing."""
        return self.window + self.grace / 2


class Unproven(HeliosError):  # noqa: N818 - reads as the fact it is
    """The run failed before its reports could be compared."""


def prove(plan: Plan, folder: Path, report: Report) -> Comparison:
    """Run the proof, and return the comparison.

    Args:
        plan: the options of the run.
        folder: an empty folder for data and logs.
        report: called with a line of progress.

    Raises:
        ServiceFailed: a service of Helios did not start.
        Unproven: the traffic failed, or orders were still undecided long after their deadline.
    """
    config = msgspec.convert({"state": str(folder / "state")} | free_port_fields(), Config)
    config = with_engine(with_sources(config, plan.sources, folder=folder), plan.engine)
    if plan.varied:
        config = with_varied_orders(config, folder=folder)
    config = _with_times(plan, config, folder / "flows.toml")
    every = [service for service in services(config) if not service.name.startswith("dashboard")]  # not needed
    with Supervisor(every, report) as supervisor:
        supervisor.start()
        servers = {service.name: service.server for service in every}
        client = Client(config.api_url)
        with _StreamFollower(client) as follower, _BalanceFollower(client) as balances:
            before = _warm_up(plan, config, client, folder)
            report(f"placing {plan.orders} orders, {plan.error_rate:.0%} of them with an anomaly")
            truth = _traffic(plan, config, folder, lambda: _restart(servers, config, report))
            report("all events are sent; waiting for the last deadline")
            lost = sum(injection.anomaly == LOST for injection in truth)
            flows = _wait_for_verdicts(plan, client, before, lost=lost)
            _wait_for_balances(client, truth)
            return _compare(plan, client, truth, flows, follower.reported_at, balances)


def _with_times(plan: Plan, config: Config, file: Path) -> Config:
    """The settings with the times of this run in every flow; writes the file of flows."""
    flows = Path(config.flows_file or REPOSITORY / "shared/helios/flows.toml").read_text()
    for name, seconds in (("window_seconds", plan.window), ("grace_seconds", plan.grace)):
        flows, replaced = re.subn(rf"(?m)^{name} *=.*$", f"{name} = {seconds:g}", flows)
        if not replaced:
            raise Unproven(f"the file of flows has no {name}")
    file.write_text(flows)
    return msgspec.structs.replace(config, flows_file=str(file))


def _warm_up(plan: Plan, config: Config, client: Client, folder: Path) -> set[str]:
    """Place orders until one is matched, so that cold starts are not measured; return the orders' ids."""
    for placed in range(1, WARM_UPS + 1):
        _simulate(plan, config, folder / f"warm-up-{placed}", "--orders", "1", "--error-rate", "0").wait()
        decided = partial(_all_decided, client, orders=placed)
        _until(decided, plan.window + plan.grace + SETTLE_SECONDS, "an order before the others")
        flows = list(client.flows(limit=placed))
        if any(flow.status == "matched" for flow in flows):
            return {flow.key for flow in flows}
    raise Unproven(f"none of {WARM_UPS} orders was matched within {plan.window:g} s: raise --window on this machine")


def _traffic(plan: Plan, config: Config, folder: Path, restart: Callable[[], None]) -> list[Injection]:
    """Send all traffic, restart services meanwhile, and return the injected anomalies."""
    options = {
        "--orders": plan.orders,
        "--rate": plan.rate,
        "--error-rate": plan.error_rate,
        "--seed": plan.seed,
        "--lateness": plan.lateness,
        "--varied": plan.varied,
    }
    traffic = _simulate(plan, config, folder / "traffic", *(str(word) for option in options.items() for word in option))
    # Seconds: an event of each source for every order, and a follow-up for every third.
    duration = (plan.sources + 1 / 3) * plan.orders / plan.rate
    restarted = 0
    for _ in range(RESTARTS):
        try:
            traffic.wait(duration / (RESTARTS + 1))
        except subprocess.TimeoutExpired:
            restart()
            restarted += 1
    if traffic.wait(duration + plan.lateness + SETTLE_SECONDS):
        raise Unproven(f"the traffic failed: {(folder / 'traffic/output').read_text()[-2000:]}")
    lines = (folder / "traffic/truth.jsonl").read_bytes().splitlines()
    truth = [msgspec.json.decode(line, type=Injection) for line in lines]
    require_coverage(truth, restarted, plan.kinds)
    return truth


def require_coverage(truth: Sequence[Injection], restarted: int, kinds: Sequence[Anomaly] = ANOMALIES) -> None:
    """Return if the run had all restarts and each of these kinds of anomaly.

    Raises:
        Unproven: the traffic ended before the last restart, or no order had some kind of anomaly.
    """
    if restarted < RESTARTS:
        raise Unproven(f"the traffic ended after {restarted} of {RESTARTS} restarts: raise --orders, or lower --rate")
    if missing := set(kinds) - {injection.anomaly for injection in truth}:
        raise Unproven(
            f"no order had {', '.join(sorted(missing))}: raise --orders or --error-rate, or use another --seed"
        )


def _simulate(plan: Plan, config: Config, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.simulator", "--via", "cloud", "--url", config.api_url, "--manifests"]
    command += [word for name in names(plan.sources) for word in ("--source", name)]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [*command, *options, "--truth", str(folder / "truth.jsonl")],
            cwd=REPOSITORY,
            env=scrubbed_environment(**sdk_environment(config)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _restart(servers: Mapping[str, Server], config: Config, report: Report) -> None:
    """Restart every function and the API gracefully, and kill Redis with all its data."""
    report("restarting the functions, the API and Redis")
    servers["valkey"].kill()
    servers["valkey"].start()
    for name in ("gcp-function", "azure-function", "api"):
        # Gracefully: clouds redeliver what kill -9 interrupts, and that would be a duplicate that was not injected.
        servers[name].stop()
        servers[name].start()
    # Lambda replaces its workers when a function's configuration changes.
    resources.client("lambda", config.aws_url).update_function_configuration(
        FunctionName=INGEST_FUNCTION, Description=f"restarted at {datetime.now(UTC):%H:%M:%S.%f}"
    )


def _wait_for_verdicts(plan: Plan, client: Client, before: set[str], *, lost: int) -> list[FlowInstance]:
    """The flow instances of all orders except those of the warm-up and the lost ones, once none is open."""
    decided = partial(_all_decided, client, orders=plan.orders + len(before) - lost)
    _until(decided, plan.window + plan.grace + SETTLE_SECONDS, "the last order")
    return [flow for flow in client.flows(limit=2 * plan.orders) if flow.key not in before]


def _wait_for_balances(client: Client, truth: Sequence[Injection]) -> None:
    """Return once every minute with a lost event, and every other that a manifest names, has a balance."""
    awaited = lost_events(truth).keys()

    def balanced() -> bool:
        rows = list(client.balances())
        known = {Bucket(row.minute, row.source, row.type) for row in rows}
        return awaited <= known and not any(row.state == "counting" for row in rows)

    _until(balanced, (BUCKET + FOUND_WITHIN).total_seconds() + SETTLE_SECONDS, "the last balance")


def _all_decided(client: Client, *, orders: int) -> bool:
    summary = client.flow_summary()
    return summary.total >= orders and not summary.by_status["open"]


def _compare(
    plan: Plan,
    client: Client,
    truth: list[Injection],
    flows: list[FlowInstance],
    live: Mapping[Finding, datetime],
    balances: "_BalanceFollower",
) -> Comparison:
    dead_letters = list(client.dead_letters(limit=2 * plan.orders, status="rejected"))
    poisoned = {order: dead_letter for dead_letter in dead_letters for order in _ORDER_ID.findall(dead_letter.body)[:1]}
    if len(poisoned) < len(dead_letters):
        raise Unproven("a dead letter contains no order id")
    rejected: dict[Finding, datetime] = {
        (order, "poison"): dead_letter.first_received_at for order, dead_letter in poisoned.items()
    }
    return compare(
        truth,
        flows,
        poisoned,
        orders=plan.orders,
        reported_at={**live, **rejected},
        missing={Bucket(row.minute, row.source, row.type): row.missing for row in client.balances(state=["missing"])},
        missing_at=balances.missing_at,
    )


class _Follower(ABC):
    """Reads from the API in a thread of its own, during a block."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @abstractmethod
    def _follow(self) -> None:
        """Read until the block has ended."""


class _StreamFollower(_Follower):
    """Records when the live stream first contained each issue.

    Attributes:
        reported_at: the instant, by order and kind.
    """

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.reported_at: dict[Finding, datetime] = {}

    def _follow(self) -> None:
        for frame in self._client.follow(pause_seconds=POLL_SECONDS):
            now = datetime.now(UTC)
            for change in frame.flows:
                for kind in change.issues:
                    self.reported_at.setdefault(finding(change.flow, change.key, kind), now)
            if self._ended.is_set():
                return


class _BalanceFollower(_Follower):
    """Records when a balance first said that events are missing.

    Attributes:
        missing_at: the instant, by minute, source and type.
    """

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.missing_at: dict[Bucket, datetime] = {}

    def _follow(self) -> None:
        while not self._ended.wait(BALANCE_POLL_SECONDS):
            with suppress(ApiError):  # the API is being restarted
                for row in self._client.balances(state=["missing"]):
                    self.missing_at.setdefault(Bucket(row.minute, row.source, row.type), datetime.now(UTC))


def _until(holds: Callable[[], bool], seconds: float, subject: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unproven(f"{subject} was not decided within {seconds:g} s")
        time.sleep(POLL_SECONDS)

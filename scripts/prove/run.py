"""One run of the proof: all of Helios on free ports, traffic with known anomalies, and restarts meanwhile."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from helios.cli.client import Client
from helios.errors import HeliosError
from helios.model.flows import FlowInstance, FlowSummary
from local.aws import resources
from local.stack.config import INGEST_FUNCTION, REPOSITORY, Config, free_port_fields
from local.stack.process import scrubbed_environment
from local.stack.server import Server
from local.stack.services import sdk_environment, services
from local.stack.supervisor import Supervisor
from scripts.prove.compare import Comparison, Finding, compare
from scripts.simulator.anomalies import ANOMALIES, Injection

Report = Callable[[str], None]

POLL_SECONDS = 0.2
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

    @property
    def lateness(self) -> float:
        """The delay of a late leg after its order in seconds: after the window, before the leg counts as missing."""
        return self.window + self.grace / 2


class Unproven(HeliosError):  # noqa: N818 - reads as the fact it is
    """The run failed before its reports could be compared."""


class _DeadLetterRow(msgspec.Struct, frozen=True):
    """The fields of a dead letter that the proof reads."""

    body: str
    first_received_at: datetime


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
    flows_file = _flows_file(plan, folder / "flows.toml")
    fields = {"state": str(folder / "state"), "flows_file": str(flows_file)} | free_port_fields()
    config = msgspec.convert(fields, Config)
    every = [service for service in services(config) if not service.name.startswith("dashboard")]  # not needed
    with Supervisor(every, report) as supervisor:
        supervisor.start()
        servers = {service.name: service.server for service in every}
        client = Client(config.api_url)
        with _StreamFollower(client) as follower:
            before = _warm_up(plan, config, client, folder)
            report(f"placing {plan.orders} orders, {plan.error_rate:.0%} of them with an anomaly")
            truth = _traffic(plan, config, folder, lambda: _restart(servers, config, report))
            report("all events are sent; waiting for the last deadline")
            flows = _wait_for_verdicts(plan, client, before)
            return _compare(plan, client, truth, flows, follower.reported_at)


def _flows_file(plan: Plan, file: Path) -> Path:
    """Write the shipped flows with the times of this run, and return the file."""
    shipped = (REPOSITORY / "shared/helios/flows.toml").read_text()
    for name, seconds in (("window_seconds", plan.window), ("grace_seconds", plan.grace)):
        shipped, replaced = re.subn(rf"(?m)^{name} *=.*$", f"{name} = {seconds:g}", shipped)
        if not replaced:
            raise Unproven(f"flows.toml has no {name}")
    file.write_text(shipped)
    return file


def _warm_up(plan: Plan, config: Config, client: Client, folder: Path) -> set[str]:
    """Place orders until one is matched, so that cold starts are not measured; return the orders' ids."""
    for placed in range(1, WARM_UPS + 1):
        _simulate(config, folder / f"warm-up-{placed}", "--orders", "1", "--error-rate", "0").wait()
        decided = partial(_all_decided, client, orders=placed)
        _until(decided, plan.window + plan.grace + SETTLE_SECONDS, "an order before the others")
        flows = list(client.items("flows", FlowInstance, limit=placed))
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
    }
    traffic = _simulate(config, folder / "traffic", *(str(word) for option in options.items() for word in option))
    duration = 10 / 3 * plan.orders / plan.rate  # seconds: ten events for every three orders
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
    require_coverage(truth, restarted)
    return truth


def require_coverage(truth: Sequence[Injection], restarted: int) -> None:
    """Return if the run had all restarts and every kind of anomaly.

    Raises:
        Unproven: the traffic ended before the last restart, or no order had some kind of anomaly.
    """
    if restarted < RESTARTS:
        raise Unproven(f"the traffic ended after {restarted} of {RESTARTS} restarts: raise --orders, or lower --rate")
    if missing := set(ANOMALIES) - {injection.anomaly for injection in truth}:
        raise Unproven(
            f"no order had {', '.join(sorted(missing))}: raise --orders or --error-rate, or use another --seed"
        )


def _simulate(config: Config, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    command = [sys.executable, "-m", "scripts.simulator", "--via", "cloud"]
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


def _wait_for_verdicts(plan: Plan, client: Client, before: set[str]) -> list[FlowInstance]:
    """The flow instances of all orders except those of the warm-up, once none is open."""
    decided = partial(_all_decided, client, orders=plan.orders + len(before))
    _until(decided, plan.window + plan.grace + SETTLE_SECONDS, "the last order")
    return [flow for flow in client.items("flows", FlowInstance, limit=2 * plan.orders) if flow.key not in before]


def _all_decided(client: Client, *, orders: int) -> bool:
    summary = client.get("flows/summary", FlowSummary)
    return summary.total >= orders and not summary.by_status["open"]


def _compare(
    plan: Plan, client: Client, truth: list[Injection], flows: list[FlowInstance], live: Mapping[Finding, datetime]
) -> Comparison:
    dead_letters = list(client.items("dead-letters", _DeadLetterRow, limit=2 * plan.orders, status="rejected"))
    poisoned = {order: dead_letter for dead_letter in dead_letters for order in _ORDER_ID.findall(dead_letter.body)[:1]}
    if len(poisoned) < len(dead_letters):
        raise Unproven("a dead letter contains no order id")
    rejected: dict[Finding, datetime] = {
        (order, "poison"): dead_letter.first_received_at for order, dead_letter in poisoned.items()
    }
    return compare(truth, flows, poisoned, orders=plan.orders, reported_at={**live, **rejected})


class _StreamFollower:
    """Records when the live stream first contained each issue.

    Attributes:
        reported_at: the instant, by order and kind.
    """

    def __init__(self, client: Client) -> None:
        self.reported_at: dict[Finding, datetime] = {}
        self._client = client
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _follow(self) -> None:
        for frame in self._client.follow(pause_seconds=POLL_SECONDS, note=lambda _: None):
            now = datetime.now(UTC)
            for change in frame.flows:
                for kind in change.issues:
                    self.reported_at.setdefault((change.key, kind), now)
            if self._ended.is_set():
                return


def _until(holds: Callable[[], bool], seconds: float, subject: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Unproven(f"{subject} was not decided within {seconds:g} s")
        time.sleep(POLL_SECONDS)

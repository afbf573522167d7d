"""One run of the demo: the services, the traffic, the live stats, and the account of events at the end."""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import psycopg
from rich.console import Console
from rich.live import Live

from helios.embedded import postgres
from helios.embedded.credentials import FILE
from helios.embedded.postgres import Postgres
from helios.errors import HeliosError
from helios.processes import instance, interrupts
from helios.processes.instance import AlreadyRunning, Instance
from helios.processes.interrupts import EXIT_INTERRUPTED, Interrupted
from helios.processes.ports import HOST
from helios.processes.process import ServiceFailed
from helios.processes.server import Command
from helios.processes.supervisor import Supervisor
from local.aws import deployer
from local.demo import preflight, stats, summary
from local.demo.stats import Rate, Stats
from local.demo.summary import CountsBySource
from local.emulators.eventgrid import tls
from local.emulators.eventgrid.client import topic_url
from local.stack.config import AWS_ACCOUNT, AWS_REGION, AZURE_TOPIC, BUS, GCP_PROJECT, GCP_TOPIC, Config, load
from local.stack.log_engine import judges, with_engine
from local.stack.providers import MOST_SOURCES, with_sources
from local.stack.services import services, traffic
from local.stack.varied import with_varied_orders

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_TICK_SECONDS: Final = 0.5
_FIRST_EVENT_TICK_SECONDS: Final = 0.1
_PLAIN_SECONDS: Final = 5.0
_FIRST_EVENT_SECONDS: Final = 60.0
_CANARY_SECONDS: Final = 60.0
_WAY: Final = ("api", "deployment", "gcp-topic", "azure-topic")
"""The services without which an event would not reach Helios, or the demo could not show it."""
_RUNNING: Final = "A demo is already running (process {pid}). Stop it with `make local-stop`."
_INTERRUPTED: Final = "Interrupted during the start, before any event was sent. Every service has been stopped."
_NO_COUNTS: Final = "Postgres does not answer, so the demo can't count the stored events"


class Options(NamedTuple):
    """The command line."""

    rate: float
    error_rate: float
    duration: float
    traffic: bool
    fresh: bool
    reload: bool
    sources: int
    varied: float
    engine: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status: 1 if a service failed or an event was lost."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    interrupts.raise_on_the_first()
    try:
        config = load()
        if pid := instance.running(config.folder):
            raise AlreadyRunning(_RUNNING.format(pid=pid))
        preflight.check(config, needs_node=options.reload)
        with Instance(config.folder, _RUNNING):
            config = with_engine(with_sources(config, options.sources), options.engine)
            if options.varied:
                config = with_varied_orders(config)
            return Demo(config, options, console).run()
    except Interrupted:
        console.print(f"\n{_INTERRUPTED}", markup=False)
        return EXIT_INTERRUPTED
    except HeliosError as error:
        console.print(f"local-demo: {error}", markup=False, style="red")
        return EXIT_USAGE
    except ServiceFailed as error:
        console.print(f"local-demo: {error}", markup=False, style="red")
        return EXIT_FAILED


class Demo:
    """One run of the demo."""

    def __init__(self, config: Config, options: Options, console: Console) -> None:
        self._config = config
        self._options = options
        self._console = console
        self._start_time = time.monotonic()
        self._services = services(config, canary_seconds=_CANARY_SECONDS, reload=options.reload)
        self._summary = config.folder / "traffic.json"

    def run(self) -> int:
        """Run the services and the traffic, stop them again, and return the exit status."""
        self._clean()
        self._say("Starting the services. Each one logs to " + str(self._config.log("<service>")))
        with Supervisor(self._services, self._say) as supervisor:
            if self._options.traffic:
                return self._run_traffic(supervisor)
            supervisor.start()
            self._say(banner(self._config, seconds=time.monotonic() - self._start_time))
            self._until_interrupted(lambda: self._watch(supervisor, None))
            return EXIT_OK

    def _run_traffic(self, supervisor: Supervisor) -> int:
        """Run the services, and the traffic as soon as the clouds deliver to Helios; returns the exit status."""
        options = self._options
        simulator = traffic(
            self._config,
            rate=options.rate,
            error_rate=options.error_rate,
            duration=options.duration,
            summary=self._summary,
            sources=options.sources,
            varied=options.varied,
        )
        before: CountsBySource = {}

        def start_traffic() -> None:
            before.update(summary.fetch_counts(self._database_url))
            simulator.start()
            self._await_first_event(before)

        failure: ServiceFailed | None = None
        is_ready = False
        try:
            supervisor.start(first=(*_WAY, *judges(self._config)), then=start_traffic)
            is_ready = True
            self._say(banner(self._config, seconds=time.monotonic() - self._start_time))
            self._until_interrupted(lambda: self._watch(supervisor, simulator))
        except Interrupted:
            self._say("")  # below the terminal's ^C
        except ServiceFailed as error:
            failure = error  # the account of events is printed even after a failure
        if simulator.process:
            self._say("Stopping: waiting for the events in flight")
            simulator.stop()
        return self._sum_up(before, failure, is_ready=is_ready)

    def _await_first_event(self, before: CountsBySource) -> None:
        """Return once an event of the traffic is stored.

        Raises:
            ServiceFailed: nothing was stored in time; the message says why, if the API knows.
        """
        deadline = time.monotonic() + _FIRST_EVENT_SECONDS
        while not self._has_stored(before):
            if time.monotonic() > deadline:
                reasons = stats.explain(stats.fetch_reasons(self._api))
                why = " ".join(reasons) or f"See the logs in {self._config.log('*').parent}."
                raise ServiceFailed(f"No event was stored within {_FIRST_EVENT_SECONDS:g} s. {why}")
            time.sleep(_FIRST_EVENT_TICK_SECONDS)
        self._say(f"First traffic event stored {time.monotonic() - self._start_time:.1f} s after the start")

    def _has_stored(self, before: CountsBySource) -> bool:
        try:
            counts = summary.since(before, summary.fetch_counts(self._database_url))
        except psycopg.OperationalError:
            return False  # the API will say why
        return any(of_cloud.stored for of_cloud in counts.values())

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _clean(self) -> None:
        """Delete the logs and the summary of earlier runs and, with ``--fresh``, their data."""
        shutil.rmtree(self._config.folder / "logs", ignore_errors=True)
        self._summary.unlink(missing_ok=True)
        if self._options.fresh:
            for service in self._services:
                if isinstance(service.server, Postgres):
                    service.server.discard()
                if service.data:
                    shutil.rmtree(service.data, ignore_errors=True)

    def _fetch(self) -> Stats | None:
        return stats.fetch(self._api)

    def _until_interrupted(self, watch: Callable[[], None]) -> None:
        try:
            watch()
        except Interrupted:
            self._say("")  # below the terminal's ^C

    def _watch(self, supervisor: Supervisor, simulator: Command | None) -> None:
        """Show the stats until the traffic ends or the duration is over."""
        rate, watch_start, next_line = Rate(), time.monotonic(), 0.0
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not (simulator and simulator.broken) and not self._over(watch_start, simulator):
                supervisor.check()
                now = self._fetch()
                speed = rate.update(now.total_events) if now else 0.0
                is_healthy = now and "unhealthy" not in now.health.values()
                reasons = {} if is_healthy else stats.fetch_reasons(self._api)
                if self._console.is_terminal:
                    live.update(stats.table(now, speed, reasons), refresh=True)
                elif time.monotonic() >= next_line:
                    self._say(stats.line(now, speed, reasons))
                    next_line = time.monotonic() + _PLAIN_SECONDS
                time.sleep(_TICK_SECONDS)

    def _over(self, watch_start: float, simulator: Command | None) -> bool:
        """Whether a run without traffic, which nothing else ends, has lasted for ``--duration``."""
        duration = self._options.duration
        return simulator is None and 0 < duration < time.monotonic() - watch_start

    @property
    def _api(self) -> str:
        return f"{HOST}:{self._config.api_port}"

    @property
    def _database_url(self) -> str:
        return postgres.url(self._config.postgres_port, self._config.credentials.postgres)

    def _sum_up(self, before: CountsBySource, failure: ServiceFailed | None, *, is_ready: bool) -> int:
        """Print the account of what was sent, and return the exit status.

        Args:
            before: the counts before the traffic.
            failure: raised once the account is printed.
            is_ready: whether every service had started; False after a failure or an interruption of the start.

        Raises:
            Interrupted: the start was interrupted before the traffic sent anything.
            ServiceFailed: the failure, or there is no account.
        """
        sent = summary.read(self._summary)
        if sent is None or (sent.total.sent == 0 and not is_ready):
            if failure:
                raise failure
            if not is_ready:
                raise Interrupted
            raise ServiceFailed(f"The traffic ended without a summary. See {self._config.log('traffic')}.")
        try:
            arrived = summary.wait_for_arrivals(
                lambda: summary.fetch_counts(self._database_url), before, sent, self._say
            )
        except psycopg.OperationalError as error:
            raise failure or ServiceFailed(f"{_NO_COUNTS}: {error}") from error
        text, complete = summary.report(sent, arrived)
        self._say(text)
        if failure:
            raise failure
        if not complete:
            return EXIT_FAILED
        return EXIT_OK if is_ready else EXIT_INTERRUPTED


def banner(config: Config, *, seconds: float) -> str:
    """What the demo prints when it is ready: the address of each service, and what a client needs to use it."""
    certificate = tls.certificate(config.eventgrid_folder)
    links = {
        "dashboard": config.dashboard_url,
        "API": f"{config.api_url}/docs",
        "stats": f"{config.api_url}/api/v1/stats",
        "AWS": f"{config.aws_url} (region {AWS_REGION}, account {AWS_ACCOUNT}, bus {BUS})",
        "AWS API": f"{deployer.api_url(config.aws_url)} (the API behind API Gateway)",
        "Pub/Sub": f"{HOST}:{config.pubsub_port} (project {GCP_PROJECT}, topic {GCP_TOPIC})",
        "Event Grid": topic_url(config.eventgrid_url, AZURE_TOPIC),
        "with TLS": f"{topic_url(config.eventgrid_tls_url, AZURE_TOPIC)} (its certificate: {certificate})",
        "Postgres": f"{HOST}:{config.postgres_port} (`make psql`; its password is in {config.folder / FILE})",
        "Valkey": f"{HOST}:{config.valkey_port} (its password is in the same file)",
        "Kafka": f"{config.kafka_brokers} (one topic per cloud and event type, such as helios.aws.OrderPlaced)",
        "logs": str(config.log("*").parent),
    }
    lines = [f"  {name:<10}  {where}" for name, where in links.items()]
    return "\n".join(
        [
            "",
            f"Helios is ready after {seconds:.1f} s",
            *lines,
            "",
            "  HELIOS_TRUST_LOOPBACK=true: the API accepts events without credentials from this machine only.",
            "  Credentials in a request are always checked. Once a minute, a canary event tests each authenticator.",
            "  Ctrl-C or `make local-stop` stops everything.",
            "",
        ]
    )


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="local-demo", description="Run Helios and its clouds on this machine.")
    parser.add_argument("--rate", type=float, default=10.0, metavar="N", help="events per second (default 10)")
    parser.add_argument(
        "--error-rate",
        type=float,
        default=0.05,
        metavar="F",
        help="share of orders with one anomaly each (default 0.05)",
    )
    parser.add_argument(
        "--duration", type=float, default=0.0, metavar="S", help="seconds of traffic (default 0: until Ctrl-C)"
    )
    parser.add_argument("--no-traffic", dest="traffic", action="store_false", help="start the services, send no events")
    parser.add_argument("--fresh", action="store_true", help="delete the events of earlier runs")
    parser.add_argument(
        "--reload", action="store_true", help="reload the API and the dashboard when their code changes"
    )
    parser.add_argument(
        "--sources",
        type=int,
        choices=range(3, MOST_SOURCES + 1),
        default=3,
        help="3: the clouds; 4: and a payment provider; 5: and a shop, both outside the clouds (default 3)",
    )
    parser.add_argument(
        "--varied",
        type=float,
        default=0.0,
        metavar="F",
        help="share of orders in parcels, refunded, in instalments or in another currency (default 0)",
    )
    parser.add_argument(
        "--engine",
        choices=("postgres", "flink"),
        default="postgres",
        help="what judges events; flink: a log in Apache Kafka, and a job of Apache Flink (default postgres)",
    )
    return Options(**vars(parser.parse_args(arguments)))

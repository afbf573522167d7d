"""``python -m local.demo``, also ``make local-demo``: run Helios and its clouds with live traffic until Ctrl-C."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, NamedTuple

import psycopg
from rich.console import Console
from rich.live import Live

from helios.errors import HeliosError
from local.aws import deployer
from local.demo import preflight, stats, summary
from local.demo.stats import Rate, Stats
from local.demo.summary import CountsBySource
from local.emulators.eventgrid.client import topic_url
from local.servers import postgres
from local.servers.postgres import Postgres
from local.stack.config import AZURE_TOPIC, BUS, GCP_PROJECT, GCP_TOPIC, Config, load
from local.stack.credentials import FILE
from local.stack.instance import Instance
from local.stack.ports import HOST, PortTaken
from local.stack.process import ServiceFailed
from local.stack.server import Command
from local.stack.services import services, traffic
from local.stack.supervisor import Supervisor

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_TICK_SECONDS: Final = 0.5
_PLAIN_SECONDS: Final = 5.0
_FIRST_EVENT_SECONDS: Final = 60.0
_CANARY_SECONDS: Final = 60.0
_NO_COUNTS: Final = "Postgres does not answer, so the demo can't count the stored events"


class Options(NamedTuple):
    """The command line."""

    rate: float
    error_rate: float
    duration: float
    traffic: bool
    fresh: bool
    reload: bool


class Interrupted(BaseException):
    """The demo received a signal to end. Not an ``Exception``, so that no handler of errors catches it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status: 1 if a service failed or an event was lost."""
    options = _options(arguments)
    console = Console(soft_wrap=True, highlight=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        config = load()
        with Instance(config.folder):
            return Demo(config, options, console).run()
    except Interrupted:
        return EXIT_OK
    except (HeliosError, PortTaken) as error:
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
        preflight.check(self._config, self._services)
        self._clean()
        self._say("Starting the services. Each one logs to " + str(self._config.log("<service>")))
        with Supervisor(self._services, self._say) as supervisor:
            supervisor.start()
            self._say(_banner(self._config, seconds=time.monotonic() - self._start_time))
            if not self._options.traffic:
                self._until_interrupted(lambda: self._watch(supervisor, None, None))
                return EXIT_OK
            before, counts = self._first_stats(supervisor), summary.fetch_counts(self._database_url)
            options = self._options
            simulator = traffic(
                self._config,
                rate=options.rate,
                error_rate=options.error_rate,
                duration=options.duration,
                summary=self._summary,
            )
            failure: ServiceFailed | None = None
            with simulator:
                try:
                    self._until_interrupted(lambda: self._watch(supervisor, simulator, before))
                except ServiceFailed as error:
                    failure = error  # the summary is printed even after a failure
                self._say("Stopping: waiting for the events in flight")
            return self._sum_up(counts, failure)

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
        return stats.fetch(f"{HOST}:{self._config.api_port}")

    def _first_stats(self, supervisor: Supervisor) -> Stats:
        """The counts before any traffic."""
        while (now := self._fetch()) is None:
            supervisor.check()
            time.sleep(_TICK_SECONDS)
        return now

    def _until_interrupted(self, watch: Callable[[], None]) -> None:
        try:
            watch()
        except Interrupted:
            self._say("")  # below the terminal's ^C

    def _watch(self, supervisor: Supervisor, simulator: Command | None, before: Stats | None) -> None:
        """Show the stats until the traffic ends or the duration is over."""
        rate, watch_start, next_line = Rate(), time.monotonic(), 0.0
        first_total = before.total_events if before else None
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not (simulator and simulator.broken) and not self._over(watch_start, simulator):
                supervisor.check()
                now = self._fetch()
                speed = rate.update(now.total_events) if now else 0.0
                if first_total is not None and now and now.total_events > first_total:
                    self._say(f"First traffic event stored {time.monotonic() - self._start_time:.1f} s after the start")
                    first_total = None
                elif first_total is not None and time.monotonic() - watch_start > _FIRST_EVENT_SECONDS:
                    raise ServiceFailed(
                        f"No event was stored within {_FIRST_EVENT_SECONDS:g} s. "
                        f"See the logs in {self._config.log('*').parent}."
                    )
                if self._console.is_terminal:
                    live.update(stats.table(now, speed), refresh=True)
                elif time.monotonic() >= next_line:
                    self._say(stats.line(now, speed))
                    next_line = time.monotonic() + _PLAIN_SECONDS
                time.sleep(_TICK_SECONDS)

    def _over(self, watch_start: float, simulator: Command | None) -> bool:
        """Whether a run without traffic, which nothing else ends, has lasted for ``--duration``."""
        duration = self._options.duration
        return simulator is None and 0 < duration < time.monotonic() - watch_start

    @property
    def _database_url(self) -> str:
        return postgres.url(self._config.postgres_port, self._config.credentials.postgres)

    def _sum_up(self, before: CountsBySource, failure: ServiceFailed | None) -> int:
        """Print the summary and return the exit status; raises ``failure`` once the summary is printed."""
        sent = summary.read(self._summary)
        if sent is None:
            raise failure or ServiceFailed(f"The traffic ended without a summary. See {self._config.log('traffic')}.")
        try:
            arrived = summary.wait_for_arrivals(lambda: summary.fetch_counts(self._database_url), before, sent)
        except psycopg.OperationalError as error:
            raise failure or ServiceFailed(f"{_NO_COUNTS}: {error}") from error
        text, complete = summary.report(sent, arrived)
        self._say(text)
        if failure:
            raise failure
        return EXIT_OK if complete else EXIT_FAILED


def _banner(config: Config, *, seconds: float) -> str:
    links = {
        "dashboard": config.dashboard_url,
        "API": f"{config.api_url}/docs",
        "stats": f"{config.api_url}/api/v1/stats",
        "AWS": f"{config.aws_url} (bus {BUS}; the API behind API Gateway: {deployer.api_url(config.aws_url)})",
        "Pub/Sub": f"{HOST}:{config.pubsub_port} (project {GCP_PROJECT}, topic {GCP_TOPIC})",
        "Event Grid": topic_url(config.eventgrid_url, AZURE_TOPIC),
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


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Shut down in order on the first signal; exit at once on the second, when the reapers end the services."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, lambda _number, _frame: os._exit(EXIT_INTERRUPTED))
    raise Interrupted(signal.Signals(number).name)


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
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())

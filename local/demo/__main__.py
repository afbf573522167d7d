"""``python -m local.demo``, also ``make local-demo``: everything on this machine, with live traffic, until Ctrl-C."""

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
from local.demo.summary import Accounts
from local.emulators.eventgrid.client import topic_url
from local.servers import postgres, valkey
from local.servers.postgres import Postgres
from local.stack.config import AZURE_TOPIC, BUS, GCP_PROJECT, GCP_TOPIC, Config, load
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
_UNTOLD: Final = "Postgres does not answer, so what became of the events can't be told"


class Options(NamedTuple):
    """The command line."""

    rate: float
    error_rate: float
    duration: float
    traffic: bool
    fresh: bool
    reload: bool


class Interrupted(BaseException):
    """Somebody asked the demo to end: not an error, and not to be caught as one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, and return its exit status: 1 if a service failed or an event was lost."""
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
        self._began = time.monotonic()
        self._services = services(config, canary_seconds=_CANARY_SECONDS, reload=options.reload)
        self._summary = config.folder / "traffic.json"

    def run(self) -> int:
        """Start everything, show what happens, and end everything; the exit status."""
        preflight.check(self._config, self._services)
        self._clean()
        self._say("starting; what each service says is in " + str(self._config.log("*")))
        with Supervisor(self._services, self._say) as supervisor:
            supervisor.start()
            self._say(_banner(self._config, seconds=time.monotonic() - self._began))
            if not self._options.traffic:
                self._until_interrupted(lambda: self._watch(supervisor, None, None))
                return EXIT_OK
            before, accounts = self._first_stats(supervisor), summary.accounts(self._database_url)
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
                    failure = error  # what became of the events is to be told all the same
                self._say("ending: waiting for what is under way")
            return self._sum_up(accounts, failure)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _clean(self) -> None:
        """Forget earlier runs: their logs and summary and, if asked to, their data."""
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
        """Where the counts stand before any traffic."""
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
        """Show the stats until the traffic or the time is over."""
        rate, began, next_line = Rate(), time.monotonic(), 0.0
        awaited = before.total_events if before else None
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not (simulator and simulator.broken) and not self._over(began, simulator):
                supervisor.check()
                now = self._fetch()
                speed = rate.update(now.total_events) if now else 0.0
                if awaited is not None and now and now.total_events > awaited:
                    self._say(f"first event stored {time.monotonic() - self._began:.1f} s after the start")
                    awaited = None
                elif awaited is not None and time.monotonic() - began > _FIRST_EVENT_SECONDS:
                    raise ServiceFailed(
                        f"no event was stored within {_FIRST_EVENT_SECONDS:g} s: see the logs of each service"
                    )
                if self._console.is_terminal:
                    live.update(stats.table(now, speed), refresh=True)
                elif time.monotonic() >= next_line:
                    self._say(stats.line(now, speed))
                    next_line = time.monotonic() + _PLAIN_SECONDS
                time.sleep(_TICK_SECONDS)

    def _over(self, began: float, simulator: Command | None) -> bool:
        """Whether a run without traffic, which nothing else ends, has lasted as long as it was asked to."""
        duration = self._options.duration
        return simulator is None and 0 < duration < time.monotonic() - began

    @property
    def _database_url(self) -> str:
        return postgres.url(self._config.postgres_port)

    def _sum_up(self, before: Accounts, failure: ServiceFailed | None) -> int:
        """Say what became of what was sent, also when a service has failed meanwhile."""
        sent = summary.read(self._summary)
        if sent is None:
            raise failure or ServiceFailed(f"the traffic ended without a summary: see {self._config.log('traffic')}")
        try:
            came = summary.settle(lambda: summary.accounts(self._database_url), before, sent)
        except psycopg.OperationalError as error:
            raise failure or ServiceFailed(f"{_UNTOLD}: {error}") from error
        text, good = summary.tell(sent, came)
        self._say(text)
        if failure:
            raise failure
        return EXIT_OK if good else EXIT_FAILED


def _banner(config: Config, *, seconds: float) -> str:
    links = {
        "dashboard": config.dashboard_url,
        "API": f"{config.api_url}/docs",
        "stats": f"{config.api_url}/api/v1/stats",
        "AWS": f"{config.aws_url} (bus {BUS}; the API behind its gateway: {deployer.api_url(config.aws_url)})",
        "Pub/Sub": f"{HOST}:{config.pubsub_port} (project {GCP_PROJECT}, topic {GCP_TOPIC})",
        "Event Grid": topic_url(config.eventgrid_url, AZURE_TOPIC),
        "Postgres": postgres.url(config.postgres_port),
        "Valkey": valkey.url(config.valkey_port),
        "Kafka": f"{config.kafka_brokers} (topics helios.aws.OrderPlaced and so on)",
        "logs": str(config.log("*").parent),
    }
    lines = [f"  {name:<10}  {where}" for name, where in links.items()]
    return "\n".join(
        [
            "",
            f"Helios runs, ready after {seconds:.1f} s",
            *lines,
            "  HELIOS_TRUST_LOOPBACK=true: this machine may send without a proof, no other may send at all.",
            "  A proof that is shown is checked: a canary event passes every guard once a minute.",
            "  Ctrl-C or `make local-stop` ends everything.",
            "",
        ]
    )


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """End in good order; asked a second time, end at once: the services' reapers see to it that nothing is left."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, lambda _number, _frame: os._exit(EXIT_INTERRUPTED))
    raise Interrupted(signal.Signals(number).name)


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="local-demo", description="Run Helios and its clouds on this machine.")
    parser.add_argument("--rate", type=float, default=10.0, metavar="N", help="events per second (10)")
    parser.add_argument(
        "--error-rate", type=float, default=0.05, metavar="F", help="share of orders that get one anomaly (0.05)"
    )
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="seconds of traffic (0: until Ctrl-C)")
    parser.add_argument("--no-traffic", dest="traffic", action="store_false", help="start everything, send nothing")
    parser.add_argument("--fresh", action="store_true", help="forget the events of earlier runs")
    parser.add_argument(
        "--reload", action="store_true", help="load the API's and the dashboard's code again whenever it is saved"
    )
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())

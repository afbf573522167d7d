"""``python -m helios.flink run|submit``: starts the job in the cluster that runs this program, or on another one.

It reads HELIOS_LOG_BROKERS, HELIOS_LOG_PREFIX, HELIOS_FLOWS_FILE, HELIOS_SOURCES_FILE and HELIOS_RETENTION. It runs in
the environment of ``flink.lock``, of which Helios itself needs msgspec only. ``helios flink run|submit`` has the same
options, finds that environment, and starts this command there.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from helios import settings as environment
from helios.errors import ConfigurationError
from helios.flink.checkpoints import latest_checkpoint
from helios.messages import topics
from helios.model import retention
from helios.reconciliation import declaration
from helios.sources import declaration as source_declaration

LATEST = "latest"
"""The value of ``--from`` that names the last checkpoint in the folder of the checkpoints."""


def add_commands(parser: argparse.ArgumentParser) -> Sequence[argparse.ArgumentParser]:
    """Add ``run`` and ``submit``, and return their parsers."""
    commands = parser.add_subparsers(dest="action", required=True)
    text = (
        "run the job in the cluster that has started this program (flink run, the Kubernetes operator), otherwise in a "
        "small cluster in one process, until Ctrl-C"
    )
    run = commands.add_parser("run", help=text, description=text)
    text = "submit the job to the JobManager of a cluster, print its id, and exit"
    submit = commands.add_parser("submit", help=text, description=text)
    submit.add_argument("--jobmanager", default="localhost:8081", metavar="HOST:PORT", help="its REST address")
    for command in (run, submit):
        command.add_argument(
            "--checkpoints",
            required=True,
            metavar="URL",
            help="where checkpoints and savepoints are written: file:///folder, s3://bucket/prefix",
        )
        command.add_argument(
            "--interval-ms",
            type=_positive,
            default=1000,
            help="time between two checkpoints, with which results become visible (default: %(default)s)",
        )
        command.add_argument("--parallelism", type=_positive, default=1, help="number of tasks (default: %(default)s)")
        command.add_argument(
            "--from",
            dest="start",
            metavar="PATH",
            help=f"savepoint or checkpoint to start from; {LATEST}: the last checkpoint in a file:// folder, if any",
        )
        command.add_argument(
            "--python", metavar="PATH", help="interpreter of the TaskManagers (default: the one that starts the job)"
        )
        command.add_argument(
            "--jar", action="append", default=[], help="jar of the Kafka connector, unless the cluster has it in lib/"
        )
        command.add_argument(
            "--kafka-properties",
            type=Path,
            metavar="FILE",
            help="more properties of Kafka's Java client (TLS, SASL), one name=value per line",
        )
    return run, submit


def arguments_of(options: argparse.Namespace) -> list[str]:
    """The arguments that ``add_commands`` parses to these options."""
    named = {
        "jobmanager": vars(options).get("jobmanager"),
        "checkpoints": options.checkpoints,
        "interval-ms": options.interval_ms,
        "parallelism": options.parallelism,
        "from": options.start,
        "python": options.python,
        "kafka-properties": options.kafka_properties,
    }
    pairs = [(name, value) for name, value in named.items() if value is not None]
    pairs += [("jar", jar) for jar in options.jar]
    return [options.action, *(f"--{name}={value}" for name, value in pairs)]


def execute(options: argparse.Namespace) -> None:
    """Start the job.

    Raises:
        ConfigurationError: a setting is missing or wrong, or PyFlink is not installed.
    """
    if find_spec("pyflink") is None:
        raise ConfigurationError(
            "PyFlink is not installed here. Install flink.lock into an environment of its own, and start the job with "
            "its Python: python -m helios.flink. See docs/flink.md."
        )
    # Only this command imports PyFlink.
    from helios.flink.job import Log, build, configuration, environment_of
    from helios.flink.operators import Declarations

    settings = environment.load({**os.environ, "HELIOS_ENGINE": "flink"})
    sources = source_declaration.load(settings.sources_file)
    flows = declaration.load(settings.flows_file, sources=sources)
    flink = environment_of(
        configuration(
            python=options.python or sys.executable,
            checkpoints=options.checkpoints,
            interval_ms=options.interval_ms,
            more=_target(options),
        )
    )
    flink.set_parallelism(options.parallelism)
    properties = _properties(options.kafka_properties) if options.kafka_properties else {}
    log = Log(settings.log_brokers or "", topics(settings.log_prefix), properties)
    horizon = retention.log_horizon(settings.retention)
    build(flink, log, Declarations(flows, sources, horizon, settings.flows_file or None))
    name = f"helios {settings.log_prefix}"
    if options.action == "submit":
        print(flink.execute_async(name).get_job_id())
    else:
        flink.execute(name)


def _target(options: argparse.Namespace) -> Mapping[str, str]:
    """The settings that say where the job runs and what it starts from."""
    more: dict[str, str] = {}
    if options.action == "submit":
        host, _, port = options.jobmanager.rpartition(":")
        more |= {"execution.target": "remote", "rest.address": host, "rest.port": port, "execution.attached": "false"}
    if options.jar:
        more["pipeline.jars"] = ";".join(Path(jar).absolute().as_uri() for jar in options.jar)
    start = latest_checkpoint(options.checkpoints) if options.start == LATEST else options.start
    if start:
        more["execution.state-recovery.path"] = start
    return more


def _properties(file: Path) -> dict[str, str]:
    """The properties in a file.

    Raises:
        ConfigurationError: the file can't be read, or a line has no ``=``.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--kafka-properties: {file} can't be read: {error}") from error
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ConfigurationError(f"--kafka-properties: {file}: a line has the form name=value, not {wrong[0]!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number

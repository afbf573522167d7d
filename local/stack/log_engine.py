"""The services of ``--engine flink``: a log in Apache Kafka, Apache Flink with the job, and the projector."""

import secrets
import sys
import time
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from helios.processes.preflight import require
from helios.processes.process import scrubbed_environment
from helios.processes.server import Command, Server, Task
from helios.processes.supervisor import Service
from local.servers.apache_flink import environment as flink_environment
from local.servers.apache_flink.cluster import FlinkCluster
from local.servers.apache_flink.job import Job, submit
from local.servers.apache_kafka.cluster import Cluster
from local.stack.config import REPOSITORY, Config

PARTITIONS: Final = 4
TOPICS: Final = "log-topics"
"""The service after which deliveries can be appended."""

_ABSENT_SECONDS: Final = 10.0
"""How long the JobManager must have answered without the job until the job is submitted again."""


def with_engine(config: Config, engine: str) -> Config:
    """The settings with an engine. Each start of the log has topics of its own: Flink's state begins with them.

    Raises:
        CannotStart: this machine can't run Apache Kafka or Apache Flink; the message says what is missing.
    """
    if engine == "flink":
        require([flink_environment.missing()])
    return replace(config, engine=engine, log_prefix=f"helios-{secrets.token_hex(4)}")


def judges(config: Config) -> tuple[str, ...]:
    """The services without which no event is stored, beside those that the engine of Postgres needs too."""
    return ("flink-job", "projector") if config.engine == "flink" else ()


def settings(config: Config) -> dict[str, str]:
    """The settings of every process of Helios."""
    if config.engine == "postgres":
        return {}
    return {
        "HELIOS_ENGINE": config.engine,
        "HELIOS_LOG_BROKERS": config.log_brokers,
        "HELIOS_LOG_PREFIX": config.log_prefix,
    }


def rows(config: Config, environment: dict[str, str]) -> list[Service]:
    """The services; none with the engine of Postgres.

    Args:
        config: the ports and folders.
        environment: the settings of every process of Helios.
    """
    if config.engine == "postgres":
        return []
    folder = config.folder / "log" / config.log_prefix
    kafka = Cluster(folder / "kafka", nodes=1, ports=[config.log_port])
    flink = FlinkCluster(folder / "flink", taskmanagers=1)
    helios = [sys.executable, "-m", "helios"]
    variables = scrubbed_environment(**environment)
    topics = [*helios, "log", "create", "--partitions", str(PARTITIONS), "--replicas", "1"]
    projector = Command(
        "projector",
        [*helios, "projector"],
        env=variables,
        ready=lambda: True,  # it retries until the database and the log answer
        log=config.log("projector"),
        cwd=REPOSITORY,
    )
    return [
        Service("log", kafka.nodes[1], ports=("log_port",), restarts=True),
        Service(TOPICS, Task(TOPICS, topics, env=variables, log=config.log(TOPICS), cwd=REPOSITORY), needs=("log",)),
        Service("jobmanager", flink.jobmanager, restarts=True),
        Service("taskmanager", flink.taskmanagers[0], needs=("jobmanager",), restarts=True),
        Service(
            "flink-job",
            JobOnCluster(flink, folder, config.log("flink-job"), environment),
            needs=(TOPICS, "taskmanager"),
            restarts=True,
        ),
        Service("projector", projector, needs=("migrations", TOPICS), restarts=True),
    ]


class JobOnCluster(Server):
    """The job as a service: submitted again from its last checkpoint when the JobManager has lost it."""

    def __init__(self, cluster: FlinkCluster, folder: Path, log: Path, environment: dict[str, str]) -> None:
        """Describe the job; ``start`` submits it."""
        self._cluster = cluster
        self._checkpoints = folder / "checkpoints"
        self._log = log
        self._environment = environment
        self._job: Job | None = None
        self._absent_since: float | None = None

    def start(self) -> None:
        """Submit the job, and return once it runs."""
        submission = submit(
            self._cluster,
            settings=self._environment,
            checkpoints=self._checkpoints,
            log=self._log,
            start="latest",
        )
        self.process, self._job, self._absent_since = submission.process, submission.job, None
        self._job.wait_running()

    def stop(self) -> None:
        """Cancel the job; its checkpoints stay."""
        if self._job:
            self._job.cancel()

    @property
    def broken(self) -> bool:
        """Whether the JobManager has answered without the job for a while."""
        if self._job is None or not self._job.is_lost():
            self._absent_since = None
            return False
        self._absent_since = self._absent_since or time.monotonic()
        return time.monotonic() - self._absent_since > _ABSENT_SECONDS

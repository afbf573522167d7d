"""The job of Helios on a cluster of this machine: submitted, observed, stopped."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from helios.processes.ports import HOST
from helios.processes.process import Process, ServiceFailed, scrubbed_environment
from local.servers.apache_flink.cluster import FlinkCluster
from local.servers.apache_flink.environment import install

SUBMIT_SECONDS: Final = 300
_POLL_SECONDS: Final = 0.2
_HEAP_MB: Final = 256
_ENDED: Final = {"FAILED", "CANCELED", "FINISHED", "SUSPENDED"}
_LARGEST_LOG_TAIL: Final = 4000


class Job:
    """A job that was submitted.

    Attributes:
        id: its id on the cluster.
    """

    def __init__(self, cluster: FlinkCluster, id_: str) -> None:
        self.id = id_
        self._jobmanager = cluster.jobmanager

    def is_running(self) -> bool:
        """Whether every task runs. False while the JobManager does not answer."""
        try:
            tasks = self._jobmanager.request("GET", f"/jobs/{self.id}")["status-counts"]
        except OSError:
            return False
        return bool(sum(tasks.values()) == tasks["RUNNING"] > 0)

    def is_lost(self) -> bool:
        """Whether the JobManager answers and does not know the job, or has ended it: a new JobManager has no jobs."""
        try:
            jobs = self._jobmanager.request("GET", "/jobs")["jobs"]
        except OSError:
            return False
        return not any(job["id"] == self.id and job["status"] not in _ENDED for job in jobs)

    def failure(self) -> str | None:
        """The reason of the last restart; None if there was none."""
        history = self._jobmanager.request("GET", f"/jobs/{self.id}/exceptions")["exceptionHistory"]["entries"]
        return str(history[0]["stacktrace"])[:_LARGEST_LOG_TAIL] if history else None

    def wait_running(self, *, seconds: float = SUBMIT_SECONDS) -> None:
        """Return once every task runs.

        Raises:
            ServiceFailed: that took too long; the message has the reason of the last restart.
        """
        deadline = time.monotonic() + seconds
        while not self.is_running():
            if time.monotonic() > deadline:
                raise ServiceFailed(f"Job {self.id} did not run within {seconds:g} s.\n{self.failure() or ''}")
            time.sleep(_POLL_SECONDS)

    def checkpoints(self) -> int:
        """The number of checkpoints that the cluster has completed since it knows the job."""
        return int(self._jobmanager.request("GET", f"/jobs/{self.id}/checkpoints")["counts"]["completed"])

    def state_bytes(self) -> dict[str, int]:
        """The size of the state in the last checkpoint, by the names of the operators of a task."""
        latest = self._jobmanager.request("GET", f"/jobs/{self.id}/checkpoints")["latest"]["completed"]["id"]
        tasks = self._jobmanager.request("GET", f"/jobs/{self.id}/checkpoints/details/{latest}")["tasks"]
        names = {task["id"]: task["name"] for task in self._jobmanager.request("GET", f"/jobs/{self.id}")["vertices"]}
        return {names[id_]: int(task["state_size"]) for id_, task in tasks.items()}

    def savepoint(self, folder: Path, *, seconds: float = SUBMIT_SECONDS) -> str:
        """Stop the job with a savepoint, and return its path.

        Raises:
            ServiceFailed: it failed, or took too long.
        """
        request = {"targetDirectory": folder.as_uri(), "drain": False}
        trigger = self._jobmanager.request("POST", f"/jobs/{self.id}/stop", request)["request-id"]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self._jobmanager.request("GET", f"/jobs/{self.id}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                operation = answer["operation"]
                if "location" not in operation:
                    raise ServiceFailed(f"The savepoint failed: {operation}"[:_LARGEST_LOG_TAIL])
                return str(operation["location"])
            time.sleep(_POLL_SECONDS)
        raise ServiceFailed(f"The savepoint was not complete within {seconds:g} s.")

    def cancel(self) -> None:
        """Cancel the job; its checkpoints stay. Does nothing if the JobManager no longer knows it."""
        try:
            self._jobmanager.request("PATCH", f"/jobs/{self.id}?mode=cancel")
        except OSError:
            return


class Submission(NamedTuple):
    """A job, and the process that has submitted it."""

    job: Job
    process: Process


def submit(
    cluster: FlinkCluster,
    *,
    settings: Mapping[str, str],
    checkpoints: Path,
    log: Path,
    parallelism: int = 1,
    start: str | None = None,
    interval_ms: int = 1000,
) -> Submission:
    """Submit the job of this clone, with ``helios flink submit``.

    Args:
        cluster: the cluster.
        settings: the settings of Helios: HELIOS_LOG_BROKERS and more.
        checkpoints: a folder for checkpoints.
        log: a file for what the program prints.
        parallelism: the number of tasks, one for each TaskManager.
        start: a savepoint or checkpoint; ``latest``: the last one in the folder.
        interval_ms: the time between two checkpoints.

    Raises:
        ServiceFailed: the job was not accepted; the message has the end of the log.
    """
    arguments = [
        *("submit", "--jobmanager", f"{HOST}:{cluster.rest_port}"),
        *("--parallelism", str(parallelism), "--interval-ms", str(interval_ms)),
        *(["--from", start] if start else []),
    ]
    with _helios_flink(arguments, settings, checkpoints, log) as process:
        process.finish(seconds=SUBMIT_SECONDS)
    return Submission(Job(cluster, log.read_text().split()[-1]), process)


def run(*, settings: Mapping[str, str], checkpoints: Path, log: Path) -> Process:
    """The job of this clone in a cluster of its own process, with ``helios flink run``; arguments as of ``submit``."""
    return _helios_flink(["run"], settings, checkpoints, log)


def _helios_flink(arguments: Sequence[str], settings: Mapping[str, str], checkpoints: Path, log: Path) -> Process:
    environment = install()
    command: list[str | Path] = [
        *(sys.executable, "-m", "helios", "flink", *arguments),
        *("--environment", environment.python.parents[1], "--checkpoints", checkpoints.as_uri()),
        *(part for jar in environment.jars for part in ("--jar", jar)),
    ]
    variables = scrubbed_environment(JVM_ARGS=f"-Xmx{_HEAP_MB}m -XX:+UseSerialGC", **settings)
    return Process("flink-job", command, log=log, env=variables)

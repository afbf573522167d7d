"""A cluster of Flink on loopback ports: a JobManager and TaskManagers, each a Java process of its own.

The JobManager has no standby: when it dies, its jobs end, and their last checkpoint is the place to start again from.
"""

import http.client
import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import yaml

from helios.processes.ports import HOST, free_port
from helios.processes.private import private_folder, write_private
from helios.processes.process import scrubbed_environment
from helios.processes.server import Server
from local.servers.apache_flink.environment import Environment, install

START_SECONDS: Final = 240
_STOP_SECONDS: Final = 10
_REQUEST_SECONDS: Final = 30

MEGABYTES: Final = {
    "jobmanager": 320,
    "framework": 64,
    "task": 192,
    "managed": 192,
    "network": 64,
    "direct": 64,
}
"""The memory of the processes, in MB: the heap of the JobManager; of a TaskManager the heap of Flink and of the tasks,
RocksDB, network buffers, and direct memory. The Python of a job is in a TaskManager's process, outside of these."""

_OPENS: Final = [
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        *("java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time"),
        *("java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"),
    )
]
"""Flink's own setting ``env.java.opts.all`` for Java 17."""

_LOG4J: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
logger.kafka.name = org.apache.kafka
logger.kafka.level = ERROR
logger.shaded.name = org.apache.flink.kafka.shaded
logger.shaded.level = ERROR
"""


class _Daemon(Server):
    """One Java process of the cluster."""

    def __init__(self, name: str, program: str, settings: Mapping[str, Any], folder: Path, heap: int) -> None:
        self.log = folder / f"{name}.log"
        self._name = name
        self._program = program
        self._settings = settings
        self._folder = folder / name
        self._heap = heap

    def start(self) -> None:
        """Start the process, and return once it answers."""
        self.launch(install())
        self.wait_ready()

    def launch(self, environment: Environment) -> None:
        """Start the process."""
        private_folder(self._folder)
        write_private(self._folder / "config.yaml", yaml.safe_dump(dict(self._settings)))
        write_private(self._folder / "log4j.properties", _LOG4J)
        flink = environment.flink
        classpath = ":".join(map(str, [f"{flink}/lib/*", *sorted((flink / "opt").glob("flink-python-*.jar"))]))
        command: list[str | Path] = [
            "java",
            *(f"-Xmx{self._heap}m", f"-XX:MaxDirectMemorySize={MEGABYTES['network'] + 2 * MEGABYTES['direct']}m"),
            *("-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=256m", "-Djava.awt.headless=true", *_OPENS),
            f"-Dlog4j.configurationFile=file:{self._folder}/log4j.properties",
            *("-cp", classpath, self._program, "--configDir", self._folder),
        ]
        variables = scrubbed_environment(PYTHONPATH=environment.python_path)
        self._launch(self._name, command, log=self.log, env=variables)

    def wait_ready(self) -> None:
        """Return once the process answers.

        Raises:
            ServiceFailed: it has ended, or the time is over.
        """
        self._running.wait_ready(self._is_ready, seconds=START_SECONDS)

    def stop(self) -> None:
        """Shut the process down in order."""
        if self.process:
            self.process.stop(seconds=_STOP_SECONDS)

    def _is_ready(self) -> bool:
        raise NotImplementedError


class JobManager(_Daemon):
    """Runs jobs on the TaskManagers that have registered with it."""

    def __init__(self, settings: Mapping[str, Any], folder: Path) -> None:
        program = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        super().__init__("jobmanager", program, settings, folder, MEGABYTES["jobmanager"])
        self._port = int(settings["rest.port"])

    def request(self, method: str, path: str, content: Any = None) -> Any:
        """The answer of the JobManager's REST API (Apache Flink, "REST API").

        Raises:
            OSError: the JobManager does not answer, or refuses the request.
        """
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_REQUEST_SECONDS)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"the JobManager has not answered {method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise OSError(f"the JobManager refuses {method} {path}: {text[:500]!r}")
        return json.loads(text or b"null")

    def _is_ready(self) -> bool:
        return "taskmanagers" in self.request("GET", "/overview")


class TaskManager(_Daemon):
    """Runs one slot of a job: in thread mode, all Python of a TaskManager shares one interpreter."""

    def __init__(self, number: int, settings: Mapping[str, Any], folder: Path, jobmanager: JobManager) -> None:
        name = f"taskmanager-{number}"
        program = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        self._id = f"{name}-{free_port()}"
        sizes = {
            "taskmanager.resource-id": self._id,
            "taskmanager.numberOfTaskSlots": 1,
            "taskmanager.cpu.cores": 1.0,
            "taskmanager.memory.framework.heap.size": f"{MEGABYTES['framework']}m",
            "taskmanager.memory.framework.off-heap.size": f"{MEGABYTES['direct']}m",
            "taskmanager.memory.task.heap.size": f"{MEGABYTES['task']}m",
            "taskmanager.memory.task.off-heap.size": f"{MEGABYTES['direct']}m",
            "taskmanager.memory.managed.size": f"{MEGABYTES['managed']}m",
            "taskmanager.memory.network.min": f"{MEGABYTES['network']}m",
            "taskmanager.memory.network.max": f"{MEGABYTES['network']}m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "192m",
            "taskmanager.memory.jvm-overhead.max": "192m",
        }
        super().__init__(name, program, {**settings, **sizes}, folder, MEGABYTES["framework"] + MEGABYTES["task"])
        self._jobmanager = jobmanager

    def _is_ready(self) -> bool:
        return any(
            manager["id"] == self._id for manager in self._jobmanager.request("GET", "/taskmanagers")["taskmanagers"]
        )


class FlinkCluster:
    """A JobManager and TaskManagers with one slot each. As a context manager, it starts and stops.

    Attributes:
        rest_port: the port of the JobManager's REST API.
        jobmanager: the JobManager.
        taskmanagers: the TaskManagers.
    """

    def __init__(self, folder: Path, *, taskmanagers: int = 1) -> None:
        """Describe a cluster; ``start`` starts it.

        Args:
            folder: a folder for its logs and working files, created when missing.
            taskmanagers: the number of TaskManagers.
        """
        self.rest_port = free_port()
        settings = {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": HOST,
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": self.rest_port,
            "rest.bind-port": self.rest_port,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "io.tmp.dirs": str(folder / "tmp"),
            "web.submit.enable": "false",
            # A killed process is noticed in seconds: the default is for larger clusters and slower networks.
            "heartbeat.interval": "1 s",
            "heartbeat.timeout": "6 s",
            "heartbeat.rpc-failure-threshold": 1,
            "slot.request.timeout": "120 s",
        }
        private_folder(folder)
        private_folder(folder / "tmp")
        self.jobmanager = JobManager(settings, folder)
        self.taskmanagers = [
            TaskManager(number, settings, folder, self.jobmanager) for number in range(1, taskmanagers + 1)
        ]

    def start(self) -> None:
        """Start every process that does not run, and return once all slots are free.

        Raises:
            ServiceFailed: Apache Flink can't be installed, or a process does not start.
        """
        environment = install()
        for server in (self.jobmanager, *self.taskmanagers):
            if server.process is None or server.broken:
                server.launch(environment)
        for server in (self.jobmanager, *self.taskmanagers):
            server.wait_ready()

    def stop(self) -> None:
        """Kill all processes: what has to survive is in checkpoints."""
        for server in (*self.taskmanagers, self.jobmanager):
            if server.process:
                server.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

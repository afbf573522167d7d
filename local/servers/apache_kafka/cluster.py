"""A cluster of real brokers in KRaft mode, on loopback ports.

Each node is a broker and a controller, in a Java process of its own.
"""

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from helios.processes.ports import HOST, free_port
from helios.processes.private import private_folder, write_private
from helios.processes.process import Process
from helios.processes.server import Server
from local.servers.apache_kafka.jars import JARS

START_SECONDS: Final = 90
_FORMAT_SECONDS: Final = 60
_STOP_SECONDS: Final = 20
_PROBE_SECONDS: Final = 2

_JAVA: Final = (
    "java",
    # A short start, and little memory for each of several brokers on one machine.
    *("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *("-Dorg.apache.logging.log4j.level=WARN", "-Djava.awt.headless=true"),
)

_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "auto.create.topics.enable": "false",
    # A killed broker is noticed in seconds: the defaults, of up to 30 s, are for larger clusters and slower networks.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1500",
    "replica.lag.time.max.ms": "3000",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "3",
    # Compaction runs as soon as a topic's own settings allow it.
    "log.cleaner.backoff.ms": "200",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "1000",
}
"""Names and meaning: Apache Kafka, "Broker Configs"."""


class Broker(Server):
    """One node: a broker and a controller.

    Attributes:
        number: its ``node.id``.
        port: the port for clients.
        data: the folder of its log.
    """

    def __init__(
        self,
        number: int,
        port: int,
        *,
        settings: Mapping[str, str],
        folder: Path,
        data: Path | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Describe a node; ``start`` starts it.

        Args:
            number: its ``node.id``.
            port: the port for clients.
            settings: its properties, without ``log.dirs``.
            folder: a folder for its settings, its log file and its data, created when missing.
            data: another folder for its data.
            wrapper: a command that runs the one that follows it.
        """
        self.number = number
        self.port = port
        self.data = data or folder / "data"
        self.log = folder / "broker.log"
        self._settings = settings
        self._folder = folder
        self._wrapper = wrapper

    def start(self) -> None:
        """Start the node, and return once the cluster has it as a broker. Most nodes must be running for that."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process, after formatting the folder of the data if it is new."""
        private_folder(self._folder)
        file = self._folder / "server.properties"
        properties = {**self._settings, "log.dirs": str(self.data)}
        write_private(file, "".join(f"{name}={value}\n" for name, value in properties.items()))
        if self.process is None:
            cluster = f"--cluster-id={self._settings['cluster.id']}"  # with "=", since an id may begin with a dash
            arguments = ("format", "--ignore-formatted", cluster, "--config", file)
            with Process(
                "kafka-storage", self._java("kafka.tools.StorageTool", *arguments), log=self.log
            ) as formatting:
                formatting.finish(seconds=_FORMAT_SECONDS)
        self._launch(f"kafka-{self.number}", self._java("kafka.Kafka", file), log=self.log)

    def wait_ready(self) -> None:
        """Return once the node is one of the cluster's brokers.

        Raises:
            ServiceFailed: it has ended, or the time is over.
        """
        self._running.wait_ready(self._is_registered, seconds=START_SECONDS)

    def stop(self) -> None:
        """Shut the node down in order."""
        if self.process:
            self.process.stop(seconds=_STOP_SECONDS)

    def _java(self, program: str, *arguments: str | Path) -> list[str | Path]:
        return [*self._wrapper, *_JAVA, "-cp", f"{JARS.install()}/*", program, *arguments]

    def _is_registered(self) -> bool:
        try:
            metadata = AdminClient({"bootstrap.servers": f"{HOST}:{self.port}", "log_level": 0}).list_topics(
                timeout=_PROBE_SECONDS
            )
        except KafkaException:
            return False
        return self.number in metadata.brokers


class Cluster:
    """A cluster of nodes. As a context manager, it starts and stops."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 3,
        ports: Sequence[int] = (),
        settings: Mapping[str, str] | None = None,
        data: Path | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Describe a cluster; ``start`` starts it.

        Args:
            folder: a folder for its logs and data, created when missing.
            nodes: the number of nodes.
            ports: the ports for clients; by default free ones.
            settings: more properties of each node.
            data: another folder for the data of the nodes.
            wrapper: a command that runs the one that follows it.
        """
        clients = ports or [free_port() for _ in range(nodes)]
        listeners = {number: (port, free_port()) for number, port in enumerate(clients, 1)}
        replicas = str(min(nodes, 3))
        shared = {
            **_SETTINGS,
            "cluster.id": urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
            "controller.quorum.voters": ",".join(f"{node}@{HOST}:{port}" for node, (_, port) in listeners.items()),
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": str(max(1, min(nodes, 3) - 1)),
            "share.coordinator.state.topic.replication.factor": replicas,
            **(settings or {}),
        }
        self.nodes = {
            number: Broker(
                number,
                port,
                settings={
                    **shared,
                    "node.id": str(number),
                    "listeners": f"CLIENTS://{HOST}:{port},CONTROLLER://{HOST}:{controllers}",
                    "advertised.listeners": f"CLIENTS://{HOST}:{port}",
                },
                folder=folder / str(number),
                data=data and data / str(number),
                wrapper=wrapper,
            )
            for number, (port, controllers) in listeners.items()
        }

    @property
    def brokers(self) -> str:
        """The addresses for clients (``bootstrap.servers``)."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes.values())

    def start(self) -> None:
        """Start every node that does not run, and return once all are brokers of the cluster.

        Raises:
            ServiceFailed: Apache Kafka can't be installed, or a node does not start.
        """
        for node in self.nodes.values():
            if node.process is None or node.broken:
                node.launch()
        for node in self.nodes.values():
            node.wait_ready()

    def stop(self) -> None:
        """Kill all nodes. In an orderly shutdown the last ones would wait for a majority that is gone."""
        for node in self.nodes.values():
            if node.process:
                node.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

"""The services of the engine of Flink: none with Postgres, and every one after those that it needs."""

import msgspec
import pytest

from helios.processes.preflight import CannotStart
from local.servers.apache_flink import environment
from local.servers.apache_flink.job import Job
from local.stack import log_engine
from local.stack.config import Config, free_port_fields
from local.stack.services import services


@pytest.fixture
def config(tmp_path) -> Config:
    return msgspec.convert({"state": str(tmp_path)} | free_port_fields(), Config)


def test_postgres_needs_no_log(config):
    config = log_engine.with_engine(config, "postgres")
    assert log_engine.rows(config, {}) == []
    assert log_engine.settings(config) == {}
    assert not {"log", "flink-job", "projector"} & {service.name for service in services(config)}


def test_every_service_comes_after_those_that_it_needs(config, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda: None)
    config = log_engine.with_engine(config, "flink")
    names: list[str] = []
    for service in services(config):
        assert set(service.needs) <= set(names), service.name
        names.append(service.name)
    assert {"log", "log-topics", "jobmanager", "taskmanager", "flink-job", "projector"} <= set(names)
    by_name = {service.name: service for service in services(config)}
    for edge in ("api", "gcp-function", "azure-function", "deployment"):
        assert log_engine.TOPICS in by_name[edge].needs
    assert {"flink-job", "projector"} <= set(by_name["canary"].needs)


def test_each_start_has_topics_of_its_own(config, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda: None)
    prefixes = {log_engine.settings(log_engine.with_engine(config, "flink"))["HELIOS_LOG_PREFIX"] for _ in range(3)}
    assert len(prefixes) == 3


def test_a_machine_without_java_says_so(config, monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda: "Apache Kafka needs Java 17 or newer: java is not on PATH.")
    with pytest.raises(CannotStart, match="needs Java 17"):
        log_engine.with_engine(config, "flink")


class _JobManager:
    """Answers with the jobs that a test sets; None: it does not answer."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, str]] | None = []

    def request(self, *_: object) -> object:
        if self.jobs is None:
            raise ConnectionRefusedError
        return {"jobs": self.jobs}


@pytest.mark.parametrize(
    ("jobs", "is_lost"),
    [
        (None, False),
        ([], True),
        ([{"id": "1", "status": "RUNNING"}], False),
        ([{"id": "1", "status": "FAILED"}], True),
        ([{"id": "2", "status": "RUNNING"}], True),
    ],
)
def test_a_job_is_lost_once_a_jobmanager_answers_without_it(jobs, is_lost):
    class Cluster:
        jobmanager = _JobManager()

    Cluster.jobmanager.jobs = jobs
    assert Job(Cluster, "1").is_lost() == is_lost  # type: ignore[arg-type]

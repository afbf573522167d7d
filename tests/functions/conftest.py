"""Function handlers as their cloud loads them: from their own folder, with settings in the environment."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from azure.storage.queue import BinaryBase64EncodePolicy, QueueClient

from helios.processes.ports import HOST, free_port
from helios.processes.probes import answers
from helios.processes.process import Process, scrubbed_environment

REPOSITORY = Path(__file__).parents[2]
FUNCTIONS = REPOSITORY / "functions"

AZURE_HOST_KEYS = {f"AZURE_HOST_{name}_KEY": name.lower() for name in ("MASTER", "DEFAULT", "EVENT_GRID")}


@pytest.fixture(scope="module")
def queue(azurite) -> Iterator[QueueClient]:
    """The queue between Event Grid and the function, which writes messages as Event Grid does."""
    with QueueClient.from_connection_string(
        azurite.connection_string, "events", message_encode_policy=BinaryBase64EncodePolicy()
    ) as queue:
        queue.create_queue()
        yield queue
        queue.delete_queue()


@pytest.fixture(scope="module")
def host(database_url, valkey_server, server_folder, azurite, queue) -> Iterator[int]:
    """The port of a host that runs functions/azure, and takes the events of the queue."""
    port = free_port()
    helios = {
        "HELIOS_DATABASE_URL": database_url,
        "HELIOS_REDIS_URL": valkey_server.url,
        "EventQueue": azurite.connection_string,
    }
    with Process(
        "azure-function",
        [sys.executable, "-m", "local.emulators.azure_host", FUNCTIONS / "azure", "--port", str(port)],
        log=server_folder / "azure-function.log",
        env=scrubbed_environment(**helios, **AZURE_HOST_KEYS),
        cwd=REPOSITORY,
    ) as process:
        process.wait_ready(answers(f"http://{HOST}:{port}/admin/host/ping"), seconds=30)
        yield port


@pytest.fixture
def load_handler(pool, database_url, valkey_server, monkeypatch) -> Iterator[Callable[[str], ModuleType]]:
    """Loads functions/<name>.py as at a cold start, with an empty database and a Redis."""
    monkeypatch.setenv("HELIOS_DATABASE_URL", database_url)
    monkeypatch.setenv("HELIOS_REDIS_URL", valkey_server.url)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Helios")
    modules: list[ModuleType] = []

    def load(name: str) -> ModuleType:
        path = FUNCTIONS / f"{name}.py"
        spec = importlib.util.spec_from_file_location("handler_under_test", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "handler_under_test", module)
        spec.loader.exec_module(module)
        modules.append(module)
        return module

    yield load
    for module in modules:
        for name in ("services", "edge"):
            if services := getattr(module, name, None):
                services.close()

"""Function handlers as their cloud loads them: from their own folder, with settings in the environment."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"


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
        if services := getattr(module, "services", None):
            services.close()

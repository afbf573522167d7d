"""The API's OpenAPI document as a file, from which the dashboard's types are generated.

``python -m scripts.build.openapi`` updates it; run ``npm run types`` in ``dashboard/`` afterwards.
"""

import inspect
import json
from pathlib import Path
from typing import Any

from helios import bootstrap
from helios.api import create_app
from helios.settings import Settings

FILE = Path(__file__).resolve().parents[2] / "dashboard" / "openapi.json"


def document() -> str:
    """The document that the API serves, formatted for readable diffs."""
    services = bootstrap.build(Settings(database_url="postgresql://127.0.0.1/unused", trust_loopback=True))
    try:
        return json.dumps(_without_indents(create_app(services).openapi()), indent=2, ensure_ascii=False) + "\n"
    finally:
        services.close()


def _without_indents(value: Any) -> Any:
    """The document with unindented descriptions: only Python 3.13 and newer remove the indentation of docstrings."""
    if isinstance(value, list):
        return [_without_indents(item) for item in value]
    if isinstance(value, dict):
        return {
            name: inspect.cleandoc(item) if name == "description" and isinstance(item, str) else _without_indents(item)
            for name, item in value.items()
        }
    return value


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")

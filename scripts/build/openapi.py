"""The API's own descriptions as files: its OpenAPI document, and the AsyncAPI document of the live stream.

``python -m scripts.build.openapi`` updates both. The dashboard's types are generated from the first: run ``npm run
types`` in ``dashboard/`` afterwards.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from helios import bootstrap
from helios.api import asyncapi, create_app
from helios.settings import Settings

_ROOT = Path(__file__).resolve().parents[2]
OPENAPI = _ROOT / "dashboard" / "openapi.json"
ASYNCAPI = _ROOT / "docs" / "asyncapi.json"


def documents() -> Mapping[Path, str]:
    """The content of both files."""
    return {OPENAPI: document(), ASYNCAPI: _text(asyncapi.document(version("helios")))}


def document() -> str:
    """The OpenAPI document that the API serves, formatted for readable diffs."""
    services = bootstrap.build(Settings(database_url="postgresql://127.0.0.1/unused", trust_loopback=True))
    try:
        return _text(create_app(services).openapi())
    finally:
        services.close()


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, text in documents().items():
        file.write_text(text, encoding="utf-8")

"""The committed OpenAPI document, the source of the dashboard's types, equals the one that the API serves."""

import re

from scripts.build.openapi import FILE, document


def test_the_committed_document_equals_the_one_the_api_serves():
    """If this fails, run `python -m scripts.build.openapi`, then `npm run types` in dashboard/."""
    assert document() == FILE.read_text(encoding="utf-8")


def test_no_schema_is_a_reference_to_itself():
    """Such a schema has no content, and its generated types are empty."""
    assert re.findall(r'"(\w+)": \{\s*"\$ref": "#/components/schemas/\1"\s*\}', document()) == []

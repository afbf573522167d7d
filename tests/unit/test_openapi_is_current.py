"""The document that the dashboard's types come from is the one that the API serves."""

import re

from scripts.build.openapi import FILE, document


def test_the_committed_document_is_what_the_api_serves():
    """If this fails: `python -m scripts.build.openapi`, then `npm run types` in dashboard/."""
    assert document() == FILE.read_text(encoding="utf-8")


def test_no_schema_is_only_a_name_for_itself():
    """Such a schema says nothing, and the types made of it are empty."""
    assert re.findall(r'"(\w+)": \{\s*"\$ref": "#/components/schemas/\1"\s*\}', document()) == []

"""The committed OpenAPI and AsyncAPI documents equal those that the API serves."""

import json
import re

from scripts.build.openapi import document, documents
from tests.fakes.store import MemoryStore
from tests.support.services import client_of, in_memory


def test_the_committed_documents_are_current():
    """If this fails, run `python -m scripts.build.openapi`, then `npm run types` in dashboard/."""
    assert documents() == {file: file.read_text(encoding="utf-8") for file in documents()}


def test_the_api_serves_both():
    with client_of(in_memory(MemoryStore())) as api:
        served = [api.get(f"/{name}.json").json() for name in ("openapi", "asyncapi")]

    assert served == [json.loads(text) for text in documents().values()]


def test_no_schema_is_a_reference_to_itself():
    """Such a schema has no content, and its generated types are empty."""
    assert re.findall(r'"(\w+)": \{\s*"\$ref": "#/components/schemas/\1"\s*\}', document()) == []


def test_every_operation_has_a_name_of_its_own_and_every_tag_a_description():
    """Generated clients name their functions and modules by these."""
    description = json.loads(document())
    operations = [operation for path in description["paths"].values() for operation in path.values()]

    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in names)
    tags = {tag for operation in operations for tag in operation["tags"]}
    assert tags == {tag["name"] for tag in description["tags"]}
    assert all("security" in operation for operation in operations)

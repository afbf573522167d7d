"""The API's OpenAPI description, for tests that generate requests and check the answers."""

import json
from urllib.parse import urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from scripts.build.openapi import document

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

SAME_EVERY_TIME = settings(
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    # All examples share one API on purpose: it has the events that earlier examples stored.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)

schema = schemathesis.openapi.from_dict(json.loads(document()))


def schema_of_sources(*names: str) -> schemathesis.BaseSchema:
    """The same description, in which the webhook of a source has one of these names; invalid requests have others."""
    description = json.loads(document())
    (source,) = description["paths"]["/api/v1/webhooks/{source}"]["post"]["parameters"]
    source["schema"] = {"type": "string", "enum": list(names)}
    return schemathesis.openapi.from_dict(description)


LONGEST_QUERY = 60_000
"""uvicorn refuses a request line of 64 KB with plain text, before the API receives it."""


def is_read(case: Case) -> bool:
    """Whether the API receives this request."""
    return len(urlencode(case.query or {}, doseq=True, errors="replace")) < LONGEST_QUERY

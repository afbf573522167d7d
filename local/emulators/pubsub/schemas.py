"""The service google.pubsub.v1.SchemaService, of which only the list is imitated."""

from typing import Any

from google.pubsub_v1 import types

from local.emulators.pubsub.methods import Method
from local.emulators.pubsub.names import check_project
from local.emulators.pubsub.paging import page


class SchemaService:
    """No schema can be created, so that the list of schemas is empty.

    A client that lists everything in a project, as Google's suite for Node.js does before and after its cases, needs
    this answer.
    """

    def methods(self) -> list[Method]:
        """The table of the methods."""
        return [
            Method(
                *("SchemaService", "ListSchemas", types.ListSchemasRequest),
                *("GET", "/v1/{parent=projects/*}/schemas", self.list_schemas),
            )
        ]

    async def list_schemas(self, request: Any) -> Any:
        """ListSchemas."""
        check_project(request.parent)
        none: dict[str, types.Schema] = {}
        schemas, token = page(none, request.page_size, request.page_token)
        return types.ListSchemasResponse(schemas=schemas, next_page_token=token)

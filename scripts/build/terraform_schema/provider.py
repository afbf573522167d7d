"""A Terraform provider (plugin protocol 6) that has only a schema.

Terraform starts ``python provider.py SCHEMA.json.gz`` in the environment that ``serve.py`` creates, which has packages
that Helios' environment lacks. The provider supports ``validate``, and ``test`` with ``mock_provider``. It refuses to
be configured, so that nothing can be planned or applied with it by mistake.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tf.provider
from tf.gen import tfplugin_pb2 as pb
from tf.runner import run_provider
from tf.utils import read_dynamic_value

_NESTED_BLOCK = {
    "single": pb.Schema.NestedBlock.SINGLE,
    "list": pb.Schema.NestedBlock.LIST,
    "set": pb.Schema.NestedBlock.SET,
    "map": pb.Schema.NestedBlock.MAP,
}
_NESTED_OBJECT = {
    "single": pb.Schema.Object.SINGLE,
    "list": pb.Schema.Object.LIST,
    "set": pb.Schema.Object.SET,
    "map": pb.Schema.Object.MAP,
}


def schema(block: dict[str, Any]) -> pb.Schema:
    """A block of the file in the form of the protocol."""
    return pb.Schema(version=0, block=_block(block))


def _block(block: dict[str, Any], *, in_set: bool = False) -> pb.Schema.Block:
    """A block; within a set, Terraform allows no attributes of a dynamic type, so they are omitted there."""
    schema_block = pb.Schema.Block()
    schema_block.attributes.extend(item for item in _attributes(block) if not (in_set and b"dynamic" in item.type))
    for name, inner in sorted(block["blocks"].items()):
        nested = schema_block.block_types.add(type_name=name, nesting=_NESTED_BLOCK[inner["nesting"]])
        nested.block.CopyFrom(_block(inner, in_set=in_set or inner["nesting"] == "set"))
        if inner["nesting"] in {"list", "set"}:
            nested.min_items = 1 if inner["required"] else 0
            nested.max_items = 1 if inner.get("max1") else 0
    return schema_block


def _attributes(block: dict[str, Any]) -> Iterator[pb.Schema.Attribute]:
    for name, attribute in sorted(block["attributes"].items()):
        result = pb.Schema.Attribute(name=name, required=attribute.get("required", False))
        result.computed = attribute.get("computed", False) or (name == "id" and not result.required)
        result.optional = not result.required and not attribute.get("computed", False)
        kind = attribute["type"]
        if isinstance(kind, dict):
            result.nested_type.nesting = _NESTED_OBJECT[kind["nested"]]
            result.nested_type.attributes.extend(_attributes(kind))
        else:
            result.type = json.dumps(kind).encode()
        yield result


def computed_but_set(block: dict[str, Any], configuration: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of arguments that the configuration sets although only the provider may set them."""
    for name, attribute in block["attributes"].items():
        if attribute.get("computed") and configuration.get(name) is not None:
            yield f"{path}{name}"
    for name, inner in block["blocks"].items():
        value = configuration.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield from computed_but_set(inner, item, f"{path}{name}.")


class SchemaOnly(tf.provider.ProviderServicer):  # type: ignore[misc] # tf has no types where mypy runs
    """The answers to Terraform's calls; the methods' names are the protocol's."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def GetMetadata(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - as the protocol spells it
        """The names of the resource and data source types."""
        answer = pb.GetMetadata.Response()
        for name in self._document["resource"]:
            answer.resources.add(type_name=name)
        for name in self._document["data"]:
            answer.data_sources.add(type_name=name)
        return answer

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """The complete schema."""
        answer = pb.GetProviderSchema.Response(
            provider=schema(self._document["provider_config"]), provider_meta=pb.Schema(block=pb.Schema.Block())
        )
        for name, block in self._document["resource"].items():
            answer.resource_schemas[name].CopyFrom(schema(block))
        for name, block in self._document["data"].items():
            answer.data_source_schemas[name].CopyFrom(schema(block))
        return answer

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Accept: Terraform itself has compared the configuration with the schema."""
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Refuse values of computed arguments, which Terraform leaves to providers."""
        answer = pb.ValidateResourceConfig.Response()
        configuration = read_dynamic_value(request.config) or {}
        for path in computed_but_set(self._document["resource"][request.type_name], configuration):
            answer.diagnostics.add(
                severity=pb.Diagnostic.ERROR,
                summary="Value for unconfigurable attribute",
                detail=f"Can't set {path}: its value is decided by the provider.",
            )
        return answer

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Accept: Terraform itself has compared the configuration with the schema."""
        return pb.ValidateDataResourceConfig.Response()

    def GetFunctions(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Return none: the schema has no provider functions."""
        return pb.GetFunctions.Response()

    def StopProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Do nothing: no operation runs."""
        return pb.StopProvider.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Refuse: the provider has no cloud."""
        answer = pb.ConfigureProvider.Response()
        answer.diagnostics.add(
            severity=pb.Diagnostic.ERROR,
            summary="This provider has only a schema",
            detail="It supports validate, and test with mock_provider. To plan or apply, run terraform without it.",
        )
        return answer


class _Named:
    """The provider's name, in the form that the runner requires."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def full_name(self) -> str:
        """The provider's address."""
        return str(self._document["provider"]["name"])


def main() -> None:
    """Serve until Terraform stops the provider."""
    document = json.loads(gzip.decompress(Path(sys.argv[1]).read_bytes()))
    tf.provider.ProviderServicer = lambda _named: SchemaOnly(document)  # the runner reads its servicer from there
    run_provider(_Named(document))


if __name__ == "__main__":
    main()

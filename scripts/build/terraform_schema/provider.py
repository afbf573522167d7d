"""A Terraform provider (plugin protocol 6) that knows a schema and nothing else.

``python provider.py SCHEMA.json.gz``, as Terraform starts it, in the environment that ``serve.py`` makes: what it
imports is not in Helios' own. It answers ``validate``, and ``test`` with ``mock_provider``; it refuses to be
configured, so nobody can plan or apply with it by mistake.
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
    """A block of the file as Terraform takes it."""
    return pb.Schema(version=0, block=_block(block))


def _block(block: dict[str, Any], *, in_set: bool = False) -> pb.Schema.Block:
    """Within a set Terraform allows no value of a type that is found out later: such attributes are left out there."""
    told = pb.Schema.Block()
    told.attributes.extend(item for item in _attributes(block) if not (in_set and b"dynamic" in item.type))
    for name, inner in sorted(block["blocks"].items()):
        nested = told.block_types.add(type_name=name, nesting=_NESTED_BLOCK[inner["nesting"]])
        nested.block.CopyFrom(_block(inner, in_set=in_set or inner["nesting"] == "set"))
        if inner["nesting"] in {"list", "set"}:
            nested.min_items = 1 if inner["required"] else 0
            nested.max_items = 1 if inner.get("max1") else 0
    return told


def _attributes(block: dict[str, Any]) -> Iterator[pb.Schema.Attribute]:
    for name, attribute in sorted(block["attributes"].items()):
        told = pb.Schema.Attribute(name=name, required=attribute.get("required", False))
        told.computed = attribute.get("computed", False) or (name == "id" and not told.required)
        told.optional = not told.required and not attribute.get("computed", False)
        kind = attribute["type"]
        if isinstance(kind, dict):
            told.nested_type.nesting = _NESTED_OBJECT[kind["nested"]]
            told.nested_type.attributes.extend(_attributes(kind))
        else:
            told.type = json.dumps(kind).encode()
        yield told


def set_though_computed(block: dict[str, Any], given: dict[str, Any], path: str = "") -> Iterator[str]:
    """The paths of arguments that the configuration sets and only the provider may."""
    for name, attribute in block["attributes"].items():
        if attribute.get("computed") and given.get(name) is not None:
            yield f"{path}{name}"
    for name, inner in block["blocks"].items():
        value = given.get(name)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield from set_though_computed(inner, item, f"{path}{name}.")


class SchemaOnly(tf.provider.ProviderServicer):  # type: ignore[misc] # tf has no types where mypy runs
    """The answers to Terraform's calls; the methods' names are the protocol's."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def GetMetadata(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - as the protocol spells it
        """Which types there are."""
        answer = pb.GetMetadata.Response()
        for name in self._told["resource"]:
            answer.resources.add(type_name=name)
        for name in self._told["data"]:
            answer.data_sources.add(type_name=name)
        return answer

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """All of the schema."""
        answer = pb.GetProviderSchema.Response(
            provider=schema(self._told["provider_config"]), provider_meta=pb.Schema(block=pb.Schema.Block())
        )
        for name, block in self._told["resource"].items():
            answer.resource_schemas[name].CopyFrom(schema(block))
        for name, block in self._told["data"].items():
            answer.data_source_schemas[name].CopyFrom(schema(block))
        return answer

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Terraform itself has compared it with the schema."""
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """What Terraform leaves to providers: nobody may set what is computed."""
        answer = pb.ValidateResourceConfig.Response()
        given = read_dynamic_value(request.config) or {}
        for path in set_though_computed(self._told["resource"][request.type_name], given):
            answer.diagnostics.add(
                severity=pb.Diagnostic.ERROR,
                summary="Value for unconfigurable attribute",
                detail=f"Can't set {path}: its value is decided by the provider.",
            )
        return answer

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Terraform itself has compared it with the schema."""
        return pb.ValidateDataResourceConfig.Response()

    def GetFunctions(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Functions of the provider are not in the schema."""
        return pb.GetFunctions.Response()

    def StopProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Nothing is under way."""
        return pb.StopProvider.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the same
        """Refuse: there is no cloud behind this."""
        answer = pb.ConfigureProvider.Response()
        answer.diagnostics.add(
            severity=pb.Diagnostic.ERROR,
            summary="This provider knows a schema only",
            detail="It can validate, and test with mock_provider. To plan or apply, run terraform without it.",
        )
        return answer


class _Named:
    """What the runner asks of a provider."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def full_name(self) -> str:
        """Its address."""
        return str(self._told["provider"]["name"])


def main() -> None:
    """Serve until Terraform says stop."""
    told = json.loads(gzip.decompress(Path(sys.argv[1]).read_bytes()))
    tf.provider.ProviderServicer = lambda _named: SchemaOnly(told)  # the runner takes its servicer from there
    run_provider(_Named(told))


if __name__ == "__main__":
    main()

"""``python -m scripts.build.terraform_schema.extract WHEEL``: extracts a provider's schema from its CDK wheel.

The wheels are ``cdktn-provider-google`` and ``cdktn-provider-azurerm`` of PyPI, downloaded with ``pip download
--no-deps``. A wheel contains the jsii assembly, with every argument's type and whether it is optional, and the
JavaScript that writes HCL, with the information which arguments are blocks and which are sets. The result is written to
``infra/terraform/schemas/PROVIDER-VERSION.json.gz``; the same wheel gives the same bytes.
"""

import argparse
import gzip
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

SCHEMAS = Path(__file__).resolve().parents[3] / "infra/terraform/schemas"

Json = dict[str, Any]
Hcl = dict[tuple[str, str], dict[str, tuple[bool, str]]]
"""By JavaScript module and struct: for each argument whether it is a block, and how it is nested."""

_STRUCT = re.compile(
    r"function (\w+)ToHclTerraform\(struct\) \{(.*?)\n\}|synthesizeHclAttributes\(\) \{(.*?)\n    \}", re.DOTALL
)
_ARGUMENT = re.compile(r"\n\s+(\w+): \{\s*value: .*?isBlock: (true|false),\s*type: \"(\w+)\"", re.DOTALL)
_DOCUMENTED_NAME = re.compile(r"#([a-z0-9_]+) [A-Za-z0-9_]+#")
_DOCUMENTED_TYPE = re.compile(r"/docs/(?:resources|data-sources)/\S+ ([a-z0-9_]+)\}")
_KINDS = {"TerraformResource": "resource", "TerraformDataSource": "data", "TerraformProvider": "provider_config"}
_PRIMITIVES = {"boolean": "bool", "any": "dynamic", "string": "string", "number": "number"}
_PLUMBING = {"tfResourceType", "internalValue", "fqn"}
"""Properties of the CDK's classes that do not belong to the provider's schema."""


class Package(NamedTuple):
    """The contents of a wheel.

    Attributes:
        about: its package.json.
        types: the jsii assembly's types.
        hcl: the nesting of arguments, from the JavaScript.
    """

    about: Json
    types: Mapping[str, Json]
    hcl: Hcl


def read(wheel: Path) -> Package:
    """Read the needed files of a wheel."""
    about: Json = {}
    types: Json = {}
    hcl: Hcl = {}
    with zipfile.ZipFile(wheel) as outer:
        inner = outer.read(next(name for name in outer.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        for member in files:
            name = member.name.removeprefix("package/")
            file = files.extractfile(member)
            if file is None:
                continue
            if name == "package.json":
                about = json.load(file)
            elif name == ".jsii":
                types = json.load(file)["types"]
            elif name.startswith("lib/") and name.endswith(".js"):
                for struct in _STRUCT.finditer(file.read().decode()):
                    arguments = _ARGUMENT.finditer(struct[2] or struct[3] or "")
                    key = (name.removesuffix(".js"), (struct[1] or "").lower())
                    hcl[key] = {argument[1]: (argument[2] == "true", argument[3]) for argument in arguments}
    return Package(about, types, hcl)


def schema(package: Package) -> Json:
    """The provider's whole schema, as ``provider.py`` reads it.

    ``provider``: its address and version. ``provider_config``, and by type ``resource`` and ``data``: blocks. A block
    has ``attributes`` (``type``, and ``required`` or ``computed``) and ``blocks`` (a block with ``nesting``,
    ``required`` and ``max1``: at most one of a list).
    """
    document: Json = {
        "provider": (package.about.get("cdktn") or package.about["cdktf"])["provider"],
        "from": f"{package.about['name']}@{package.about['version']}",
        "provider_config": {},
        "resource": {},
        "data": {},
    }
    for name, declared in package.types.items():
        kind = _KINDS.get(declared.get("base", "").split(".")[-1])
        if declared["kind"] != "class" or kind is None:
            continue
        block = (
            _block(package, f"{name}Config") if f"{name}Config" in package.types else {"attributes": {}, "blocks": {}}
        )
        if kind == "provider_config":
            document[kind] = block
        elif documented := _DOCUMENTED_TYPE.search(_docs(declared)):
            _add_computed(package, block, declared)
            document[kind][documented[1]] = block
    return document


def _docs(item: Json) -> str:
    docs = item.get("docs", {})
    return f"{docs.get('summary', '')}\n{docs.get('remarks', '')}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda capital: "_" + capital[1].lower(), name)


def _block(package: Package, name: str, above: tuple[str, ...] = ()) -> Json:
    """The block of a struct of the assembly; ``above`` are the structs that contain it."""
    struct = package.types[name]
    nestings = _hcl_of(package, struct)
    block: Json = {"attributes": {}, "blocks": {}}
    for item in struct.get("properties", []):
        documented = _DOCUMENTED_NAME.search(_docs(item))
        argument = documented[1] if documented else _snake(item["name"])
        required = not item.get("optional", False)
        kind, nesting = _type(package, item["type"])
        is_block, hcl_nesting = nestings.get(argument, (False, nesting))
        if nesting is None:
            if hcl_nesting == "set" and isinstance(kind, list):
                kind = ["set", kind[1]]
            block["attributes"][argument] = {"type": kind, "required": required}
            continue
        if kind in (*above, name):  # a recursive type, which Terraform's schemas can't express: accept any value
            block["attributes"][argument] = {"type": "dynamic", "required": required}
            continue
        inner = _block(package, kind, (*above, name))
        if reference := package.types.get(f"{kind}OutputReference"):
            _add_computed(package, inner, reference)
        if hcl_nesting in {"list", "set"}:  # a single struct in a list: a block that may occur once
            inner["max1"] = nesting == "single"
            nesting = hcl_nesting
        if is_block:
            block["blocks"][argument] = {"nesting": nesting, "required": required, **inner}
        else:
            block["attributes"][argument] = {"type": {"nested": nesting, **inner}, "required": required}
    return block


def _hcl_of(package: Package, struct: Json) -> dict[str, tuple[bool, str]]:
    """The nesting of a struct's arguments, from the JavaScript; a resource's arguments are in a method of its class."""
    module, _, symbol = re.sub("^src/", "lib/", struct["symbolId"]).partition(":")
    name = symbol.split(".")[-1]
    nestings = package.hcl.get((module, name.lower()))
    return nestings or (package.hcl.get((module, ""), {}) if name.endswith("Config") else {})


def _type(package: Package, declared: Json) -> tuple[Any, str | None]:
    """Terraform's type and None, or a struct's name and its nesting."""
    if "primitive" in declared:
        return _PRIMITIVES[declared["primitive"]], None
    if "collection" in declared:
        kind, nesting = _type(package, declared["collection"]["elementtype"])
        collection = {"array": "list"}.get(declared["collection"]["kind"], "map")
        if nesting == "single":
            return kind, collection
        return [collection, kind if nesting is None else "dynamic"], None
    if "union" in declared:
        known = [item for item in declared["union"]["types"] if not item.get("fqn", "").endswith(".IResolvable")]
        return _type(package, known[0])
    if package.types.get(declared["fqn"], {}).get("kind") == "interface":
        return declared["fqn"], "single"
    return ["map", "string"] if declared["fqn"].endswith(".StringMap") else "dynamic", None


def _add_computed(package: Package, block: Json, declared: Json) -> None:
    """Add the attributes that only the provider sets: they are in the class, and not in the struct of arguments."""
    known = {*block["attributes"], *block["blocks"]}
    for item in declared.get("properties", []):
        name = _snake(item["name"])
        if item.get("static") or item["name"].endswith("Input") or item["name"] in _PLUMBING or name in known:
            continue
        kind, nesting = _type(package, item["type"])
        block["attributes"][name] = {"type": kind if nesting is None else "dynamic", "computed": True}


def main() -> None:
    """Write the schema of each wheel, and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    for wheel in parser.parse_args().wheels:
        document = schema(read(wheel))
        provider = document["provider"]
        name = provider["name"].rpartition("/")[2]
        body = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
        SCHEMAS.joinpath(f"{name}-{provider['version']}.json.gz").write_bytes(gzip.compress(body, mtime=0))
        counts = f"{len(document['resource'])} resources, {len(document['data'])} data sources"
        print(f"{name} {provider['version']}: {counts}")


if __name__ == "__main__":
    main()

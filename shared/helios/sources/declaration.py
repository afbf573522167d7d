"""Declared sources: a TOML file says how each proves itself, and where its events have their parts."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from helios import toml_file
from helios.model.sources import BUILT_IN_SOURCES, UNKNOWN, ApiKey, Hmac, Oidc, Proof, SourceDeclaration
from helios.sources.registry import Sources
from helios.toml_file import TomlFile, shape_fault

RESERVED = (
    *(info.name for info in BUILT_IN_SOURCES),
    UNKNOWN,
    *("cloudevents", "eventbridge", "eventgrid", "pubsub", "webhook"),
)
"""Names that are no name of a declared source: those of the built-in sources, of channels, and parts of addresses."""

MAX_SOURCES = 32
"""Maximum number of declared sources: each is a value of labels in the metrics, and a card in the dashboard."""

VARIABLE = re.compile(r"\{([^{}]*)\}")
"""A part of what is signed: ``{body}``, ``{header}`` or ``{header.name}``."""

BODY = "body"

_PROOFS: Mapping[str, type[Proof]] = {"hmac": Hmac, "api_key": ApiKey, "oidc": Oidc}


class _Shipped(msgspec.Struct, frozen=True):
    scheme: dict[str, dict[str, Any]]
    preset: dict[str, dict[str, Any]]


def load(path: str | None) -> Sources:
    """The built-in sources, and those that a file declares.

    Raises:
        ConfigurationError: the file can't be read, or a declaration is wrong; the message names the line and the key.
    """
    return _load(toml_file.read(Path(path), setting="HELIOS_SOURCES_FILE")) if path else Sources()


def shipped_scheme(name: str) -> Hmac:
    """A signature scheme that ships with Helios.

    Raises:
        KeyError: none has this name.
    """
    return msgspec.convert({"scheme": "hmac", "name": name} | _shipped().scheme[name], Hmac)


def _shipped() -> _Shipped:
    return msgspec.toml.decode((files("helios.sources") / "sources.toml").read_bytes(), type=_Shipped)


def _load(file: TomlFile) -> Sources:
    if unknown := next((key for key in file.document if key != "source"), None):
        raise file.fault(unknown, "is unknown: declare each source as a table, [[source]]")
    tables = file.document.get("source", [])
    if not isinstance(tables, list):
        raise file.fault("source", "must be an array of tables: write [[source]]")
    shipped = _shipped()
    declared: list[SourceDeclaration] = []
    for number, table in enumerate(tables):
        at = f"source[{number}]"
        fields, fault = _expanded(table, shipped)
        fault = fault or _shape_fault(fields)
        if fault is None:
            source = msgspec.convert(fields, SourceDeclaration)
            fault = _fault(source, declared)
            declared.append(source)
        if fault:
            raise file.fault(f"{at}.{fault[0]}".rstrip("."), fault[1])
    if len(declared) > MAX_SOURCES:
        raise file.fault(f"source[{MAX_SOURCES}]", f"at most {MAX_SOURCES} sources can be declared")
    return Sources(declared)


Fault = tuple[str, str]
"""The key at fault, and the reason."""


def _expanded(table: Any, shipped: _Shipped) -> tuple[dict[str, Any], Fault | None]:
    """The table with the keys of its preset and of its signature scheme."""
    if not isinstance(table, dict):
        return {}, ("", f"is {type(table).__name__}: declare each source as a table, [[source]]")
    fields = dict(table)
    if (preset := fields.pop("preset", None)) is not None:
        if preset not in shipped.preset:
            return {}, ("preset", f"{preset!r} is no preset: use {', '.join(shipped.preset)}")
        fields = shipped.preset[preset] | fields
    proof = fields.get("proof")
    if isinstance(proof, str):
        proof = {"scheme": proof}
    if isinstance(proof, dict):
        scheme = proof.get("scheme")
        known = (*shipped.scheme, *_PROOFS)
        if scheme not in known:
            key = "proof" if scheme is None else "proof.scheme"
            return {}, (
                key,
                f"needs a scheme: {', '.join(known)}"
                if scheme is None
                else f"{scheme!r} is no scheme: use {', '.join(known)}",
            )
        kind = scheme if scheme in _PROOFS else "hmac"
        fields["proof"] = shipped.scheme.get(scheme, {}) | proof | {"scheme": kind, "name": scheme}
    return fields, None


def _shape_fault(fields: dict[str, Any]) -> Fault | None:
    """The first key of the wrong shape."""
    proof = fields.get("proof")
    kind = _PROOFS[proof["scheme"]] if isinstance(proof, dict) else Proof
    if "proof" in fields and (fault := shape_fault(proof, kind, "proof")):
        return fault
    if fault := shape_fault(fields, SourceDeclaration, ""):
        return fault[0].lstrip("."), fault[1]
    return None


def _fault(source: SourceDeclaration, others: Sequence[SourceDeclaration]) -> Fault | None:
    """What is wrong with a declaration of the right shape; None if nothing is."""
    if source.name in RESERVED:
        return "name", f"{source.name!r} is reserved: choose another name"
    if source.name in {other.name for other in others}:
        return "name", f"{source.name!r} is already the name of another source"
    return (
        _look_fault(source, others)
        or _places_fault(source)
        or (_signature_fault(source.proof) if isinstance(source.proof, Hmac) else None)
    )


def _look_fault(source: SourceDeclaration, others: Sequence[SourceDeclaration]) -> Fault | None:
    look = (source.colour, source.shape)
    taken = [(info.colour, info.shape) for info in BUILT_IN_SOURCES] + [(other.colour, other.shape) for other in others]
    if None not in look and look in taken:
        return "colour", f"another source is a {source.colour} {source.shape} too: change the colour or the shape"
    return None


def _places_fault(source: SourceDeclaration) -> Fault | None:
    if source.channel == "webhook":
        for key in ("id", "type"):
            if getattr(source, key) is None:
                return key, "is missing: say where it is in the request"
    else:
        for key in ("id", "type", "time", "producer", "data"):
            if getattr(source, key) is not None:
                return key, "is part of every CloudEvent: remove this key"
    if source.minor_units and not (source.amount and source.currency):
        return "minor_units", "needs amount and currency: the currency says how many decimal places the amount has"
    return None


def _signature_fault(proof: Hmac) -> Fault | None:
    variables = VARIABLE.findall(proof.signed)
    if BODY not in variables:
        return "proof.signed", "must contain {body}: a signature that does not cover the body proves nothing about it"
    parts = VARIABLE.split(proof.signed)
    for name, between, following in zip(parts[1::2], parts[2::2], parts[3::2], strict=False):
        if not between and name != proof.timestamp:
            return "proof.signed", f"needs a text between {{{name}}} and {{{following}}}, so that each has one end"
    if proof.timestamp and proof.timestamp not in variables:
        return "proof.timestamp", f"must be signed: add {{{proof.timestamp}}} to signed"
    return None

"""Builds the rules of a process: its flows, and the fields that it must not store."""

from collections.abc import Sequence
from functools import partial

from helios.errors import ConfigurationError
from helios.model.spellings import spellings
from helios.normalise.redact import Redaction
from helios.ports.flow_versions import RulesReader
from helios.reconciliation import declaration
from helios.reconciliation.declaration import Flow
from helios.services.rules import Rules
from helios.settings import Settings
from helios.sources.registry import Sources


def load_rules(settings: Settings, sources: Sources, versions: RulesReader | None) -> Rules:
    """The flows of the file, or those that ship with Helios, and the versions in force.

    Raises:
        ConfigurationError: the file is wrong, or HELIOS_REDACT names a field that one of its flows reads.
    """
    check = partial(_check_redaction, _redacted(settings))
    declared, text = declaration.load_text(settings.flows_file, sources=sources)
    for flow in declared:
        check(flow)
    return Rules(
        declared,
        versions,
        text=text,
        file=settings.flows_file or None,
        sources=sources,
        check=check,
    )


def load_redaction(settings: Settings) -> Redaction | None:
    """What replaces the fields that HELIOS_REDACT names; None when it is not set."""
    paths = _redacted(settings)
    return Redaction(paths) if paths else None


def _check_redaction(paths: Sequence[str], flow: Flow) -> None:
    flow_paths = {path for leg in flow.leg for path in (*flow.keys_of(leg), *flow.fields(leg.name))}
    for path in paths:
        if any(_covers(path.split("."), flow_path.split(".")) for flow_path in flow_paths):
            raise ConfigurationError(
                f"HELIOS_REDACT: {path} is read by the flow {flow.name!r} and must not be redacted"
            )


def _redacted(settings: Settings) -> list[str]:
    return (settings.redact or "").split()


def _covers(path: Sequence[str], flow_path: Sequence[str]) -> bool:
    """Whether a redacted path is a path that a flow reads, or leads to it, in any spelling."""
    steps = zip(path, flow_path, strict=False)
    return len(path) <= len(flow_path) and all(name in spellings(declared) for name, declared in steps)

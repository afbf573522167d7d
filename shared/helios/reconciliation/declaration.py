"""Declared flows: a TOML file says which events belong together, by which key, how soon, and what must agree."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from helios import toml_file
from helios.reconciliation.leg import Fault, Leg, Name, Parts, Path_, leg_fault
from helios.reconciliation.rule import Rate, Rule, rate_fault, rule_fault
from helios.sources.registry import CLOUDS, Sources
from helios.toml_file import TomlFile, shape_fault

Seconds = Annotated[float, Meta(gt=0, le=7 * 24 * 60 * 60)]


class RecoveryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When Helios itself brings back the missing legs of a flow; a flow without it does so only when it is asked.

    Attributes:
        per_hour: the most recoveries that the policy starts in an hour.
        after_seconds: how long after the deadline of an instance.
    """

    per_hour: Annotated[int, Meta(ge=1, le=3600)]
    after_seconds: Annotated[float, Meta(ge=0, le=12 * 60 * 60)] = 0


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A declared flow: events of several clouds that belong together, one or several per leg.

    Attributes:
        name: the name of the flow.
        key: the path of the instance's key in the payload of every leg that names none of its own. Each name in it is
            found in the usual spellings: ``order_id``, ``orderId``, ``OrderId``.
        window_seconds: how long after the first leg the others are in time, by Helios' own clock.
        grace_seconds: how much longer Helios waits for the others before it reports them as missing.
        leg: the legs.
        rule: what must hold between the legs.
        rate: the exchange rates with which rules convert amounts; those of the whole file included.
        amount: the amount of money in an instance, as ``leg.field``; the first field that has a value counts.
        currency: the currency of that amount, in the same form. Amounts of different currencies are never added.
        target_seconds: within how many seconds of its first event people should resolve a problem of an instance.
        recovery: when missing legs are brought back without being asked for; None: never.
    """

    name: Name
    key: Path_
    window_seconds: Seconds
    grace_seconds: Annotated[float, Meta(ge=0, le=7 * 24 * 60 * 60)]
    leg: Annotated[tuple[Leg, ...], Meta(min_length=1, max_length=16)]
    rule: Annotated[tuple[Rule, ...], Meta(max_length=64)] = ()
    rate: tuple[Rate, ...] = ()
    amount: tuple[str, ...] = ()
    currency: tuple[str, ...] = ()
    target_seconds: Annotated[int, Meta(gt=0, le=366 * 24 * 60 * 60)] | None = None
    recovery: RecoveryPolicy | None = None

    @property
    def parts(self) -> dict[str, Parts]:
        """The legs with several parts, and how their parts are identified."""
        return {leg.name: Parts(leg.id, leg.max_evidence) for leg in self.leg if leg.many and leg.id}

    def keys_of(self, leg: Leg) -> tuple[str, ...]:
        """The paths of the instance's key in the payload of a leg; the first with a value counts."""
        if leg.key is None:
            return (self.key,)
        return (leg.key,) if isinstance(leg.key, str) else leg.key

    def fields(self, leg: str) -> list[str]:
        """The distinct paths of one leg that the rules, the legs, the amount and the currency read."""
        return list(dict.fromkeys(path for name, path in self._reads() if name == leg and path))

    def _reads(self) -> Iterator[tuple[str, str]]:
        for rule in self.rule:
            yield from rule.reads()
        for leg in self.leg:
            yield from leg.bound_reads()
            yield leg.name, leg.id or ""
            yield leg.name, leg.currency or ""
        for text in (*self.amount, *self.currency):
            yield side(text)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flow: tuple[Flow, ...] = ()
    rate: tuple[Rate, ...] = ()


def load(path: str | None = None, *, sources: Sources = CLOUDS) -> tuple[Flow, ...]:
    """The flows that a file declares; without a path, the flow that ships with Helios.

    Args:
        path: the file.
        sources: the sources that a leg may name.

    Raises:
        ConfigurationError: as ``load_text``.
    """
    return load_text(path, sources=sources)[0]


def load_text(path: str | None, *, sources: Sources = CLOUDS) -> tuple[tuple[Flow, ...], str]:
    """The flows that a file declares, and its text; without a path, those of the flow that ships with Helios.

    Args:
        path: the file.
        sources: the sources that a leg may name.

    Raises:
        ConfigurationError: the file can't be read, or a declaration is wrong; the message names the line and the key.
    """
    if path:
        file = toml_file.read(Path(path), setting="HELIOS_FLOWS_FILE")
    else:
        file = toml_file.parse(shipped_text(), name="flows.toml")
    return _flows(file, sources), file.text


def shipped_text() -> str:
    """The text of the flows that ship with Helios."""
    return (files("helios") / "flows.toml").read_text()


def parse_version(text: str, *, sources: Sources = CLOUDS) -> Flow:
    """The flow that the text of a flow version declares: exactly one, with the rates of the same text.

    Raises:
        TomlError: the text is not TOML, a declaration is wrong, or it declares no flow or several.
    """
    file = toml_file.parse(text, name="text")
    flows = _flows(file, sources)
    if len(flows) != 1:
        raise file.fault("flow[1]" if flows else "flow", f"must be one table [[flow]]; the text has {len(flows)}")
    return flows[0]


def _flows(file: TomlFile, sources: Sources) -> tuple[Flow, ...]:
    try:
        declared = msgspec.convert(file.document, _File)
    except msgspec.ValidationError as error:
        raise file.fault(*(_shape_fault(file.document) or ("flow", str(error)))) from error
    if fault := rate_fault(declared.rate):
        raise file.fault(*fault)
    for number, flow in enumerate(declared.flow):
        if fault := _fault(flow, [other.name for other in declared.flow[:number]], sources):
            key, reason = fault
            raise file.fault(f"flow[{number}].{key}", reason)
    return tuple(replace(flow, rate=flow.rate + declared.rate) for flow in declared.flow)


def _fault(flow: Flow, other_names: list[str], sources: Sources) -> Fault | None:
    """What is wrong with a flow of the right shape; None if nothing is."""
    if flow.name in other_names:
        return "name", f"{flow.name!r} is already the name of another flow"
    return (
        leg_fault(flow.leg, sources) or rule_fault(flow.rule, flow.leg) or rate_fault(flow.rate) or _amount_fault(flow)
    )


def _amount_fault(flow: Flow) -> Fault | None:
    names = [leg.name for leg in flow.leg]
    for key, texts in (("amount", flow.amount), ("currency", flow.currency)):
        for text in texts:
            leg_name, path = side(text)
            if leg_name not in names or not path:
                return key, f"{text!r} must be leg.field, where leg is one of {', '.join(names)}"
    return None


def _shape_fault(document: dict[str, Any]) -> Fault | None:
    """The first key of the wrong shape, and the reason. msgspec's own message lacks the index of a table."""
    for number, flow in enumerate(document.get("flow", [])):
        at = f"flow[{number}]"
        for name, type_ in (("leg", Leg), ("rule", Rule), ("rate", Rate)):
            if fault := _table_fault(flow.get(name, []) if isinstance(flow, dict) else [], type_, f"{at}.{name}"):
                return fault
        if fault := shape_fault(flow, Flow, at):
            return fault
    return _table_fault(document.get("rate", []), Rate, "rate")


def _table_fault(tables: Any, type_: Any, at: str) -> Fault | None:
    """The first fault in an array of tables."""
    faults = (shape_fault(table, type_, f"{at}[{index}]") for index, table in enumerate(tables))
    return next((fault for fault in faults if fault), None)


def side(text: str) -> tuple[str, str]:
    """``leg.field`` as (leg, path)."""
    leg, _, path = text.partition(".")
    return leg, path

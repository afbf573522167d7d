"""Declared flows: a TOML file says which events belong together, by which key, how soon, and what must agree."""

import re
import tomllib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from helios.errors import ConfigurationError
from helios.model.events import MAX_NAME_CHARS, Source

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Path_ = Annotated[str, Meta(pattern=r"^[^.]+(\.[^.]+)*$", max_length=MAX_NAME_CHARS)]
"""A path into the payload: names joined by dots."""
Seconds = Annotated[float, Meta(gt=0, le=7 * 24 * 60 * 60)]


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cloud's part of a flow.

    Attributes:
        name: the name of the leg in issues.
        type: the event type that belongs to the leg.
        source: the only cloud that may send the leg; None: any cloud.
        optional: whether an instance is complete without the leg.
        verb: what the cloud did, in the past tense, for the text of issues: ``ordered`` gives "AWS ordered 3".
    """

    name: Name
    type: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    source: Source | None = None
    optional: bool = False
    verb: Annotated[str, Meta(min_length=1, max_length=40)] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two fields that must agree.

    Attributes:
        equal: the two fields as ``leg.field``, where ``field`` may be a path into the payload.
        within: the largest difference between two numbers that agree, as decimal text; None: 0.
    """

    equal: tuple[str, str]
    within: Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")] | None = None

    @property
    def tolerance(self) -> Decimal:
        """``within`` as a number."""
        return Decimal(self.within or 0)

    @property
    def sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both fields as (leg, path)."""
        return side(self.equal[0]), side(self.equal[1])


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A declared flow: events of several clouds that belong together, one per leg.

    Attributes:
        name: the name of the flow.
        key: the path of the instance's key in the payload of every leg.
        window_seconds: how long after the first leg the others are in time, by Helios' own clock.
        grace_seconds: how much longer Helios waits for the others before it reports them as missing.
        leg: the legs.
        rule: the fields that must agree.
        amount: the amount of money in an instance, as ``leg.field``; the first field that has a value counts.
        currency: the currency of that amount, in the same form. Amounts of different currencies are never added.
    """

    name: Name
    key: Path_
    window_seconds: Seconds
    grace_seconds: Annotated[float, Meta(ge=0, le=7 * 24 * 60 * 60)]
    leg: Annotated[tuple[Leg, ...], Meta(min_length=1, max_length=16)]
    rule: tuple[Rule, ...] = ()
    amount: tuple[str, ...] = ()
    currency: tuple[str, ...] = ()

    @property
    def required(self) -> list[Leg]:
        """The legs without which an instance is not complete."""
        return [leg for leg in self.leg if not leg.optional]

    def fields(self, leg: str) -> list[str]:
        """The distinct paths of one leg that the rules, the amount and the currency read."""
        sides = [rule_side for rule in self.rule for rule_side in rule.sides]
        sides += [side(text) for text in (*self.amount, *self.currency)]
        return list(dict.fromkeys(path for name, path in sides if name == leg))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flow: tuple[Flow, ...] = ()


def load(path: str | None = None) -> tuple[Flow, ...]:
    """The flows that a file declares; without a path, the flow that ships with Helios.

    Raises:
        ConfigurationError: the file can't be read, or a declaration is wrong; the message names the line and the key.
    """
    try:
        text = (Path(path) if path else files("helios") / "flows.toml").read_text()
    except OSError as error:
        raise ConfigurationError(f"HELIOS_FLOWS_FILE: {path}: {error.strerror}") from error
    where = path or "flows.toml"
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    try:
        flows = msgspec.convert(document, _File).flow
    except msgspec.ValidationError as error:
        key, reason = _shape_fault(document) or ("flow", str(error))
        raise ConfigurationError(f"{where}, line {_line(text, key)}: {key}: {reason}") from error
    for number, flow in enumerate(flows):
        if fault := _fault(flow, [other.name for other in flows[:number]]):
            key, reason = fault
            raise ConfigurationError(
                f"{where}, line {_line(text, f'flow[{number}].{key}')}: flow[{number}].{key}: {reason}"
            )
    return flows


def _fault(flow: Flow, other_names: list[str]) -> tuple[str, str] | None:
    """What is wrong with a flow of the right shape, as (key, reason); None if nothing is."""
    if flow.name in other_names:
        return "name", f"{flow.name!r} is already the name of another flow"
    names = [leg.name for leg in flow.leg]
    for number, leg in enumerate(flow.leg):
        if leg.name in names[:number]:
            return f"leg[{number}].name", f"{leg.name!r} is already the name of another leg"
        for other in flow.leg[:number]:
            if other.type == leg.type and (other.source == leg.source or None in {other.source, leg.source}):
                return (
                    f"leg[{number}].type",
                    f"an event of type {leg.type!r} could belong to {other.name!r} too",
                )
    if not flow.required:
        return "leg", "at least one leg must not be optional"
    sides = [(f"rule[{number}].equal", text) for number, rule in enumerate(flow.rule) for text in rule.equal]
    sides += [("amount", text) for text in flow.amount] + [("currency", text) for text in flow.currency]
    for key, text in sides:
        leg_name, path = side(text)
        if leg_name not in names or not path:
            return key, f"{text!r} must be leg.field, where leg is one of {', '.join(names)}"
    return None


def _shape_fault(document: dict[str, Any]) -> tuple[str, str] | None:
    """The first key of the wrong shape, and the reason. msgspec's own message lacks the index of a table."""

    def fault(value: Any, type_: Any, at: str) -> tuple[str, str] | None:
        try:
            msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            return f"{at}{path.rstrip('`')}", reason
        return None

    for number, flow in enumerate(document.get("flow", [])):
        at = f"flow[{number}]"
        for name, type_ in (("leg", Leg), ("rule", Rule)):
            parts = flow.get(name, []) if isinstance(flow, dict) else []
            for index, part in enumerate(parts):
                if part_fault := fault(part, type_, f"{at}.{name}[{index}]"):
                    return part_fault
        if flow_fault := fault(flow, Flow, at):
            return flow_fault
    return None


def side(text: str) -> tuple[str, str]:
    """``leg.field`` as (leg, path)."""
    leg, _, path = text.partition(".")
    return leg, path


_STEP: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")


def _line(text: str, key: str) -> int:
    """The number of the line with a key such as ``flow[0].leg[1].type``; the line of its table if the key is absent."""
    lines = text.splitlines()
    position, begin, table = 0, 0, ""
    for name, index in _STEP.findall(key):
        table = f"{table}.{name}".lstrip(".")
        tables_before = int(index or 0)
        for number, line in enumerate(lines[begin:], start=begin):
            if line.strip() == f"[[{table}]]":
                if not tables_before:
                    position, begin = number, number + 1
                    break
                tables_before -= 1
            elif re.match(rf"\s*{re.escape(name)}\s*=", line):
                position = number
                break
    return position + 1

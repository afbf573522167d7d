"""Flows as data: a TOML file says which events tell one story, by which key, how soon, and where they must agree."""

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
"""Where in the payload: names joined by dots."""
Seconds = Annotated[float, Meta(gt=0, le=7 * 24 * 60 * 60)]


class Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cloud's part of the story.

    Attributes:
        name: what issues call it.
        type: the event type that tells of it.
        source: the only cloud that may tell of it; None: any.
        optional: True when the story is complete without it.
        verb: what the cloud did, in the past, for issues in words: ``ordered`` gives "AWS ordered 3".
    """

    name: Name
    type: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    source: Source | None = None
    optional: bool = False
    verb: Annotated[str, Meta(min_length=1, max_length=40)] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two fields that must say the same.

    Attributes:
        equal: each as ``leg.field``, where ``field`` may be a path into the payload.
        within: by how much two numbers may differ, as decimal text; None: not at all.
    """

    equal: tuple[str, str]
    within: Annotated[str, Meta(pattern=r"^\d+(\.\d+)?$")] | None = None

    @property
    def tolerance(self) -> Decimal:
        """``within`` as a number."""
        return Decimal(self.within or 0)

    @property
    def sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both sides as (leg, path)."""
        return side(self.equal[0]), side(self.equal[1])


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A story that is told in legs.

    Attributes:
        name: of the flow.
        key: where in every leg's payload the story's key stands.
        window_seconds: how long after the first leg the others are in time, by Helios' own clock.
        grace_seconds: how much longer they are waited for before they are called missing.
        leg: the legs.
        rule: where they must agree.
        amount: what the story is about in money, as ``leg.field``; the first that is known counts.
        currency: in which money that is, in the same way. Amounts of different currencies are never added together.
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
        """The legs without which the story is not complete."""
        return [leg for leg in self.leg if not leg.optional]

    def fields(self, leg: str) -> list[str]:
        """The paths of one leg that rules, the amount and the currency read, each once."""
        sides = [one for rule in self.rule for one in rule.sides]
        sides += [side(text) for text in (*self.amount, *self.currency)]
        return list(dict.fromkeys(path for name, path in sides if name == leg))


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flow: tuple[Flow, ...] = ()


def load(path: str | None = None) -> tuple[Flow, ...]:
    """The flows in a file, or those that ship with Helios.

    Raises:
        ConfigurationError: the file can't be read, or something in it is wrong; the message names the line and the key.
    """
    try:
        text = (Path(path) if path else files("helios") / "flows.toml").read_text()
    except OSError as error:
        raise ConfigurationError(f"HELIOS_FLOWS_FILE: {path}: {error.strerror}") from error
    where = path or "flows.toml"
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where}: {error}") from error
    try:
        flows = msgspec.convert(given, _File).flow
    except msgspec.ValidationError as error:
        key, reason = _misshapen(given) or ("flow", str(error))
        raise ConfigurationError(f"{where}, line {_line(text, key)}: {key}: {reason}") from error
    for number, flow in enumerate(flows):
        if fault := _fault(flow, [other.name for other in flows[:number]]):
            key, reason = fault
            raise ConfigurationError(
                f"{where}, line {_line(text, f'flow[{number}].{key}')}: flow[{number}].{key}: {reason}"
            )
    return flows


def _fault(flow: Flow, taken: list[str]) -> tuple[str, str] | None:
    """What the shape alone can't tell, as (key, reason)."""
    if flow.name in taken:
        return "name", f"{flow.name!r} is another flow's name already"
    names = [leg.name for leg in flow.leg]
    for number, leg in enumerate(flow.leg):
        if leg.name in names[:number]:
            return f"leg[{number}].name", f"{leg.name!r} is another leg's name already"
        for other in flow.leg[:number]:
            if other.type == leg.type and (other.source == leg.source or None in {other.source, leg.source}):
                return f"leg[{number}].type", f"an event of type {leg.type!r} could tell of {other.name!r} as well"
    if not flow.required:
        return "leg", "at least one leg must not be optional"
    sides = [(f"rule[{number}].equal", text) for number, rule in enumerate(flow.rule) for text in rule.equal]
    sides += [("amount", text) for text in flow.amount] + [("currency", text) for text in flow.currency]
    for key, text in sides:
        leg_name, path = side(text)
        if leg_name not in names or not path:
            return key, f"{text!r} is not leg.field, with a leg of {', '.join(names)}"
    return None


def _misshapen(given: dict[str, Any]) -> tuple[str, str] | None:
    """The first key of the wrong shape, and why: msgspec names no index."""

    def fault(value: Any, type_: Any, at: str) -> tuple[str, str] | None:
        try:
            msgspec.convert(value, type_)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$")
            return f"{at}{path.rstrip('`')}", reason
        return None

    for number, flow in enumerate(given.get("flow", [])):
        at = f"flow[{number}]"
        for name, type_ in (("leg", Leg), ("rule", Rule)):
            parts = flow.get(name, []) if isinstance(flow, dict) else []
            for index, part in enumerate(parts):
                if found := fault(part, type_, f"{at}.{name}[{index}]"):
                    return found
        if found := fault(flow, Flow, at):
            return found
    return None


def side(text: str) -> tuple[str, str]:
    """``leg.field`` as (leg, path)."""
    leg, _, path = text.partition(".")
    return leg, path


_STEP: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")


def _line(text: str, key: str) -> int:
    """The line on which a key stands, ``flow[0].leg[1].type`` say; that of its table when the key is not there."""
    lines = text.splitlines()
    found, begin, table = 0, 0, ""
    for name, index in _STEP.findall(key):
        table = f"{table}.{name}".lstrip(".")
        wanted = int(index or 0)
        for number, line in enumerate(lines[begin:], start=begin):
            if line.strip() == f"[[{table}]]":
                if not wanted:
                    found, begin = number, number + 1
                    break
                wanted -= 1
            elif re.match(rf"\s*{re.escape(name)}\s*=", line):
                found = number
                break
    return found + 1

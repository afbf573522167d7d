"""The file of notifications: receivers, and the routes to them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from helios import toml_file
from helios.errors import ConfigurationError
from helios.model.notifications import Notifications, ReceiverDeclaration, Route
from helios.toml_file import TomlFile, shape_fault

SETTING: Final = "HELIOS_NOTIFICATIONS_FILE"
SECRETS: Final = "HELIOS_NOTIFICATION_SECRETS"

_TABLES: Final[Mapping[str, Any]] = {"receiver": ReceiverDeclaration, "route": Route}


def load(path: str) -> Notifications:
    """The receivers and routes in a file.

    Raises:
        ConfigurationError: the file can't be read, or is wrong; the message names the line and the key.
    """
    return parse(toml_file.read(Path(path), setting=SETTING))


def parse(file: TomlFile) -> Notifications:
    """The receivers and routes in the text of a file.

    Raises:
        ConfigurationError: the text is wrong; the message names the line and the key.
    """
    for name, type_ in _TABLES.items():
        tables = file.document.get(name, [])
        if not isinstance(tables, list):
            raise file.fault(name, f"must be an array of tables: write [[{name}]]")
        for number, table in enumerate(tables):
            if fault := shape_fault(table, type_, f"{name}[{number}]"):
                raise file.fault(*fault)
    if fault := shape_fault(file.document, Notifications, ""):
        raise file.fault(fault[0].lstrip("."), fault[1])
    declared = msgspec.convert(file.document, Notifications)
    _check_receivers(file, declared.receiver)
    _check_routes(file, declared)
    return declared


def _check_receivers(file: TomlFile, receivers: Sequence[ReceiverDeclaration]) -> None:
    for number, receiver in enumerate(receivers):
        at = f"receiver[{number}]"
        if [other.name for other in receivers[:number]].count(receiver.name):
            raise file.fault(f"{at}.name", f"{receiver.name!r} is already the name of another receiver")
        if receiver.kind == "webhook" and not receiver.url:
            raise file.fault(f"{at}.url", "is missing: write the URL of the webhook")
        if receiver.kind != "webhook" and receiver.url:
            reason = f"is only that of a webhook: put the Apprise URL, which is a secret, into {SECRETS}"
            raise file.fault(f"{at}.url", reason)


def _check_routes(file: TomlFile, declared: Notifications) -> None:
    names = [receiver.name for receiver in declared.receiver]
    for number, route in enumerate(declared.route):
        if unknown := next((name for name in route.to if name not in names), None):
            reason = f"{unknown!r} is no receiver: use {', '.join(names) or 'a name of a [[receiver]]'}"
            raise file.fault(f"route[{number}].to", reason)


def secrets_of(setting: str, receivers: Sequence[ReceiverDeclaration]) -> dict[str, list[str]]:
    """The secrets by the name of their receiver: at least one each, and two of a webhook during a rotation.

    Raises:
        ConfigurationError: a secret is missing, is too many, or belongs to no receiver.
    """
    kinds = {receiver.name: receiver.kind for receiver in receivers}
    secrets: dict[str, list[str]] = {name: [] for name in kinds}
    for number, entry in enumerate(setting.split(), start=1):
        name, equals, secret = entry.partition("=")
        if not equals or name not in kinds or not secret:
            # The entry is not quoted: it may be a secret without its name.
            raise ConfigurationError(f"{SECRETS}: entry {number} is not NAME=SECRET of a receiver in {SETTING}")
        secrets[name].append(secret)
    numbers = Counter({name: len(values) for name, values in secrets.items()})
    for name, kind in kinds.items():
        if not numbers[name]:
            what = "whsec_..." if kind == "webhook" else "the Apprise URL"
            raise ConfigurationError(f"{SECRETS}: the receiver {name} has no secret: add {name}={what}")
        if numbers[name] > 1 and kind != "webhook":
            raise ConfigurationError(f"{SECRETS}: {name} has {numbers[name]} secrets, and needs one")
    return secrets

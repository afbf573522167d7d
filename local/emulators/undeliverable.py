"""A fault for demonstrations and tests: events that an emulator accepts, and can't deliver."""

import argparse

import msgspec

_OPTION = "--undeliverable"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--undeliverable FIELD``."""
    parser.add_argument(
        _OPTION,
        default="",
        metavar="FIELD",
        help="let each delivery of an event fail whose data is a JSON object with FIELD = true (default: none)",
    )


def is_undeliverable(data: bytes, field: str) -> bool:
    """Whether the data of an event has this field, with the value true.

    Args:
        data: the data of the event; it need not be JSON.
        field: the name of the field; empty: no event is undeliverable.
    """
    if not field or field.encode() not in data:
        return False
    try:
        content = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    return isinstance(content, dict) and content.get(field) is True

"""The names of topics, subscriptions and snapshots: each call checks the names in it before it looks them up."""

import re
from typing import Literal

from local.emulators.pubsub.errors import invalid

Kind = Literal["topics", "subscriptions", "snapshots"]

DELETED_TOPIC = "_deleted-topic_"
"""What Pub/Sub shows instead of the name of a deleted topic."""

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions|snapshots)/(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
"""Pub/Sub documentation, "Create a topic", "Guidelines to name a topic or a subscription"."""
_PROJECT = re.compile(r"projects/[^/]+")


def check_name(name: str, kind: Kind) -> None:
    """Return if this is a well-formed name of this kind.

    Raises:
        Refused: INVALID_ARGUMENT, it is not.
    """
    match = _NAME.fullmatch(name)
    if not match or match[1] != kind:
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def check_project(name: str) -> None:
    """Return if this is a well-formed name of a project: ``projects/shop``.

    Raises:
        Refused: INVALID_ARGUMENT, it is not.
    """
    if not _PROJECT.fullmatch(name):
        raise invalid(f"Invalid [project] name: (name={name})")
